/* What was called safe and is then too large for the broker: one of the mock cluster's brokers
 * refuses whatever it is sent. */
#include "broker.h"
#include "testing.h"

#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "ingest/publish.h"

enum { PRODUCE_API = 0, REFUSES = 1, TAKES = 2, LARGE = 4000, AT = 1700000000 };

/* Led by REFUSES until it says otherwise; by TAKES. */
#define NARROW "raw.generic"
#define WIDE "raw.sentry"

struct fixture {
    struct broker broker;
    struct settings s;
    char dir[64];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t n, by[OUTCOME_UNFIT + 1];
};

static void lead(struct fixture *f, const char *topic, int32_t broker)
{
    char name[64];

    (void)snprintf(name, sizeof(name), BROKER_PREFIX ".%s", topic);
    assert_int_equal(rd_kafka_mock_partition_set_leader(f->broker.cluster, name, 0, broker), 0);
}

static void refuse(struct fixture *f, size_t times)
{
    while (times-- > 0)
        assert_int_equal(
            rd_kafka_mock_broker_push_request_error_rtts(f->broker.cluster, REFUSES, PRODUCE_API, 1,
                                                         RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 0),
            0);
}

static int set_up(void **state)
{
    static const char *const topics[] = {NARROW, WIDE, "beat", NULL};
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    brokers_open(&f->broker, 2, topics);
    lead(f, NARROW, REFUSES);
    lead(f, WIDE, TAKES);
    lead(f, "beat", TAKES);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_aside.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->s.kafka = f->broker.settings;
    f->s.kafka.ack_timeout = 1000;
    f->s.ingest = (struct ingest_settings){.spool_dir = f->dir, .spool_max = 1 << 20};
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->cond, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];

    broker_close(&f->broker);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a directory of our own */
    (void)pthread_mutex_destroy(&f->lock);
    (void)pthread_cond_destroy(&f->cond);
    free(f);
    return 0;
}

static void pause_ms(int64_t ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

static void on_outcome(void *ctx, enum outcome o)
{
    struct fixture *f = ctx;

    (void)pthread_mutex_lock(&f->lock);
    f->by[o]++;
    f->n++;
    (void)pthread_cond_signal(&f->cond);
    (void)pthread_mutex_unlock(&f->lock);
}

/* Its key is its name, and its value begins with it; until it is safe. */
static enum outcome say(struct fixture *f, struct publisher *p, const char *topic, const char *name,
                        size_t size)
{
    char value[LARGE] = {0}, id[40];
    size_t before[OUTCOME_UNFIT + 1];

    (void)snprintf(value, sizeof(value), "%s", name);
    (void)snprintf(id, sizeof(id), "id-of-%s", name);
    const struct kafka_header h = {"request_id", slice_of(id)};
    const struct spool_record r = {.topic = slice_of(topic),
                                   .key = slice_of(name),
                                   .value = {value, size},
                                   .headers = &h,
                                   .header_n = 1,
                                   .at = AT};
    (void)pthread_mutex_lock(&f->lock);
    const size_t n = f->n;
    memcpy(before, f->by, sizeof(before));
    (void)pthread_mutex_unlock(&f->lock);
    publish(p, &r, on_outcome, f);
    (void)pthread_mutex_lock(&f->lock);
    while (f->n == n)
        (void)pthread_cond_wait(&f->cond, &f->lock);
    enum outcome o = OUTCOME_ACKNOWLEDGED;
    while (f->by[o] == before[o])
        o++;
    (void)pthread_mutex_unlock(&f->lock);
    return o;
}

static struct publisher *open_as(struct fixture *f, const char *id)
{
    struct publisher *p = NULL;
    struct err e = {0};

    if (publisher_new(&f->s, id, &p, &e) < 0)
        fail_msg("%s", e.msg);
    return p;
}

static struct spool_state state_of(struct publisher *p)
{
    struct publisher_state s;

    publisher_state(p, &s);
    return s.spool;
}

static void await_left(struct publisher *p, size_t records)
{
    while (state_of(p).records != records)
        pause_ms(5);
}

static void await_closed(struct publisher *p)
{
    struct publisher_state s = {.breaker_open = true};

    while (s.breaker_open) {
        pause_ms(5);
        publisher_state(p, &s);
    }
}

static void kafka_goes(struct fixture *f)
{
    (void)rd_kafka_mock_broker_set_down(f->broker.cluster, REFUSES);
    (void)rd_kafka_mock_broker_set_down(f->broker.cluster, TAKES);
}

static void kafka_comes(struct fixture *f)
{
    (void)rd_kafka_mock_broker_set_up(f->broker.cluster, REFUSES);
    (void)rd_kafka_mock_broker_set_up(f->broker.cluster, TAKES);
}

/* Kafka goes and the breaker opens: what is said now goes straight to the spool, and Kafka gets no
 * late copy but of this one. */
static struct publisher *open_without_kafka(struct fixture *f)
{
    kafka_goes(f);
    struct publisher *p = open_as(f, "first");
    assert_int_equal(say(f, p, WIDE, "opener", 10), OUTCOME_SPOOLED);
    return p;
}

/* Copies of the record of this key in a topic. */
static size_t copies(struct fixture *f, const char *topic, const char *key)
{
    char name[64], why[256];
    int64_t low = 0, high = 0, next = 0;
    size_t n = 0;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    (void)snprintf(name, sizeof(name), BROKER_PREFIX ".%s", topic);
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", f->s.kafka.brokers, why, sizeof(why));
    (void)rd_kafka_conf_set(conf, "group.id", "copies", why, sizeof(why));
    (void)rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", why, sizeof(why));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    assert_non_null(rk);
    while (rd_kafka_query_watermark_offsets(rk, name, 0, &low, &high, 1000) != 0)
        pause_ms(10);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, 0)->offset = 0;
    assert_int_equal(rd_kafka_assign(rk, list), 0);
    while (next < high) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);

        if (m && m->err == 0) {
            n += slice_is((struct slice){m->key, m->key_len}, key);
            next = m->offset + 1;
        }
        if (m)
            rd_kafka_message_destroy(m);
    }
    rd_kafka_topic_partition_list_destroy(list);
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return n;
}

