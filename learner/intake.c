#include "learner/intake.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/service.h"
#include "learner/learn.h"

#define GROUP "learner"
#define MEMORY ((size_t)64 << 20)
#define POSITIONS 1024
#define BROKER_TIMEOUT_MS 5000
#define PAUSE_MS 500

/* What the offsets row counts of one partition: starts of the process that ended over its first
 * batch. */
struct toll {
    int32_t deaths;
    uint32_t alone; /* records that still go one by one */
    bool announced; /* once an assignment, before the first batch is read */
    bool open;      /* ... and no commit has taken it back yet */
};

struct intake {
    const struct settings *settings;
    struct learner learner;
    struct pg *pg;
    struct arena *rows; /* offsets, positions */
    struct kafka_consumer *kafka;
    char cluster[64];
    struct kafka_partition *owned; /* offset: next to read, and what the row says */
    struct toll *tolls;            /* parallel */
    size_t owned_n;
    bool lost; /* what the rows say is not known any more */
    int64_t due_at;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool running;
};

static struct offset_group group_of(const struct intake *in)
{
    return (struct offset_group){GROUP, in->cluster};
}

static void pause_a_little(void)
{
    const struct timespec t = {.tv_nsec = PAUSE_MS * 1000000L};

    (void)nanosleep(&t, NULL);
}

/* ---- positions ---- */

static void report(const struct offset_row *r)
{
    if (r->lost_from >= 0)
        log_error(EV("offset_outside_topic"), KV("topic", r->topic), KV("partition", r->partition),
                  KV("stored", r->lost_from), KV("low", r->low), KV("high", r->high),
                  KV("from", r->next));
    if (r->new_cluster)
        log_error(EV("new_cluster"), KV("topic", r->topic), KV("partition", r->partition),
                  KV("from", r->next));
}

static int load(struct intake *in, struct kafka_partition *p, size_t n, struct err *e)
{
    struct offset_row *rows = arena_array(in->rows, n + 1, struct offset_row);
    const struct offset_group g = group_of(in);
    int rc = rows ? pg_connect(in->pg, e) : err_set(e, -ENOMEM, "out of memory");

    for (size_t i = 0; rows && i < n; i++)
        rows[i] = (struct offset_row){.topic = p[i].topic, .partition = p[i].partition};
    if (rc == 0)
        rc = offsets_seen(in->pg, in->rows, &g, rows, n, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = kafka_query_watermarks(in->kafka, p[i].topic, p[i].partition, BROKER_TIMEOUT_MS,
                                    &rows[i].low, &rows[i].high, e);
    }
    if (rc < 0 || (rc = offsets_load(in->pg, in->rows, &g, rows, n, e)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        report(&rows[i]);
        p[i].offset = rows[i].next;
        in->tolls[i] = (struct toll){.deaths = rows[i].starts};
    }
    return 0;
}

/* Batches that were announced and end without a commit while the process lives: nobody died of
 * them. */
static void withdraw(struct intake *in)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    struct offset_row *rows = a ? arena_array(a, in->owned_n + 1, struct offset_row) : NULL;
    const struct offset_group g = group_of(in);
    struct err e = {0};
    size_t n = 0;

    for (size_t i = 0; rows && i < in->owned_n; i++)
        if (in->tolls[i].open)
            rows[n++] = (struct offset_row){.topic = in->owned[i].topic,
                                            .partition = in->owned[i].partition};
    if (n > 0 && (pg_connect(in->pg, &e) < 0 || offsets_withdraw(in->pg, a, &g, rows, n, &e) < 0))
        log_warn(EV("starts_not_withdrawn"), KV("reason", e.msg));
}

static int assigned(void *ctx, struct kafka_partition *p, size_t n, struct err *e)
{
    struct intake *in = ctx;

    if (n > POSITIONS)
        return err_set(e, -E2BIG, "more than %d partitions", POSITIONS);
    arena_reset(in->rows);
    int rc = in->cluster[0] ? 0 : kafka_cluster_id(in->kafka, BROKER_TIMEOUT_MS, in->cluster, e);
    if (rc == 0)
        rc = load(in, p, n, e);
    if (rc < 0)
        return rc;
    memcpy(in->owned, p, n * sizeof(*p));
    in->owned_n = n;
    in->lost = false;
    return 0;
}

static void revoked(void *ctx, const struct kafka_partition *p, size_t n, bool lost)
{
    struct intake *in = ctx;

    (void)p;
    (void)n;
    (void)lost;
    withdraw(in);
    in->owned_n = 0;
}

static int find_again(struct intake *in, struct err *e)
{
    int rc = pg_connect(in->pg, e);
    if (rc < 0)
        return rc;
    withdraw(in);
    arena_reset(in->rows);
    rc = load(in, in->owned, in->owned_n, e);
    for (size_t i = 0; i < in->owned_n && rc == 0; i++)
        if (kafka_seek(in->kafka, in->owned[i].topic, in->owned[i].partition, in->owned[i].offset,
                       e) < 0)
            rc = -EAGAIN; /* a rebalance is under way, or the broker is away */
    if (rc == 0)
        in->lost = false;
    return rc;
}

