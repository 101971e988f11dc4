#include <errno.h>

#include "common/clock.h"
#include "notifier/store_granting.h"
#include "notifier/store_sql.h"

#define BATCH_MEMORY ((size_t)16 << 20)
#define BEHIND_WAIT MS_SECOND
#define PROBE_WAIT MS_SECOND /* of others, while one message tries the destination */

/* Still ours, long enough for a send, no other row of the group is under way elsewhere, and no
 * newer one was delivered: two that were claimed at once did not see each other, but one of them
 * does now.
 */
static const char check_sql[] =
    "SELECT u.k, EXISTS (SELECT FROM notifications o WHERE o.tenant = n.tenant AND o.group_id = "
    "n.group_id"
    "  AND o.integration = n.integration AND o.id <> n.id AND " STATE_OF_O " = 'sending' AND "
    "o.lease_until > " MS_NOW ")"
    " OR coalesce((g.told #>> ARRAY[n.integration::text, 'delivered', 'seq'])::bigint, -1) > n.seq"
    " OR EXISTS " NEWER_AT_FALLBACK(
        "b.id") " FROM unnest($1, $2) WITH ORDINALITY AS u (tenant, id, k)"
                " JOIN notifications n ON n.tenant = u.tenant AND n.id = u.id"
                " LEFT JOIN groups g ON g.tenant = n.tenant AND g.id = n.group_id"
                " WHERE " STATE_OF_N " = 'sending' AND n.lease_by = $3 AND n.lease_until > " MS_NOW
                " + $4"
                " ORDER BY n.tenant, n.id FOR NO KEY UPDATE OF n";

static const char make_destinations_sql[] = "INSERT INTO destinations (id) SELECT d FROM "
                                            "unnest($1) AS t (d) ORDER BY d ON CONFLICT DO NOTHING";
static const char lock_destinations_sql[] =
    "SELECT id, tat, blocked_until, " MS_NOW ", failures, ill_since"
    " FROM destinations WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
/* Without a limit there is no debit, and nothing to lock. */
static const char read_destinations_sql[] =
    "SELECT id, tat, blocked_until, " MS_NOW ", failures, ill_since FROM destinations WHERE id = "
    "ANY ($1)";
static const char debit_sql[] =
    "UPDATE destinations d SET tat = u.tat FROM unnest($1, $2) AS u (id, tat) WHERE d.id = u.id";

/* Nobody else tries it until this one has its answer, or died. */
static const char probe_sql[] =
    "UPDATE destinations SET blocked_until = greatest(blocked_until, " MS_NOW
    " + $2) WHERE id = ANY ($1)";

static const char go_sql[] =
    "UPDATE notifications n SET attempts = n.attempts + 1, lease_until = " MS_NOW " + $3"
    " FROM unnest($1, $2) AS u (tenant, id) WHERE n.tenant = u.tenant AND n.id = u.id";
static const char back_sql[] =
    "UPDATE notifications n SET state = $4, lease_until = NULL, lease_by = '', not_before = " MS_NOW
    " + u.wait, reason = u.why"
    " FROM unnest($1, $2, $3, $6) AS u (tenant, id, wait, why)"
    " WHERE n.tenant = u.tenant AND n.id = u.id AND " STATE_OF_N " = ANY ($5)";

int keys_new(struct arena *a, size_t max, struct keys *ret, struct err *e)
{
    *ret = (struct keys){.tenants = arena_array(a, max + 1, struct slice),
                         .ids = arena_alloc(a, max + 1, 16),
                         .waits = arena_array(a, max + 1, int64_t),
                         .whys = arena_array(a, max + 1, struct slice)};
    return ret->tenants && ret->ids && ret->waits && ret->whys
               ? 0
               : err_set(e, -ENOMEM, "out of memory");
}

void keys_add(struct keys *k, const struct job *j, int64_t wait, const char *why)
{
    k->tenants[k->n] = j->tenant;
    memcpy(k->ids + k->n * 16, j->id.b, 16);
    k->whys[k->n] = slice_of(why);
    k->waits[k->n++] = wait;
}

