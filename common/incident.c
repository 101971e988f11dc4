#include "common/incident.h"

#include <errno.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/locks.h"
#include "common/silence.h"

#define ACT_MEMORY ((size_t)1 << 20) /* one incident's row, twice, and a handful of parameters */
#define ACT_TRIES 5

static const char *const status_names[] = {
    [INCIDENT_OPEN] = "open",
    [INCIDENT_ACKNOWLEDGED] = "acknowledged",
    [INCIDENT_INVESTIGATING] = "investigating",
    [INCIDENT_RESOLVED] = "resolved",
};

const char *incident_status_name(enum incident_status s)
{
    return s >= INCIDENT_OPEN && s <= INCIDENT_RESOLVED ? status_names[s] : "unknown";
}

bool incident_status_parse(struct slice s, enum incident_status *ret)
{
    for (int i = INCIDENT_OPEN; i <= INCIDENT_RESOLVED; i++) {
        if (slice_is(s, status_names[i])) {
            *ret = (enum incident_status)i;
            return true;
        }
    }
    return false;
}

const char *resolved_by_name(enum resolved_by r)
{
    static const char *const names[] = {
        [RESOLVED_BY_ALERTS] = "alerts",
        [RESOLVED_BY_PERSON] = "manual",
        [RESOLVED_BY_SILENCE] = "expired",
    };

    return r >= RESOLVED_BY_ALERTS && r <= RESOLVED_BY_SILENCE ? names[r] : "unknown";
}

const char *escalation_level_name(enum escalation_level l)
{
    static const char *const names[] = {
        [LEVEL_NONE] = "none",
        [LEVEL_REPEAT] = "REPEAT",
        [LEVEL_ESCALATE] = "ESCALATE",
        [LEVEL_PERMANENT_FIX] = "PERMANENT_FIX",
    };

    return l <= LEVEL_PERMANENT_FIX ? names[l] : "unknown";
}

int incident_may_become(enum incident_status from, enum incident_status to, struct err *e)
{
    if (from == to || (from == INCIDENT_RESOLVED && to == INCIDENT_OPEN))
        return 0;
    if (from == INCIDENT_RESOLVED)
        return err_set(e, -EINVAL,
                       "the incident is resolved; only a new occurrence opens it again");
    if (to < from)
        return err_set(e, -EINVAL, "the incident is already %s and cannot go back to %s",
                       incident_status_name(from), incident_status_name(to));
    return 0;
}

struct act {
    struct pg *pg;
    struct arena *a;
    struct slice tenant, actor, note;
    const struct uuid *id;
    enum incident_status to;
    bool least, take;
    int64_t now_ms, for_ms; /* for_ms: of a silence, which is all that is done then */
    bool *changed;
    int64_t *ends_ms;
};

/* The anomaly is locked before the incident and never changes, so that one unlocked look is enough
 * to name it. */
