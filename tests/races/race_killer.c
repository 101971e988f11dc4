/*
 * A record that kills the process, again and again: the real program, with a library preloaded that
 * dies of it. Started anew each time, as a supervisor would, it isolates the record, sends it to
 * `dead`, and nobody else suffers.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "common/record.h"
#include "pause.h"

#define STARTS_MAX 20
#define CRASH_LIMIT 3

static const char *program, *killer;
static struct schema db;
static struct broker broker;
static struct kafka_producer *producer;
static const char *const topics[] = {
#define SOURCE(name) "raw." #name,
#include "common/sources.def"
#undef SOURCE
    "beat", "dead", "notify.slack", NULL};

static void reported(void *ctx, void *record, int code, const char *why)
{
    (void)ctx;
    (void)record;
    (void)code;
    (void)why;
}

static int set_up(void **state)
{
    struct err e = {0};

    (void)state;
    broker_open(&broker, topics);
    schema_open(&db);
    SQL_OK(&db, kafka_producer_new(&broker.settings, reported, NULL, &producer, &e));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kafka_producer_free(producer);
    schema_close(&db);
    broker_close(&broker);
    return 0;
}

static const char *text(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *text(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *s = arena_vprintf(db.arena, fmt, ap);
    va_end(ap);
    assert_non_null(s);
    return s;
}

static int generic_n, prometheus_n; /* posted so far */

/* As ingest would have filed it. */
static void post(const char *source, const char *instance)
{
    static uint32_t requests;
    const char *body =
        text(strcmp(source, "generic") == 0
                 ? "{\"title\":\"T\",\"labels\":{\"alertname\":\"G\",\"instance\":\"%s\"}}"
                 : "[{\"labels\":{\"alertname\":\"P\",\"instance\":\"%s\"}}]",
             instance);
    const struct kafka_header headers[] = {
        {"v", SLICE_LIT(RECORD_VERSION)},
        {"tenant", SLICE_LIT("default")},
        {"source", slice_of(source)},
        {"request_id", slice_of(text("00000000-0000-7000-8000-%012u", (unsigned)++requests))},
        {"received_at", slice_of(text("%lld", (long long)clock_now_ms()))}};
    const int rc = kafka_produce_wait(producer, text("raw.%s", source), SLICE_LIT("k"),
                                      slice_of(body), headers, 5, 10000, &db.e);

    if (rc != 0)
        fail_msg("%s", db.e.msg);
    *(strcmp(source, "generic") == 0 ? &generic_n : &prometheus_n) += 1;
}

/* A consumer group of its own each time: the broker need not wait until it has missed the dead one.
 * The offsets do not hang on it. */
static pid_t start(void)
{
    static int n;
    static char set[] = "--set";
    const char *sets[] = {text("kafka.brokers=%s", broker.settings.brokers),
                          "kafka.topic_prefix=" BROKER_PREFIX,
                          text("kafka.group_prefix=start%d", ++n),
                          text("postgres.url=%s", server_url(db.server)),
                          "postgres.schema=" SCHEMA_NAME,
                          "redis.url=",
                          "processor.listen=127.0.0.1:0",
                          "processor.batch_wait=200ms"};
    const size_t set_n = sizeof(sets) / sizeof(*sets);
    char *argv[2 + 2 * sizeof(sets) / sizeof(*sets)] = {(char *)(uintptr_t)program};
    const pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid;
    for (size_t i = 0; i < set_n; i++) {
        argv[1 + 2 * i] = set;
        argv[2 + 2 * i] = (char *)(uintptr_t)sets[i];
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)setenv("LD_PRELOAD", killer, 1);
    if (!getenv("RACES_LOG") && !freopen("/dev/null", "w", stderr))
        _exit(127);
    execv(program, argv);
    _exit(127);
}

/* All that was posted is committed, and what went to `dead` is there. */
static bool all_done(void)
{
    return strcmp(schema_text(&db, "SELECT coalesce(string_agg(next_offset::text, ',' ORDER BY "
                                   "topic), '') || ' ' || (SELECT count(*) FROM outbox) FROM "
                                   "offsets WHERE topic IN ('raw.generic', 'raw.prometheus')"),
                  text("%d,%d 0", generic_n, prometheus_n)) == 0;
}

