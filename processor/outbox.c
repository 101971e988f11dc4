#include "processor/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"

#define OUTBOX_MEMORY ((size_t)64 << 20) /* of headers; rows are libpq's */

/* Records of one go that Kafka has not reported yet. The go may end before they do; whoever comes
 * last frees it. */
struct flight {
    size_t out;
    bool left; /* by outbox_drain() */
    size_t n;
    struct slot {
        struct flight *flight;
        bool acked, failed; /* neither: no word yet */
    } slots[];
};

struct outbox {
    pthread_mutex_t lock; /* of every flight */
    pthread_cond_t landed;
    char why[160]; /* of the newest failure */
    struct counter *refused;
};

struct outbox *outbox_new(void)
{
    struct outbox *o = calloc(1, sizeof(*o));
    pthread_condattr_t monotonic;

    if (!o || pthread_condattr_init(&monotonic) != 0) {
        free(o);
        return NULL;
    }
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&o->lock, NULL);
    (void)pthread_cond_init(&o->landed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    o->refused = counter_new("tocsin_outbox_refused_total",
                             "Refusals of outbox records by Kafka; the records are put aside.", "");
    return o;
}

void outbox_free(struct outbox *o)
{
    if (!o)
        return;
    (void)pthread_cond_destroy(&o->landed);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}

void outbox_report(void *ctx, void *record, int err_code, const char *err_text)
{
    struct outbox *o = ctx;
    struct slot *slot = record;

    if (!slot)
        return;
    struct flight *f = slot->flight;
    (void)pthread_mutex_lock(&o->lock);
    slot->acked = err_code == 0;
    slot->failed = err_code != 0;
    if (err_code != 0)
        (void)snprintf(o->why, sizeof(o->why), "%s", err_text);
    if (--f->out == 0) {
        if (f->left)
            free(f);
        else
            (void)pthread_cond_signal(&o->landed);
    }
    (void)pthread_mutex_unlock(&o->lock);
}

/* ---- to Kafka ---- */

/* A row that was put aside has an object `outbox` in its headers, which is not sent: why it was
 * refused, and when it is tried again. */
#define AGAIN_MS MS_MINUTE
#define NOW_MS "(extract(epoch FROM now()) * 1000)::int8"

enum { OB_ID, OB_TOPIC, OB_KEY, OB_VALUE, OB_HEADERS, OB_ASIDE };

struct go {
    struct outbox *o;
    struct pg *pg;
    struct kafka_producer *p;
    struct arena *a;
    PGresult *rows;
    int64_t *ids;   /* of what Kafka has */
    size_t *failed; /* rows that it said no to */
    size_t claimed, sent, failed_n, aside;
};

static int claim(struct go *g, uint32_t max, struct err *e)
{
    struct pg_args *p = pg_args(g->a);

    pg_int(p, max);
    return pg_query(g->pg,
                    "SELECT id, topic, key, value, (headers - 'outbox')::text, headers ? 'outbox' "
                    "FROM outbox WHERE coalesce((headers #>> '{outbox,again_at}')::int8, 0) "
                    "<= " NOW_MS " ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
                    p, &g->rows, e);
}

static size_t headers_of(struct arena *a, struct slice json, const struct kafka_header **ret)
{
    json_t *tree = json_tree(json, a, NULL), *value;
    struct kafka_header *v = arena_array(a, json_object_size(tree) + 1, struct kafka_header);
    const char *name;
    size_t n = 0;

    json_object_foreach (tree, name, value) {
        if (v)
            v[n++] = (struct kafka_header){.name = name, .value = json_str(tree, name, a)};
    }
    *ret = v;
    return n;
}

/* One row to Kafka; with a slot its report comes to outbox_report(), without it is waited for. */
static int produce(const struct go *g, size_t i, struct slot *slot, int64_t timeout_ms,
                   struct err *e)
{
    const PGresult *r = g->rows;
    const int row = (int)i;
    const struct slice name = pg_get_text(r, row, OB_TOPIC), value = pg_get_text(r, row, OB_VALUE);
    const struct slice key =
        pg_is_null(r, row, OB_KEY) ? (struct slice){0} : pg_get_text(r, row, OB_KEY);
    const struct kafka_header *h;
    const char *topic = arena_strndup(g->a, name.p, name.len);
    const size_t n = headers_of(g->a, pg_get_text(r, row, OB_HEADERS), &h);

    if (!topic || !h)
        return err_set(e, -ENOMEM, "out of memory");
    return slot ? kafka_produce(g->p, topic, key, value, h, n, slot, e)
                : kafka_produce_wait(g->p, topic, key, value, h, n, timeout_ms, e);
}

static void fail(struct outbox *o, const struct err *why)
{
    (void)pthread_mutex_lock(&o->lock);
    (void)snprintf(o->why, sizeof(o->why), "%.*s", (int)sizeof(o->why) - 1, why->msg);
    (void)pthread_mutex_unlock(&o->lock);
}

static void send_all(const struct go *g, struct flight *f)
{
    struct outbox *o = g->o;

    for (size_t i = 0; i < f->n; i++) {
        struct err why = {0};

        f->slots[i].flight = f;
        (void)pthread_mutex_lock(&o->lock);
        f->out++;
        (void)pthread_mutex_unlock(&o->lock);
        if (produce(g, i, &f->slots[i], 0, &why) == 0)
            continue;
        fail(o, &why);
        (void)pthread_mutex_lock(&o->lock);
        f->slots[i].failed = true;
        f->out--;
        (void)pthread_mutex_unlock(&o->lock);
    }
}

