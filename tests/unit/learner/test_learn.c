/* From reports to statistics and playbooks, in a real PostgreSQL. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/frequency.h"
#include "learner/learn.h"
#include "schema.h"

#define AT INT64_C(1767225600000)
#define MIN MS_MINUTE
#define INCIDENT "018f0000-0000-7000-8000-000000000001"
#define COUSIN "018f0000-0000-7000-8000-000000000002" /* same alert name, other service */
#define KEY "0102030405060708090a0b0c0d0e0f10"

static struct schema db;
static struct conf *conf;
static struct settings settings;
static struct playbooks books;
static struct learner learner;
static const struct offset_group group = {"learner", "c"};
static int64_t offset, serial;

static void configure(const char *text)
{
    conf_free(conf);
    conf = NULL;
    if (conf_parse("t.yml", text, NULL, &conf, &db.e) || settings_load(conf, &settings, &db.e) ||
        playbooks_load(&settings, &books, &db.e))
        fail_msg("%s", db.e.msg);
    learner = (struct learner){.settings = &settings,
                               .playbooks = &books,
                               .policy = &policy_beta_mean,
                               .pg = db.pg,
                               .a = learner.a ? learner.a : arena_new(32 << 20)};
    learner_init(&learner);
}

static int open_schema(void **state)
{
    (void)state;
    schema_open(&db);
    return 0;
}

static int close_schema(void **state)
{
    (void)state;
    arena_free(learner.a);
    conf_free(conf);
    schema_close(&db);
    return 0;
}

static int fill(void **state)
{
    (void)state;
    offset = 0;
    configure("tenant: default\n");
    schema_do(&db,
              "TRUNCATE offsets, anomalies, incidents, timeline, repairs, repair_stats, playbooks, "
              "outbox; INSERT INTO offsets VALUES ('learner', 'c', 'repairs', 0, 0);"
              "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, error_type, "
              "first_seen, last_seen) VALUES ('default', '\\x" KEY "', 'QueueBacklog', 'shop', '', "
              "'', 1, 1), ('default', '\\x02', 'QueueBacklog', 'billing', '', '', 1, 1);"
              "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
              "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
              "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES "
              "('default', '" INCIDENT "', '\\x" KEY "', 1, 3, 't', 'x', 'QueueBacklog', 'shop', "
              "'', '', '', 1, 1, 1, 1, 1, 1, 1), ('default', '" COUSIN "', '\\x02', 1, 3, 't', "
              "'x', 'QueueBacklog', 'billing', '', '', '', 1, 1, 1, 1, 1, 1, 1)");
    return 0;
}

struct told { /* one record and what it is made of */
    char body[512], id[UUID_STR], at[24];
    struct kafka_header headers[4];
    struct inbound in;
};

static struct told *tell(const char *tenant, int64_t at, const char *body)
{
    struct told *t = arena_alloc(db.arena, 1, sizeof *t);
    struct uuid id = uuid7_new(AT + serial++);

    snprintf(t->body, sizeof t->body, "%s", body);
    snprintf(t->at, sizeof t->at, "%lld", (long long)at);
    t->headers[0] = (struct kafka_header){"tenant", slice_of(tenant)};
    t->headers[1] = (struct kafka_header){"request_id", slice_of(uuid_format(&id, t->id))};
    t->headers[2] = (struct kafka_header){"received_at", slice_of(t->at)};
    t->headers[3] = (struct kafka_header){"v", SLICE_LIT("1")};
    t->in = (struct inbound){.topic = "repairs",
                             .offset = offset,
                             .key = SLICE_LIT("k"),
                             .value = slice_of(t->body),
                             .headers = t->headers,
                             .header_n = 4};
    return t;
}

static struct told *report_at(int64_t at, const char *incident, const char *action,
                              const char *outcome, const char *more)
{
    char body[512];
    snprintf(body, sizeof body, "{\"incident_id\":\"%s\",\"action\":\"%s\",\"outcome\":\"%s\"%s}",
             incident, action, outcome, more);
    return tell("default", at, body);
}

static int feed_n(struct told *const *t, size_t n, int64_t now)
{
    struct inbound in[16];
    struct offset_move move = {"repairs", 0, offset, offset + (int64_t)n};

    for (size_t i = 0; i < n; i++) {
        in[i] = t[i]->in;
        in[i].offset = offset + (int64_t)i;
    }
    const struct learn_batch batch = {
        .group = &group, .moves = &move, .move_n = 1, .records = in, .n = n};
    int rc = learn_records(&learner, &batch, now, &db.e);
    if (rc == 0)
        offset += (int64_t)n;
    return rc;
}

