#include "ingest/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "ingest/beat_text.h"
#include "ingest/publish_internal.h"

#define DRAIN_RECORDS 512
#define DRAIN_BYTES ((size_t)4 << 20)
#define DRAIN_ARENA ((size_t)160 << 20) /* room for the largest record, decoded */
#define DRAIN_ACK_MS 5000
#define DRAIN_TRIES 3 /* of a record alone */

/* Records of the spool that are out together. `out` counts the waiter too; whoever brings it to 0
 * frees it. */
struct window {
    struct publisher *p;
    unsigned out, failed;
    struct parcel *parcels;
};

/* One of them. */
struct parcel {
    struct ticket ticket;
    struct window *w;
    bool taken;
};

static struct window *window_new(struct publisher *p, size_t n)
{
    struct window *w = calloc(1, sizeof(*w));
    struct parcel *v = calloc(n, sizeof(*v));
    if (!w || !v) {
        free(w);
        free(v);
        return NULL;
    }
    *w = (struct window){.p = p, .out = 1, .parcels = v};
    for (size_t i = 0; i < n; i++)
        v[i] = (struct parcel){.ticket.kind = TICKET_DRAIN, .w = w};
    return w;
}

static void window_free(struct window *w)
{
    free(w->parcels);
    free(w);
}

void drain_report(struct parcel *c, int err_code)
{
    struct window *w = c->w;
    struct publisher *p = w->p;
    (void)pthread_mutex_lock(&p->lock);
    c->taken = err_code == 0;
    w->failed += err_code != 0 && !is_too_large(err_code);
    bool last = --w->out == 0;
    (void)pthread_cond_broadcast(&p->reports);
    (void)pthread_mutex_unlock(&p->lock);
    if (last) /* nobody waits any more */
        window_free(w);
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
static int send_one(struct publisher *p, struct parcel *c, const struct spool_record *r)
{
    if (r->topic.len == 0) {
        c->taken = true; /* damaged, and counted */
        return 0;
    }
    CLEANUP(arena_free) struct arena *a = arena_new(65536);
    const char *topic = a ? arena_strndup(a, r->topic.p, r->topic.len) : NULL;
    struct err e = {0};
    if (!topic)
        return -EAGAIN;
    (void)pthread_mutex_lock(&p->lock);
    c->w->out++;
    (void)pthread_mutex_unlock(&p->lock);
    int rc = kafka_produce(p->kafka, topic, r->key, r->value, r->headers, r->header_n, c, &e);
    if (rc == 0)
        return 0;
    (void)pthread_mutex_lock(&p->lock);
    c->w->out--;
    (void)pthread_mutex_unlock(&p->lock);
    return rc == -EMSGSIZE ? 0 : rc;
}

/*
 * Send those of `n` records that are `left`, together, and wait. How many of the first Kafka gave
 * its word on in time, less than `n` when its queue was full; negative when it did not. What it
 * took is not left any more.
 */
static int send_window(struct publisher *p, const struct spool_record *r, bool *left, size_t n)
{
    struct window *w = window_new(p, n);
    if (!w)
        return 0;
    size_t sent = 0;
    int rc = 0;
    while (sent < n && rc == 0) {
        rc = left[sent] ? send_one(p, &w->parcels[sent], &r[sent]) : 0;
        sent += rc == 0;
    }
    const struct timespec until = timespec_of(clock_monotonic_ms() + DRAIN_ACK_MS);
    int timeout = 0;
    (void)pthread_mutex_lock(&p->lock);
    while (w->out > 1 && timeout == 0 && !p->stopping)
        timeout = pthread_cond_timedwait(&p->reports, &p->lock, &until);
    bool ok = w->out == 1 && w->failed == 0 && (rc == 0 || rc == -EAGAIN);
    for (size_t i = 0; ok && i < sent; i++)
        left[i] = left[i] && !w->parcels[i].taken;
    bool last = --w->out == 0;
    (void)pthread_mutex_unlock(&p->lock);
    if (last)
        window_free(w);
    return ok ? (int)sent : -ETIMEDOUT;
}

static size_t count(const bool *left, size_t n)
{
    size_t many = 0;
    for (size_t i = 0; i < n; i++)
        many += left[i];
    return many;
}

/* A record that is reported just now may share its batch, so once says nothing. */
static int send_alone(struct publisher *p, const struct spool_record *r, bool *left, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (int tries = 1; left[i] && tries < DRAIN_TRIES; tries++) {
            int rc = send_window(p, &r[i], &left[i], 1);
            if (rc < 1)
                return rc;
        }
    return 1;
}

/*
 * send_window(), and what is still left then is too large by itself: a broker refuses a batch for
 * its size with all that are in it, so what was refused is sent again in smaller and smaller
 * windows, in the end each alone, and more than once.
 */
static int send_all(struct publisher *p, const struct spool_record *r, bool *left, size_t n)
{
    int sent = send_window(p, r, left, n);
    n = sent > 0 ? (size_t)sent : 0;
    size_t many = count(left, n);
    for (size_t size = n; many > 0 && size > 1; many = count(left, n)) {
        size = many < size / 2 ? many : size / 2;
        for (size_t i = 0; i < n; i += size) {
            size_t part = size < n - i ? size : n - i;
            int rc = count(&left[i], part) > 0 ? send_window(p, &r[i], &left[i], part) : (int)part;
            if (rc < (int)part) /* all again, later */
                return rc < 0 ? rc : 0;
        }
    }
    int alone = send_alone(p, r, left, n);
    return alone < 1 ? alone : sent;
}

static void tell(const struct publisher *p, const struct spool_record *r, int rc)
{
    static struct log_limit limit = {.per_minute = 60};
    uint32_t unlogged = 0;
    struct slice id = {0};
    for (size_t i = 0; i < r->header_n; i++)
        if (strcmp(r->headers[i].name, "request_id") == 0)
            id = r->headers[i].value;
    /* what stays is tried every second: told once */
    if ((rc < 0 && p->stuck) || !log_allow(&limit, &unlogged))
        return;
    log_error(EV(rc == 0 ? "record_set_aside" : "record_not_set_aside"), KV("request_id", id),
              KV("topic", r->topic), KV("bytes", (int64_t)r->value.len), KV("errno", -rc),
              KV("why", "the broker takes no record of this size"),
              KV("remedy", rc == 0 ? "raise max.message.bytes or segment.bytes, then restart ingest"
                                   : "raise max.message.bytes or segment.bytes, or make room for "
                                     "the spool"),
              KV("unlogged", (int64_t)unlogged));
}

/* How many of the first are in Kafka or set aside: all, unless one could not be. */
static size_t set_aside(struct publisher *p, const struct spool_record *r, const bool *left,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!left[i])
            continue;
        int rc = spool_set_aside(p->spool, &r[i]);
        tell(p, &r[i], rc);
        if (rc < 0)
            return i;
        counter_add(p->unfit, 1);
    }
    return n;
}

