/* The runner's life and its thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "processor/timers_internal.h"

#define RETRY_MIN_MS (50)
#define RETRY_MAX_MS (5 * MS_SECOND)
#define OUTBOX_RECORDS 500
#define OUTBOX_TIMEOUT_MS (2 * MS_SECOND)
#define OUTBOX_RETRY_MS MS_SECOND

/* ---- life ---- */

const char *timer_kind_name(enum timer_kind k)
{
    static const char *const names[] = {
        [TIMER_GROUP] = "group", [TIMER_ALERT] = "alert", [TIMER_HOUSEKEEPING] = "housekeeping"};

    return names[k];
}

static void make_metrics(struct timers *t)
{
    for (int k = TIMER_GROUP; k <= TIMER_HOUSEKEEPING; k++) {
        char label[64];

        (void)snprintf(label, sizeof(label), "kind=\"%s\"", timer_kind_name((enum timer_kind)k));
        t->run[k] = counter_new("tocsin_timers_run_total", "Timers run by kind.", label);
        t->failed[k] =
            counter_new("tocsin_processor_timers_failed_total",
                        "Subjects of timers that could not be worked on and were put off.", label);
        t->held[k] =
            counter_new("tocsin_processor_timers_held_total",
                        "Subjects of timers whose rows somebody held for too long.", label);
    }
    for (int k = DUE_OPENED; k < DUE_KINDS; k++) {
        char label[64];

        (void)snprintf(label, sizeof(label), "kind=\"%s\"", due_name((enum due_kind)k));
        t->created[k] = counter_new("tocsin_notifications_created_total",
                                    "Notification rows by why they were written.", label);
    }
    t->lag = histogram_new("tocsin_timer_lag_seconds", "How late timers were claimed.", "",
                           latency_bounds, latency_bound_n);
    t->wakeups = counter_new("tocsin_wakeups_total", "Wake-ups given to Kafka.", "");
    t->wakeups_failed =
        counter_new("tocsin_wakeups_failed_total",
                    "Wake-ups that Kafka did not take; the sweeper finds the rows.", "");
    t->outbox_sent =
        counter_new("tocsin_outbox_published_total", "Outbox records that Kafka has.", "");
    t->outbox_failed = counter_new("tocsin_outbox_failures_total",
                                   "Goes at the outbox that left records behind.", "");
}

static int make_sync(struct timers *t)
{
    pthread_condattr_t monotonic;

    if (pthread_condattr_init(&monotonic) != 0)
        return -ENOMEM;
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return 0;
}

/* Everything that the runner may write: wake-ups, and what anybody puts into the outbox. */
static int expect_topics(struct kafka_producer *p, struct err *e)
{
    static const char *const topics[] = {
        "dead",
        "repairs",
        "playbooks",
#define CHANNEL(name) "notify." #name,
#include "common/channels.def"
#undef CHANNEL
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(topics) / sizeof(*topics); i++)
        rc = kafka_expect(p, topics[i], e);
    return rc;
}