static void feed(struct told *t, int64_t now)
{
    SQL_OK(&db, feed_n(&t, 1, now));
}

static void verified(const char *incident, const char *action, const char *outcome, int times)
{
    for (int i = 0; i < times; i++)
        feed(report_at(AT + serial * 1000, incident, action, outcome, ",\"verified\":true"), AT);
}

static size_t due(int64_t now)
{
    size_t n = 0;
    SQL_OK(&db, learn_due(&learner, now, &n, &db.e));
    return n;
}

static void resolve(int64_t at, const char *kind, const char *body)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "UPDATE incidents SET status = 4, resolved_at = %lld WHERE id = '" INCIDENT "';"
             "INSERT INTO timeline VALUES ('default', '" INCIDENT "', %lld, 'c%lld', '%s', '', "
             "'%s')",
             (long long)at, (long long)at, (long long)at, kind, body);
    schema_do(&db, sql);
}

static const char *outcomes(void)
{
    return schema_text(&db, "SELECT coalesce(string_agg(concat_ws(':', action, outcome, reason), "
                            "' ' ORDER BY at, id), '') FROM repairs");
}

static const char *stats(void)
{
    return schema_text(&db, "SELECT coalesce(string_agg(concat_ws(':', encode(substr(anomaly_key, "
                            "1, 1), 'hex'), action, attempts, successes, failures, last_outcome), "
                            "' ' ORDER BY anomaly_key, action), '') FROM repair_stats");
}

static const char *playbook(const char *id)
{
    return schema_text(
        &db, arena_printf(db.arena,
                          "SELECT version || (SELECT coalesce(string_agg(concat_ws(':', '', "
                          "s->>'action', s->>'successes', s->>'attempts'), '' ORDER BY i), '') "
                          "FROM jsonb_array_elements(steps) WITH ORDINALITY e(s, i)) "
                          "FROM playbooks WHERE id = '%s'",
                          id));
}

static void verified_outcomes_make_a_step_rise(void **state)
{
    (void)state;
    verified(INCIDENT, "restart_pod", "failure", 3);
    verified(INCIDENT, "add_workers", "success", 4);
    assert_string_equal(stats(), "01:add_workers:4:4:0:success 01:restart_pod:3:0:3:failure");
    assert_string_equal(playbook("anomaly:" KEY), "7:add_workers:4:4:restart_pod:0:3");
    assert_string_equal(playbook("alert:QueueBacklog"), "7:add_workers:4:4:restart_pod:0:3");
    assert_string_equal(playbook("service:shop"), "7:add_workers:4:4:restart_pod:0:3");
    assert_string_equal(playbook("global"), "7:add_workers:4:4:restart_pod:0:3");
    assert_string_equal(
        schema_text(&db, "SELECT steps->0 #>> '{}' FROM (SELECT jsonb_build_array((steps->0) - "
                         "'last_used') steps FROM playbooks WHERE id = 'global') p"),
        "{\"text\": \"\", \"action\": \"add_workers\", \"attempts\": 4, \"successes\": 4, "
        "\"success_rate\": 1.0000, \"wilson_lower\": 0.5101}");
    assert_int_equal(schema_int(&db, "SELECT next_offset FROM offsets"), 7);
}

static void evidence_reaches_the_wider_playbooks(void **state)
{
    (void)state;
    verified(INCIDENT, "restart_pod", "success", 1);
    verified(COUSIN, "restart_pod", "failure", 2);
    assert_string_equal(playbook("anomaly:" KEY), "1:restart_pod:1:1");
    assert_string_equal(playbook("anomaly:02"), "2:restart_pod:0:2");
    assert_string_equal(playbook("alert:QueueBacklog"), "3:restart_pod:1:3");
    assert_string_equal(playbook("service:shop"), "1:restart_pod:1:1");
    assert_string_equal(playbook("service:billing"), "2:restart_pod:0:2");
    assert_string_equal(playbook("global"), "3:restart_pod:1:3");
}

