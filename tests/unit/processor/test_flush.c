/* Flushes and the runner of timers: a real PostgreSQL, librdkafka's mock cluster, real threads. */
#include "broker.h"
#include "schema.h"
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/silence.h"
#include "processor/flush.h"
#include "processor/group.h"
#include "processor/timers.h"
#include "processor/work.h"

#define TENANT "default"
#define INCIDENT "018f0000-0000-7000-8000-000000000001"

static const char *const topics[] = {"notify.slack", "notify.webhook", "notify.email", NULL};

static const char config[] = "\
time_zone: Asia/Shanghai\n\
receivers:\n\
  - name: team\n\
    slack_configs: [{api_url: 'http://b'}]\n\
    webhook_configs: [{url: 'http://a'}]\n\
  - name: boss\n\
    webhook_configs: [{url: 'http://c'}]\n\
  - name: list\n\
    webhook_configs: [{url: 'http://d'}]\n\
  - name: page\n\
route:\n\
  receiver: team\n\
  group_by: [incident]\n\
  group_wait: 0s\n\
  group_interval: 0s\n\
  routes:\n\
    - {match: {severity: critical}, receiver: boss}\n\
    - {match: {to: alerts}, receiver: list, group_by: [job]}\n\
    - {match: {to: hourly}, receiver: list, digest: 1h}\n\
    - {match: {to: nobody}, receiver: page, repeat_interval: 1s}\n\
    - {match: {to: daily}, receiver: list, digest: '09:00'}\n";

/* Without the receivers `list` and `boss`, and another way to `team`. */
static const char config_later[] = "\
receivers:\n\
  - name: team\n\
    slack_configs: [{api_url: 'http://b'}]\n\
    webhook_configs: [{url: 'http://a'}]\n\
route:\n\
  receiver: team\n\
  group_by: [incident, job]\n";

static struct schema db;
static struct broker broker;

struct world {
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
};

struct fixture {
    struct world now, later;
    struct outbox *outbox;
    struct kafka_producer *producer;
    struct timers *timers, *second;
    struct err e;

    /* what the callbacks said */
    pthread_mutex_t lock;
    struct silence silent[8];
    size_t silent_n;
    int expire_answer;
    uint64_t expire_breaks; /* Postgres does not take what this one's end writes */
    struct err failed;
};

/* ---- the stage ---- */

static void world_load(struct world *w, const char *text)
{
    struct err e = {0};

    if (conf_parse("t.yml", text, NULL, &w->conf, &e) < 0 ||
        settings_load(w->conf, &w->settings, &e) < 0 ||
        receivers_load(&w->settings, &w->receivers, &e) < 0 ||
        route_load(&w->settings, &w->receivers, &w->routes, &e) < 0)
        fail_msg("%s", e.msg);
    w->settings.postgres = db.settings;
    w->settings.conf = w->conf;
}

static int expire(void *ctx, struct pg *pg, const struct silence *v, size_t n, struct err *e)
{
    struct fixture *f = ctx;

    assert_int_equal(pg_exec(pg,
                             "INSERT INTO beats (ingest, since, last_at) VALUES ('seen', 0, "
                             "4102444800000) ON CONFLICT DO NOTHING",
                             e),
                     0);
    for (size_t i = 0; i < n; i++)
        if (f->expire_breaks && v[i].fingerprint == f->expire_breaks)
            return pg_exec(pg, "SELECT 1 / 0", e);
    for (size_t i = 0; i < n && f->silent_n < 8; i++)
        f->silent[f->silent_n++] = v[i];
    return f->expire_answer ? err_set(e, f->expire_answer, "as the test wants it") : 0;
}

static void on_fail(const struct err *why)
{
    fail_msg("the runner gave up: %s", why->msg);
}

static struct timers *runner(struct fixture *f, const struct world *w)
{
    const struct timers_options o = {.settings = &w->settings,
                                     .routes = w->routes,
                                     .receivers = &w->receivers,
                                     .producer = f->producer,
                                     .outbox = f->outbox,
                                     .expire = expire,
                                     .expire_ctx = f,
                                     .fail = on_fail};
    struct timers *t;

    SQL_OK(f, timers_new(&o, &t, &f->e));
    return t;
}

static int open_all(void **state)
{
    (void)state;
    broker_open(&broker, topics);
    schema_open(&db);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    schema_close(&db);
    broker_close(&broker);
    return 0;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    schema_do(
        &db,
        "TRUNCATE incidents, alerts, groups, group_alerts, digest_items, notifications, "
        "notification_incidents, silences, silenced_groups, timers, outbox, delivery_ids, beats");
    world_load(&f->now, config);
    world_load(&f->later, config_later);
    f->outbox = outbox_new();
    SQL_OK(f, kafka_producer_new(&broker.settings, outbox_report, f->outbox, &f->producer, &f->e));
    f->timers = runner(f, &f->now);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    timers_free(f->timers);
    timers_free(f->second);
    kafka_producer_free(f->producer);
    outbox_free(f->outbox);
    conf_free(f->now.conf);
    conf_free(f->later.conf);
    free(f);
    return 0;
}

/* ---- props ---- */

static const char *sql(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *sql(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *text = arena_vprintf(db.arena, fmt, ap);
    va_end(ap);
    assert_non_null(text);
    return text;
}

#define DO(...) schema_do(&db, sql(__VA_ARGS__))
#define INT(...) schema_int(&db, sql(__VA_ARGS__))
#define TEXT(...) schema_text(&db, sql(__VA_ARGS__))

static void add_incident(const char *id, int status, int severity, int level)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, level, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES ('" TENANT
       "', '%s', uuid_send('%s'), %d, %d, %d, 't', 'am', 'a', 's', '', '', '', 1, 1, 1, 1, 1, 1, "
       "1)",
       id, id, status, severity, level);
}

static void add_alert(uint64_t fp, int status, int severity)
{
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, status, severity, labels, "
       "annotations, title, description, link, source, first_seen, last_seen) VALUES ('" TENANT
       "', %lld, '\\x01', %d, %d, '{}', '{}', '', '', '', 'am', 1, 1)",
       (long long)fp, status, severity);
}

/* The group of an alert with these labels, as a batch makes it, with a timer that is due. Its id.
 */
