#include "processor/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/json.h"

#define OUTBOX_MEMORY ((size_t)64 << 20) /* of headers; rows are libpq's */

/* Records of one go that Kafka has not reported yet. The go may end before they do; whoever comes
 * last frees it. */
struct flight {
    size_t out;
    bool left; /* by outbox_drain() */
    size_t n;
    struct slot {
        struct flight *flight;
        bool acked;
    } slots[];
};

struct outbox {
    pthread_mutex_t lock; /* of every flight */
    pthread_cond_t landed;
    char why[160]; /* of the newest failure */
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

/* ---- one go ---- */

enum { OB_ID, OB_TOPIC, OB_KEY, OB_VALUE, OB_HEADERS };

static int claim(struct pg *pg, struct arena *a, uint32_t max, PGresult **ret, struct err *e)
{
    struct pg_args *p = pg_args(a);

    pg_int(p, max);
    return pg_query(pg,
                    "SELECT id, topic, key, value, headers::text FROM outbox ORDER BY id LIMIT $1 "
                    "FOR UPDATE SKIP LOCKED",
                    p, ret, e);
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

static void fail(struct outbox *o, const struct err *why)
{
    (void)pthread_mutex_lock(&o->lock);
    (void)snprintf(o->why, sizeof(o->why), "%.*s", (int)sizeof(o->why) - 1, why->msg);
    (void)pthread_mutex_unlock(&o->lock);
}

static void send_all(struct outbox *o, struct kafka_producer *p, struct arena *a, const PGresult *r,
                     struct flight *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const int row = (int)i;
        char *topic =
            arena_strndup(a, pg_get_text(r, row, OB_TOPIC).p, pg_get_text(r, row, OB_TOPIC).len);
        const struct kafka_header *headers;
        const size_t header_n = headers_of(a, pg_get_text(r, row, OB_HEADERS), &headers);
        const struct slice key =
            pg_is_null(r, row, OB_KEY) ? (struct slice){0} : pg_get_text(r, row, OB_KEY);
        struct err why = {0};

        f->slots[i].flight = f;
        (void)pthread_mutex_lock(&o->lock);
        f->out++;
        (void)pthread_mutex_unlock(&o->lock);
        if (topic && headers &&
            kafka_produce(p, topic, key, pg_get_text(r, row, OB_VALUE), headers, header_n,
                          &f->slots[i], &why) == 0)
            continue;
        if (why.code != 0)
            fail(o, &why);
        (void)pthread_mutex_lock(&o->lock);
        f->out--;
        (void)pthread_mutex_unlock(&o->lock);
    }
}

/* Until every record has its report, or it takes too long. Ids of what was acknowledged. */
static size_t land(struct outbox *o, struct flight *f, const PGresult *r, int64_t timeout_ms,
                   int64_t *ids)
{
    const int64_t deadline = clock_monotonic_ms() + timeout_ms;
    const struct timespec until = {.tv_sec = deadline / 1000,
                                   .tv_nsec = (long)(deadline % 1000) * 1000000};
    size_t n = 0;

    (void)pthread_mutex_lock(&o->lock);
    while (f->out > 0 && pthread_cond_timedwait(&o->landed, &o->lock, &until) != ETIMEDOUT)
        ;
    for (size_t i = 0; i < f->n; i++)
        if (f->slots[i].acked)
            ids[n++] = pg_get_int(r, (int)i, OB_ID);
    f->left = true;
    if (f->out == 0)
        free(f);
    (void)pthread_mutex_unlock(&o->lock);
    return n;
}

struct go {
    struct outbox *o;
    struct pg *pg;
    struct kafka_producer *p;
    struct arena *a;
    size_t claimed, sent;
};

static int drain(struct go *g, const struct outbox_limits *l, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = claim(g->pg, g->a, l->records, &r, e);

    if (rc < 0)
        return rc;
    const size_t n = g->claimed = (size_t)PQntuples(r);
    if (n == 0)
        return 0;
    int64_t *ids = arena_array(g->a, n, int64_t);
    struct flight *f = calloc(1, sizeof(*f) + n * sizeof(*f->slots));
    if (!ids || !f) {
        free(f);
        return err_set(e, -ENOMEM, "outbox: out of memory");
    }
    f->n = n;
    send_all(g->o, g->p, g->a, r, f);
    g->sent = land(g->o, f, r, l->timeout_ms, ids);
    struct pg_args *args = pg_args(g->a);
    pg_ints(args, ids, g->sent);
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
    if (rc == 0)
        rc = pg_commit(pg, e);
    if (rc < 0) {
        pg_rollback(pg);
        return rc;
    }
    *ret_sent = g.sent;
    if (g.sent == g.claimed)
        return 0;
    (void)pthread_mutex_lock(&o->lock);
    (void)snprintf(why, sizeof(why), "%s", *o->why ? o->why : "no answer");
    o->why[0] = '\0';
    (void)pthread_mutex_unlock(&o->lock);
    return err_set(e, -ETIMEDOUT, "outbox: %zu of %zu records were not taken: %s",
                   g.claimed - g.sent, g.claimed, why);
}