static void every_version_is_exported(void **state)
{
    (void)state;
    verified(INCIDENT, "restart_pod", "success", 1);
    assert_string_equal(
        schema_text(&db, "SELECT string_agg(convert_from(key, 'UTF8') || ' ' || topic || ' ' || "
                         "headers::text, E'\\n' ORDER BY convert_from(key, 'UTF8')) FROM outbox"),
        "default/alert:QueueBacklog playbooks {\"v\": \"1\", \"tenant\": \"default\"}\n"
        "default/anomaly:" KEY " playbooks {\"v\": \"1\", \"tenant\": \"default\"}\n"
        "default/global playbooks {\"v\": \"1\", \"tenant\": \"default\"}\n"
        "default/service:shop playbooks {\"v\": \"1\", \"tenant\": \"default\"}");
    assert_string_equal(
        schema_text(&db, "SELECT concat_ws('|', v->>'id', v->>'version', v->>'tenant', "
                         "v->>'policy', v->'steps' = p.steps) FROM (SELECT convert_from(value, "
                         "'UTF8')::jsonb v FROM outbox) o JOIN playbooks p ON p.id = v->>'id' "
                         "WHERE p.id = 'global'"),
        "global|1|default|beta-mean|t");
}

static void a_record_read_twice_changes_nothing(void **state)
{
    struct told *t =
        report_at(AT, INCIDENT, "restart_pod", "success", ",\"verified\":true,\"by\":\"ada\"");

    (void)state;
    feed(t, AT);
    feed(t, AT + 1);
    SQL_OK(&db, feed_n((struct told *const[]){t, t}, 2, AT + 2));
    assert_string_equal(stats(), "01:restart_pod:1:1:0:success");
    assert_string_equal(playbook("global"), "1:restart_pod:1:1");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM timeline"), 1);
}

static void another_owner_of_the_partition_wins(void **state)
{
    struct told *t = report_at(AT, INCIDENT, "restart_pod", "success", ",\"verified\":true");

    (void)state;
    schema_do(&db, "UPDATE offsets SET next_offset = 5");
    assert_int_equal(feed_n(&t, 1, AT), -ESTALE);
    assert_string_equal(outcomes(), "");
    assert_string_equal(stats(), "");
    assert_int_equal(schema_int(&db, "SELECT next_offset FROM offsets"), 5);
}

static void a_claim_waits_until_the_incident_stays_quiet(void **state)
{
    (void)state;
    feed(report_at(AT, INCIDENT, "restart_pod", "success", ",\"by\":\"ada\",\"note\":\"all\""), AT);
    assert_string_equal(outcomes(), "restart_pod:pending:");
    assert_string_equal(stats(), "");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM playbooks"), 0);
    assert_string_equal(
        schema_text(&db, "SELECT concat_ws('|', at, kind, actor, body) FROM timeline"),
        "1767225600000|repair|ada|restart_pod: reported as success, not yet seen to last: all");
    resolve(AT + 5 * MIN, "resolved", "the last alert ended");
    assert_int_equal(due(AT + 16 * MIN), 0);
    assert_int_equal(due(AT + 17 * MIN), 1);
    assert_string_equal(outcomes(), "restart_pod:pending:");
    assert_int_equal(due(AT + 36 * MIN), 0);
    assert_int_equal(due(AT + 37 * MIN), 1);
    assert_string_equal(outcomes(), "restart_pod:success:resolved, and quiet for 30m");
    assert_string_equal(stats(), "01:restart_pod:1:1:0:success");
    assert_string_equal(playbook("anomaly:" KEY), "1:restart_pod:1:1");
    assert_int_equal(due(AT + 100 * MIN), 0);
    assert_string_equal(
        schema_text(&db, "SELECT concat_ws('|', actor, body) FROM timeline WHERE cause LIKE "
                         "'%:outcome'"),
        "learner|restart_pod: success (resolved, and quiet for 30m)");
}

static void a_return_makes_it_a_failure(void **state)
{
    struct frequency f;

    (void)state;
    feed(report_at(AT, INCIDENT, "restart_pod", "success", ""), AT);
    resolve(AT + 5 * MIN, "resolved", "");
    /* a new incident twenty minutes later: all that the old one shows is the anomaly's counts */
    frequency_init(&f);
    frequency_add(&f, AT - MIN);
    frequency_add(&f, AT + 25 * MIN);
    struct slice packed = frequency_pack(&f, db.arena);
    struct pg_args *p = pg_args(db.arena);
    pg_bytea(p, packed);
    SQL_OK(&db, pg_query(db.pg, "UPDATE anomalies SET frequency = $1 WHERE service = 'shop'", p,
                         NULL, &db.e));
    assert_int_equal(due(AT + 17 * MIN), 1);
    assert_string_equal(outcomes(), "restart_pod:failure:it fired again 20m after it had resolved");
    assert_string_equal(stats(), "01:restart_pod:1:0:1:failure");
}

