#include "testing.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

CLEANUP_DEFINE(json_t *, json_decref);

/* Standard error becomes a socket that keeps messages apart: what one write(2) sent, one read(2)
 * gets. */
static int lines = -1, real_stderr = -1;

static int capture(void **state)
{
    (void)state;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return -1;
    real_stderr = dup(STDERR_FILENO);
    lines = pair[0];
    if (real_stderr < 0 || dup2(pair[1], STDERR_FILENO) < 0)
        return -1;
    (void)close(pair[1]);
    log_init("test", LVL_DEBUG);
    return fcntl(lines, F_SETFL, O_NONBLOCK);
}

static int release(void **state)
{
    (void)state;
    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
    (void)close(lines);
    return 0;
}

/* The next line as JSON; NULL when none was written. Fails unless one write was one whole valid
 * line. */
static json_t *next_line(void)
{
    char line[PIPE_BUF + 2];
    ssize_t n = read(lines, line, sizeof(line));
    if (n <= 0)
        return NULL;
    assert_true(n <= PIPE_BUF);
    assert_ptr_equal(memchr(line, '\n', (size_t)n), line + n - 1);
    json_error_t e;
    json_t *o = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!o)
        fail_msg("%s in %.*s", e.text, (int)n, line);
    return o;
}

static const char *text(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void every_type(void **state)
{
    (void)state;
    struct slice sl = {"slice and more", 5};
    bool yes = true;
    const char *nothing = NULL;
    log_warn(EV("types"), KV("s", "a\"b\\c\n"), KV("i", -7), KV("big", INT64_MIN),
             KV("u", (uint32_t)5), KV("d", 0.25), KV("nan", (double)NAN),
             KV("inf", (double)INFINITY), KV("sl", sl), KV("yes", yes), KV("no", (bool)false),
             KV("null", nothing));
    CLEANUP(json_decref) json_t *o = next_line();
    assert_non_null(o);
    assert_string_equal(text(o, "level"), "warn");
    assert_string_equal(text(o, "service"), "test");
    assert_string_equal(text(o, "event"), "types");
    int64_t ms = 0;
    assert_true(rfc3339_parse(slice_of(text(o, "ts")), &ms));
    assert_string_equal(text(o, "s"), "a\"b\\c\n");
    assert_int_equal(json_integer_value(json_object_get(o, "i")), -7);
    assert_true(json_integer_value(json_object_get(o, "big")) == INT64_MIN);
    assert_int_equal(json_integer_value(json_object_get(o, "u")), 5);
    assert_true(json_real_value(json_object_get(o, "d")) == 0.25);
    assert_true(json_is_null(json_object_get(o, "nan")));
    assert_true(json_is_null(json_object_get(o, "inf")));
    assert_string_equal(text(o, "sl"), "slice");
    assert_true(json_is_true(json_object_get(o, "yes")));
    assert_true(json_is_false(json_object_get(o, "no")));
    assert_true(json_is_null(json_object_get(o, "null")));
    assert_null(json_object_get(o, "cut"));
    assert_null(next_line());
}

static void levels_below_the_minimum_are_dropped(void **state)
{
    (void)state;
    log_init("test", LVL_WARN);
    log_debug(EV("a"));
    log_info(EV("b"));
    assert_null(next_line());
    log_error(EV("c"));
    CLEANUP(json_decref) json_t *o = next_line();
    assert_string_equal(text(o, "level"), "error");
    log_init("test", LVL_DEBUG);
    log_debug(EV("d"));
    CLEANUP(json_decref) json_t *d = next_line();
    assert_string_equal(text(d, "level"), "debug");
}

static void what_is_no_utf8_is_replaced(void **state)
{
    (void)state;
    struct slice raw = SLICE_LIT("\xFF ok \xED\xA0\x80\0");
    log_info(EV("bytes"), KV("raw", raw), KV("cut\xC3", 1));
    CLEANUP(json_decref) json_t *o = next_line();
    assert_non_null(json_object_get(o, "raw"));
    assert_memory_equal(text(o, "raw"), "\xEF\xBF\xBD ok \xEF\xBF\xBD", 10);
    assert_non_null(json_object_get(o, "cut\xEF\xBF\xBD"));
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        char big[3001];
        memset(big, 'x', sizeof(big));
        for (size_t i = shift; i + 3 < sizeof(big); i += 3)
            memcpy(big + i, "\xE5\x91\x8A", 3);
        big[sizeof(big) - 1] = '\0';
        log_info(EV("long"), KV("text", big), KV("after", 1));
        CLEANUP(json_decref) json_t *o = next_line();
        size_t len = strlen(text(o, "text"));
        assert_true(len > 1000 && len <= 1024);
        assert_memory_equal(text(o, "text"), big, len);
        assert_null(strstr(text(o, "text"), "\xEF\xBF\xBD"));
        assert_true(json_is_true(json_object_get(o, "cut")));
        assert_int_equal(json_integer_value(json_object_get(o, "after")), 1);
    }
}

