/*
 * Whom the news concern: groups, their members, what the next digest tells, and timers that say
 * "look". No group is locked here; a flush that missed a change is followed by one that sees it,
 * because the timer comes with the change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "processor/group_rows.h"
#include "processor/work.h"

struct touch {
    struct slice tenant;
    struct group_identity group;
    const struct route *route;
    const struct receiver *receiver; /* the route's, or one that tells what is about that one */
    const struct alert_work *al;
    const struct incident *incident;
    struct labels routed_by;
    int64_t at;
    int64_t occurrences; /* for digests */
    bool wake;
};

struct touches {
    struct touch *v;
    size_t n, cap;
    const struct route **routes; /* room for those of one alert */
};

static struct touch *touch_new(struct touches *t, struct arena *a)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? 2 * t->cap : 64;
        struct touch *v = arena_array(a, cap, struct touch);
        if (!v)
            return NULL;
        if (t->n)
            memcpy(v, t->v, t->n * sizeof(*v));
        t->v = v;
        t->cap = cap;
    }
    return &t->v[t->n++];
}

static int touch_news(struct work *w, const struct news *n, struct touches *t, struct err *e)
{
    const struct alert_work *al = (const struct alert_work *)(const void *)n->alert;
    struct labels labels = {0};
    const enum severity severity = n->kind == NEWS_RESOLVED ? al->severity : n->severity;
    size_t matched = 0;
    int rc = work_labels(w, al, n->change, severity, &labels, e);

    if (rc < 0)
        return rc;
    const struct rule_facts facts = {.labels = labels,
                                     .severity = severity,
                                     .source = n->incident->source,
                                     .fingerprint = n->incident->words,
                                     .crossed = n->crossed};
    if (rules_route(w->rules, w->routes, &facts, w->a, t->routes, &matched) < 0)
        return batch_too_large(e);
    for (size_t i = 0; i < matched; i++) {
        struct group_identity id;
        const struct receiver *receiver;
        if (group_of(w->a, t->routes[i], n->alert->tenant, labels, &n->incident->id, &id) < 0)
            return batch_too_large(e);
        if (!group_teller(t->routes[i], labels, &id, &receiver))
            continue;
        if (n->kind == NEWS_RESOLVED && id.kind != GROUP_DIGEST)
            continue; /* existing groups are woken by their incident or member */
        struct touch *touch = touch_new(t, w->a);
        if (!touch)
            return batch_too_large(e);
        *touch = (struct touch){.tenant = n->alert->tenant,
                                .group = id,
                                .route = t->routes[i],
                                .receiver = receiver,
                                .al = al,
                                .incident = n->incident,
                                .routed_by = labels,
                                .at = n->change->at,
                                .occurrences = n->counted && n->kind != NEWS_CROSSED &&
                                               n->kind != NEWS_SEVERITY && n->kind != NEWS_RULE,
                                .wake = n->kind != NEWS_RECURRED || id.kind == GROUP_ALERTS};
    }
    return 0;
}

static int touch_cmp(const void *x, const void *y)
{
    const struct touch *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    return c != 0 ? c : uuid_cmp(&a->group.id, &b->group.id);
}

/* ---- groups and their timers ---- */

/* A period's next multiple is the same everywhere. A time of day hangs on the receiver's zone,
 * which the flush knows: it looks at once, and arms itself. */
static int64_t first_look(const struct touch *t)
{
    const struct digest_when *d = &t->route->digest;

    if (t->group.kind != GROUP_DIGEST)
        return t->at + t->route->group_wait_ms;
    return d->at_minute < 0 ? digest_next(d, t->at, 0) : t->at;
}

