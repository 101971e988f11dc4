/* Which timers a pass takes, and where it puts those whose subject cannot be worked on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "processor/timers_internal.h"

#define PARK_FIRST_MS (5 * MS_SECOND)
#define PARK_MOST_MS (10 * MS_MINUTE)
#define PUT_OFF_MS (10 * MS_SECOND)

enum { CL_TENANT, CL_SUBJECT, CL_DUE_AT, CL_FAILURES, CL_NOW };
#define CLAIMED " RETURNING t.tenant, t.subject, t.due_at, t.failures, " NOW_MS

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "timers: too many at once");
}

static int subject_cmp(const void *x, const void *y)
{
    const struct subject *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    return c != 0 ? c : slice_cmp(a->key, b->key);
}

static void take_rows(struct timers *t, struct claim *c, const PGresult *r)
{
    for (int i = 0; i < PQntuples(r); i++) {
        const uint32_t failures = (uint32_t)pg_get_int(r, i, CL_FAILURES);

        c->now_ms = pg_get_int(r, i, CL_NOW);
        histogram_observe(t->lag, (double)(c->now_ms - pg_get_int(r, i, CL_DUE_AT)) / 1000.0);
        if (failures > c->failures)
            c->failures = failures;
    }
    c->timers += (size_t)PQntuples(r);
}

/* Empty, not NULL, which is equal to nothing in SQL. */
static struct slice keep(struct arena *a, struct slice s)
{
    return s.len > 0 ? arena_slice(a, s) : SLICE_LIT("");
}

static int take_subjects(struct claim *c, const PGresult *r, struct err *e)
{
    const size_t rows = (size_t)PQntuples(r);
    struct subject *v = arena_array(c->a, rows + 1, struct subject);

    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < rows; i++) {
        v[i] = (struct subject){keep(c->a, pg_get_text(r, (int)i, CL_TENANT)),
                                keep(c->a, pg_get_text(r, (int)i, CL_SUBJECT))};
        if (!v[i].tenant.p || !v[i].key.p)
            return no_memory(e);
    }
    qsort(v, rows, sizeof(*v), subject_cmp);
    for (size_t i = 0; i < rows; i++)
        if (i == 0 || subject_cmp(&v[c->n - 1], &v[i]) != 0)
            v[c->n++] = v[i];
    c->v = v;
    return 0;
}

/*
 * Each subject by its own index entry. What is due changes faster than statistics: believed to be
 * one row, it was read whole and compared with every subject, which `+ 0` and LATERAL rule out.
 */
static int claim_of(struct timers *t, struct claim *c, const struct subjects *s, PGresult **ret,
                    struct err *e)
{
    struct slice *tenants = arena_array(c->a, s->n, struct slice),
                 *keys = arena_array(c->a, s->n, struct slice);
    struct pg_args *p = pg_args(c->a);

    if (!tenants || !keys)
        return no_memory(e);
    for (size_t i = 0; i < s->n; i++) {
        tenants[i] = s->v[i].tenant;
        keys[i] = s->v[i].key;
    }
    pg_int(p, c->kind);
    pg_texts(p, tenants, s->n);
    pg_byteas(p, keys, s->n);
    return pg_query(t->pg,
                    "WITH same AS (SELECT s.id FROM unnest($2::text[], $3::bytea[]) "
                    "k(tenant, subject), LATERAL (SELECT t.id FROM timers t WHERE "
                    "t.tenant = k.tenant AND t.subject = k.subject AND t.kind = $1 "
                    "AND t.due_at + 0 <= " NOW_MS " FOR UPDATE SKIP LOCKED) s) "
                    "DELETE FROM timers t USING same s WHERE t.id = s.id" CLAIMED,
                    p, ret, e);
}

static int claim_due(struct timers *t, struct claim *c, PGresult **ret, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_int(p, c->kind);
    pg_int(p, t->o.settings->processor.timer_batch);
    return pg_query(t->pg,
                    "WITH due AS (SELECT id FROM timers WHERE kind = $1 AND due_at <= " NOW_MS
                    " ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED) "
                    "DELETE FROM timers t USING due d WHERE t.id = d.id" CLAIMED,
                    p, ret, e);
}

int timers_claim(struct timers *t, struct claim *c, const struct subjects *only, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL, *rest = NULL;
    int rc;

    c->n = c->timers = c->failures = 0;
    rc = only ? claim_of(t, c, only, &r, e) : claim_due(t, c, &r, e);
    if (rc < 0)
        return rc;
    take_rows(t, c, r);
    if ((rc = take_subjects(c, r, e)) < 0 || only || c->n == 0)
        return rc;
    /* What else is due of the same subjects: looking once is enough. */
    const struct subjects same = {c->v, c->n};
    if ((rc = claim_of(t, c, &same, &rest, e)) == 0)
        take_rows(t, c, rest);
    return rc;
}

/* What a server said may be cut in the middle of a character, which Postgres would not take. */
static struct slice plain(struct arena *a, const char *reason)
{
    char *text = arena_strndup(a, reason, strlen(reason));

    for (char *c = text; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return slice_of(text);
}

int timers_park(struct timers *t, const struct claim *c, const char *reason, uint32_t *ret_failures,
                struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(c->a);

    pg_text(p, c->v->tenant);
    pg_bytea(p, c->v->key);
    pg_int4(p, (int32_t)c->kind);
    pg_int4(p, (int32_t)c->failures);
    pg_text(p, plain(c->a, reason));
    pg_int(p, PARK_FIRST_MS);
    pg_int(p, PARK_MOST_MS);
    /* News made it look again before the time of a timer that was parked: one of them is enough. */
    const int rc = pg_query(
        t->pg,
        "WITH parked AS (DELETE FROM timers WHERE id = ANY(ARRAY(SELECT id FROM timers "
        "WHERE tenant = $1 AND subject = $2 AND kind = $3 AND failures > 0 FOR UPDATE SKIP "
        "LOCKED)) RETURNING failures), "
        "n AS (SELECT greatest($4, coalesce(max(failures), 0)) AS failures FROM parked) "
        "INSERT INTO timers (tenant, subject, kind, failures, reason, due_at) "
        "SELECT $1, $2, $3, failures + 1, $5, " NOW_MS
        " + least($6::int8 << least(failures, 20), $7) FROM n RETURNING failures",
        p, &r, e);
    if (rc == 0)
        *ret_failures = (uint32_t)pg_get_int(r, 0, 0);
    return rc;
}

int timers_put_off(struct timers *t, const struct claim *c, const char *reason, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_text(p, c->v->tenant);
    pg_bytea(p, c->v->key);
    pg_int4(p, (int32_t)c->kind);
    pg_int4(p, (int32_t)c->failures);
    pg_text(p, plain(c->a, reason));
    pg_int(p, PUT_OFF_MS);
    return pg_query(t->pg,
                    "INSERT INTO timers (tenant, subject, kind, failures, reason, due_at) "
                    "SELECT $1, $2, $3, $4, $5, " NOW_MS " + $6 WHERE NOT EXISTS (SELECT FROM "
                    "timers WHERE tenant = $1 AND subject = $2 AND kind = $3 AND due_at <= " NOW_MS
                    " + $6)",
                    p, NULL, e);
}
