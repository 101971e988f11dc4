#include <errno.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/report.h"
#include "notifier/store.h"
#include "notifier/store_sql.h"

#define BATCH_MEMORY ((size_t)64 << 20)
#define ORPHANS_MAX 100
#define REPORTS_MAX 100
/* Of a digest at once; what is more goes on in another message. */
#define ITEMS_READ 1000
#define READ_BYTES (4LL << 20) /* and of a merge */

/* Due, and not behind another row of its group. Only a row that was never tried has a wake-up to
 * wait for. The transitions are life.c's. */
#define DUE                                                                                        \
    "(" STATE_OF_N " = $5 AND n.not_before <= " MS_NOW                                             \
    "     AND (n.not_before > 0 OR n.created_at <= " MS_NOW " - $6)"                               \
    "   OR " STATE_OF_N " = $7 AND n.lease_until <= " MS_NOW ")"                                   \
    " AND NOT EXISTS (SELECT FROM notifications o WHERE o.tenant = n.tenant AND o.group_id = "     \
    "n.group_id"                                                                                   \
    "   AND o.integration = n.integration AND o.id <> n.id"                                        \
    "   AND (" STATE_OF_O " = 'sending' AND o.lease_until > " MS_NOW "     OR " STATE_OF_O         \
    " = 'pending' AND o.seq > n.seq AND o.not_before <= " MS_NOW "))"

/* May it have been told already? It; of a merge, what it tells; or of the group another that told
 * the same: one that failed without an answer, or a digest's items. Of what was delivered none is
 * read: of a range with both ends the planner believes that it is short. */
#define MAY_DOUBLE                                                                                 \
    "n.possible_duplicate OR n.state = $7 OR n.kind = 'merge' AND EXISTS (SELECT FROM "            \
    "notifications m WHERE m.tenant = n.tenant AND m.merged_into = n.id AND m.possible_duplicate)" \
    " OR n.kind <> 'merge' AND EXISTS (SELECT FROM notifications o WHERE o.tenant = n.tenant AND " \
    "o.group_id = n.group_id AND o.integration = n.integration AND o.seq > coalesce((SELECT "      \
    "(g.told #>> ARRAY[n.integration::text, 'delivered', 'seq'])::bigint FROM groups g WHERE "     \
    "g.tenant = n.tenant AND g.id = n.group_id), -1) AND o.seq < 9223372036854775807 AND o.id <> " \
    "n.id AND (" STATE_OF_O " = 'failed' AND o.possible_duplicate OR n.kind = 'digest' AND "       \
    "(" STATE_OF_O " = $7 OR " STATE_OF_O " = $5 AND o.possible_duplicate)))"

#define TAKE_THEM                                                                                  \
    " UPDATE notifications n SET state = $8, lease_until = " MS_NOW " + $9, lease_by = $10,"       \
    " possible_duplicate = " MAY_DOUBLE ", destination = due.place"                                \
    " FROM due WHERE n.tenant = due.tenant AND n.id = due.id RETURNING n.tenant, n.id"

static const char sweep_sql[] =
    "WITH due AS MATERIALIZED ("
    " SELECT x.tenant, x.id, d.place FROM unnest($1, $2, $3, $4, $12, $13)"
    "  AS d (receiver, integration, channel, room, place, since)"
    " CROSS JOIN LATERAL (SELECT n.tenant, n.id FROM notifications n"
    "  WHERE n.receiver = d.receiver AND n.integration = d.integration AND n.channel = d.channel"
    "  AND n.created_at >= d.since AND n.state IN ('pending', 'sending') AND " DUE
    "  ORDER BY n.created_at, n.seq LIMIT d.room FOR NO KEY UPDATE SKIP LOCKED) x LIMIT "
    "$11)" TAKE_THEM;

/* As many as there is room for: more would only be loaded and put back. */
static const char wake_sql[] =
    "WITH first AS MATERIALIZED (SELECT f.tenant, f.id, f.place FROM ("
    "  SELECT n.tenant, n.id, d.place, d.room, row_number() OVER ("
    "    PARTITION BY n.receiver, n.integration, n.channel ORDER BY n.created_at, n.seq) AS turn"
    "  FROM unnest($13, $14) AS w (tenant, id)"
    "  JOIN notifications n ON n.tenant = w.tenant AND n.id = w.id"
    "  JOIN unnest($1, $2, $3, $4, $12) AS d (receiver, integration, channel, room, place)"
    "   ON n.receiver = d.receiver AND n.integration = d.integration AND n.channel = d.channel"
    "  WHERE " DUE ") f WHERE f.turn <= f.room), "
    "due AS MATERIALIZED ("
    " SELECT n.tenant, n.id, f.place FROM first f"
    " JOIN notifications n ON n.tenant = f.tenant AND n.id = f.id"
    " WHERE " DUE " LIMIT $11 FOR NO KEY UPDATE OF n SKIP LOCKED)" TAKE_THEM;

