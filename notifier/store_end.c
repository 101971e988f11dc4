#include <errno.h>

#include "common/incident.h"
#include "common/json.h"
#include "common/locks.h"
#include "notifier/fallback.h"
#include "notifier/store_ending.h"
#include "notifier/store_sql.h"
#include "notifier/told.h"

#define BATCH_MEMORY ((size_t)64 << 20)

/* What waits in a merge is whose the merge is. */
static const char lock_sql[] =
    "SELECT u.k, n.state, n.lease_by = $3 OR EXISTS (SELECT FROM notifications o WHERE o.tenant = "
    "n.tenant AND o.id = n.merged_into AND " STATE_OF_O " = 'sending' AND o.lease_by = $3 AND "
    "o.lease_until > " MS_NOW ") FROM unnest($1, $2) WITH ORDINALITY AS u (tenant, id, k)"
    " JOIN notifications n ON n.tenant = u.tenant AND n.id = u.id ORDER BY n.tenant, n.id FOR NO "
    "KEY UPDATE OF n";

/* After their rows are locked: who joins a merge locks it. */
static const char joined_sql[] =
    "SELECT u.k FROM unnest($1, $2, $3) AS u (tenant, id, k) WHERE EXISTS (SELECT FROM "
    "notifications m WHERE m.tenant = u.tenant AND m.merged_into = u.id AND m.id <> ALL ($4))";

static const json_t *members(const struct job *j)
{
    return json_object_get(j->facts, "all_members");
}

static bool tells(const struct job *j)
{
    return j->end == LIFE_ACCEPT || life_to(j->end) == LIFE_FAILED;
}

/* Does its group know it otherwise now? */
static bool concerns_group(const struct job *j)
{
    return tells(j) || j->silenced || j->shrinks;
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* Whose group knows it otherwise now? False: its fallback is told instead, or it was one's that
 * took it, and the group goes on as if it had been told. */
static bool whose_news(const struct job *j, const json_t *member, struct uuid *ret_group,
                       int64_t *ret_integration)
{
    if (fallback_of(j, member) || (fallback_origin(j, member) && j->end == LIFE_ACCEPT))
        return false;
    return fallback_group(j, member, ret_group, ret_integration);
}

/* ---- locks ---- */

static int lock_all_groups(struct ending *x, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n + x->member_n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        struct uuid group;
        int64_t integration;
        if (!concerns_group(j))
            continue;
        if (!j->merge && whose_news(j, NULL, &group, &integration))
            (void)table_add(&t, j->tenant, group.b);
        for (size_t k = 0; k < json_array_size(members(j)); k++)
            if (whose_news(j, json_array_get(members(j), k), &group, &integration))
                (void)table_add(&t, j->tenant, group.b);
    }
    if (t.n == 0)
        return 0;
    struct lock_keys keys = {.tenants = t.tenants, .uuids = t.ids, .n = t.n};
    if ((r = lock_groups(x->st->pg, x->a, &keys, &x->groups, e)) < 0)
        return r;
    x->told = arena_array(x->a, (size_t)PQntuples(x->groups) + 1, json_t *);
    return x->told ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int lock_rows(struct ending *x, struct err *e)
{
    struct table t;
    CLEANUP(PQclear) PGresult *rows = NULL;
    int r = siblings_find(x, &t, e);

    if (r < 0)
        return r;
    struct pg_args *args = table_args(&t, x->a);
    pg_text(args, slice_of(x->st->name));
    if ((r = pg_query(x->st->pg, lock_sql, args, &rows, e)) < 0)
        return r;
    for (int i = 0; i < PQntuples(rows); i++) {
        size_t k = (size_t)pg_get_int(rows, i, 0) - 1;
        struct slice name = pg_get_text(rows, i, 1);
        enum life_state state = life_state_parse(name.p, name.len);
        if (k >= x->n)
            continue;
        /* A delivery happened, whoever holds the row by now, and so did a loss after it; anything
         * else is the holder's to say. */
        const enum life_event end = x->jobs[k]->end;
        bool ours = end == LIFE_ACCEPT || end == LIFE_REFUTE || pg_get_bool(rows, i, 2);
        x->still[k] = ours && life_next(state, x->jobs[k]->end) != 0;
    }
    return 0;
}

/*
 * A merge that was claimed by somebody else meanwhile and put back may have been joined by rows
 * that this message did not tell. They must not share its end: it stays as it is, and goes again.
 * Where it failed before it was parted, those that were not read try their own luck.
 */
static int leave_what_others_joined(struct ending *x, struct err *e)
{
    struct table t, told;
    CLEANUP(PQclear) PGresult *rows = NULL;
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0 || (r = table_new(x->a, x->member_n, &told, e)) < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!j->merge || !x->still[i] || !tells(j))
            continue;
        t.numbers[table_add(&t, j->tenant, j->id.b)] = (int64_t)i;
        for (size_t k = 0; k < json_array_size(members(j)); k++) {
            struct uuid member;
            if (uuid_parse(slice_of(text(json_array_get(members(j), k), "id")), &member))
                (void)table_add(&told, j->tenant, member.b);
        }
    }
    if (t.n == 0)
        return 0;
    struct pg_args *args = table_args(&t, x->a);
    pg_ints(args, t.numbers, t.n);
    pg_uuids(args, told.ids, told.n);
    if ((r = pg_query(x->st->pg, joined_sql, args, &rows, e)) < 0)
        return r;
    for (int i = 0; i < PQntuples(rows) && r == 0; i++) {
        const int64_t k = pg_get_int(rows, i, 0);
        x->still[k] = x->jobs[k]->end == LIFE_GIVE_UP;
        r = x->still[k] ? store_split(x->st, x->jobs[k], e) : 0;
    }
    return r;
}