static int find_anomaly(const struct act *c, struct slice *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(c->a);

    pg_text(p, c->tenant);
    pg_uuid(p, c->id);
    int rc = pg_query(c->pg, "SELECT anomaly_key FROM incidents WHERE tenant = $1 AND id = $2", p,
                      &r, e);
    if (rc < 0)
        return rc;
    if (PQntuples(r) == 0)
        return err_set(e, -ENOENT, "no such incident");
    *ret = arena_slice(c->a, pg_get_text(r, 0, 0));
    return ret->p ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int lock_status(const struct act *c, const struct slice *anomaly, enum incident_status *ret,
                       bool *ret_theirs, struct err *e)
{
    CLEANUP(PQclear) PGresult *an = NULL;
    CLEANUP(PQclear) PGresult *in = NULL;
    const struct lock_keys keys = {
        .tenants = &c->tenant, .keys = anomaly, .uuids = c->id->b, .n = 1};

    int rc = lock_anomalies(c->pg, c->a, &keys, &an, e);
    if (rc == 0)
        rc = lock_incidents(c->pg, c->a, &keys, &in, e);
    if (rc < 0)
        return rc;
    if (PQntuples(in) == 0)
        return err_set(e, -ENOENT, "no such incident");
    *ret = (enum incident_status)pg_get_int(in, 0, IN_STATUS);
    *ret_theirs = slice_eq(pg_get_text(in, 0, IN_OWNER), c->actor);
    return 0;
}

/* Who acknowledges takes it; who investigates takes what nobody has. */
static int store_status(const struct act *c, enum incident_status to, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_text(p, c->tenant);
    pg_uuid(p, c->id);
    pg_int4(p, (int)to);
    pg_int(p, c->now_ms);
    pg_text(p, c->actor);
    pg_bool(p, c->take);
    return pg_query(
        c->pg,
        "UPDATE incidents SET status = $3::int4::int2, updated_at = $4, "
        "resolved_by = CASE WHEN $3::int4 = 4 THEN 2 END, "
        "resolved_at = CASE WHEN $3::int4 = 4 THEN $4::int8 END, "
        "owner = CASE WHEN $5 <> '' AND ($6 OR $3::int4 = 2 OR ($3::int4 = 3 AND owner = '')) "
        "THEN $5 ELSE owner END "
        "WHERE tenant = $1 AND id = $2",
        p, NULL, e);
}

static int store_entry(const struct act *c, const char *kind, struct slice body, struct err *e)
{
    struct pg_args *p = pg_args(c->a);
    struct uuid cause = uuid7_new(c->now_ms);
    char text[UUID_STR];

    pg_text(p, c->tenant);
    pg_uuid(p, c->id);
    pg_int(p, c->now_ms);
    pg_text(p, slice_of(arena_printf(c->a, "person:%s", uuid_format(&cause, text))));
    pg_text(p, slice_of(kind));
    pg_text(p, c->actor);
    pg_text(p, body);
    return pg_query(c->pg,
                    "INSERT INTO timeline (tenant, incident_id, at, cause, kind, actor, body) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    p, NULL, e);
}

static int wake_groups(const struct act *c, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_text(p, c->tenant);
    pg_uuid(p, c->id);
    pg_int(p, c->now_ms);
    pg_int4(p, TIMER_GROUP);
    return pg_query(c->pg,
                    "INSERT INTO timers (due_at, kind, tenant, subject) "
                    "SELECT $3, $4, tenant, uuid_send(id) FROM groups "
                    "WHERE tenant = $1 AND incident_id = $2",
                    p, NULL, e);
}

/* "resolved: restarted the broker" */
static struct slice entry_body(const struct act *c)
{
    const char *word = c->take ? "taken" : incident_status_name(c->to);

    if (c->note.len == 0)
        return slice_of(word);
    return slice_of(arena_printf(c->a, "%s: %.*s", word, SLICE_FMT(c->note)));
}

static int act_locked(const struct act *c, const struct slice *anomaly, struct err *e)
{
    enum incident_status from = INCIDENT_OPEN;
    bool theirs = false;
    int rc = lock_status(c, anomaly, &from, &theirs, e);
    const enum incident_status to =
        c->least && from > c->to && from != INCIDENT_RESOLVED ? from : c->to;

    if (rc < 0 || (rc = incident_may_become(from, to, e)) < 0)
        return rc;
    *c->changed = from != to || (c->take && !theirs);
    /* Nothing changes, but what a person says is kept. */
    if (!*c->changed)
        return c->note.len > 0 ? store_entry(c, "note", c->note, e) : 0;
    if ((rc = store_status(c, to, e)) < 0 || (rc = store_entry(c, "status", entry_body(c), e)) < 0)
        return rc;
    return wake_groups(c, e);
}

/* ---- a silence by the labels of the incident ---- */

static int its_matchers(const struct act *c, struct silence_matchers *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(c->a);
    struct labels l;

    pg_text(p, c->tenant);
    pg_uuid(p, c->id);
    int rc = pg_query(c->pg,
                      "SELECT labels::text FROM alerts WHERE tenant = $1 AND incident_id = $2 "
                      "ORDER BY status, first_seen LIMIT 1",
                      p, &r, e);
    if (rc < 0)
        return rc;
    if (PQntuples(r) == 0)
        return err_set(e, -EINVAL, "the incident has no alert that could be silenced");
    const struct slice json = arena_slice(c->a, pg_get_text(r, 0, 0));
    if (!json.p)
        return err_set(e, -ENOMEM, "out of memory");
    rc = labels_from_json(c->a, json, &l, e);
    if (rc == 0)
        silence_matchers_of(l, ret);
    return rc;
}

/* The end of the longest one that is in force with the same matchers; 0: none. */
static int in_force(const struct act *c, const struct silence_matchers *m, int64_t *ret,
                    struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    CLEANUP(buf_release) struct buf json = BUF_INIT(ACT_MEMORY);
    struct pg_args *p = pg_args(c->a);
    struct slice keys[SILENCE_MATCHERS_MAX];
    unsigned char hashes[SILENCE_MATCHERS_MAX][SILENCE_KEY_LEN];

    silence_matchers_write(m, &json);
    for (size_t i = 0; i < m->n; i++) {
        silence_key(m->v[i].name, m->v[i].value, hashes[i]);
        keys[i] = (struct slice){(const char *)hashes[i], SILENCE_KEY_LEN};
    }
    pg_text(p, c->tenant);
    pg_byteas(p, keys, m->n);
    pg_int(p, c->now_ms);
    pg_text(p, (struct slice){buf_str(&json), json.len});
    int rc = pg_query(c->pg,
                      "SELECT coalesce(max(ends_at), 0) FROM silences WHERE tenant = $1 AND "
                      "key = ANY ($2) AND ends_at > $3 AND starts_at <= $3 AND "
                      "matchers = $4::text::jsonb",
                      p, &r, e);
    if (rc == 0)
        *ret = pg_get_int(r, 0, 0);
    return rc;
}

static int store_silence(const struct act *c, const struct uuid *silence, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_text(p, c->tenant);
    pg_uuid(p, c->id);
    pg_uuid(p, silence);
    return pg_query(c->pg, "UPDATE incidents SET silence_id = $3 WHERE tenant = $1 AND id = $2", p,
                    NULL, e);
}

static int silence_locked(const struct act *c, const struct slice *anomaly, struct err *e)
{
    enum incident_status status = INCIDENT_OPEN;
    struct silence_matchers m = {.n = 0};
    char until[RFC3339_MAX];
    bool theirs = false;
    int rc = lock_status(c, anomaly, &status, &theirs, e); /* two at once make one silence */

    if (rc < 0 || (rc = its_matchers(c, &m, e)) < 0 || (rc = in_force(c, &m, c->ends_ms, e)) < 0)
        return rc;
    *c->changed = *c->ends_ms == 0;
    if (!*c->changed)
        return 0;
    *c->ends_ms = c->now_ms + c->for_ms;
    const struct silence_new made = {.id = uuid7_new(c->now_ms),
                                     .matchers = m,
                                     .starts_ms = c->now_ms,
                                     .ends_ms = *c->ends_ms,
                                     .created_by = c->actor,
                                     .comment = c->note};
    if ((rc = silence_insert(c->pg, c->a, c->tenant, &made, c->now_ms, e)) < 0 ||
        (rc = store_silence(c, &made.id, e)) < 0)
        return rc;
    rc = store_entry(
        c, "note",
        slice_of(arena_printf(c->a, "silenced until %s", rfc3339_format(*c->ends_ms, until))), e);
    return rc < 0 ? rc : wake_groups(c, e);
}

static int act_once(const struct act *c, struct err *e)
{
    struct slice anomaly = {NULL, 0};
    int rc = pg_connect(c->pg, e);

    if (rc < 0 || (rc = find_anomaly(c, &anomaly, e)) < 0 || (rc = pg_begin(c->pg, e)) < 0)
        return rc;
    rc = c->for_ms > 0 ? silence_locked(c, &anomaly, e) : act_locked(c, &anomaly, e);
    if (rc == 0)
        rc = pg_commit(c->pg, e);
    if (rc < 0)
        pg_rollback(c->pg);
    return rc;
}

static int act_retried(struct act *c, const struct person_act *act, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(ACT_MEMORY);

    if (!a)
        return err_set(e, -ENOMEM, "out of memory");
    c->a = a;
    /* NULL would be SQL's NULL; empty is meant. */
    c->actor = act->actor.p ? act->actor : SLICE_LIT("");
    c->note = act->note.p ? act->note : SLICE_LIT("");
    c->to = act->to;
    c->least = act->least;
    c->take = act->take;
    c->now_ms = act->at_ms;
    int rc = act_once(c, e);
    for (int i = 1; rc == -EAGAIN && i < ACT_TRIES; i++) {
        arena_reset(a);
        rc = act_once(c, e);
    }
    return rc;
}

int incident_act(struct pg *pg, struct slice tenant, const struct uuid *id,
                 const struct person_act *act, bool *ret_changed, struct err *e)
{
    struct act c = {.pg = pg, .tenant = tenant, .id = id, .changed = ret_changed};

    if (act->to == INCIDENT_OPEN)
        return err_set(e, -EINVAL, "only a new occurrence opens an incident");
    return act_retried(&c, act, e);
}

int incident_set_status(struct pg *pg, struct slice tenant, const struct uuid *id,
                        const struct person_act *act, struct err *e)
{
    bool changed;

    return incident_act(pg, tenant, id, act, &changed, e);
}

int incident_silence(struct pg *pg, struct slice tenant, const struct uuid *id,
                     const struct person_act *act, struct incident_silenced *ret, struct err *e)
{
    struct act c = {.pg = pg,
                    .tenant = tenant,
                    .id = id,
                    .for_ms = act->silence_ms,
                    .changed = &ret->changed,
                    .ends_ms = &ret->ends_ms};

    return c.for_ms > 0 ? act_retried(&c, act, e)
                        : err_set(e, -EINVAL, "a silence must last for some time");
}