static void unknown_changes_no_success_and_no_failure(void **state)
{
    (void)state;
    feed(report_at(AT, INCIDENT, "restart_pod", "success", ""), AT);
    resolve(AT + 5 * MIN, "status", "resolved");
    assert_int_equal(due(AT + 17 * MIN), 1);
    assert_string_equal(outcomes(), "restart_pod:unknown:a person resolved it without a word");
    assert_string_equal(stats(), "01:restart_pod:1:0:0:unknown");
    assert_string_equal(playbook("anomaly:" KEY), "1:restart_pod:0:0");
}

static void a_person_with_a_word_is_believed(void **state)
{
    (void)state;
    feed(report_at(AT, INCIDENT, "restart_pod", "success", ""), AT);
    resolve(AT + 5 * MIN, "status", "resolved: the restart did it");
    assert_int_equal(due(AT + 17 * MIN), 1);
    assert_int_equal(due(AT + 37 * MIN), 1);
    assert_string_equal(outcomes(), "restart_pod:success:resolved, and quiet for 30m");
}

/* A ladder: the last rung before the end gets the credit, the one before it neither. */
static void another_action_in_between_is_unknown(void **state)
{
    (void)state;
    SQL_OK(&db, feed_n((struct told *const[]){report_at(AT, INCIDENT, "one", "success", ""),
                                              report_at(AT + MIN, INCIDENT, "two", "success", "")},
                       2, AT));
    resolve(AT + 5 * MIN, "resolved", "");
    assert_int_equal(due(AT + 40 * MIN), 2);
    assert_string_equal(outcomes(), "one:unknown:two was tried before it resolved "
                                    "two:success:resolved, and quiet for 30m");
    assert_string_equal(stats(), "01:one:1:0:0:unknown 01:two:1:1:0:success");
}

static void an_unknown_incident_is_kept_and_counts_nowhere(void **state)
{
    (void)state;
    feed(report_at(AT, "018f0000-0000-7000-8000-00000000dead", "restart_pod", "success",
                   ",\"verified\":true"),
         AT);
    feed(tell("stranger", AT,
              "{\"incident_id\":\"" INCIDENT "\",\"action\":\"x\","
              "\"outcome\":\"success\",\"verified\":true}"),
         AT);
    assert_string_equal(outcomes(),
                        "restart_pod:unknown:no such incident x:unknown:no such incident");
    assert_string_equal(stats(), "");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM playbooks"), 0);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 0);
}

static const char *dead(void)
{
    return schema_text(
        &db, "SELECT coalesce(string_agg(concat_ws('|', convert_from(key, 'UTF8'), "
             "convert_from(value, 'UTF8'), headers->>'reason', headers->>'stage', "
             "headers->>'topic', headers->>'partition', headers->>'offset', headers->>'tenant'), "
             "' ' ORDER BY id), '') FROM outbox WHERE topic = 'dead'");
}

static void what_is_no_report_goes_to_dead_and_blocks_nobody(void **state)
{
    (void)state;
    SQL_OK(&db, feed_n(
                    (struct told *const[]){
                        report_at(AT, INCIDENT, "a", "success", ",\"verified\":true"),
                        tell("default", AT, "{\"action\":\"x\"}"),
                        report_at(AT, INCIDENT, "b", "failure", ",\"verified\":true")},
                    3, AT));
    assert_string_equal(dead(), "k|{\"action\":\"x\"}|incident_id is no UUID|learner|repairs|0|1|"
                                "default");
    assert_string_equal(stats(), "01:a:1:1:0:success 01:b:1:0:1:failure");
    assert_int_equal(schema_int(&db, "SELECT next_offset FROM offsets"), 3);
}

/* A record that parses but that Postgres will never take: its neighbours must not go with it. */
static void what_postgres_refuses_is_found_by_going_one_by_one(void **state)
{
    (void)state;
    struct told *bad = report_at(AT, INCIDENT, "b", "failure", ",\"verified\":true");
    bad->headers[0].value = SLICE_LIT("\xff\xfe");
    SQL_OK(&db, feed_n(
                    (struct told *const[]){
                        report_at(AT, INCIDENT, "a", "success", ",\"verified\":true"), bad,
                        report_at(AT, INCIDENT, "c", "failure", ",\"verified\":true")},
                    3, AT));
    assert_string_equal(stats(), "01:a:1:1:0:success 01:c:1:0:1:failure");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox WHERE topic = 'dead' AND "
                                     "headers->>'offset' = '1' AND headers->>'reason' <> ''"),
                     1);
    assert_int_equal(schema_int(&db, "SELECT next_offset FROM offsets"), 3);
}

