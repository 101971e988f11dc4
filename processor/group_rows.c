/* Groups that come to be. */
#include "processor/group_rows.h"

#include <string.h>

#include "common/digest.h"
#include "common/failing.h"
#include "common/rules.h"

bool group_teller(const struct route *route, struct labels labels, struct group_identity *id,
                  const struct receiver **ret)
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

/* A digest's timer stands until its time, so one is enough, but not close before it: who runs it
 * may have looked already. */
const char group_rows_sql[] =
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
    "ELSE k.wake OR f.id IS NOT NULL END";

struct columns {
    struct slice *tenant, *receiver, *route, *labels, *routed_by;
    struct uuid *id, *incident;
    int32_t *kind;
    bool *wake;
    int64_t *since, *due;
};

static bool columns_make(struct columns *c, size_t n, struct arena *a)
{
    struct slice *t = arena_array(a, 5 * n, struct slice);
    int64_t *b = arena_array(a, 2 * n, int64_t);

    *c = (struct columns){.id = arena_array(a, n, struct uuid),
                          .incident = arena_array(a, n, struct uuid),
                          .kind = arena_array(a, n, int32_t),
                          .wake = arena_array(a, n, bool)};
    if (!t || !b || !c->id || !c->incident || !c->kind || !c->wake)
        return false;
    c->tenant = t;
    c->receiver = t + n;
    c->route = t + 2 * n;
    c->labels = t + 3 * n;
    c->routed_by = t + 4 * n;
    c->since = b;
    c->due = b + n;
    return true;
}

static struct slice labels_json(struct arena *a, struct labels l)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)16 << 20);

    labels_to_json(&b, l);
    return b.failed ? (struct slice){NULL, 0} : arena_slice(a, (struct slice){b.p, b.len});
}

static bool columns_put(struct columns *c, size_t i, const struct group_row *g, struct arena *a)
{
    c->tenant[i] = g->tenant;
    c->id[i] = g->is.id;
    c->incident[i] = g->incident;
    c->kind[i] = (int32_t)g->is.kind;
    c->receiver[i] = slice_of(g->receiver->name);
    c->route[i] = rules_route_key(g->route, a);
    c->labels[i] = labels_json(a, g->is.labels);
    c->routed_by[i] = labels_json(a, g->routed_by);
    c->since[i] = g->since_ms;
    c->due[i] = g->due_ms;
    c->wake[i] = g->wake;
    return c->route[i].p && c->labels[i].p && c->routed_by[i].p;
}

struct pg_args *group_rows_args(struct arena *a, const struct group_row *v, size_t n,
                                int64_t now_ms)
{
    struct pg_args *p = pg_args(a);
    struct columns c;

    if (!columns_make(&c, n, a))
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!columns_put(&c, i, &v[i], a))
            return NULL;
    pg_texts(p, c.tenant, n);
    pg_uuids(p, c.id, n);
    pg_int4s(p, c.kind, n);
    pg_texts(p, c.receiver, n);
    pg_texts(p, c.route, n);
    pg_texts(p, c.labels, n);
    pg_uuids(p, c.incident, n);
    pg_texts(p, c.routed_by, n);
    pg_ints(p, c.since, n);
    pg_ints(p, c.due, n);
    pg_bools(p, c.wake, n);
    pg_int(p, now_ms);
    return p;
}
