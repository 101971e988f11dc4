/* The reading half of a flush: groups under their lock, then what they are about. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/failing.h"
#include "common/json.h"
#include "processor/flush_internal.h"

#define ITEMS_TEXT_MAX ((size_t)64 << 20)

/* What is left to say is said at once, and nothing twice. */
static const struct route gone = {
    .path = "{}", .repeat_interval_ms = INT64_MAX / 4, .digest = {.period_ms = 1, .at_minute = -1}};

/* ---- groups ---- */

static int lock(struct flush *f, const struct flush_subject *v, size_t n, PGresult **ret,
                struct err *e)
{
    struct slice *tenants = arena_array(f->a, n, struct slice);
    struct uuid *ids = arena_array(f->a, n, struct uuid);

    if (!tenants || !ids)
        return flush_too_large(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = v[i].tenant;
        ids[i] = v[i].group;
    }
    const struct lock_keys keys = {.tenants = tenants, .uuids = ids->b, .n = n};
    return lock_groups(f->pg, f->a, &keys, ret, e);
}

static struct slice copy_cell(struct flush *f, const PGresult *r, int row, int col)
{
    return arena_slice(f->a, pg_get_text(r, row, col));
}

static int about_itself(struct flush *f, struct target *t, struct err *e)
{
    struct labels routed_by;

    if (!t->receiver || t->kind != GROUP_INCIDENT ||
        !memmem(t->routed_by.p, t->routed_by.len, FAILING_ALERT, sizeof(FAILING_ALERT) - 1))
        return 0;
    int rc = labels_from_json(f->a, t->routed_by, &routed_by, e);
    if (rc == 0)
        t->itself = failing_teller(t->receiver, routed_by) != t->receiver;
    return rc;
}

static int take_group(struct flush *f, const PGresult *r, int row, struct target *t, struct err *e)
{
    const unsigned char *incident = pg_get_uuid(r, row, GR_INCIDENT);

    t->tenant = copy_cell(f, r, row, GR_TENANT);
    memcpy(t->id.b, pg_get_uuid(r, row, GR_ID), sizeof(t->id.b));
    if (incident)
        memcpy(t->incident.b, incident, sizeof(t->incident.b));
    t->kind = (enum group_kind)pg_get_int(r, row, GR_KIND);
    t->receiver_name = copy_cell(f, r, row, GR_RECEIVER);
    t->labels_json = copy_cell(f, r, row, GR_LABELS);
    t->routed_by = copy_cell(f, r, row, GR_ROUTED_BY);
    t->told = copy_cell(f, r, row, GR_TOLD);
    t->seq = pg_get_int(r, row, GR_SEQ);
    t->is = (struct standing){.kind = t->kind,
                              .since_ms = pg_get_int(r, row, GR_SINCE),
                              .flushed_ms = pg_get_int(r, row, GR_FLUSHED_AT)};
    if (!t->tenant.p || !t->labels_json.p || !t->routed_by.p || !t->told.p)
        return flush_too_large(e);
    if (rules_route_find(f->s->rules, f->s->routes, pg_get_text(r, row, GR_ROUTE), f->a,
                         &t->route) < 0)
        return flush_too_large(e);
    t->receiver = t->route && slice_is(t->receiver_name, t->route->receiver->name)
                      ? t->route->receiver
                      : receiver_find(f->s->receivers, t->receiver_name);
    if (!t->route)
        t->route = &gone;
    int rc = about_itself(f, t, e);
    return rc < 0 ? rc : labels_from_json(f->a, t->labels_json, &t->labels, e);
}

/* ---- what they are about ---- */

/* $1 tenants, $2 ids, $3 indexes of targets of this kind. */
static size_t keys_of(struct flush *f, enum group_kind kind, const bool *only, struct pg_args *p)
{
    struct slice *tenants = arena_array(f->a, f->target_n, struct slice);
    struct uuid *ids = arena_array(f->a, f->target_n, struct uuid);
    int64_t *index = arena_array(f->a, f->target_n, int64_t);
    size_t n = 0;

    for (size_t i = 0; tenants && ids && index && i < f->target_n; i++) {
        const struct target *t = &f->targets[i];

        if (t->kind != kind || (only && !only[i]))
            continue;
        tenants[n] = t->tenant;
        ids[n] = kind == GROUP_INCIDENT ? t->incident : t->id;
        index[n++] = (int64_t)i;
    }
    pg_texts(p, tenants, n);
    pg_uuids(p, ids, n);
    pg_ints(p, index, n);
    return n;
}

int flush_ask(struct flush *f, enum group_kind kind, const bool *only, const char *sql,
              PGresult **ret, struct err *e)
{
    struct pg_args *p = pg_args(f->a);

    return keys_of(f, kind, only, p) ? pg_query(f->pg, sql, p, ret, e) : 0;
}

