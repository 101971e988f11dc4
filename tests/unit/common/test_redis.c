/* common/redis against a Redis of its own. */
#include "testing.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/redis.h"
#include "servers.h"

#define PASSWORD "p@ss:w/rd"
enum { WAIT_MS = 20 * 1000 };

static struct server *server;
static struct redis_settings settings;
static char url[128];

static int start_server(void **state)
{
    (void)state;
    server = server_redis(0, PASSWORD);
    snprintf(url, sizeof url, "redis://:p%%40ss%%3Aw%%2frd@127.0.0.1:%d", server_port(server));
    settings = (struct redis_settings){.url = url, .prefix = "t", .timeout = 2000};
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

static struct redis *opened(const struct redis_settings *s)
{
    struct redis *r = NULL;
    assert_int_equal(redis_open(s, &r, NULL), 0);
    return r;
}

/* A command of C strings, ended by NULL. */
static int command(struct redis *r, redisReply **ret, struct err *e, const char *const *words)
{
    struct slice argv[8];
    size_t n = 0;
    for (; words[n]; n++)
        argv[n] = slice_of(words[n]);
    return redis_command(r, n, argv, ret, e);
}
#define COMMAND(r, ret, e, ...) command(r, ret, e, (const char *const[]){__VA_ARGS__, NULL})

static int append(struct redis *r, const char *const *words)
{
    struct slice argv[8];
    size_t n = 0;
    for (; words[n]; n++)
        argv[n] = slice_of(words[n]);
    return redis_append(r, n, argv, NULL);
}
#define APPEND(r, ...) append(r, (const char *const[]){__VA_ARGS__, NULL})

static void test_commands_are_binary(void **state)
{
    (void)state;
    CLEANUP(redis_close) struct redis *r = opened(&settings);
    const struct slice set[] = {SLICE_LIT("SET"), SLICE_LIT("key"), {"a\0b\r\n", 5}};
    struct err e = {0};
    if (redis_command(r, 3, set, NULL, &e))
        fail_msg("%s", e.msg);
    CLEANUP(redis_reply_free) redisReply *reply = NULL;
    assert_int_equal(COMMAND(r, &reply, &e, "GET", "key"), 0);
    assert_true(slice_eq((struct slice){reply->str, reply->len}, set[2]));
}

static void test_many_arguments(void **state)
{
    (void)state;
    CLEANUP(redis_close) struct redis *r = opened(&settings);
    struct slice argv[101] = {SLICE_LIT("DEL")};
    for (size_t i = 1; i < 101; i++)
        argv[i] = i == 50 ? (struct slice){NULL, 0} : SLICE_LIT("absent");
    CLEANUP(redis_reply_free) redisReply *reply = NULL;
    assert_int_equal(redis_command(r, 101, argv, &reply, NULL), 0);
    assert_int_equal(reply->integer, 0);
}

static void test_errors_have_the_words_of_redis(void **state)
{
    (void)state;
    CLEANUP(redis_close) struct redis *r = opened(&settings);
    struct err e = {0};
    redisReply *reply = NULL;
    assert_int_equal(COMMAND(r, &reply, &e, "NONSENSE"), -EPROTO);
    assert_null(reply);
    assert_non_null(strstr(e.msg, "unknown command"));
    assert_int_equal(COMMAND(r, NULL, &e, "PING"), 0);
}

static void test_database_of_the_url(void **state)
{
    (void)state;
    char other[160];
    snprintf(other, sizeof other, "%s/3", url);
    struct redis_settings s = settings;
    s.url = other;
    CLEANUP(redis_close) struct redis *r = opened(&s), *zero = opened(&settings);
    assert_int_equal(COMMAND(r, NULL, NULL, "SET", "only-in-3", "1"), 0);
    CLEANUP(redis_reply_free) redisReply *reply = NULL;
    assert_int_equal(COMMAND(zero, &reply, NULL, "EXISTS", "only-in-3"), 0);
    assert_int_equal(reply->integer, 0);
}

static void test_pipeline(void **state)
{
    (void)state;
    CLEANUP(redis_close) struct redis *r = opened(&settings);
    assert_int_equal(COMMAND(r, NULL, NULL, "DEL", "n"), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(APPEND(r, "INCR", "n"), 0);
    assert_int_equal(redis_flush(r, NULL), 0);

    assert_int_equal(APPEND(r, "INCR", "n"), 0);
    assert_int_equal(APPEND(r, "LPUSH", "n", "x"), 0);
    assert_int_equal(APPEND(r, "INCR", "n"), 0);
    redisReply *reply = NULL;
    assert_int_equal(redis_reply(r, &reply, NULL), 0);
    assert_int_equal(reply->integer, 1001);
    freeReplyObject(reply);
    struct err e = {0};
    assert_int_equal(redis_flush(r, &e), -EPROTO);
    assert_non_null(strstr(e.msg, "WRONGTYPE"));
    assert_int_equal(redis_reply(r, &reply, NULL), -ENODATA);

    /* A command behind a pipeline that nobody flushed gets its own reply. */
    assert_int_equal(APPEND(r, "INCR", "n"), 0);
    assert_int_equal(COMMAND(r, &reply, NULL, "GET", "n"), 0);
    assert_string_equal(reply->str, "1003");
    freeReplyObject(reply);
}

static void test_wrong_password_is_no_connection(void **state)
{
    (void)state;
    char wrong[128];
    snprintf(wrong, sizeof wrong, "redis://:hunter2@127.0.0.1:%d/1", server_port(server));
    struct redis_settings s = settings;
    s.url = wrong;
    CLEANUP(redis_close) struct redis *r = opened(&s);
    struct err e = {0};
    assert_int_equal(COMMAND(r, NULL, &e, "PING"), -ENOTCONN);
    assert_non_null(strstr(e.msg, "AUTH"));
    assert_null(strstr(e.msg, "hunter2"));
    assert_int_equal(redis_ping(&s, &e), -ENOTCONN);
    assert_int_equal(redis_ping(&settings, &e), 0);
}

static void test_user_of_the_url(void **state)
{
    (void)state;
    CLEANUP(redis_close) struct redis *r = opened(&settings);
    assert_int_equal(COMMAND(r, NULL, NULL, "ACL", "SETUSER", "reader", "on", ">pw", "+ping"), 0);
    char reader[128];
    snprintf(reader, sizeof reader, "redis://reader:pw@127.0.0.1:%d", server_port(server));
    struct redis_settings s = settings;
    s.url = reader;
    CLEANUP(redis_close) struct redis *other = opened(&s);
    assert_int_equal(COMMAND(other, NULL, NULL, "PING"), 0);
    assert_int_equal(COMMAND(other, NULL, NULL, "GET", "x"), -EPROTO);
}

static void test_no_redis_is_wanted(void **state)
{
    (void)state;
    struct redis_settings s = {.url = "", .timeout = 1000};
    CLEANUP(redis_close) struct redis *r = opened(&s);
    assert_int_equal(COMMAND(r, NULL, NULL, "PING"), -ENOTCONN);
    assert_int_equal(APPEND(r, "PING"), -ENOTCONN);
    assert_int_equal(redis_flush(r, NULL), 0);
    assert_int_equal(redis_reply(r, NULL, NULL), -ENOTCONN);
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "redis",           "http://127.0.0.1",  "redis://",          "redis://:6379",
        "redis://h:99999", "redis://h:12x",     "redis://h:",        "redis://h/x",
        "redis://[::1",    "redis://[::1]6379", "redis://hunter2@h", "unix://relative",
        "unix://"};
    static const char *const good[] = {
        "redis://h",   "redis://h/",           "redis://h:1/15",    "redis://user:pw@h:1",
        "redis://:@h", "redis://[::1]:6379/0", "unix:///run/redis", ""};
    struct redis_settings s = settings;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redis *r = NULL;
        struct err e = {0};
        s.url = bad[i];
        if (redis_open(&s, &r, &e) != -EINVAL)
            fail_msg("accepted %s", bad[i]);
        assert_null(strstr(e.msg, "hunter2"));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CLEANUP(redis_close) struct redis *r = NULL;
        s.url = good[i];
        if (redis_open(&s, &r, NULL))
            fail_msg("refused %s", good[i]);
    }
}

