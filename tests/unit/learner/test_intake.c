/* The learner's thread between a broker and a PostgreSQL. */
#include "testing.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker.h"
#include "common/uuid7.h"
#include "learner/intake.h"
#include "schema.h"

#define INCIDENT "018f0000-0000-7000-8000-000000000001"

static struct schema db;
static struct broker broker;
static struct conf *conf;
static struct settings settings;
static struct playbooks books;
static struct kafka_producer *producer;

static void reported(void *ctx, void *record, int err_code, const char *err_text)
{
    (void)ctx;
    (void)record;
    (void)err_code;
    (void)err_text;
}

static int start(void **state)
{
    (void)state;
    schema_open(&db);
    broker_open(&broker, (const char *const[]){"repairs", NULL});
    if (conf_parse("t",
                   "playbooks: [{match: global, steps: [{action: look}]}]\n"
                   "learner: {poll_interval: 50ms}\n",
                   NULL, &conf, &db.e) ||
        settings_load(conf, &settings, &db.e) || playbooks_load(&settings, &books, &db.e))
        fail_msg("%s", db.e.msg);
    settings.postgres = db.settings;
    settings.kafka = broker.settings;
    SQL_OK(&db, kafka_producer_new(&settings.kafka, reported, NULL, &producer, &db.e));
    schema_do(&db,
              "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, error_type, "
              "first_seen, last_seen) VALUES ('default', '\\x0a', 'A', 's', '', '', 1, 1);"
              "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
              "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
              "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES "
              "('default', '" INCIDENT "', '\\x0a', 1, 3, 't', 'x', 'A', 's', '', '', '', 1, 1, "
              "1, 1, 1, 1, 1)");
    return 0;
}

static int finish(void **state)
{
    (void)state;
    kafka_producer_free(producer);
    conf_free(conf);
    broker_close(&broker);
    schema_close(&db);
    return 0;
}

static void post(const char *value)
{
    struct uuid id = uuid7_new(clock_now_ms());
    char text[UUID_STR], at[24];

    (void)snprintf(at, sizeof at, "%lld", (long long)clock_now_ms());
    const struct kafka_header headers[] = {{"tenant", SLICE_LIT("default")},
                                           {"request_id", slice_of(uuid_format(&id, text))},
                                           {"received_at", slice_of(at)}};
    SQL_OK(&db, kafka_produce_wait(producer, "repairs", SLICE_LIT(INCIDENT), slice_of(value),
                                   headers, 3, 20000, &db.e));
}

static void succeed(void)
{
    post("{\"incident_id\":\"" INCIDENT "\",\"action\":\"look\",\"outcome\":\"success\","
         "\"verified\":true}");
}

/* Until a question gives this answer; the test's own timeout is the limit. */
static void await(const char *sql, long long is)
{
    const struct timespec pause = {.tv_nsec = 10000000};

    while (schema_int(&db, sql) != is)
        (void)nanosleep(&pause, NULL);
}

static const char successes[] = "SELECT coalesce(sum(successes), 0)::int8 FROM repair_stats";

static void learns_and_goes_on_where_it_stopped(void **state)
{
    struct intake *in = NULL;

    (void)state;
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    await("SELECT count(*) FROM playbooks WHERE id = 'global' AND version = 1", 1);
    succeed();
    succeed();
    await(successes, 2);
    intake_drain(in);
    intake_stop(in);
    succeed();
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    await(successes, 3);
    intake_stop(in);
    assert_int_equal(schema_int(&db, "SELECT next_offset FROM offsets WHERE grp = 'learner'"), 3);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM repairs"), 3);
}

static void a_lost_database_costs_no_report_and_doubles_none(void **state)
{
    struct intake *in = NULL;

    (void)state;
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    for (int i = 0; i < 5; i++) {
        schema_do(&db, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                       "WHERE application_name = 'tocsin-learner'");
        succeed();
        await(successes, 4 + i);
    }
    intake_stop(in);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM repairs"), 8);
}

/* Somebody else moved the position: nothing of this worker's next batch may count. */
static void a_moved_position_is_followed(void **state)
{
    struct intake *in = NULL;

    (void)state;
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    succeed();
    await(successes, 9);
    /* as if another worker had taken the next record: it must not be counted again */
    schema_do(&db, "UPDATE offsets SET next_offset = next_offset + 1 WHERE grp = 'learner'");
    post("{\"incident_id\":\"" INCIDENT "\",\"action\":\"look\",\"outcome\":\"failure\","
         "\"verified\":true}");
    succeed();
    await(successes, 10);
    intake_stop(in);
    assert_int_equal(schema_int(&db, "SELECT sum(failures)::int8 FROM repair_stats"), 0);
}

