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

/* Of a digest stays what its message tells. */
static const char keep_items_sql[] =
    "UPDATE notifications n SET about = jsonb_set(n.about, '{items}', $4::jsonb) WHERE n.tenant = "
    "$1 AND n.id = $2 AND n.lease_by = $3 AND " STATE_OF_N " = ANY ($5)";
/* It was made with what older digests of its group had to tell; they must not tell it again. */
static const char take_over_sql[] =
    "UPDATE notifications o SET state = $3, reason = 'a newer digest tells it too', lease_until = "
    "NULL, lease_by = '', ended_at = " MS_NOW ", superseded_by = n.id, destination = "
    "coalesce(nullif(o.destination, ''), n.destination) FROM notifications n WHERE n.tenant = $1 "
    "AND n.id = $2 AND o.tenant = n.tenant AND o.group_id = n.group_id AND o.integration = "
    "n.integration AND o.seq < n.seq AND o.kind = n.kind AND " STATE_OF_O " = ANY ($4)";
/* A group of its own, as a merge: no newer digest takes its place. */
static const char next_part_sql[] =
    "INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, kind, "
    "severity, about, created_at, not_before) SELECT n.tenant, $3, $3, n.receiver, n.integration, "
    "n.channel, 0, n.kind, $4, n.about || jsonb_build_object('items', $5::jsonb, 'continues', "
    "coalesce(n.about -> 'continues', jsonb_build_object('group', n.group_id, 'integration', "
    "n.integration))), n.created_at, " MS_NOW " + $6 FROM notifications n WHERE n.tenant = $1 AND "
    "n.id = $2";
static const char speaks_of_sql[] =
    "WITH gone AS (DELETE FROM notification_incidents WHERE tenant = $1 AND notification_id = $2 "
    "AND incident_id = ANY ($4)) INSERT INTO notification_incidents (tenant, notification_id, "
    "incident_id, created_at) SELECT n.tenant, $3, i, n.created_at FROM notifications n, "
    "unnest($4) AS i WHERE n.tenant = $1 AND n.id = $2";
/* For the next digest, with what came since. */
static const char give_back_sql[] =
    "WITH gone AS (DELETE FROM notification_incidents WHERE tenant = $1 AND notification_id = $5 "
    "AND incident_id = ANY ($4) AND $6), look AS (INSERT INTO timers (due_at, kind, tenant, "
    "subject) VALUES (" MS_NOW ", 1, $1, uuid_send($2))) INSERT INTO digest_items AS d (tenant, "
    "group_id, incident_id, occurrences, first_at, last_at) SELECT $1, $2, r.incident, "
    "r.occurrences, r.first_at, r.last_at FROM jsonb_to_recordset($3::jsonb) AS r (incident uuid, "
    "occurrences bigint, first_at bigint, last_at bigint) ORDER BY r.incident ON CONFLICT (tenant, "
    "group_id, incident_id) DO UPDATE SET occurrences = d.occurrences + excluded.occurrences, "
    "first_at = least(d.first_at, excluded.first_at), last_at = greatest(d.last_at, "
    "excluded.last_at)";

/* As rows keep them: the incident by its id. */
static json_t *items_of(const json_t *list)
{
    json_t *items = json_array(), *one;
    size_t i;

    json_array_foreach (list, i, one) {
        json_t *item = json_copy(one);
        (void)json_object_set(item, "incident",
                              json_object_get(json_object_get(one, "incident"), "id"));
        (void)json_array_append_new(items, item);
    }
    return items;
}

static struct slice dumped(struct arena *a, const json_t *tree)
{
    char *dump = json_dumps(tree, 0);
    struct slice s = dump ? arena_slice(a, slice_of(dump)) : (struct slice){0};

    free(dump);
    return s;
}

struct parted {
    struct keys left; /* the ids are incidents' */
    struct slice kept, rest;
    int64_t severity;
};

static int part_items(struct job *j, struct arena *a, struct parted *ret, struct err *e)
{
    const json_t *left = json_object_get(j->facts, "left"), *one;
    json_t *kept = items_of(json_object_get(j->facts, "items")), *rest = items_of(left);
    int r = keys_new(a, json_array_size(left), &ret->left, e);
    size_t i;

    ret->kept = dumped(a, kept);
    ret->rest = dumped(a, rest);
    json_decref(rest);
    (void)json_object_set_new(json_object_get(json_object_get(j->facts, "notification"), "about"),
                              "items", kept);
    if (r == 0 && (!ret->kept.p || !ret->rest.p))
        r = err_set(e, -ENOMEM, "out of memory");
    json_array_foreach (left, i, one) {
        const json_t *incident = json_object_get(one, "incident");
        const char *id = json_string_value(json_object_get(incident, "id"));
        const int64_t severity = json_integer_value(json_object_get(incident, "severity"));
        struct uuid parsed;
        if (r < 0 || !id || !uuid_parse(slice_of(id), &parsed))
            continue;
        memcpy(ret->left.ids + ret->left.n++ * 16, parsed.b, 16);
        ret->severity = severity > ret->severity ? severity : ret->severity;
    }
    return r;
}

