/* Silences in Postgres: made, ended, and asked which of them keep what silent. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/incident.h"
#include "common/json.h"
#include "common/silence.h"

#define END_MEMORY ((size_t)64 << 10)
#define TEXT_MAX ((size_t)256 << 10)
#define COMMENT_SHOWN 200

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

static int check_loose(struct pg *pg, struct arena *a, struct slice tenant, int64_t now_ms,
                       struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(a);

    pg_text(p, tenant);
    pg_int(p, now_ms);
    int rc = pg_query(pg,
                      "SELECT count(*) FROM silences WHERE tenant = $1 AND key = '' AND "
                      "ends_at > $2",
                      p, &r, e);
    if (rc == 0 && pg_get_int(r, 0, 0) >= SILENCES_LOOSE_MAX)
        return err_set(e, -EPERM,
                       "there are %d silences in force without an equality such as "
                       "alertname=\"X\": end one, or add an equality",
                       SILENCES_LOOSE_MAX);
    return rc;
}

int silence_insert(struct pg *pg, struct arena *a, struct slice tenant, const struct silence_new *s,
                   int64_t now_ms, struct uuid *ret, struct err *e)
{
    CLEANUP(buf_release) struct buf matchers = BUF_INIT(TEXT_MAX);
    const struct uuid id = uuid7_new(now_ms);
    struct pg_args *p = pg_args(a);
    struct slice key = {NULL, 0};
    int rc = choose_key(pg, a, tenant, &s->matchers, now_ms, &key, e);

    if (rc == 0 && key.len == 0)
        rc = check_loose(pg, a, tenant, now_ms, e);
    if (rc < 0)
        return rc;
    silence_matchers_write(&s->matchers, &matchers);
    if (matchers.failed)
        return no_memory(e);
    pg_text(p, tenant);
    pg_uuid(p, &id);
    pg_text(p, (struct slice){buf_str(&matchers), matchers.len});
    pg_bytea(p, key);
    pg_int(p, s->starts_ms);
    pg_int(p, s->ends_ms);
    pg_text(p, s->created_by);
    pg_text(p, s->comment);
    pg_int(p, now_ms);
    rc = pg_query(pg,
                  "INSERT INTO silences (tenant, id, matchers, key, starts_at, ends_at, "
                  "created_by, comment, created_at) VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, "
                  "$7, $8, $9)",
                  p, NULL, e);
    if (rc == 0)
        *ret = id;
    return rc;
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

/* ---- which keep what silent ---- */

/* An alert in question, and the first silence that is found to match it. */
struct subject {
    struct slice tenant;
    struct labels labels;
    size_t look; /* of the caller's */
    const struct silencing *by;
};
struct subjects {
    struct subject *v;
    size_t n;
};

/* The key under which a silence of a tenant may be found. */
struct place {
    struct slice tenant;
    unsigned char key[SILENCE_KEY_LEN];
    bool loose;
};

static int by_place(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    if (c != 0 || a->loose != b->loose)
        return c != 0 ? c : (int)b->loose - (int)a->loose;
    return memcmp(a->key, b->key, sizeof(a->key));
}

static size_t distinct(struct place *v, size_t n)
{
    size_t kept = 0;

    qsort(v, n, sizeof(*v), by_place);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_place(&v[kept - 1], &v[i]) != 0)
            v[kept++] = v[i];
    return kept;
}

static int places_of(struct arena *a, const struct subjects *s, struct place **ret, size_t *ret_n,
                     struct err *e)
{
    size_t most = 0, n = 0;

    for (size_t i = 0; i < s->n; i++)
        most += s->v[i].labels.n + 1;
    struct place *v = arena_array(a, most + 1, struct place);
    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < s->n; i++) {
        const struct labels l = s->v[i].labels;

        v[n++] = (struct place){.tenant = s->v[i].tenant, .loose = true};
        for (size_t k = 0; k < l.n; k++) {
            v[n].tenant = s->v[i].tenant;
            silence_key(l.v[k].name, l.v[k].value, v[n++].key);
        }
    }
    *ret = v;
    *ret_n = distinct(v, n);
    return 0;
}

static const char candidates_sql[] =
    "SELECT s.tenant, s.id, s.matchers::text, s.ends_at, s.created_by, s.comment "
    "FROM unnest($1, $2) AS k (t, key) JOIN silences s ON s.tenant = k.t AND s.key = k.key "
    "WHERE s.ends_at > $3 AND s.starts_at <= $3 ORDER BY s.ends_at, s.id FOR SHARE OF s";

