#include "learner/attempts.h"

#include <errno.h>

#include "common/frequency.h"
#include "common/locks.h"

#define EVENT_MAX 256 /* of one incident's timeline; one that flaps more has long failed */

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "learner: out of memory");
}

static void clear_result(void *r)
{
    PQclear(r);
}

/* Keep a result for as long as the arena, for slices that point into it. */
static int keep(struct learner *l, PGresult **r, struct err *e)
{
    PGresult *taken = TAKE(*r);

    return arena_defer(l->a, clear_result, taken) < 0 ? no_memory(e) : 0;
}

int attempts_find(struct learner *l, struct repair *r, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct slice *tenants = arena_array(l->a, n + 1, struct slice);
    struct uuid *ids = arena_array(l->a, n + 1, struct uuid);
    struct pg_args *p = pg_args(l->a);

    if (!tenants || !ids)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = r[i].tenant;
        ids[i] = r[i].incident_id;
    }
    pg_texts(p, tenants, n);
    pg_uuids(p, ids, n);
    int rc = pg_query(l->pg,
                      "SELECT k.i, i.anomaly_key, i.alert_name, i.service "
                      "FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY k(tenant, id, i) "
                      "JOIN incidents i USING (tenant, id)",
                      p, &res, e);
    if (rc < 0)
        return rc;
    for (int i = 0; i < PQntuples(res); i++) {
        struct repair *one = &r[pg_get_int(res, i, 0) - 1];
        one->known = true;
        one->anomaly_key = pg_get_text(res, i, 1);
        one->alert_name = pg_get_text(res, i, 2);
        one->service = pg_get_text(res, i, 3);
    }
    return keep(l, &res, e);
}

static int insert_one(struct learner *l, struct repair *r, struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);

    pg_text(p, r->tenant);
    pg_uuid(p, r->id.b);
    pg_uuid(p, r->incident_id.b);
    pg_bytea(p, r->anomaly_key.p ? r->anomaly_key : SLICE_LIT(""));
    pg_text(p, r->action);
    pg_int4(p, r->attempt_number);
    pg_text(p, slice_of(outcome_name(r->attempt.claim)));
    pg_text(p, r->actor);
    pg_text(p, r->note);
    pg_int(p, r->attempt.at);
    int rc = pg_query(l->pg,
                      "INSERT INTO repairs (tenant, id, incident_id, anomaly_key, action, attempt, "
                      "claim, outcome, actor, note, at, decide_at) "
                      "VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $10, $10) "
                      "ON CONFLICT DO NOTHING",
                      p, &res, e);
    if (rc == 0)
        r->fresh = pg_affected(res) == 1;
    return rc;
}

int attempts_insert(struct learner *l, struct repair *r, size_t n, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = insert_one(l, &r[i], e);
    return rc;
}

int attempts_claim(struct learner *l, int64_t now_ms, struct repair **ret, size_t *ret_n,
                   struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);

    pg_int(p, now_ms);
    pg_int(p, l->settings->learner.batch);
    int rc = pg_query(l->pg,
                      "SELECT r.tenant, r.id, r.incident_id, r.anomaly_key, r.action, r.claim, "
                      "r.at, i.id IS NOT NULL, i.alert_name, i.service "
                      "FROM repairs r LEFT JOIN incidents i ON i.tenant = r.tenant AND "
                      "i.id = r.incident_id WHERE r.outcome = 'pending' AND r.decide_at <= $1 "
                      "ORDER BY r.decide_at LIMIT $2 FOR NO KEY UPDATE OF r SKIP LOCKED",
                      p, &res, e);
    if (rc < 0)
        return rc;
    const int n = PQntuples(res);
    struct repair *r = arena_array(l->a, (size_t)n + 1, struct repair);
    if (!r)
        return no_memory(e);
    for (int i = 0; i < n; i++) {
        r[i] = (struct repair){
            .tenant = pg_get_text(res, i, 0),
            .anomaly_key = pg_get_text(res, i, 3),
            .action = pg_get_text(res, i, 4),
            .attempt = {.at = pg_get_int(res, i, 6)},
            .known = pg_get_bool(res, i, 7),
            .alert_name = pg_get_text(res, i, 8),
            .service = pg_get_text(res, i, 9),
            .actor = SLICE_LIT("learner"),
            .note = SLICE_LIT(""),
        };
        memcpy(r[i].id.b, pg_get_uuid(res, i, 1), sizeof(r[i].id.b));
        memcpy(r[i].incident_id.b, pg_get_uuid(res, i, 2), sizeof(r[i].incident_id.b));
        if (!outcome_parse(pg_get_text(res, i, 5), &r[i].attempt.claim))
            r[i].attempt.claim = OUTCOME_UNKNOWN;
    }
    *ret = r;
    *ret_n = (size_t)n;
    return keep(l, &res, e);
}