static const char orphans_sql[] =
    "WITH due AS MATERIALIZED ("
    " SELECT n.tenant, n.id, n.destination AS place FROM notifications n"
    " WHERE n.state IN ('pending', 'sending') AND n.channel = ANY ($13) AND n.created_at <= " MS_NOW
    " - $6"
    "  AND (n.state = $5 AND n.not_before <= " MS_NOW
    " OR n.state = $7 AND n.lease_until <= " MS_NOW ")"
    "  AND NOT EXISTS (SELECT FROM unnest($1, $2, $3, $4, $12)"
    "   AS d (receiver, integration, channel, room, place)"
    "   WHERE n.receiver = d.receiver AND n.integration = d.integration AND n.channel = d.channel)"
    " LIMIT $11 FOR NO KEY UPDATE SKIP LOCKED)" TAKE_THEM;

/* What is known for good of messages that were taken. The first asks alone, mostly. */
static const char any_report_sql[] = "SELECT EXISTS (SELECT FROM delivery_reports WHERE due)";
static const char lost_sql[] =
    "SELECT r.tenant, r.notification_id, r.words FROM delivery_reports r JOIN notifications n ON "
    "n.tenant = r.tenant AND n.id = r.notification_id WHERE r.due AND r.state = $1 AND "
    "r.attempt = n.attempts AND " STATE_OF_N " = $2 AND n.channel = ANY ($3) AND (r.at <= " MS_NOW
    " - $5 OR EXISTS (SELECT FROM unnest($6, $7, $8) AS u (receiver, integration, channel) WHERE "
    "u.receiver = n.receiver AND u.integration = n.integration AND u.channel = n.channel)) "
    "ORDER BY r.at LIMIT $4";
/* Lost, but another attempt followed, or the row ended otherwise. */
static const char moot_sql[] =
    "UPDATE delivery_reports r SET due = false FROM (SELECT q.tenant, q.notification_id, q.attempt"
    "  FROM delivery_reports q LEFT JOIN notifications n ON n.tenant = q.tenant AND "
    "n.id = q.notification_id WHERE q.due AND q.state = $1 AND (n.id IS NULL OR n.attempts > "
    "q.attempt OR n.ended_at IS NOT NULL AND " STATE_OF_N " <> $2)"
    "  FOR NO KEY UPDATE OF q SKIP LOCKED) m WHERE r.tenant = m.tenant AND "
    "r.notification_id = m.notification_id AND r.attempt = m.attempt";

/* What a model takes of an alert's row. */
#define ALERT_OBJECT(fingerprint)                                                                  \
    "json_build_object('fingerprint', " fingerprint ", 'status', l.status, 'severity', "           \
    "l.severity, 'labels', l.labels, 'annotations', l.annotations, 'title', l.title, "             \
    "'description', l.description, 'link', l.link, 'source', l.source, 'starts_at', l.starts_at, " \
    "'ended_at', l.ended_at)"

#define ALERTS                                                                                     \
    "SELECT json_agg(" ALERT_OBJECT(                                                               \
        "f.fp") " ORDER BY f.k)"                                                                   \
                " FROM (SELECT fp, min(k) AS k FROM jsonb_array_elements_text("                    \
                " coalesce(n.about #> '{state,alerts}', '[]') || coalesce(n.about #> "             \
                "'{state,resolved_alerts}', '[]')"                                                 \
                " || coalesce((SELECT jsonb_agg(v) FROM (SELECT jsonb_array_elements(o.about "     \
                "#> "                                                                              \
                "'{state,resolved_alerts}') AS v " EARLIER                                         \
                ") missed), '[]')) WITH ORDINALITY AS e (fp, k) GROUP BY fp ORDER BY min(k) "      \
                "LIMIT $4) f"                                                                      \
                " JOIN alerts l ON l.tenant = n.tenant AND l.fingerprint = ('x' || "               \
                "f.fp)::bit(64)::bigint"                                                           \
                " WHERE f.fp ~ '^[0-9a-f]{16}$'"

