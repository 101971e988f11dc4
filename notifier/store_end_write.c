/* The statements that write how notifications ended: one pipeline, in the order of locks. */
#include <errno.h>

#include "common/json.h"
#include "common/locks.h"
#include "notifier/store_ending.h"
#include "notifier/store_sql.h"
#include "notifier/text.h"

#define ANSWER_MAX 300

/* Superseded before its send: by what its group knows as the newest that was delivered. */
#define NEWEST_DELIVERED                                                                           \
    "(SELECT b.id FROM groups g JOIN notifications b ON b.tenant = g.tenant AND b.group_id = "     \
    "g.id WHERE g.tenant = n.tenant AND g.id = n.group_id AND b.integration = n.integration AND "  \
    "b.seq = (g.told #>> ARRAY[n.integration::text, 'delivered', 'seq'])::bigint LIMIT 1)"

static const char end_sql[] =
    "UPDATE notifications n SET state = $6, reason = u.reason, lease_until = NULL, lease_by = '',"
    " merged_into = NULL, superseded_by = CASE WHEN $6 = 'superseded' THEN "
    "coalesce(" NEWEST_DELIVERED ", " NEWER_AT_FALLBACK(
        "b.id") ") END,"
                " possible_duplicate = n.possible_duplicate OR u.twice,"
                " not_before = CASE WHEN $6 = 'pending' THEN " MS_NOW
                " + u.wait ELSE n.not_before END,"
                " ended_at = CASE WHEN $6 = 'pending' THEN NULL ELSE " MS_NOW " END"
                " FROM unnest($1, $2, $3, $4, $5) AS u (tenant, id, reason, wait, twice)"
                " WHERE n.tenant = u.tenant AND n.id = u.id AND " STATE_OF_N " = ANY ($7)";
/* Older ones that still wait. One that is being claimed sees the newer delivery itself, before its
 * send. */
static const char supersede_sql[] =
    "UPDATE notifications n SET state = $5, reason = 'a newer message was delivered', ended_at "
    "= " MS_NOW ", superseded_by = x.newer, destination = x.place"
    " FROM (SELECT o.tenant, o.id, coalesce(nullif(o.destination, ''), u.place) AS place,"
    "   (SELECT b.id FROM notifications b WHERE b.tenant = u.tenant AND b.group_id = u.grp AND "
    "b.integration = u.integration AND b.seq = u.seq LIMIT 1) AS newer"
    "  FROM unnest($1, $2, $3, $4, $6) AS u (tenant, grp, integration, seq, place)"
    "  JOIN notifications o ON o.tenant = u.tenant AND o.group_id = u.grp AND o.integration = "
    "u.integration AND o.seq < u.seq"
    "  WHERE " STATE_OF_O
    " = 'pending' AND o.kind <> 'merge' ORDER BY o.tenant, o.id FOR NO KEY UPDATE "
    "OF o SKIP LOCKED) x"
    " WHERE n.tenant = x.tenant AND n.id = x.id";
static const char told_sql[] =
    "UPDATE groups g SET told = u.told::jsonb FROM unnest($1, $2, $3) AS u (tenant, id, told)"
    " WHERE g.tenant = u.tenant AND g.id = u.id";
static const char timer_sql[] =
    "INSERT INTO timers (due_at, kind, tenant, subject) SELECT " MS_NOW
    " + $3, 1, tenant, subject FROM unnest($1, $2) AS u (tenant, subject)";
static const char items_sql[] =
    "INSERT INTO digest_items (tenant, group_id, incident_id, integration, occurrences, first_at, "
    "last_at)"
    " SELECT n.tenant, u.grp::uuid, r.incident, u.integration, sum(r.occurrences)::bigint, "
    "min(r.first_at), max(r.last_at)"
    " FROM unnest($1, $2, $3, $4) AS u (tenant, id, grp, integration) JOIN notifications n ON "
    "n.tenant = u.tenant AND n.id = u.id, jsonb_to_recordset(coalesce(n.about -> 'items', '[]'))"
    "  AS r (incident uuid, occurrences bigint, first_at bigint, last_at bigint)"
    " GROUP BY n.tenant, u.grp, r.incident, u.integration ORDER BY n.tenant, u.grp, r.incident, "
    "u.integration"
    " ON CONFLICT (tenant, group_id, incident_id, integration) DO UPDATE SET"
    "  occurrences = digest_items.occurrences + excluded.occurrences,"
    "  first_at = least(digest_items.first_at, excluded.first_at), last_at = "
    "greatest(digest_items.last_at, excluded.last_at)";
