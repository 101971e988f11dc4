#include <errno.h>

#include "common/clock.h"
#include "notifier/plan.h"
#include "notifier/store.h"
#include "notifier/store_sql.h"

#define BATCH_MEMORY ((size_t)16 << 20)
#define BEHIND_WAIT MS_SECOND

/* Still ours, long enough for a send, and no older row of the group is under way elsewhere: both
 * would have seen each other. */
static const char check_sql[] =
    "SELECT u.k, EXISTS (SELECT FROM notifications o WHERE o.tenant = n.tenant AND o.group_id = "
    "n.group_id"
    "  AND o.integration = n.integration AND o.seq < n.seq AND o.state = 'sending' AND "
    "o.lease_until > " MS_NOW ")"
    " FROM unnest($1, $2) WITH ORDINALITY AS u (tenant, id, k)"
    " JOIN notifications n ON n.tenant = u.tenant AND n.id = u.id"
    " WHERE n.state = 'sending' AND n.lease_by = $3 AND n.lease_until > " MS_NOW " + $4"
    " ORDER BY n.tenant, n.id FOR NO KEY UPDATE OF n";

/* A merge that waits already and may be joined. Rows that somebody else holds are left alone. */
static const char open_merges_sql[] = "SELECT n.id FROM notifications n WHERE n.tenant = $1 AND "
                                      "n.receiver = $2 AND n.integration = $3"
                                      " AND n.kind = 'merge' AND n.state = 'pending' ORDER BY "
                                      "n.created_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED";

static const char make_destinations_sql[] = "INSERT INTO destinations (id) SELECT d FROM "
                                            "unnest($1) AS t (d) ORDER BY d ON CONFLICT DO NOTHING";
static const char lock_destinations_sql[] =
    "SELECT id, tat, blocked_until, " MS_NOW
    " FROM destinations WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
/* Without a limit there is no debit, and nothing to lock. */
static const char read_destinations_sql[] =
    "SELECT id, tat, blocked_until, " MS_NOW " FROM destinations WHERE id = ANY ($1)";
static const char debit_sql[] =
    "UPDATE destinations d SET tat = u.tat FROM unnest($1, $2) AS u (id, tat) WHERE d.id = u.id";

static const char go_sql[] =
    "UPDATE notifications n SET attempts = n.attempts + 1, lease_until = " MS_NOW " + $3"
    " FROM unnest($1, $2) AS u (tenant, id) WHERE n.tenant = u.tenant AND n.id = u.id";
static const char back_sql[] =
    "UPDATE notifications n SET state = $4, lease_until = NULL, lease_by = '', not_before = " MS_NOW
    " + u.wait"
    " FROM unnest($1, $2, $3) AS u (tenant, id, wait)"
    " WHERE n.tenant = u.tenant AND n.id = u.id AND n.state = ANY ($5)";
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
static const char split_sql[] =
    "UPDATE notifications n SET merged_into = $3 FROM unnest($1, $2) AS u (tenant, id)"
    " WHERE n.tenant = u.tenant AND n.id = u.id AND n.state = $4";

/* What one destination gets out of this batch. */
struct share {
    struct destination *d;
    struct waiting *v;
    size_t n;
    struct rate rate;
    int64_t now;
};

struct batch {
    struct store *st;
    struct arena *a;
    struct job **jobs;
    bool *ours, *behind;
    size_t n;
    struct share *shares;
    size_t share_n;
};

/* The jobs that `pick` names, as tenants and ids. */
struct keys {
    struct slice *tenants;
    unsigned char *ids;
    int64_t *waits;
    size_t n;
};

