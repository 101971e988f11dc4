/* The outbox between a real PostgreSQL and librdkafka's mock cluster. */
#include "broker.h"
#include "schema.h"
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "common/metrics.h"
#include "processor/outbox.h"

static const char *const topics[] = {"dead", "repairs", "playbooks", NULL};
static const struct outbox_limits limits = {.records = 100, .timeout_ms = 10000};

enum { PRODUCE_API = 0 };

static struct schema db;
static struct broker broker;

struct fixture {
    struct outbox *outbox;
    struct kafka_producer *producer;
    struct err e;
    char text[1024]; /* what was read */
};

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

    schema_do(&db, "TRUNCATE outbox");
    f->outbox = outbox_new();
    if (kafka_producer_new(&broker.settings, outbox_report, f->outbox, &f->producer, &f->e) < 0)
        fail_msg("%s", f->e.msg);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    kafka_producer_free(f->producer);
    outbox_free(f->outbox);
    free(f);
    return 0;
}

static void note(void *ctx, const struct kafka_message *m)
{
    struct fixture *f = ctx;
    const size_t used = strlen(f->text);

    (void)snprintf(f->text + used, sizeof(f->text) - used, "%s %.*s=%.*s %.*s %.*s%.*s%s;",
                   m->topic, SLICE_FMT(m->key), SLICE_FMT(m->value),
                   SLICE_FMT(kafka_message_header(m, "reason")),
                   SLICE_FMT(kafka_message_header(m, "stage")),
                   SLICE_FMT(kafka_message_header(m, "outbox")), m->key.p ? "" : " no key");
}

static void test_records_arrive_and_leave(void **state)
{
    static const char *const read[] = {"dead", "repairs", NULL};
    struct fixture *f = *state;
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, key, value, headers) VALUES "
                   "('dead', 'k', 'one', '{\"reason\": \"no JSON\", \"stage\": \"decode\"}'), "
                   "('dead', 'k', 'two', '{}'), ('dead', NULL, 'three', '{\"reason\": \"7\"}')");
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 3);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 0);
    broker_read(&broker, "arrive", read, 3, note, f);
    assert_string_equal(f->text, "dead k=one no JSON decode;dead k=two  ;dead =three 7  no key;");
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 0);
}

/* Two processors never send the same row: what one holds the other passes by. */
static void test_what_another_holds_is_passed_by(void **state)
{
    struct fixture *f = *state;
    struct pg *other;
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, value) VALUES ('repairs', 'a'), ('repairs', 'b')");
    SQL_OK(f, pg_open(&db.settings, "other", &other, &f->e));
    SQL_OK(f, pg_connect(other, &f->e));
    SQL_OK(f, pg_exec(other, "BEGIN; SELECT FROM outbox ORDER BY id LIMIT 1 FOR UPDATE", &f->e));
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 1);
    pg_close(other);
    assert_string_equal(schema_text(&db, "SELECT convert_from(value, 'UTF8') FROM outbox"), "a");
}

static void test_a_partition_without_a_leader(void **state)
{
    static const struct outbox_limits impatient = {.records = 100, .timeout_ms = 200};
    struct fixture *f = *state;
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, value) VALUES ('dead', 'a'), ('dead', 'b')");
    rd_kafka_mock_partition_set_leader(broker.cluster, BROKER_PREFIX ".dead", 0, -1);
    assert_int_equal(outbox_drain(f->outbox, db.pg, f->producer, &impatient, &sent, &f->e),
                     -ETIMEDOUT);
    assert_int_equal(sent, 0);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 2);
    rd_kafka_mock_partition_set_leader(broker.cluster, BROKER_PREFIX ".dead", 0, 1);
    /* reports of the first go may still come: into memory that is nobody's any more */
    for (int i = 0; i < 100 && sent == 0; i++)
        if (outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e) != -ETIMEDOUT)
            break;
    assert_int_equal(sent, 2);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 0);
}

/* ---- what Kafka says no to ---- */

#define REASON "SELECT headers #>> '{outbox,refused}' FROM outbox"

static uint64_t refusals(void)
{
    return counter_value(counter_new("tocsin_outbox_refused_total", "", ""));
}

/* A record that Kafka will never take does not take the others with it, and is not lost. */
static void test_a_record_that_is_refused(void **state)
{
    struct fixture *f = *state;
    const uint64_t before = refusals();
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, value) VALUES ('dead', 'small'), "
                   "('dead', convert_to(repeat('x', 17000000), 'UTF8')), ('dead', 'small')");
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 2);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 1);
    assert_non_null(strstr(schema_text(&db, REASON), "too large"));
    assert_int_equal(refusals(), before + 1);
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 0);
    assert_int_equal(refusals(), before + 1);
}

/* However many of them stand in front. */
static void test_refused_records_are_in_nobodys_way(void **state)
{
    static const struct outbox_limits few = {.records = 2, .timeout_ms = 10000};
    struct fixture *f = *state;
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, value) SELECT repeat('x', 300), 'a' "
                   "FROM generate_series(1, 4); INSERT INTO outbox (topic, value) VALUES ('dead', "
                   "'behind')");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sent, 0);
        SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &few, &sent, &f->e));
    }
    assert_int_equal(sent, 1);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox WHERE headers ? "
                                     "'outbox'"),
                     4);
}

/* The broker refuses a whole batch for one record of it. */
static void test_records_refused_in_company(void **state)
{
    struct fixture *f = *state;
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, value) VALUES ('dead', 'a'), ('dead', 'b')");
    rd_kafka_mock_push_request_errors(broker.cluster, PRODUCE_API, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 2);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM outbox"), 0);
}

/* Somebody may have given the topic more room. */
static void test_a_refused_record_is_tried_again(void **state)
{
    static const char *const read[] = {"playbooks", NULL};
    struct fixture *f = *state;
    const uint64_t before = refusals();
    size_t sent = 0;

    schema_do(&db, "INSERT INTO outbox (topic, key, value, headers) VALUES ('playbooks', 'k', 'v', "
                   "'{\"reason\": \"r\"}')");
    rd_kafka_mock_push_request_errors(broker.cluster, PRODUCE_API, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 0);
    assert_int_equal(refusals(), before + 1);
    schema_do(&db, "UPDATE outbox SET headers = jsonb_set(headers, '{outbox,again_at}', '1')");
    SQL_OK(f, outbox_drain(f->outbox, db.pg, f->producer, &limits, &sent, &f->e));
    assert_int_equal(sent, 1);
    broker_read(&broker, "again", read, 1, note, f);
    assert_string_equal(f->text, "playbooks k=v r ;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_arrive_and_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_another_holds_is_passed_by, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_partition_without_a_leader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_record_that_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_records_are_in_nobodys_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_refused_in_company, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_refused_record_is_tried_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