static int candidates(struct pg *pg, struct arena *a, const struct subjects *s, int64_t now_ms,
                      PGresult **ret, struct err *e)
{
    struct pg_args *p = pg_args(a);
    struct place *places = NULL;
    size_t n = 0;
    int rc = places_of(a, s, &places, &n, e);

    if (rc < 0)
        return rc;
    struct slice *tenants = arena_array(a, n + 1, struct slice),
                 *keys = arena_array(a, n + 1, struct slice);
    if (!tenants || !keys)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = places[i].tenant;
        keys[i] = places[i].loose ? SLICE_LIT("")
                                  : (struct slice){(const char *)places[i].key, SILENCE_KEY_LEN};
    }
    pg_texts(p, tenants, n);
    pg_byteas(p, keys, n);
    pg_int(p, now_ms);
    return pg_query(pg, candidates_sql, p, ret, e);
}

static const struct silencing *silencing_of(struct arena *a, const PGresult *r, int row)
{
    struct silencing *s = arena_new_of(a, struct silencing);
    const struct slice who = pg_get_text(r, row, 4), comment = pg_get_text(r, row, 5);
    char id[UUID_STR], until[RFC3339_MAX];

    if (!s)
        return NULL;
    memcpy(s->id.b, pg_get_uuid(r, row, 1), sizeof(s->id.b));
    s->ends_ms = pg_get_int(r, row, 3);
    s->who = arena_printf(a, "%.*s", SLICE_FMT(who));
    s->reason =
        arena_printf(a, "silence %s of %.*s until %s%s%.*s", uuid_format(&s->id, id),
                     SLICE_FMT(who), rfc3339_format(s->ends_ms, until), comment.len > 0 ? ": " : "",
                     (int)utf8_fit(comment, COMMENT_SHOWN), comment.p ? comment.p : "");
    return s->who && s->reason ? s : NULL;
}

static struct matchers *matchers_of(struct arena *a, struct slice json, struct err *e)
{
    struct silence_matchers m;
    const json_t *list = json_tree(json, a, e);

    return list && silence_matchers_read(list, &m, e) == 0 ? silence_matchers_compile(&m, e) : NULL;
}

static int judge_one(struct arena *a, const PGresult *r, int row, const struct subjects *s,
                     struct err *e)
{
    CLEANUP(matchers_free) struct matchers *m = matchers_of(a, pg_get_text(r, row, 2), e);
    const struct silencing *by = NULL;

    if (!m)
        return err_wrap(e, "a silence");
    for (size_t i = 0; i < s->n; i++) {
        struct subject *it = &s->v[i];

        if (it->by || !slice_eq(it->tenant, pg_get_text(r, row, 0)) ||
            !matchers_match(m, it->labels))
            continue;
        if (!by && !(by = silencing_of(a, r, row)))
            return no_memory(e);
        it->by = by;
    }
    return 0;
}

static int judge(struct pg *pg, struct arena *a, const struct subjects *s, int64_t now_ms,
                 struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = candidates(pg, a, s, now_ms, &r, e);

    for (int row = 0; rc == 0 && row < PQntuples(r); row++)
        rc = judge_one(a, r, row, s, e);
    return rc;
}

int silences_any(struct pg *pg, struct arena *a, const struct silence_look *v, size_t n,
                 int64_t now_ms, bool *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct slice *tenants = arena_array(a, n + 1, struct slice);
    struct pg_args *p = pg_args(a);
    size_t k = 0;

    if (!tenants)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        if (k == 0 || !slice_eq(tenants[k - 1], v[i].tenant))
            tenants[k++] = v[i].tenant;
    pg_texts(p, tenants, k);
    pg_int(p, now_ms);
    int rc = pg_query(pg,
                      "SELECT EXISTS (SELECT FROM unnest($1) AS k (t) JOIN silences s ON "
                      "s.tenant = k.t AND s.ends_at > $2)",
                      p, &r, e);
    if (rc == 0)
        *ret = pg_get_bool(r, 0, 0);
    return rc;
}