int attempts_lock(struct learner *l, const struct repair *r, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct slice *tenants = arena_array(l->a, n + 1, struct slice);
    struct slice *keys = arena_array(l->a, n + 1, struct slice);
    size_t known = 0;

    if (!tenants || !keys)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        if (!r[i].known)
            continue;
        tenants[known] = r[i].tenant;
        keys[known++] = r[i].anomaly_key;
    }
    return lock_anomalies(
        l->pg, l->a, &(struct lock_keys){.tenants = tenants, .keys = keys, .n = known}, &res, e);
}

/* ---- what happened around an attempt ---- */

static int load_standing(struct learner *l, const struct repair *r, struct history *h,
                         struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct frequency *f = arena_new_of(l->a, struct frequency);
    struct pg_args *p = pg_args(l->a);
    struct err damaged;

    if (!f)
        return no_memory(e);
    pg_text(p, r->tenant);
    pg_uuid(p, r->incident_id.b);
    int rc = pg_query(l->pg,
                      "SELECT CASE WHEN i.status = 4 THEN i.resolved_at ELSE 0 END, a.frequency "
                      "FROM incidents i JOIN anomalies a ON a.tenant = i.tenant AND "
                      "a.key = i.anomaly_key WHERE i.tenant = $1 AND i.id = $2",
                      p, &res, e);
    if (rc < 0 || PQntuples(res) == 0)
        return rc;
    h->known = true;
    h->resolved_at = pg_get_int(res, 0, 0);
    if (frequency_unpack(pg_get_text(res, 0, 1), f, &damaged) < 0) {
        h->forgotten = INT64_MAX; /* then nobody can tell */
        return 0;
    }
    h->occurrences = f->recent;
    h->occurrence_n = f->recent_n;
    h->forgotten = f->forgotten;
    return 0;
}

static enum event_kind event_kind(struct slice kind, struct slice body)
{
    if (slice_is(kind, "resolved"))
        return EVENT_RESOLVED;
    if (slice_is(kind, "expired"))
        return EVENT_EXPIRED;
    if (slice_is(kind, "reopened"))
        return EVENT_REOPENED;
    return slice_is(body, "resolved") ? EVENT_RESOLVED_MUTELY : EVENT_RESOLVED;
}

/* A person's act is an entry of kind `status` that begins with the new status and goes on with
 * their words (common/incident.c). */
static int load_events(struct learner *l, const struct repair *r, struct history *h, struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);

    pg_text(p, r->tenant);
    pg_uuid(p, r->incident_id.b);
    pg_int(p, r->attempt.at - l->settings->learner.settle_window);
    pg_int(p, EVENT_MAX);
    int rc = pg_query(l->pg,
                      "SELECT at, kind, body FROM timeline WHERE tenant = $1 AND incident_id = $2 "
                      "AND at >= $3 AND (kind IN ('resolved', 'expired', 'reopened') OR "
                      "kind = 'status' AND body ~ '^resolved(:|$)') ORDER BY at, cause LIMIT $4",
                      p, &res, e);
    if (rc < 0)
        return rc;
    const int n = PQntuples(res);
    struct event *events = arena_array(l->a, (size_t)n + 1, struct event);
    if (!events)
        return no_memory(e);
    for (int i = 0; i < n; i++)
        events[i] = (struct event){
            .at = pg_get_int(res, i, 0),
            .kind = event_kind(pg_get_text(res, i, 1), pg_get_text(res, i, 2)),
        };
    h->events = events;
    h->event_n = (size_t)n;
    return 0;
}

static int load_other(struct learner *l, const struct repair *r, struct history *h, struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);

    pg_text(p, r->tenant);
    pg_bytea(p, r->anomaly_key);
    pg_uuid(p, r->incident_id.b);
    pg_int(p, r->attempt.at);
    pg_uuid(p, r->id.b);
    int rc = pg_query(l->pg,
                      "SELECT at, action FROM repairs WHERE tenant = $1 AND anomaly_key = $2 AND "
                      "incident_id = $3 AND at >= $4 AND (at, id) > ($4, $5) ORDER BY at LIMIT 1",
                      p, &res, e);
    if (rc < 0 || PQntuples(res) == 0)
        return rc;
    h->other_at = pg_get_int(res, 0, 0);
    h->other_action = pg_get_text(res, 0, 1);
    return keep(l, &res, e);
}

