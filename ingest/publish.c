#include "ingest/publish.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/source.h"
#include "ingest/beat_text.h"
#include "ingest/drain.h"
#include "ingest/publish_internal.h"

/* What librdkafka takes less what it adds. A larger record must not reach the spool: it would never
 * leave. */
#define RECORD_MAX ((size_t)KAFKA_MESSAGE_MAX - 4096)

enum job_state {
    JOB_OUT = 1, /* with Kafka, and on the list of deadlines */
    JOB_SPOOLING,
    JOB_ANSWERED
};

/*
 * A record that somebody waits for. Two may hold it: the report to come, and whoever will answer
 * (the list of deadlines, then the spool).
 */
struct job {
    struct ticket ticket;
    struct publisher *p;
    enum job_state state;
    unsigned holders;
    int64_t began, deadline; /* monotonic */
    struct job *prev, *next; /* by deadline; the timeout is one for all, so order of arrival */
    outcome_fn *done;
    void *ctx;
    struct spool_record record; /* points into `memory` */
    struct arena *memory;
};

/* ---- jobs; everything below runs under the lock unless it says otherwise ---- */

static struct job *job_new(struct publisher *p, const struct spool_record *r, outcome_fn *done,
                           void *ctx)
{
    size_t size = r->topic.len + r->key.len + r->value.len;
    for (size_t i = 0; i < r->header_n; i++)
        size += strlen(r->headers[i].name) + r->headers[i].value.len + 64;
    struct job *j = calloc(1, sizeof(*j));
    struct arena *a = arena_new(size * 2 + 65536);
    struct kafka_header *h = a ? arena_array(a, r->header_n + 1, struct kafka_header) : NULL;
    if (!j || !h) {
        free(j);
        arena_free(a);
        return NULL;
    }
    bool whole = true;
    for (size_t i = 0; i < r->header_n; i++) {
        h[i].name = arena_strndup(a, r->headers[i].name, strlen(r->headers[i].name));
        h[i].value = arena_slice(a, r->headers[i].value);
        whole &= h[i].name && h[i].value.len == r->headers[i].value.len;
    }
    j->ticket.kind = TICKET_JOB;
    j->p = p;
    j->done = done;
    j->ctx = ctx;
    j->memory = a;
    j->record = (struct spool_record){.topic = arena_slice(a, r->topic),
                                      .key = r->key.p ? arena_slice(a, r->key) : r->key,
                                      .value = arena_slice(a, r->value),
                                      .headers = h,
                                      .header_n = r->header_n,
                                      .at = r->at};
    if (r->key.p && !j->record.key.p)
        j->record.key.p = "";
    whole &= j->record.topic.len == r->topic.len && j->record.key.len == r->key.len &&
             j->record.value.len == r->value.len;
    if (!whole) {
        arena_free(a);
        free(j);
        return NULL;
    }
    return j;
}

static void job_release(struct job *j)
{
    if (--j->holders > 0)
        return;
    arena_free(j->memory);
    free(j);
}

static void unlist(struct publisher *p, struct job *j)
{
    if (j->prev)
        j->prev->next = j->next;
    else
        p->first = j->next;
    if (j->next)
        j->next->prev = j->prev;
    else
        p->last = j->prev;
    j->prev = j->next = NULL;
}

static void list(struct publisher *p, struct job *j)
{
    j->prev = p->last;
    if (p->last)
        p->last->next = j;
    else
        p->first = j;
    p->last = j;
    if (p->first == j)
        (void)pthread_cond_signal(&p->deadlines);
}

/* Gives the lock up for the call, and the answerer's hold with it. */
static void answer(struct publisher *p, struct job *j, enum outcome o)
{
    j->state = JOB_ANSWERED;
    p->out--;
    (void)pthread_cond_broadcast(&p->reports);
    (void)pthread_mutex_unlock(&p->lock);
    counter_add(p->outcomes[o], 1);
    histogram_observe(p->latency, (double)(clock_monotonic_ms() - j->began) / 1000.0);
    j->done(j->ctx, o);
    (void)pthread_mutex_lock(&p->lock);
    job_release(j);
}

/* The answerer's hold goes to the spool, whose writer answers. */
static void to_spool(struct publisher *p, struct job *j)
{
    j->state = JOB_SPOOLING;
    int rc = p->spool ? spool_append(p->spool, &j->record, j) : -EIO;
    if (rc < 0)
        answer(p, j, OUTCOME_REFUSED);
}

