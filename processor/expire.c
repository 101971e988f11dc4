#include "processor/expire.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"

#define EXPIRY_MEMORY ((size_t)256 << 20)
/* How old the word on a partition or of an ingest may be. Both are renewed several times within
 * this. */
#define WORD_MS (30 * MS_SECOND)
#define LOOK_AGAIN_MS (10 * MS_SECOND)

/*
 * Candidates with what was heard: 1 the alert may end; 0 judge it later. An ingest that went silent
 * without a farewell, or still has spooled records, may bring late reports; it holds everybody
 * back, but not for ever.
 */
static const char judge[] =
    "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8 AS now), "
    "ear AS (SELECT EXISTS (SELECT FROM beats, clock WHERE NOT farewell AND last_at >= now - "
    "$5::int8 AND since <= now - $3::int8) "
    "AND NOT EXISTS (SELECT FROM beats, clock WHERE NOT farewell AND last_at > now - $4::int8 "
    "AND (last_at < now - $5 OR oldest_spooled > now - $4)) AS open), "
    "topics AS (SELECT topic, bool_and(coalesce(current_since <= now - $3, false) AND current_at "
    ">= now - $5) AS current "
    "FROM offsets, clock WHERE grp = $6 AND cluster_id = $7 GROUP BY topic) "
    "SELECT a.tenant, a.fingerprint, a.quiet_at, now, "
    "open AND NOT EXISTS (SELECT FROM unnest(a.fed_by) f LEFT JOIN topics t ON t.topic = 'raw.' || "
    "f WHERE t.current IS NOT TRUE) "
    "FROM clock, ear, alerts a JOIN unnest($1::text[], $2::int8[]) k(t, f) ON a.tenant = k.t AND "
    "a.fingerprint = k.f "
    "WHERE a.status = 1 AND a.quiet_at IS NOT NULL";

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "expiry: too many alerts at once");
}

static int ask(const struct expiry *x, struct arena *a, struct pg *pg, const struct silence *v,
               size_t n, PGresult **ret, struct err *e)
{
    struct slice *tenants = arena_array(a, n, struct slice);
    int64_t *fps = arena_array(a, n, int64_t);
    struct pg_args *p = pg_args(a);

    if (!tenants || !fps)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = v[i].tenant;
        fps[i] = (int64_t)v[i].fingerprint;
    }
    pg_texts(p, tenants, n);
    pg_ints(p, fps, n);
    pg_int(p, x->settings->aggregation.absence_grace);
    pg_int(p, x->settings->aggregation.absence_cap);
    pg_int(p, WORD_MS);
    pg_text(p, slice_of(x->group.name));
    pg_text(p, slice_of(x->group.cluster_id));
    return pg_query(pg, judge, p, ret, e);
}

static int arm_again(struct arena *a, struct pg *pg, const struct silence *v, size_t n,
                     struct err *e)
{
    struct slice *text = arena_array(a, 2 * n, struct slice);
    unsigned char *key = arena_alloc(a, n, 8);
    int64_t *due = arena_array(a, n, int64_t);
    struct pg_args *p = pg_args(a);

    if (!text || !key || !due)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        for (unsigned b = 0; b < 8; b++)
            key[8 * i + b] = (unsigned char)(v[i].fingerprint >> (56 - 8 * b));
        text[i] = v[i].tenant;
        text[n + i] = (struct slice){(const char *)&key[8 * i], 8};
        due[i] = v[i].quiet_at;
    }
    pg_texts(p, text, n);
    pg_byteas(p, text + n, n);
    pg_ints(p, due, n);
    return pg_query(pg,
                    "INSERT INTO timers (due_at, kind, tenant, subject) SELECT k.d, 2, k.t, k.s "
                    "FROM unnest($1::text[], $2::bytea[], $3::int8[]) k(t, s, d) "
                    "WHERE NOT EXISTS (SELECT FROM timers o WHERE o.tenant = k.t AND o.subject = "
                    "k.s AND o.due_at <= k.d)",
                    p, NULL, e);
}

static int end_them(const struct expiry *x, struct arena *a, struct pg *pg, const struct silence *v,
                    size_t n, struct err *e)
{
    struct work w = {.settings = x->settings,
                     .routes = x->routes,
                     .rules = x->rules,
                     .a = a,
                     .now_ms = clock_now_ms()};
    int rc;

    if ((rc = work_sort_silences(&w, v, n, e)) < 0 || (rc = work_guess(&w, pg, e)) < 0 ||
        (rc = work_lock(&w, pg, e)) < 0 || (rc = work_merge(&w, pg, e)) < 0)
        return rc;
    return work_store(&w, pg, e);
}

int expire_run(void *expiry, struct pg *pg, const struct silence *v, size_t n, struct err *e)
{
    const struct expiry *x = expiry;
    CLEANUP(arena_free) struct arena *a = arena_new(EXPIRY_MEMORY);
    CLEANUP(PQclear) PGresult *r = NULL;
    size_t due_n = 0, later_n = 0;
    int rc;

    if (n == 0)
        return 0;
    if (!a)
        return no_memory(e);
    if ((rc = ask(x, a, pg, v, n, &r, e)) < 0)
        return rc;
    struct silence *due = arena_array(a, (size_t)PQntuples(r) + 1, struct silence);
    struct silence *later = arena_array(a, (size_t)PQntuples(r) + 1, struct silence);
    if (!due || !later)
        return no_memory(e);
    for (int i = 0; i < PQntuples(r); i++) {
        struct silence s = {pg_get_text(r, i, 0), (uint64_t)pg_get_int(r, i, 1),
                            pg_get_int(r, i, 2)};
        const int64_t now = pg_get_int(r, i, 3);
        if (s.quiet_at <= now && pg_get_bool(r, i, 4)) {
            due[due_n++] = s;
            continue;
        }
        if (s.quiet_at <= now)
            s.quiet_at = now + LOOK_AGAIN_MS;
        later[later_n++] = s;
    }
    if (later_n > 0 && (rc = arm_again(a, pg, later, later_n, e)) < 0)
        return rc;
    return due_n > 0 ? end_them(x, a, pg, due, due_n, e) : 0;
}
