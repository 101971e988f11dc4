/* Silences in Postgres: made and ended, and what they kept silent. */
#include <errno.h>

#include "common/incident.h"
#include "common/silence.h"

#define END_MEMORY ((size_t)64 << 10)
#define TEXT_MAX ((size_t)256 << 10)

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "silences: too much at once");
}

/* ---- making and ending ---- */

/* How many silences in force have each of these keys, up to a number past which it does not matter.
 */
static const char commonness_sql[] =
    "SELECT k.n, (SELECT count(*) FROM (SELECT FROM silences s WHERE s.tenant = $1 AND s.key = "
    "k.key AND s.ends_at > $4 LIMIT 1000) x) AS had FROM unnest($2, $3) AS k (key, n) "
    "ORDER BY had, k.n";

static bool indexable(const struct silence_matcher *m)
{
    return !m->regex && !m->negative && m->value.len > 0;
}

/* The key of the rarest equality; empty when there is none. */
static int choose_key(struct pg *pg, struct arena *a, struct slice tenant,
                      const struct silence_matchers *m, int64_t now_ms, struct slice *ret,
                      struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct slice keys[SILENCE_MATCHERS_MAX];
    int64_t places[SILENCE_MATCHERS_MAX];
    unsigned char *all = arena_alloc(a, SILENCE_MATCHERS_MAX, SILENCE_KEY_LEN);
    struct pg_args *p = pg_args(a);
    size_t n = 0;

    if (!all)
        return no_memory(e);
    for (size_t i = 0; i < m->n; i++) {
        if (!indexable(&m->v[i]))
            continue;
        unsigned char *key = all + n * SILENCE_KEY_LEN;
        silence_key(m->v[i].name, m->v[i].value, key);
        places[n] = (int64_t)n;
        keys[n++] = (struct slice){(const char *)key, SILENCE_KEY_LEN};
    }
    *ret = SLICE_LIT("");
    if (n == 0)
        return 0;
    pg_text(p, tenant);
    pg_byteas(p, keys, n);
    pg_ints(p, places, n);
    pg_int(p, now_ms);
    int rc = pg_query(pg, commonness_sql, p, &r, e);
    if (rc == 0)
        *ret = keys[pg_get_int(r, 0, 0)];
    return rc;
}

/* Without the one in question, which may be there already. */
static int check_loose(struct pg *pg, struct arena *a, struct slice tenant, const struct uuid *id,
                       int64_t now_ms, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(a);

    pg_text(p, tenant);
    pg_int(p, now_ms);
    pg_uuid(p, id);
    int rc = pg_query(pg,
                      "SELECT count(*) FROM silences WHERE tenant = $1 AND key = '' AND "
                      "ends_at > $2 AND id <> $3",
                      p, &r, e);
    if (rc == 0 && pg_get_int(r, 0, 0) >= SILENCES_LOOSE_MAX)
        return err_set(e, -EPERM,
                       "there are %d silences in force without an equality such as "
                       "alertname=\"X\": end one, or add an equality",
                       SILENCES_LOOSE_MAX);
    return rc;
}

int silence_insert(struct pg *pg, struct arena *a, struct slice tenant, const struct silence_new *s,
                   int64_t now_ms, struct err *e)
{
    CLEANUP(buf_release) struct buf matchers = BUF_INIT(TEXT_MAX);
    struct pg_args *p = pg_args(a);
    struct slice key = {NULL, 0};
    int rc = choose_key(pg, a, tenant, &s->matchers, now_ms, &key, e);

    if (rc == 0 && key.len == 0)
        rc = check_loose(pg, a, tenant, &s->id, now_ms, e);
    if (rc < 0)
        return rc;
    silence_matchers_write(&s->matchers, &matchers);
    if (matchers.failed)
        return no_memory(e);
    pg_text(p, tenant);
    pg_uuid(p, &s->id);
    pg_text(p, (struct slice){buf_str(&matchers), matchers.len});
    pg_bytea(p, key);
    pg_int(p, s->starts_ms);
    pg_int(p, s->ends_ms);
    pg_text(p, s->created_by);
    pg_text(p, s->comment);
    pg_int(p, now_ms);
    return pg_query(pg,
                    "INSERT INTO silences (tenant, id, matchers, key, starts_at, ends_at, "
                    "created_by, comment, created_at) VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, "
                    "$7, $8, $9) ON CONFLICT (tenant, id) DO NOTHING",
                    p, NULL, e);
}

static int end_locked(struct pg *pg, struct arena *a, struct slice tenant, const struct uuid *id,
                      int64_t now_ms, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(a);

    pg_text(p, tenant);
    pg_uuid(p, id);
    pg_int(p, now_ms);
    int rc = pg_query(pg,
                      "UPDATE silences SET ends_at = least(ends_at, $3), starts_at = "
                      "least(starts_at, $3) WHERE tenant = $1 AND id = $2",
                      p, &r, e);
    if (rc < 0)
        return rc;
    if (pg_affected(r) == 0)
        return err_set(e, -ENOENT, "there is no such silence");
    p = pg_args(a);
    pg_text(p, tenant);
    pg_uuid(p, id);
    pg_int(p, now_ms);
    pg_int4(p, TIMER_GROUP);
    return pg_query(pg,
                    "WITH g AS (DELETE FROM silenced_groups WHERE tenant = $1 AND silence_id = $2 "
                    "RETURNING tenant, group_id) INSERT INTO timers (due_at, kind, tenant, "
                    "subject) SELECT $3, $4, tenant, uuid_send(group_id) FROM g",
                    p, NULL, e);
}

int silence_end(struct pg *pg, struct slice tenant, const struct uuid *id, int64_t now_ms,
                struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(END_MEMORY);
    int rc = a ? pg_begin(pg, e) : no_memory(e);

    if (rc < 0)
        return rc;
    rc = end_locked(pg, a, tenant, id, now_ms, e);
    if (rc == 0)
        rc = pg_commit(pg, e);
    if (rc < 0)
        pg_rollback(pg);
    return rc;
}

/* ---- what they kept silent ---- */

int silenced_groups_insert(struct pg *pg, struct arena *a, const struct silenced_group *v, size_t n,
                           struct err *e)
{
    struct slice *tenants = arena_array(a, n + 1, struct slice);
    struct uuid *silences = arena_array(a, n + 1, struct uuid),
                *groups = arena_array(a, n + 1, struct uuid);
    struct pg_args *p = pg_args(a);

    if (!tenants || !silences || !groups)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = v[i].tenant;
        silences[i] = v[i].silence;
        groups[i] = v[i].group;
    }
    pg_texts(p, tenants, n);
    pg_uuids(p, silences, n);
    pg_uuids(p, groups, n);
    return n == 0 ? 0
                  : pg_query(pg,
                             "INSERT INTO silenced_groups (tenant, silence_id, group_id) "
                             "SELECT t, s, g FROM unnest($1, $2, $3) AS k (t, s, g) "
                             "ON CONFLICT DO NOTHING",
                             p, NULL, e);
}