/* ---- what groups were told ---- */

static json_t *told_of(struct ending *x, struct slice tenant, const struct uuid *group)
{
    for (int i = 0; x->groups && i < PQntuples(x->groups); i++) {
        const unsigned char *id = pg_get_uuid(x->groups, i, GR_ID);
        if (!id || memcmp(id, group->b, 16) != 0 ||
            !slice_eq(pg_get_text(x->groups, i, GR_TENANT), tenant))
            continue;
        if (!x->told[i]) {
            struct slice was = pg_get_text(x->groups, i, GR_TOLD);
            x->told[i] = json_tree(was, x->a, NULL);
        }
        return x->told[i];
    }
    return NULL;
}

static void look_again(struct ending *x, const struct job *j, const struct uuid *group)
{
    size_t i = table_add(&x->timers, j->tenant, group->b);

    x->timers.texts[i] = arena_slice(x->a, (struct slice){(const char *)group->b, 16});
}

/* `row`: the message, or a member of it. */
static void note_group(struct ending *x, const struct job *j, const json_t *row,
                       const struct uuid *group, int64_t integration)
{
    const json_t *about = json_object_get(row, "about");
    json_t *told = told_of(x, j->tenant, group), *state = json_object_get(about, "state");
    const bool digest = strcmp(text(row, "kind"), "digest") == 0;
    struct uuid id;

    if (!told)
        return;
    if (j->silenced) {
        /* Who ended the silence since it was judged found the group as if it had been told. */
        told_withhold(told, integration, state);
        look_again(x, j, group);
        return;
    }
    if (j->shrinks) {
        if (told_shrink(told, integration, state))
            look_again(x, j, group);
        return;
    }
    if (j->end == LIFE_ACCEPT) {
        if (told_deliver(told, integration, state) && told_catch_up(told, integration))
            look_again(x, j, group);
        return;
    }
    const int64_t seq = json_integer_value(json_object_get(state, "seq"));
    const bool news = j->end == LIFE_REFUTE
                          ? told_refute(told, integration, seq, json_object_get(about, "before"))
                          : told_fail(told, integration, seq);
    if (news || digest)
        look_again(x, j, group);
    if (digest && uuid_parse(slice_of(text(row, "id")), &id)) {
        char grp[UUID_STR];
        size_t i = table_add(&x->items, j->tenant, id.b);
        x->items.texts[i] = arena_slice(x->a, slice_of(uuid_format(group, grp)));
        x->items.ints[i] = (int32_t)integration;
    }
}

