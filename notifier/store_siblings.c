/* A receiver's fallback is told by each of its integrations: while one of them has told it, or
 * still may, another that fails is no reason to say it again. */
#include <errno.h>

#include "notifier/fallback.h"
#include "notifier/store_ending.h"
#include "notifier/store_sql.h"

/* All that was made of what one integration did not take: `path` names their groups and
 * integrations. Not of what goes on in another message: nobody else tells just that. */
#define SIBLINGS                                                                                   \
    " JOIN notifications n ON n.tenant = u.tenant AND n.id = u.id CROSS JOIN LATERAL "             \
    "jsonb_to_recordset(n.about #> '{fallback,path}') AS p (\"group\" uuid, integration int) "     \
    "CROSS JOIN LATERAL (SELECT o.* FROM notifications o WHERE o.tenant = n.tenant AND "           \
    "o.group_id = p.\"group\" AND o.integration = p.integration AND o.seq = n.seq AND o.id <> "    \
    "n.id AND o.about #> '{fallback,integration}' = n.about #> '{fallback,integration}' "          \
    "OFFSET 0) o WHERE n.about #> '{fallback,path}' @> "                                           \
    "jsonb_build_array(jsonb_build_object('group', n.group_id))"

static const char find_sql[] =
    "SELECT DISTINCT o.tenant, o.id FROM unnest($1, $2) AS u (tenant, id)" SIBLINGS;
/* After they were locked. What was superseded is told by what is newer. Of those that fail together
 * the last one finds that nobody is left. */
static const char told_sql[] =
    "WITH u AS MATERIALIZED (SELECT * FROM unnest($1, $2, $3) AS u (tenant, id, k))"
    " SELECT DISTINCT u.k FROM u" SIBLINGS " AND (" STATE_OF_O
    " IN ('pending', 'sending', 'delivered', 'superseded') OR " STATE_OF_O
    " = 'merged' AND EXISTS (SELECT FROM notifications m WHERE m.tenant = o.tenant AND m.id = "
    "o.merged_into AND (m.state || '') <> 'failed'))"
    " AND NOT EXISTS (SELECT FROM u f WHERE f.tenant = o.tenant AND f.id = o.id AND f.k < u.k)";

/* The last that could tell it? */
static bool asks(const struct job *j, const json_t *member)
{
    const json_t *row = member ? member : json_object_get(j->facts, "notification");

    return life_to(j->end) == LIFE_FAILED && !j->silenced && !fallback_of(j, member) &&
           json_object_get(json_object_get(json_object_get(row, "about"), "fallback"), "path");
}

/* Those that ask, with their places among all rows and members. */
static int collect(const struct ending *x, bool still, struct table *ret, struct err *e)
{
    size_t at = 0;
    int r = table_new(x->a, x->n + x->member_n, ret, e);

    for (size_t i = 0; r == 0 && i < x->n; i++) {
        const struct job *j = x->jobs[i];
        const json_t *members = json_object_get(j->facts, "all_members");
        const bool counts = !still || x->still[i];
        if (counts && !j->merge && asks(j, NULL))
            ret->numbers[table_add(ret, j->tenant, j->id.b)] = (int64_t)at;
        at++;
        for (size_t k = 0; k < json_array_size(members); k++, at++) {
            const json_t *m = json_array_get(members, k);
            const char *text = json_string_value(json_object_get(m, "id"));
            struct uuid id;
            if (counts && asks(j, m) && text && uuid_parse(slice_of(text), &id))
                ret->numbers[table_add(ret, j->tenant, id.b)] = (int64_t)at;
        }
    }
    return r;
}

int siblings_find(struct ending *x, struct table *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct table t;
    int r = collect(x, false, &t, e);

    if (r == 0 && t.n > 0)
        r = pg_query(x->st->pg, find_sql, table_args(&t, x->a), &rows, e);
    /* The jobs' own first, and those of members that ask. */
    const size_t n = rows ? (size_t)PQntuples(rows) : 0;
    if (r < 0 || (r = table_new(x->a, x->n + t.n + n, ret, e)) < 0)
        return r;
    for (size_t i = 0; i < x->n; i++)
        (void)table_add(ret, x->jobs[i]->tenant, x->jobs[i]->id.b);
    for (size_t i = 0; i < t.n; i++)
        (void)table_add(ret, t.tenants[i], t.ids + i * 16);
    for (size_t i = 0; i < n; i++)
        (void)table_add(ret, arena_slice(x->a, pg_get_text(rows, (int)i, 0)),
                        pg_get_uuid(rows, (int)i, 1));
    return 0;
}

int siblings_read(struct ending *x, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct table t;
    int r = collect(x, true, &t, e);

    x->elsewhere = arena_array(x->a, x->n + x->member_n + 1, bool);
    if (r == 0 && !x->elsewhere)
        r = err_set(e, -ENOMEM, "out of memory");
    if (r < 0 || t.n == 0)
        return r;
    struct pg_args *args = table_args(&t, x->a);
    pg_ints(args, t.numbers, t.n);
    r = pg_query(x->st->pg, told_sql, args, &rows, e);
    for (int i = 0; r == 0 && i < PQntuples(rows); i++)
        x->elsewhere[pg_get_int(rows, i, 0)] = true;
    return r;
}
