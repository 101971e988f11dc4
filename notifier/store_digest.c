/* What a digest tells, parted: what its message has no room for goes on in another, and what is
 * silenced waits for the next. */
#include <errno.h>

#include "common/clock.h"
#include "common/locks.h"
#include "notifier/fallback.h"
#include "notifier/store_granting.h"
#include "notifier/store_sql.h"

#define BATCH_MEMORY ((size_t)16 << 20)
/* The parts are read one after the other: the next is not sent beside this one. */
#define NEXT_PART_WAIT MS_SECOND

/* It, and its group. */
#define IT "notifications n LEFT JOIN groups g ON g.tenant = n.tenant AND g.id = n.group_id"
/* In the order of all locks: the digest, and the older ones whose items it tells too. */
static const char lock_sql[] =
    "SELECT o.id = $2 AND o.lease_by = $3 AND " STATE_OF_O " = ANY ($4) FROM (SELECT $2 AS id "
    "UNION ALL SELECT o.id FROM " IT " JOIN notifications o ON " IS_EARLIER " AND o.kind = n.kind "
    "AND " STATE_OF_O " = ANY ($5) WHERE n.tenant = $1 AND n.id = $2) k JOIN notifications o ON "
    "o.tenant = $1 AND o.id = k.id ORDER BY o.tenant, o.id FOR NO KEY UPDATE OF o";
/* It was made with what older digests of its group had to tell; they must not tell it again. */
static const char take_over_sql[] =
    "UPDATE notifications o SET state = $3, reason = 'a newer digest tells it too', lease_until = "
    "NULL, lease_by = '', ended_at = " MS_NOW ", superseded_by = n.id, destination = "
    "coalesce(nullif(o.destination, ''), n.destination) FROM " IT " WHERE n.tenant = $1 AND n.id = "
    "$2 AND " IS_EARLIER " AND o.kind = n.kind AND " STATE_OF_O " = ANY ($4)";
/* Of all that the digest tells, read or not, what `stays` in it; the rest goes elsewhere. */
#define PART(stays)                                                                                \
    "WITH p AS MATERIALIZED (SELECT r.*, " stays " AS stays FROM " IT                              \
    " CROSS JOIN LATERAL (" ITEMS_OF_N                                                             \
    ") r WHERE n.tenant = $1 AND n.id = $2), kept AS (UPDATE notifications n SET about = "         \
    "jsonb_set(n.about, '{items}', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'stays'), '[]') FROM " \
    "p WHERE p.stays)) WHERE n.tenant = $1 AND n.id = $2)"
#define SPEAKS_NO_MORE(when)                                                                       \
    "gone AS (DELETE FROM notification_incidents k USING p WHERE k.tenant = $1 AND "               \
    "k.notification_id = $2 AND k.incident_id = p.incident AND NOT p.stays" when ")"
#define SOME_STAY " AND EXISTS (SELECT FROM p WHERE p.stays)"
#define TOLD_STAYS PART("r.incident = ANY ($3)") ", " SPEAKS_NO_MORE("")
#define LEFT_GOES PART("r.incident <> ALL ($3)") ", " SPEAKS_NO_MORE(SOME_STAY)
/* A group of its own, as a merge: no newer digest takes its place. */
static const char go_on_sql[] = TOLD_STAYS
    ", part AS (INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, "
    "seq, kind, severity, about, created_at, not_before, possible_duplicate) SELECT n.tenant, $4, "
    "$4, n.receiver, n.integration, n.channel, 0, n.kind, (SELECT coalesce(max(i.severity), "
    "n.severity) FROM p JOIN incidents i ON i.tenant = $1 AND i.id = p.incident WHERE NOT "
    "p.stays), n.about || jsonb_build_object('items', (SELECT jsonb_agg(to_jsonb(p) - 'stays') "
    "FROM p WHERE NOT p.stays), 'continues', coalesce(n.about -> 'continues', "
    "jsonb_build_object('group', n.group_id, 'integration', n.integration))), n.created_at, " MS_NOW
    " + $5, n.possible_duplicate FROM notifications n WHERE n.tenant = $1 AND n.id = $2) INSERT "
    "INTO notification_incidents (tenant, notification_id, incident_id, created_at) SELECT "
    "n.tenant, $4, p.incident, n.created_at FROM notifications n, p WHERE n.tenant = $1 AND n.id = "
    "$2 AND NOT p.stays";
/* For the next digest of its integration, with what came since. The row of one that tells nothing
 * now stays the ledger's word about them. */
