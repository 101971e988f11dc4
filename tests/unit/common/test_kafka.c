/* common/kafka against librdkafka's mock cluster, which also breaks on demand. */
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/clock.h"
#include "common/kafka.h"

enum { PRODUCE_API = 0, LIST_OFFSETS_API = 2, PARTITIONS = 2, WAIT_MS = 20 * 1000 };

struct fixture {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    struct kafka_settings s;
    struct err e;

    /* what the reports said */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t reports, failures;
    unsigned char seen[4096]; /* reports per record; a record is its place here */

    /* what the rebalance callbacks said */
    int64_t start;     /* given to every partition */
    int refusals;      /* left to give */
    size_t assigned_n; /* partitions held */
    int assigned_calls, revoked_calls, lost_calls;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", why,
                      sizeof why); /* it has no broker itself, and says so */
    f->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    f->cluster = rd_kafka_mock_cluster_new(f->host, 1);
    rd_kafka_mock_topic_create(f->cluster, "unit.raw.a", PARTITIONS, 1);
    f->s = (struct kafka_settings){
        .brokers = rd_kafka_mock_cluster_bootstraps(f->cluster),
        .topic_prefix = "unit",
        .group_prefix = "unit",
        .client_id = "test",
        .partitions = PARTITIONS,
        .replication_factor = 1,
        .min_insync_replicas = 1,
        .ack_timeout = 10000,
        .session_timeout = 6000,
        .linger = 1,
        .fetch_wait = 10,
        .queue_messages = 1000,
    };
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->host);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f);
    return 0;
}

#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (f)->e.msg);                                                 \
    } while (0)

/* ---- producer ---- */

static void count_report(void *ctx, void *record, int err_code, const char *err_text)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->reports++;
    f->failures += err_code != 0;
    (*(unsigned char *)record)++;
    assert_non_null(err_text);
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static struct kafka_producer *producer(struct fixture *f)
{
    struct kafka_producer *p = NULL;
    OK(f, kafka_producer_new(&f->s, count_report, f, &p, &f->e));
    return p;
}

static int produce(struct fixture *f, struct kafka_producer *p, size_t record)
{
    char key[32];
    snprintf(key, sizeof key, "key-%u", (unsigned)record);
    return kafka_produce(p, "raw.a", slice_of(key), SLICE_LIT("value"), NULL, 0, &f->seen[record],
                         &f->e);
}

