/* The runner of timers inside; for timers*.c only. */
#pragma once

#include <pthread.h>

#include "common/incident.h"
#include "common/metrics.h"
#include "processor/flush.h"
#include "processor/timers.h"

/* The clock of every comparison: the start of the transaction, as Postgres has it. */
#define NOW_MS "(extract(epoch FROM now()) * 1000)::int8"

struct timers {
    struct timers_options o;
    struct flush_settings flush;
    struct pg *pg;
    bool prepared; /* zones are checked, the first timers are there */
    int64_t outbox_retry_at;

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool kicked, stop;

    struct counter *run[TIMER_HOUSEKEEPING + 1];
    struct counter *created[DUE_KINDS];
    struct counter *outbox_sent, *outbox_failed, *wakeups, *wakeups_failed;
    struct histogram *lag;
};

/* Was timers_stop() called? */
bool timers_stopping(struct timers *t);