/* Try until Redis answers; how many calls it took. */
static int calls_until_it_answers(struct redis *r)
{
    int calls = 1;
    for (int64_t end = clock_monotonic_ms() + WAIT_MS; COMMAND(r, NULL, NULL, "PING"); calls++) {
        if (clock_monotonic_ms() > end)
            fail_msg("never came back");
        usleep(10000);
    }
    return calls;
}

static void test_restart_heals(void **state)
{
    (void)state;
    struct server *own = server_redis(0, NULL);
    int port = server_port(own);
    char own_url[64];
    snprintf(own_url, sizeof own_url, "%s", server_url(own));
    struct redis_settings s = {.url = own_url, .timeout = 2000};
    CLEANUP(redis_close) struct redis *r = opened(&s);
    assert_int_equal(COMMAND(r, NULL, NULL, "PING"), 0);
    server_stop(own);
    assert_int_equal(COMMAND(r, NULL, NULL, "PING"), -ENOTCONN);
    assert_int_equal(redis_ping(&s, NULL), -ENOTCONN);
    own = server_redis(port, NULL);
    calls_until_it_answers(r);
    server_stop(own);
}

/* One caller pays the timeout; those after it are refused at once, until the back-off passes. */
static void test_a_redis_that_hangs_costs_one_timeout(void **state)
{
    (void)state;
    struct redis_settings s = settings;
    s.timeout = 50;
    CLEANUP(redis_close) struct redis *r = opened(&s);
    calls_until_it_answers(r);
    kill(server_pid(server), SIGSTOP);
    struct err first = {0}, second = {0};
    int64_t began = clock_monotonic_ms();
    int rc = COMMAND(r, NULL, &first, "PING");
    int again = COMMAND(r, NULL, &second, "PING");
    while (strstr(second.msg, "in time") && clock_monotonic_ms() - began >= 200) {
        began = clock_monotonic_ms(); /* this machine slept for longer than the back-off */
        again = COMMAND(r, NULL, &second, "PING");
    }
    kill(server_pid(server), SIGCONT);
    assert_int_equal(rc, -ENOTCONN);
    assert_non_null(strstr(first.msg, "in time"));
    assert_int_equal(again, -ENOTCONN);
    assert_non_null(strstr(second.msg, "a moment ago"));
    calls_until_it_answers(r);
}

static void test_a_lost_pipeline_owes_nothing(void **state)
{
    (void)state;
    CLEANUP(redis_close) struct redis *r = opened(&settings), *other = opened(&settings);
    assert_int_equal(APPEND(r, "PING"), 0);
    assert_int_equal(redis_flush(r, NULL), 0);
    assert_int_equal(COMMAND(other, NULL, NULL, "CLIENT", "KILL", "TYPE", "normal"), 0);
    assert_int_equal(APPEND(r, "PING"), 0);
    assert_int_equal(APPEND(r, "PING"), 0);
    assert_int_equal(redis_flush(r, NULL), -ENOTCONN);
    assert_int_equal(redis_flush(r, NULL), 0);
    calls_until_it_answers(r);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_are_binary),
        cmocka_unit_test(test_many_arguments),
        cmocka_unit_test(test_errors_have_the_words_of_redis),
        cmocka_unit_test(test_database_of_the_url),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_wrong_password_is_no_connection),
        cmocka_unit_test(test_user_of_the_url),
        cmocka_unit_test(test_no_redis_is_wanted),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_restart_heals),
        cmocka_unit_test(test_a_redis_that_hangs_costs_one_timeout),
        cmocka_unit_test(test_a_lost_pipeline_owes_nothing),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