static const char *add_group(const struct world *w, const char *labels_json, const char *incident)
{
    const struct route *r;
    struct group_identity g;
    struct labels labels;
    struct uuid id = {{0}};
    struct err e = {0};
    char hex[33], *text = arena_alloc(db.arena, 1, UUID_STR);
    CLEANUP(buf_release) struct buf group_labels = BUF_INIT(4096);

    if (incident)
        assert_true(uuid_parse(slice_of(incident), &id));
    assert_int_equal(labels_from_json(db.arena, slice_of(labels_json), &labels, &e), 0);
    assert_int_equal(route_match(w->routes, labels, &r, 1), 1);
    assert_int_equal(group_of(db.arena, r, SLICE_LIT(TENANT), labels, &id, &g), 0);
    labels_to_json(&group_labels, g.labels);
    (void)uuid_format(&g.id, text);
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, incident_id, routed_by, "
       "since) VALUES ('" TENANT "', '%s', %d, '%s', '%s', '%s', %s%s%s, '%s', 1)",
       text, (int)g.kind, r->receiver->name, hex_encode(r->id, sizeof(r->id), hex),
       buf_str(&group_labels), incident ? "'" : "", incident ? incident : "NULL",
       incident ? "'" : "", labels_json);
    return text;
}

static void look(const char *group)
{
    DO("INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 1, '" TENANT
       "', uuid_send('%s'))",
       group);
}

static size_t pass(struct fixture *f, struct timers *t)
{
    size_t ran = 0;

    SQL_OK(f, timers_pass(t, &ran, &f->e));
    return ran;
}

/* "slack:opened slack:crossing webhook:opened": rows of a group in order of channel and sequence.
 */
static const char *told(const char *group)
{
    return TEXT(
        "SELECT coalesce(string_agg(channel || ':' || kind, ' ' ORDER BY channel, seq), '') "
        "FROM notifications WHERE group_id = '%s'",
        group);
}

static void forget(void)
{
    schema_do(&db, "DELETE FROM notifications");
}

/* The titles of what the notifications of a group speak of. */
static const char *speak_of(const char *group)
{
    return TEXT("SELECT coalesce(string_agg(n.kind || ':' || right(i.incident_id::text, 2), ' ' "
                "ORDER BY n.seq, n.channel, i.incident_id), '') FROM notifications n JOIN "
                "notification_incidents i ON i.tenant = n.tenant AND i.notification_id = n.id AND "
                "i.created_at = n.created_at WHERE n.group_id = '%s'",
                group);
}

/* ---- incidents ---- */

static void test_opening(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 3, 3);
    const char *g = add_group(&f->now, "{\"job\":\"api\"}", INCIDENT);
    look(g);
    look(g);
    f->now.settings.processor.timer_batch = 1; /* both all the same: they are of one subject */
    assert_int_equal(pass(f, f->timers), 2);
    assert_string_equal(told(g), "slack:opened slack:crossing slack:crossing slack:crossing "
                                 "webhook:opened webhook:crossing webhook:crossing "
                                 "webhook:crossing");
    assert_string_equal(
        TEXT("SELECT string_agg(concat_ws('|', seq, integration, state, severity, incident_id = "
             "'" INCIDENT
             "', about->'state'->>'level', about->>'reason', (about->'state'->>'seq')::int "
             "= seq, about->>'incident' = '" INCIDENT "', about->>'group_key'), ' ') FROM "
             "notifications WHERE channel = 'webhook' AND seq = 2"),
        "2|1|pending|3|t|1|crossing|t|t|{}:{incident=\"" INCIDENT "\"}");
    assert_int_equal(INT("SELECT count(DISTINCT id) FROM notifications"), 8);
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents WHERE incident_id = "
                         "'" INCIDENT "'"),
                     8);
    assert_string_equal(TEXT("SELECT concat_ws('|', seq, flushed_at > 1, told->'0'->'last'->>"
                             "'level', told->'1'->'last'->>'seq', told->'2') FROM groups"),
                        "4|t|3|4");
    /* it looks again when the same may be repeated, and only then */
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 1);
    assert_int_equal(INT("SELECT due_at - flushed_at FROM timers, groups WHERE timers.kind = 1"),
                     4 * MS_HOUR);
}

static void test_a_spurious_look_says_nothing(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    for (int i = 0; i < 4; i++) {
        look(g);
        assert_int_equal(pass(f, f->timers), 1);
        assert_string_equal(told(g), "slack:opened webhook:opened");
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 1);
    }
}

static void test_the_end_and_again(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    forget();
    schema_do(&db, "UPDATE incidents SET status = 4; DELETE FROM timers WHERE kind = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:resolved webhook:resolved");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
    schema_do(&db, "UPDATE incidents SET status = 1, episode = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:resolved slack:reopened webhook:resolved webhook:reopened");
    assert_int_equal(INT("SELECT max(seq) FROM notifications"), 3);
}

/* A backlog: what began and ended in one batch is told none the less, once. */
static void test_over_before_anybody_looked(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 4, 2, 0);
    schema_do(&db, "UPDATE incidents SET episode_at = 5, resolved_at = 9");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:opened slack:resolved webhook:opened webhook:resolved");
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 4);
}

/* One integration failed, the other did not: only the first is told again. */
/* Who takes over is told as who acknowledged; rows of before owners were remembered say nothing by
 * themselves. */
static void test_another_owner(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    forget();
    DO("UPDATE incidents SET status = 2, owner = 'ann'");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:status webhook:status");
    forget();
    DO("UPDATE incidents SET owner = 'bob'");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
        assert_string_equal(told(g), "slack:status webhook:status");
    }
    assert_string_equal(TEXT("SELECT DISTINCT about #>> '{state,owner}' FROM notifications"),
                        "bob");
    forget();
    DO("UPDATE groups SET told = told #- '{0,last,owner}' #- '{1,last,owner}'");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "");
}

static void test_integrations_are_told_apart(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    schema_do(&db, "UPDATE groups SET told = jsonb_set(told - '0', '{1,delivered}', "
                   "told->'1'->'last')");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:opened slack:opened webhook:opened");
    assert_string_equal(TEXT("SELECT told->'1'->'delivered'->>'seq' FROM groups"), "1");
}

static void test_a_raised_severity_moves(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *team = add_group(&f->now, "{}", INCIDENT);
    look(team);
    pass(f, f->timers);
    forget();
    schema_do(&db, "UPDATE incidents SET severity = 4, level = 1");
    const char *boss = add_group(&f->now, "{\"severity\":\"critical\"}", INCIDENT);
    look(team);
    look(boss);
    pass(f, f->timers);
    assert_string_equal(told(team), "");
    assert_string_equal(told(boss), "webhook:opened webhook:crossing");
    forget();
    schema_do(&db, "UPDATE incidents SET status = 4");
    look(team);
    look(boss);
    pass(f, f->timers);
    assert_string_equal(told(team), "slack:resolved webhook:resolved");
    assert_string_equal(told(boss), "webhook:resolved");
}

