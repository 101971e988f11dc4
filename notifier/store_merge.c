/* What waits for its rate becomes one message: made, joined, and parted when it is too long. */
#include <errno.h>

#include "notifier/store_granting.h"
#include "notifier/store_sql.h"

#define BATCH_MEMORY ((size_t)16 << 20)

/* A merge that waits already and may be joined: the newest, since the others are full, mostly. Rows
 * that somebody else holds are left alone. */
static const char open_merges_sql[] =
    "SELECT n.id FROM notifications n WHERE n.tenant = $1 AND n.receiver = $2 AND n.integration = "
    "$3 AND n.kind = 'merge' AND n.state = 'pending' AND (SELECT count(*) FROM (SELECT FROM "
    "notifications m WHERE m.tenant = n.tenant AND m.merged_into = n.id LIMIT $4) x) < $4 ORDER BY "
    "n.created_at DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED";

static const char merge_sql[] =
    "UPDATE notifications n SET state = $4, lease_until = NULL, lease_by = '', merged_into = $3, "
    "ended_at = " MS_NOW ", reason = 'the rate of the channel is used up'"
    " FROM unnest($1, $2) AS u (tenant, id) WHERE n.tenant = u.tenant AND n.id = u.id AND n.state "
    "= ANY ($5)";
/* A merge is a group of its own: no other row is older or newer than it. */
static const char new_merge_sql[] = "INSERT INTO notifications (tenant, id, group_id, receiver, "
                                    "integration, channel, seq, kind, severity, about, created_at,"
                                    " not_before) VALUES ($1, $2, $2, $3, $4, $5, 0, 'merge', $6, "
                                    "'{\"reason\": \"merge\"}', $7, " MS_NOW " + $8)";
static const char raise_merge_sql[] =
    "UPDATE notifications SET severity = greatest(severity, $3) WHERE tenant = $1 AND id = $2";
/* All but what it tells, read or not, goes to another. */
static const char split_sql[] =
    "WITH moved AS (UPDATE notifications n SET merged_into = $3 FROM notifications o WHERE "
    "o.tenant = $1 AND o.id = $2 AND " STATE_OF_O " = 'sending' AND o.lease_by = $5 AND n.tenant = "
    "$1 AND n.merged_into = $2 AND n.id <> ALL ($4) AND " STATE_OF_N " = $6 RETURNING n.severity) "
    "INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, kind, "
    "severity, about, created_at, not_before, possible_duplicate) SELECT $1, $3, $3, o.receiver, "
    "o.integration, o.channel, 0, 'merge', m.severity, o.about, o.created_at, " MS_NOW
    ", o.possible_duplicate FROM notifications o, "
    "(SELECT max(severity) AS severity FROM moved) m WHERE o.tenant = $1 AND o.id = $2 AND "
    "m.severity IS NOT NULL";

static int find_open_merge(struct batch *b, const struct job *j, struct uuid *ret, bool *ret_found,
                           struct err *e)
{
    CLEANUP(PQclear) PGresult *row = NULL;
    struct pg_args *args = pg_args(b->a);

    pg_text(args, j->tenant);
    pg_text(args, slice_of(j->outlet->receiver->name));
    pg_int4(args, j->outlet->integration);
    pg_int(args, MEMBERS_MOST);
    int r = pg_query(b->st->pg, open_merges_sql, args, &row, e);
    *ret_found = r == 0 && PQntuples(row) > 0;
    if (*ret_found)
        memcpy(ret->b, pg_get_uuid(row, 0, 0), 16);
    return r;
}

struct uuid part_id(const struct keys *members, const struct uuid *continues, int64_t attempt)
{
    char tried[24];
    const int n = snprintf(tried, sizeof(tried), "%lld", (long long)attempt);
    const struct slice parts[] = {{(const char *)continues->b, 16},
                                  {tried, (size_t)n},
                                  {(const char *)members->ids, members->n * 16}};
    unsigned char hash[SHA256_LEN];
    struct uuid id;

    hmac_sha256_v(SLICE_LIT("merge"), parts, 3, hash);
    memcpy(id.b, hash, 16);
    id.b[6] =
        (unsigned char)((id.b[6] & 0x0f) | 0x80); /* RFC 9562: version 8, made by an application */
    id.b[8] = (unsigned char)((id.b[8] & 0x3f) | 0x80);
    return id;
}

static int new_merge(struct store *st, struct arena *a, const struct job *like,
                     const struct uuid *id, int64_t severity, int64_t wait, struct err *e)
{
    struct pg_args *args = pg_args(a);

    pg_text(args, like->tenant);
    pg_uuid(args, id->b);
    pg_text(args, slice_of(like->outlet->receiver->name));
    pg_int4(args, like->outlet->integration);
    pg_text(args, slice_of(like->outlet->channel->name));
    pg_int4(args, (int32_t)severity);
    pg_int(args, like->created_at);
    pg_int(args, wait);
    return pg_query(st->pg, new_merge_sql, args, NULL, e);
}

