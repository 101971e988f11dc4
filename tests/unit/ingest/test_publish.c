/* The publisher against librdkafka's mock cluster, which comes and goes. */
#include "testing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/clock.h"
#include "ingest/publish.h"

enum { INIT_PRODUCER_ID_API = 22 };

struct fixture {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    struct settings s;
    char dir[64];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t n, by[OUTCOME_UNFIT + 1];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char why[256];
    assert_non_null(f);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "log_level", "0", why, sizeof(why));
    f->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    f->cluster = rd_kafka_mock_cluster_new(f->host, 1);
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "unit.raw.generic", 1, 1), 0);
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "unit.beat", 1, 1), 0);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_publish.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->s.kafka = (struct kafka_settings){.brokers = rd_kafka_mock_cluster_bootstraps(f->cluster),
                                         .topic_prefix = "unit",
                                         .group_prefix = "unit",
                                         .client_id = "test",
                                         .partitions = 1,
                                         .replication_factor = 1,
                                         .min_insync_replicas = 1,
                                         .ack_timeout = 5000,
                                         .session_timeout = 6000,
                                         .linger = 1,
                                         .fetch_wait = 10,
                                         .queue_messages = 1000};
    f->s.ingest = (struct ingest_settings){.spool_dir = f->dir, .spool_max = 1 << 20};
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->cond, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->host);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a directory of our own */
    (void)pthread_mutex_destroy(&f->lock);
    (void)pthread_cond_destroy(&f->cond);
    free(f);
    return 0;
}

static void on_outcome(void *ctx, enum outcome o)
{
    struct fixture *f = ctx;
    (void)pthread_mutex_lock(&f->lock);
    f->by[o]++;
    f->n++;
    (void)pthread_cond_broadcast(&f->cond);
    (void)pthread_mutex_unlock(&f->lock);
}

static void await(struct fixture *f, size_t n)
{
    (void)pthread_mutex_lock(&f->lock);
    while (f->n < n)
        (void)pthread_cond_wait(&f->cond, &f->lock);
    (void)pthread_mutex_unlock(&f->lock);
}

static struct publisher *open_as(struct fixture *f, const char *id)
{
    struct publisher *p = NULL;
    struct err e = {0};
    if (publisher_new(&f->s, id, &p, &e) < 0)
        fail_msg("%s", e.msg);
    return p;
}

static struct publisher *open_publisher(struct fixture *f)
{
    return open_as(f, "first");
}

static void send_one(struct fixture *f, struct publisher *p, const char *key, size_t size)
{
    static char value[20 << 20];
    static const struct kafka_header h = {"v", {"1", 1}};
    const struct spool_record r = {.topic = SLICE_LIT("raw.generic"),
                                   .key = slice_of(key),
                                   .value = {value, size},
                                   .headers = &h,
                                   .header_n = 1,
                                   .at = 1700000000000};
    publish(p, &r, on_outcome, f);
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&t, NULL);
}

static struct publisher_state state_of(struct publisher *p)
{
    struct publisher_state s;
    publisher_state(p, &s);
    return s;
}

static size_t spooled(struct publisher *p)
{
    return state_of(p).spool.records;
}

static bool is_open(struct publisher *p)
{
    return state_of(p).breaker_open;
}

static void test_acknowledged(void **state)
{
    struct fixture *f = *state;
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    for (int i = 0; i < 50; i++)
        send_one(f, p, i % 2 ? "k" : NULL, 100);
    await(f, 50);
    assert_int_equal(f->by[OUTCOME_ACKNOWLEDGED], 50);
    assert_int_equal(spooled(p), 0);
    assert_false(is_open(p));
}

static void test_an_outage_goes_to_the_spool_and_comes_back(void **state)
{
    struct fixture *f = *state;
    f->s.kafka.ack_timeout = 200;
    (void)rd_kafka_mock_broker_set_down(f->cluster, 1);
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    send_one(f, p, "k", 10);
    await(f, 1);
    assert_int_equal(f->by[OUTCOME_SPOOLED], 1);
    assert_true(is_open(p));
    for (int i = 0; i < 20; i++)
        send_one(f, p, i % 2 ? "k" : NULL, 10);
    await(f, 21);
    assert_int_equal(f->by[OUTCOME_SPOOLED], 21);
    assert_int_equal(spooled(p), 21);
    (void)rd_kafka_mock_broker_set_up(f->cluster, 1);
    while (spooled(p) > 0 || is_open(p))
        pause_ms(10);
    f->s.kafka.ack_timeout = 200;
    send_one(f, p, "k", 10);
    await(f, 22);
    assert_int_equal(f->by[OUTCOME_REFUSED], 0);
}

/* A fresh stack: the broker has no producer id for us yet. Whoever waits for the first beat's
 * answer before it sends spools nothing. */
static void test_the_first_beat_warms_it_up(void **state)
{
    struct fixture *f = *state;
    f->s.kafka.ack_timeout = 800; /* less than the refusals cost */
    rd_kafka_mock_push_request_errors(f->cluster, INIT_PRODUCER_ID_API, 2,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    assert_false(state_of(p).heard);
    publish_beat(p, SLICE_LIT("first"), SLICE_LIT("{}"));
    while (!state_of(p).heard)
        pause_ms(10);
    assert_false(is_open(p));
    send_one(f, p, "k", 10);
    await(f, 1);
    assert_int_equal(f->by[OUTCOME_ACKNOWLEDGED], 1);
}

/* The record of the topic `beat` at this offset, NUL-terminated. */
static void read_beat(struct fixture *f, int64_t offset, char *ret, size_t room)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", f->s.kafka.brokers, why, sizeof(why));
    (void)rd_kafka_conf_set(conf, "group.id", "beats", why, sizeof(why));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "unit.beat", 0)->offset = offset;
    assert_int_equal(rd_kafka_assign(rk, list), 0);
    rd_kafka_message_t *m = NULL;
    while (!m || m->err != 0) {
        if (m)
            rd_kafka_message_destroy(m);
        m = rd_kafka_consumer_poll(rk, 1000);
    }
    assert_true(m->len < room);
    memcpy(ret, m->payload, m->len);
    ret[m->len] = '\0';
    rd_kafka_message_destroy(m);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