static int store_groups(struct work *w, struct pg *pg, const struct touches *t, struct err *e)
{
    struct group_row *rows = arena_array(w->a, t->n + 1, struct group_row);
    size_t n = 0;

    if (!rows)
        return batch_too_large(e);
    for (size_t i = 0, from = 0; i < t->n; i++) {
        if (i + 1 < t->n && touch_cmp(&t->v[i], &t->v[i + 1]) == 0)
            continue;
        struct touch one = t->v[from];
        for (size_t j = from; j <= i; j++) {
            one.wake |= t->v[j].wake;
            if (t->v[j].at < one.at)
                one.at = t->v[j].at;
        }
        rows[n++] = (struct group_row){.tenant = one.tenant,
                                       .is = one.group,
                                       .route = one.route,
                                       .receiver = one.receiver,
                                       .incident = one.incident->id,
                                       .routed_by = one.routed_by,
                                       .since_ms = one.at,
                                       .due_ms = first_look(&one),
                                       .wake = one.wake};
        from = i + 1;
    }
    if (n == 0)
        return 0;
    struct pg_args *p = group_rows_args(w->a, rows, n, w->now_ms);
    return p ? pg_send(pg, group_rows_sql, p, NULL, e) : batch_too_large(e);
}

/* ---- members ---- */

static int store_members(struct work *w, struct pg *pg, const struct touches *t, struct err *e)
{
    struct slice *tenant = arena_array(w->a, t->n + 1, struct slice);
    struct uuid *group = arena_array(w->a, t->n + 1, struct uuid);
    int64_t *fp = arena_array(w->a, t->n + 1, int64_t);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!tenant || !group || !fp)
        return batch_too_large(e);
    for (size_t i = 0; i < t->n; i++) {
        if (t->v[i].group.kind != GROUP_ALERTS)
            continue;
        tenant[n] = t->v[i].tenant;
        group[n] = t->v[i].group.id;
        fp[n++] = (int64_t)t->v[i].al->row.fingerprint;
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_uuids(p, group, n);
    pg_ints(p, fp, n);
    return pg_send(pg,
                   "INSERT INTO group_alerts (tenant, group_id, fingerprint) SELECT DISTINCT * "
                   "FROM unnest($1::text[], $2::uuid[], $3::int8[]) "
                   "ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
                   p, NULL, e);
}

