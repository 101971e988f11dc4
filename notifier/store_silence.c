/* Silences that came to be after the flush: what they keep is not sent. */
#include <errno.h>

#include "common/silence.h"
#include "notifier/fallback.h"
#include "notifier/store.h"

#define MEMORY ((size_t)64 << 20)

struct asking {
    struct store *st;
    struct arena *a;
    struct job **jobs;
    size_t n;
    struct silenced_group *found;
    int64_t *ends;
    size_t found_n;
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory");
}

/* An end is owed to whom was told; a fallback tells what failed elsewhere; digests leave out what
 * is silenced when they are made. */
static bool may_be_withheld(const struct job *j)
{
    const char *status = json_string_value(json_object_get(j->state, "status"));

    return !j->merge && !j->digest && !fallback_origin(j, NULL) && status &&
           strcmp(status, "firing") == 0;
}

static const char *incident_of(const struct job *j)
{
    return json_string_value(
        json_object_get(json_object_get(j->facts, "notification"), "incident_id"));
}

static void withhold(struct asking *k, struct job *j, const struct silencing *by)
{
    j->end = LIFE_SUPPRESS;
    j->silenced = true;
    j->reason = arena_printf(j->a, "%s", by->reason);
    k->ends[k->found_n] = by->ends_ms;
    k->found[k->found_n++] =
        (struct silenced_group){.tenant = j->tenant, .silence = by->id, .group = j->group};
}

static int judge_incidents(struct asking *k, int64_t now_ms, struct err *e)
{
    struct silence_look *v = arena_array(k->a, k->n + 1, struct silence_look);
    struct job **of = arena_array(k->a, k->n + 1, struct job *);
    size_t n = 0;

    if (!v || !of)
        return no_memory(e);
    for (size_t i = 0; i < k->n; i++) {
        const char *incident = incident_of(k->jobs[i]);

        if (!incident || !uuid_parse(slice_of(incident), &v[n].incident))
            continue;
        of[n] = k->jobs[i];
        v[n++].tenant = k->jobs[i]->tenant;
    }
    int rc = silences_of_incidents(k->st->pg, k->a, v, n, now_ms, e);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (v[i].by)
            withhold(k, of[i], v[i].by);
    return rc;
}

/* A group of alerts is silenced when each that this message tells as firing is. */
static int judge_alerts(struct asking *k, struct job *j, int64_t now_ms, struct err *e)
{
    const json_t *alerts = json_object_get(j->state, "alerts"), *one;
    struct silence_look *v = arena_array(k->a, json_array_size(alerts) + 1, struct silence_look);
    const struct silencing *first = NULL;
    size_t n = 0, i;

    if (!v)
        return no_memory(e);
    json_array_foreach (alerts, i, one) {
        v[n].tenant = j->tenant;
        n += fingerprint_parse(slice_of(json_string_value(one)), &v[n].fingerprint);
    }
    int rc = silences_of_alerts(k->st->pg, k->a, v, n, now_ms, e);
    for (i = 0; i < n && rc == 0; i++) {
        if (!v[i].by)
            return 0;
        if (!first || v[i].by->ends_ms < first->ends_ms)
            first = v[i].by;
    }
    if (rc == 0 && first)
        withhold(k, j, first);
    return rc;
}

/* Whose silence ends by itself looks again then; who ends it before finds the group. */
static int note_groups(struct asking *k, struct err *e)
{
    struct slice *tenants = arena_array(k->a, k->found_n + 1, struct slice);
    struct uuid *groups = arena_array(k->a, k->found_n + 1, struct uuid);
    struct pg_args *p = pg_args(k->a);

    if (!tenants || !groups)
        return no_memory(e);
    for (size_t i = 0; i < k->found_n; i++) {
        tenants[i] = k->found[i].tenant;
        groups[i] = k->found[i].group;
    }
    pg_texts(p, tenants, k->found_n);
    pg_uuids(p, groups, k->found_n);
    pg_ints(p, k->ends, k->found_n);
    int rc = silenced_groups_insert(k->st->pg, k->a, k->found, k->found_n, e);
    return rc < 0 || k->found_n == 0
               ? rc
               : pg_query(k->st->pg,
                          "INSERT INTO timers (due_at, kind, tenant, subject) SELECT due, 1, t, "
                          "uuid_send(g) FROM unnest($1, $2, $3) AS k (t, g, due)",
                          p, NULL, e);
}

static int judge(struct asking *k, int64_t now_ms, struct err *e)
{
    int rc = judge_incidents(k, now_ms, e);

    for (size_t i = 0; i < k->n && rc == 0; i++)
        if (!incident_of(k->jobs[i]))
            rc = judge_alerts(k, k->jobs[i], now_ms, e);
    return rc < 0 ? rc : note_groups(k, e);
}

static int any(struct asking *k, int64_t now_ms, bool *ret, struct err *e)
{
    struct silence_look *v = arena_array(k->a, k->n + 1, struct silence_look);

    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < k->n; i++)
        v[i].tenant = k->jobs[i]->tenant;
    return k->n > 0 ? silences_any(k->st->pg, k->a, v, k->n, now_ms, ret, e) : 0;
}

int store_silenced(struct store *st, struct job *list, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    struct asking k = {.st = st, .a = a};
    size_t n = 0;
    bool some = false;

    for (const struct job *j = list; j; j = j->next)
        n++;
    k.jobs = a ? arena_array(a, n + 1, struct job *) : NULL;
    k.found = a ? arena_array(a, n + 1, struct silenced_group) : NULL;
    k.ends = a ? arena_array(a, n + 1, int64_t) : NULL;
    if (!k.jobs || !k.found || !k.ends)
        return no_memory(e);
    for (struct job *j = list; j; j = j->next)
        if (may_be_withheld(j))
            k.jobs[k.n++] = j;
    const int64_t now_ms = k.n > 0 ? k.jobs[0]->now_ms : 0;
    int rc = any(&k, now_ms, &some, e);
    if (rc < 0 || !some || (rc = pg_begin(st->pg, e)) < 0)
        return rc;
    rc = judge(&k, now_ms, e);
    if (rc < 0)
        pg_rollback(st->pg);
    return rc < 0 ? rc : pg_commit(st->pg, e);
}