static const char timeline_sql[] =
    "INSERT INTO timeline (tenant, incident_id, at, cause, kind, body)"
    " SELECT tenant, incident, " MS_NOW ", cause, 'notification', body"
    " FROM unnest($1, $2, $3, $4) AS u (tenant, incident, cause, body) ON CONFLICT DO NOTHING";
static const char deliveries_sql[] =
    "INSERT INTO deliveries (tenant, notification_id, at, attempt, duration_ms, outcome, status,"
    " answer) SELECT tenant, id, at, attempt, duration, outcome, status, answer"
    " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
    "  AS u (tenant, id, at, attempt, duration, outcome, status, answer) ON CONFLICT DO NOTHING";
static const char reference_sql[] =
    "INSERT INTO channel_references (tenant, group_id, integration, reference)"
    " SELECT tenant, grp, integration, reference::jsonb FROM unnest($1, $2, $3, $4) AS u (tenant, "
    "grp, integration, reference)"
    " ON CONFLICT (tenant, group_id, integration) DO UPDATE SET reference = excluded.reference";
static const char block_sql[] =
    "INSERT INTO destinations AS d (id, blocked_until) SELECT id, " MS_NOW
    " + max(wait) FROM unnest($1, $2) AS u (id, wait) GROUP BY id ORDER BY id"
    " ON CONFLICT (id) DO UPDATE SET blocked_until = greatest(d.blocked_until, "
    "excluded.blocked_until)";

static const char ill_sql[] =
    "INSERT INTO destinations AS d (id, failures, ill_since, blocked_until) SELECT id, n, " MS_NOW
    ", CASE WHEN n >= $3 THEN " MS_NOW " + $4 ELSE 0 END FROM unnest($1, $2) AS u (id, n) ORDER BY "
    "id ON CONFLICT (id) DO UPDATE SET failures = least(d.failures + excluded.failures, 1000000),"
    " ill_since = CASE WHEN d.failures = 0 OR d.ill_since = 0 THEN excluded.ill_since ELSE "
    "d.ill_since END,"
    " blocked_until = CASE WHEN d.failures + excluded.failures >= $3"
    "  THEN greatest(d.blocked_until, " MS_NOW " + $4) ELSE d.blocked_until END";
/* What an open breaker blocked is free at once. */
static const char well_sql[] =
    "WITH open AS (SELECT id FROM destinations WHERE id = ANY ($1) AND failures > 0 ORDER BY id "
    "FOR "
    "NO KEY UPDATE)"
    " UPDATE destinations d SET failures = 0, blocked_until = CASE WHEN $2 > 0 AND d.failures >= $2"
    "  THEN 0 ELSE d.blocked_until END FROM open WHERE d.id = open.id";

int table_new(struct arena *a, size_t max, struct table *ret, struct err *e)
{
    size_t n = max + 1;

    *ret = (struct table){.tenants = arena_array(a, n, struct slice),
                          .texts = arena_array(a, n, struct slice),
                          .texts2 = arena_array(a, n, struct slice),
                          .ids = arena_alloc(a, n, 16),
                          .numbers = arena_array(a, n, int64_t),
                          .numbers2 = arena_array(a, n, int64_t),
                          .ints = arena_array(a, n, int32_t),
                          .ints2 = arena_array(a, n, int32_t),
                          .flags = arena_array(a, n, bool),
                          .max = max};
    if (!ret->tenants || !ret->texts || !ret->texts2 || !ret->ids || !ret->numbers ||
        !ret->numbers2 || !ret->ints || !ret->ints2 || !ret->flags)
        return err_set(e, -ENOMEM, "out of memory");
    return 0;
}

size_t table_add(struct table *t, struct slice tenant, const unsigned char *id)
{
    size_t i = t->n < t->max ? t->n++ : t->max;

    t->tenants[i] = tenant;
    memcpy(t->ids + i * 16, id, 16);
    return i;
}

struct pg_args *table_args(const struct table *t, struct arena *a)
{
    struct pg_args *args = pg_args(a);

    pg_texts(args, t->tenants, t->n);
    pg_uuids(args, t->ids, t->n);
    return args;
}

