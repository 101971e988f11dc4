/* Rules on a real PostgreSQL: posts go through decoding, one batch each unless a test says
 * otherwise, and flushes look in virtual time: who is told what, when, through which channel. */
#include "schema.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "processor/commit.h"
#include "processor/flush.h"

#define TOPIC "raw.any"
#define GROUP ((struct offset_group){"processor", "cluster"})
#define MIDNIGHT INT64_C(1767312000000) /* 2026-01-02 00:00:00 UTC */
#define AT(h, m) (MIDNIGHT + ((h)*60 + (m)) * INT64_C(60000))

/* Severities stay what the posts say: thresholds are far away. */
#define ROUTES                                                                                     \
    "frequency: {repeat: 1000, escalate: 1001, permanent_fix: 1002}\n"                             \
    "receivers:\n"                                                                                 \
    "  - name: team\n"                                                                             \
    "    webhook_configs: [{url: 'http://a'}]\n"                                                   \
    "    slack_configs: [{api_url: 'http://b'}]\n"                                                 \
    "  - name: dba\n"                                                                              \
    "    webhook_configs: [{url: 'http://c'}]\n"                                                   \
    "route:\n"                                                                                     \
    "  receiver: team\n"                                                                           \
    "  group_by: [incident]\n"                                                                     \
    "  group_wait: 0s\n"                                                                           \
    "  group_interval: 0s\n"                                                                       \
    "  routes:\n"                                                                                  \
    "    - matchers: ['severity=\"warning\"']\n"                                                   \
    "      digest: 15m\n"

static struct server_db {
    struct schema db;
    uint32_t tenants;
    int64_t next;
    struct arena *a;
} st;

static int open_all(void **state)
{
    const struct offset_group g = GROUP;
    struct offset_row row = {.topic = TOPIC, .high = -1};

    (void)state;
    schema_open(&st.db);
    st.a = arena_new((size_t)64 << 20);
    SQL_OK(&st.db, offsets_load(st.db.pg, st.db.arena, &g, &row, 1, &st.db.e));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    schema_close(&st.db);
    arena_free(st.a);
    return 0;
}

/* One configuration at work, and one tenant. */
struct stage {
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
    const struct rules *rules;
    struct source_entries sources;
    struct committer *committer;
    atomic_bool stop;
    const char *tenant;
    struct batch *gathering; /* NULL: each post is a batch */
};

static void stage_open(struct stage *s, const char *tenant, const char *rules)
{
    struct err e = {0};

    *s = (struct stage){.tenant = tenant ? tenant : arena_printf(st.a, "t%u", ++st.tenants)};
    if (conf_parse("t.yml", arena_printf(st.a, "%sredis: {url: ''}\n%s", ROUTES, rules), NULL,
                   &s->conf, &e) < 0 ||
        settings_load(s->conf, &s->settings, &e) < 0 ||
        receivers_load(&s->settings, &s->receivers, &e) < 0 ||
        route_load(&s->settings, &s->receivers, &s->routes, &e) < 0 ||
        source_entries_load(&s->settings, &s->sources, &e) < 0 ||
        rules_load(&s->settings, &s->sources, &s->receivers, s->routes, &s->rules, &e) < 0)
        fail_msg("%s", e.msg);
    s->settings.postgres = st.db.settings;
    const struct committer_options o = {.settings = &s->settings,
                                        .routes = s->routes,
                                        .rules = s->rules,
                                        .group = GROUP,
                                        .stop = &s->stop};
    SQL_OK(&st.db, committer_new(&o, &s->committer, &st.db.e));
}

static void stage_close(struct stage *s)
{
    committer_free(s->committer);
    conf_free(s->conf);
}

/* ---- what is posted ---- */

static void commit(struct stage *s, struct batch *b)
{
    struct err e = {0};

    if (committer_run(s->committer, b, &e) < 0)
        fail_msg("%s", e.msg);
    st.next += (int64_t)b->n;
    batch_free(b);
}

static struct batch *batch_open(void)
{
    struct batch *b = batch_new(16, 1, (size_t)64 << 20);

    assert_non_null(b);
    b->positions[b->position_n++] = (struct batch_position){.topic = TOPIC, .expected = st.next};
    return b;
}