/* An incident's alerts are those that are part of it, what fires first. */
#define ALERTS_OF_INCIDENT                                                                         \
    "SELECT json_agg(" ALERT_OBJECT(                                                               \
        "lpad(to_hex(l.fingerprint), 16, '0')") " ORDER BY l.status, l.first_seen)"                \
                                                " FROM (SELECT * FROM alerts p WHERE p.tenant = "  \
                                                "n.tenant AND p.incident_id = n.incident_id"       \
                                                " ORDER BY p.status, p.first_seen LIMIT $4) l"

/* What a digest tells, open before over, severe before mild; and how much more there is than is
 * read at once: so many incidents, of so many bytes, but one at least. */
#define ITEMS                                                                                      \
    "SELECT jsonb_agg(jsonb_build_object('incident', to_jsonb(x) - 'description', 'occurrences', " \
    "t.occurrences, 'first_at', t.first_at, 'last_at', t.last_at) ORDER BY t.k) AS list, CASE "    \
    "WHEN max(t.n) > count(*) THEN json_build_object('n', max(t.n) - count(*), 'occurrences', "    \
    "max(t.sum) - sum(t.occurrences)) END AS unread"                                               \
    " FROM (SELECT r.*, row_number() OVER w AS k, sum(octet_length(concat(y.title, y.link, "       \
    "y.alert_name, y.service, y.namespace, y.environment, y.error_type))) OVER w AS bytes, "       \
    "count(*) OVER () AS n, sum(r.occurrences) OVER () AS sum FROM (" ITEMS_OF_N                   \
    ") r JOIN incidents y ON y.tenant = n.tenant AND y.id = r.incident WHERE n.kind = 'digest' "   \
    "WINDOW w AS (ORDER BY y.status = 4, y.severity DESC, r.last_at DESC, r.incident)) t"          \
    " JOIN incidents x ON x.tenant = n.tenant AND x.id = t.incident WHERE t.k <= $3 AND "          \
    "(t.bytes <= $4 OR t.k = 1)"

/* Of a merge, the same: what is news first, else it would end for want of news among what was read.
 */
#define MEMBERS                                                                                    \
    "SELECT jsonb_agg(jsonb_build_object('id', m.id, 'about', m.about, 'kind', m.kind, "           \
    "'severity', m.severity, 'seq', m.seq, 'group_id', m.group_id, 'integration', m.integration, " \
    "'created_at', m.created_at, 'incident_id', m.incident_id, 'incident', m.incident,"            \
    " 'title', (SELECT string_agg(k || '=' || v, ', ' ORDER BY k) FROM "                           \
    "jsonb_each_text(m.labels) AS l (k, v)),"                                                      \
    " 'delivered_seq', m.delivered) ORDER BY m.k) AS list, CASE WHEN max(m.n) > count(*) THEN "    \
    "json_build_object('n', max(m.n) - count(*)) END AS unread"                                    \
    " FROM (SELECT *, row_number() OVER w AS k, count(*) OVER () AS n, sum(octet_length(about::"   \
    "text) + coalesce(octet_length(incident::text), 0)) OVER w AS bytes FROM (SELECT o.id, "       \
    "o.kind, o.severity, o.seq, o.group_id, o.integration, o.created_at, o.incident_id, o.about "  \
    "- 'items' AS about, to_jsonb(x) - 'description' AS incident, p.labels, (p.told #>> "          \
    "ARRAY[o.integration::text, 'delivered', 'seq'])::bigint AS delivered FROM notifications o "   \
    "LEFT JOIN incidents x ON x.tenant = o.tenant AND x.id = o.incident_id LEFT JOIN groups p ON " \
    "p.tenant = o.tenant AND p.id = o.group_id WHERE o.tenant = n.tenant AND o.merged_into = "     \
    "n.id AND n.kind = 'merge') q WINDOW w AS (ORDER BY coalesce(delivered >= seq, false), "       \
    "created_at, seq, id)) m WHERE m.k <= $5 AND (m.bytes <= $4 OR m.k = 1)"

#define PLAYBOOKS                                                                                  \
    "ARRAY['anomaly:' || encode(i.anomaly_key, 'hex'), 'alert:' || i.alert_name, 'service:' || "   \
    "i.service, 'global']"

#define ORDERED                                                                                    \
    " FROM unnest($1, $2) AS u (tenant, id)"                                                       \
    " JOIN notifications n ON n.tenant = u.tenant AND n.id = u.id"                                 \
    " LEFT JOIN groups g ON g.tenant = n.tenant AND g.id = n.group_id"