static int keys_new(struct arena *a, size_t max, struct keys *ret, struct err *e)
{
    *ret = (struct keys){arena_array(a, max + 1, struct slice), arena_alloc(a, max + 1, 16),
                         arena_array(a, max + 1, int64_t), 0};
    return ret->tenants && ret->ids && ret->waits ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static void keys_add(struct keys *k, const struct job *j, int64_t wait)
{
    k->tenants[k->n] = j->tenant;
    memcpy(k->ids + k->n * 16, j->id.b, 16);
    k->waits[k->n++] = wait;
}

static struct pg_args *keys_args(const struct keys *k, struct arena *a)
{
    struct pg_args *args = pg_args(a);

    pg_texts(args, k->tenants, k->n);
    pg_uuids(args, k->ids, k->n);
    return args;
}

static void put_from(struct pg_args *args, struct arena *a, enum life_event event)
{
    const char *from[7];
    size_t n = life_from(event, from);
    struct slice *v = arena_array(a, n + 1, struct slice);

    for (size_t i = 0; v && i < n; i++)
        v[i] = slice_of(from[i]);
    pg_texts(args, v, v ? n : 0);
}

static int check_ours(struct batch *b, struct err *e)
{
    struct keys all;
    CLEANUP(PQclear) PGresult *rows = NULL;
    int r = keys_new(b->a, b->n, &all, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < b->n; i++)
        keys_add(&all, b->jobs[i], 0);
    struct pg_args *args = keys_args(&all, b->a);
    pg_text(args, slice_of(b->st->name));
    pg_int(args, b->st->s->notifier.request_timeout);
    if ((r = pg_query(b->st->pg, check_sql, args, &rows, e)) < 0)
        return r;
    for (int i = 0; i < PQntuples(rows); i++) {
        size_t k = (size_t)pg_get_int(rows, i, 0) - 1;
        if (k < b->n) {
            b->ours[k] = true;
            b->behind[k] = !b->jobs[k]->merge && pg_get_bool(rows, i, 1);
        }
    }
    return 0;
}

static struct share *share_of(struct batch *b, struct destination *d)
{
    for (size_t i = 0; i < b->share_n; i++)
        if (b->shares[i].d == d)
            return &b->shares[i];
    struct share *s = &b->shares[b->share_n];
    *s = (struct share){.d = d, .v = arena_array(b->a, b->n, struct waiting)};
    if (!s->v)
        return NULL;
    s->rate = (struct rate){
        .per_minute = d->per_minute,
        .burst = d->burst,
        .room = plan_room(b->st->s->notifier.per_destination, d->under_way, d->silent)};
    b->share_n++;
    return s;
}

static int make_shares(struct batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct job *j = b->jobs[i];
        if (!b->ours[i] || b->behind[i])
            continue;
        struct share *s = share_of(b, j->outlet->destination);
        if (!s)
            return err_set(e, -ENOMEM, "out of memory");
        s->v[s->n++] = (struct waiting){
            .merge = j->merge, .severity = j->severity, .created_at = j->created_at, .own = j};
    }
    return 0;
}

static int read_rates(struct batch *b, const char *sql, const struct slice *ids, size_t n,
                      struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct pg_args *args = pg_args(b->a);

    pg_byteas(args, ids, n);
    int r = n ? pg_query(b->st->pg, sql, args, &rows, e) : 0;
    for (int i = 0; r == 0 && i < PQntuples(rows); i++)
        for (size_t k = 0; k < b->share_n; k++) {
            struct share *s = &b->shares[k];
            if (!slice_eq(pg_get_text(rows, i, 0),
                          (struct slice){(const char *)s->d->id, SHA256_LEN}))
                continue;
            s->rate.tat = pg_get_int(rows, i, 1);
            s->rate.blocked_until = pg_get_int(rows, i, 2);
            s->now = pg_get_int(rows, i, 3);
        }
    return r;
}

static int load_rates(struct batch *b, struct err *e)
{
    struct slice *limited = arena_array(b->a, b->share_n + 1, struct slice);
    struct slice *others = arena_array(b->a, b->share_n + 1, struct slice);
    size_t limited_n = 0, other_n = 0;
    int r;

    if (!limited || !others)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < b->share_n; i++) {
        const struct destination *d = b->shares[i].d;
        struct slice id = {(const char *)d->id, SHA256_LEN};
        if (d->per_minute)
            limited[limited_n++] = id;
        else
            others[other_n++] = id;
    }
    if (limited_n) {
        struct pg_args *args = pg_args(b->a);
        pg_byteas(args, limited, limited_n);
        if ((r = pg_query(b->st->pg, make_destinations_sql, args, NULL, e)) < 0)
            return r;
    }
    if ((r = read_rates(b, lock_destinations_sql, limited, limited_n, e)) < 0)
        return r;
    return read_rates(b, read_destinations_sql, others, other_n, e);
}