static void post_as(struct stage *s, int64_t at, const char *source, const char *body)
{
    struct batch *b = s->gathering ? s->gathering : batch_open();
    char id[UUID_STR];
    const struct uuid request = uuid7_new(at);
    struct kafka_message m = {.topic = TOPIC,
                              .offset = st.next + (int64_t)b->n,
                              .key = SLICE_LIT("k"),
                              .value = slice_of(body)};
    const struct kafka_header h[] = {
        {"v", SLICE_LIT(RECORD_VERSION)},
        {"tenant", slice_of(s->tenant)},
        {"source", slice_of(source)},
        {"request_id", slice_of(arena_printf(st.a, "%s", uuid_format(&request, id)))},
        {"received_at", slice_of(arena_printf(st.a, "%lld", (long long)at))},
    };

    batch_add_with(b, &m, h, 5, &s->settings, &s->sources);
    if (b->v[b->n - 1].fate != FATE_ALERTS)
        fail_msg("%s: %s", source, b->v[b->n - 1].reason);
    if (!s->gathering)
        commit(s, b);
}

/* Without an identity: each post is one occurrence. */
static void post(struct stage *s, int64_t at, const char *severity)
{
    post_as(s, at, "generic",
            arena_printf(st.a,
                         "{\"title\":\"Connection failed\",\"service\":\"redis\",\"error_type\":"
                         "\"connection_failed\",\"severity\":\"%s\"}",
                         severity));
}

static void post_end(struct stage *s, int64_t at)
{
    post_as(s, at, "generic",
            "{\"title\":\"Connection failed\",\"service\":\"redis\",\"error_type\":"
            "\"connection_failed\",\"status\":\"resolved\"}");
}

static void post_sentry(struct stage *s, int64_t at, const char *event, const char *fingerprint)
{
    post_as(s, at, "sentry",
            arena_printf(st.a,
                         "{\"action\":\"triggered\",\"data\":{\"event\":{\"event_id\":\"%s\","
                         "\"issue_id\":\"7\",\"title\":\"Timeout: no answer\",\"project_slug\":"
                         "\"api\",\"fingerprint\":%s}}}",
                         event, fingerprint));
}

/* ---- who is told ---- */

static void look(struct stage *s, int64_t now_ms)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)16 << 20);
    const struct flush_settings fs = {
        .routes = s->routes, .rules = s->rules, .receivers = &s->receivers, .time_zone = "UTC"};
    struct flush_subject v[8];
    struct flush_subjects subjects = {.v = v, .now_ms = now_ms};
    struct flushed done;
    struct pg_args *p = pg_args(a);

    pg_text(p, slice_of(s->tenant));
    SQL_OK(&st.db, pg_begin(st.db.pg, &st.db.e));
    SQL_OK(&st.db, pg_query(st.db.pg, "SELECT id FROM groups WHERE tenant = $1 ORDER BY since, id",
                            p, &rows, &st.db.e));
    for (int i = 0; i < PQntuples(rows) && i < 8; i++) {
        v[subjects.n].tenant = slice_of(s->tenant);
        memcpy(v[subjects.n++].group.b, pg_get_uuid(rows, i, 0), 16);
    }
    SQL_OK(&st.db, flush_groups(&fs, st.db.pg, a, &subjects, &done, &st.db.e));
    SQL_OK(&st.db, pg_commit(st.db.pg, &st.db.e));
}

static const char *ask(const struct stage *s, const char *sql)
{
    const char *mark = strstr(sql, "%s");

    assert_non_null(mark);
    return schema_text(
        &st.db, arena_printf(st.a, "%.*s'%s'%s", (int)(mark - sql), sql, s->tenant, mark + 2));
}

static const char *told(const struct stage *s)
{
    return ask(s, "SELECT coalesce(string_agg(concat_ws(' ', receiver, nullif(channel, ''), kind, "
                  "to_char(to_timestamp(created_at / 1000) AT TIME ZONE 'UTC', 'HH24:MI'), "
                  "nullif(about ->> 'rule', ''), nullif(reason, '')), ', ' ORDER BY created_at, "
                  "receiver, channel DESC, seq), '') FROM notifications WHERE tenant = %s");
}

static const char *news(const struct stage *s)
{
    return ask(s, "SELECT coalesce(string_agg(body, ', ' ORDER BY at, body), '') FROM timeline "
                  "WHERE kind = 'rule' AND tenant = %s");
}

/* ---- what a rule does ---- */

static void test_immediate(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: now, match: {fingerprint: [redis, 'connection_*']}, action: "
               "immediate}]\n");
    post(&s, AT(3, 7), "warning");
    look(&s, AT(3, 7));
    assert_string_equal(told(&s), "team webhook opened 03:07 now, team slack opened 03:07 now");
    post_end(&s, AT(3, 8));
    look(&s, AT(3, 8));
    look(&s, AT(3, 15));
    assert_string_equal(told(&s), "team webhook opened 03:07 now, team slack opened 03:07 now, "
                                  "team webhook resolved 03:08 now, team slack resolved 03:08 now");
    assert_string_equal(news(&s), "");
    stage_close(&s);
}