#define IN_ORDER " ORDER BY n.created_at, n.seq, n.tenant, n.id"

/* Everything that a message tells, one row per notification: every look-up goes by a key. As json:
 * jsonb would be built only to be written out again. */
static const char heads_sql[] =
    "SELECT n.tenant, n.id, json_build_object("
    " 'notification', CASE n.kind WHEN 'digest' THEN (to_jsonb(n) #- '{about,items}')::json ELSE "
    "to_json(n) END, 'group', g, 'incident', i,"
    " 'anomaly', json_build_object('first_seen', a.first_seen, 'last_seen', a.last_seen),"
    " 'stats', (SELECT json_agg(s ORDER BY s.action) FROM repair_stats s"
    "   WHERE s.tenant = n.tenant AND s.anomaly_key = i.anomaly_key),"
    " 'repairs', (SELECT json_agg(r ORDER BY r.at DESC) FROM (SELECT action, outcome, "
    "actor, at FROM repairs"
    "   WHERE tenant = n.tenant AND anomaly_key = i.anomaly_key ORDER BY at DESC LIMIT $3) r),"
    " 'playbook', (SELECT row_to_json(p) FROM playbooks p WHERE p.tenant = n.tenant AND p.id = ANY "
    "(" PLAYBOOKS ")"
    "   AND jsonb_array_length(p.steps) > 0 ORDER BY array_position(" PLAYBOOKS ", p.id) LIMIT 1),"
    " 'reference', (SELECT c.reference FROM channel_references c WHERE c.tenant = n.tenant AND "
    "c.group_id = n.group_id"
    "   AND c.integration = n.integration),"
    " 'alerts', CASE WHEN n.incident_id IS NULL THEN (" ALERTS ") ELSE (" ALERTS_OF_INCIDENT
    ") END, 'earlier_firing_at', (SELECT (o.about #>> '{state,at}')::bigint " EARLIER
    " AND o.about #>> '{state,status}' = 'firing' ORDER BY o.seq LIMIT 1),"
    " 'newer_delivered', " NEWER_AT_FALLBACK(
        "b.seq") ","
                 " 'first_try', (SELECT min(d.at) FROM deliveries d WHERE n.attempts > 0 AND "
                 "d.tenant = n.tenant"
                 "   AND d.notification_id = n.id))::text, a.frequency, " MS_NOW ORDERED
                 " LEFT JOIN incidents i ON i.tenant = n.tenant AND i.id = n.incident_id"
                 " LEFT JOIN anomalies a ON a.tenant = n.tenant AND a.key = i.anomaly_key" IN_ORDER;

/* The others that it tells. */
static const char others_sql[] =
    "SELECT n.tenant, n.id, json_build_object('items', d.list, 'members', e.list, 'unread', "
    "coalesce(d.unread, e.unread))::text" ORDERED " LEFT JOIN LATERAL (" ITEMS
    ") d ON true LEFT JOIN LATERAL (" MEMBERS ") e ON true" IN_ORDER;

enum { FACTS_TENANT, FACTS_ID, FACTS_JSON, FACTS_FREQUENCY, FACTS_NOW };

struct question {
    const char *sql;
    int64_t limits[3]; /* $3 ... */
    size_t limit_n;
};

static int look_up(struct store *st, struct arena *a, const PGresult *claimed,
                   const struct question *q, PGresult **ret, struct err *e)
{
    size_t n = (size_t)PQntuples(claimed);
    struct slice *tenants = arena_array(a, n, struct slice);
    unsigned char *ids = arena_alloc(a, n, 16);
    struct pg_args *args = pg_args(a);

    if (!tenants || !ids)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        tenants[i] = pg_get_text(claimed, (int)i, 0);
        memcpy(ids + i * 16, pg_get_uuid(claimed, (int)i, 1), 16);
    }
    pg_texts(args, tenants, n);
    pg_uuids(args, ids, n);
    for (size_t i = 0; i < q->limit_n; i++)
        pg_int(args, q->limits[i]);
    return pg_query(st->pg, q->sql, args, ret, e);
}

static struct job *one_job(struct store *st, const PGresult *heads, const PGresult *others, int i)
{
    struct err why = {0};
    struct job *j = job_new(
        &(struct job_input){
            .tenant = pg_get_text(heads, i, FACTS_TENANT),
            .head = pg_get_text(heads, i, FACTS_JSON),
            .others = pg_get_text(others, i, FACTS_JSON),
            .frequency = pg_get_text(heads, i, FACTS_FREQUENCY),
            .now_ms = pg_get_int(heads, i, FACTS_NOW),
        },
        st->outlets, &why);