static struct kafka_partition *owned(struct intake *in, const struct kafka_message *m)
{
    for (size_t i = 0; i < in->owned_n; i++)
        if (in->owned[i].partition == m->partition && strcmp(in->owned[i].topic, m->topic) == 0)
            return &in->owned[i];
    return NULL;
}

/* ---- records ---- */

struct batch {
    struct inbound *records;
    struct offset_move *moves;
    size_t n, move_n;
};

static bool add_move(struct intake *in, struct batch *b, const struct kafka_message *m)
{
    const struct kafka_partition *own = owned(in, m);

    if (!own)
        return false;
    for (size_t i = 0; i < b->move_n; i++)
        if (b->moves[i].topic == own->topic && b->moves[i].partition == own->partition) {
            b->moves[i].next = m->offset + 1;
            return true;
        }
    b->moves[b->move_n++] =
        (struct offset_move){own->topic, own->partition, own->offset, m->offset + 1};
    return true;
}

static int gather(struct intake *in, const struct kafka_message *m, size_t n, struct batch *b,
                  struct err *e)
{
    arena_reset(in->rows);
    *b = (struct batch){.records = arena_array(in->rows, n, struct inbound),
                        .moves = arena_array(in->rows, n, struct offset_move)};
    if (!b->records || !b->moves)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        struct kafka_header *headers = NULL;
        if (!add_move(in, b, &m[i]))
            continue;
        const size_t header_n = kafka_message_headers(&m[i], in->rows, &headers);
        b->records[b->n++] = (struct inbound){.topic = m[i].topic,
                                              .partition = m[i].partition,
                                              .offset = m[i].offset,
                                              .key = m[i].key,
                                              .value = m[i].value,
                                              .headers = headers,
                                              .header_n = header_n};
    }
    return 0;
}

static int take_some(struct intake *in, const struct kafka_message *m, size_t n,
                     const char *refused, struct err *e)
{
    const struct offset_group g = group_of(in);
    struct batch b;
    int rc = gather(in, m, n, &b, e);

    if (rc < 0 || b.n == 0)
        return rc;
    const struct learn_batch batch = {.group = &g,
                                      .moves = b.moves,
                                      .move_n = b.move_n,
                                      .records = b.records,
                                      .n = b.n,
                                      .refused = refused};
    rc = learn_records(&in->learner, &batch, clock_now_ms(), e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < b.move_n; i++)
        for (size_t j = 0; j < in->owned_n; j++)
            if (in->owned[j].topic == b.moves[i].topic &&
                in->owned[j].partition == b.moves[i].partition) {
                in->owned[j].offset = b.moves[i].next;
                in->tolls[j].open = false;
            }
    kafka_commit_hint(in->kafka, in->owned, in->owned_n);
    return 0;
}

static struct toll *toll_of(struct intake *in, const struct kafka_message *m)
{
    const struct kafka_partition *own = owned(in, m);

    return own ? &in->tolls[own - in->owned] : NULL;
}

/* Before the first record of a partition is even parsed. */
static int announce(struct intake *in, const struct kafka_message *m, size_t n, struct err *e)
{
    const struct offset_group g = group_of(in);

    for (size_t i = 0; i < n; i++) {
        struct toll *t = toll_of(in, &m[i]);
        const struct offset_row row = {.topic = m[i].topic, .partition = m[i].partition};

        if (!t || t->announced)
            continue;
        arena_reset(in->rows);
        int rc = offsets_starts(in->pg, in->rows, &g, &row, 1, e);
        if (rc < 0)
            return rc;
        t->announced = t->open = true;
        if ((uint32_t)t->deaths < in->settings->learner.crash_limit)
            continue;
        t->alone = in->settings->learner.batch;
        log_error(EV("probation"), KV("topic", m[i].topic), KV("partition", m[i].partition),
                  KV("deaths", t->deaths));
    }
    return 0;
}

/* A partition over whose first batch the process died again and again: its records go one by one,
 * so that the next death is the first one's own; and when it was, that one goes unread. */
static int take(struct intake *in, const struct kafka_message *m, size_t n, struct err *e)
{
    bool alone = false;
    int rc = announce(in, m, n, e);

    for (size_t i = 0; i < n && !alone; i++) {
        const struct toll *t = toll_of(in, &m[i]);
        alone = t && t->alone > 0;
    }
    if (rc < 0 || !alone)
        return rc < 0 ? rc : take_some(in, m, n, NULL, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct toll *t = toll_of(in, &m[i]);
        const bool deadly = t && t->open && (uint32_t)t->deaths > in->settings->learner.crash_limit;

        rc = take_some(in, &m[i], 1,
                       deadly ? "this record ended the process again and again" : NULL, e);
        if (t && t->alone > 0)
            t->alone--;
    }
    return rc;
}

/* Due by Postgres's clock, so that learners on several hosts agree. */
static int look(struct intake *in, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    size_t n = 0;
    int rc = pg_query(in->pg, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8", NULL,
                      &r, e);
    const int64_t now = rc == 0 ? pg_get_int(r, 0, 0) : 0;

    do {
        if (rc == 0)
            rc = learn_due(&in->learner, now, &n, e);
    } while (rc == 0 && n == in->settings->learner.batch && !atomic_load(&in->stop));
    return rc;
}