/* Rows of (place of the look, labels), in order of the place. */
static int take_subjects(struct arena *a, const PGresult *r, const struct silence_look *v,
                         struct subjects *ret, struct err *e)
{
    ret->n = (size_t)PQntuples(r);
    ret->v = arena_array(a, ret->n + 1, struct subject);
    if (!ret->v)
        return no_memory(e);
    for (size_t i = 0; i < ret->n; i++) {
        const size_t look = (size_t)pg_get_int(r, (int)i, 0);

        ret->v[i] = (struct subject){.tenant = v[look].tenant, .look = look};
        int rc = labels_from_json(a, pg_get_text(r, (int)i, 1), &ret->v[i].labels, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* All alerts of a look must be silenced; then the silence that ends first speaks for them. */
static void answer(const struct subjects *s, struct silence_look *v)
{
    for (size_t i = 0; i < s->n;) {
        const size_t look = s->v[i].look;
        const struct silencing *first = s->v[i].by;
        bool all = true;

        for (; i < s->n && s->v[i].look == look; i++) {
            const struct silencing *by = s->v[i].by;

            all = all && by;
            if (all && by->ends_ms < first->ends_ms)
                first = by;
        }
        v[look].by = all ? first : NULL;
    }
}

/* What is asked, and how the alerts in question are found: $1 tenants, $2 keys, $3 places. */
struct question {
    struct silence_look *v;
    size_t n;
    int64_t now_ms;
    bool incidents; /* else alerts, by fingerprint */
};

static const char alerts_sql[] =
    "SELECT k.n, l.labels::text FROM unnest($1, $2, $3) AS k (t, f, n) JOIN alerts l ON "
    "l.tenant = k.t AND l.fingerprint = k.f ORDER BY k.n";
/* What fires; where nothing does any more, what did. */
static const char incidents_sql[] =
    "SELECT k.n, l.labels::text FROM unnest($1, $2, $3) AS k (t, i, n) "
    "JOIN alerts l ON l.tenant = k.t AND l.incident_id = k.i WHERE l.status = 1 OR NOT EXISTS "
    "(SELECT FROM alerts o WHERE o.tenant = k.t AND o.incident_id = k.i AND o.status = 1) "
    "ORDER BY k.n";

static int look_up(struct pg *pg, struct arena *a, const struct question *q, PGresult **ret,
                   struct err *e)
{
    struct slice *tenants = arena_array(a, q->n, struct slice);
    struct uuid *ids = arena_array(a, q->n, struct uuid);
    int64_t *fingerprints = arena_array(a, q->n, int64_t), *places = arena_array(a, q->n, int64_t);
    struct pg_args *p = pg_args(a);

    if (!tenants || !ids || !fingerprints || !places)
        return no_memory(e);
    for (size_t i = 0; i < q->n; i++) {
        tenants[i] = q->v[i].tenant;
        ids[i] = q->v[i].incident;
        fingerprints[i] = (int64_t)q->v[i].fingerprint;
        places[i] = (int64_t)i;
    }
    pg_texts(p, tenants, q->n);
    if (q->incidents)
        pg_uuids(p, ids, q->n);
    else
        pg_ints(p, fingerprints, q->n);
    pg_ints(p, places, q->n);
    return pg_query(pg, q->incidents ? incidents_sql : alerts_sql, p, ret, e);
}

static int silences_of(struct pg *pg, struct arena *a, const struct question *q, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct subjects s = {0};
    bool some = false;

    for (size_t i = 0; i < q->n; i++)
        q->v[i].by = NULL;
    int rc = q->n > 0 ? silences_any(pg, a, q->v, q->n, q->now_ms, &some, e) : 0;
    if (rc < 0 || !some)
        return rc;
    if ((rc = look_up(pg, a, q, &r, e)) < 0 || (rc = take_subjects(a, r, q->v, &s, e)) < 0 ||
        s.n == 0 || (rc = judge(pg, a, &s, q->now_ms, e)) < 0)
        return rc;
    answer(&s, q->v);
    return 0;
}

int silences_of_alerts(struct pg *pg, struct arena *a, struct silence_look *v, size_t n,
                       int64_t now_ms, struct err *e)
{
    const struct question q = {.v = v, .n = n, .now_ms = now_ms};

    return silences_of(pg, a, &q, e);
}

int silences_of_incidents(struct pg *pg, struct arena *a, struct silence_look *v, size_t n,
                          int64_t now_ms, struct err *e)
{
    const struct question q = {.v = v, .n = n, .now_ms = now_ms, .incidents = true};

    return silences_of(pg, a, &q, e);
}

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
