/* A broker that is there and says nothing (SIGSTOP): connections are taken, requests are not. */
#include "broker.h"
#include "testing.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ingest/publish.h"

static const char *const topics[] = {"raw.generic", "beat", NULL};

static struct {
    pid_t pid;
    char address[64];
} frozen; /* the broker, a process of its own */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t n, by[OUTCOME_UNFIT + 1];
} said = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

/* Before there is any thread. */
static void start_broker(void)
{
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    frozen.pid = fork();
    assert_true(frozen.pid >= 0);
    if (frozen.pid == 0) {
        struct broker b;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        broker_open(&b, topics);
        (void)!write(fd[1], b.settings.brokers, strlen(b.settings.brokers));
        (void)close(fd[1]);
        for (;;)
            (void)pause();
    }
    (void)close(fd[1]);
    assert_true(read(fd[0], frozen.address, sizeof(frozen.address) - 1) > 0);
    (void)close(fd[0]);
}

static void on_outcome(void *ctx, enum outcome o)
{
    (void)ctx;
    (void)pthread_mutex_lock(&said.lock);
    said.by[o]++;
    said.n++;
    (void)pthread_cond_broadcast(&said.cond);
    (void)pthread_mutex_unlock(&said.lock);
}

static enum outcome publish_one(struct publisher *p, const char *key)
{
    const struct spool_record r = {.topic = SLICE_LIT("raw.generic"),
                                   .key = slice_of(key),
                                   .value = SLICE_LIT("value"),
                                   .at = 1700000000000};
    enum outcome o = OUTCOME_ACKNOWLEDGED;

    (void)pthread_mutex_lock(&said.lock);
    memset(said.by, 0, sizeof(said.by));
    said.n = 0;
    (void)pthread_mutex_unlock(&said.lock);
    publish(p, &r, on_outcome, NULL);
    (void)pthread_mutex_lock(&said.lock);
    while (said.n == 0)
        (void)pthread_cond_wait(&said.cond, &said.lock);
    while (!said.by[o])
        o++;
    (void)pthread_mutex_unlock(&said.lock);
    return o;
}

static void pause_ms(int64_t ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

static struct publisher_state state_of(struct publisher *p)
{
    struct publisher_state s;

    publisher_state(p, &s);
    return s;
}

/* However long it says nothing (the second time past librdkafka's time-outs): what comes is safe on
 * disk, and once it speaks all of it goes out. */
static void test_a_frozen_broker_is_found_again(void **state)
{
    static const int64_t freezes[] = {1000, 8000};
    char dir[] = "/tmp/test_freeze.XXXXXX", command[64];
    struct publisher *p = NULL;
    struct err e = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    const struct settings s = {.kafka = {.brokers = frozen.address,
                                         .topic_prefix = BROKER_PREFIX,
                                         .client_id = "test",
                                         .ack_timeout = 500,
                                         .linger = 1,
                                         .queue_messages = 1000},
                               .ingest = {.spool_dir = dir, .spool_max = 1 << 20}};
    if (publisher_new(&s, "frozen", &p, &e) < 0)
        fail_msg("%s", e.msg);
    for (size_t i = 0; i < sizeof(freezes) / sizeof(*freezes); i++) {
        while (publish_one(p, "k") != OUTCOME_ACKNOWLEDGED)
            pause_ms(50);
        (void)kill(frozen.pid, SIGSTOP);
        while (publish_one(p, "k") != OUTCOME_SPOOLED)
            pause_ms(50);
        const int64_t until = clock_monotonic_ms() + freezes[i];
        while (clock_monotonic_ms() < until) {
            assert_int_equal(publish_one(p, "k"), OUTCOME_SPOOLED);
            pause_ms(50);
        }
        assert_true(state_of(p).breaker_open);
        (void)kill(frozen.pid, SIGCONT);
        const int64_t woke = clock_monotonic_ms();
        while (state_of(p).breaker_open || state_of(p).spool.records > 0)
            pause_ms(5);
        print_message("frozen for %lld ms, found again after %lld ms\n", (long long)freezes[i],
                      (long long)(clock_monotonic_ms() - woke));
    }
    publisher_free(p);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a directory of our own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_frozen_broker_is_found_again)};

    start_broker();
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)kill(frozen.pid, SIGKILL);
    (void)waitpid(frozen.pid, NULL, 0);
    return rc;
}