static void assert_one_report_each(const struct fixture *f, size_t n)
{
    assert_int_equal(f->reports, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(f->seen[i], 1);
}

static void test_every_record_is_reported_once(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    for (size_t i = 0; i < 500; i++)
        OK(f, produce(f, p, i));
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    assert_int_equal(kafka_pending(p), 0);
    kafka_producer_free(p);
    assert_one_report_each(f, 500);
    assert_int_equal(f->failures, 0);
}

static void test_retriable_broker_errors_heal(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    rd_kafka_mock_push_request_errors(
        f->cluster, PRODUCE_API, 3, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
    for (size_t i = 0; i < 50; i++)
        OK(f, produce(f, p, i));
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    kafka_producer_free(p);
    assert_one_report_each(f, 50);
    assert_int_equal(f->failures, 0);
}

static void test_refused_record_is_reported_as_failed(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    OK(f, kafka_produce_wait(p, "raw.a", SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0, WAIT_MS, &f->e));
    rd_kafka_mock_push_request_errors(f->cluster, PRODUCE_API, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(
        kafka_produce_wait(p, "raw.a", SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0, WAIT_MS, &f->e),
        -EACCES);
    kafka_producer_free(p);
}

static void test_queue_refuses_at_four_fifths(void **state)
{
    struct fixture *f = *state;
    f->s.queue_messages = 100;
    struct kafka_producer *p = producer(f);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    for (size_t i = 0; i < 80; i++)
        OK(f, produce(f, p, i));
    assert_int_equal(produce(f, p, 80), -EAGAIN);
    assert_int_equal(kafka_pending(p), 80);
    assert_int_equal(kafka_flush(p, 0), 80);
    /* The end reports what the broker never took. */
    kafka_producer_free(p);
    assert_one_report_each(f, 80);
    assert_int_equal(f->failures, 80);
}

/* Until a record is acknowledged: the first ones may be late, or meet a broker that is just coming
 * back. */
static void wait_for_success(struct fixture *f, struct kafka_producer *p)
{
    int rc = -1;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; rc && clock_monotonic_ms() < end;)
        rc =
            kafka_produce_wait(p, "raw.a", SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0, WAIT_MS, &f->e);
    OK(f, rc);
}

static void test_broker_away_times_out_and_comes_back(void **state)
{
    struct fixture *f = *state;
    f->s.ack_timeout = 500;
    struct kafka_producer *p = producer(f);
    wait_for_success(f, p);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    OK(f, produce(f, p, 0));
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    assert_int_equal(f->failures, 1);
    rd_kafka_mock_broker_set_up(f->cluster, -1);
    wait_for_success(f, p);
    kafka_producer_free(p);
    assert_one_report_each(f, 1);
}

static void test_wait_that_gives_up_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    assert_int_equal(
        kafka_produce_wait(p, "raw.a", SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0, 1, &f->e),
        -ETIMEDOUT);
    assert_int_equal(kafka_pending(p), 1);
    kafka_producer_free(p);
    assert_int_equal(f->reports, 0);
}

/* An answer that cannot be under one producer id: librdkafka gives the handle up for good. */
static void test_fatal_error_rebuilds_the_producer(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    OK(f, produce(f, p, 0));
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    rd_kafka_mock_push_request_errors(f->cluster, PRODUCE_API, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    OK(f, produce(f, p, 1));
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    assert_int_equal(f->failures, 1);
    wait_for_success(f, p);
    kafka_producer_free(p);
    assert_one_report_each(f, 2);
}

struct sender {
    struct fixture *f;
    struct kafka_producer *p;
    size_t first;
    size_t sent;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;
    for (size_t i = 0; i < 500; i++) {
        struct err e;
        while (kafka_produce(s->p, "raw.a", SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0,
                             &s->f->seen[s->first + i], &e) == -EAGAIN)
            (void)kafka_flush(s->p, 1);
        s->sent++;
    }
    return NULL;
}

static void test_senders_survive_a_rebuild(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    struct sender senders[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        senders[i] = (struct sender){.f = f, .p = p, .first = 500 * i};
        pthread_create(&threads[i], NULL, send_many, &senders[i]);
        rd_kafka_mock_push_request_errors(f->cluster, PRODUCE_API, 1,
                                          RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    kafka_producer_free(p);
    assert_one_report_each(f, 2000);
    assert_true(f->failures > 0);
}

static void test_names_that_are_too_long(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = producer(f);
    char topic[300];
    memset(topic, 'x', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    assert_int_equal(kafka_produce(p, topic, SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0, NULL, &f->e),
                     -ENAMETOOLONG);
    assert_int_equal(kafka_pending(p), 0);
    kafka_producer_free(p);
}

static void test_bad_settings_have_a_reason_without_the_secret(void **state)
{
    struct fixture *f = *state;
    struct kafka_producer *p = NULL;
    f->s.security_protocol = "carrier-pigeon";
    assert_int_equal(kafka_producer_new(&f->s, count_report, f, &p, &f->e), -EINVAL);
    assert_non_null(strstr(f->e.msg, "security.protocol"));
    f->s.security_protocol = "sasl_ssl";
    f->s.sasl_mechanism = "PLAIN";
    f->s.sasl_username = "me";
    f->s.sasl_password = "hunter2";
    f->s.ssl_ca_location = "/nonexistent/ca.pem";
    assert_int_equal(kafka_producer_new(&f->s, count_report, f, &p, &f->e), -EINVAL);
    assert_non_null(strstr(f->e.msg, "ssl.ca.location"));
    assert_null(strstr(f->e.msg, "hunter2"));
}

/* ---- consumer ---- */

static int on_assigned(void *ctx, struct kafka_partition *p, size_t n, struct err *e)
{
    struct fixture *f = ctx;
    f->assigned_calls++;
    if (f->refusals > 0) {
        f->refusals--;
        return err_set(e, -EBUSY, "not now");
    }
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(p[i].topic, "raw.a");
        p[i].offset = f->start;
    }
    f->assigned_n += n;
    return 0;
}

static void on_revoked(void *ctx, const struct kafka_partition *p, size_t n, bool lost)
{
    struct fixture *f = ctx;
    (void)p;
    f->revoked_calls++;
    f->lost_calls += lost;
    f->assigned_n -= n;
}

static struct kafka_consumer *consumer(struct fixture *f)
{
    static const char *const topics[] = {"raw.a", NULL};
    const struct kafka_consumer_options o = {
        .group = "g", .topics = topics, .assigned = on_assigned, .revoked = on_revoked, .ctx = f};
    struct kafka_consumer *c = NULL;
    OK(f, kafka_consumer_new(&f->s, &o, &c, &f->e));
    return c;
}

/* Poll until `want` messages came; frees them. The sum of their offsets into *ret_sum. */
static size_t drain(struct fixture *f, struct kafka_consumer *c, size_t want, int64_t *ret_sum)
{
    struct kafka_message m[64];
    size_t got = 0;
    int64_t sum = 0;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; got < want && clock_monotonic_ms() < end;) {
        int n = kafka_poll(c, m, 64, 200, &f->e);
        if (n < 0)
            fail_msg("%s", f->e.msg);
        for (int i = 0; i < n; i++) {
            sum += m[i].offset;
            kafka_message_free(&m[i]);
        }
        got += (size_t)n;
    }
    if (ret_sum)
        *ret_sum = sum;
    return got;
}

static void fill_topic(struct fixture *f, size_t n)
{
    struct kafka_producer *p = producer(f);
    for (size_t i = 0; i < n; i++)
        OK(f, produce(f, p, i));
    assert_int_equal(kafka_flush(p, WAIT_MS), 0);
    assert_int_equal(f->failures, 0);
    kafka_producer_free(p);
}

static void test_message_arrives_whole(void **state)
{
    struct fixture *f = *state;
    f->start = -1;
    struct kafka_producer *p = producer(f);
    const struct kafka_header headers[] = {{"v", SLICE_LIT("1")}, {"empty", SLICE_LIT("")}};
    OK(f, kafka_produce_wait(p, "raw.a", SLICE_LIT("key"), (struct slice){"\0v", 2}, headers, 2,
                             WAIT_MS, &f->e));
    kafka_producer_free(p);

    struct kafka_consumer *c = consumer(f);
    struct kafka_message m = {0};
    int n = 0;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; n == 0 && clock_monotonic_ms() < end;)
        n = kafka_poll(c, &m, 1, 200, &f->e);
    assert_int_equal(n, 1);
    assert_string_equal(m.topic, "raw.a");
    assert_int_equal(m.offset, 0);
    assert_true(m.timestamp > 0);
    assert_true(slice_is(m.key, "key"));
    assert_true(slice_eq(m.value, (struct slice){"\0v", 2}));
    assert_true(slice_is(kafka_message_header(&m, "v"), "1"));
    assert_non_null(kafka_message_header(&m, "empty").p);
    assert_null(kafka_message_header(&m, "absent").p);
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    struct kafka_header *all = NULL;
    assert_int_equal(kafka_message_headers(&m, a, &all), 2);
    assert_string_equal(all[0].name, "v");
    assert_string_equal(all[1].name, "empty");
    kafka_message_free(&m);
    kafka_consumer_free(c);
}

static void test_start_is_what_the_caller_says(void **state)
{
    struct fixture *f = *state;
    fill_topic(f, 100);
    f->start = -1;
    struct kafka_consumer *c = consumer(f);
    assert_int_equal(drain(f, c, 100, NULL), 100);
    /* A commit is a hint: the next start is the caller's all the same. */
    const struct kafka_partition hint[] = {{"raw.a", 0, 1}, {"raw.a", 1, 1}};
    kafka_commit_hint(c, hint, 2);
    kafka_consumer_free(c);
    assert_int_equal(f->assigned_n, 0);
    assert_true(f->revoked_calls > 0);
    assert_int_equal(f->lost_calls, 0);

    f->start = 10;
    c = consumer(f);
    assert_int_equal(drain(f, c, 100 - 10 * PARTITIONS, NULL), 100 - 10 * PARTITIONS);
    kafka_consumer_free(c);
}

static void test_refused_assignment_comes_again(void **state)
{
    struct fixture *f = *state;
    fill_topic(f, 10);
    f->start = -1;
    f->refusals = 1;
    struct kafka_consumer *c = consumer(f);
    struct kafka_message m[8];
    int rc = 0;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; rc == 0 && clock_monotonic_ms() < end;)
        rc = kafka_poll(c, m, 8, 200, &f->e);
    assert_int_equal(rc, -EBUSY);
    assert_string_equal(f->e.msg, "not now");
    assert_int_equal(drain(f, c, 10, NULL), 10);
    assert_int_equal(f->assigned_calls, 2);
    assert_int_equal(f->revoked_calls, 0);
    kafka_consumer_free(c);
    assert_int_equal(f->revoked_calls, 1);
}

static void test_seek_and_pause(void **state)
{
    struct fixture *f = *state;
    fill_topic(f, 100);
    f->start = -1;
    struct kafka_consumer *c = consumer(f);
    int64_t low, high, sum, again;
    assert_int_equal(drain(f, c, 100, &sum), 100);
    kafka_watermarks(c, "raw.a", 0, &low, &high);
    assert_int_equal(low, 0);
    assert_true(high > 0 && high <= 100);
    OK(f, kafka_query_watermarks(c, "raw.a", 0, WAIT_MS, &low, &high, &f->e));
    assert_int_equal(low, 0);
    assert_int_equal(kafka_query_watermarks(c, "raw.a", 77, 1000, &low, &high, &f->e), -ENOENT);
    rd_kafka_mock_push_request_errors(f->cluster, LIST_OFFSETS_API, 2,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
    assert_int_equal(kafka_query_watermarks(c, "raw.a", 0, WAIT_MS, &low, &high, &f->e), -EBUSY);

    const struct kafka_partition both[] = {{"raw.a", 0, 0}, {"raw.a", 1, 0}};
    OK(f, kafka_pause(c, both, 2, true, &f->e));
    OK(f, kafka_seek(c, "raw.a", 0, 0, &f->e));
    OK(f, kafka_seek(c, "raw.a", 1, 0, &f->e));
    struct kafka_message m[8];
    assert_int_equal(kafka_poll(c, m, 8, 300, &f->e), 0);
    OK(f, kafka_pause(c, both, 2, false, &f->e));
    assert_int_equal(drain(f, c, 100, &again), 100);
    assert_true(again == sum);
    kafka_watermarks(c, "raw.other", 0, &low, &high);
    assert_true(low == -1 && high == -1);
    kafka_consumer_free(c);
}

static void test_two_members_share(void **state)
{
    struct fixture *f = *state;
    fill_topic(f, 20);
    f->start = -1;
    struct kafka_consumer *one = consumer(f);
    assert_int_equal(drain(f, one, 20, NULL), 20);
    assert_int_equal(f->assigned_n, 2);
    struct fixture other = {.s = f->s, .start = -1};
    struct kafka_consumer *two = consumer(&other);
    struct kafka_message m[64];
    for (int64_t end = clock_monotonic_ms() + WAIT_MS;
         (f->assigned_n != 1 || other.assigned_n != 1) && clock_monotonic_ms() < end;) {
        struct kafka_consumer *who[] = {one, two};
        for (size_t i = 0; i < 2; i++) {
            int n = kafka_poll(who[i], m, 64, 50, &f->e);
            for (int j = 0; j < n; j++)
                kafka_message_free(&m[j]);
        }
    }
    assert_int_equal(f->assigned_n, 1);
    assert_int_equal(other.assigned_n, 1);
    kafka_consumer_free(two);
    kafka_consumer_free(one);
    assert_int_equal(f->assigned_n, 0);
    assert_int_equal(other.assigned_n, 0);
}

static void test_unknown_topic_is_told(void **state)
{
    struct fixture *f = *state;
    static const char *const topics[] = {"raw.absent", NULL};
    rd_kafka_mock_topic_set_error(f->cluster, "unit.raw.absent",
                                  RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    const struct kafka_consumer_options o = {
        .group = "g", .topics = topics, .assigned = on_assigned, .revoked = on_revoked, .ctx = f};
    struct kafka_consumer *c = NULL;
    OK(f, kafka_consumer_new(&f->s, &o, &c, &f->e));
    struct kafka_message m[8];
    int rc = 0;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; rc == 0 && clock_monotonic_ms() < end;)
        rc = kafka_poll(c, m, 8, 200, &f->e);
    assert_int_equal(rc, -ENOENT);
    assert_non_null(strstr(f->e.msg, "raw.absent"));
    kafka_consumer_free(c);
}

static void test_consumer_ends_while_the_broker_is_away(void **state)
{
    struct fixture *f = *state;
    fill_topic(f, 10);
    f->start = -1;
    struct kafka_consumer *c = consumer(f);
    assert_int_equal(drain(f, c, 10, NULL), 10);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    const struct kafka_partition hint[] = {{"raw.a", 0, 1}};
    kafka_commit_hint(c, hint, 1);
    kafka_consumer_free(c);
    assert_int_equal(f->assigned_n, 0);
}

/* What was read ahead lies in the queue that the good-bye is served from. */
static void test_consumer_ends_with_records_unread(void **state)
{
    struct fixture *f = *state;
    fill_topic(f, 200);
    f->start = -1;
    struct kafka_consumer *c = consumer(f);
    struct kafka_message m;
    int n = 0;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; n == 0 && clock_monotonic_ms() < end;)
        n = kafka_poll(c, &m, 1, 200, &f->e);
    assert_int_equal(n, 1);
    kafka_message_free(&m);
    const struct timespec while_it_reads = {.tv_nsec = 300 * 1000 * 1000};
    (void)nanosleep(&while_it_reads, NULL);
    kafka_consumer_free(c);
    assert_int_equal(f->assigned_n, 0);
}

static void test_cluster_id(void **state)
{
    struct fixture *f = *state;
    struct kafka_consumer *c = consumer(f);
    char id[64] = "";
    OK(f, kafka_cluster_id(c, WAIT_MS, id, &f->e));
    assert_true(strlen(id) > 0);
    kafka_consumer_free(c);
    f->s.brokers = "127.0.0.1:1";
    c = consumer(f);
    assert_int_equal(kafka_cluster_id(c, 100, id, &f->e), -ETIMEDOUT);
    kafka_consumer_free(c);
}

/* ---- administration ---- */

static void test_topics_are_created_once(void **state)
{
    struct fixture *f = *state;
    const struct kafka_topic topics[] = {{"raw.a", MS_DAY, false}, {"new", MS_DAY, true}};
    size_t created = 99;
    OK(f, kafka_create_topics(&f->s, topics, 2, &created, &f->e));
    assert_int_equal(created, 1);
    OK(f, kafka_create_topics(&f->s, topics, 2, &created, &f->e));
    assert_int_equal(created, 0);
    f->s.min_insync_replicas = 2;
    assert_int_equal(kafka_create_topics(&f->s, topics, 2, &created, &f->e), -EINVAL);
}

static void test_ping(void **state)
{
    struct fixture *f = *state;
    OK(f, kafka_ping(&f->s, WAIT_MS, &f->e));
    OK(f, kafka_ping(&f->s, WAIT_MS, &f->e));
    f->s.brokers = "127.0.0.1:1";
    int rc = kafka_ping(&f->s, 100, &f->e);
    assert_true(rc == -ENOTCONN || rc == -ETIMEDOUT);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_record_is_reported_once),
        TEST(test_retriable_broker_errors_heal),
        TEST(test_refused_record_is_reported_as_failed),
        TEST(test_queue_refuses_at_four_fifths),
        TEST(test_broker_away_times_out_and_comes_back),
        TEST(test_wait_that_gives_up_leaves_nothing_behind),
        TEST(test_fatal_error_rebuilds_the_producer),
        TEST(test_senders_survive_a_rebuild),
        TEST(test_names_that_are_too_long),
        TEST(test_bad_settings_have_a_reason_without_the_secret),
        TEST(test_message_arrives_whole),
        TEST(test_start_is_what_the_caller_says),
        TEST(test_refused_assignment_comes_again),
        TEST(test_seek_and_pause),
        TEST(test_two_members_share),
        TEST(test_unknown_topic_is_told),
        TEST(test_consumer_ends_while_the_broker_is_away),
        TEST(test_consumer_ends_with_records_unread),
        TEST(test_cluster_id),
        TEST(test_topics_are_created_once),
        TEST(test_ping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
