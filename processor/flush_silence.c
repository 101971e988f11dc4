/* What silences keep each group from saying. A group that one kept silent looks again when that is
 * over, and is woken by whoever ends it before. */
#include <string.h>

#include "common/silence.h"
#include "processor/flush_internal.h"

/* The group is to look again when that is over; repeats in a row are one. */
static int keep(struct flush *f, struct target *t, const struct silencing *by, struct err *e)
{
    if (t->silence_ends_ms == 0 || by->ends_ms < t->silence_ends_ms)
        t->silence_ends_ms = by->ends_ms;
    if (f->silenced_n > 0) {
        const struct silenced_group *last = &f->silenced[f->silenced_n - 1];

        if (uuid_cmp(&last->silence, &by->id) == 0 && uuid_cmp(&last->group, &t->id) == 0 &&
            slice_eq(last->tenant, t->tenant))
            return 0;
    }
    if (f->silenced_n == f->silenced_cap) {
        const size_t cap = f->silenced_cap ? 2 * f->silenced_cap : 64;
        struct silenced_group *v = arena_array(f->a, cap, struct silenced_group);

        if (!v)
            return flush_too_large(e);
        if (f->silenced_n > 0)
            memcpy(v, f->silenced, f->silenced_n * sizeof(*v));
        f->silenced = v;
        f->silenced_cap = cap;
    }
    f->silenced[f->silenced_n++] =
        (struct silenced_group){.tenant = t->tenant, .silence = by->id, .group = t->id};
    return 0;
}

static int judge_incidents(struct flush *f, struct silence_look *v, struct err *e)
{
    struct target **of = arena_array(f->a, f->target_n + 1, struct target *);
    size_t n = 0;

    if (!of)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++) {
        struct target *t = &f->targets[i];

        if (t->kind != GROUP_INCIDENT || !t->found || target_mute(t))
            continue;
        of[n] = t;
        v[n++] = (struct silence_look){.tenant = t->tenant, .incident = t->incident};
    }
    int rc = silences_of_incidents(f->pg, f->a, v, n, f->now_ms, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        of[i]->silence = v[i].by;
        if (!v[i].by)
            continue;
        if (uuid_cmp(&v[i].by->id, &of[i]->own_silence) == 0) {
            of[i]->is.silent_ms = v[i].by->ends_ms;
            of[i]->is.silent_by = slice_of(v[i].by->who);
        }
        rc = keep(f, of[i], v[i].by, e);
    }
    return rc;
}

static int judge_members(struct flush *f, struct err *e)
{
    size_t n = 0, at = 0;

    for (size_t i = 0; i < f->target_n; i++)
        n += target_mute(&f->targets[i]) ? 0 : f->targets[i].member_n;
    struct silence_look *v = arena_array(f->a, n + 1, struct silence_look);
    if (!v)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++) {
        const struct target *t = &f->targets[i];

        for (size_t k = 0; !target_mute(t) && k < t->member_n; k++)
            v[at++] = (struct silence_look){.tenant = t->tenant,
                                            .fingerprint = t->members[k].fingerprint};
    }
    int rc = silences_of_alerts(f->pg, f->a, v, n, f->now_ms, e);
    at = 0;
    for (size_t i = 0; i < f->target_n; i++) {
        struct target *t = &f->targets[i];

        for (size_t k = 0; rc == 0 && !target_mute(t) && k < t->member_n; k++) {
            t->members[k].silence = v[at++].by;
            if (t->members[k].silence && t->members[k].firing)
                rc = keep(f, t, t->members[k].silence, e);
        }
    }
    return rc;
}

/* ---- digests ---- */

/* Items of one target, from `row` on: those that are silenced wait, the others count. */
static int judge_items(struct flush *f, const PGresult *r, const struct silence_look *v, int row,
                       struct err *e)
{
    struct target *t = &f->targets[pg_get_int(r, row, 0)];
    int end = row, rc = 0;

    while (end < PQntuples(r) && &f->targets[pg_get_int(r, end, 0)] == t)
        end++;
    t->waiting = arena_array(f->a, (size_t)(end - row), struct uuid);
    if (!t->waiting)
        return flush_too_large(e);
    memset(t->gathered, 0, (target_integrations(t) + 1) * sizeof(*t->gathered));
    for (; row < end && rc == 0; row++) {
        if (v[row].by) {
            t->waiting[t->waiting_n++] = v[row].incident;
            rc = keep(f, t, v[row].by, e);
        } else {
            flush_gather(t, pg_get_int(r, row, 3),
                         (struct gathered){.n = 1, .first_ms = pg_get_int(r, row, 2)});
        }
    }
    return rc < 0 ? rc : end;
}

static int judge_digests(struct flush *f, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = flush_ask(f, GROUP_DIGEST, NULL,
                       "SELECT k.n, d.incident_id, d.first_at, d.integration FROM "
                       "unnest($1::text[], $2::uuid[], $3::int8[]) k(t, id, n) JOIN digest_items "
                       "d ON d.tenant = k.t AND d.group_id = k.id ORDER BY k.n",
                       &r, e);
    const size_t n = rc == 0 && r ? (size_t)PQntuples(r) : 0;
    struct silence_look *v = arena_array(f->a, n + 1, struct silence_look);

    if (rc < 0 || n == 0)
        return rc;
    if (!v)
        return flush_too_large(e);
    for (size_t i = 0; i < n; i++) {
        const struct target *t = &f->targets[pg_get_int(r, (int)i, 0)];

        v[i].tenant = t->tenant;
        memcpy(v[i].incident.b, pg_get_uuid(r, (int)i, 1), sizeof(v[i].incident.b));
    }
    rc = silences_of_incidents(f->pg, f->a, v, n, f->now_ms, e);
    for (int row = 0; rc >= 0 && row < (int)n; row = rc)
        rc = judge_items(f, r, v, row, e);
    return rc < 0 ? rc : 0;
}

int flush_read_silences(struct flush *f, struct err *e)
{
    struct silence_look *v = arena_array(f->a, f->target_n + 1, struct silence_look);
    bool some = false;

    if (!v)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++)
        v[i] = (struct silence_look){.tenant = f->targets[i].tenant};
    int rc = silences_any(f->pg, f->a, v, f->target_n, f->now_ms, &some, e);
    if (rc < 0 || !some)
        return rc;
    if ((rc = judge_incidents(f, v, e)) < 0 || (rc = judge_members(f, e)) < 0)
        return rc;
    return judge_digests(f, e);
}

int flush_write_silenced(struct flush *f, struct err *e)
{
    return silenced_groups_insert(f->pg, f->a, f->silenced, f->silenced_n, e);
}