/* ---- groups of alerts ---- */

#define HIGH_FP UINT64_C(0x8000000000000001) /* negative in Postgres, last in order */

static const char *alerts_group(struct fixture *f)
{
    const char *g = add_group(&f->now, "{\"job\":\"api\",\"to\":\"alerts\"}", NULL);

    DO("INSERT INTO group_alerts SELECT '" TENANT "', '%s', fingerprint FROM alerts", g);
    DO("UPDATE groups SET since = 1");
    look(g);
    return g;
}

static void test_alerts(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 1, 2);
    add_alert(HIGH_FP, 1, 4);
    DO("UPDATE alerts SET incident_id = ('018f0000-0000-7000-8000-0000000000' || "
       "CASE fingerprint WHEN 5 THEN '0a' ELSE '0b' END)::uuid");
    const char *g = alerts_group(f);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts");
    assert_string_equal(
        TEXT("SELECT concat_ws('|', severity, about->'state'->'alerts', about->>'group_key', "
             "about->'group_labels', incident_id) FROM notifications"),
        "4|[\"0000000000000005\", \"8000000000000001\"]|{}/{to=\"alerts\"}:{job=\"api\"}|{\"job\": "
        "\"api\"}");
    /* one is over: told, and it leaves */
    schema_do(&db, "UPDATE alerts SET status = 2 WHERE fingerprint = 5");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts webhook:alerts");
    assert_string_equal(TEXT("SELECT about->'state'->>'resolved_alerts' FROM notifications WHERE "
                             "seq = 2"),
                        "[\"0000000000000005\"]");
    assert_int_equal(INT("SELECT fingerprint::int8 FROM group_alerts") == (int64_t)HIGH_FP, 1);
    schema_do(&db, "UPDATE alerts SET status = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT about->'state'->>'status' FROM notifications WHERE seq = 3"),
                        "resolved");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
    /* what fires and what is over, each time */
    assert_string_equal(speak_of(g), "alerts:0a alerts:0b alerts:0a alerts:0b alerts:0b");
}

static void test_alerts_over_before_anybody_looked(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 2, 2);
    schema_do(&db, "UPDATE alerts SET starts_at = 5, ended_at = 9");
    const char *g = alerts_group(f);
    DO("UPDATE groups SET since = 4102444800000");
    pass(f, f->timers);
    assert_string_equal(told(g), "");
    add_alert(6, 2, 2);
    schema_do(&db, "UPDATE alerts SET starts_at = 5, ended_at = 9");
    DO("INSERT INTO group_alerts VALUES ('" TENANT "', '%s', 6)", g);
    DO("UPDATE groups SET since = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts");
    assert_string_equal(TEXT("SELECT about->'state'->>'resolved_alerts' FROM notifications"),
                        "[\"0000000000000006\"]");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
}

/* A resolve that failed is said again, although the member has left. */
static void test_a_failed_end_of_alerts(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 1, 2);
    const char *g = alerts_group(f);
    pass(f, f->timers);
    schema_do(&db, "CREATE TEMP TABLE before AS SELECT told FROM groups; UPDATE alerts SET status "
                   "= 2");
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
    schema_do(&db, "UPDATE groups SET told = before.told FROM before; DROP TABLE before");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT about->'state'->>'resolved_alerts' FROM notifications WHERE "
                             "seq = 3"),
                        "[\"0000000000000005\"]");
}

/* A batch that is making the alert fire again holds its row: the member stays. */
static void test_a_member_in_flight_stays(void **state)
{
    struct fixture *f = *state;
    struct pg *batch;

    add_alert(5, 1, 2);
    const char *g = alerts_group(f);
    pass(f, f->timers);
    schema_do(&db, "UPDATE alerts SET status = 2");
    SQL_OK(f, pg_open(&db.settings, "batch", &batch, &f->e));
    SQL_OK(f, pg_connect(batch, &f->e));
    SQL_OK(f, pg_exec(batch,
                      "BEGIN; SELECT FROM alerts FOR NO KEY UPDATE; UPDATE alerts SET "
                      "status = 1",
                      &f->e));
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts webhook:alerts");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 1);
    SQL_OK(f, pg_exec(batch, "COMMIT", &f->e));
    pg_close(batch);
    schema_do(&db, "UPDATE groups SET flushed_at = 1"); /* group_interval is over */
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts webhook:alerts webhook:alerts");
    assert_string_equal(TEXT("SELECT about->'state'->>'status' FROM notifications WHERE seq = 3"),
                        "firing");
}

/* ---- digests ---- */

static void test_a_digest(void **state)
{
    static const char other[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    add_incident(other, 1, 3, 0);
    const char *g = add_group(&f->now, "{\"to\":\"hourly\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1000, 2000), "
       "('" TENANT "', '%s', '%s', 1, 3000, 3000)",
       g, g, other);
    look(g);
    pass(f, f->timers);
    assert_string_equal(
        TEXT("SELECT concat_ws('|', kind, state, severity, incident_id, about->'items') FROM "
             "notifications"),
        sql("digest|pending|3|[{\"last_at\": 3000, \"first_at\": 3000, \"incident\": \"%s\", "
            "\"occurrences\": 1}, {\"last_at\": 2000, \"first_at\": 1000, \"incident\": \"" INCIDENT
            "\", \"occurrences\": 7}]",
            other));
    assert_string_equal(speak_of(g), "digest:01 digest:02");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 0);
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
}

static void test_a_digest_waits_for_its_time(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    const char *g = add_group(&f->now, "{\"to\":\"daily\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 1, "
       "(extract(epoch FROM now()) * 1000)::int8 + 60000, 1)",
       g);
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 1);
    /* nine o'clock in Shanghai is one o'clock UTC */
    assert_int_equal(INT("SELECT due_at %% 86400000 FROM timers WHERE kind = 1"), MS_HOUR);
}

/* ---- silences ---- */

#define SILENCE "018f0000-0000-7000-8000-0000000000ff"