int timers_new(const struct timers_options *o, struct timers **ret, struct err *e)
{
    struct timers *t = calloc(1, sizeof(*t));

    if (!t || make_sync(t) < 0) {
        free(t);
        return err_set(e, -ENOMEM, "timers: out of memory");
    }
    t->o = *o;
    t->flush = (struct flush_settings){.routes = o->routes,
                                       .rules = o->rules,
                                       .receivers = o->receivers,
                                       .time_zone = o->settings->time_zone};
    make_metrics(t);
    int rc = expect_topics(o->producer, e);
    if (rc == 0)
        rc = pg_open(&o->settings->postgres, "tocsin-processor timers", &t->pg, e);
    if (rc < 0) {
        timers_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void timers_free(struct timers *t)
{
    if (!t)
        return;
    timers_stop(t);
    pg_close(t->pg);
    (void)pthread_cond_destroy(&t->wake);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

bool timers_stopping(struct timers *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const bool stop = t->stop;
    (void)pthread_mutex_unlock(&t->lock);
    return stop;
}

/* ---- the thread ---- */

static int drain_outbox(struct timers *t, size_t *did, struct err *e)
{
    static struct log_limit limit = {.per_minute = 6};
    const struct outbox_limits limits = {OUTBOX_RECORDS, OUTBOX_TIMEOUT_MS};
    size_t sent = 0;
    uint32_t dropped;

    if (clock_monotonic_ms() < t->outbox_retry_at)
        return 0;
    int rc = outbox_drain(t->o.outbox, t->pg, t->o.producer, &limits, &sent, e);
    counter_add(t->outbox_sent, sent);
    *did += sent;
    if (rc != -ETIMEDOUT)
        return rc;
    counter_add(t->outbox_failed, 1);
    t->outbox_retry_at = clock_monotonic_ms() + OUTBOX_RETRY_MS;
    if (log_allow(&limit, &dropped))
        log_warn(EV("outbox_waits"), KV("reason", e->msg), KV("dropped", dropped));
    return 0;
}

/* How long nothing will be due, at most `idle`; and whether the outbox has something. */
static int look_ahead(struct timers *t, int64_t *ret_wait, bool *ret_outbox, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    CLEANUP(PQclear) PGresult *r = NULL;
    const int64_t idle = t->o.settings->processor.timer_idle;
    struct pg_args *p = pg_args(a);

    pg_int(p, idle);
    pg_int(p, t->looked_ms);
    /* What was due when we looked last, and was not claimed since, is another runner's. */
    int rc = pg_query(t->pg,
                      "SELECT least($1, (SELECT min(due_at) FROM timers WHERE due_at > $2) "
                      "- " NOW_MS "), EXISTS (SELECT FROM outbox), " NOW_MS,
                      p, &r, e);
    if (rc == 0) {
        *ret_wait = pg_get_int(r, 0, 0);
        *ret_outbox = pg_get_bool(r, 0, 1);
        t->looked_ms = pg_get_int(r, 0, 2);
    }
    return rc;
}

/* Everything that is due now; the outbox, too, when a kind of them must be tried again. */
static int work_off(struct timers *t, int64_t *ret_wait, struct err *e)
{
    size_t ran = 1;
    bool outbox = false;
    int rc = 0, passed = 0;

    while (passed == 0 && ran > 0 && !timers_stopping(t)) {
        struct err other = {0};

        if ((passed = timers_pass(t, &ran, e)) < 0 && !timers_may_go_on(passed))
            return passed;
        if ((rc = look_ahead(t, ret_wait, &outbox, &other)) < 0 ||
            (outbox && (rc = drain_outbox(t, &ran, &other)) < 0)) {
            *e = other;
            return rc;
        }
    }
    return passed;
}

/* Until then, a kick (if kicks count), or the end. */
static void sleep_for(struct timers *t, int64_t ms, bool kicks)
{
    /* What is due already and another's may be due since before this machine was started. */
    const int64_t deadline = clock_monotonic_ms() + (ms > 0 ? ms : 0);
    const struct timespec until = {.tv_sec = deadline / 1000,
                                   .tv_nsec = (long)(deadline % 1000) * 1000000};

    (void)pthread_mutex_lock(&t->lock);
    while (!t->stop && !(kicks && t->kicked) &&
           pthread_cond_timedwait(&t->wake, &t->lock, &until) != ETIMEDOUT)
        ;
    t->kicked = false;
    (void)pthread_mutex_unlock(&t->lock);
}

static bool worth_a_retry(int rc)
{
    return rc == -EAGAIN || rc == -ENOTCONN || rc == -EBUSY;
}

static void *runner(void *ctx)
{
    static struct log_limit limit = {.per_minute = 6};
    struct timers *t = ctx;
    int64_t pause = RETRY_MIN_MS;
    uint32_t dropped;

    while (!timers_stopping(t)) {
        struct err e = {0};
        int64_t wait = t->o.settings->processor.timer_idle;
        const int rc = work_off(t, &wait, &e);

        if (rc == 0) {
            pause = RETRY_MIN_MS;
            sleep_for(t, wait, true);
            continue;
        }
        if (!worth_a_retry(rc)) {
            (void)err_wrap(&e, "timers");
            t->o.fail(&e);
            return NULL;
        }
        if (log_allow(&limit, &dropped))
            log_warn(EV("timers_retry"), KV("reason", e.msg), KV("dropped", dropped));
        sleep_for(t, pause, false);
        pause = pause * 2 < RETRY_MAX_MS ? pause * 2 : RETRY_MAX_MS;
    }
    return NULL;
}

int timers_start(struct timers *t, struct err *e)
{
    const int rc = pthread_create(&t->thread, NULL, runner, t);

    if (rc != 0)
        return err_set(e, -rc, "timers: no thread: %s", strerror(rc));
    t->started = true;
    return 0;
}

void timers_kick(struct timers *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->kicked = true;
    (void)pthread_cond_signal(&t->wake);
    (void)pthread_mutex_unlock(&t->lock);
}

void timers_stop(struct timers *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->stop = true;
    (void)pthread_cond_signal(&t->wake);
    (void)pthread_mutex_unlock(&t->lock);
    if (t->started)
        (void)pthread_join(t->thread, NULL);
    t->started = false;
}