static struct target *target_at(struct flush *f, const PGresult *r, int row)
{
    return &f->targets[pg_get_int(r, row, 0)];
}

static int read_incidents(struct flush *f, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = flush_ask(f, GROUP_INCIDENT, NULL,
                       "SELECT k.n, status, severity, level, opened_level, episode, source, "
                       "episode_at, resolved_at, fingerprint_words, crossed_rules, owner, "
                       "silence_id FROM incidents i "
                       "JOIN unnest($1::text[], $2::uuid[], "
                       "$3::int8[]) k(t, id, n) ON i.tenant = k.t "
                       "AND i.id = k.id",
                       &r, e);

    for (int row = 0; rc == 0 && r && row < PQntuples(r); row++) {
        struct target *t = target_at(f, r, row);

        t->found = true;
        t->is.status = (enum incident_status)pg_get_int(r, row, 1);
        t->is.severity = t->severity = (enum severity)pg_get_int(r, row, 2);
        t->is.level = (enum escalation_level)pg_get_int(r, row, 3);
        t->is.opened_level = (enum escalation_level)pg_get_int(r, row, 4);
        t->is.episode = (int32_t)pg_get_int(r, row, 5);
        t->source = copy_cell(f, r, row, 6);
        t->is.owner = copy_cell(f, r, row, 11);
        if (pg_get_uuid(r, row, 12))
            memcpy(t->own_silence.b, pg_get_uuid(r, row, 12), sizeof(t->own_silence.b));
        t->is.episode_ms = pg_get_int(r, row, 7);
        t->is.resolved_ms = pg_get_int(r, row, 8);
        struct rule_facts facts = {.severity = t->is.severity,
                                   .source = t->source,
                                   .fingerprint = pg_get_text(r, row, 9),
                                   .crossed =
                                       rules_crossed_parse(f->s->rules, pg_get_text(r, row, 10))};
        if (t->receiver || t->route == &gone)
            rc = flush_moved(f, t, &facts, t->route == &gone, e);
    }
    return rc;
}

static int by_fingerprint(const void *x, const void *y)
{
    const struct member *a = x, *b = y;

    return (a->fingerprint > b->fingerprint) - (a->fingerprint < b->fingerprint);
}

static int read_members(struct flush *f, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc =
        flush_ask(f, GROUP_ALERTS, NULL,
                  "SELECT k.n, a.fingerprint, a.status, a.severity, a.starts_at, a.ended_at FROM "
                  "unnest($1::text[], "
                  "$2::uuid[], $3::int8[]) k(t, id, n) JOIN group_alerts g ON g.tenant = k.t AND "
                  "g.group_id = k.id JOIN alerts a ON a.tenant = g.tenant AND a.fingerprint = "
                  "g.fingerprint ORDER BY k.n",
                  &r, e);

    if (rc < 0 || !r)
        return rc;
    struct member *v = arena_array(f->a, (size_t)PQntuples(r) + 1, struct member);
    if (!v)
        return flush_too_large(e);
    for (int row = 0; row < PQntuples(r); row++) {
        struct target *t = target_at(f, r, row);

        if (t->member_n == 0)
            t->members = &v[row];
        v[row] = (struct member){.fingerprint = (uint64_t)pg_get_int(r, row, 1),
                                 .severity = (enum severity)pg_get_int(r, row, 3),
                                 .firing = pg_get_int(r, row, 2) == ALERT_FIRING,
                                 .starts_ms = pg_get_int(r, row, 4),
                                 .ended_ms = pg_get_int(r, row, 5)};
        t->member_n++;
    }
    for (size_t i = 0; i < f->target_n; i++)
        if (f->targets[i].member_n > 1)
            qsort(f->targets[i].members, f->targets[i].member_n, sizeof(*v), by_fingerprint);
    return 0;
}

void flush_gather(struct target *t, int64_t integration, struct gathered more)
{
    const bool its = integration >= 0 && integration < (int64_t)target_integrations(t);
    struct gathered *g = &t->gathered[its ? integration + 1 : 0];

    if (g->n == 0 || more.first_ms < g->first_ms)
        g->first_ms = more.first_ms;
    g->n += more.n;
}

static int read_digests(struct flush *f, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = flush_ask(f, GROUP_DIGEST, NULL,
                       "SELECT k.n, d.integration, count(*), min(d.first_at) FROM "
                       "unnest($1::text[], $2::uuid[], $3::int8[]) k(t, id, n) JOIN digest_items "
                       "d ON d.tenant = k.t AND d.group_id = k.id GROUP BY k.n, d.integration",
                       &r, e);

    for (size_t i = 0; i < f->target_n; i++) {
        struct target *t = &f->targets[i];

        if (t->kind != GROUP_DIGEST)
            continue;
        t->gathered = arena_array(f->a, target_integrations(t) + 1, struct gathered);
        if (!t->gathered)
            return flush_too_large(e);
    }
    for (int row = 0; rc == 0 && r && row < PQntuples(r); row++)
        flush_gather(target_at(f, r, row), pg_get_int(r, row, 1),
                     (struct gathered){.n = (size_t)pg_get_int(r, row, 2),
                                       .first_ms = pg_get_int(r, row, 3)});
    return rc;
}

