/* The processor's way in, between librdkafka's mock cluster and a real PostgreSQL: where it starts,
 * what it hands over, and what it does while the database is slow. */
#include "broker.h"
#include "schema.h"
#include "testing.h"

#include <string.h>
#include <time.h>

#include "common/metrics.h"
#include "common/receivers.h"
#include "common/uuid7.h"
#include "processor/consume.h"

static const char *const topics[] = {
#define SOURCE(name) "raw." #name,
#include "common/sources.def"
#undef SOURCE
    "beat", NULL};

static const char config[] = "\
receivers: [{name: nobody}]\n\
route: {receiver: nobody}\n\
processor: {batch_records: 10}\n\
limits: {open_incidents: 100000}\n\
redis: {url: ''}\n";

static struct stage {
    struct schema db;
    struct broker broker;
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
    struct source_entries sources;
    struct kafka_producer *producer;
    struct arena *a;
    unsigned posted;
    struct err e;
} st;

/* ---- the stage ---- */

static void reported(void *ctx, void *record, int err_code, const char *err_text)
{
    (void)ctx;
    (void)record;
    if (err_code != 0)
        fail_msg("%s", err_text);
}

static int set_up(void **state)
{
    (void)state;
    st = (struct stage){.a = arena_new((size_t)16 << 20)};
    schema_open(&st.db);
    broker_open(&st.broker, topics);
    if (conf_parse("t.yml", config, NULL, &st.conf, &st.e) < 0 ||
        settings_load(st.conf, &st.settings, &st.e) < 0 ||
        receivers_load(&st.settings, &st.receivers, &st.e) < 0 ||
        route_load(&st.settings, &st.receivers, &st.routes, &st.e) < 0 ||
        source_entries_load(&st.settings, &st.sources, &st.e) < 0)
        fail_msg("%s", st.e.msg);
    st.settings.postgres = st.db.settings;
    st.settings.kafka = st.broker.settings;
    SQL_OK(&st, kafka_producer_new(&st.settings.kafka, reported, NULL, &st.producer, &st.e));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kafka_producer_free(st.producer);
    conf_free(st.conf);
    broker_close(&st.broker);
    schema_close(&st.db);
    arena_free(st.a);
    return 0;
}

static struct consume *start(void)
{
    const struct consume_options o = {
        .settings = &st.settings, .sources = &st.sources, .routes = st.routes};
    struct consume *c = NULL;

    SQL_OK(&st, consume_start(&o, &c, &st.e));
    return c;
}

static void stop(struct consume *c)
{
    consume_drain(c);
    consume_stop(c);
}

/* As Alertmanager would post one alert, each time another. */
static void post(void)
{
    struct uuid id = uuid7_new(clock_now_ms());
    char text[UUID_STR];
    const char *at = arena_printf(st.a, "%lld", (long long)clock_now_ms());
    const char *body =
        arena_printf(st.a,
                     "{\"version\":\"4\",\"status\":\"firing\",\"alerts\":[{\"status\":\"firing\","
                     "\"labels\":{\"alertname\":\"A\",\"instance\":\"i%u\"},\"annotations\":{},"
                     "\"startsAt\":\"2026-01-02T03:04:05Z\",\"endsAt\":\"0001-01-01T00:00:00Z\"}]}",
                     st.posted++);
    const struct kafka_header headers[] = {{"v", SLICE_LIT("1")},
                                           {"tenant", SLICE_LIT("t")},
                                           {"source", SLICE_LIT("alertmanager")},
                                           {"request_id", slice_of(uuid_format(&id, text))},
                                           {"received_at", slice_of(at)}};

    SQL_OK(&st, kafka_produce(st.producer, "raw.alertmanager", (struct slice){0}, slice_of(body),
                              headers, 5, NULL, &st.e));
}

static void post_many(unsigned n)
{
    while (n-- > 0)
        post();
    assert_int_equal(kafka_flush(st.producer, 60 * MS_SECOND), 0);
}