static int debit(struct batch *b, struct err *e)
{
    struct slice *ids = arena_array(b->a, b->share_n + 1, struct slice);
    int64_t *tats = arena_array(b->a, b->share_n + 1, int64_t);
    size_t n = 0;

    if (!ids || !tats)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < b->share_n; i++) {
        struct share *s = &b->shares[i];
        plan_grants(s->v, s->n, &s->rate, s->now);
        if (!s->d->per_minute)
            continue;
        ids[n] = (struct slice){(const char *)s->d->id, SHA256_LEN};
        tats[n++] = s->rate.tat;
    }
    if (n == 0)
        return 0;
    struct pg_args *args = pg_args(b->a);
    pg_byteas(args, ids, n);
    pg_ints(args, tats, n);
    return pg_query(b->st->pg, debit_sql, args, NULL, e);
}

static int find_open_merge(struct batch *b, const struct job *j, struct uuid *ret, bool *ret_found,
                           struct err *e)
{
    CLEANUP(PQclear) PGresult *row = NULL;
    struct pg_args *args = pg_args(b->a);

    pg_text(args, j->tenant);
    pg_text(args, slice_of(j->outlet->receiver->name));
    pg_int4(args, j->outlet->integration);
    int r = pg_query(b->st->pg, open_merges_sql, args, &row, e);
    *ret_found = r == 0 && PQntuples(row) > 0;
    if (*ret_found)
        memcpy(ret->b, pg_get_uuid(row, 0, 0), 16);
    return r;
}

/* Of what it tells and of the merge that it continues: no two are alike, since a row is merged once
 * and moved once per split. */
static struct uuid merge_id(const struct keys *members, const struct uuid *continues)
{
    const struct slice parts[] = {{(const char *)continues->b, 16},
                                  {(const char *)members->ids, members->n * 16}};
    unsigned char hash[SHA256_LEN];
    struct uuid id;

    hmac_sha256_v(SLICE_LIT("merge"), parts, 2, hash);
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
        *into = merge_id(held, &(struct uuid){{0}});
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

/* Merge or put back what share `s` could not send. `done` marks what was dealt with. */
static int hold_back(struct batch *b, struct share *s, struct keys *back, struct err *e)
{
    bool *done = arena_array(b->a, s->n, bool);
    int r;

    if (!done)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < s->n; i++) {
        struct job *first = s->v[i].own;
        struct keys held;
        struct uuid into = {0};
        bool open = false, people = first->outlet->channel->format != FORMAT_DATA;
        int64_t severity = 0;

        if (done[i] || s->v[i].grant == GRANT_GO)
            continue;
        if (s->v[i].merge || s->v[i].grant == GRANT_ROOM || !people) {
            keys_add(back, first, s->v[i].wait_ms);
            continue;
        }
        if ((r = keys_new(b->a, s->n, &held, e)) < 0 ||
            (r = find_open_merge(b, first, &into, &open, e)) < 0)
            return r;
        for (size_t k = i; k < s->n; k++) {
            const struct job *j = s->v[k].own;
            if (s->v[k].merge || s->v[k].grant != GRANT_RATE || !same_place(j, first))
                continue;
            done[k] = true;
            keys_add(&held, j, s->v[k].wait_ms);
            if (j->severity > severity)
                severity = j->severity;
        }
        if (!plan_merges(people, held.n, open))
            keys_add(back, first, s->v[i].wait_ms);
        else if ((r = merge_some(b, &held, first, severity, &into, open, e)) < 0)
            return r;
    }
    return 0;
}

static int write_all(struct batch *b, struct err *e)
{
    struct keys go, back;
    int r;

    if ((r = keys_new(b->a, b->n, &go, e)) < 0 || (r = keys_new(b->a, b->n, &back, e)) < 0)
        return r;
    for (size_t i = 0; i < b->n; i++)
        if (b->ours[i] && b->behind[i])
            keys_add(&back, b->jobs[i], BEHIND_WAIT);
    for (size_t i = 0; i < b->share_n; i++) {
        struct share *s = &b->shares[i];
        for (size_t k = 0; k < s->n; k++)
            if (s->v[k].grant == GRANT_GO)
                keys_add(&go, s->v[k].own, 0);
        if ((r = hold_back(b, s, &back, e)) < 0)
            return r;
    }
    if (go.n) {
        struct pg_args *args = keys_args(&go, b->a);
        pg_int(args, b->st->s->notifier.lease);
        if ((r = pg_query(b->st->pg, go_sql, args, NULL, e)) < 0)
            return r;
    }
    if (back.n == 0)
        return 0;
    struct pg_args *args = keys_args(&back, b->a);
    pg_ints(args, back.waits, back.n);
    pg_text(args, slice_of(life_state_name(life_to(LIFE_RELEASE))));
    put_from(args, b->a, LIFE_RELEASE);
    return pg_query(b->st->pg, back_sql, args, NULL, e);
}

