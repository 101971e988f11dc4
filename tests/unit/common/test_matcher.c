#include <errno.h>

#include "common/matcher.h"
#include "testing.h"

static bool match(const char *text, const char *labels)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct err e = {0};
    CLEANUP(matchers_free) struct matchers *m = matchers_parse(slice_of(text), &e);
    if (!m)
        fail_msg("%s: %s", text, e.msg);
    struct labels l;
    assert_int_equal(labels_from_json(a, slice_of(labels), &l, &e), 0);
    return matchers_match(m, l);
}

static void test_the_four_operators(void **state)
{
    (void)state;
    const char *l = "{\"severity\":\"critical\",\"job\":\"api\"}";
    assert_true(match("severity=\"critical\"", l));
    assert_false(match("severity=\"crit\"", l));
    assert_true(match("severity!=\"warning\"", l));
    assert_false(match("severity!=\"critical\"", l));
    assert_true(match("severity=~\"critical|warning\"", l));
    assert_false(match("severity=~\"crit\"", l));
    assert_false(match("severity=~\"ritical\"", l));
    assert_true(match("severity!~\"crit\"", l));
    assert_false(match("severity!~\"crit.*\"", l));
    assert_true(match("{severity=\"critical\", job=~\"a.*\",}", l));
    assert_false(match("{severity=\"critical\", job=~\"b.*\"}", l));
    assert_true(match("{}", l));
    assert_true(match("", l));
}

static void test_an_absent_label_is_empty(void **state)
{
    (void)state;
    assert_true(match("a=\"\"", "{}"));
    assert_false(match("a!=\"\"", "{}"));
    assert_true(match("a=~\"\"", "{}"));
    assert_true(match("a=~\".*\"", "{}"));
    assert_false(match("a=~\".+\"", "{}"));
    assert_true(match("a!~\".+\"", "{}"));
    assert_false(match("a=\"\"", "{\"a\":\"x\"}"));
}

static void test_forms_of_text(void **state)
{
    (void)state;
    assert_true(match("foo=bar", "{\"foo\":\"bar\"}"));
    assert_true(match("  foo = bar baz , x=y ", "{\"foo\":\"bar baz\",\"x\":\"y\"}"));
    assert_true(match("{\"f\xc3\xb6\xc3\xb6 b\"=\"1\"}", "{\"f\xc3\xb6\xc3\xb6 b\":\"1\"}"));
    assert_true(match("f\xc3\xb6\xc3\xb6=1", "{\"f\xc3\xb6\xc3\xb6\":\"1\"}"));
    assert_true(match("a=\"say \\\"hi\\\", {x}\"", "{\"a\":\"say \\\"hi\\\", {x}\"}"));
    assert_true(match("a=~\"\\d+\"", "{\"a\":\"42\"}"));
    assert_true(match("a=\"\"", "{}"));
    assert_true(match("a==b", "{\"a\":\"=b\"}"));
}

static void test_bad_text_says_why(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a",        "=b",       "{a=b",     "a=b}",       "a=\"b",        "a!b",
        "{a=b} c",  "a=b\"c\"", "a=\"b\"c", "\"\"=\"x\"", "a=~\"(\"",     "a=~\"[\"",
        "a=~\"*\"", "{,}",      "a~b",      "{a=b}}",     "a=~\"a{2,1}\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = {0};
        struct matchers *m = matchers_parse(slice_of(bad[i]), &e);
        if (m)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(e.code, -EINVAL);
        assert_true(strlen(e.msg) > 0);
    }
}

static bool re(const char *pattern, const char *value)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    CLEANUP(matchers_free) struct matchers *m = matchers_new();
    struct err e = {0};
    if (matchers_add(m, SLICE_LIT("a"), slice_of(pattern), true, false, &e) < 0)
        fail_msg("%s: %s", pattern, e.msg);
    const struct label pair = {SLICE_LIT("a"), slice_of(value)};
    struct labels l;
    assert_int_equal(labels_make(a, &pair, 1, &l), 0);
    return matchers_match(m, l);
}