static void note_timeline(struct ending *x, const struct job *j, const char *incident,
                          const char *cause)
{
    struct uuid id;
    const char *receiver = text(json_object_get(j->facts, "notification"), "receiver");
    const char *channel = text(json_object_get(j->facts, "notification"), "channel");

    if (!uuid_parse(slice_of(incident), &id))
        return;
    size_t i = table_add(&x->timeline, j->tenant, id.b);
    const char *body = j->end == LIFE_ACCEPT
                           ? arena_printf(x->a, "%s to %s: delivered%s", channel, receiver,
                                          j->merge ? ", merged with others" : "")
                           : arena_printf(x->a, "%s to %s: failed: %s", channel, receiver,
                                          j->reason ? j->reason : "");
    x->timeline.texts[i] =
        slice_of(arena_printf(x->a, "%s.%s", cause, life_state_name(life_to(j->end))));
    x->timeline.texts2[i] = slice_of(body ? body : "");
}

static void note_ends(struct ending *x)
{
    const bool *elsewhere = x->elsewhere, *next = elsewhere;

    for (size_t i = 0; i < x->n; i++, elsewhere = next) {
        const struct job *j = x->jobs[i];
        const json_t *row = json_object_get(j->facts, "notification");
        next += 1 + json_array_size(members(j));
        if (!x->still[i] || !concerns_group(j))
            continue;
        struct uuid group;
        int64_t integration;
        if (!j->merge && !elsewhere[0] && whose_news(j, NULL, &group, &integration))
            note_group(x, j, row, &group, integration);
        if (!tells(j) || j->silenced)
            continue;
        note_timeline(x, j, text(row, "incident_id"), j->id_text);
        for (size_t k = 0; k < json_array_size(members(j)); k++) {
            const json_t *m = json_array_get(members(j), k);
            if (!elsewhere[1 + k] && whose_news(j, m, &group, &integration))
                note_group(x, j, m, &group, integration);
            note_timeline(x, j, text(m, "incident_id"), text(m, "id"));
        }
    }
}

static int transact(struct ending *x, struct err *e)
{
    struct pg *pg = x->st->pg;
    int r;

    if ((r = lock_all_groups(x, e)) < 0 || (r = lock_rows(x, e)) < 0 ||
        (r = leave_what_others_joined(x, e)) < 0 || (r = refuted_read(x, e)) < 0 ||
        (r = siblings_read(x, e)) < 0 ||
        (r = table_new(x->a, x->n + x->member_n, &x->timers, e)) < 0 ||
        (r = table_new(x->a, x->n + x->member_n, &x->items, e)) < 0 ||
        (r = table_new(x->a, x->n + x->member_n, &x->timeline, e)) < 0)
        return r;
    note_ends(x);
    if ((r = pg_pipeline_begin(pg, e)) < 0)
        return r;
    struct err why = {0};
    int sent = ending_write(x, &why);
    r = pg_pipeline_end(pg, e);
    return sent < 0 && r == 0 ? err_set(e, sent, "%s", why.msg) : r;
}

int store_end(struct store *st, struct job *list, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    struct ending x = {.st = st, .a = a};
    int r;

    for (const struct job *j = list; j; j = j->next) {
        x.n++;
        x.member_n += json_array_size(members(j));
    }
    x.jobs = a ? arena_array(a, x.n + 1, struct job *) : NULL;
    x.still = a ? arena_array(a, x.n + 1, bool) : NULL;
    if (!x.jobs || !x.still)
        return err_set(e, -ENOMEM, "out of memory");
    x.n = 0;
    for (struct job *j = list; j; j = j->next)
        x.jobs[x.n++] = j;
    if ((r = pg_begin(st->pg, e)) < 0)
        return r;
    r = transact(&x, e);
    PQclear(x.groups);
    if (r < 0) {
        pg_rollback(st->pg);
        return r;
    }
    return pg_commit(st->pg, e);
}