static int store_digest_items(struct work *w, struct pg *pg, const struct touches *t, struct err *e)
{
    struct slice *tenant = arena_array(w->a, t->n + 1, struct slice);
    struct uuid *id = arena_array(w->a, 2 * (t->n + 1), struct uuid);
    int64_t *num = arena_array(w->a, 2 * (t->n + 1), int64_t);
    struct pg_args *p = pg_args(w->a);
    const size_t cap = t->n + 1;
    size_t n = 0;

    if (!tenant || !id || !num)
        return batch_too_large(e);
    for (size_t i = 0; i < t->n; i++) {
        if (t->v[i].group.kind != GROUP_DIGEST)
            continue;
        tenant[n] = t->v[i].tenant;
        id[n] = t->v[i].group.id;
        id[cap + n] = t->v[i].incident->id;
        num[n] = t->v[i].occurrences;
        num[cap + n++] = t->v[i].at;
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_uuids(p, id, n);
    pg_uuids(p, id + cap, n);
    pg_ints(p, num, n);
    pg_ints(p, num + cap, n);
    return pg_send(pg,
                   "INSERT INTO digest_items AS d (tenant, group_id, incident_id, occurrences, "
                   "first_at, last_at) "
                   "SELECT t, g, i, sum(o)::int8, min(at), max(at) FROM unnest($1::text[], "
                   "$2::uuid[], $3::uuid[], $4::int8[], $5::int8[]) "
                   "k(t, g, i, o, at) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 "
                   "ON CONFLICT (tenant, group_id, incident_id, integration) DO UPDATE SET "
                   "occurrences = "
                   "d.occurrences + excluded.occurrences, "
                   "first_at = least(d.first_at, excluded.first_at), last_at = greatest(d.last_at, "
                   "excluded.last_at)",
                   p, NULL, e);
}

/* ---- existing groups ---- */

/* Every group of an incident whose state moved looks at it; one that a silence keeps from it also
 * when an alert joins, of which the silence may know nothing. */
static int wake_incidents(struct work *w, struct pg *pg, struct err *e)
{
    const size_t most = w->news.n + w->acknowledged_n + 1;
    struct slice *tenant = arena_array(w->a, most, struct slice);
    struct uuid *id = arena_array(w->a, most, struct uuid);
    bool *joined = arena_array(w->a, most, bool);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!tenant || !id || !joined)
        return batch_too_large(e);
    for (size_t i = 0; i < w->acknowledged_n; i++) {
        tenant[n] = w->acknowledged[i].incident->tenant;
        joined[n] = false;
        id[n++] = w->acknowledged[i].incident->id;
    }
    for (size_t i = 0; i < w->news.n; i++) {
        const struct news *v = &w->news.v[i];
        if (v->kind == NEWS_ALERT_ENDED || v->kind == NEWS_OPENED)
            continue;
        tenant[n] = v->alert->tenant;
        joined[n] = v->kind == NEWS_RECURRED;
        id[n++] = v->incident->id;
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_uuids(p, id, n);
    pg_int(p, w->now_ms);
    pg_bools(p, joined, n);
    return pg_send(pg,
                   "INSERT INTO timers (due_at, kind, tenant, subject) SELECT DISTINCT $3::int8, "
                   "1, g.tenant, uuid_send(g.id) "
                   "FROM groups g JOIN (SELECT t, id, bool_and(joined) AS joined FROM "
                   "unnest($1::text[], $2::uuid[], $4::bool[]) k(t, id, joined) GROUP BY 1, 2) k "
                   "ON g.tenant = k.t AND g.incident_id = k.id "
                   "WHERE NOT k.joined OR g.told @? '$.*.withheld'",
                   p, NULL, e);
}

/* Every group that an ended alert is a member of. */
static int wake_members(struct work *w, struct pg *pg, struct err *e)
{
    struct slice *tenant = arena_array(w->a, w->news.n + 1, struct slice);
    int64_t *fp = arena_array(w->a, w->news.n + 1, int64_t);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!tenant || !fp)
        return batch_too_large(e);
    for (size_t i = 0; i < w->news.n; i++) {
        if (w->news.v[i].kind != NEWS_ALERT_ENDED)
            continue;
        tenant[n] = w->news.v[i].alert->tenant;
        fp[n++] = (int64_t)w->news.v[i].alert->fingerprint;
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_ints(p, fp, n);
    pg_int(p, w->now_ms);
    return pg_send(pg,
                   "INSERT INTO timers (due_at, kind, tenant, subject) SELECT DISTINCT $3::int8, "
                   "1, g.tenant, uuid_send(g.group_id) "
                   "FROM group_alerts g JOIN unnest($1::text[], $2::int8[]) k(t, f) ON g.tenant = "
                   "k.t AND g.fingerprint = k.f",
                   p, NULL, e);
}

int reach_store(struct work *w, struct pg *pg, struct err *e)
{
    struct touches t = {0};
    int rc = 0;

    if (!w->routes || w->news.n + w->acknowledged_n == 0)
        return 0;
    if (!(t.routes = arena_array(w->a, w->routes->most, const struct route *)))
        return batch_too_large(e);
    for (size_t i = 0; i < w->news.n && rc == 0; i++)
        if (w->news.v[i].kind != NEWS_ALERT_ENDED)
            rc = touch_news(w, &w->news.v[i], &t, e);
    if (rc < 0)
        return rc;
    if (t.n > 0)
        qsort(t.v, t.n, sizeof(*t.v), touch_cmp);
    w->due_now = true;
    if ((rc = store_groups(w, pg, &t, e)) == 0 && (rc = store_members(w, pg, &t, e)) == 0 &&
        (rc = store_digest_items(w, pg, &t, e)) == 0 && (rc = wake_incidents(w, pg, e)) == 0)
        rc = wake_members(w, pg, e);
    return rc;
}