/* Until a question gives this answer. */
static void await(const char *sql, long long is)
{
    const int64_t deadline = clock_monotonic_ms() + 90 * MS_SECOND;
    long long last;

    while ((last = schema_int(&st.db, sql)) != is) {
        if (clock_monotonic_ms() > deadline)
            fail_msg("%lld, never %lld: %s", last, is, sql);
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

static uint64_t counted(const char *name)
{
    return counter_value(counter_new(name, "", ""));
}

#define ALERTS "SELECT count(*) FROM alerts"
#define NEXT "SELECT coalesce(max(next_offset), 0) FROM offsets WHERE topic = 'raw.alertmanager'"
#define NEXT_IS(n)                                                                                 \
    "UPDATE offsets SET next_offset = " n                                                          \
    " WHERE topic = 'raw.alertmanager'; DELETE FROM alerts; "                                      \
    "DELETE FROM occurrences"

/* Each once, and nobody is taken for dead. */
static void all_came(unsigned n)
{
    await(NEXT, n);
    assert_int_equal(schema_int(&st.db, ALERTS), n);
    assert_int_equal(schema_int(&st.db, "SELECT coalesce(sum(occurrences), 0)::int8 FROM alerts"),
                     n);
    assert_int_equal(schema_int(&st.db, "SELECT coalesce(sum(occurrences), 0)::int8 FROM "
                                        "anomalies"),
                     n);
    assert_int_equal(schema_int(&st.db, "SELECT count(*) FROM outbox"), 0);
}

/* ---- where it starts ---- */

/* The row counts, not what Kafka remembers of the group. */
static void test_positions_come_from_postgres(void **state)
{
    (void)state;
    post_many(5);
    struct consume *c = start();
    all_came(5);
    stop(c);
    schema_do(&st.db, NEXT_IS("3"));
    c = start();
    await(ALERTS, 2);
    await(NEXT, 5);
    stop(c);
    assert_int_equal(schema_int(&st.db, ALERTS), 2);
    /* and of a topic that nobody has read, from its start */
    schema_do(&st.db, "DELETE FROM offsets; DELETE FROM alerts; DELETE FROM occurrences");
    c = start();
    await(ALERTS, 5);
    stop(c);
}

/* Records that expired unread, or a topic made anew: read what there is, and say so. */
static void test_a_position_outside_the_topic(void **state)
{
    const uint64_t before = counted("tocsin_offset_jumps_total");

    (void)state;
    post_many(5);
    struct consume *c = start();
    all_came(5);
    stop(c);
    assert_int_equal(counted("tocsin_offset_jumps_total"), before);
    schema_do(&st.db, NEXT_IS("999"));
    c = start();
    await(ALERTS, 5);
    await(NEXT, 5);
    stop(c);
    assert_int_equal(counted("tocsin_offset_jumps_total"), before + 1);
}

/* As if another worker had taken a record: nothing of it is done twice, and we go on behind it. */
static void test_a_position_that_somebody_moved(void **state)
{
    const uint64_t before = counted("tocsin_offset_reads_total");

    (void)state;
    post_many(3);
    struct consume *c = start();
    all_came(3);
    schema_do(&st.db, "UPDATE offsets SET next_offset = 4 WHERE topic = 'raw.alertmanager'");
    post_many(2);
    await(NEXT, 5);
    stop(c);
    assert_int_equal(schema_int(&st.db, ALERTS), 4);
    assert_true(counted("tocsin_offset_reads_total") > before);
}

/* ---- partitions that come and go ---- */

static void test_partitions_are_handed_over(void **state)
{
    (void)state;
    struct consume *first = start();
    post_many(30);
    all_came(30);
    struct consume *second = start();
    for (int i = 0; i < 20; i++) { /* while the group finds out */
        post_many(5);
        (void)nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    all_came(130);
    stop(first);
    post_many(20);
    all_came(150);
    struct consume *third = start();
    consume_stop(second); /* at once: what it had read belongs to the next */
    post_many(20);
    all_came(170);
    stop(third);
    assert_int_equal(schema_int(&st.db, "SELECT count(*) FROM offsets WHERE starts <> 0"), 0);
}

/* ---- a slow database ---- */

/* Nobody commits: the reader stops reading, keeps its place in the group, and goes on where it
 * was. */
static void test_back_pressure(void **state)
{
    static const char waits[] = "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                "'tocsin-processor' AND wait_event_type = 'Lock'";
    struct pg *holder;

    (void)state;
    struct consume *c = start();
    post_many(10);
    all_came(10);
    SQL_OK(&st, pg_open(&st.db.settings, "holder", &holder, &st.e));
    SQL_OK(&st, pg_connect(holder, &st.e));
    SQL_OK(&st, pg_exec(holder, "BEGIN; LOCK TABLE incidents", &st.e));
    post_many(200);
    await(waits, 1);
    /* Long enough for it to fill its queue and to pause. */
    (void)nanosleep(&(struct timespec){.tv_sec = 4}, NULL);
    post_many(100);
    assert_int_equal(schema_int(&st.db, NEXT), 10);
    pg_close(holder);
    all_came(310);
    stop(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_positions_come_from_postgres),
        TEST(test_a_position_outside_the_topic),
        TEST(test_a_position_that_somebody_moved),
        TEST(test_partitions_are_handed_over),
        TEST(test_back_pressure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