static int send_ends(struct ending *x, enum life_event event, struct err *e)
{
    const char *from[7];
    struct slice states[7];
    struct table t;
    size_t from_n = life_from(event, from);
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!x->still[i] || j->end != event)
            continue;
        size_t k = table_add(&t, j->tenant, j->id.b);
        t.texts[k] = slice_of(j->reason ? j->reason : "");
        t.numbers[k] = j->wait_ms;
        t.flags[k] = j->unanswered;
    }
    if (t.n == 0)
        return 0;
    for (size_t i = 0; i < from_n; i++)
        states[i] = slice_of(from[i]);
    struct pg_args *args = table_args(&t, x->a);
    pg_texts(args, t.texts, t.n);
    pg_ints(args, t.numbers, t.n);
    pg_bools(args, t.flags, t.n);
    pg_text(args, slice_of(life_state_name(life_to(event))));
    pg_texts(args, states, from_n);
    return pg_send(x->st->pg, end_sql, args, NULL, e);
}

static int send_superseded(struct ending *x, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!x->still[i] || j->end != LIFE_ACCEPT || j->merge)
            continue;
        size_t k = table_add(&t, j->tenant, j->group.b);
        t.ints[k] = (int32_t)j->integration;
        t.numbers[k] = j->seq;
        t.texts[k] = slice_of(j->outlet->place);
    }
    if (t.n == 0)
        return 0;
    struct pg_args *args = table_args(&t, x->a);
    pg_int4s(args, t.ints, t.n);
    pg_ints(args, t.numbers, t.n);
    pg_text(args, slice_of(life_state_name(life_to(LIFE_SUPERSEDE))));
    pg_texts(args, t.texts, t.n);
    return pg_send(x->st->pg, supersede_sql, args, NULL, e);
}

static int send_told(struct ending *x, struct err *e)
{
    struct table t;
    int n = x->groups ? PQntuples(x->groups) : 0, r = table_new(x->a, (size_t)n, &t, e);

    if (r < 0)
        return r;
    for (int i = 0; i < n; i++) {
        if (!x->told[i])
            continue;
        char *dump = json_dumps(x->told[i], 0);
        size_t k =
            table_add(&t, pg_get_text(x->groups, i, GR_TENANT), pg_get_uuid(x->groups, i, GR_ID));
        t.texts[k] = arena_slice(x->a, slice_of(dump));
        free(dump);
        if (!t.texts[k].p)
            return err_set(e, -ENOMEM, "out of memory");
    }
    if (t.n == 0)
        return 0;
    struct pg_args *args = table_args(&t, x->a);
    pg_texts(args, t.texts, t.n);
    return pg_send(x->st->pg, told_sql, args, NULL, e);
}

static int send_rearmed(struct ending *x, struct err *e)
{
    int r = 0;

    if (x->timers.n) {
        struct pg_args *args = pg_args(x->a);
        pg_texts(args, x->timers.tenants, x->timers.n);
        pg_byteas(args, x->timers.texts, x->timers.n);
        pg_int(args, x->st->s->notifier.retry_cap);
        r = pg_send(x->st->pg, timer_sql, args, NULL, e);
    }
    if (r == 0 && x->items.n) {
        struct pg_args *args = table_args(&x->items, x->a);
        pg_texts(args, x->items.texts, x->items.n);
        pg_int4s(args, x->items.ints, x->items.n);
        r = pg_send(x->st->pg, items_sql, args, NULL, e);
    }
    if (r == 0 && x->timeline.n) {
        struct pg_args *args = table_args(&x->timeline, x->a);
        pg_texts(args, x->timeline.texts, x->timeline.n);
        pg_texts(args, x->timeline.texts2, x->timeline.n);
        r = pg_send(x->st->pg, timeline_sql, args, NULL, e);
    }
    return r;
}

static const char *outcome_name(enum life_event end)
{
    return end == LIFE_ACCEPT ? "delivered" : end == LIFE_GIVE_UP ? "rejected" : "retry";
}

/* Attempts are written even when the row is somebody else's by now: they happened. */
static int send_deliveries(struct ending *x, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!j->attempted)
            continue;
        size_t k = table_add(&t, j->tenant, j->id.b);
        t.ints[k] = (int32_t)j->attempts + 1;
        t.numbers[k] = j->duration_ms;
        t.numbers2[k] = j->ended_at;
        t.texts[k] = slice_of(outcome_name(j->end));
        t.ints2[k] = j->status;
        t.texts2[k] = slice_of(j->answer ? j->answer : "");
        if (t.texts2[k].len > ANSWER_MAX)
            t.texts2[k].len = utf8_fit(t.texts2[k], ANSWER_MAX);
    }
    if (t.n == 0)
        return 0;
    struct pg_args *args = table_args(&t, x->a);
    pg_ints(args, t.numbers2, t.n);
    pg_int4s(args, t.ints, t.n);
    pg_ints(args, t.numbers, t.n);
    pg_texts(args, t.texts, t.n);
    pg_int4s(args, t.ints2, t.n);
    pg_texts(args, t.texts2, t.n);
    return pg_send(x->st->pg, deliveries_sql, args, NULL, e);
}