enum answered { ANSWERED_YES = 1, ANSWERED_NO, ANSWERED_UNASKED };

/* One window. While the breaker is open, or the oldest record can neither go nor be set aside, it
 * holds that one. */
static enum answered drain_some(struct publisher *p, bool probe)
{
    CLEANUP(arena_free) struct arena *a = arena_new(DRAIN_ARENA);
    const size_t most = probe || p->stuck ? 1 : DRAIN_RECORDS;
    struct spool_record *r = a ? arena_array(a, most, struct spool_record) : NULL;
    size_t n = r ? spool_peek(p->spool, a, r, most, DRAIN_BYTES) : 0;
    if (n == 0) { /* what came in is not on disk yet */
        spool_wait(p->spool, BREAKER_WAIT_MIN / 2);
        return ANSWERED_UNASKED;
    }
    bool left[DRAIN_RECORDS];
    for (size_t i = 0; i < n; i++)
        left[i] = true;
    int sent = send_all(p, r, left, n);
    if (sent <= 0) {
        if (sent == 0)
            nap(p, BREAKER_WAIT_MIN / 2);
        return sent == 0 ? ANSWERED_UNASKED : ANSWERED_NO;
    }
    size_t done = set_aside(p, r, left, (size_t)sent);
    spool_pop(p->spool, done);
    p->stuck = done < (size_t)sent;
    if (p->stuck)
        nap(p, BREAKER_WAIT_MAX);
    return ANSWERED_YES;
}

/* Nothing waits: an extra beat asks as well. */
static enum answered probe_empty(struct publisher *p)
{
    char text[BEAT_MAX];
    struct err e = {0};
    const int64_t now = clock_now_ms();
    const struct beat_word word = {.id = p->id, .at = now, .oldest_spooled = publisher_age(p, now)};
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