/* Until every record has its report, or it takes too long. */
static void land(struct go *g, struct flight *f, int64_t timeout_ms)
{
    const int64_t deadline = clock_monotonic_ms() + timeout_ms;
    const struct timespec until = {.tv_sec = deadline / 1000,
                                   .tv_nsec = (long)(deadline % 1000) * 1000000};

    (void)pthread_mutex_lock(&g->o->lock);
    while (f->out > 0 && pthread_cond_timedwait(&g->o->landed, &g->o->lock, &until) != ETIMEDOUT)
        ;
    for (size_t i = 0; i < f->n; i++) {
        if (f->slots[i].acked)
            g->ids[g->sent++] = pg_get_int(g->rows, (int)i, OB_ID);
        else if (f->slots[i].failed)
            g->failed[g->failed_n++] = i;
    }
    f->left = true;
    if (f->out == 0)
        free(f);
    (void)pthread_mutex_unlock(&g->o->lock);
}

/* ---- what Kafka says no to ---- */

/* For what the record is; anything else passes by itself. */
static bool is_refusal(int rc)
{
    return rc == -EMSGSIZE || rc == -ENOENT || rc == -EACCES || rc == -ENAMETOOLONG;
}

static int put_aside(struct go *g, size_t i, const struct err *why, struct err *e)
{
    const int64_t id = pg_get_int(g->rows, (int)i, OB_ID);
    struct pg_args *p = pg_args(g->a);

    if (!pg_get_bool(g->rows, (int)i, OB_ASIDE))
        log_error(EV("outbox_record_refused"), KV("id", id),
                  KV("bytes", (int64_t)pg_get_text(g->rows, (int)i, OB_VALUE).len),
                  KV("reason", why->msg));
    counter_add(g->o->refused, 1);
    g->aside++;
    pg_int(p, id);
    pg_text(p, slice_of(why->msg));
    pg_int(p, AGAIN_MS);
    return pg_query(g->pg,
                    "UPDATE outbox SET headers = headers || jsonb_build_object('outbox', "
                    "jsonb_build_object('refused', $2::text, 'again_at', " NOW_MS
                    " + $3::int8)) WHERE id = $1",
                    p, NULL, e);
}

/* A record may have failed for another one in its batch, so each is asked about alone, until one
 * fails for something that passes. */
static int send_alone(struct go *g, int64_t timeout_ms, struct err *e)
{
    int rc = 0;

    for (size_t n = 0; n < g->failed_n && rc == 0; n++) {
        const size_t i = g->failed[n];
        struct err why = {0};
        const int said = produce(g, i, NULL, timeout_ms, &why);

        if (said == 0) {
            g->ids[g->sent++] = pg_get_int(g->rows, (int)i, OB_ID);
        } else if (is_refusal(said)) {
            rc = put_aside(g, i, &why, e);
        } else {
            fail(g->o, &why);
            break;
        }
    }
    return rc;
}

/* ---- one go ---- */

static int drain(struct go *g, const struct outbox_limits *l, struct err *e)
{
    int rc = claim(g, l->records, e);

    if (rc < 0)
        return rc;
    const size_t n = g->claimed = (size_t)PQntuples(g->rows);
    if (n == 0)
        return 0;
    struct flight *f = calloc(1, sizeof(*f) + n * sizeof(*f->slots));
    g->ids = arena_array(g->a, n, int64_t);
    g->failed = arena_array(g->a, n, size_t);
    if (!g->ids || !g->failed || !f) {
        free(f);
        return err_set(e, -ENOMEM, "outbox: out of memory");
    }
    f->n = n;
    send_all(g, f);
    land(g, f, l->timeout_ms);
    if ((rc = send_alone(g, l->timeout_ms, e)) < 0)
        return rc;
    struct pg_args *args = pg_args(g->a);
    pg_ints(args, g->ids, g->sent);
    return pg_query(g->pg, "DELETE FROM outbox WHERE id = ANY($1)", args, NULL, e);
}

int outbox_drain(struct outbox *o, struct pg *pg, struct kafka_producer *p,
                 const struct outbox_limits *l, size_t *ret_sent, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(OUTBOX_MEMORY);
    struct go g = {.o = o, .pg = pg, .p = p, .a = a};
    char why[sizeof(o->why)];

    if (!a)
        return err_set(e, -ENOMEM, "outbox: out of memory");
    int rc = pg_begin(pg, e);
    if (rc == 0)
        rc = drain(&g, l, e);
    PQclear(g.rows);
    if (rc == 0)
        rc = pg_commit(pg, e);
    if (rc < 0) {
        pg_rollback(pg);
        return rc;
    }
    *ret_sent = g.sent;
    const size_t left = g.claimed - g.sent - g.aside;
    (void)pthread_mutex_lock(&o->lock);
    (void)snprintf(why, sizeof(why), "%s", *o->why ? o->why : "no answer");
    o->why[0] = '\0';
    (void)pthread_mutex_unlock(&o->lock);
    return left == 0 ? 0
                     : err_set(e, -ETIMEDOUT, "outbox: %zu of %zu records were not taken: %s", left,
                               g.claimed, why);
}