/* Who holds the row by now parts it himself. */
static int keep_items(struct store *st, struct arena *a, const struct job *j,
                      const struct parted *p, struct err *e)
{
    CLEANUP(PQclear) PGresult *done = NULL;
    struct pg_args *args = pg_args(a);

    pg_text(args, j->tenant);
    pg_uuid(args, j->id.b);
    pg_text(args, slice_of(st->name));
    pg_text(args, p->kept);
    put_from(args, a, LIFE_RELEASE);
    int r = pg_query(st->pg, keep_items_sql, args, &done, e);
    if (r == 0 && pg_affected(done) == 0)
        r = err_set(e, -ESTALE, "the digest is not ours any more");
    return r;
}

static int take_over(struct store *st, struct arena *a, const struct job *j, struct err *e)
{
    struct pg_args *args = pg_args(a);

    pg_text(args, j->tenant);
    pg_uuid(args, j->id.b);
    pg_text(args, slice_of(life_state_name(life_to(LIFE_SUPERSEDE))));
    put_from(args, a, LIFE_SUPERSEDE);
    return pg_query(st->pg, take_over_sql, args, NULL, e);
}

static int next_part(struct store *st, struct arena *a, const struct job *j, const struct parted *p,
                     struct err *e)
{
    const struct uuid into = part_id(&p->left, &j->id);
    struct pg_args *args = pg_args(a), *spoken = pg_args(a);

    pg_text(args, j->tenant);
    pg_uuid(args, j->id.b);
    pg_uuid(args, into.b);
    pg_int4(args, (int32_t)p->severity);
    pg_text(args, p->rest);
    pg_int(args, NEXT_PART_WAIT);
    int r = pg_query(st->pg, next_part_sql, args, NULL, e);
    if (r < 0)
        return r;
    pg_text(spoken, j->tenant);
    pg_uuid(spoken, j->id.b);
    pg_uuid(spoken, into.b);
    pg_uuids(spoken, p->left.ids, p->left.n);
    return pg_query(st->pg, speaks_of_sql, spoken, NULL, e);
}

int digest_split(struct store *st, struct job *j, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    struct parted p = {0};
    int r = a ? part_items(j, a, &p, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0 || (r = pg_begin(st->pg, e)) < 0)
        return r;
    if ((r = keep_items(st, a, j, &p, e)) < 0 || (r = take_over(st, a, j, e)) < 0 ||
        (r = next_part(st, a, j, &p, e)) < 0) {
        pg_rollback(st->pg);
        return r;
    }
    return pg_commit(st->pg, e);
}

/* The row of one that tells nothing now stays the ledger's word about them. */
static int give_back(struct store *st, struct arena *a, const struct job *j,
                     const struct uuid *group, const struct parted *p, struct err *e)
{
    struct pg_args *args = pg_args(a);

    pg_text(args, j->tenant);
    pg_uuid(args, group->b);
    pg_text(args, p->rest);
    pg_uuids(args, p->left.ids, p->left.n);
    pg_uuid(args, j->id.b);
    pg_bool(args, json_array_size(json_object_get(j->facts, "items")) > 0);
    return pg_query(st->pg, give_back_sql, args, NULL, e);
}

static int withhold(struct store *st, struct arena *a, const struct job *j, const struct parted *p,
                    struct err *e)
{
    CLEANUP(PQclear) PGresult *locked = NULL;
    struct uuid group;
    int64_t integration;
    int r;

    if (!fallback_group(j, NULL, &group, &integration))
        return err_set(e, -EBADMSG, "the digest has no group");
    struct lock_keys keys = {.tenants = &j->tenant, .uuids = group.b, .n = 1};
    if ((r = lock_groups(st->pg, a, &keys, &locked, e)) < 0 ||
        (r = keep_items(st, a, j, p, e)) < 0 || (r = take_over(st, a, j, e)) < 0)
        return r;
    return give_back(st, a, j, &group, p, e);
}

int store_withhold_items(struct store *st, struct job *j, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    struct parted p = {0};
    int r = a ? part_items(j, a, &p, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0 || (r = pg_begin(st->pg, e)) < 0)
        return r;
    if ((r = withhold(st, a, j, &p, e)) < 0) {
        pg_rollback(st->pg);
        return r;
    }
    return pg_commit(st->pg, e);
}