static void test_summaries(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: hourly, match: {level: critical}, action: hourly_summary, channels: "
               "[slack]},\n"
               "        {name: daily, action: daily_digest, channels: [webhook]}]\n");
    post(&s, AT(3, 7), "critical");
    look(&s, AT(3, 59));
    assert_string_equal(told(&s), "");
    look(&s, AT(4, 0));
    assert_string_equal(told(&s), "team slack digest 04:00 hourly");
    stage_close(&s);

    stage_open(&s, NULL, "rules: [{name: daily, action: daily_digest, channels: [webhook]}]\n");
    post(&s, AT(3, 7), "warning");
    look(&s, AT(23, 59));
    assert_string_equal(told(&s), "");
    look(&s, AT(24, 0));
    assert_string_equal(told(&s), "team webhook digest 00:00 daily");
    stage_close(&s);
}

static void test_channels_and_receiver(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: chat, match: {level: error}, channels: [slack]},\n"
               "        {name: base, match: {level: critical}, receiver: dba}]\n");
    post(&s, AT(3, 7), "error");
    look(&s, AT(3, 7));
    assert_string_equal(told(&s), "team slack opened 03:07 chat");
    post_end(&s, AT(3, 8));
    look(&s, AT(3, 8));
    assert_string_equal(told(&s), "team slack opened 03:07 chat, team slack resolved 03:08 chat");
    stage_close(&s);

    stage_open(&s, NULL, "rules: [{name: base, match: {level: critical}, receiver: dba}]\n");
    post(&s, AT(3, 7), "critical");
    look(&s, AT(3, 7));
    assert_string_equal(told(&s), "dba webhook opened 03:07 base");
    stage_close(&s);
}

static void test_the_page_alone(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL, "rules: [{name: quiet, channels: [dashboard]}]\n");
    post(&s, AT(3, 7), "critical");
    look(&s, AT(3, 7));
    look(&s, AT(9, 7));
    assert_string_equal(told(&s), "team dashboard opened 03:07 quiet rule \"quiet\": shown on the "
                                  "page alone");
    assert_string_equal(ask(&s, "SELECT string_agg(state, ' ') FROM notifications WHERE tenant = "
                                "%s"),
                        "suppressed");
    stage_close(&s);
}

/* ---- a rate ---- */

#define STORM                                                                                      \
    "rules: [{name: storm, match: {fingerprint: [redis, '*'], rate: '> 2 per hour'}, receiver: "   \
    "dba, action: immediate}]\n"

/* It moves once, as news; who was told before hears the end. */
static void test_a_rate_moves_the_incident(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL, STORM);
    for (int i = 0; i < 6; i++) {
        post(&s, AT(3, 7 + i), "critical");
        look(&s, AT(3, 7 + i));
    }
    assert_string_equal(told(&s), "team webhook opened 03:07, team slack opened 03:07, "
                                  "dba webhook opened 03:09 storm");
    assert_string_equal(news(&s), "rule \"storm\" from here on: 3 occurrences, > 2 per hour");
    assert_string_equal(ask(&s, "SELECT crossed_rules FROM incidents WHERE tenant = %s"), "storm");
    /* the rate has fallen */
    post(&s, AT(9, 0), "critical");
    look(&s, AT(9, 0));
    post_end(&s, AT(9, 1));
    look(&s, AT(9, 1));
    assert_string_equal(told(&s),
                        "team webhook opened 03:07, team slack opened 03:07, "
                        "dba webhook opened 03:09 storm, dba webhook repeat 09:00 storm, "
                        "dba webhook resolved 09:01 storm, team webhook resolved 09:01, team slack "
                        "resolved 09:01");
    /* the next one begins where the route says */
    post(&s, AT(12, 0), "critical");
    look(&s, AT(12, 0));
    assert_string_equal(ask(&s, "SELECT string_agg(receiver, ' ') FROM notifications WHERE "
                                "created_at >= 1767355200000 AND tenant = %s"),
                        "team team");
    stage_close(&s);
}

static void test_a_rate_exceeded_within_a_batch(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL, STORM);
    s.gathering = batch_open();
    for (int i = 0; i < 5; i++)
        post(&s, AT(3, 7) + i, "critical");
    commit(&s, s.gathering);
    s.gathering = NULL;
    look(&s, AT(3, 8));
    assert_string_equal(told(&s), "dba webhook opened 03:08 storm");
    assert_string_equal(news(&s), "rule \"storm\" from here on: 3 occurrences, > 2 per hour");
    stage_close(&s);
}