static int send_references(struct ending *x, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    for (size_t i = 0; r == 0 && i < x->n; i++) {
        const struct job *j = x->jobs[i];
        char *dump =
            x->still[i] && j->keep && !j->merge ? json_dumps(j->keep, JSON_ENCODE_ANY) : NULL;
        if (!dump)
            continue;
        size_t k = table_add(&t, j->tenant, j->group.b);
        t.ints[k] = (int32_t)j->integration;
        t.texts[k] = arena_slice(x->a, slice_of(dump));
        free(dump);
    }
    if (r < 0 || t.n == 0)
        return r;
    struct pg_args *args = table_args(&t, x->a);
    pg_int4s(args, t.ints, t.n);
    pg_texts(args, t.texts, t.n);
    return pg_send(x->st->pg, reference_sql, args, NULL, e);
}

/* How a destination fared in this batch: how often it was ill; one good answer outweighs them. */
struct fare {
    const struct destination *d;
    int64_t ill;
    bool well;
};

static struct fare *fare_of(struct fare *v, size_t *n, const struct destination *d)
{
    for (size_t i = 0; i < *n; i++)
        if (v[i].d == d)
            return &v[i];
    v[*n] = (struct fare){.d = d};
    return &v[(*n)++];
}

static int send_fares(struct ending *x, const struct fare *v, size_t n, struct err *e)
{
    struct slice *ill = arena_array(x->a, n, struct slice),
                 *well = arena_array(x->a, n, struct slice);
    int64_t *times = arena_array(x->a, n, int64_t);
    const struct notifier_settings *s = &x->st->s->notifier;
    size_t ill_n = 0, well_n = 0;
    int r = 0;

    if (!ill || !well || !times)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        struct slice id = {(const char *)v[i].d->id, SHA256_LEN};
        if (v[i].well) {
            well[well_n++] = id;
        } else {
            times[ill_n] = v[i].ill;
            ill[ill_n++] = id;
        }
    }
    if (well_n > 0) {
        struct pg_args *args = pg_args(x->a);
        pg_byteas(args, well, well_n);
        pg_int(args, s->breaker_failures);
        r = pg_send(x->st->pg, well_sql, args, NULL, e);
    }
    if (r == 0 && ill_n > 0 && s->breaker_failures > 0) {
        struct pg_args *args = pg_args(x->a);
        pg_byteas(args, ill, ill_n);
        pg_ints(args, times, ill_n);
        pg_int(args, s->breaker_failures);
        pg_int(args, s->breaker_wait);
        r = pg_send(x->st->pg, ill_sql, args, NULL, e);
    }
    return r;
}

static int send_breakers(struct ending *x, struct err *e)
{
    struct fare *v = arena_array(x->a, x->n + 1, struct fare);
    size_t n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!j->attempted || !j->outlet || !(j->ill || j->well))
            continue;
        struct fare *f = fare_of(v, &n, j->outlet->destination);
        f->ill += j->ill;
        f->well |= j->well;
    }
    return n > 0 ? send_fares(x, v, n, e) : 0;
}

static int send_blocks(struct ending *x, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    for (size_t i = 0; r == 0 && i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!j->limited || !j->outlet)
            continue;
        size_t k = table_add(&t, j->tenant, j->id.b);
        t.texts[k] = (struct slice){(const char *)j->outlet->destination->id, SHA256_LEN};
        t.numbers[k] = j->wait_ms;
    }
    if (r < 0 || t.n == 0)
        return r;
    struct pg_args *args = pg_args(x->a);
    pg_byteas(args, t.texts, t.n);
    pg_ints(args, t.numbers, t.n);
    return pg_send(x->st->pg, block_sql, args, NULL, e);
}

int ending_write(struct ending *x, struct err *e)
{
    int r = 0;

    for (enum life_event event = LIFE_CLAIM; event < LIFE_EVENTS && r == 0; event++)
        r = send_ends(x, event, e);
    if (r < 0 || (r = send_superseded(x, e)) < 0 || (r = send_told(x, e)) < 0 ||
        (r = send_rearmed(x, e)) < 0 || (r = send_deliveries(x, e)) < 0 ||
        (r = send_references(x, e)) < 0 || (r = refuted_write(x, e)) < 0 ||
        (r = failing_write(x, e)) < 0 || (r = templates_write(x, e)) < 0 ||
        (r = send_breakers(x, e)) < 0)
        return r;
    return send_blocks(x, e);
}