int flush_read(struct flush *f, const struct flush_subject *v, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = lock(f, v, n, &r, e);

    if (rc < 0 || !r)
        return rc;
    f->targets = arena_array(f->a, (size_t)PQntuples(r) + 1, struct target);
    if (!f->targets)
        return flush_too_large(e);
    for (int row = 0; row < PQntuples(r); row++)
        if ((rc = take_group(f, r, row, &f->targets[f->target_n++], e)) < 0)
            return rc;
    if ((rc = read_incidents(f, e)) < 0 || (rc = flush_taken_over(f, e)) < 0 ||
        (rc = read_members(f, e)) < 0)
        return rc;
    return read_digests(f, e);
}

/* ---- digests ---- */

static int put_item(struct buf *b, const PGresult *r, int row)
{
    char id[UUID_STR];
    struct uuid incident;

    memcpy(incident.b, pg_get_uuid(r, row, 1), sizeof(incident.b));
    buf_printf(b, "%s{\"incident\":\"%s\",\"occurrences\":%lld,\"first_at\":%lld,\"last_at\":%lld}",
               b->len > 0 ? "," : "", uuid_format(&incident, id), (long long)pg_get_int(r, row, 2),
               (long long)pg_get_int(r, row, 3), (long long)pg_get_int(r, row, 4));
    return b->failed ? -ENOMEM : 0;
}

/* Rows of one note, from `row` on: the first row of the next. */
static int take_note(struct flush *f, const struct notes *notes, const PGresult *r, int row,
                     struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(ITEMS_TEXT_MAX);
    struct note *n = &notes->v[pg_get_int(r, row, 0)];

    n->severity = SEVERITY_INFO;
    for (; row < PQntuples(r) && &notes->v[pg_get_int(r, row, 0)] == n; row++) {
        const enum severity severity = (enum severity)pg_get_int(r, row, 5);

        if (put_item(&b, r, row) < 0)
            return flush_too_large(e);
        if (severity > n->severity)
            n->severity = severity;
    }
    n->items = arena_slice(f->a, (struct slice){b.p, b.len});
    return n->items.p ? row : flush_too_large(e);
}

/* $7 groups, $8 incidents of items that are silenced, and stay. */
static int put_waiting(struct flush *f, struct pg_args *p, struct err *e)
{
    size_t most = 1, n = 0;

    for (size_t i = 0; i < f->target_n; i++)
        most += f->targets[i].waiting_n;
    struct uuid *groups = arena_array(f->a, most, struct uuid),
                *incidents = arena_array(f->a, most, struct uuid);
    if (!groups || !incidents)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++)
        for (size_t k = 0; k < f->targets[i].waiting_n; k++) {
            groups[n] = f->targets[i].id;
            incidents[n++] = f->targets[i].waiting[k];
        }
    pg_uuids(p, groups, n);
    pg_uuids(p, incidents, n);
    return 0;
}

/* $1 tenants, $2 groups, $3 indexes of the digests among the notes, $4 integrations, $5 whether
 * they are whole, $6 how many integrations there are. How many digests; -ENOMEM. */
static int put_digests(struct flush *f, const struct notes *notes, struct pg_args *p, struct err *e)
{
    struct slice *tenants = arena_array(f->a, notes->n, struct slice);
    struct uuid *groups = arena_array(f->a, notes->n, struct uuid);
    int64_t *index = arena_array(f->a, notes->n, int64_t);
    int32_t *own = arena_array(f->a, notes->n, int32_t),
            *most = arena_array(f->a, notes->n, int32_t);
    bool *whole = arena_array(f->a, notes->n, bool);
    size_t n = 0;

    if (!tenants || !groups || !index || !own || !most || !whole)
        return flush_too_large(e);
    for (size_t i = 0; i < notes->n; i++) {
        const struct note *note = &notes->v[i];
        const struct target *t = &f->targets[note->target];

        if (note->due.kind != DUE_DIGEST)
            continue;
        tenants[n] = t->tenant;
        groups[n] = t->id;
        index[n] = (int64_t)i;
        own[n] = (int32_t)note->integration;
        most[n] = (int32_t)target_integrations(t);
        whole[n++] = note->whole;
    }
    pg_texts(p, tenants, n);
    pg_uuids(p, groups, n);
    pg_ints(p, index, n);
    pg_int4s(p, own, n);
    pg_bools(p, whole, n);
    pg_int4s(p, most, n);
    return (int)n;
}