/* The rows of one tenant and integration that the rate holds back. */
static int merge_some(struct batch *b, const struct keys *held, const struct job *like,
                      int64_t severity, struct uuid *into, bool open, struct err *e)
{
    int r;

    if (open) {
        struct pg_args *args = pg_args(b->a);
        pg_text(args, like->tenant);
        pg_uuid(args, into->b);
        pg_int4(args, (int32_t)severity);
        r = pg_query(b->st->pg, raise_merge_sql, args, NULL, e);
    } else {
        *into = part_id(held, &(struct uuid){{0}}, 0);
        r = new_merge(b->st, b->a, like, into, severity, held->waits[0], e);
    }
    if (r < 0)
        return r;
    struct pg_args *args = keys_args(held, b->a);
    pg_uuid(args, into->b);
    pg_text(args, slice_of(life_state_name(life_to(LIFE_MERGE))));
    put_from(args, b->a, LIFE_MERGE);
    return pg_query(b->st->pg, merge_sql, args, NULL, e);
}

static bool same_place(const struct job *a, const struct job *b)
{
    return a->outlet == b->outlet && slice_eq(a->tenant, b->tenant);
}

static void put_back(struct keys *back, const struct share *s, const struct waiting *w)
{
    keys_add(back, w->own, w->wait_ms,
             s->open                  ? "the channel does not answer"
             : w->grant == GRANT_ROOM ? "other messages to the channel are under way"
                                      : "the rate of the channel is used up");
}

/* What is behind an open breaker is not tried itself, so its own tries never tell that it is time
 * to tell the fallback. */
static bool give_up(const struct batch *b, const struct share *s, struct job *j)
{
    const int64_t most = b->st->s->notifier.retry_for;

    if (!s->open || s->ill_since == 0 || !j->outlet->receiver->fallback ||
        s->now - s->ill_since < most || s->now - j->created_at < most)
        return false;
    j->end = LIFE_GIVE_UP;
    j->reason = "given up: the channel does not answer";
    return true;
}

int merge_or_put_back(struct batch *b, struct share *s, struct keys *back, struct err *e)
{
    bool *done = arena_array(b->a, s->n, bool);
    int r;

    if (!done)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < s->n; i++) {
        struct job *first = s->v[i].own;
        struct keys held;
        struct uuid into = {0};
        bool open = false, people = !first->outlet->channel->for_programs && !first->by_edit;
        int64_t severity = 0;

        if (done[i] || s->v[i].grant == GRANT_GO || give_up(b, s, first))
            continue;
        /* What waits for a channel that does not answer is told as its rate allows, once it does. A
         * digest in a merge would be one line, which names none of its incidents. */
        if (s->v[i].merge || first->digest || s->v[i].grant == GRANT_ROOM || s->open || !people) {
            put_back(back, s, &s->v[i]);
            continue;
        }
        if ((r = keys_new(b->a, s->n, &held, e)) < 0 ||
            (r = find_open_merge(b, first, &into, &open, e)) < 0)
            return r;
        for (size_t k = i; k < s->n; k++) {
            const struct job *j = s->v[k].own;
            if (s->v[k].merge || j->digest || s->v[k].grant != GRANT_RATE ||
                !same_place(j, first) || j->by_edit)
                continue;
            done[k] = true;
            keys_add(&held, j, s->v[k].wait_ms, "");
            if (j->severity > severity)
                severity = j->severity;
        }
        if (!plan_merges(people, held.n, open))
            put_back(back, s, &s->v[i]);
        else if ((r = merge_some(b, &held, first, severity, &into, open, e)) < 0)
            return r;
    }
    return 0;
}

/* Is the member's group among those that this message tells? */
static bool told_here(const json_t *shown, const json_t *member)
{
    for (size_t i = 0; i < json_array_size(shown); i++) {
        const json_t *one = json_array_get(shown, i);
        if (json_equal(json_object_get(one, "group_id"), json_object_get(member, "group_id")) &&
            json_equal(json_object_get(one, "integration"), json_object_get(member, "integration")))
            return true;
    }
    return false;
}

static int split_merge(struct store *st, struct job *j, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    const json_t *all = json_object_get(j->facts, "all_members"),
                 *shown = json_object_get(j->facts, "members");
    struct keys told = {0};
    int r = a ? keys_new(a, json_array_size(all), &told, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0)
        return r;
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *one = json_array_get(all, i);
        const char *id = json_string_value(json_object_get(one, "id"));
        struct uuid member;
        if (!told_here(shown, one) || !id || !uuid_parse(slice_of(id), &member))
            continue;
        (void)json_array_append(kept, one);
        memcpy(told.ids + told.n++ * 16, member.b, 16);
    }
    (void)json_object_set_new(j->facts, "all_members", kept);
    const struct uuid into = part_id(&told, &j->id, j->attempts);
    struct pg_args *args = pg_args(a);
    pg_text(args, j->tenant);
    pg_uuid(args, j->id.b);
    pg_uuid(args, into.b);
    pg_uuids(args, told.ids, told.n);
    pg_text(args, slice_of(st->name));
    pg_text(args, slice_of(life_state_name(LIFE_MERGED)));
    return pg_query(st->pg, split_sql, args, NULL, e);
}

int store_split(struct store *st, struct job *j, struct err *e)
{
    return j->digest ? digest_split(st, j, e) : split_merge(st, j, e);
}