/* Until the program died of the record (true), or all is done; then it is ended. */
static bool dies(pid_t pid)
{
    int status;

    for (int i = 0; i < 6000 && !all_done(); i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (!WIFSIGNALED(status))
                fail_msg("the processor ended by itself, with %d", status);
            return true;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000L}, NULL);
    }
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, &status, 0);
    assert_true(all_done());
    return false;
}

static void is_the_killer(void *ctx, const struct kafka_message *m)
{
    (void)ctx;
    if (!memmem(m->value.p, m->value.len, "kills the", 9))
        fail_msg("this record did nothing: %.*s", SLICE_FMT(m->value));
    assert_true(slice_is(kafka_message_header(m, "stage"), "process"));
    assert_true(kafka_message_header(m, "reason").len > 0);
}

/* The killer is the first record of one source; the other's must not pay for it. */
static void plays(const char *its, const char *words, const char *others)
{
    static const char *const dead[] = {"dead", NULL};
    static size_t dead_n;
    int deaths = 0;

    dead_n++;
    schema_do(&db, "DELETE FROM alerts");
    post(its, words);
    post(its, "a1");
    post(its, "a2");
    for (int i = 0; i < 3; i++)
        post(others, text("b%d", i));
    while (deaths < STARTS_MAX && dies(start()))
        deaths++;
    assert_int_equal(deaths, CRASH_LIMIT + 1);
    assert_string_equal(schema_text(&db, "SELECT string_agg(labels ->> 'instance', ' ' ORDER BY "
                                         "labels ->> 'instance') FROM alerts"),
                        "a1 a2 b0 b1 b2");
    broker_read(&broker, text("reader%zu", dead_n), dead, dead_n, is_the_killer, NULL);
}

/*
 * starts 1-3:  a batch of all: dies
 * start 4:     one by one: what is in other partitions is stored, the record dies alone
 * start 5:     it goes to `dead` unread, and all goes on
 */
static void test_a_record_kills_the_decoder(void **state)
{
    (void)state;
    plays("prometheus", "kills the decoder", "generic");
}

/* The same while the reading thread is ahead of the one that dies. */
static void test_a_record_kills_the_store(void **state)
{
    (void)state;
    plays("generic", "kills the store", "prometheus");
}

/*
 * writer:  [the killer, sleeping on it .............................. | dies]
 * reader:      [a record of another partition that died three times] waits: it is not to blame
 * `deaths` of the killer's partition so far: it goes with others, or alone.
 */
static void overtakes(int deaths)
{
    schema_do(&db, text("UPDATE offsets SET next_offset = %d, starts = %d WHERE topic = "
                        "'raw.generic'; UPDATE offsets SET next_offset = %d, starts = %d WHERE "
                        "topic = 'raw.prometheus'",
                        generic_n, deaths, prometheus_n, CRASH_LIMIT));
    post("generic", "kills the store");
    const pid_t pid = start();
    const char *starts = "SELECT starts FROM offsets WHERE topic = 'raw.generic'";
    for (int i = 0; i < 6000 && schema_int(&db, starts) != deaths + 1; i++) /* it joins first */
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000L}, NULL);
    assert_int_equal(schema_int(&db, starts), deaths + 1);
    post("prometheus", "overtakes");
    assert_true(dies(pid));
    assert_int_equal(schema_int(&db, "SELECT starts FROM offsets WHERE topic = 'raw.prometheus'"),
                     CRASH_LIMIT);
}

static void test_who_waits_is_not_to_blame(void **state)
{
    (void)state;
    overtakes(0);
}

static void test_who_comes_after_it_is_not_to_blame(void **state)
{
    (void)state;
    overtakes(CRASH_LIMIT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_kills_the_decoder),
        cmocka_unit_test(test_a_record_kills_the_store),
        cmocka_unit_test(test_who_waits_is_not_to_blame),
        cmocka_unit_test(test_who_comes_after_it_is_not_to_blame),
    };

    if (argc < 3)
        return 2;
    program = argv[1];
    killer = argv[2];
    if (argc > 3)
        cmocka_set_test_filter(argv[3]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