/* Batches add to the same rows, ordered by their key. */
#define FOR_ALL(most) "NOT d.integration BETWEEN 0 AND " most " - 1"
static const char take_sql[] =
    "WITH k AS (SELECT * FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::int4[], $5::bool[], "
    "$6::int4[]) k(t, id, n, own, whole, most)), "
    "g AS (SELECT t, id, array_agg(own) AS own, bool_or(whole) AS whole, max(most) AS most FROM k "
    "GROUP BY t, id), "
    "held AS (SELECT d.tenant, d.group_id, d.incident_id, d.integration FROM digest_items d JOIN g "
    "ON d.tenant = g.t AND d.group_id = g.id WHERE (d.integration = ANY (g.own) OR g.whole "
    "AND " FOR_ALL(
        "g.most") ") AND NOT EXISTS (SELECT FROM unnest($7::uuid[], $8::uuid[]) w(g, i) WHERE "
                  "w.g = d.group_id AND w.i = d.incident_id) ORDER BY 1, 2, 3, 4 FOR UPDATE OF d), "
                  "taken AS (DELETE FROM digest_items d USING held h WHERE d.tenant = h.tenant AND "
                  "d.group_id = "
                  "h.group_id AND d.incident_id = h.incident_id AND d.integration = h.integration "
                  "RETURNING d.*) "
                  "SELECT k.n, d.incident_id, sum(d.occurrences)::int8, min(d.first_at), "
                  "max(d.last_at), "
                  "coalesce(i.severity, 1) FROM taken d JOIN k ON d.tenant = k.t AND d.group_id = "
                  "k.id AND "
                  "(d.integration = k.own OR k.whole AND " FOR_ALL(
                      "k.most") ") LEFT JOIN incidents i ON "
                                "i.tenant = d.tenant AND i.id = d.incident_id GROUP BY k.n, "
                                "d.incident_id, i.severity ORDER BY "
                                "k.n, coalesce(i.severity, 1) DESC, min(d.first_at), d.incident_id";

int flush_take_items(struct flush *f, const struct notes *notes, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(f->a);

    int rc = put_digests(f, notes, p, e);

    if (rc <= 0)
        return rc;
    if ((rc = put_waiting(f, p, e)) == 0)
        rc = pg_query(f->pg, take_sql, p, &r, e);
    for (int row = 0; rc >= 0 && r && row < PQntuples(r); row = rc)
        rc = take_note(f, notes, r, row, e);
    return rc < 0 ? rc : 0;
}

static int offset_at(struct flush *f, const char *zone, int64_t ms, int32_t *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(f->a);

    pg_int(p, ms);
    pg_text(p, slice_of(zone));
    int rc =
        pg_query(f->pg,
                 "SELECT (extract(epoch FROM (to_timestamp($1::int8 / 1000.0) AT TIME ZONE $2) "
                 "- (to_timestamp($1::int8 / 1000.0) AT TIME ZONE 'UTC')) / 60)::int8",
                 p, &r, e);
    if (rc == 0)
        *ret = (int32_t)pg_get_int(r, 0, 0);
    return rc;
}

static const char *zone_of(const struct flush_settings *s, const struct receiver *r)
{
    return r && *r->time_zone ? r->time_zone : s->time_zone;
}

struct clocks_of {
    struct flush *f;
    const char *zone;
};

static int clocks_offset(void *ctx, int64_t ms, int32_t *ret_minutes, struct err *e)
{
    const struct clocks_of *c = ctx;

    *ret_minutes = 0;
    return *c->zone ? offset_at(c->f, c->zone, ms, ret_minutes, e) : 0;
}

int flush_digest_next(struct flush *f, const struct target *t, int64_t from_ms, int64_t *ret,
                      struct err *e)
{
    struct clocks_of of = {f, zone_of(f->s, t->receiver)};
    const struct clocks clocks = {clocks_offset, &of};

    return digest_next_by(&t->route->digest, from_ms, &clocks, ret, e);
}

int flush_check_zones(const struct flush_settings *s, struct pg *pg, struct arena *a, struct err *e)
{
    struct flush f = {.s = s, .pg = pg, .a = a};

    for (size_t i = 0; i < s->receivers->n; i++) {
        const char *zone = zone_of(s, &s->receivers->v[i]);
        int32_t minutes;
        int rc = *zone ? offset_at(&f, zone, 0, &minutes, e) : 0;

        if (rc == -ERANGE)
            return err_set(e, -EINVAL, "receiver %s: Postgres knows no time zone %s",
                           s->receivers->v[i].name, zone);
        if (rc < 0)
            return rc;
    }
    return 0;
}