/* The poller decides without any record coming in. */
static void what_is_due_is_decided_without_a_record(void **state)
{
    struct intake *in = NULL;

    (void)state;
    schema_do(&db, "INSERT INTO repairs (tenant, id, incident_id, anomaly_key, action, claim, "
                   "outcome, at, decide_at) VALUES ('default', gen_random_uuid(), '" INCIDENT
                   "', '\\x0a', 'reboot', 'success', 'pending', 1000, 1000)");
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    await("SELECT count(*) FROM repairs WHERE action = 'reboot' AND outcome = 'failure'", 1);
    intake_stop(in);
}

/* ---- deaths over a batch ---- */

#define STARTS "SELECT starts FROM offsets WHERE grp = 'learner'"
#define DEAD "SELECT count(*) FROM outbox WHERE topic = 'dead'"

/* A batch is announced before it is read, and its commit takes that back; so does whatever ends it
 * while the process lives. */
static void a_batch_is_announced(void **state)
{
    static const char waits[] = "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                "'tocsin-learner' AND wait_event_type = 'Lock'";
    const long long before = schema_int(&db, successes);
    struct intake *in = NULL;
    struct pg *holder;

    (void)state;
    SQL_OK(&db, pg_open(&db.settings, "holder", &holder, &db.e));
    SQL_OK(&db, pg_connect(holder, &db.e));
    SQL_OK(&db, pg_exec(holder, "BEGIN; SELECT FROM anomalies FOR UPDATE", &db.e));
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    succeed();
    for (int i = 0; i < 3; i++) {
        await(waits, 1);
        assert_int_equal(schema_int(&db, STARTS), 1);
        schema_do(&db, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                       "application_name = 'tocsin-learner'");
    }
    pg_close(holder);
    await(successes, before + 1);
    await(STARTS, 0);
    intake_stop(in);
}

/* After deaths enough each record has a transaction of its own. */
static void records_of_a_deadly_batch_go_alone(void **state)
{
    const long long before = schema_int(&db, successes);
    struct intake *in = NULL;

    (void)state;
    for (int deaths = 2; deaths <= 3; deaths++) {
        schema_do(&db, "DELETE FROM repairs");
        for (int i = 0; i < 4; i++)
            succeed();
        (void)schema_text(&db, deaths == 2 ? "UPDATE offsets SET starts = 2 WHERE grp = 'learner' "
                                             "RETURNING ''"
                                           : "UPDATE offsets SET starts = 3 WHERE grp = 'learner' "
                                             "RETURNING ''");
        SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
        await(successes, before + 4 * (deaths - 1));
        await(STARTS, 0);
        intake_stop(in);
        assert_int_equal(schema_int(&db, "SELECT count(DISTINCT xmin::text) FROM repairs") == 4,
                         deaths == 3);
    }
    assert_int_equal(schema_int(&db, DEAD), 0);
}

static void a_record_that_killed_alone_is_buried(void **state)
{
    const long long before = schema_int(&db, successes);
    struct intake *in = NULL;

    (void)state;
    for (int i = 0; i < 3; i++)
        succeed();
    schema_do(&db, "UPDATE offsets SET starts = 4 WHERE grp = 'learner'");
    SQL_OK(&db, intake_start(&settings, &books, &in, &db.e));
    await(successes, before + 2);
    intake_stop(in);
    assert_int_equal(schema_int(&db, STARTS), 0);
    assert_int_equal(schema_int(&db, DEAD " AND headers->>'reason' = 'this record ended the "
                                          "process again and again'"),
                     1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_and_goes_on_where_it_stopped),
        cmocka_unit_test(a_lost_database_costs_no_report_and_doubles_none),
        cmocka_unit_test(a_moved_position_is_followed),
        cmocka_unit_test(what_is_due_is_decided_without_a_record),
        cmocka_unit_test(a_batch_is_announced),
        cmocka_unit_test(records_of_a_deadly_batch_go_alone),
        cmocka_unit_test(a_record_that_killed_alone_is_buried),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
