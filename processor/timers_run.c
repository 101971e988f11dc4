/* What the runner does: claim what is due, and do it by kind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "processor/timers_internal.h"
#include "processor/work.h"

#define PASS_MEMORY ((size_t)256 << 20)
#define PURGE_BATCH 2000
#define BEATS_KEPT_MS MS_DAY
#define PARTITIONS_AHEAD 3

/* ---- claiming ---- */

struct subject {
    struct slice tenant, key;
};

struct claim {
    struct arena *a;
    enum timer_kind kind;
    struct subject *v; /* distinct */
    size_t n, timers;
    int64_t now_ms;
};

enum { CL_TENANT, CL_SUBJECT, CL_DUE_AT, CL_NOW };
#define CLAIMED " RETURNING t.tenant, t.subject, t.due_at, " NOW_MS

static int subject_cmp(const void *x, const void *y)
{
    const struct subject *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    return c != 0 ? c : slice_cmp(a->key, b->key);
}

static int take_subjects(struct timers *t, struct claim *c, const PGresult *r, struct err *e)
{
    const size_t rows = (size_t)PQntuples(r);

    c->v = arena_array(c->a, rows + 1, struct subject);
    if (!c->v)
        return err_set(e, -ENOMEM, "timers: too many at once");
    for (size_t i = 0; i < rows; i++) {
        c->v[i] = (struct subject){arena_slice(c->a, pg_get_text(r, (int)i, CL_TENANT)),
                                   arena_slice(c->a, pg_get_text(r, (int)i, CL_SUBJECT))};
        c->now_ms = pg_get_int(r, (int)i, CL_NOW);
        histogram_observe(t->lag, (double)(c->now_ms - pg_get_int(r, (int)i, CL_DUE_AT)) / 1000.0);
    }
    qsort(c->v, rows, sizeof(*c->v), subject_cmp);
    for (size_t i = 0; i < rows; i++)
        if (i == 0 || subject_cmp(&c->v[c->n - 1], &c->v[i]) != 0)
            c->v[c->n++] = c->v[i];
    c->timers = rows;
    return 0;
}

/* What else is due of the same subjects: looking once is enough. */
static int claim_rest(struct timers *t, struct claim *c, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct slice *tenants = arena_array(c->a, c->n, struct slice),
                 *keys = arena_array(c->a, c->n, struct slice);
    struct pg_args *p = pg_args(c->a);

    if (!tenants || !keys)
        return err_set(e, -ENOMEM, "timers: too many at once");
    for (size_t i = 0; i < c->n; i++) {
        tenants[i] = c->v[i].tenant;
        keys[i] = c->v[i].key.p ? c->v[i].key : SLICE_LIT("");
    }
    pg_int(p, c->kind);
    pg_texts(p, tenants, c->n);
    pg_byteas(p, keys, c->n);
    int rc =
        pg_query(t->pg,
                 "WITH same AS (SELECT t.id FROM timers t JOIN unnest($2::text[], $3::bytea[]) "
                 "k(tenant, subject) ON t.tenant = k.tenant AND t.subject = k.subject WHERE "
                 "t.kind = $1 AND t.due_at <= " NOW_MS " FOR UPDATE OF t SKIP LOCKED) "
                 "DELETE FROM timers t USING same s WHERE t.id = s.id" CLAIMED,
                 p, &r, e);
    if (rc == 0)
        c->timers += (size_t)PQntuples(r);
    return rc;
}

static int claim(struct timers *t, struct claim *c, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(c->a);

    pg_int(p, c->kind);
    pg_int(p, t->o.settings->processor.timer_batch);
    int rc = pg_query(t->pg,
                      "WITH due AS (SELECT id FROM timers WHERE kind = $1 AND due_at <= " NOW_MS
                      " ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED) "
                      "DELETE FROM timers t USING due d WHERE t.id = d.id" CLAIMED,
                      p, &r, e);
    if (rc == 0)
        rc = take_subjects(t, c, r, e);
    return rc == 0 && c->n > 0 ? claim_rest(t, c, e) : rc;
}

/* ---- kinds ---- */

static int run_groups(struct timers *t, const struct claim *c, struct flushed *ret, struct err *e)
{
    struct flush_subject *v = arena_array(c->a, c->n, struct flush_subject);
    size_t n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "timers: too many at once");
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i].key.len != sizeof(v[n].group.b))
            continue; /* no group has such a name: nothing to look at */
        v[n].tenant = c->v[i].tenant;
        memcpy(v[n++].group.b, c->v[i].key.p, sizeof(v->group.b));
    }
    const struct flush_subjects subjects = {.v = v, .n = n, .now_ms = c->now_ms};
    return flush_groups(&t->flush, t->pg, c->a, &subjects, ret, e);
}

static int run_alerts(struct timers *t, const struct claim *c, struct err *e)
{
    struct silence *v = arena_array(c->a, c->n, struct silence);
    size_t n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "timers: too many at once");
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i].key.len != sizeof(v->fingerprint))
            continue;
        v[n].tenant = c->v[i].tenant;
        for (size_t b = 0; b < sizeof(v->fingerprint); b++)
            v[n].fingerprint = v[n].fingerprint << 8 | (unsigned char)c->v[i].key.p[b];
        n++;
    }
    return t->o.expire(t->o.expire_ctx, t->pg, v, n, e);
}