/* In the spool's directory. */
static size_t files(const struct fixture *f, const char *pattern)
{
    char path[128];
    glob_t g = {0};

    (void)snprintf(path, sizeof(path), "%s/%s", f->dir, pattern);
    const size_t n = glob(path, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
    globfree(&g);
    return n;
}

static void test_set_aside_until_the_broker_takes_it(void **state)
{
    struct fixture *f = *state;

    refuse(f, 100);
    struct publisher *p = open_without_kafka(f);
    assert_int_equal(say(f, p, NARROW, "large", LARGE), OUTCOME_SPOOLED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(say(f, p, WIDE, "behind", 10), OUTCOME_SPOOLED);
    kafka_comes(f);
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 1);
    assert_int_equal(files(f, "first/*.aside"), 1);
    assert_int_equal(files(f, "first/*.seg"), 0);
    assert_int_equal(copies(f, WIDE, "behind"), 3);
    assert_int_equal(copies(f, NARROW, "large"), 0);
    assert_int_equal(say(f, p, WIDE, "after", 10), OUTCOME_ACKNOWLEDGED);

    /* As if it still waited, by its own age; and no farewell. */
    assert_int_equal(publisher_age(p, AT + 5000), 5000);
    publish_farewells(p, true);
    assert_int_equal(copies(f, "beat", "first"), 0);
    publisher_free(p);
    assert_int_equal(files(f, "first/*.aside"), 1);

    p = open_as(f, "second"); /* the broker is as it was */
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 1);
    publish_farewells(p, false);
    assert_int_equal(copies(f, "beat", "first"), 1); /* nothing is left of it */
    assert_int_equal(files(f, "first"), 0);
    assert_int_equal(files(f, "second/*.aside"), 1);
    publisher_free(p);

    lead(f, NARROW, TAKES);
    p = open_as(f, "third");
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 0);
    assert_int_equal(copies(f, NARROW, "large"), 1);
    assert_int_equal(files(f, "second/*.aside"), 0);
    assert_int_equal(publisher_age(p, AT + 5000), 0);
    publish_farewells(p, true);
    publisher_free(p);
    assert_int_equal(files(f, "*"), 0);
}