    /* Its lease ends, and then it is tried again: this is memory, or a bug that must be seen. */
    if (!j)
        log_error(EV("notification_unreadable"), KV("reason", (const char *)why.msg));
    else
        j->lease_ends = clock_monotonic_ms() + st->s->notifier.lease;
    return j;
}

static int load(struct store *st, struct arena *a, const PGresult *claimed, struct job **ret,
                struct err *e)
{
    CLEANUP(PQclear) PGresult *heads = NULL;
    CLEANUP(PQclear) PGresult *others = NULL;
    const struct question head = {
        heads_sql, {st->s->learner.history, st->s->limits.message_alerts}, 2};
    const struct question rest = {others_sql, {ITEMS_READ, READ_BYTES, MEMBERS_MOST}, 3};
    struct job *list = NULL, **end = &list;
    int r;

    if ((r = look_up(st, a, claimed, &head, &heads, e)) < 0 ||
        (r = look_up(st, a, claimed, &rest, &others, e)) < 0)
        return r;
    if (PQntuples(heads) != PQntuples(others))
        return err_set(e, -EAGAIN, "notifications vanished while they were read");
    for (int i = 0; i < PQntuples(heads); i++) {
        struct job *j = one_job(st, heads, others, i);
        if (!j)
            continue;
        *end = j;
        end = &j->next;
    }
    *ret = list;
    return 0;
}

/* $1-$4, $12: where; $5-$10: the transitions and the lease; $11: how many. */
static struct pg_args *claim_args(struct store *st, struct arena *a, const struct room *room,
                                  size_t n, int64_t age, size_t limit)
{
    struct pg_args *args = pg_args(a);
    struct slice *receivers = arena_array(a, n + 1, struct slice),
                 *channels = arena_array(a, n + 1, struct slice),
                 *places = arena_array(a, n + 1, struct slice);
    int32_t *integrations = arena_array(a, n + 1, int32_t);
    int64_t *rooms = arena_array(a, n + 1, int64_t);
    const char *from[7];

    if (!receivers || !channels || !places || !integrations || !rooms)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        receivers[i] = slice_of(room[i].outlet->receiver->name);
        channels[i] = slice_of(room[i].outlet->channel->name);
        places[i] = slice_of(room[i].outlet->place);
        integrations[i] = room[i].outlet->integration;
        rooms[i] = room[i].n;
    }
    pg_texts(args, receivers, n);
    pg_int4s(args, integrations, n);
    pg_texts(args, channels, n);
    pg_ints(args, rooms, n);
    (void)life_from(LIFE_CLAIM, from);
    pg_text(args, slice_of(from[0]));
    pg_int(args, age);
    (void)life_from(LIFE_RECLAIM, from);
    pg_text(args, slice_of(from[0]));
    pg_text(args, slice_of(life_state_name(life_to(LIFE_CLAIM))));
    pg_int(args, st->s->notifier.lease);
    pg_text(args, slice_of(st->name));
    pg_int(args, (int64_t)limit);
    pg_texts(args, places, n);
    return args;
}

static int claim(struct store *st, struct arena *a, const char *sql, struct pg_args *args,
                 struct job **ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *claimed = NULL;
    int r;

    *ret = NULL;
    if (!args)
        return err_set(e, -ENOMEM, "out of memory");
    if ((r = pg_query(st->pg, sql, args, &claimed, e)) < 0)
        return r;
    return PQntuples(claimed) > 0 ? load(st, a, claimed, ret, e) : 0;
}

static bool sweep_args(struct pg_args *args, struct arena *a, const struct rooms *rooms)
{
    int64_t *since = arena_array(a, rooms->n + 1, int64_t);

    for (size_t i = 0; since && i < rooms->n; i++)
        since[i] = rooms->v[i].since;
    pg_ints(args, since, since ? rooms->n : 0);
    return since != NULL;
}

int store_claim(struct store *st, const struct rooms *rooms, const struct look *look, size_t limit,
                struct job **ret, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    struct pg_args *args =
        a ? claim_args(st, a, rooms->v, rooms->n, look->wakes ? 0 : look->age, limit) : NULL;

    if (args && !look->wakes && !sweep_args(args, a, rooms))
        return err_set(e, -ENOMEM, "out of memory");
    if (args && look->wakes) {
        struct slice *tenants = arena_array(a, look->n, struct slice);
        unsigned char *ids = arena_alloc(a, look->n, 16);
        if (!tenants || !ids)
            return err_set(e, -ENOMEM, "out of memory");
        for (size_t i = 0; i < look->n; i++) {
            tenants[i] = look->wakes[i].tenant;
            memcpy(ids + i * 16, look->wakes[i].id.b, 16);
        }
        pg_texts(args, tenants, look->n);
        pg_uuids(args, ids, look->n);
    }
    return claim(st, a, look->wakes ? wake_sql : sweep_sql, args, ret, e);
}

