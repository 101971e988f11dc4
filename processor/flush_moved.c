/* Incidents that are told by other routes now than when their groups were made: their severity has
 * risen since, or the configuration is another. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "processor/flush_internal.h"
#include "processor/group_rows.h"

/* ---- whom they moved to ---- */

static struct group_row *successor_new(struct flush *f)
{
    if (f->successor_n == f->successor_cap) {
        const size_t cap = f->successor_cap ? 2 * f->successor_cap : 16;
        struct group_row *v = arena_array(f->a, cap, struct group_row);

        if (!v)
            return NULL;
        if (f->successor_n)
            memcpy(v, f->successors, f->successor_n * sizeof(*v));
        f->successors = v;
        f->successor_cap = cap;
    }
    return &f->successors[f->successor_n];
}

/* What moves an incident has touched the groups of one alert's labels; it has others. Digests and
 * groups of alerts are told each occurrence by its own severity. */
static int add_successor(struct flush *f, const struct target *t, const struct route *to,
                         struct labels labels, struct err *e)
{
    struct group_row *row = successor_new(f);

    if (!row)
        return flush_too_large(e);
    *row = (struct group_row){.tenant = t->tenant,
                              .route = to,
                              .incident = t->incident,
                              .routed_by = labels,
                              .since_ms = f->now_ms,
                              .due_ms = f->now_ms + to->group_wait_ms};
    if (group_of(f->a, to, t->tenant, labels, &t->incident, &row->is) < 0)
        return flush_too_large(e);
    if (row->is.kind == GROUP_INCIDENT && group_teller(to, labels, &row->is, &row->receiver))
        f->successor_n++;
    return 0;
}

/* Did none of its integrations get a message yet, nor has one on its way? */
static int is_untold(struct flush *f, const struct target *t, bool *ret, struct err *e)
{
    json_t *told = json_tree(t->told, f->a, e), *entry;
    const char *key;

    if (!told)
        return e->code;
    *ret = true;
    json_object_foreach (told, key, entry)
        *ret = *ret && !json_object_get(entry, "last");
    return 0;
}

int flush_moved(struct flush *f, struct target *t, struct rule_facts *facts, bool gone,
                struct err *e)
{
    const size_t most = f->s->routes ? f->s->routes->most : 0;
    const struct route **out = arena_array(f->a, most + 1, const struct route *);
    struct labels labels;
    bool here = false, follow = !gone;
    size_t n = 0;

    if (!out)
        return flush_too_large(e);
    if (labels_from_json(f->a, t->routed_by, &labels, e) < 0)
        return e->code;
    if (route_labels(f->a, labels, t->is.severity, t->source, &labels) < 0)
        return flush_too_large(e);
    facts->labels = labels;
    if (rules_route(f->s->rules, f->s->routes, facts, f->a, out, &n) < 0)
        return flush_too_large(e);
    for (size_t i = 0; i < n; i++)
        here = here || memcmp(out[i]->id, t->route->id, sizeof(out[i]->id)) == 0;
    t->is.moved = !here && t->receiver;
    if (here || t->is.status == INCIDENT_RESOLVED)
        return 0;
    /* What was told by a route that left hears the end of that; the news go by another. */
    int rc = gone ? is_untold(f, t, &follow, e) : 0;
    for (size_t i = 0; rc == 0 && follow && i < n; i++)
        rc = add_successor(f, t, out[i], labels, e);
    return rc;
}

int flush_write_successors(struct flush *f, struct err *e)
{
    if (f->successor_n == 0)
        return 0;
    struct pg_args *p = group_rows_args(f->a, f->successors, f->successor_n, f->now_ms);
    return p ? pg_query(f->pg, group_rows_sql, p, NULL, e) : flush_too_large(e);
}

/* ---- who tells their end ---- */

/* The integrations that this group told of the episode at hand: bits. */
static int told_of_episode(struct flush *f, struct slice told, size_t n, int32_t episode,
                           uint64_t *ret, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        char path[32];
        struct said last;

        (void)snprintf(path, sizeof(path), "%zu.last", i);
        int rc = said_from_json(f->a, json_at(told, path), &last, e);
        if (rc < 0)
            return rc;
        if (last.seq > 0 && last.episode == episode)
            *ret |= UINT64_C(1) << i;
    }
    return 0;
}

int flush_taken_over(struct flush *f, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    bool *over = arena_array(f->a, f->target_n + 1, bool);
    int rc = 0;

    if (!over)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++)
        over[i] = f->targets[i].is.moved && f->targets[i].is.status == INCIDENT_RESOLVED;
    rc = flush_ask(f, GROUP_INCIDENT, over,
                   "SELECT k.n, o.receiver, o.since, o.told::text FROM groups o JOIN "
                   "unnest($1::text[], $2::uuid[], $3::int8[]) k(t, id, n) ON o.tenant = k.t AND "
                   "o.incident_id = k.id",
                   &r, e);
    for (int row = 0; rc == 0 && r && row < PQntuples(r); row++) {
        struct target *t = &f->targets[pg_get_int(r, row, 0)];

        if (t->receiver && slice_eq(t->receiver_name, pg_get_text(r, row, 1)) &&
            pg_get_int(r, row, 2) > t->is.since_ms)
            rc = told_of_episode(f, pg_get_text(r, row, 3), t->receiver->n, t->is.episode,
                                 &t->taken_over, e);
    }
    return rc;
}