/* A broker refuses a batch, and so the innocent in it. */
static void test_only_what_is_too_large_alone(void **state)
{
    static const enum {
        OK,
        NO = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
    } answers[] = {
        NO,     /* all four */
        NO, OK, /* two of them each */
        OK, NO, /* each of the first two */
        NO, NO, /* the second one, until it is believed */
    };
    struct fixture *f = *state;

    f->s.kafka.linger = 500; /* a window is a batch */
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        (void)rd_kafka_mock_broker_push_request_error_rtts(f->broker.cluster, REFUSES, PRODUCE_API,
                                                           1, (rd_kafka_resp_err_t)answers[i], 0);
    struct publisher *p = open_without_kafka(f);
    assert_int_equal(say(f, p, NARROW, "one", 10), OUTCOME_SPOOLED);
    assert_int_equal(say(f, p, NARROW, "large", LARGE), OUTCOME_SPOOLED);
    assert_int_equal(say(f, p, NARROW, "two", 10), OUTCOME_SPOOLED);
    assert_int_equal(say(f, p, NARROW, "three", 10), OUTCOME_SPOOLED);
    kafka_comes(f);
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 1);
    assert_int_equal(copies(f, NARROW, "one"), 1);
    assert_int_equal(copies(f, NARROW, "large"), 0);
    assert_int_equal(copies(f, NARROW, "two"), 1);
    assert_int_equal(copies(f, NARROW, "three"), 1);
    publisher_free(p);
}

/* Nobody hears 413 for what another in its batch was too large for. */
static void test_who_may_have_had_company_is_tried_alone(void **state)
{
    struct fixture *f = *state;

    refuse(f, 1);
    struct publisher *p = open_as(f, "first");
    assert_int_equal(say(f, p, NARROW, "innocent", 10), OUTCOME_SPOOLED);
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 0);
    assert_int_equal(copies(f, NARROW, "innocent"), 1);
    publisher_free(p);
}

/* A segment of the topic is shorter than the record: another word for the same. */
static void test_larger_than_a_segment(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++)
        (void)rd_kafka_mock_broker_push_request_error_rtts(
            f->broker.cluster, REFUSES, PRODUCE_API, 1, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, 0);
    struct publisher *p = open_without_kafka(f);
    assert_int_equal(say(f, p, NARROW, "large", LARGE), OUTCOME_SPOOLED);
    assert_int_equal(say(f, p, WIDE, "behind", 10), OUTCOME_SPOOLED);
    kafka_comes(f);
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 1);
    assert_int_equal(copies(f, WIDE, "behind"), 1);
    publisher_free(p);
}

/* The drainer's record shares a batch with one that somebody reports just then. */
static void test_company_from_outside_the_spool(void **state)
{
    struct fixture *f = *state;

    f->s.kafka.linger = 500;
    f->s.kafka.ack_timeout = 3000;
    refuse(f, 1);
    struct publisher *p = open_without_kafka(f);
    assert_int_equal(say(f, p, NARROW, "innocent", 10), OUTCOME_SPOOLED);
    kafka_comes(f);
    await_closed(p); /* the opener is there, and "innocent" lingers */
    (void)say(f, p, NARROW, "large", LARGE);
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 0);
    assert_int_equal(copies(f, NARROW, "innocent"), 1);
    publisher_free(p);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* It stays, and what is behind it neither is lost nor goes to Kafka again with every try. */
static void test_a_full_disk_keeps_it_in_the_queue(void **state)
{
    struct fixture *f = *state;

    (void)signal(SIGXFSZ, SIG_IGN);
    refuse(f, 100);
    struct publisher *p = open_without_kafka(f);
    assert_int_equal(say(f, p, NARROW, "large", LARGE), OUTCOME_SPOOLED);
    assert_int_equal(say(f, p, WIDE, "behind", 10), OUTCOME_SPOOLED);
    limit_files(LARGE / 2);
    kafka_comes(f);
    while (copies(f, WIDE, "behind") == 0)
        pause_ms(10);
    pause_ms(3500); /* several tries */
    assert_int_equal(state_of(p).records, 2);
    assert_int_equal(state_of(p).aside, 0);
    assert_false(state_of(p).ended);
    limit_files(RLIM_INFINITY);
    await_left(p, 0);
    assert_int_equal(state_of(p).aside, 1);
    assert_true(copies(f, WIDE, "behind") <= 2);
    assert_int_equal(files(f, "first/*.aside"), 1);
    publisher_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_set_aside_until_the_broker_takes_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_only_what_is_too_large_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_may_have_had_company_is_tried_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_company_from_outside_the_spool, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_larger_than_a_segment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_disk_keeps_it_in_the_queue, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