int store_claim_orphans(struct store *st, const struct channel *const *channels, size_t n,
                        struct job **ret, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    struct room *all = a ? arena_array(a, st->outlets->n + 1, struct room) : NULL;
    struct slice *names = a ? arena_array(a, n + 1, struct slice) : NULL;

    if (!all || !names)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < st->outlets->n; i++)
        all[i].outlet = &st->outlets->v[i];
    for (size_t i = 0; i < n; i++)
        names[i] = slice_of(channels[i]->name);
    struct pg_args *args =
        claim_args(st, a, all, st->outlets->n, st->s->notifier.retry_for, ORPHANS_MAX);
    if (args)
        pg_texts(args, names, n);
    int r = claim(st, a, orphans_sql, args, ret, e);
    if (r < 0)
        job_free_list(*ret);
    return r;
}

static void refute(struct job *list, const PGresult *lost)
{
    for (struct job *j = list; j; j = j->next) {
        for (int i = 0; i < PQntuples(lost); i++) {
            const struct slice words = pg_get_text(lost, i, 2);
            if (memcmp(pg_get_uuid(lost, i, 1), j->id.b, sizeof(j->id.b)) == 0)
                j->reason = j->answer = arena_strndup(j->a, words.p, words.len);
        }
        j->end = LIFE_REFUTE;
    }
}

/* $1, $2 of both. */
static struct pg_args *report_args(struct arena *a)
{
    struct pg_args *args = pg_args(a);
    const char *from[7];

    (void)life_from(LIFE_REFUTE, from);
    pg_int(args, REPORT_LOST);
    pg_text(args, slice_of(from[0]));
    return args;
}

/* What another process has the integration of is left to that for a while: it knows who is told
 * instead. */
static struct pg_args *lost_args(const struct store *st, struct arena *a,
                                 const struct channel *const *channels, size_t n)
{
    struct pg_args *args = report_args(a);
    const size_t outlets = st->outlets->n;
    struct slice *names = arena_array(a, n + 1, struct slice),
                 *receivers = arena_array(a, outlets + 1, struct slice),
                 *of = arena_array(a, outlets + 1, struct slice);
    int32_t *integrations = arena_array(a, outlets + 1, int32_t);

    if (!names || !receivers || !of || !integrations)
        return NULL;
    for (size_t i = 0; i < n; i++)
        names[i] = slice_of(channels[i]->name);
    for (size_t i = 0; i < outlets; i++) {
        receivers[i] = slice_of(st->outlets->v[i].receiver->name);
        of[i] = slice_of(st->outlets->v[i].channel->name);
        integrations[i] = st->outlets->v[i].integration;
    }
    pg_texts(args, names, n);
    pg_int(args, REPORTS_MAX);
    pg_int(args, MS_MINUTE);
    pg_texts(args, receivers, outlets);
    pg_int4s(args, integrations, outlets);
    pg_texts(args, of, outlets);
    return args;
}

int store_reported(struct store *st, const struct channel *const *channels, size_t n,
                   struct job **ret, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(BATCH_MEMORY);
    CLEANUP(PQclear) PGresult *any = NULL;
    CLEANUP(PQclear) PGresult *lost = NULL;
    int r;

    *ret = NULL;
    if (!a)
        return err_set(e, -ENOMEM, "out of memory");
    if ((r = pg_query(st->pg, any_report_sql, pg_args(a), &any, e)) < 0 || !pg_get_bool(any, 0, 0))
        return r;
    struct pg_args *args = lost_args(st, a, channels, n);
    if (!args)
        return err_set(e, -ENOMEM, "out of memory");
    if ((r = store_arrived(st, e)) < 0 ||
        (r = pg_query(st->pg, moot_sql, report_args(a), NULL, e)) < 0 ||
        (r = pg_query(st->pg, lost_sql, args, &lost, e)) < 0 || PQntuples(lost) == 0)
        return r;
    r = load(st, a, lost, ret, e);
    refute(*ret, lost);
    return r;
}