/* The first two are told by the route's digest; what comes later stays in the rule's, though the
 * rate has long fallen. */
static void test_a_rate_that_makes_a_digest(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: noise, match: {level: warning, rate: '>= 3 per 15m'}, action: "
               "daily_digest, channels: [slack]}]\n");
    for (int i = 0; i < 4; i++)
        post(&s, AT(3, 2 + i), "warning");
    look(&s, AT(3, 15));
    post(&s, AT(8, 0), "warning");
    look(&s, AT(8, 15));
    look(&s, AT(24, 0));
    assert_string_equal(told(&s), "team webhook digest 03:15, team slack digest 03:15, "
                                  "team slack digest 00:00 noise");
    assert_string_equal(
        ask(&s, "SELECT string_agg(about #>> '{items,0,occurrences}', ' ' ORDER BY created_at) "
                "FROM notifications WHERE channel = 'slack' AND tenant = %s"),
        "3 2");
    stage_close(&s);
}

/* An incident that was critical once stays so; digests go by the severity of each occurrence. */
static void test_a_rate_of_a_lesser_severity(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: noise, match: {level: warning, rate: '>= 3 per 15m'}, action: "
               "daily_digest}]\n");
    post(&s, AT(3, 2), "critical");
    for (int i = 0; i < 4; i++)
        post(&s, AT(3, 3 + i), "warning");
    assert_string_equal(
        ask(&s, "SELECT string_agg(substr(g.route, 67) || ':' || d.occurrences, ' ' ORDER BY "
                "g.since) FROM digest_items d JOIN groups g ON g.tenant = d.tenant AND g.id = "
                "d.group_id WHERE g.tenant = %s"),
        ":2 noise:2");
    stage_close(&s);
}

/* Crossed in one episode, not in the next. */
static void test_a_rate_begins_anew_with_the_episode(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "aggregation: {window: 5h}\n"
               "rules: [{name: storm, match: {rate: '> 2 per hour'}, receiver: dba}]\n");
    for (int i = 0; i < 3; i++)
        post(&s, AT(3, 7 + i), "critical");
    look(&s, AT(3, 9));
    post_end(&s, AT(3, 10));
    look(&s, AT(3, 10));
    post(&s, AT(7, 0), "critical");
    look(&s, AT(7, 0));
    assert_string_equal(told(&s), "dba webhook opened 03:09 storm, dba webhook resolved 03:10 "
                                  "storm, team webhook opened 07:00, team slack opened 07:00");
    assert_string_equal(ask(&s, "SELECT crossed_rules FROM incidents WHERE tenant = %s"), "");
    stage_close(&s);
}

/* ---- staying where it is ---- */

/* Under a rule that says when, a severity that changes the route changes nothing. */
static void test_a_raised_severity_under_a_rule(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL, "rules: [{name: now, action: immediate, channels: [slack]}]\n");
    post(&s, AT(3, 7), "warning");
    look(&s, AT(3, 7));
    post(&s, AT(3, 8), "critical");
    look(&s, AT(3, 8));
    post_end(&s, AT(3, 9));
    look(&s, AT(3, 9));
    assert_string_equal(told(&s),
                        "team slack opened 03:07 now, team slack severity 03:08 now, team "
                        "slack resolved 03:09 now");
    stage_close(&s);
}

/* ... and a rule of one severity is left with it. */
static void test_a_raised_severity_out_of_a_rule(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: mild, match: {level: warning}, receiver: dba, action: "
               "immediate}]\n");
    post(&s, AT(3, 7), "warning");
    look(&s, AT(3, 7));
    post(&s, AT(3, 8), "critical");
    look(&s, AT(3, 8));
    post_end(&s, AT(3, 9));
    look(&s, AT(3, 9));
    assert_string_equal(told(&s),
                        "dba webhook opened 03:07 mild, team webhook opened 03:08, team slack "
                        "opened 03:08, dba webhook resolved 03:09 mild, team webhook resolved "
                        "03:09, team slack resolved 03:09");
    stage_close(&s);
}

/* Within one receiver: told again where the rule says, and its end once. */
static void test_a_move_within_a_receiver(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: storm, match: {rate: '> 1 per hour'}, action: immediate, channels: "
               "[slack]}]\n");
    for (int i = 0; i < 3; i++) {
        post(&s, AT(3, 7 + i), "critical");
        look(&s, AT(3, 7 + i));
    }
    post_end(&s, AT(3, 11));
    look(&s, AT(3, 11));
    look(&s, AT(3, 12));
    assert_string_equal(told(&s), "team webhook opened 03:07, team slack opened 03:07, "
                                  "team slack opened 03:08 storm, "
                                  "team webhook resolved 03:11, team slack resolved 03:11 storm");
    stage_close(&s);
}

