#include "ingest/beat.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "ingest/beat_text.h"

struct beat {
    struct publisher *p;
    const char *id;
    int64_t interval;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping;
    struct gauge *records, *bytes, *oldest, *aside, *damaged, *open;
};

static void measure(struct beat *b, const struct publisher_state *s, int64_t now)
{
    const int64_t oldest = s->spool.oldest;
    gauge_set(b->records, (int64_t)s->spool.records);
    gauge_set(b->bytes, (int64_t)s->spool.bytes);
    gauge_set(b->oldest, oldest > 0 && oldest < now ? now - oldest : 0);
    gauge_set(b->aside, (int64_t)s->spool.aside);
    gauge_set(b->damaged, (int64_t)s->spool.damaged);
    gauge_set(b->open, s->breaker_open);
}

static void say(struct beat *b)
{
    struct publisher_state s;
    char text[BEAT_MAX];
    publisher_state(b->p, &s);
    int64_t now = clock_now_ms();
    measure(b, &s, now);
    const struct beat_word word = {
        .id = b->id, .at = now, .oldest_spooled = publisher_age(b->p, now)};
    publish_beat(b->p, slice_of(b->id), beat_text(&word, text));
    if (s.heard && !s.breaker_open)
        publish_farewells(b->p, false);
}

static void *run(void *arg)
{
    struct beat *b = arg;
    (void)pthread_mutex_lock(&b->lock);
    while (!b->stopping) {
        (void)pthread_mutex_unlock(&b->lock);
        say(b);
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ms = until.tv_nsec / 1000000 + b->interval;
        until.tv_sec += ms / 1000;
        until.tv_nsec = ms % 1000 * 1000000;
        (void)pthread_mutex_lock(&b->lock);
        int rc = 0;
        while (!b->stopping && rc == 0)
            rc = pthread_cond_timedwait(&b->stop, &b->lock, &until);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return NULL;
}

int beat_start(struct publisher *p, const char *id, int64_t interval_ms, struct beat **ret,
               struct err *e)
{
    struct beat *b = calloc(1, sizeof(*b));
    if (!b)
        return err_set(e, -ENOMEM, "beat: out of memory");
    *b = (struct beat){.p = p, .id = id, .interval = interval_ms};
    b->records = gauge_new("tocsin_ingest_spool_records", "Records in the spool.", "");
    b->bytes = gauge_new("tocsin_ingest_spool_bytes", "Bytes of the spool.", "");
    b->oldest = gauge_new("tocsin_ingest_spool_oldest_milliseconds",
                          "Age of the oldest spooled record.", "");
    b->aside = gauge_new("tocsin_ingest_spool_set_aside",
                         "Records of the spool that are too large for Kafka, kept on disk until "
                         "ingest starts again.",
                         "");
    b->damaged = gauge_new("tocsin_ingest_spool_damaged",
                           "Records of the spool that the disk did not keep.", "");
    b->open = gauge_new("tocsin_ingest_breaker_open", "1 while Kafka is given up.", "");
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->stop, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (pthread_create(&b->thread, NULL, run, b) != 0) {
        free(b);
        return err_set(e, -EAGAIN, "beat: no thread");
    }
    *ret = b;
    return 0;
}

void beat_stop(struct beat *b)
{
    if (!b)
        return;
    (void)pthread_mutex_lock(&b->lock);
    b->stopping = true;
    (void)pthread_cond_signal(&b->stop);
    (void)pthread_mutex_unlock(&b->lock);
    (void)pthread_join(b->thread, NULL);
    publish_farewells(b->p, true);
    (void)pthread_cond_destroy(&b->stop);
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}
