/*
 * One poll thread owns the handle: it alone serves delivery reports and replaces a handle that died
 * of a fatal idempotence error. Senders hold the lock for reading while they hand a record over, so
 * that no handle is retired under them. Every record carries a small `flight`, which is what makes
 * "exactly one report" hold across handles.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "common/kafka_internal.h"
#include "common/log.h"

enum {
    POLL_MS = 100,
    /*
     * Until a record that no broker took is reported as failed. Whoever has a deadline keeps it
     * with a clock of its own (ingest's is kafka.ack_timeout); this only has to outlast what heals
     * by itself: the first metadata and producer id of a fresh handle, a topic that was just made,
     * a broker that starts again. Ending a record any sooner makes an outage of each of these.
     */
    MESSAGE_TIMEOUT_MS = 5000,
};

struct kafka_producer {
    rd_kafka_conf_t *conf; /* to build the next handle from */
    char *prefix;
    size_t limit; /* records out at which new ones are refused */
    kafka_report_fn *report;
    void *ctx;

    pthread_rwlock_t lock; /* of rk and what is expected: the poll thread writes, senders read */
    rd_kafka_t *rk;
    struct expected *expected;
    pthread_t thread;
    atomic_bool stopping;

    atomic_size_t pending;
    pthread_mutex_t idle_lock;
    pthread_cond_t idle; /* pending fell to 0 */
};

/* A topic whose leaders a handle looks up before the first record to it. */
struct expected {
    char name[KAFKA_NAME_MAX];
    rd_kafka_topic_t *topic; /* of the handle that is in use */
    struct expected *next;
};

/* A record on its way, and who wants to know. */
struct flight {
    kafka_report_fn *report;
    void *ctx, *record;
};

/* ---- the poll thread ---- */

static void landed(struct kafka_producer *p)
{
    if (atomic_fetch_sub(&p->pending, 1) != 1)
        return;
    pthread_mutex_lock(&p->idle_lock);
    pthread_cond_broadcast(&p->idle);
    pthread_mutex_unlock(&p->idle_lock);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    struct kafka_producer *p = opaque;
    struct flight *f = m->_private;
    rd_kafka_resp_err_t code = m->err;
    /* Success must mean that every in-sync replica has it. */
    if (!code && rd_kafka_message_status(m) != RD_KAFKA_MSG_STATUS_PERSISTED)
        code = RD_KAFKA_RESP_ERR__STATE;
    f->report(f->ctx, f->record, code, rd_kafka_err2str(code));
    free(f);
    landed(p);
}

static void look_up(struct kafka_producer *p)
{
    for (struct expected *x = p->expected; x; x = x->next)
        if (!x->topic)
            x->topic = rd_kafka_topic_new(p->rk, x->name, NULL); /* asks, and does not wait */
}

static void forget(struct kafka_producer *p)
{
    for (struct expected *x = p->expected; x; x = x->next) {
        if (x->topic)
            rd_kafka_topic_destroy(x->topic);
        x->topic = NULL;
    }
}

/* Report what is still out as failed, then destroy. A record may move between queues while it is
 * purged, hence the loop. */
static void retire(rd_kafka_t *rk)
{
    rd_kafka_poll(rk, 0);
    while (rd_kafka_outq_len(rk) > 0) {
        rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_poll(rk, POLL_MS);
    }
    rd_kafka_destroy(rk);
}

/* A producer id that the broker and librdkafka no longer agree on is of no use, and librdkafka
 * never takes a new one by itself. */
static void rebuild(struct kafka_producer *p, const char *why)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped = 0;
    struct err e = {0};
    rd_kafka_t *next = NULL;
    int rc = kafka_handle(RD_KAFKA_PRODUCER, p->conf, &next, &e);
    if (log_allow(&limit, &dropped))
        log_error(EV("kafka_producer_rebuilt"), KV("why", why), KV("failed", (const char *)e.msg),
                  KV("dropped", dropped));
    if (rc)
        return; /* the next round tries again */
    pthread_rwlock_wrlock(&p->lock);
    rd_kafka_t *dead = p->rk;
    forget(p);
    p->rk = next;
    look_up(p);
    pthread_rwlock_unlock(&p->lock);
    retire(dead);
}

static void *poll_thread(void *arg)
{
    struct kafka_producer *p = arg;
    while (!atomic_load(&p->stopping)) {
        rd_kafka_poll(p->rk, POLL_MS);
        char why[256];
        if (rd_kafka_fatal_error(p->rk, why, sizeof why))
            rebuild(p, why);
    }
    forget(p);
    retire(p->rk);
    return NULL;
}

/* ---- life ---- */

