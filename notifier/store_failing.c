/* What follows from an end for others: a receiver's fallback is told what it did not take, and an
 * alert says that it takes nothing, until it does. */
#include <errno.h>

#include "common/failing.h"
#include "common/report.h"
#include "notifier/fallback.h"
#include "notifier/store_ending.h"
#include "notifier/store_record.h"
#include "notifier/store_sql.h"

#define RECORD(tenant, extra)                                                                      \
    ALERT_RECORD(tenant, "receiver", "", "critical", "Receiver %s takes no messages: %s",          \
                 "'alertname', '" FAILING_ALERT "', '" FAILING_LABEL "', f.receiver", extra)

static const char failing_sql[] =
    "WITH u AS (SELECT DISTINCT ON (receiver, integration) * FROM unnest($1, $2, "
    "$3, $5, $6)"
    "  AS u (receiver, integration, channel, later, why) ORDER BY receiver, integration),"
    " f AS (INSERT INTO failing_receivers (receiver, integration, channel, since, reported)"
    "  SELECT receiver, integration, channel, " CLOCK ", later FROM u ORDER BY receiver, "
    "integration ON CONFLICT DO NOTHING RETURNING *)" RECORD(
        "$4", FIRES("u.why")) " FROM f JOIN u USING (receiver, integration)";
static const char well_sql[] =
    "WITH old AS (SELECT w.receiver, w.integration FROM failing_receivers w JOIN unnest($1, $2, "
    "$3, $5) AS u (receiver, integration, channel, later) ON w.receiver = u.receiver AND "
    "w.integration = u.integration AND NOT (w.reported AND u.later)"
    "  ORDER BY w.receiver, w.integration FOR UPDATE OF w),"
    " f AS (DELETE FROM failing_receivers w USING old WHERE w.receiver = old.receiver"
    "  AND w.integration = old.integration RETURNING w.*)" RECORD("$4", IS_OVER) " FROM f";
/* A message that was sent since did arrive. */
static const char arrived_sql[] =
    "WITH u AS (SELECT tenant, notification_id, attempt FROM delivery_reports WHERE due AND "
    "state = $2 ORDER BY tenant, notification_id, attempt FOR NO KEY UPDATE SKIP LOCKED),"
    " done AS (UPDATE delivery_reports r SET due = false FROM u WHERE r.tenant = u.tenant AND "
    "r.notification_id = u.notification_id AND r.attempt = u.attempt RETURNING r.*),"
    " old AS (SELECT w.receiver, w.integration FROM failing_receivers w JOIN (SELECT n.receiver, "
    "n.integration, max(coalesce(n.ended_at, done.at)) AS at FROM done JOIN notifications n ON "
    "n.tenant = done.tenant AND n.id = done.notification_id GROUP BY n.receiver, n.integration) k "
    "ON w.receiver = k.receiver AND w.integration = k.integration AND w.since <= k.at"
    "  ORDER BY w.receiver, w.integration FOR UPDATE OF w),"
    " f AS (DELETE FROM failing_receivers w USING old WHERE w.receiver = old.receiver"
    "  AND w.integration = old.integration RETURNING w.*)" RECORD("$1", IS_OVER) " FROM f";
/* Those that the configuration does not have any more will take nothing. */
static const char forget_sql[] =
    "WITH f AS (DELETE FROM failing_receivers w WHERE NOT EXISTS (SELECT FROM unnest($1, $2, $3)"
    "  AS u (receiver, integration, channel) WHERE u.receiver = w.receiver"
    "  AND u.integration = w.integration AND u.channel = w.channel) RETURNING w.*)" RECORD(
        "$4", IS_OVER) " FROM f";

