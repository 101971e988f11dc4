/* Senders on threads of their own, and a broker that goes away under them until the spool is full:
 * what was answered 2xx is in Kafka in the end, and what one key said in the order it was said. */
#include "broker.h"
#include "testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ingest/publish.h"

enum { SENDERS = 4, KEYS = 2, OUTAGES = 2 };

static const char *const topics[] = {"raw.generic", "beat", NULL};

/* One thread; it sends the next number of a key once the last is safe, as a sender does that waits
 * for its answers and tries again after a 503. */
struct sender {
    pthread_t thread;
    struct publisher *p;
    unsigned id, sent[KEYS]; /* numbers that were answered 2xx */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum outcome outcome; /* 0: not yet */
};

static struct {
    struct broker broker;
    atomic_bool stop;
    atomic_uint by[OUTCOME_UNFIT + 1];
    unsigned seen[SENDERS][KEYS]; /* numbers whose first copy came, all in order */
} st;

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000};

    (void)nanosleep(&t, NULL);
}

static void on_outcome(void *ctx, enum outcome o)
{
    struct sender *s = ctx;

    atomic_fetch_add(&st.by[o], 1);
    (void)pthread_mutex_lock(&s->lock);
    s->outcome = o;
    (void)pthread_cond_signal(&s->cond);
    (void)pthread_mutex_unlock(&s->lock);
}

static enum outcome say(struct sender *s, unsigned key, unsigned number)
{
    char name[16], value[128];
    const int len = snprintf(value, sizeof(value), "%u %-100u", number, number);
    const struct spool_record r = {.topic = SLICE_LIT("raw.generic"),
                                   .key = {name, 0},
                                   .value = {value, (size_t)len},
                                   .at = 1700000000000};
    struct spool_record named = r;

    named.key.len = (size_t)snprintf(name, sizeof(name), "%u.%u", s->id, key);
    s->outcome = 0;
    publish(s->p, &named, on_outcome, s);
    (void)pthread_mutex_lock(&s->lock);
    while (s->outcome == 0)
        (void)pthread_cond_wait(&s->cond, &s->lock);
    const enum outcome o = s->outcome;
    (void)pthread_mutex_unlock(&s->lock);
    return o;
}

static void *send_all(void *arg)
{
    struct sender *s = arg;

    for (unsigned turn = 0; !atomic_load(&st.stop); turn++) {
        const unsigned key = turn % KEYS;
        const enum outcome o = say(s, key, s->sent[key]);

        s->sent[key] += o == OUTCOME_ACKNOWLEDGED || o == OUTCOME_SPOOLED;
        pause_ms(1);
    }
    return NULL;
}

static struct publisher_state state_of(struct publisher *p)
{
    struct publisher_state s;

    publisher_state(p, &s);
    return s;
}

/* Until Kafka takes records from the door again, and `more` of them. */
static void await_acknowledged(unsigned more)
{
    const unsigned from = atomic_load(&st.by[OUTCOME_ACKNOWLEDGED]);

    while (atomic_load(&st.by[OUTCOME_ACKNOWLEDGED]) < from + more)
        pause_ms(5);
}

static void outage(struct publisher *p)
{
    const unsigned refused = atomic_load(&st.by[OUTCOME_REFUSED]);

    (void)rd_kafka_mock_broker_set_down(st.broker.cluster, 1);
    while (atomic_load(&st.by[OUTCOME_REFUSED]) < refused + 20)
        pause_ms(5);
    assert_true(state_of(p).spool.records > 0);
    (void)rd_kafka_mock_broker_set_up(st.broker.cluster, 1);
    await_acknowledged(100);
}

/* ---- what Kafka has ---- */

/* A copy may come late, after newer numbers; a first copy may not. */
static void hear(const struct kafka_message *m)
{
    char key[16], value[16];
    unsigned who, which;

    (void)snprintf(key, sizeof(key), "%.*s", SLICE_FMT(m->key));
    (void)snprintf(value, sizeof(value), "%.*s", (int)sizeof(value) - 1, m->value.p);
    assert_int_equal(sscanf(key, "%u.%u", &who, &which), 2); /* NOLINT(cert-err34-c): ours */
    assert_true(who < SENDERS && which < KEYS);
    const unsigned number = (unsigned)strtoul(value, NULL, 10);
    unsigned *seen = &st.seen[who][which];
    if (number > *seen)
        fail_msg("key %s: %u came before %u", key, number, *seen);
    *seen += number == *seen;
}

static void read_all(void)
{
    static const char *const raw[] = {"raw.generic", NULL};
    const struct kafka_consumer_options o = {
        .group = "g", .topics = raw, .assigned = broker_from_the_start, .revoked = broker_revoked};
    int64_t low = -1, high = 0, next = 0;
    struct kafka_consumer *c;
    struct err e = {0};

    if (kafka_consumer_new(&st.broker.settings, &o, &c, &e) < 0 ||
        kafka_query_watermarks(c, "raw.generic", 0, 30000, &low, &high, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(low, 0); /* it forgets past 5 MiB */
    while (next < high) {
        struct kafka_message m;

        if (kafka_poll(c, &m, 1, 100, &e) <= 0)
            continue;
        hear(&m);
        next = m.offset + 1;
        kafka_message_free(&m);
    }
    kafka_consumer_free(c);
}

static void test_order_and_a_full_spool_under_load(void **state)
{
    char dir[] = "/tmp/test_load.XXXXXX", command[64];
    struct sender senders[SENDERS];
    struct publisher *p = NULL;
    struct err e = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    broker_open(&st.broker, topics);
    st.broker.settings.ack_timeout = 300;
    const struct settings s = {.kafka = st.broker.settings,
                               /* several windows of the drain's */
                               .ingest = {.spool_dir = dir, .spool_max = 300 << 10}};
    if (publisher_new(&s, "loaded", &p, &e) < 0)
        fail_msg("%s", e.msg);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.p = p, .id = i};
        (void)pthread_mutex_init(&senders[i].lock, NULL);
        (void)pthread_cond_init(&senders[i].cond, NULL);
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    await_acknowledged(50);
    for (int i = 0; i < OUTAGES; i++)
        outage(p);
    atomic_store(&st.stop, true);
    for (unsigned i = 0; i < SENDERS; i++)
        (void)pthread_join(senders[i].thread, NULL);
    while (state_of(p).spool.records > 0 || state_of(p).breaker_open)
        pause_ms(5);
    publisher_free(p);

    read_all();
    for (unsigned i = 0; i < SENDERS; i++)
        for (unsigned k = 0; k < KEYS; k++)
            assert_true(st.seen[i][k] >= senders[i].sent[k]);
    assert_int_equal(st.by[OUTCOME_UNFIT], 0);
    broker_close(&st.broker);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a directory of our own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_and_a_full_spool_under_load)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
