#include <errno.h>

#include "common/json.h"
#include "testing.h"

static const struct json_limits limits = {.max_depth = 32};

static int scan_n(const char *p, size_t n)
{
    struct err e = {0};
    int rc = json_scan((struct slice){p, n}, &limits, &e);
    if (rc < 0)
        assert_int_equal(e.code, rc);
    return rc;
}

static int scan(const char *text)
{
    return scan_n(text, strlen(text));
}

static void test_accepts_what_rfc_8259_allows(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0",
        "-0",
        "1e5",
        "-1.5E-10",
        "\"\"",
        "null",
        " true ",
        "false\r\n\t",
        "[]",
        "{}",
        "[1,2]",
        "{\"a\":{\"b\":[{}]}}",
        "[ ]",
        "{ }",
        "[\"\\u0000\\ud800\"]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x9a\xa8\"",
        "{\"a\":1,\"a\":2}",
        "[123456789012345678901234567890,1e400]",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(scan(good[i]), 0);
}

static void test_refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "]",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "tru",
        "nul",
        "True",
        "'a'",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\t\"",
        "1 2",
        "{} {}",
        "[] x",
        "nulll",
        "//",
        "[1]//",
        "\xef\xbb\xbf{}",
        "NaN",
        "Infinity",
        "{1:2}",
        "[\"a\":1]",
        "\"\x01\"",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (scan(bad[i]) != -EBADMSG)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(scan_n("{}\0", 3), -EBADMSG);
    assert_int_equal(scan_n("\"a\0b\"", 5), -EBADMSG);
}

static void test_utf8_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"\x80\"",     /* a continuation alone */
        "\"\xc0\xaf\"", /* overlong '/' */
        "\"\xc1\xbf\"",
        "\"\xe0\x80\xaf\"",
        "\"\xf0\x80\x80\xaf\"",
        "\"\xed\xa0\x80\"",     /* surrogate */
        "\"\xf4\x90\x80\x80\"", /* past U+10FFFF */
        "\"\xf5\x80\x80\x80\"",
        "\"\xc3\"",
        "\"\xe2\x82\"",
        "\"\xf0\x9f\x9a\"",
        "\"\xc3(\"",
        "\xff",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(scan(bad[i]), -EBADMSG);
}

static void test_depth_is_counted(void **state)
{
    (void)state;
    const struct json_limits two = {.max_depth = 2};
    struct err e = {0};
    assert_int_equal(json_scan(SLICE_LIT("[[1],{}]"), &two, &e), 0);
    assert_int_equal(json_scan(SLICE_LIT("[[[1]]]"), &two, &e), -E2BIG);
    assert_string_equal(e.msg, "nested deeper than 2 at byte 2");
    /* Whatever the setting says, the scanner's own stack ends. */
    char deep[4000];
    memset(deep, '[', sizeof(deep));
    const struct json_limits none = {.max_depth = UINT32_MAX};
    assert_int_equal(json_scan((struct slice){deep, sizeof(deep)}, &none, &e), -E2BIG);
}

/* Every prefix of a good text is refused, and none makes the scanner read past its end (sanitizers
 * watch). */
static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1,-2.5e3,\"\\u00e4\xc3\xa4\",true,null],\"b\":{\"c\":false}}";
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        assert_int_equal(scan_n(copy, n), -EBADMSG);
        free(copy);
    }
}

static void test_at_finds_raw_values(void **state)
{
    (void)state;
    struct slice text = SLICE_LIT(" { \"x\" : {\"alerts\":[9]} , \"al\\u0065rts\":[1, [2,3], "
                                  "{\"a\":\"]\"}] , \"n\":-1.5 , \"s\":\"a\\\"}\" } ");
    assert_int_equal(json_scan(text, &limits, &(struct err){0}), 0);
    assert_true(slice_is(json_at(text, "alerts"), "[1, [2,3], {\"a\":\"]\"}]"));
    assert_true(slice_is(json_at(text, "x.alerts"), "[9]"));
    assert_true(slice_is(json_at(text, "n"), "-1.5"));
    assert_true(slice_is(json_at(text, "s"), "\"a\\\"}\""));
    assert_null(json_at(text, "none").p);
    assert_null(json_at(text, "n.deeper").p);
    assert_int_equal(json_count(text, "alerts"), 3);
    assert_int_equal(json_count(text, "x"), 0);
    assert_int_equal(json_count(SLICE_LIT("[ ]"), ""), 0);
    assert_int_equal(json_count(SLICE_LIT(" [1,2,3,4]"), ""), 4);
}

static void test_iterates(void **state)
{
    (void)state;
    struct slice object = SLICE_LIT("{\"a\":1,\"b\" : [1,{\"c\":2}] ,\"d\":\"x,y\"}"), key, value;
    const char *const expected[][2] = {
        {"\"a\"", "1"}, {"\"b\"", "[1,{\"c\":2}]"}, {"\"d\"", "\"x,y\""}};
    size_t pos = 0, i = 0;
    for (; json_next_member(object, &pos, &key, &value); i++) {
        assert_true(slice_is(key, expected[i][0]));
        assert_true(slice_is(value, expected[i][1]));
    }
    assert_int_equal(i, 3);
    pos = 0;
    assert_false(json_next(object, &pos, &value));
    pos = 0;
    assert_false(json_next_member(SLICE_LIT("[1]"), &pos, &key, &value));
}