/* The same message, to another: a group of its own remembers for it what a channel keeps. */
static const char fallback_sql[] =
    "WITH u AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    "  AS u (tenant, id, new, grp, receiver, integration, channel, why, n)),"
    " made AS (INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, "
    "seq, kind, severity, incident_id, about, created_at)"
    "  SELECT n.tenant, u.new, u.grp, u.receiver, u.integration, u.channel, n.seq, n.kind, "
    "n.severity, n.incident_id, n.about || jsonb_build_object('fallback', jsonb_build_object("
    "   'of', n.receiver, 'why', u.why,"
    "   'group', coalesce(n.about #> '{fallback,group}', n.about #> '{continues,group}', "
    "to_jsonb(n.group_id)),"
    "   'integration', coalesce(n.about #> '{fallback,integration}', to_jsonb(n.integration)),"
    "   'path', CASE WHEN n.about #> '{fallback,path}' @> jsonb_build_array("
    "     jsonb_build_object('group', n.group_id)) THEN n.about #> '{fallback,path}' ELSE '[]' END "
    "    || (SELECT jsonb_agg(jsonb_build_object('group', u.grp, 'integration', i)) FROM "
    "generate_series(0, u.n - 1) AS i),"
    "   'hops', coalesce((n.about #>> '{fallback,hops}')::int, 0) + 1)), n.created_at"
    "  FROM u JOIN notifications n ON n.tenant = u.tenant AND n.id = u.id ORDER BY n.tenant, u.new"
    "  ON CONFLICT DO NOTHING)"
    " INSERT INTO notification_incidents (tenant, notification_id, incident_id, created_at)"
    " SELECT i.tenant, u.new, i.incident_id, i.created_at FROM u JOIN notification_incidents i"
    "  ON i.tenant = u.tenant AND i.notification_id = u.id ON CONFLICT DO NOTHING";

/* ---- fallbacks ---- */

struct rows {
    struct table t;
    unsigned char *new, *groups;
    struct slice *receivers, *channels, *whys;
    int32_t *integrations;
};

static int rows_new(struct arena *a, size_t max, struct rows *ret, struct err *e)
{
    int r = table_new(a, max, &ret->t, e);

    ret->new = arena_alloc(a, max + 1, 16);
    ret->groups = arena_alloc(a, max + 1, 16);
    ret->receivers = arena_array(a, max + 1, struct slice);
    ret->channels = arena_array(a, max + 1, struct slice);
    ret->whys = arena_array(a, max + 1, struct slice);
    ret->integrations = arena_array(a, max + 1, int32_t);
    if (r == 0 && (!ret->new || !ret->groups || !ret->receivers || !ret->channels || !ret->whys ||
                   !ret->integrations))
        r = err_set(e, -ENOMEM, "out of memory");
    return r;
}

/* Of what it stands for and who is told, so that writing it again adds nothing. */
static void hash_id(const struct uuid *of, const struct receiver *r, size_t integration,
                    unsigned char out[16])
{
    const uint32_t number = (uint32_t)integration;
    const struct slice parts[] = {
        {(const char *)of->b, 16}, {(const char *)&number, sizeof(number)}, slice_of(r->name)};
    unsigned char hash[SHA256_LEN];

    hmac_sha256_v(SLICE_LIT("fallback"), parts, 3, hash);
    memcpy(out, hash, 16);
}

static void add_fallback(struct rows *rows, const struct job *j, const struct uuid *id,
                         const struct uuid *group, const struct receiver *r)
{
    for (size_t i = 0; i < r->n; i++) {
        size_t k = table_add(&rows->t, j->tenant, id->b);
        hash_id(id, r, i, rows->new + k * 16);
        hash_id(group, r, 0, rows->groups + k * 16);
        rows->receivers[k] = slice_of(r->name);
        rows->channels[k] = slice_of(r->v[i].channel);
        rows->integrations[k] = (int32_t)i;
        rows->t.ints[k] = (int32_t)r->n;
        rows->whys[k] = slice_of(j->answer && *j->answer ? j->answer : j->reason ? j->reason : "");
    }
}

static bool uuid_of(const json_t *o, const char *key, struct uuid *ret)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s && uuid_parse(slice_of(s), ret);
}

static void collect(const struct ending *x, struct rows *rows, size_t *n)
{
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        const json_t *members = json_object_get(j->facts, "all_members");
        const struct receiver *r = x->still[i] && !j->merge ? fallback_of(j, NULL) : NULL;
        *n += r ? r->n : 0;
        if (r && rows)
            add_fallback(rows, j, &j->id, &j->group, r);
        for (size_t k = 0; x->still[i] && k < json_array_size(members); k++) {
            const json_t *m = json_array_get(members, k);
            struct uuid id, group;
            r = fallback_of(j, m);
            if (!r || !uuid_of(m, "id", &id) || !uuid_of(m, "group_id", &group))
                continue;
            *n += r->n;
            if (rows)
                add_fallback(rows, j, &id, &group, r);
        }
    }
}