void publisher_miss(struct publisher *p, const char *why)
{
    if (!breaker_miss(&p->breaker, clock_monotonic_ms()))
        return;
    counter_add(p->opened, 1);
    log_warn(EV("kafka_breaker_opened"), KV("why", why), KV("spool", (bool)(p->spool != NULL)));
    if (p->spool)
        spool_wake(p->spool);
}

void publisher_success(struct publisher *p)
{
    int64_t since = p->breaker.since;
    if (breaker_success(&p->breaker, clock_monotonic_ms()))
        log_info(EV("kafka_breaker_closed"), KV("ms", clock_monotonic_ms() - since));
}

/* ---- from other threads ---- */

/* A broker refuses a batch for its size with all that are in it. What may have had company goes to
 * the spool, whose drainer tries each alone. */
static bool went_alone(const struct job *j)
{
    return j->record.value.len >= KAFKA_BATCH_MAX;
}

static void job_report(struct publisher *p, struct job *j, int err_code, const char *err_text)
{
    (void)pthread_mutex_lock(&p->lock);
    if (err_code != 0 && !is_too_large(err_code) && !p->stopping)
        publisher_miss(p, err_text);
    if (j->state == JOB_OUT) {
        unlist(p, j);
        if (err_code == 0)
            answer(p, j, OUTCOME_ACKNOWLEDGED);
        else if (is_too_large(err_code) && went_alone(j))
            answer(p, j, OUTCOME_UNFIT);
        else
            to_spool(p, j);
    } else if (err_code == 0) {
        counter_add(p->late, 1); /* it will be there twice, under one request id */
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that holders count */
    job_release(j);
    (void)pthread_mutex_unlock(&p->lock);
}

/* librdkafka's thread. */
static void on_report(void *ctx, void *record, int err_code, const char *err_text)
{
    struct publisher *p = ctx;
    struct ticket *t = record;
    switch (t->kind) {
    case TICKET_JOB:
        job_report(p, record, err_code, err_text);
        break;
    case TICKET_DRAIN:
        drain_report(record, err_code);
        break;
    case TICKET_BEAT:
        (void)pthread_mutex_lock(&p->lock);
        p->heard = true;
        if (err_code != 0)
            publisher_miss(p, err_text);
        else
            publisher_success(p);
        (void)pthread_mutex_unlock(&p->lock);
        break;
    }
}

/* The spool's writer. */
static void on_spooled(void *ctx, void *cookie, int rc)
{
    struct publisher *p = ctx;
    struct job *j = cookie;
    (void)pthread_mutex_lock(&p->lock);
    answer(p, j, rc == 0 ? OUTCOME_SPOOLED : OUTCOME_REFUSED);
    (void)pthread_mutex_unlock(&p->lock);
    if (rc < 0)
        log_error(EV("spool_write_failed"), KV("errno", -rc));
}

static void *timer(void *arg)
{
    struct publisher *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    while (!p->stopping || p->first) {
        struct job *j = p->first;
        int64_t now = clock_monotonic_ms();
        if (!j) {
            (void)pthread_cond_wait(&p->deadlines, &p->lock);
        } else if (j->deadline > now && !p->stopping) {
            const struct timespec until = timespec_of(j->deadline);
            (void)pthread_cond_timedwait(&p->deadlines, &p->lock, &until);
        } else {
            unlist(p, j);
            if (!p->stopping)
                publisher_miss(p, "no acknowledgement in time");
            to_spool(p, j);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- the front ---- */

static size_t wire_size(const struct spool_record *r)
{
    size_t n = r->key.len + r->value.len;
    for (size_t i = 0; i < r->header_n; i++)
        n += strlen(r->headers[i].name) + r->headers[i].value.len + 10;
    return n;
}

void publish(struct publisher *p, const struct spool_record *r, outcome_fn *done, void *ctx)
{
    bool fits = wire_size(r) <= RECORD_MAX;
    struct job *j = fits ? job_new(p, r, done, ctx) : NULL;
    if (!j) {
        enum outcome o = fits ? OUTCOME_REFUSED : OUTCOME_UNFIT;
        counter_add(p->outcomes[o], 1);
        done(ctx, o);
        return;
    }
    bool behind = p->spool && spool_has_key(p->spool, r->topic, r->key);
    j->began = clock_monotonic_ms();
    j->deadline = j->began + p->ack_timeout;
    j->holders = 1;
    (void)pthread_mutex_lock(&p->lock);
    p->out++;
    if (p->breaker.open || behind || p->stopping) {
        to_spool(p, j);
        (void)pthread_mutex_unlock(&p->lock);
        return;
    }
    j->state = JOB_OUT;
    j->holders = 2;
    list(p, j);
    (void)pthread_mutex_unlock(&p->lock);

    /* Outside the lock: the report may come before this returns. Ours to look at no more once it
     * was taken. */
    struct err e = {0};
    int rc = kafka_produce(p->kafka, j->record.topic.p, j->record.key, j->record.value,
                           j->record.headers, j->record.header_n, j, &e);
    if (rc == 0)
        return;
    (void)pthread_mutex_lock(&p->lock);
    if (j->state == JOB_OUT) {
        unlist(p, j);
        if (rc == -EMSGSIZE)
            answer(p, j, OUTCOME_UNFIT);
        else /* its queue is full, or its handle is being replaced: the disk may have room */
            to_spool(p, j);
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that holders count */
    job_release(j);
    (void)pthread_mutex_unlock(&p->lock);
}

void publish_beat(struct publisher *p, struct slice id, struct slice value)
{
    struct err e = {0};
    if (kafka_produce(p->kafka, BEAT_TOPIC, id, value, NULL, 0, &p->beat, &e) == 0)
        return;
    log_warn(EV("beat_not_sent"), KV("reason", e.msg));
    (void)pthread_mutex_lock(&p->lock);
    p->heard = true; /* no report will come */
    (void)pthread_mutex_unlock(&p->lock);
}

static bool farewell(struct publisher *p, const char *id)
{
    char text[BEAT_MAX];
    struct err e = {0};
    const struct beat_word word = {.id = id, .at = clock_now_ms(), .farewell = true};
    bool heard = kafka_produce_wait(p->kafka, BEAT_TOPIC, slice_of(id), beat_text(&word, text),
                                    NULL, 0, p->ack_timeout, &e) == 0;
    if (!heard)
        log_warn(EV("farewell_not_heard"), KV("ingest", id), KV("reason", e.msg));
    else if (p->spool)
        spool_release(p->spool, id);
    return heard;
}

void publish_farewells(struct publisher *p, bool ours)
{
    char id[SPOOL_ID];
    bool heard = true;
    while (heard && p->spool && spool_owes(p->spool, id))
        heard = farewell(p, id);
    /* what is out may yet go to the spool */
    if (heard && ours && publisher_drain(p, p->ack_timeout) &&
        publisher_age(p, clock_now_ms()) == 0)
        (void)farewell(p, p->id);
}

void publisher_state(struct publisher *p, struct publisher_state *ret)
{
    *ret = (struct publisher_state){.has_spool = p->spool != NULL};
    if (p->spool)
        spool_state(p->spool, &ret->spool);
    (void)pthread_mutex_lock(&p->lock);
    ret->breaker_open = p->breaker.open;
    ret->heard = p->heard;
    (void)pthread_mutex_unlock(&p->lock);
}

int64_t publisher_age(struct publisher *p, int64_t now)
{
    struct spool_state s = {0};
    if (p->spool)
        spool_state(p->spool, &s);
    if (s.records == 0 && s.aside == 0)
        return 0;
    int64_t at = s.records == 0 ? s.aside_at : s.oldest;
    return at > 0 && at < now ? now - at : 1;
}

/* ---- life ---- */

static void make_metrics(struct publisher *p)
{
    static const char name[] = "tocsin_ingest_records_total", help[] = "Records by outcome.";
    p->outcomes[OUTCOME_ACKNOWLEDGED] = counter_new(name, help, "outcome=\"acknowledged\"");
    p->outcomes[OUTCOME_SPOOLED] = counter_new(name, help, "outcome=\"spooled\"");
    p->outcomes[OUTCOME_REFUSED] = counter_new(name, help, "outcome=\"refused\"");
    p->outcomes[OUTCOME_UNFIT] = counter_new(name, help, "outcome=\"unfit\"");
    p->unfit = counter_new("tocsin_ingest_spool_unfit_total",
                           "Records of the spool that were too large for Kafka: set aside.", "");
    p->late = counter_new("tocsin_ingest_late_acknowledgements_total",
                          "Records that Kafka took after they had gone to the spool.", "");
    p->opened = counter_new("tocsin_ingest_breaker_opened_total",
                            "Times that Kafka was given up for a while.", "");
    p->latency = histogram_new("tocsin_ingest_produce_seconds",
                               "From the door to safety: acknowledged, spooled or refused.", "",
                               latency_bounds, latency_bound_n);
}

static int open_spool(struct publisher *p, const struct ingest_settings *s, const char *id,
                      struct err *e)
{
    if (!s->spool_dir || !*s->spool_dir)
        return 0;
    const struct spool_options o = {
        .dir = s->spool_dir, .id = id, .max = s->spool_max, .done = on_spooled, .ctx = p};
    int rc = spool_open(&o, &p->spool, e);
    if (rc < 0)
        return rc;
    struct spool_state state;
    spool_state(p->spool, &state);
    if (state.records > 0 || state.damaged > 0)
        log_warn(EV("spool_adopted"), KV("records", (int64_t)state.records),
                 KV("damaged", (int64_t)state.damaged));
    return 0;
}

/* Everything that this process may write. */
static int expect_topics(struct publisher *p, struct err *e)
{
    int rc = kafka_expect(p->kafka, BEAT_TOPIC, e);
    if (rc == 0)
        rc = kafka_expect(p->kafka, "repairs", e);
    for (size_t i = 0; rc == 0 && source_at(i); i++) {
        char topic[64];
        (void)snprintf(topic, sizeof(topic), "raw.%s", source_at(i)->name);
        rc = kafka_expect(p->kafka, topic, e);
    }
    return rc;
}

static int start_threads(struct publisher *p, struct err *e)
{
    if (pthread_create(&p->timer, NULL, timer, p) != 0)
        return err_set(e, -EAGAIN, "no thread");
    p->timer_started = true;
    if (pthread_create(&p->drainer, NULL, drain_run, p) != 0)
        return err_set(e, -EAGAIN, "no thread");
    p->drainer_started = true;
    return 0;
}

int publisher_new(const struct settings *s, const char *id, struct publisher **ret, struct err *e)
{
    struct publisher *p = calloc(1, sizeof(*p));
    if (!p)
        return err_set(e, -ENOMEM, "out of memory");
    p->id = id;
    p->ack_timeout = s->kafka.ack_timeout;
    p->beat.kind = TICKET_BEAT;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->deadlines, &attr);
    (void)pthread_cond_init(&p->reports, &attr);
    (void)pthread_condattr_destroy(&attr);
    make_metrics(p);
    int rc = open_spool(p, &s->ingest, id, e);
    if (rc == 0)
        rc = kafka_producer_new(&s->kafka, on_report, p, &p->kafka, e);
    if (rc == 0)
        rc = expect_topics(p, e);
    if (rc == 0)
        rc = start_threads(p, e);
    if (rc < 0) {
        publisher_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

bool publisher_drain(struct publisher *p, int64_t timeout_ms)
{
    const struct timespec until = timespec_of(clock_monotonic_ms() + timeout_ms);
    int rc = 0;
    (void)pthread_mutex_lock(&p->lock);
    while (p->out > 0 && rc == 0)
        rc = pthread_cond_timedwait(&p->reports, &p->lock, &until);
    const bool all = p->out == 0;
    (void)pthread_mutex_unlock(&p->lock);
    return all;
}

void publisher_free(struct publisher *p)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = true;
    (void)pthread_cond_broadcast(&p->deadlines);
    (void)pthread_cond_broadcast(&p->reports);
    (void)pthread_mutex_unlock(&p->lock);
    if (p->spool)
        spool_wake(p->spool);
    if (p->drainer_started)
        (void)pthread_join(p->drainer, NULL);
    if (p->timer_started) /* sends what is out to the spool */
        (void)pthread_join(p->timer, NULL);
    kafka_producer_free(p->kafka); /* every report has come; jobs only lose a holder */
    spool_close(p->spool);         /* writes what it was given, and so answers the last ones */
    (void)pthread_cond_destroy(&p->deadlines);
    (void)pthread_cond_destroy(&p->reports);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}