int attempts_judge(struct learner *l, struct repair *r, int64_t now_ms, struct err *e)
{
    const struct windows w = {
        .settle = l->settings->learner.settle_window,
        .stability = l->settings->learner.stability_window,
        .lag = l->settings->aggregation.absence_grace,
    };
    struct history h = {0};
    int rc = r->known ? load_standing(l, r, &h, e) : 0;

    if (rc == 0 && h.known && !r->attempt.verified && (rc = load_events(l, r, &h, e)) == 0)
        rc = load_other(l, r, &h, e);
    if (rc == 0)
        r->decision = decide(&r->attempt, &h, &w, now_ms);
    return rc;
}

/* ---- what follows from a decision ---- */

static int store_row(struct learner *l, const struct repair *r, int64_t now_ms, struct err *e)
{
    const bool pending = r->decision.outcome == OUTCOME_PENDING;
    struct pg_args *p = pg_args(l->a);

    pg_text(p, r->tenant);
    pg_uuid(p, r->id.b);
    pg_text(p, slice_of(outcome_name(r->decision.outcome)));
    pg_text(p, slice_of(r->decision.reason));
    pg_int(p, pending ? r->decision.look_at : 0);
    pg_int(p, pending ? 0 : now_ms);
    return pg_query(l->pg,
                    "UPDATE repairs SET outcome = $3, reason = $4, decide_at = nullif($5, 0), "
                    "decided_at = nullif($6, 0) WHERE tenant = $1 AND id = $2",
                    p, NULL, e);
}

static int store_counts(struct learner *l, const struct repair *r, struct err *e)
{
    struct pg_args *p = pg_args(l->a);

    pg_text(p, r->tenant);
    pg_bytea(p, r->anomaly_key);
    pg_text(p, r->action);
    pg_int(p, r->decision.outcome == OUTCOME_SUCCESS);
    pg_int(p, r->decision.outcome == OUTCOME_FAILURE);
    pg_int(p, r->attempt.at);
    pg_text(p, slice_of(outcome_name(r->decision.outcome)));
    return pg_query(l->pg,
                    "INSERT INTO repair_stats AS s (tenant, anomaly_key, action, attempts, "
                    "successes, failures, last_at, last_outcome) "
                    "VALUES ($1, $2, $3, 1, $4, $5, $6, $7) "
                    "ON CONFLICT (tenant, anomaly_key, action) DO UPDATE SET "
                    "attempts = s.attempts + 1, successes = s.successes + excluded.successes, "
                    "failures = s.failures + excluded.failures, "
                    "last_outcome = CASE WHEN excluded.last_at >= s.last_at "
                    "THEN excluded.last_outcome ELSE s.last_outcome END, "
                    "last_at = greatest(s.last_at, excluded.last_at)",
                    p, NULL, e);
}

static const char *entry_body(struct learner *l, const struct repair *r)
{
    const char *sep = r->note.len > 0 ? ": " : "";

    if (r->decision.outcome == OUTCOME_PENDING)
        return arena_printf(l->a, "%.*s: reported as %s, not yet seen to last%s%.*s",
                            SLICE_FMT(r->action), outcome_name(r->attempt.claim), sep,
                            SLICE_FMT(r->note));
    return arena_printf(l->a, "%.*s: %s (%s)%s%.*s", SLICE_FMT(r->action),
                        outcome_name(r->decision.outcome), r->decision.reason, sep,
                        SLICE_FMT(r->note));
}

static int store_entry(struct learner *l, const struct repair *r, int64_t now_ms, struct err *e)
{
    struct pg_args *p = pg_args(l->a);
    char id[UUID_STR];

    pg_text(p, r->tenant);
    pg_uuid(p, r->incident_id.b);
    pg_int(p, r->fresh ? r->attempt.at : now_ms);
    pg_text(p, slice_of(arena_printf(l->a, "%s:0:%s", uuid_format(&r->id, id),
                                     r->fresh ? "repair" : "outcome")));
    pg_text(p, r->actor);
    pg_text(p, slice_of(entry_body(l, r)));
    return pg_query(l->pg,
                    "INSERT INTO timeline (tenant, incident_id, at, cause, kind, actor, body) "
                    "VALUES ($1, $2, $3, $4, 'repair', $5, $6) ON CONFLICT DO NOTHING",
                    p, NULL, e);
}

int attempts_settle(struct learner *l, const struct repair *r, int64_t now_ms, struct err *e)
{
    const bool pending = r->decision.outcome == OUTCOME_PENDING;
    int rc = store_row(l, r, now_ms, e);

    if (rc < 0 || !r->known)
        return rc;
    if (!pending && (rc = store_counts(l, r, e)) < 0)
        return rc;
    /* An attempt that is looked at again and still waits has nothing new to say. */
    return pending && !r->fresh ? 0 : store_entry(l, r, now_ms, e);
}