static int send_fallbacks(struct ending *x, struct err *e)
{
    struct rows rows = {0};
    size_t n = 0, again = 0;
    int r;

    collect(x, NULL, &n);
    if (n == 0)
        return 0;
    if ((r = rows_new(x->a, n, &rows, e)) < 0)
        return r;
    collect(x, &rows, &again);
    struct pg_args *args = table_args(&rows.t, x->a);
    pg_uuids(args, rows.new, rows.t.n);
    pg_uuids(args, rows.groups, rows.t.n);
    pg_texts(args, rows.receivers, rows.t.n);
    pg_int4s(args, rows.integrations, rows.t.n);
    pg_texts(args, rows.channels, rows.t.n);
    pg_texts(args, rows.whys, rows.t.n);
    pg_int4s(args, rows.t.ints, rows.t.n);
    return pg_send(x->st->pg, fallback_sql, args, NULL, e);
}

/* ---- the alert ---- */

static struct pg_args *whom(struct arena *a, const struct slice *receivers,
                            const int32_t *integrations, const struct slice *channels, size_t n)
{
    struct pg_args *args = pg_args(a);

    pg_texts(args, receivers, n);
    pg_int4s(args, integrations, n);
    pg_texts(args, channels, n);
    return args;
}

/* Of those that end in `end`. */
static int send_state(struct ending *x, enum life_state end, const char *sql, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!x->still[i] || life_to(j->end) != end || !j->outlet)
            continue;
        size_t k = table_add(&t, slice_of(j->outlet->receiver->name), j->id.b);
        t.ints[k] = j->outlet->integration;
        t.texts[k] = slice_of(j->outlet->channel->name);
        t.flags[k] = j->end == LIFE_REFUTE || (j->end == LIFE_ACCEPT && j->awaited);
        t.texts2[k] = slice_of(arena_printf(x->a, "%s: %s", j->outlet->place,
                                            j->answer && *j->answer ? j->answer
                                            : j->reason             ? j->reason
                                                                    : ""));
    }
    if (t.n == 0)
        return 0;
    struct pg_args *args = whom(x->a, t.tenants, t.ints, t.texts, t.n);
    pg_text(args, slice_of(x->st->s->tenant));
    pg_bools(args, t.flags, t.n);
    if (end == LIFE_FAILED)
        pg_texts(args, t.texts2, t.n);
    return pg_send(x->st->pg, sql, args, NULL, e);
}

int failing_write(struct ending *x, struct err *e)
{
    int r = send_fallbacks(x, e);

    if (r == 0)
        r = send_state(x, LIFE_FAILED, failing_sql, e);
    return r == 0 ? send_state(x, LIFE_DELIVERED, well_sql, e) : r;
}

int store_arrived(struct store *st, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    struct pg_args *args = a ? pg_args(a) : NULL;

    if (!args)
        return err_set(e, -ENOMEM, "out of memory");
    pg_text(args, slice_of(st->s->tenant));
    pg_int(args, REPORT_ARRIVED);
    return pg_query(st->pg, arrived_sql, args, NULL, e);
}

int store_forget_failing(struct store *st, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    const size_t n = st->outlets->n;
    struct slice *receivers = a ? arena_array(a, n + 1, struct slice) : NULL;
    struct slice *channels = a ? arena_array(a, n + 1, struct slice) : NULL;
    int32_t *integrations = a ? arena_array(a, n + 1, int32_t) : NULL;

    if (!receivers || !channels || !integrations)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        receivers[i] = slice_of(st->outlets->v[i].receiver->name);
        channels[i] = slice_of(st->outlets->v[i].channel->name);
        integrations[i] = st->outlets->v[i].integration;
    }
    struct pg_args *args = whom(a, receivers, integrations, channels, n);
    pg_text(args, slice_of(st->s->tenant));
    return pg_query(st->pg, forget_sql, args, NULL, e);
}