/* Of every alert with this job, for an hour. */
static void silence(const char *job)
{
    unsigned char key[SILENCE_KEY_LEN];
    char hex[2 * SILENCE_KEY_LEN + 1];

    silence_key(SLICE_LIT("job"), slice_of(job), key);
    DO("INSERT INTO silences VALUES ('" TENANT "', '" SILENCE "', '[{\"name\": \"job\", "
       "\"value\": \"%s\"}]', '\\x%s', 0, (extract(epoch FROM now()) * 1000)::int8 + 3600000, "
       "'ann', 'known', 0)",
       job, hex_encode(key, sizeof(key), hex));
}

static void silence_is_over(void)
{
    struct uuid id;

    assert_true(uuid_parse(SLICE_LIT(SILENCE), &id));
    SQL_OK(&db, silence_end(db.pg, SLICE_LIT(TENANT), &id, clock_now_ms(), &db.e));
}

static const char *ledger(void)
{
    return TEXT("SELECT coalesce(string_agg(channel || ':' || kind || ':' || state, ' ' ORDER BY "
                "channel, seq), '') FROM notifications");
}

static void test_a_silenced_incident_is_told_when_that_is_over(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    for (int i = 0; i < 2; i++) { /* it is said once that nothing is said */
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), "slack:opened:suppressed webhook:opened:suppressed");
    }
    assert_non_null(strstr(TEXT("SELECT min(reason) FROM notifications"),
                           "silence " SILENCE " of ann until 2"));
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE ended_at IS NULL"), 0);
    assert_int_equal(
        INT("SELECT min(due_at) - (SELECT ends_at FROM silences) FROM timers WHERE kind = 1"), 0);
    assert_string_equal(TEXT("SELECT concat_ws('|', told->'0'->'last'->>'seq', "
                             "told->'0'->'withheld'->>'seq') FROM groups"),
                        "1");
    /* a raised severity is withheld, too */
    schema_do(&db, "UPDATE incidents SET severity = 3");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:suppressed slack:severity:suppressed "
                                  "webhook:opened:suppressed webhook:severity:suppressed");
    forget();
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over(); /* which wakes the group */
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:pending webhook:opened:pending");
    assert_string_equal(TEXT("SELECT concat_ws('|', told->'0'->'last'->>'severity', "
                             "told->'0'->'withheld'->>'seq') FROM groups"),
                        "3");
}

static void test_a_long_comment_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    silence("api");
    DO("UPDATE silences SET comment = repeat('磁盘', 100)");
    look(add_group(&f->now, "{}", INCIDENT));
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:suppressed webhook:opened:suppressed");
    assert_non_null(strstr(TEXT("SELECT min(reason) FROM notifications"), ": 磁盘磁盘"));
}

/* All that was told of has arrived. */
static void arrive(void)
{
    schema_do(&db, "UPDATE groups SET told = (SELECT jsonb_object_agg(key, value || "
                   "jsonb_build_object('delivered', value -> 'last')) FROM jsonb_each(told))");
}

/* It is told to those who have the newest message, past that silence, as is its end. */
static void test_a_silence_from_a_message(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    silence("api"); /* of somebody else */
    arrive();
    forget();
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "");
    DO("UPDATE incidents SET severity = 3, silence_id = '" SILENCE "'");
    DO("UPDATE groups SET told = told #- '{1,delivered}'");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), "slack:silence:pending slack:severity:suppressed "
                                      "webhook:severity:suppressed");
    }
    assert_string_equal(
        TEXT("SELECT concat_ws('|', about #>> '{state,silenced_by}', (about #>> "
             "'{state,silenced_until}')::int8 - (SELECT ends_at FROM silences), about #>> "
             "'{state,severity}') FROM notifications WHERE kind = 'silence'"),
        "ann|0|2");
    assert_int_equal(
        INT("SELECT min(due_at) - (SELECT ends_at FROM silences) FROM timers WHERE kind = 1"), 0);
    /* it is over: what was kept is told, and says so */
    arrive();
    forget();
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:severity:pending webhook:severity:pending");
    assert_string_equal(TEXT("SELECT told -> '0' -> 'last' ->> 'silenced_until' FROM groups"), "");
    arrive();
    /* or that alone is */
    schema_do(&db, "TRUNCATE silences");
    silence("api");
    look(g);
    pass(f, f->timers);
    arrive();
    forget();
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:silence:pending webhook:silence:pending");
    assert_string_equal(TEXT("SELECT string_agg(about #>> '{state,silenced_until}', '') FROM "
                             "notifications"),
                        "");
}

/* What was over meanwhile is not worth a word; what was told as open is told to be over. */
static void test_a_silenced_incident_that_ends(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    look(g);
    pass(f, f->timers);
    schema_do(&db, "UPDATE incidents SET status = 4; UPDATE alerts SET status = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT string_agg(DISTINCT state, ' ') FROM notifications"),
                        "suppressed");
    silence_is_over();
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE state = 'pending'"), 0);

    forget();
    schema_do(&db, "UPDATE incidents SET status = 1, episode = 2; UPDATE alerts SET status = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:pending webhook:opened:pending");
    forget();
    schema_do(&db, "TRUNCATE silences");
    silence("api");
    schema_do(&db, "UPDATE incidents SET status = 4; UPDATE alerts SET status = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:resolved:pending webhook:resolved:pending");
}

/* One alert that is not silenced is enough. */
static void test_an_incident_that_is_silenced_in_part_is_told(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    add_alert(6, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = ('{\"job\": \"' || CASE "
       "fingerprint WHEN 5 THEN 'api' ELSE 'web' END || '\"}')::jsonb");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:pending webhook:opened:pending");
}

static void test_silenced_alerts_of_a_group(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 1, 2);
    add_alert(6, 1, 2);
    DO("UPDATE alerts SET labels = ('{\"job\": \"' || CASE fingerprint WHEN 5 THEN 'api' ELSE "
       "'web' END || '\"}')::jsonb");
    const char *g = alerts_group(f);
    silence("api");
    pass(f, f->timers);
    assert_string_equal(ledger(), "webhook:alerts:pending");
    assert_string_equal(TEXT("SELECT about->'state'->>'alerts' FROM notifications"),
                        "[\"0000000000000006\"]");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), "webhook:alerts:pending webhook:alerts:suppressed");
    }
    assert_string_equal(TEXT("SELECT about->'state'->>'alerts' FROM notifications WHERE seq = 2"),
                        "[\"0000000000000005\"]");
    /* the other one's end is told without it */
    schema_do(&db, "UPDATE alerts SET status = 2 WHERE fingerprint = 6");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', state, about->'state'->>'alerts', "
                             "about->'state'->>'resolved_alerts') FROM notifications WHERE seq = "
                             "3"),
                        "pending|[\"0000000000000006\"]");
    forget();
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(ledger(), "webhook:alerts:pending");
    assert_string_equal(TEXT("SELECT about->'state'->>'alerts' FROM notifications"),
                        "[\"0000000000000005\"]");
}

