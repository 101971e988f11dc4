/* The publisher inside: what publish.c (records that somebody waits for) and drain.c (records that
 * wait in the spool) share. */
#pragma once

#include <pthread.h>
#include <time.h>

#include "common/metrics.h"
#include "ingest/breaker.h"
#include "ingest/publish.h"

#define BEAT_TOPIC "beat"

enum ticket_kind { TICKET_JOB = 1, TICKET_DRAIN, TICKET_BEAT };

/* What goes to librdkafka and comes back in its report begins with its kind. */
struct ticket {
    enum ticket_kind kind;
};

struct publisher {
    struct kafka_producer *kafka;
    struct spool *spool; /* NULL: none */
    const char *id;      /* of this process */
    int64_t ack_timeout;

    pthread_mutex_t lock;
    pthread_cond_t deadlines, reports;
    struct job *first, *last;
    size_t out; /* jobs that wait for an answer, the spool's too */
    struct breaker breaker;
    bool heard; /* Kafka's word on the first beat: taken, or given up */
    bool stopping;
    pthread_t timer, drainer;
    bool timer_started, drainer_started;
    bool stuck; /* the drainer's: the oldest record can neither go nor be set aside */

    struct ticket beat;
    struct counter *outcomes[OUTCOME_UNFIT + 1];
    struct counter *late, *opened, *unfit;
    struct histogram *latency;
};

/* Kafka did not answer, or did; under the lock. The first miss opens the breaker. */
void publisher_miss(struct publisher *p, const char *why);
void publisher_success(struct publisher *p);

/* Kafka's MESSAGE_TOO_LARGE (max.message.bytes) and RECORD_LIST_TOO_LARGE (segment.bytes). */
static inline bool is_too_large(int err_code)
{
    return err_code == 10 || err_code == 18;
}

static inline struct timespec timespec_of(int64_t monotonic_ms)
{
    return (struct timespec){.tv_sec = monotonic_ms / 1000,
                             .tv_nsec = monotonic_ms % 1000 * 1000000};
}