static const char authors[] = "playbooks:\n"
                              "  - match: {alert_name: QueueBacklog}\n"
                              "    steps: [{action: add_workers, text: two more}, "
                              "{action: restart_pod}]\n";

static void the_authors_steps_are_there_before_anything_was_tried(void **state)
{
    (void)state;
    configure(authors);
    SQL_OK(&db, learn_authors(&learner, AT, &db.e));
    assert_string_equal(playbook("alert:QueueBacklog"), "1:add_workers:0:0:restart_pod:0:0");
    assert_string_equal(schema_text(&db, "SELECT steps->0->>'text' FROM playbooks"), "two more");
    /* a second start changes nothing, and tells nobody */
    SQL_OK(&db, learn_authors(&learner, AT + 1, &db.e));
    assert_string_equal(playbook("alert:QueueBacklog"), "1:add_workers:0:0:restart_pod:0:0");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 1);
    verified(INCIDENT, "restart_pod", "success", 1);
    assert_string_equal(playbook("anomaly:" KEY), "1:add_workers:0:0:restart_pod:1:1");
    verified(INCIDENT, "add_workers", "failure", 2);
    assert_string_equal(playbook("anomaly:" KEY), "3:restart_pod:1:1:add_workers:0:2");
}

static void a_step_the_author_took_back_goes_unless_it_was_tried(void **state)
{
    (void)state;
    configure(authors);
    SQL_OK(&db, learn_authors(&learner, AT, &db.e));
    verified(INCIDENT, "restart_pod", "failure", 1);
    configure("tenant: default\n");
    SQL_OK(&db, learn_authors(&learner, AT, &db.e));
    assert_string_equal(playbook("alert:QueueBacklog"), "3:restart_pod:0:1");
    assert_string_equal(playbook("anomaly:" KEY), "2:restart_pod:0:1");
}

static void the_best_steps_stay_when_there_are_too_many(void **state)
{
    (void)state;
    configure("learner: {steps: 2}\n");
    verified(INCIDENT, "bad", "failure", 2);
    verified(INCIDENT, "good", "success", 2);
    verified(INCIDENT, "fair", "success", 1);
    assert_string_equal(playbook("anomaly:" KEY), "5:good:2:2:fair:1:1");
}

/* Another learner holds a due attempt: it is skipped, not waited for. */
static void two_learners_never_decide_one_attempt(void **state)
{
    struct pg *other;

    (void)state;
    SQL_OK(&db, feed_n((struct told *const[]){report_at(AT, INCIDENT, "one", "success", ""),
                                              report_at(AT + 1, INCIDENT, "two", "success", "")},
                       2, AT));
    SQL_OK(&db, pg_open(&db.settings, "other", &other, &db.e));
    SQL_OK(&db, pg_connect(other, &db.e));
    SQL_OK(&db,
           pg_exec(other, "BEGIN; SELECT FROM repairs WHERE action = 'one' FOR UPDATE", &db.e));
    assert_int_equal(due(AT + 60 * MIN), 1);
    SQL_OK(&db, pg_exec(other, "ROLLBACK", &db.e));
    assert_int_equal(due(AT + 60 * MIN), 1);
    assert_string_equal(stats(), "01:one:1:0:1:failure 01:two:1:0:1:failure");
    pg_close(other);
}

#define T(f) cmocka_unit_test_setup(f, fill)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(verified_outcomes_make_a_step_rise),
        T(evidence_reaches_the_wider_playbooks),
        T(every_version_is_exported),
        T(a_record_read_twice_changes_nothing),
        T(another_owner_of_the_partition_wins),
        T(a_claim_waits_until_the_incident_stays_quiet),
        T(a_return_makes_it_a_failure),
        T(unknown_changes_no_success_and_no_failure),
        T(a_person_with_a_word_is_believed),
        T(another_action_in_between_is_unknown),
        T(an_unknown_incident_is_kept_and_counts_nowhere),
        T(what_is_no_report_goes_to_dead_and_blocks_nobody),
        T(what_postgres_refuses_is_found_by_going_one_by_one),
        T(the_authors_steps_are_there_before_anything_was_tried),
        T(a_step_the_author_took_back_goes_unless_it_was_tried),
        T(the_best_steps_stay_when_there_are_too_many),
        T(two_learners_never_decide_one_attempt),
    };
    return cmocka_run_group_tests(tests, open_schema, close_schema);
}