static void test_text_decodes(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    assert_true(slice_is(json_text(SLICE_LIT("\"a\\n\\u00e4\\ud83d\\udea8\\/\""), a),
                         "a\n\xc3\xa4\xf0\x9f\x9a\xa8/"));
    assert_true(
        slice_is(json_text(SLICE_LIT("\"\\ud800x\\u0000\""), a), "\xef\xbf\xbdx\xef\xbf\xbd"));
    assert_true(slice_is(json_text(SLICE_LIT("9777663806026784477"), a), "9777663806026784477"));
    assert_true(slice_is(json_text(SLICE_LIT("true"), a), "true"));
    assert_null(json_text(SLICE_LIT("null"), a).p);
    assert_null(json_text(SLICE_LIT("{}"), a).p);
    assert_null(json_text((struct slice){0}, a).p);
    struct slice empty = json_text(SLICE_LIT("\"\""), a);
    assert_non_null(empty.p);
    assert_int_equal(empty.len, 0);
}

static void test_tree_mends_what_no_database_takes(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct err e = {0};
    json_t *t = json_tree(
        SLICE_LIT(
            "{\"a\":\"x\\u0000y\\ud800z\\udc00\",\"b\":\"\\\\u0000\",\"c\":\"\\ud83d\\udea8\"}"),
        a, &e);
    assert_non_null(t);
    assert_true(slice_is(json_str(t, "a", a), "x\xef\xbf\xbdy\xef\xbf\xbdz\xef\xbf\xbd"));
    assert_true(slice_is(json_str(t, "b", a), "\\u0000"));
    assert_true(slice_is(json_str(t, "c", a), "\xf0\x9f\x9a\xa8"));
}

static void test_tree_of_any_types(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct err e = {0};
    json_t *t = json_tree(SLICE_LIT("{\"i\":-5,\"r\":0.1,\"t\":true,\"n\":null,\"o\":{}}"), a, &e);
    assert_non_null(t);
    assert_true(slice_is(json_str(t, "i", a), "-5"));
    assert_true(slice_is(json_str(t, "r", a), "0.1"));
    assert_true(slice_is(json_str(t, "t", a), "true"));
    assert_non_null(json_str(t, "n", a).p);
    assert_int_equal(json_str(t, "n", a).len, 0);
    assert_int_equal(json_str(t, "o", a).len, 0);
    assert_int_equal(json_str(t, "absent", a).len, 0);
    /* The numeric groupKey of Alertmanager's version 3 is an unsigned 64-bit number. */
    t = json_tree(SLICE_LIT("{\"groupKey\":9777663806026784477,\"n\":3}"), a, &e);
    assert_non_null(t);
    assert_true(slice_is(json_str(t, "n", a), "3"));
}

/* To those who scan and to those who load alike. */
static void test_of_equal_keys_the_last_is_meant(void **state)
{
    (void)state;
    const struct slice text = SLICE_LIT("{\"a\":1,\"b\":{\"c\":2},\"\\u0061\":[3],\"b\":{\"c\":4,"
                                        "\"c\":\"five\"},\"d\":6}");
    static const char *const names[] = {"a", "b", "d"};
    struct slice v[3];
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct err e = {0};
    const json_t *trees[] = {json_tree(text, a, &e), json_lent(text, a, &e)};
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(trees[i]);
        assert_int_equal(json_array_size(json_object_get(trees[i], "a")), 1);
        assert_true(slice_is(json_str(json_object_get(trees[i], "b"), "c", a), "five"));
    }
    json_members(text, names, v, 3);
    assert_true(slice_is(v[0], "[3]") && slice_is(v[2], "6"));
    assert_true(slice_is(v[1], "{\"c\":4,\"c\":\"five\"}"));
    assert_true(slice_is(json_at(text, "a"), "[3]"));
    assert_true(slice_is(json_at(text, "b.c"), "\"five\""));
    assert_int_equal(json_count(text, "a"), 1);
}

/* Any cap: the whole tree, or -ENOMEM; and trees of both kinds side by side. */
static void test_lent_trees_are_whole_or_none(void **state)
{
    (void)state;
    const struct slice text = SLICE_LIT("{\"a\":[1,2.5,\"three\",{\"four\":null}],\"long\":"
                                        "\"0123456789abcdef0123456789abcdef0123456789abcdef\"}");
    CLEANUP(arena_free) struct arena *own = arena_new(1 << 16);
    struct err e = {0};
    json_t *whole = json_tree(text, own, &e);
    size_t fitted = 0;
    for (size_t cap = 0; cap < 8192; cap += 8) {
        CLEANUP(arena_free) struct arena *a = arena_new(cap);
        const json_t *t = json_lent(text, a, &e);
        assert_true(t ? json_equal(t, whole) : e.code == -ENOMEM);
        fitted += t != NULL;
    }
    assert_true(fitted > 0 && fitted < 1024);
    assert_int_equal(json_object_set_new(whole, "more", json_string("heap")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lent_trees_are_whole_or_none),
        cmocka_unit_test(test_accepts_what_rfc_8259_allows),
        cmocka_unit_test(test_refuses_everything_else),
        cmocka_unit_test(test_utf8_is_strict),
        cmocka_unit_test(test_depth_is_counted),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_at_finds_raw_values),
        cmocka_unit_test(test_iterates),
        cmocka_unit_test(test_text_decodes),
        cmocka_unit_test(test_of_equal_keys_the_last_is_meant),
        cmocka_unit_test(test_tree_mends_what_no_database_takes),
        cmocka_unit_test(test_tree_of_any_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