static int transact(struct batch *b, struct err *e)
{
    int r;

    if ((r = pg_begin(b->st->pg, e)) < 0)
        return r;
    if ((r = check_ours(b, e)) < 0 || (r = make_shares(b, e)) < 0 || (r = load_rates(b, e)) < 0 ||
        (r = debit(b, e)) < 0 || (r = write_all(b, e)) < 0) {
        pg_rollback(b->st->pg);
        return r;
    }
    return pg_commit(b->st->pg, e);
}

/* Deal the list out again: those that may go, and the others. */
static void deal(const struct batch *b, struct job **ret_go, struct job **ret_rest)
{
    struct job **go = ret_go, **rest = ret_rest;

    for (size_t i = 0; i < b->n; i++) {
        struct job *j = b->jobs[i];
        bool goes = false;
        for (size_t k = 0; k < b->share_n && !goes; k++)
            for (size_t m = 0; m < b->shares[k].n && !goes; m++)
                goes = b->shares[k].v[m].own == j && b->shares[k].v[m].grant == GRANT_GO;
        struct job ***end = goes ? &go : &rest;
        j->next = NULL;
        **end = j;
        *end = &j->next;
    }
}

int store_grant(struct store *st, struct job *list, struct job **ret_go, struct job **ret_rest,
                struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    struct batch b = {.st = st, .a = a};

    for (const struct job *j = list; j; j = j->next)
        b.n++;
    b.jobs = a ? arena_array(a, b.n + 1, struct job *) : NULL;
    b.ours = a ? arena_array(a, b.n + 1, bool) : NULL;
    b.behind = a ? arena_array(a, b.n + 1, bool) : NULL;
    b.shares = a ? arena_array(a, b.n + 1, struct share) : NULL;
    if (!b.jobs || !b.ours || !b.behind || !b.shares)
        return err_set(e, -ENOMEM, "out of memory");
    b.n = 0;
    for (struct job *j = list; j; j = j->next)
        b.jobs[b.n++] = j;
    int r = transact(&b, e);
    if (r < 0)
        return r;
    *ret_go = *ret_rest = NULL;
    deal(&b, ret_go, ret_rest);
    int64_t lease_ends = clock_monotonic_ms() + st->s->notifier.lease;
    for (struct job *j = *ret_go; j; j = j->next)
        j->lease_ends = lease_ends;
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

int store_split(struct store *st, struct job *j, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    const json_t *all = json_object_get(j->facts, "all_members"),
                 *shown = json_object_get(j->facts, "members");
    struct keys rest = {0};
    int64_t severity = 0;
    int r = a ? keys_new(a, json_array_size(all), &rest, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0 || !rest.tenants)
        return r;
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *one = json_array_get(all, i);
        const char *id = json_string_value(json_object_get(one, "id"));
        struct uuid member;
        if (told_here(shown, one) || !id || !uuid_parse(slice_of(id), &member)) {
            (void)json_array_append(kept, one);
            continue;
        }
        rest.tenants[rest.n] = j->tenant;
        memcpy(rest.ids + rest.n++ * 16, member.b, 16);
        int64_t mild = json_integer_value(json_object_get(one, "severity"));
        severity = mild > severity ? mild : severity;
    }
    (void)json_object_set_new(j->facts, "all_members", kept);
    if (rest.n == 0)
        return 0;
    struct uuid into = merge_id(&rest, &j->id);
    struct pg_args *args = keys_args(&rest, a);
    pg_uuid(args, into.b);
    pg_text(args, slice_of(life_state_name(LIFE_MERGED)));
    if ((r = pg_begin(st->pg, e)) < 0)
        return r;
    if ((r = new_merge(st, a, j, &into, severity, 0, e)) < 0 ||
        (r = pg_query(st->pg, split_sql, args, NULL, e)) < 0) {
        pg_rollback(st->pg);
        return r;
    }
    return pg_commit(st->pg, e);
}