static void test_a_digest_leaves_out_what_is_silenced(void **state)
{
    static const char other[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    add_incident(other, 1, 3, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{\"to\":\"hourly\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1000, 2000), "
       "('" TENANT "', '%s', '%s', 1, 3000, 3000)",
       g, g, other);
    silence("api");
    look(g);
    pass(f, f->timers);
    assert_string_equal(speak_of(g), "digest:02");
    look(g);
    pass(f, f->timers);
    assert_string_equal(speak_of(g), "digest:02");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 1);
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(speak_of(g), "digest:02 digest:01");
}

/* ---- configurations that change ---- */

static void test_a_receiver_that_left(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 4, 0);
    const char *g = add_group(&f->now, "{\"severity\":\"critical\"}", INCIDENT);
    f->second = runner(f, &f->later);
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->second);
    }
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver, reason, "
                             "ended_at IS NOT NULL) FROM notifications"),
                        "opened|suppressed||boss|receiver boss is no longer in the "
                        "configuration|t");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
    /* it comes back, and hears what it missed */
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), ":opened webhook:opened");
    assert_int_equal(INT("SELECT count(*) FROM groups WHERE told ? 'gone'"), 0);
}

static void test_a_receiver_without_a_channel(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{\"to\":\"nobody\"}", INCIDENT);
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver, reason, "
                             "ended_at IS NOT NULL) FROM notifications"),
                        "opened|suppressed||page|receiver page has no channel|t");
    /* what it would be told again is no news for the ledger; its end is */
    schema_do(&db, "UPDATE groups SET flushed_at = flushed_at - 10000, told = jsonb_set(told, "
                   "'{none,last,at}', '1')");
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 1);
    schema_do(&db, "UPDATE incidents SET status = 4");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT string_agg(kind || ' ' || state, ' ' ORDER BY seq) FROM "
                             "notifications"),
                        "opened suppressed resolved suppressed");
}

/* That a receiver takes nothing is never told by itself; by its fallback, under the same route. */
static void test_about_the_receiver_itself(void **state)
{
    static const char labels[] = "{\"alertname\":\"TocsinReceiverFailing\",\"failing_receiver\":"
                                 "\"boss\",\"severity\":\"critical\"}";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 4, 0);
    const char *g = add_group(&f->now, labels, INCIDENT);
    DO("UPDATE groups SET routed_by = '%s'", labels);
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver, reason) FROM "
                             "notifications"),
                        "opened|suppressed||boss|it is about receiver boss itself, without a "
                        "fallback");
    schema_do(&db, "DELETE FROM notifications; UPDATE groups SET receiver = 'list', told = '{}', "
                   "flushed_at = NULL");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver) FROM "
                             "notifications"),
                        "opened|pending|webhook|list");
}

/* It knew of the beginning: what it would have been told is the end. */
static void test_a_told_receiver_that_left(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 4, 0);
    const char *g = add_group(&f->now, "{\"severity\":\"critical\"}", INCIDENT);
    look(g);
    pass(f, f->timers);
    f->second = runner(f, &f->later);
    schema_do(&db, "UPDATE incidents SET status = 4");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->second);
    }
    assert_string_equal(told(g), ":resolved webhook:opened");
}

static void test_a_digest_whose_receiver_left(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    const char *g = add_group(&f->now, "{\"to\":\"hourly\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1, 2)", g);
    look(g);
    f->second = runner(f, &f->later);
    pass(f, f->second);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, about->'items'->0->>"
                             "'occurrences') FROM notifications"),
                        "digest|suppressed|7");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 0);
}

/* Its receiver is still there: whoever was told hears the end, nobody anything else. */
static void test_a_route_that_left(void **state)
{
    static const char untold[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_incident(untold, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT), *h = add_group(&f->now, "{}", untold);
    look(g);
    pass(f, f->timers);
    forget();
    f->second = runner(f, &f->later);
    schema_do(&db, "UPDATE incidents SET level = 2");
    look(g);
    look(h);
    pass(f, f->second);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 0);
    schema_do(&db, "UPDATE incidents SET status = 4");
    look(g);
    look(h);
    pass(f, f->second);
    assert_string_equal(told(g), "slack:resolved webhook:resolved");
    assert_string_equal(told(h), "");
}

static void test_an_unknown_time_zone(void **state)
{
    struct fixture *f = *state;
    size_t ran;

    f->now.settings.time_zone = "Mars/Olympus";
    f->second = runner(f, &f->now);
    assert_int_equal(timers_pass(f->second, &ran, &f->e), -EINVAL);
    assert_string_equal(f->e.msg, "receiver team: Postgres knows no time zone Mars/Olympus");
}

/* ---- wake-ups ---- */

struct heard {
    char text[4096];
    size_t n;
};

static void hear(void *ctx, const struct kafka_message *m)
{
    struct heard *h = ctx;
    const size_t used = strlen(h->text);

    assert_int_equal(m->key.len, 16);
    assert_true(slice_is(kafka_message_header(m, "v"), "1"));
    (void)snprintf(h->text + used, sizeof(h->text) - used, "%s %.*s %.*s;", m->topic,
                   SLICE_FMT(m->value), SLICE_FMT(kafka_message_header(m, "tenant")));
    h->n++;
}

static void test_wakeups(void **state)
{
    static const char *const read[] = {"notify.email", NULL};
    static const char mail[] = "receivers: [{name: m, email_configs: [{to: a@b}]}]\n"
                               "route: {receiver: m, group_by: [incident], group_wait: 0s}\n";
    struct fixture *f = *state;
    struct heard heard = {.n = 0};
    struct world w = {0};

    world_load(&w, mail);
    add_incident(INCIDENT, 1, 2, 1);
    look(add_group(&w, "{}", INCIDENT));
    f->second = runner(f, &w);
    pass(f, f->second);
    assert_int_equal(kafka_flush(f->producer, 10000), 0);
    broker_read(&broker, "wakeups", read, 2, hear, &heard);
    assert_string_equal(heard.text,
                        TEXT("SELECT string_agg('notify.email ' || id || ' " TENANT ";', '' ORDER "
                             "BY seq) FROM notifications"));
    timers_free(f->second);
    f->second = NULL;
    conf_free(w.conf);
}

