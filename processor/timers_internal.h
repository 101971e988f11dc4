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
    int64_t haste_until; /* somebody's rows were held not long ago, monotonic */
    int64_t looked_ms;   /* when look_ahead() was asked last, Postgres's clock */

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool kicked, stop;

    struct counter *run[TIMER_HOUSEKEEPING + 1], *failed[TIMER_HOUSEKEEPING + 1],
        *held[TIMER_HOUSEKEEPING + 1];
    struct counter *created[DUE_KINDS];
    struct counter *outbox_sent, *outbox_failed, *wakeups, *wakeups_failed;
    struct histogram *lag;
};

/* Was timers_stop() called? */
bool timers_stopping(struct timers *t);
/* "group", "alert", "housekeeping" */
const char *timer_kind_name(enum timer_kind k);
/* The transaction is gone, and nothing else: what others do may still go well. */
bool timers_may_go_on(int rc);

/* ---- timers_claim.c ---- */

/* What a timer is about; its tenant and kind with it. */
struct subject {
    struct slice tenant, key;
};
struct subjects {
    const struct subject *v;
    size_t n;
};

/* Timers that are due, deleted by the transaction that does what they ask. */
struct claim {
    struct arena *a;
    enum timer_kind kind;
    struct subject *v; /* distinct, ascending */
    size_t n, timers;
    int64_t now_ms;
    uint32_t failures;    /* the most that one of them had */
    int64_t search_until; /* for who is held up, monotonic; 0: nobody is */
};

/* What is due, all of a subject together; with `only`, of these subjects alone. */
int timers_claim(struct timers *t, struct claim *c, const struct subjects *only,
                 struct err *e) MUST_CHECK;
/* Instead of doing what the claim of one subject asks: look at it later, and later still each time.
 * *ret_failures is how often it failed by now. */
int timers_park(struct timers *t, const struct claim *c, const char *reason, uint32_t *ret_failures,
                struct err *e) MUST_CHECK;
/* The same when others hold what it needs: look at it soon, as often as it takes. */
int timers_put_off(struct timers *t, const struct claim *c, const char *reason,
                   struct err *e) MUST_CHECK;