static void test_a_reload_tells_nothing_again(void **state)
{
    struct stage s, again;

    (void)state;
    stage_open(&s, NULL, STORM);
    for (int i = 0; i < 3; i++)
        post(&s, AT(3, 7 + i), "critical");
    look(&s, AT(3, 9));
    stage_open(&again, s.tenant, STORM "limits: {rules: 7}\n");
    look(&again, AT(3, 10));
    post(&again, AT(3, 11), "critical");
    look(&again, AT(3, 11));
    assert_string_equal(told(&s), "dba webhook opened 03:09 storm");
    stage_close(&again);
    /* without the rule it goes back; who was told hears the end */
    stage_open(&again, s.tenant, "");
    look(&again, AT(3, 12));
    post(&again, AT(3, 13), "critical");
    look(&again, AT(3, 13));
    post_end(&again, AT(3, 14));
    look(&again, AT(3, 14));
    assert_string_equal(told(&s), "dba webhook opened 03:09 storm, team webhook opened 03:12, team "
                                  "slack opened 03:12, dba webhook resolved 03:14, team webhook "
                                  "resolved 03:14, team slack resolved 03:14");
    stage_close(&again);
    stage_close(&s);
}

/* A channel that a rule does not name any more hears the end of what it was told. */
static void test_channels_that_a_reload_leaves_out(void **state)
{
    struct stage s, again;

    (void)state;
    stage_open(&s, NULL, "rules: [{name: r, action: immediate}]\n");
    post(&s, AT(3, 7), "warning");
    look(&s, AT(3, 7));
    stage_open(&again, s.tenant, "rules: [{name: r, action: immediate, channels: [slack]}]\n");
    post(&again, AT(3, 8), "critical");
    look(&again, AT(3, 8));
    post_end(&again, AT(3, 9));
    look(&again, AT(3, 9));
    assert_string_equal(told(&s), "team webhook opened 03:07 r, team slack opened 03:07 r, "
                                  "team slack severity 03:08 r, team webhook resolved 03:09 r, "
                                  "team slack resolved 03:09 r");
    stage_close(&again);
    stage_close(&s);
}

/* ---- fingerprints of Sentry's events ---- */

static void test_a_fingerprint_of_the_senders(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, NULL,
               "rules: [{name: db, match: {fingerprint: [database, '*']}, receiver: dba},\n"
               "        {name: own, match: {fingerprint: [api, Timeout]}, channels: [slack]}]\n");
    post_sentry(&s, AT(3, 7), "e1", "[\"database\",\"{{ default }}\"]");
    look(&s, AT(3, 7));
    assert_string_equal(told(&s), "dba webhook opened 03:07 db");
    stage_close(&s);

    /* Known only later: the incident moves. */
    stage_open(&s, NULL,
               "rules: [{name: db, match: {fingerprint: [database, '*']}, receiver: dba},\n"
               "        {name: own, match: {fingerprint: [api, Timeout]}, channels: [slack]}]\n");
    post_sentry(&s, AT(3, 7), "e1", "[\"{{ default }}\"]");
    look(&s, AT(3, 7));
    post_sentry(&s, AT(3, 8), "e2", "[\"database\",\"timeout\"]");
    look(&s, AT(3, 8));
    post_sentry(&s, AT(3, 9), "e3", "[\"{{ default }}\"]");
    look(&s, AT(3, 9));
    assert_string_equal(told(&s), "team slack opened 03:07 own, dba webhook opened 03:08 db");
    assert_string_equal(news(&s), "rule \"db\" from here on: by the sender's fingerprint");
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_immediate),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_channels_and_receiver),
        cmocka_unit_test(test_the_page_alone),
        cmocka_unit_test(test_a_rate_moves_the_incident),
        cmocka_unit_test(test_a_rate_exceeded_within_a_batch),
        cmocka_unit_test(test_a_rate_that_makes_a_digest),
        cmocka_unit_test(test_a_rate_of_a_lesser_severity),
        cmocka_unit_test(test_a_rate_begins_anew_with_the_episode),
        cmocka_unit_test(test_a_raised_severity_under_a_rule),
        cmocka_unit_test(test_a_raised_severity_out_of_a_rule),
        cmocka_unit_test(test_a_move_within_a_receiver),
        cmocka_unit_test(test_a_reload_tells_nothing_again),
        cmocka_unit_test(test_channels_that_a_reload_leaves_out),
        cmocka_unit_test(test_a_fingerprint_of_the_senders),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