/* ---- transactions ---- */

/* The incident ends while a flush that did not see it is under way. */
static void test_a_change_between_flush_and_commit(void **state)
{
    struct fixture *f = *state;
    const struct flush_settings s = {
        .routes = f->now.routes, .receivers = &f->now.receivers, .time_zone = "UTC"};
    struct flush_subject subject = {.tenant = SLICE_LIT(TENANT)};
    struct flushed out;
    struct pg *flusher;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    assert_true(uuid_parse(slice_of(g), &subject.group));
    SQL_OK(f, pg_open(&db.settings, "flusher", &flusher, &f->e));
    SQL_OK(f, pg_connect(flusher, &f->e));
    SQL_OK(f, pg_begin(flusher, &f->e));
    const struct flush_subjects v = {.v = &subject, .n = 1, .now_ms = 100000};
    SQL_OK(f, flush_groups(&s, flusher, db.arena, &v, &out, &f->e));
    assert_int_equal(out.created[DUE_OPENED], 2);
    assert_int_equal(out.wakeup_n, 2);

    schema_do(&db, "UPDATE incidents SET status = 4");
    look(g);
    assert_string_equal(told(g), "");
    SQL_OK(f, pg_commit(flusher, &f->e));
    pg_close(flusher);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:opened slack:resolved webhook:opened webhook:resolved");
}

/* What cannot be done leaves its timer. */
static void test_a_failed_pass_changes_nothing(void **state)
{
    struct fixture *f = *state;
    size_t ran;

    add_incident(INCIDENT, 1, 2, 0);
    look(add_group(&f->now, "{}", INCIDENT));
    schema_do(&db, "ALTER TABLE notifications RENAME TO elsewhere");
    const int rc = timers_pass(f->timers, &ran, &f->e);
    schema_do(&db, "ALTER TABLE elsewhere RENAME TO notifications");
    assert_int_equal(rc, -EIO);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND failures = 0"), 1);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 0);
}

/* ---- subjects that cannot be worked on ---- */

#define FAILED "tocsin_processor_timers_failed_total"
#define PARKED "SELECT count(*) FROM timers WHERE failures = %d"

static long long failed(const char *kind)
{
    return (long long)counter_value(counter_new(FAILED, "", sql("kind=\"%s\"", kind)));
}

/* Two of many groups: Postgres takes no notification of one, and of the other what was told is
 * unreadable. Everybody else is told at once. */
static void test_groups_that_cannot_be_flushed(void **state)
{
    struct fixture *f = *state;
    const char *group[25];
    const size_t n = sizeof(group) / sizeof(*group);
    const long long before = failed("group");

    for (unsigned i = 0; i < n; i++) {
        const char *id = sql("018f0000-0000-7000-8000-%012u", i);

        add_incident(id, 1, 2, 0);
        group[i] = add_group(&f->now, "{}", id);
        look(group[i]);
    }
    DO("UPDATE groups SET told = '[]' WHERE id = '%s'", group[3]);
    DO("ALTER TABLE notifications ADD CONSTRAINT sane CHECK (group_id <> '%s')", group[17]);
    assert_int_equal(pass(f, f->timers), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(told(group[i]), i == 3 || i == 17 ? "" : "slack:opened webhook:opened");
    assert_int_equal(INT(PARKED, 1), 2);
    assert_int_equal(failed("group") - before, 2);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE reason LIKE '%%23514%%sane%%' AND "
                         "subject = uuid_send('%s')",
                         group[17]),
                     1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE reason LIKE 'groups.told%%' AND "
                         "subject = uuid_send('%s')",
                         group[3]),
                     1);
    assert_int_equal(pass(f, f->timers), 0); /* not now */
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE failures > 0 AND due_at <= "
                         "(extract(epoch FROM now()) * 1000)::int8"),
                     0);

    /* mended: the next look tells them, and nothing is left */
    schema_do(&db, "ALTER TABLE notifications DROP CONSTRAINT sane; UPDATE groups SET told = '{}' "
                   "WHERE told = '[]'; UPDATE timers SET due_at = 0 WHERE failures > 0");
    assert_int_equal(pass(f, f->timers), 2);
    assert_string_equal(told(group[3]), "slack:opened webhook:opened");
    assert_string_equal(told(group[17]), "slack:opened webhook:opened");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE failures > 0"), 0);
}

/* It is put off longer each time, up to a bound; news look at once, and add no second timer. */
static void test_a_parked_group_backs_off(void **state)
{
    struct fixture *f = *state;
    long long last = 0;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    schema_do(&db, "UPDATE groups SET told = '[]'");
    for (int i = 1; i <= 40; i++) {
        look(g);
        if (i % 2)
            schema_do(&db, "UPDATE timers SET due_at = 0 WHERE failures > 0");
        pass(f, f->timers);
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 1);
        assert_int_equal(INT("SELECT failures FROM timers WHERE kind = 1"), i);
        const long long due = INT("SELECT due_at FROM timers WHERE kind = 1");
        assert_true(due >= last);
        last = due;
    }
    assert_true(INT("SELECT due_at - (extract(epoch FROM now()) * 1000)::int8 FROM timers WHERE "
                    "kind = 1") <= 10 * MS_MINUTE);
}

static void test_an_alert_that_cannot_end(void **state)
{
    struct fixture *f = *state;
    const long long before = failed("alert");

    for (int i = 1; i <= 7; i++)
        DO("INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 2, 'a', "
           "'\\x000000000000000%d')",
           i);
    f->expire_breaks = 5;
    assert_int_equal(pass(f, f->timers), 7);
    assert_int_equal(f->silent_n, 6);
    for (size_t i = 0; i < f->silent_n; i++)
        assert_true(f->silent[i].fingerprint != 5);
    assert_string_equal(TEXT("SELECT encode(subject, 'hex') FROM timers WHERE failures = 1 AND "
                             "kind = 2 AND reason LIKE '%%22012%%'"),
                        "0000000000000005");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 1);
    assert_int_equal(failed("alert") - before, 1);
    f->expire_breaks = 0;
    schema_do(&db, "UPDATE timers SET due_at = 0 WHERE failures > 0");
    assert_int_equal(pass(f, f->timers), 1);
    assert_int_equal(f->silent_n, 7);
}

