/*
 * Whom the news concern: groups, their members, what the next digest tells, and timers that say
 * "look". No group is locked here; a flush that missed a change is followed by one that sees it,
 * because the timer comes with the change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/failing.h"
#include "processor/group.h"
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

/* That a receiver takes nothing is told by its fallback, in a group of the fallback's own. Nobody:
 * false, unless a row shall say so. */
static bool choose_teller(const struct route *route, struct labels labels,
                          struct group_identity *id, const struct receiver **ret)
{
    const struct receiver *teller = failing_teller(route->receiver, labels);
    unsigned char hash[SHA256_LEN];

    *ret = teller ? teller : route->receiver;
    if (teller && teller != route->receiver) {
        const struct slice parts[] = {{(const char *)id->id.b, sizeof(id->id.b)},
                                      slice_of(teller->name)};
        hmac_sha256_v(SLICE_LIT("teller"), parts, 2, hash);
        memcpy(id->id.b, hash, sizeof(id->id.b));
    }
    return teller || id->kind == GROUP_INCIDENT;
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
        if (!choose_teller(t->routes[i], labels, &id, &receiver))
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

struct group_columns {
    struct slice *tenant, *receiver, *route, *labels, *routed_by;
    struct uuid *id, *incident;
    int32_t *kind;
    bool *wake;
    int64_t *since, *due;
    size_t n;
};

static bool group_columns_make(struct group_columns *c, size_t cap, struct arena *a)
{
    struct slice *t = arena_array(a, 5 * cap, struct slice);
    int64_t *b = arena_array(a, 2 * cap, int64_t);

    *c = (struct group_columns){.id = arena_array(a, cap, struct uuid),
                                .incident = arena_array(a, cap, struct uuid),
                                .kind = arena_array(a, cap, int32_t),
                                .wake = arena_array(a, cap, bool)};
    if (!t || !b || !c->id || !c->incident || !c->kind || !c->wake)
        return false;
    c->tenant = t;
    c->receiver = t + cap;
    c->route = t + 2 * cap;
    c->labels = t + 3 * cap;
    c->routed_by = t + 4 * cap;
    c->since = b;
    c->due = b + cap;
    return true;
}

static struct slice labels_json(struct arena *a, struct labels l)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)16 << 20);

    labels_to_json(&b, l);
    return b.failed ? (struct slice){NULL, 0} : arena_slice(a, (struct slice){b.p, b.len});
}

/* A period's next multiple is the same everywhere. A time of day hangs on the receiver's zone,
 * which the flush knows: it looks at once, and arms itself. */
static int64_t digest_due(const struct touch *t)
{
    const struct digest_when *d = &t->route->digest;

    return d->at_minute < 0 ? digest_next(d, t->at, 0) : t->at;
}

static bool group_columns_add(struct group_columns *c, const struct touch *t, struct arena *a)
{
    const size_t i = c->n++;

    c->tenant[i] = t->tenant;
    c->id[i] = t->group.id;
    c->incident[i] = t->incident->id;
    c->kind[i] = (int32_t)t->group.kind;
    c->receiver[i] = slice_of(t->receiver->name);
    c->route[i] = rules_route_key(t->route, a);
    c->labels[i] = labels_json(a, t->group.labels);
    c->routed_by[i] = labels_json(a, t->routed_by);
    c->since[i] = t->at;
    c->due[i] = t->group.kind == GROUP_DIGEST ? digest_due(t) : t->at + t->route->group_wait_ms;
    c->wake[i] = t->wake;
    return c->route[i].p && c->labels[i].p && c->routed_by[i].p;
}

static int send_groups(struct work *w, struct pg *pg, const struct group_columns *c, struct err *e)
{
    struct pg_args *p = pg_args(w->a);

    pg_texts(p, c->tenant, c->n);
    pg_uuids(p, c->id, c->n);
    pg_int4s(p, c->kind, c->n);
    pg_texts(p, c->receiver, c->n);
    pg_texts(p, c->route, c->n);
    pg_texts(p, c->labels, c->n);
    pg_uuids(p, c->incident, c->n);
    pg_texts(p, c->routed_by, c->n);
    pg_ints(p, c->since, c->n);
    pg_ints(p, c->due, c->n);
    pg_bools(p, c->wake, c->n);
    pg_int(p, w->now_ms);
    /* A digest's timer stands until its time, so one is enough, but not close before it: who runs
     * it may have looked already. */
    return pg_send(pg,
                   "WITH k AS (SELECT * FROM unnest($1::text[], $2::uuid[], $3::int4[], "
                   "$4::text[], $5::text[], $6::text[], $7::uuid[], "
                   "$8::text[], $9::int8[], $10::int8[], $11::bool[]) k(t, id, kind, rec, rou, "
                   "lab, inc, rb, since, due, wake)), "
                   "fresh AS (INSERT INTO groups (tenant, id, kind, receiver, route, labels, "
                   "incident_id, routed_by, since) "
                   "SELECT t, id, kind, rec, rou, lab::jsonb, CASE WHEN kind = 1 THEN inc END, "
                   "rb::jsonb, since FROM k ORDER BY t, id "
                   "ON CONFLICT DO NOTHING RETURNING tenant, id) "
                   "INSERT INTO timers (due_at, kind, tenant, subject) "
                   "SELECT CASE WHEN k.kind = 3 OR f.id IS NOT NULL THEN k.due ELSE $12 END, 1, "
                   "k.t, uuid_send(k.id) "
                   "FROM k LEFT JOIN fresh f ON f.tenant = k.t AND f.id = k.id "
                   "WHERE CASE WHEN k.kind = 3 THEN k.due < $12 + 60000 OR NOT EXISTS "
                   "(SELECT FROM timers o WHERE o.tenant = k.t AND o.subject = uuid_send(k.id) AND "
                   "o.due_at = k.due) "
                   "ELSE k.wake OR f.id IS NOT NULL END",
                   p, NULL, e);
}

static int store_groups(struct work *w, struct pg *pg, struct touches *t, struct err *e)
{
    struct group_columns c;

    if (!group_columns_make(&c, t->n + 1, w->a))
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
        if (!group_columns_add(&c, &one, w->a))
            return batch_too_large(e);
        from = i + 1;
    }
    return c.n ? send_groups(w, pg, &c, e) : 0;
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

/* Every group of an incident whose state moved looks at it. */
static int wake_incidents(struct work *w, struct pg *pg, struct err *e)
{
    const size_t most = w->news.n + w->acknowledged_n + 1;
    struct slice *tenant = arena_array(w->a, most, struct slice);
    struct uuid *id = arena_array(w->a, most, struct uuid);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!tenant || !id)
        return batch_too_large(e);
    for (size_t i = 0; i < w->acknowledged_n; i++) {
        tenant[n] = w->acknowledged[i].incident->tenant;
        id[n++] = w->acknowledged[i].incident->id;
    }
    for (size_t i = 0; i < w->news.n; i++) {
        const struct news *v = &w->news.v[i];
        if (v->kind == NEWS_RECURRED || v->kind == NEWS_ALERT_ENDED || v->kind == NEWS_OPENED)
            continue;
        tenant[n] = v->alert->tenant;
        id[n++] = v->incident->id;
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_uuids(p, id, n);
    pg_int(p, w->now_ms);
    return pg_send(pg,
                   "INSERT INTO timers (due_at, kind, tenant, subject) SELECT DISTINCT $3::int8, "
                   "1, g.tenant, uuid_send(g.id) "
                   "FROM groups g JOIN unnest($1::text[], $2::uuid[]) k(t, id) ON g.tenant = k.t "
                   "AND g.incident_id = k.id",
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