static int configure(const struct kafka_settings *s, struct kafka_producer *p, struct err *e)
{
    int rc = kafka_conf(s, &p->conf, e);
    if (rc)
        return rc;
    rd_kafka_conf_set_dr_msg_cb(p->conf, delivered);
    rd_kafka_conf_set_opaque(p->conf, p);
    const struct kafka_property properties[] = {
        {.name = "enable.idempotence", .value = "true"},
        {.name = "acks", .value = "all"},
        /* A broker would make a missing topic with its own defaults: one partition, one replica. */
        {.name = "allow.auto.create.topics", .value = "false"},
        {.name = "compression.codec", .value = "lz4"},
        /* Where Java's clients put the same key. */
        {.name = "partitioner", .value = "murmur2_random"},
        {.name = "linger.ms", .number = s->linger},
        {.name = "batch.size", .number = KAFKA_BATCH_MAX},
        {.name = "message.max.bytes", .number = KAFKA_MESSAGE_MAX},
        {.name = "message.timeout.ms", .number = MESSAGE_TIMEOUT_MS},
        {.name = "queue.buffering.max.messages", .number = s->queue_messages},
        {0},
    };
    return kafka_conf_set(p->conf, properties, e);
}

static void init_locks(struct kafka_producer *p)
{
    /* Senders never pause: without preference a rebuild might wait for ever. */
    pthread_rwlockattr_t rw;
    pthread_rwlockattr_init(&rw);
    pthread_rwlockattr_setkind_np(&rw, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&p->lock, &rw);
    pthread_rwlockattr_destroy(&rw);

    pthread_mutex_init(&p->idle_lock, NULL);
    pthread_condattr_t cond;
    pthread_condattr_init(&cond);
    pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
    pthread_cond_init(&p->idle, &cond);
    pthread_condattr_destroy(&cond);
}

static void producer_free(struct kafka_producer *p)
{
    if (p->conf)
        rd_kafka_conf_destroy(p->conf);
    while (p->expected) {
        struct expected *x = p->expected;
        p->expected = x->next;
        free(x);
    }
    pthread_rwlock_destroy(&p->lock);
    pthread_mutex_destroy(&p->idle_lock);
    pthread_cond_destroy(&p->idle);
    free(p->prefix);
    free(p);
}

int kafka_producer_new(const struct kafka_settings *s, kafka_report_fn *report, void *ctx,
                       struct kafka_producer **ret, struct err *e)
{
    struct kafka_producer *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, -ENOMEM, "kafka: out of memory");
    init_locks(p);
    p->report = report;
    p->ctx = ctx;
    p->limit = (size_t)s->queue_messages * 8 / 10;
    p->prefix = strdup(s->topic_prefix ? s->topic_prefix : "");
    int rc = p->prefix ? configure(s, p, e) : err_set(e, -ENOMEM, "kafka: out of memory");
    if (rc == 0)
        rc = kafka_handle(RD_KAFKA_PRODUCER, p->conf, &p->rk, e);
    if (rc == 0 && (rc = -pthread_create(&p->thread, NULL, poll_thread, p)) != 0) {
        rd_kafka_destroy(p->rk);
        err_set(e, rc, "kafka: no thread: %s", strerror(-rc));
    }
    if (rc) {
        producer_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

int kafka_expect(struct kafka_producer *p, const char *topic, struct err *e)
{
    struct expected *x = calloc(1, sizeof *x);

    if (!x)
        return err_set(e, -ENOMEM, "kafka: out of memory");
    const int rc = kafka_name(p->prefix, topic, x->name, e);
    if (rc) {
        free(x);
        return rc;
    }
    pthread_rwlock_wrlock(&p->lock);
    x->next = p->expected;
    p->expected = x;
    look_up(p);
    pthread_rwlock_unlock(&p->lock);
    return 0;
}

void kafka_producer_free(struct kafka_producer *p)
{
    if (!p)
        return;
    atomic_store(&p->stopping, true);
    pthread_join(p->thread, NULL);
    producer_free(p);
}

/* ---- sending ---- */

struct record {
    const char *topic; /* without prefix */
    struct slice key, value;
    const struct kafka_header *headers;
    size_t header_n;
};

static void *no_const(const char *p)
{
    /* librdkafka's unions lack a const; it copies. NOLINTNEXTLINE(performance-no-int-to-ptr) */
    return (void *)(uintptr_t)p;
}

static rd_kafka_headers_t *headers_of(const struct record *r)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(r->header_n);
    for (size_t i = 0; i < r->header_n; i++) {
        const struct kafka_header *h = &r->headers[i];
        rd_kafka_header_add(headers, h->name, -1, h->value.p, (ssize_t)h->value.len);
    }
    return headers;
}