/* A month's partition that cannot be made, as rows of that month are in the default one already, is
 * no reason to stop telling people. */
static void test_housekeeping_that_fails(void **state)
{
    struct fixture *f = *state;

    pass(f, f->timers);
    DO("DROP TABLE timeline_%s; INSERT INTO timeline (tenant, incident_id, at, cause, kind, body) "
       "SELECT '" TENANT "', '" INCIDENT "', (extract(epoch FROM date_trunc('month', now() AT TIME "
       "ZONE 'UTC' + interval '3 months')) * 1000)::int8 + 5, '', '', ''; UPDATE timers SET due_at "
       "= 5 WHERE kind = 3",
       TEXT("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYYMM')"));
    const size_t ran = pass(f, f->timers);
    schema_do(&db, "TRUNCATE timeline; SELECT partitions_ahead(3)");
    assert_int_equal(ran, 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3 AND failures = 1 AND reason "
                         "LIKE '%%23514%%'"),
                     1);
}

static void test_a_group_that_is_no_more(void **state)
{
    struct fixture *f = *state;

    look(INCIDENT);
    schema_do(&db,
              "INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 1, 't', '\\x01')");
    assert_int_equal(pass(f, f->timers), 2);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
}

#define CROWD 120
#define LOOKS 4

struct racer {
    pthread_t thread;
    struct timers *timers;
    int rc;
};

static void *race(void *ctx)
{
    struct racer *r = ctx;
    struct err e = {0};

    for (int i = 0; i < 400; i++) {
        size_t ran = 0;

        r->rc = timers_pass(r->timers, &ran, &e);
        if (r->rc == -EAGAIN)
            continue;
        if (r->rc < 0 || ran == 0)
            break;
    }
    return NULL;
}

static void test_two_runners_double_nothing(void **state)
{
    struct fixture *f = *state;
    struct racer racers[2];

    f->now.settings.processor.timer_batch = 7;
    f->second = runner(f, &f->now);
    for (unsigned i = 0; i < CROWD; i++) {
        const char *id = sql("018f0000-0000-7000-8000-%012u", i);

        add_incident(id, 1, 2, 1);
        const char *g = add_group(&f->now, "{}", id);
        for (int j = 0; j < LOOKS; j++)
            look(g);
    }
    racers[0] = (struct racer){.timers = f->timers};
    racers[1] = (struct racer){.timers = f->second};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        (void)pthread_join(racers[i].thread, NULL);
        assert_int_equal(racers[i].rc, 0);
    }
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND due_at = 1"), 0);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), CROWD * 4);
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE kind = 'opened'"), CROWD * 2);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), CROWD);
}

/* ---- other kinds ---- */

static void test_alerts_that_may_have_ended(void **state)
{
    struct fixture *f = *state;
    size_t ran;

    schema_do(&db, "INSERT INTO timers (due_at, kind, tenant, subject) VALUES "
                   "(1, 2, 'b', '\\x8000000000000001'), (2, 2, 'b', '\\x8000000000000001'), "
                   "(1, 2, 'a', '\\x0000000000000002'), (4102444800000, 2, 'a', "
                   "'\\x0000000000000002')");
    f->expire_answer = -ENOTCONN;
    assert_int_equal(timers_pass(f->timers, &ran, &f->e), -ENOTCONN);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 4);
    assert_int_equal(INT("SELECT count(*) FROM beats"), 0);

    f->silent_n = 0;
    f->expire_answer = 0;
    assert_int_equal(pass(f, f->timers), 3);
    assert_int_equal(f->silent_n, 2);
    assert_int_equal(f->silent[0].fingerprint, 2);
    assert_true(f->silent[1].fingerprint == HIGH_FP);
    assert_int_equal(INT("SELECT count(*) FROM beats"), 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 1);
}

/* What is listed still, or may still be ended, stays. */
static void test_silences_that_are_long_over_go(void **state)
{
    struct fixture *f = *state;

    pass(f, f->timers);
    DO("INSERT INTO silences SELECT '" TENANT "', md5(k || i)::uuid, '[]', '', 0, (extract(epoch "
       "FROM now()) * 1000)::int8 + age, 'ann', '', 0 FROM (VALUES ('old', -31 * 86400000::int8, "
       "4500), ('listed', -29 * 86400000::int8, 1), ('now', 3600000, 1)) v (k, age, n), "
       "generate_series(1, n) i");
    DO("INSERT INTO silenced_groups SELECT tenant, id, g FROM silences, (VALUES (md5('g')::uuid), "
       "(md5('h')::uuid)) v (g)");
    DO("INSERT INTO silenced_groups VALUES ('" TENANT "', md5('none')::uuid, md5('g')::uuid)");
    DO("UPDATE timers SET due_at = 5 WHERE kind = 3");
    assert_int_equal(pass(f, f->timers), 1);
    assert_string_equal(TEXT("SELECT string_agg(CASE id WHEN md5('listed1')::uuid THEN 'listed' "
                             "WHEN md5('now1')::uuid THEN 'now' ELSE 'old' END, ' ' ORDER BY "
                             "ends_at) FROM silences"),
                        "listed now");
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups"), 2);
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups WHERE silence_id = "
                         "md5('now1')::uuid"),
                     2);
}

