#include "ingest/drain.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "ingest/beat_text.h"
#include "ingest/publish_internal.h"

#define DRAIN_RECORDS 512
#define DRAIN_BYTES ((size_t)4 << 20)
#define DRAIN_ARENA ((size_t)160 << 20) /* room for the largest record, decoded */
#define DRAIN_ACK_MS 5000

/* Records of the spool that are out together. `out` counts the waiter too; whoever brings it to 0
 * frees it. */
struct window {
    struct ticket ticket;
    struct publisher *p;
    unsigned out, failed, unfit;
};

void drain_report(struct publisher *p, struct window *w, int err_code)
{
    (void)pthread_mutex_lock(&p->lock);
    w->unfit += err_code == TOO_LARGE;
    w->failed += err_code != 0 && err_code != TOO_LARGE;
    bool last = --w->out == 0;
    (void)pthread_cond_broadcast(&p->reports);
    (void)pthread_mutex_unlock(&p->lock);
    if (last) /* nobody waits any more */
        free(w);
}

size_t drain_left(struct publisher *p)
{
    struct spool_state s = {0};
    if (p->spool)
        spool_state(p->spool, &s);
    return s.records;
}

static void nap(struct publisher *p, int64_t ms)
{
    if (p->spool && drain_left(p) == 0) {
        spool_wait(p->spool, ms);
        return;
    }
    const struct timespec until = timespec_of(clock_monotonic_ms() + ms);
    (void)pthread_mutex_lock(&p->lock);
    int rc = 0;
    while (!p->stopping && rc == 0)
        rc = pthread_cond_timedwait(&p->reports, &p->lock, &until);
    (void)pthread_mutex_unlock(&p->lock);
}

/* Not under the lock. -EAGAIN: the queue is full, later. */
static int send_one(struct publisher *p, struct window *w, const struct spool_record *r)
{
    if (r->topic.len == 0)
        return 0; /* damaged, and counted */
    CLEANUP(arena_free) struct arena *a = arena_new(65536);
    const char *topic = a ? arena_strndup(a, r->topic.p, r->topic.len) : NULL;
    struct err e = {0};
    if (!topic)
        return -EAGAIN;
    (void)pthread_mutex_lock(&p->lock);
    w->out++;
    (void)pthread_mutex_unlock(&p->lock);
    int rc = kafka_produce(p->kafka, topic, r->key, r->value, r->headers, r->header_n, w, &e);
    if (rc == 0)
        return 0;
    (void)pthread_mutex_lock(&p->lock);
    w->out--;
    w->unfit += rc == -EMSGSIZE;
    (void)pthread_mutex_unlock(&p->lock);
    return rc == -EMSGSIZE ? 0 : rc;
}

/* How many of the first records Kafka has acknowledged in time; negative when it did not. */
static int send_window(struct publisher *p, const struct spool_record *r, size_t n)
{
    struct window *w = calloc(1, sizeof(*w));
    if (!w)
        return 0;
    *w = (struct window){.ticket.kind = TICKET_DRAIN, .p = p, .out = 1};
    size_t sent = 0;
    int rc = 0;
    while (sent < n && rc == 0) {
        rc = send_one(p, w, &r[sent]);
        sent += rc == 0;
    }
    const struct timespec until = timespec_of(clock_monotonic_ms() + DRAIN_ACK_MS);
    int timeout = 0;
    (void)pthread_mutex_lock(&p->lock);
    while (w->out > 1 && timeout == 0 && !p->stopping)
        timeout = pthread_cond_timedwait(&p->reports, &p->lock, &until);
    bool ok = w->out == 1 && w->failed == 0 && (rc == 0 || rc == -EAGAIN);
    unsigned unfit = ok ? w->unfit : 0;
    bool last = --w->out == 0;
    (void)pthread_mutex_unlock(&p->lock);
    if (last)
        free(w);
    if (unfit > 0) {
        counter_add(p->unfit, unfit);
        log_error(EV("spooled_records_too_large"), KV("records", (int64_t)unfit));
    }
    return ok ? (int)sent : -ETIMEDOUT;
}

enum answered { ANSWERED_YES = 1, ANSWERED_NO, ANSWERED_UNASKED };

/* One window. While the breaker is open the first record is the probe. */
static enum answered drain_some(struct publisher *p, bool probe)
{
    CLEANUP(arena_free) struct arena *a = arena_new(DRAIN_ARENA);
    static const size_t most = DRAIN_RECORDS;
    struct spool_record *r = a ? arena_array(a, most, struct spool_record) : NULL;
    size_t n = r ? spool_peek(p->spool, a, r, probe ? 1 : most, DRAIN_BYTES) : 0;
    if (n == 0) { /* what came in is not on disk yet */
        spool_wait(p->spool, BREAKER_WAIT_MIN / 2);
        return ANSWERED_UNASKED;
    }
    int sent = send_window(p, r, n);
    if (sent > 0)
        spool_pop(p->spool, (size_t)sent);
    else if (sent == 0)
        nap(p, BREAKER_WAIT_MIN / 2);
    return sent > 0 ? ANSWERED_YES : sent == 0 ? ANSWERED_UNASKED : ANSWERED_NO;
}

/* Nothing waits: an extra beat asks as well. */
static enum answered probe_empty(struct publisher *p)
{
    char text[BEAT_MAX];
    struct err e = {0};
    const struct beat_word word = {.id = p->id, .at = clock_now_ms()};
    int rc = kafka_produce_wait(p->kafka, BEAT_TOPIC, slice_of(p->id), beat_text(&word, text), NULL,
                                0, DRAIN_ACK_MS, &e);
    return rc == 0 ? ANSWERED_YES : ANSWERED_NO;
}

void *drain_run(void *publisher)
{
    struct publisher *p = publisher;
    for (;;) {
        (void)pthread_mutex_lock(&p->lock);
        bool stop = p->stopping, open = p->breaker.open;
        bool probe = breaker_probe(&p->breaker, clock_monotonic_ms());
        (void)pthread_mutex_unlock(&p->lock);
        if (stop)
            return NULL;
        if (open && !probe) {
            nap(p, BREAKER_WAIT_MIN / 2);
            continue;
        }
        size_t waiting = drain_left(p);
        if (!open && waiting == 0) {
            nap(p, BREAKER_WAIT_MAX);
            continue;
        }
        enum answered answered = waiting > 0 ? drain_some(p, open) : probe_empty(p);
        (void)pthread_mutex_lock(&p->lock);
        if (answered == ANSWERED_YES && open)
            publisher_success(p);
        else if (answered == ANSWERED_NO && !p->stopping)
            publisher_miss(p, "the spool could not be drained");
        (void)pthread_mutex_unlock(&p->lock);
    }
}