struct pg_args *keys_args(const struct keys *k, struct arena *a)
{
    struct pg_args *args = pg_args(a);

    pg_texts(args, k->tenants, k->n);
    pg_uuids(args, k->ids, k->n);
    return args;
}

void put_from(struct pg_args *args, struct arena *a, enum life_event event)
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
        keys_add(&all, b->jobs[i], 0, "");
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
    const uint32_t most = b->st->s->notifier.breaker_failures;

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
            s->open = most > 0 && pg_get_int(rows, i, 4) >= (int64_t)most;
            s->ill_since = pg_get_int(rows, i, 5);
        }
    return r;
}

static struct slice id_of(const struct share *s)
{
    return (struct slice){(const char *)s->d->id, SHA256_LEN};
}

/* Where a breaker lets one message through, only one worker may send it. */
static int lock_open(struct batch *b, struct slice *ids, struct err *e)
{
    size_t n = 0;

    for (size_t i = 0; i < b->share_n; i++)
        if (b->shares[i].open && !b->shares[i].d->per_minute &&
            b->shares[i].rate.blocked_until <= b->shares[i].now)
            ids[n++] = id_of(&b->shares[i]);
    return read_rates(b, lock_destinations_sql, ids, n, e);
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
    if ((r = read_rates(b, lock_destinations_sql, limited, limited_n, e)) < 0 ||
        (r = read_rates(b, read_destinations_sql, others, other_n, e)) < 0)
        return r;
    return lock_open(b, others, e);
}

/* What an open breaker leaves of the grants: one message, when its time has come. */
static int hold_back(struct batch *b, struct err *e)
{
    const struct notifier_settings *n = &b->st->s->notifier;
    const int64_t lease =
        n->breaker_wait > n->request_timeout ? n->breaker_wait : n->request_timeout;
    struct slice *ids = arena_array(b->a, b->share_n + 1, struct slice);
    size_t probes = 0;

    if (!ids)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < b->share_n; i++) {
        struct share *s = &b->shares[i];
        int64_t shut = s->rate.blocked_until - s->now;
        if (!s->open)
            continue;
        for (size_t k = 0; k < s->n; k++)
            if (s->v[k].grant == GRANT_GO) {
                ids[probes++] = id_of(s);
                shut = lease;
            } else if (s->v[k].grant == GRANT_ROOM) {
                s->v[k].wait_ms = PROBE_WAIT;
            }
        s->d->shut_until = clock_monotonic_ms() + shut;
    }
    if (probes == 0)
        return 0;
    struct pg_args *args = pg_args(b->a);
    pg_byteas(args, ids, probes);
    pg_int(args, lease);
    return pg_query(b->st->pg, probe_sql, args, NULL, e);
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
        if (s->open && s->rate.room > 1)
            s->rate.room = 1;
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

static int write_all(struct batch *b, struct err *e)
{
    struct keys go, back;
    int r;

    if ((r = keys_new(b->a, b->n, &go, e)) < 0 || (r = keys_new(b->a, b->n, &back, e)) < 0)
        return r;
    for (size_t i = 0; i < b->n; i++)
        if (b->ours[i] && b->behind[i])
            keys_add(&back, b->jobs[i], BEHIND_WAIT, "an older message of its group is under way");
    for (size_t i = 0; i < b->share_n; i++) {
        struct share *s = &b->shares[i];
        for (size_t k = 0; k < s->n; k++)
            if (s->v[k].grant == GRANT_GO)
                keys_add(&go, s->v[k].own, 0, "");
        if ((r = merge_or_put_back(b, s, &back, e)) < 0)
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
    pg_texts(args, back.whys, back.n);
    return pg_query(b->st->pg, back_sql, args, NULL, e);
}

static int transact(struct batch *b, struct err *e)
{
    int r;

    if ((r = pg_begin(b->st->pg, e)) < 0)
        return r;
    if ((r = check_ours(b, e)) < 0 || (r = make_shares(b, e)) < 0 || (r = load_rates(b, e)) < 0 ||
        (r = debit(b, e)) < 0 || (r = hold_back(b, e)) < 0 || (r = write_all(b, e)) < 0) {
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