/* ---- the thread ---- */

/* What passes by itself: a server that is away or busy, a partition that is another's, a conflict
 * that lasted. Everything else is a bug, and loud. */
static void failed(struct intake *in, int rc, struct err *e)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped = 0;

    in->lost = true;
    if (rc != -ENOTCONN && rc != -EBUSY && rc != -ESTALE && rc != -EAGAIN && rc != -ETIMEDOUT) {
        service_fail(e);
        atomic_store(&in->stop, true);
        return;
    }
    if (log_allow(&limit, &dropped))
        log_warn(EV("learner_waits"), KV("reason", e->msg), KV("dropped", dropped));
    pause_a_little();
}

static int turn(struct intake *in, struct kafka_message *m, struct err *e)
{
    int rc = in->lost ? find_again(in, e) : 0;

    if (rc < 0)
        return rc;
    const int n = kafka_poll(in->kafka, m, in->settings->learner.batch,
                             in->settings->learner.poll_interval, e);
    if (n < 0)
        return -EAGAIN;
    if (n > 0)
        rc = take(in, m, (size_t)n, e);
    for (int i = 0; i < n; i++)
        kafka_message_free(&m[i]);
    if (rc == 0 && clock_monotonic_ms() >= in->due_at) {
        rc = look(in, e);
        in->due_at = clock_monotonic_ms() + in->settings->learner.poll_interval;
    }
    return rc;
}

/* The authors' playbooks come first: they need no record. */
static int prepare(struct intake *in, struct err *e)
{
    int rc = pg_connect(in->pg, e);

    return rc < 0 ? rc : learn_authors(&in->learner, clock_now_ms(), e);
}

static void *work(void *ctx)
{
    struct intake *in = ctx;
    struct kafka_message *m = calloc(in->settings->learner.batch, sizeof(*m));
    bool ready = false;

    while (m && !atomic_load(&in->stop)) {
        struct err e = {0};
        int rc = ready ? turn(in, m, &e) : prepare(in, &e);
        ready |= rc == 0;
        if (rc < 0)
            failed(in, rc, &e);
    }
    free(m);
    (void)pthread_mutex_lock(&in->lock);
    in->running = false;
    (void)pthread_cond_broadcast(&in->ended);
    (void)pthread_mutex_unlock(&in->lock);
    return NULL;
}

static int open_all(struct intake *in, struct err *e)
{
    static const char *const topics[] = {"repairs", NULL};
    const struct kafka_consumer_options o = {
        .group = GROUP, .topics = topics, .assigned = assigned, .revoked = revoked, .ctx = in};

    in->rows = arena_new(MEMORY);
    in->learner.a = arena_new(MEMORY);
    in->owned = calloc(POSITIONS, sizeof(*in->owned));
    in->tolls = calloc(POSITIONS, sizeof(*in->tolls));
    if (!in->rows || !in->learner.a || !in->owned || !in->tolls)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = pg_open(&in->settings->postgres, "tocsin-learner", &in->pg, e);
    if (rc == 0)
        rc = kafka_consumer_new(&in->settings->kafka, &o, &in->kafka, e);
    in->learner.pg = in->pg;
    return rc;
}

int intake_start(const struct settings *s, const struct playbooks *p, struct intake **ret,
                 struct err *e)
{
    struct intake *in = calloc(1, sizeof(*in));

    if (!in)
        return err_set(e, -ENOMEM, "out of memory");
    in->settings = s;
    in->learner = (struct learner){.settings = s, .playbooks = p, .policy = &policy_beta_mean};
    learner_init(&in->learner);
    (void)pthread_mutex_init(&in->lock, NULL);
    (void)pthread_cond_init(&in->ended, NULL);
    int rc = open_all(in, e);
    if (rc == 0) {
        in->running = true;
        rc = -pthread_create(&in->thread, NULL, work, in);
        if (rc < 0) {
            in->running = false;
            (void)err_set(e, rc, "no thread");
        }
    }
    if (rc < 0) {
        in->thread = 0;
        intake_stop(in);
        return rc;
    }
    *ret = in;
    return 0;
}

void intake_drain(struct intake *in)
{
    atomic_store(&in->stop, true);
    (void)pthread_mutex_lock(&in->lock);
    while (in->running)
        (void)pthread_cond_wait(&in->ended, &in->lock);
    (void)pthread_mutex_unlock(&in->lock);
}

void intake_stop(struct intake *in)
{
    if (!in)
        return;
    intake_drain(in);
    if (in->thread)
        (void)pthread_join(in->thread, NULL);
    kafka_consumer_free(in->kafka);
    pg_close(in->pg);
    arena_free(in->learner.a);
    arena_free(in->rows);
    free(in->owned);
    free(in->tolls);
    (void)pthread_cond_destroy(&in->ended);
    (void)pthread_mutex_destroy(&in->lock);
    free(in);
}