/* Fields of every size, among them such that end just before, at and past the longest line. */
static void a_line_is_never_longer_than_a_pipe_keeps_whole(void **state)
{
    (void)state;
    char big[1025];
    for (size_t n = 0; n < 1024; n++) {
        memset(big, n % 2 ? 'x' : '\x01', n);
        big[n] = '\0';
        log_info(EV("fields"), KV("a", big), KV("b", big), KV("c", big), KV("d", big), KV("e", big),
                 KV("last", 1));
        CLEANUP(json_decref) json_t *o = next_line();
        assert_non_null(o);
        bool whole = json_object_get(o, "a") && json_object_get(o, "b") &&
                     json_object_get(o, "c") && json_object_get(o, "d") &&
                     json_object_get(o, "e") && json_object_get(o, "last");
        assert_int_equal(whole, json_object_get(o, "cut") == NULL);
    }
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 30; i++)
        log_info(EV("thread"), KV("who", (const char *)arg), KV("i", i));
    return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
    (void)state;
    static char names[4][500];
    pthread_t threads[4];
    for (int t = 0; t < 4; t++) {
        memset(names[t], 'a' + t, sizeof(names[t]) - 1);
        assert_int_equal(pthread_create(&threads[t], NULL, write_lines, names[t]), 0);
    }
    int got[4] = {0};
    for (int n = 0; n < 120;) {
        CLEANUP(json_decref) json_t *o = next_line();
        if (!o)
            continue; /* not yet written */
        int who = text(o, "who")[0] - 'a';
        assert_string_equal(text(o, "who"), names[who]);
        assert_int_equal(json_integer_value(json_object_get(o, "i")), got[who]++);
        n++;
    }
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    assert_null(next_line());
}

static void a_limit_drops_and_counts(void **state)
{
    (void)state;
    struct log_limit l = {.per_minute = 3};
    uint32_t dropped = 0, told = 0, allowed = 0;
    for (int i = 0; i < 100; i++)
        if (log_allow(&l, &dropped)) {
            allowed++;
            told += dropped;
        }
    assert_true(allowed >= 3 && allowed <= 6); /* the minute may have turned once */
    assert_int_equal(allowed + told + l.dropped, 100);
    l.window = INT64_C(1) << 32 | 3; /* as if these were written in an earlier minute */
    l.dropped = 94;
    assert_true(log_allow(&l, &dropped));
    assert_int_equal(dropped, 94);
    assert_int_equal(l.dropped, 0);

    struct log_limit none = {.per_minute = 0};
    assert_false(log_allow(&none, &dropped));
}

static struct log_limit shared = {.per_minute = 50};
static _Atomic uint32_t shared_allowed, shared_told;

static void *try_many(void *arg)
{
    (void)arg;
    uint32_t dropped = 0;
    for (int i = 0; i < 5000; i++)
        if (log_allow(&shared, &dropped)) {
            shared_allowed++;
            shared_told += dropped;
        }
    return NULL;
}

static void a_limit_holds_across_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, try_many, NULL), 0);
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    assert_true(shared_allowed == 50 || shared_allowed == 100);
    assert_int_equal(shared_allowed + shared_told + shared.dropped, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(levels_below_the_minimum_are_dropped),
        cmocka_unit_test(what_is_no_utf8_is_replaced),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(a_line_is_never_longer_than_a_pipe_keeps_whole),
        cmocka_unit_test(threads_do_not_mix_lines),
        cmocka_unit_test(a_limit_drops_and_counts),
        cmocka_unit_test(a_limit_holds_across_threads),
    };
    return cmocka_run_group_tests(tests, capture, release);
}
