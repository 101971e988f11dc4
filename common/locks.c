#include "common/locks.h"

/* unnest() pairs the arrays; the join keeps one row per key, ORDER BY gives everybody the same
 * order. */
#define LOCKING(columns, table, key, types)                                                        \
    "SELECT " columns " FROM " table " t JOIN (SELECT DISTINCT k.* FROM unnest(" types             \
    ") AS k(tenant, " key ")) k USING (tenant, " key ") ORDER BY t.tenant, t." key                 \
    " FOR NO KEY UPDATE OF t"

static struct pg_args *tenants(struct arena *a, const struct lock_keys *k)
{
    struct pg_args *p = pg_args(a);

    pg_texts(p, k->tenants, k->n);
    return p;
}

int lock_anomalies(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                   struct err *e)
{
    if (k->n == 0)
        return 0;
    struct pg_args *p = tenants(a, k);
    pg_byteas(p, k->keys, k->n);
    return pg_query(
        pg,
        LOCKING(
            "t.tenant, t.key, first_seen, last_seen, occurrences, frequency, incident_id, version",
            "anomalies", "key", "$1::text[], $2::bytea[]"),
        p, ret, e);
}

int lock_incidents(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                   struct err *e)
{
    if (k->n == 0)
        return 0;
    struct pg_args *p = tenants(a, k);
    pg_uuids(p, k->uuids, k->n);
    return pg_query(pg,
                    LOCKING("t.tenant, t.id, anomaly_key, status, resolved_by, severity, level, "
                            "opened_level, episode, "
                            "title, description, source, environment, link, impact_users, "
                            "impact_events, opened_at, episode_at, "
                            "updated_at, resolved_at, window_start, last_seen, occurrences, "
                            "alerts_firing, alerts_total, "
                            "owner, service, namespace, alert_name, error_type, "
                            "fingerprint_words, crossed_rules",
                            "incidents", "id", "$1::text[], $2::uuid[]"),
                    p, ret, e);
}

int lock_alerts(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                struct err *e)
{
    if (k->n == 0)
        return 0;
    struct pg_args *p = tenants(a, k);
    pg_ints(p, k->numbers, k->n);
    return pg_query(pg,
                    LOCKING("t.tenant, t.fingerprint, anomaly_key, incident_id, status, severity, "
                            "occurrences, facts, "
                            "quiet_at, fed_by, source, labels::text, title, starts_at, ended_at, "
                            "last_seen",
                            "alerts", "fingerprint", "$1::text[], $2::int8[]"),
                    p, ret, e);
}

int lock_groups(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                struct err *e)
{
    if (k->n == 0)
        return 0;
    struct pg_args *p = tenants(a, k);
    pg_uuids(p, k->uuids, k->n);
    return pg_query(pg,
                    LOCKING("t.tenant, t.id, kind, receiver, route, labels::text, incident_id, "
                            "routed_by::text, since, flushed_at, "
                            "seq, told::text",
                            "groups", "id", "$1::text[], $2::uuid[]"),
                    p, ret, e);
}