/* Takes over `f` unless it fails. */
static int hand_over(struct kafka_producer *p, const struct record *r, struct flight *f,
                     struct err *e)
{
    char name[KAFKA_NAME_MAX];
    int rc = kafka_name(p->prefix, r->topic, name, e);
    if (rc)
        return rc;
    rd_kafka_headers_t *headers = headers_of(r);
    const rd_kafka_vu_t v[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = name},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {no_const(r->key.p), r->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {no_const(r->value.p), r->value.len}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = f},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    pthread_rwlock_rdlock(&p->lock);
    CLEANUP(rd_kafka_error_destroy)
    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, v, sizeof v / sizeof *v);
    pthread_rwlock_unlock(&p->lock);
    if (!error)
        return 0;
    rd_kafka_headers_destroy(headers);
    /* A dead handle tells what killed it; for the sender it is only away until the poll thread has
     * replaced it. */
    bool dead = rd_kafka_error_is_fatal(error);
    return kafka_err(e, dead ? RD_KAFKA_RESP_ERR__FATAL : rd_kafka_error_code(error), name);
}

static int produce(struct kafka_producer *p, const struct record *r, struct flight how,
                   struct err *e)
{
    if (atomic_fetch_add(&p->pending, 1) >= p->limit) {
        landed(p);
        return err_set(e, -EAGAIN, "kafka: %zu records wait for the broker already", p->limit);
    }
    struct flight *f = malloc(sizeof *f);
    int rc = -ENOMEM;
    if (f) {
        *f = how;
        rc = hand_over(p, r, f, e);
    } else {
        err_set(e, rc, "kafka: out of memory");
    }
    if (rc) {
        free(f);
        landed(p);
    }
    return rc; /* delivered() frees `f`; NOLINT(clang-analyzer-unix.Malloc) */
}

/* NOLINTNEXTLINE(readability-function-size): a record has that many parts */
int kafka_produce(struct kafka_producer *p, const char *topic, struct slice key, struct slice value,
                  const struct kafka_header *headers, size_t header_n, void *record, struct err *e)
{
    const struct record r = {topic, key, value, headers, header_n};
    return produce(p, &r, (struct flight){p->report, p->ctx, record}, e);
}

/* ---- waiting ---- */

/* Shared by the waiter and the report; whoever comes last frees it. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool reported, abandoned;
    rd_kafka_resp_err_t code;
};

static void waiter_free(struct waiter *w)
{
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    free(w);
}

static void wake(void *ctx, void *record, int code, const char *text)
{
    (void)ctx;
    (void)text;
    struct waiter *w = record;
    pthread_mutex_lock(&w->lock);
    w->reported = true;
    w->code = (rd_kafka_resp_err_t)code;
    bool abandoned = w->abandoned;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    if (abandoned)
        waiter_free(w);
}

static struct waiter *waiter_new(void)
{
    struct waiter *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    return w;
}

static struct timespec after(int64_t ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + kafka_ms(ms) % 1000 * INT64_C(1000000);
    t.tv_sec += kafka_ms(ms) / 1000 + ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    return t;
}

/* NOLINTNEXTLINE(readability-function-size): as above */
int kafka_produce_wait(struct kafka_producer *p, const char *topic, struct slice key,
                       struct slice value, const struct kafka_header *headers, size_t header_n,
                       int64_t timeout_ms, struct err *e)
{
    struct waiter *w = waiter_new();
    if (!w)
        return err_set(e, -ENOMEM, "kafka: out of memory");
    const struct record r = {topic, key, value, headers, header_n};
    int rc = produce(p, &r, (struct flight){wake, NULL, w}, e);
    if (rc) {
        waiter_free(w);
        return rc;
    }
    struct timespec deadline = after(timeout_ms);
    pthread_mutex_lock(&w->lock);
    while (!w->reported && pthread_cond_timedwait(&w->cond, &w->lock, &deadline) == 0)
        ;
    bool reported = w->reported;
    rd_kafka_resp_err_t code = w->code;
    w->abandoned = true;
    pthread_mutex_unlock(&w->lock);
    if (!reported)
        return err_set(e, -ETIMEDOUT, "kafka: %s: no report within %lld ms", topic,
                       (long long)timeout_ms);
    waiter_free(w);
    return code ? kafka_err(e, code, topic) : 0;
}

size_t kafka_flush(struct kafka_producer *p, int64_t timeout_ms)
{
    struct timespec deadline = after(timeout_ms);
    pthread_mutex_lock(&p->idle_lock);
    while (atomic_load(&p->pending) > 0 &&
           pthread_cond_timedwait(&p->idle, &p->idle_lock, &deadline) == 0)
        ;
    pthread_mutex_unlock(&p->idle_lock);
    return atomic_load(&p->pending);
}

size_t kafka_pending(const struct kafka_producer *p)
{
    return atomic_load(&p->pending);
}