/* Records of the topic `beat`. */
static int64_t beats(struct fixture *f)
{
    char why[256];
    int64_t low = 0, high = 0;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", f->s.kafka.brokers, why, sizeof(why));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    assert_non_null(rk);
    while (rd_kafka_query_watermark_offsets(rk, "unit.beat", 0, &low, &high, 1000) != 0)
        pause_ms(10);
    rd_kafka_destroy(rk);
    return high;
}

/* What asks Kafka whether it is back is read by the processor like any other beat. */
static void test_a_probe_is_a_beat(void **state)
{
    struct fixture *f = *state;
    f->s.kafka.ack_timeout = 200;
    f->s.ingest.spool_dir = "";
    (void)rd_kafka_mock_broker_set_down(f->cluster, 1);
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    send_one(f, p, "k", 10);
    await(f, 1);
    (void)rd_kafka_mock_broker_set_up(f->cluster, 1);
    char text[512];
    read_beat(f, 0, text, sizeof(text));
    assert_non_null(strstr(text, "{\"id\":\"first\",\"at\":1"));
    assert_non_null(strstr(text, "\"oldest_spooled_ms\":0,\"farewell\":false}"));
}

/* A process that was killed says nothing: whoever takes its directory over does. */
static void test_the_heir_says_farewell(void **state)
{
    struct fixture *f = *state;
    char text[512];
    publisher_free(open_as(f, "dead"));
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    publish_farewells(p, false);
    publish_farewells(p, true);
    read_beat(f, 0, text, sizeof(text));
    assert_non_null(strstr(text, "{\"id\":\"dead\""));
    assert_non_null(strstr(text, "\"farewell\":true}"));
    read_beat(f, 1, text, sizeof(text));
    assert_non_null(strstr(text, "{\"id\":\"first\""));
}

/* What Kafka has not acknowledged may yet go to the spool: no farewell before it did. */
static void test_no_farewell_while_a_record_is_out(void **state)
{
    struct fixture *f = *state;
    struct publisher *p = open_publisher(f);
    send_one(f, p, "k", 10);
    await(f, 1);
    assert_int_equal(f->by[OUTCOME_ACKNOWLEDGED], 1);
    assert_int_equal(rd_kafka_mock_partition_set_leader(f->cluster, "unit.raw.generic", 0, -1), 0);
    send_one(f, p, "k", 10);
    publish_farewells(p, true);
    publisher_free(p);
    assert_int_equal(f->by[OUTCOME_SPOOLED], 1);
    p = open_as(f, "second");
    assert_int_equal(spooled(p), 1);
    assert_int_equal(beats(f), 0);
    publisher_free(p);
}

static void test_without_a_spool_it_is_refused(void **state)
{
    struct fixture *f = *state;
    f->s.kafka.ack_timeout = 200;
    f->s.ingest.spool_dir = "";
    (void)rd_kafka_mock_broker_set_down(f->cluster, 1);
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    send_one(f, p, "k", 10);
    send_one(f, p, NULL, 10);
    await(f, 2);
    assert_int_equal(f->by[OUTCOME_REFUSED], 2);
    assert_true(is_open(p));
    (void)rd_kafka_mock_broker_set_up(f->cluster, 1);
    while (is_open(p)) /* by a probe: no record is needed for it */
        pause_ms(10);
}

static void test_a_full_spool_refuses(void **state)
{
    struct fixture *f = *state;
    f->s.kafka.ack_timeout = 200;
    f->s.ingest.spool_max = 5000;
    (void)rd_kafka_mock_broker_set_down(f->cluster, 1);
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    for (size_t i = 0; i < 10; i++) {
        send_one(f, p, "k", 1000);
        await(f, i + 1);
    }
    assert_int_equal(f->by[OUTCOME_SPOOLED], 4);
    assert_int_equal(f->by[OUTCOME_REFUSED], 6);
}

static void test_too_large_for_kafka_never_reaches_the_spool(void **state)
{
    struct fixture *f = *state;
    CLEANUP(publisher_free) struct publisher *p = open_publisher(f);
    send_one(f, p, "k", KAFKA_MESSAGE_MAX);
    await(f, 1);
    assert_int_equal(f->by[OUTCOME_UNFIT], 1);
    assert_int_equal(spooled(p), 0);
}

/* Everybody who waits is told before the end, and what was told safe is found by the next process.
 */
static void test_the_end_leaves_nobody_waiting(void **state)
{
    struct fixture *f = *state;
    f->s.kafka.ack_timeout = 60000;
    (void)rd_kafka_mock_broker_set_down(f->cluster, 1);
    struct publisher *p = open_publisher(f);
    for (int i = 0; i < 30; i++)
        send_one(f, p, NULL, 10);
    publisher_free(p);
    assert_int_equal(f->n, 30);
    assert_int_equal(f->by[OUTCOME_SPOOLED], 30);
    p = open_as(f, "second");
    assert_int_equal(spooled(p), 30);
    publisher_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_outage_goes_to_the_spool_and_comes_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_first_beat_warms_it_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_probe_is_a_beat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_heir_says_farewell, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_farewell_while_a_record_is_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_a_spool_it_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_spool_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_large_for_kafka_never_reaches_the_spool, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_leaves_nobody_waiting, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
