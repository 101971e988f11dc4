/* What vendors report of messages that they had taken: one that was lost ends as failed after all.
 */
#include <errno.h>

#include "common/json.h"
#include "notifier/store_ending.h"
#include "notifier/store_sql.h"

/* $6: what is lost by now, together. */
static const char before_sql[] =
    "SELECT u.k, (SELECT o.about ->> 'state' FROM notifications o WHERE o.tenant = u.tenant AND "
    "o.group_id = u.grp AND o.integration = u.integration AND o.seq < u.seq"
    "  AND (" STATE_OF_O " = 'delivered' AND o.id <> ALL ($6) OR " STATE_OF_O
    " = 'merged' AND EXISTS (SELECT FROM notifications n WHERE n.tenant = o.tenant AND n.id = "
    "o.merged_into AND n.id <> ALL ($6) AND " STATE_OF_N " = 'delivered'))"
    "  ORDER BY o.seq DESC LIMIT 1)"
    " FROM unnest($1, $2, $3, $4, $5) AS u (tenant, grp, integration, seq, k)";

static const char looked_at_sql[] =
    "UPDATE delivery_reports r SET due = false FROM unnest($1, $2) AS u (tenant, id)"
    " WHERE r.tenant = u.tenant AND r.notification_id = u.id AND r.due";

/* What the groups in question were told: one row for each row or member of a merge that is lost. */
struct lost {
    struct table t; /* ids are groups */
    json_t **about;
};

static void add_lost(struct lost *l, const struct job *j, const json_t *row)
{
    const char *group = json_string_value(json_object_get(row, "group_id"));
    struct uuid id;

    if (!group || !uuid_parse(slice_of(group), &id))
        return;
    const size_t i = table_add(&l->t, j->tenant, id.b);
    l->t.ints[i] = (int32_t)json_integer_value(json_object_get(row, "integration"));
    l->t.numbers[i] = json_integer_value(json_object_get(row, "seq"));
    l->t.numbers2[i] = (int64_t)i;
    l->about[i] = json_object_get(row, "about");
}

static int find_lost(const struct ending *x, struct lost *l, struct table *rows, struct err *e)
{
    int r = table_new(x->a, x->n + x->member_n, &l->t, e);

    if (r < 0 || (r = table_new(x->a, x->n, rows, e)) < 0)
        return r;
    l->about = arena_array(x->a, x->n + x->member_n + 1, json_t *);
    if (!l->about)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        const json_t *members = json_object_get(j->facts, "all_members");
        if (j->end != LIFE_REFUTE || !x->still[i])
            continue;
        (void)table_add(rows, j->tenant, j->id.b);
        if (!j->merge)
            add_lost(l, j, json_object_get(j->facts, "notification"));
        for (size_t k = 0; k < json_array_size(members); k++)
            add_lost(l, j, json_array_get(members, k));
    }
    return 0;
}

int refuted_read(struct ending *x, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct lost l;
    struct table ids;
    int r = find_lost(x, &l, &ids, e);

    if (r < 0 || l.t.n == 0)
        return r;
    struct pg_args *args = table_args(&l.t, x->a);
    pg_int4s(args, l.t.ints, l.t.n);
    pg_ints(args, l.t.numbers, l.t.n);
    pg_ints(args, l.t.numbers2, l.t.n);
    pg_uuids(args, ids.ids, ids.n);
    if ((r = pg_query(x->st->pg, before_sql, args, &rows, e)) < 0)
        return r;
    for (int i = 0; i < PQntuples(rows); i++) {
        const struct slice state = pg_get_text(rows, i, 1);
        json_t *before = state.len > 0 ? json_tree(state, x->a, NULL) : NULL;
        if (before)
            (void)json_object_set(l.about[pg_get_int(rows, i, 0)], "before", before);
    }
    return 0;
}

int refuted_write(struct ending *x, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++)
        if (x->jobs[i]->end == LIFE_REFUTE)
            (void)table_add(&t, x->jobs[i]->tenant, x->jobs[i]->id.b);
    return t.n > 0 ? pg_send(x->st->pg, looked_at_sql, table_args(&t, x->a), NULL, e) : 0;
}