static const char give_back_sql[] = LEFT_GOES
    ", look AS (INSERT INTO timers (due_at, kind, tenant, subject) VALUES (" MS_NOW
    ", 1, $1, uuid_send($4))) INSERT INTO digest_items AS d (tenant, group_id, incident_id, "
    "integration, occurrences, first_at, last_at) SELECT $1, $4, p.incident, $5, p.occurrences, "
    "p.first_at, p.last_at FROM p WHERE NOT p.stays ORDER BY p.incident ON CONFLICT (tenant, "
    "group_id, incident_id, integration) DO UPDATE SET occurrences = d.occurrences + "
    "excluded.occurrences, first_at = least(d.first_at, excluded.first_at), last_at = "
    "greatest(d.last_at, excluded.last_at)";

/* The incidents of a list of items. */
static int incidents_of(const json_t *list, struct arena *a, struct keys *ret, struct err *e)
{
    int r = keys_new(a, json_array_size(list), ret, e);
    const json_t *one;
    size_t i;

    json_array_foreach (list, i, one) {
        const char *id = json_string_value(json_object_get(json_object_get(one, "incident"), "id"));
        struct uuid parsed;
        if (r < 0 || !id || !uuid_parse(slice_of(id), &parsed))
            continue;
        memcpy(ret->ids + ret->n++ * 16, parsed.b, 16);
    }
    return r;
}

static struct pg_args *args_of(const struct job *j, struct arena *a)
{
    struct pg_args *args = pg_args(a);

    pg_text(args, j->tenant);
    pg_uuid(args, j->id.b);
    return args;
}

/* Who holds the row by now parts it himself. */
static int lock_ours(struct store *st, struct arena *a, const struct job *j, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct pg_args *args = args_of(j, a);
    bool ours = false;

    pg_text(args, slice_of(st->name));
    put_from(args, a, LIFE_RELEASE);
    put_from(args, a, LIFE_SUPERSEDE);
    int r = pg_query(st->pg, lock_sql, args, &rows, e);
    for (int i = 0; r == 0 && i < PQntuples(rows); i++)
        ours = ours || pg_get_bool(rows, i, 0);
    return r == 0 && !ours ? err_set(e, -ESTALE, "the digest is not ours any more") : r;
}

static int take_over(struct store *st, struct arena *a, const struct job *j, struct err *e)
{
    struct pg_args *args = args_of(j, a);

    pg_text(args, slice_of(life_state_name(life_to(LIFE_SUPERSEDE))));
    put_from(args, a, LIFE_SUPERSEDE);
    return pg_query(st->pg, take_over_sql, args, NULL, e);
}

static int go_on(struct store *st, struct arena *a, const struct job *j, struct err *e)
{
    struct pg_args *args = args_of(j, a);
    struct keys told;
    int r = incidents_of(json_object_get(j->facts, "items"), a, &told, e);

    if (r < 0 || (r = lock_ours(st, a, j, e)) < 0)
        return r;
    const struct uuid into = part_id(&told, &j->id, j->attempts);
    pg_uuids(args, told.ids, told.n);
    pg_uuid(args, into.b);
    pg_int(args, NEXT_PART_WAIT);
    r = pg_query(st->pg, go_on_sql, args, NULL, e);
    return r < 0 ? r : take_over(st, a, j, e);
}

static int give_back(struct store *st, struct arena *a, const struct job *j, struct err *e)
{
    CLEANUP(PQclear) PGresult *locked = NULL;
    struct pg_args *args = args_of(j, a);
    struct keys left;
    struct uuid group;
    int64_t integration;
    int r = incidents_of(json_object_get(j->facts, "left"), a, &left, e);

    if (r < 0)
        return r;
    if (!fallback_group(j, NULL, &group, &integration))
        return err_set(e, -EBADMSG, "the digest has no group");
    struct lock_keys keys = {.tenants = &j->tenant, .uuids = group.b, .n = 1};
    if ((r = lock_groups(st->pg, a, &keys, &locked, e)) < 0 || (r = lock_ours(st, a, j, e)) < 0)
        return r;
    pg_uuids(args, left.ids, left.n);
    pg_uuid(args, group.b);
    pg_int4(args, (int32_t)integration);
    r = pg_query(st->pg, give_back_sql, args, NULL, e);
    return r < 0 ? r : take_over(st, a, j, e);
}

static int transact(struct store *st, const struct job *j,
                    int (*part)(struct store *, struct arena *, const struct job *, struct err *),
                    struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    int r = a ? pg_begin(st->pg, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0)
        return r;
    if ((r = part(st, a, j, e)) < 0) {
        pg_rollback(st->pg);
        return r;
    }
    return pg_commit(st->pg, e);
}

int digest_split(struct store *st, struct job *j, struct err *e)
{
    return transact(st, j, go_on, e);
}

int store_withhold_items(struct store *st, struct job *j, struct err *e)
{
    return transact(st, j, give_back, e);
}