static void test_housekeeping(void **state)
{
    struct fixture *f = *state;

    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3"), 1);
    DO("INSERT INTO delivery_ids SELECT '" TENANT
       "', 's', i::text, 1 FROM generate_series(1, 4500) "
       "i; INSERT INTO delivery_ids VALUES ('" TENANT "', 's', 'young', 4102444800000); "
       "INSERT INTO beats (ingest, since, last_at) VALUES ('old', 1, 1), ('young', 1, "
       "4102444800000); DROP TABLE IF EXISTS timeline_%s; UPDATE timers SET due_at = 5 WHERE kind "
       "= 3",
       TEXT("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYYMM')"));
    assert_int_equal(pass(f, f->timers), 1);
    assert_string_equal(TEXT("SELECT id FROM delivery_ids"), "young");
    assert_string_equal(TEXT("SELECT ingest FROM beats"), "young");
    assert_int_equal(INT("SELECT count(*) FROM pg_tables WHERE schemaname = '" SCHEMA_NAME
                         "' AND tablename = 'timeline_' || to_char(now() AT TIME ZONE 'UTC' + "
                         "interval '3 months', 'YYYYMM')"),
                     1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3 AND due_at > 5"), 1);
}

/* ---- topics ---- */

static bool broker_knows(const char *topic)
{
    const struct rd_kafka_metadata *md;
    bool found = false;

    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", broker.settings.brokers, NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_int_equal(rd_kafka_metadata(rk, 1, NULL, &md, 10000), 0);
    for (int i = 0; i < md->topic_cnt; i++)
        found |= strcmp(md->topics[i].topic, topic) == 0;
    rd_kafka_metadata_destroy(md);
    rd_kafka_destroy(rk);
    return found;
}

/* librdkafka may take a second for the first record of a topic that nobody asked about. (The mock
 * cluster shows who asked: it makes any topic that is asked about, whatever the client says.) */
static void test_topics_are_looked_up_before_they_are_written(void **state)
{
    static const char *const written[] = {"unit.dead", "unit.repairs", "unit.playbooks",
                                          "unit.notify.wecom", "unit.notify.email"};
    const int64_t deadline = clock_monotonic_ms() + 60 * MS_SECOND;

    (void)state; /* its runner was made, and has done nothing */
    for (size_t i = 0; i < sizeof(written) / sizeof(*written); i++) {
        while (!broker_knows(written[i])) {
            if (clock_monotonic_ms() > deadline)
                fail_msg("nobody asked about %s", written[i]);
            (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
    }
}

/* ---- the thread ---- */

static void wait_for(const char *query)
{
    const int64_t deadline = clock_monotonic_ms() + 60 * MS_SECOND;

    while (!schema_int(&db, query)) {
        if (clock_monotonic_ms() > deadline)
            fail_msg("this never came true: %s", query);
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static void test_the_runner(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    f->now.settings.processor.timer_idle = MS_HOUR; /* so that only a kick or a timer wakes it */
    SQL_OK(f, timers_start(f->timers, &f->e));
    wait_for("SELECT count(*) FROM timers WHERE kind = 3");
    look(add_group(&f->now, "{}", INCIDENT));
    schema_do(&db, "INSERT INTO outbox (topic, value) VALUES ('notify.slack', 'x')");
    timers_kick(f->timers);
    wait_for("SELECT count(*) = 2 FROM notifications");
    wait_for("SELECT count(*) = 0 FROM outbox");
    /* it sleeps until the next timer, not for an hour */
    schema_do(&db, "UPDATE incidents SET level = 1; INSERT INTO timers (due_at, kind, tenant, "
                   "subject) SELECT (extract(epoch FROM now()) * 1000)::int8 + 100, 1, tenant, "
                   "uuid_send(id) FROM groups");
    timers_kick(f->timers);
    wait_for("SELECT count(*) = 4 FROM notifications");
    timers_stop(f->timers);
    schema_do(&db, "UPDATE incidents SET status = 4; UPDATE timers SET due_at = 1 WHERE kind = 1");
    timers_kick(f->timers);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND due_at = 1"), 1);
}

/* A timer that is long due and another's is no reason to sleep for ever. */
static void test_the_runner_beside_a_claim(void **state)
{
    struct fixture *f = *state;
    struct pg *holder;

    add_incident(INCIDENT, 1, 2, 0);
    look(add_group(&f->now, "{}", INCIDENT));
    SQL_OK(f, pg_open(&db.settings, "holder", &holder, &f->e));
    SQL_OK(f, pg_connect(holder, &f->e));
    SQL_OK(f, pg_exec(holder, "BEGIN; SELECT FROM timers FOR UPDATE", &f->e));
    SQL_OK(f, timers_start(f->timers, &f->e));
    wait_for("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tocsin-processor "
             "timers' AND state = 'idle' AND query LIKE '%FROM outbox)%'");
    pg_close(holder);
    timers_kick(f->timers);
    wait_for("SELECT count(*) = 2 FROM notifications");
}

/* Postgres ends its connection under it. */
static void test_the_runner_survives_postgres(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    f->now.settings.processor.timer_idle = 20;
    SQL_OK(f, timers_start(f->timers, &f->e));
    wait_for("SELECT count(*) FROM timers WHERE kind = 3");
    schema_do(&db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name "
                   "= 'tocsin-processor timers'");
    look(add_group(&f->now, "{}", INCIDENT));
    wait_for("SELECT count(*) = 2 FROM notifications");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_topics_are_looked_up_before_they_are_written),
        TEST(test_opening),
        TEST(test_a_spurious_look_says_nothing),
        TEST(test_the_end_and_again),
        TEST(test_over_before_anybody_looked),
        TEST(test_another_owner),
        TEST(test_integrations_are_told_apart),
        TEST(test_a_raised_severity_moves),
        TEST(test_alerts),
        TEST(test_alerts_over_before_anybody_looked),
        TEST(test_a_failed_end_of_alerts),
        TEST(test_a_member_in_flight_stays),
        TEST(test_a_digest),
        TEST(test_a_digest_waits_for_its_time),
        TEST(test_a_silenced_incident_is_told_when_that_is_over),
        TEST(test_a_long_comment_is_cut_between_characters),
        TEST(test_a_silence_from_a_message),
        TEST(test_a_silenced_incident_that_ends),
        TEST(test_an_incident_that_is_silenced_in_part_is_told),
        TEST(test_silenced_alerts_of_a_group),
        TEST(test_a_digest_leaves_out_what_is_silenced),
        TEST(test_a_receiver_that_left),
        TEST(test_a_receiver_without_a_channel),
        TEST(test_about_the_receiver_itself),
        TEST(test_a_told_receiver_that_left),
        TEST(test_a_digest_whose_receiver_left),
        TEST(test_a_route_that_left),
        TEST(test_an_unknown_time_zone),
        TEST(test_wakeups),
        TEST(test_a_change_between_flush_and_commit),
        TEST(test_a_failed_pass_changes_nothing),
        TEST(test_groups_that_cannot_be_flushed),
        TEST(test_a_parked_group_backs_off),
        TEST(test_an_alert_that_cannot_end),
        TEST(test_housekeeping_that_fails),
        TEST(test_a_group_that_is_no_more),
        TEST(test_two_runners_double_nothing),
        TEST(test_alerts_that_may_have_ended),
        TEST(test_silences_that_are_long_over_go),
        TEST(test_housekeeping),
        TEST(test_the_runner),
        TEST(test_the_runner_beside_a_claim),
        TEST(test_the_runner_survives_postgres),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