static void test_re2_is_translated(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *yes, *no;
    } cases[] = {
        {"a|b", "b", "ab"},
        {"(?:ab)+", "abab", "aba"},
        {"(?P<x>a)b", "ab", "a"},
        {"(?i)ABC", "aBc", "abd"},
        {"(?is)a.c", "AxC", "ac"},
        {"\\d{2,3}", "123", "1"},
        {"\\w+-\\d+", "node_a-12", "node a-12"},
        {"\\S+\\s\\S+", "a b", "ab"},
        {"\\D", "\xc3\xa4", "4"},
        {"[\\d.]+", "10.0", "10,0"},
        {"[^\\d]+", "ab\xc3\xa4", "a1"},
        {"[\\]\\-\\^\\[]+", "]-^[", "a"},
        {"[]a]+", "]a", "b"},
        {"[a-c-]+", "a-c", "d"},
        {"[^]]", "a", "]"},
        {"[\\^]", "^", "a"},
        {"[\\^-]+", "^-", "a"},
        {"[[:alpha:]_]+", "ab_", "a1"},
        {"[[:^digit:]]", "a", "1"},
        {"a.c",
         "a\xe2\x82\xac"
         "c",
         "ac"},
        {"a\\.c", "a.c", "abc"},
        {"\\Qa.c*\\E+", "a.c**", "abc"},
        {"a{", "a{", "a"},
        {"a{x}", "a{x}", "aa"},
        {"a*?b", "aab", "aa"},
        {"\\x41\\x{42}", "AB", "ab"},
        {"\\Aab\\z", "ab", "abc"},
        {".*\\bfoo\\b.*", "a foo b", "afoob"},
        {"\xc3\xa4+", "\xc3\xa4\xc3\xa4", "\xc3\xa4\xa4"},
        {"(a|)b", "b", "c"},
        {"https?://[^/]+/.*", "https://x/y", "ftp://x/y"},
        {"x\\/y\\-z", "x/y-z", "xy"},
        {"", "", "x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!re(cases[i].pattern, cases[i].yes))
            fail_msg("%s does not match %s", cases[i].pattern, cases[i].yes);
        if (re(cases[i].pattern, cases[i].no))
            fail_msg("%s matches %s", cases[i].pattern, cases[i].no);
    }
}

static void test_what_has_no_translation_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *named;
    } cases[] = {
        {"a\\pL", "\\pL"},
        {"(a)\\1", "\\1"},
        {"a(?i)b", "(?i)b"},
        {"(?=a)", "(?=a)"},
        {"(?m)a", "(?m)a"},
        {"[\xc3\xa4]", "past ASCII"},
        {"a{1001}", "{1001}"},
        {"(a{100}){11}", "{11}"},
        {"a**", "repetition"},
        {"(", "missing ) at its end"},
        {")", "unexpected )"},
        {"[z-a]", "z-a"},
        {"a\\", "\\"},
        {"a|*", "nothing to repeat"},
        {"^*", "nothing to repeat"},
        {"\\x{20ac}", "ASCII"},
        {"((((a{10}){10}){10}){10})", "{10}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(matchers_free) struct matchers *m = matchers_new();
        struct err e = {0};
        if (matchers_add(m, SLICE_LIT("a"), slice_of(cases[i].pattern), true, false, &e) != -EINVAL)
            fail_msg("accepted: %s", cases[i].pattern);
        if (!strstr(e.msg, cases[i].named))
            fail_msg("%s: %s", cases[i].pattern, e.msg);
    }
}

static void test_values_are_bounded_by_length(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    CLEANUP(matchers_free)
    struct matchers *m = matchers_parse(SLICE_LIT("a=~\"ab\""), &(struct err){0});
    const struct label pair = {SLICE_LIT("a"), {"abc", 2}};
    struct labels l;
    assert_int_equal(labels_make(a, &pair, 1, &l), 0);
    assert_true(matchers_match(m, l));
}

static void test_canonical_text(void **state)
{
    (void)state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    CLEANUP(buf_release) struct buf again = BUF_INIT(4096);
    struct err e = {0};
    CLEANUP(matchers_free)
    struct matchers *m =
        matchers_parse(SLICE_LIT("{b!~\"x|\\\\d\", a = \"q\\\"\\n\" , \"c d\"!=e, a=~z}"), &e);
    assert_non_null(m);
    matchers_format(m, &b);
    assert_string_equal(buf_str(&b), "{a=\"q\\\"\\n\",a=~\"z\",b!~\"x|\\\\d\",\"c d\"!=\"e\"}");
    CLEANUP(matchers_free) struct matchers *n = matchers_parse((struct slice){b.p, b.len}, &e);
    assert_non_null(n);
    matchers_format(n, &again);
    assert_string_equal(buf_str(&again), buf_str(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_four_operators),
        cmocka_unit_test(test_an_absent_label_is_empty),
        cmocka_unit_test(test_forms_of_text),
        cmocka_unit_test(test_bad_text_says_why),
        cmocka_unit_test(test_re2_is_translated),
        cmocka_unit_test(test_what_has_no_translation_is_named),
        cmocka_unit_test(test_values_are_bounded_by_length),
        cmocka_unit_test(test_canonical_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