static int arm_housekeeping(struct timers *t, struct arena *a, int64_t in_ms, struct err *e)
{
    struct pg_args *p = pg_args(a);

    pg_int(p, in_ms);
    return pg_query(t->pg,
                    "INSERT INTO timers (due_at, kind, tenant, subject) SELECT " NOW_MS
                    " + $1, 3, '', '' WHERE NOT EXISTS (SELECT FROM timers WHERE tenant = '' AND "
                    "subject = '' AND kind = 3 AND due_at <= " NOW_MS " + $1)",
                    p, NULL, e);
}

static int run_housekeeping(struct timers *t, const struct claim *c, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_int4(p, PARTITIONS_AHEAD);
    int rc = pg_query(t->pg, "SELECT partitions_ahead($1)", p, NULL, e);
    return rc < 0 ? rc : arm_housekeeping(t, c->a, MS_HOUR, e);
}

/* In small statements, each a transaction of its own, so that nobody waits for them. What is left
 * when we end is left for the next hour. */
static int purge(struct timers *t, struct arena *a, const char *sql, int64_t older_ms,
                 struct err *e)
{
    int64_t gone = PURGE_BATCH;

    while (gone == PURGE_BATCH && !timers_stopping(t)) {
        CLEANUP(PQclear) PGresult *r = NULL;
        struct pg_args *p = pg_args(a);

        pg_int(p, older_ms);
        pg_int(p, PURGE_BATCH);
        int rc = pg_query(t->pg, sql, p, &r, e);
        if (rc < 0)
            return rc;
        gone = pg_affected(r);
    }
    return 0;
}

static int purge_all(struct timers *t, struct arena *a, struct err *e)
{
    int rc = purge(t, a,
                   "DELETE FROM delivery_ids WHERE ctid = ANY(ARRAY(SELECT ctid FROM delivery_ids "
                   "WHERE at < " NOW_MS " - $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))",
                   t->o.settings->aggregation.delivery_id_ttl, e);
    if (rc < 0)
        return rc;
    return purge(
        t, a,
        "DELETE FROM beats WHERE ctid = ANY(ARRAY(SELECT ctid FROM beats WHERE last_at < " NOW_MS
        " - $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        BEATS_KEPT_MS + t->o.settings->aggregation.absence_cap, e);
}

static int dispatch(struct timers *t, const struct claim *c, struct flushed *flushed, struct err *e)
{
    switch (c->kind) {
    case TIMER_GROUP:
        return run_groups(t, c, flushed, e);
    case TIMER_ALERT:
        return run_alerts(t, c, e);
    case TIMER_HOUSEKEEPING:
        return run_housekeeping(t, c, e);
    }
    return 0;
}

/* What may be said only when it is true. */
static void committed(struct timers *t, const struct claim *c, const struct flushed *f)
{
    counter_add(t->run[c->kind], c->timers);
    for (int k = DUE_OPENED; k < DUE_KINDS; k++)
        counter_add(t->created[k], f->created[k]);
    if (f->wakeup_n == 0)
        return;
    const size_t taken = flush_publish(t->o.producer, f);
    counter_add(t->wakeups, taken);
    counter_add(t->wakeups_failed, f->wakeup_n - taken);
}

static int run_kind(struct timers *t, enum timer_kind kind, size_t *ran, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(PASS_MEMORY);
    struct claim c = {.a = a, .kind = kind};
    struct flushed flushed = {0};

    if (!a)
        return err_set(e, -ENOMEM, "timers: out of memory");
    int rc = pg_begin(t->pg, e);
    if (rc == 0)
        rc = claim(t, &c, e);
    if (rc == 0 && c.n > 0)
        rc = dispatch(t, &c, &flushed, e);
    if (rc == 0)
        rc = pg_commit(t->pg, e);
    if (rc < 0) {
        pg_rollback(t->pg);
        return rc;
    }
    committed(t, &c, &flushed);
    *ran += c.timers;
    return kind == TIMER_HOUSEKEEPING && c.n > 0 ? purge_all(t, a, e) : 0;
}

static int prepare(struct timers *t, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    int rc = pg_connect(t->pg, e);

    if (rc < 0 || t->prepared)
        return rc;
    if (!a)
        return err_set(e, -ENOMEM, "timers: out of memory");
    if ((rc = flush_check_zones(&t->flush, t->pg, a, e)) < 0 ||
        (rc = arm_housekeeping(t, a, MS_HOUR, e)) < 0)
        return rc;
    t->prepared = true;
    return 0;
}

int timers_pass(struct timers *t, size_t *ret_ran, struct err *e)
{
    /* Ends of alerts make work for groups. */
    static const enum timer_kind order[] = {TIMER_ALERT, TIMER_GROUP, TIMER_HOUSEKEEPING};
    size_t ran = 0;
    int rc = prepare(t, e);

    for (size_t i = 0; rc == 0 && i < sizeof(order) / sizeof(*order); i++)
        rc = run_kind(t, order[i], &ran, e);
    if (rc == 0)
        *ret_ran = ran;
    return rc;
}
