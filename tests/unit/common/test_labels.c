#include <errno.h>

#include "common/labels.h"
#include "testing.h"

#define ARENA(a) CLEANUP(arena_free) struct arena *a = arena_new(1 << 16)
#define PAIR(n, v)                                                                                 \
    {                                                                                              \
        {n, sizeof(n) - 1},                                                                        \
        {                                                                                          \
            v, sizeof(v) - 1                                                                       \
        }                                                                                          \
    }

static struct labels parse(struct arena *a, const char *json)
{
    struct labels l;
    struct err e = {0};
    if (labels_from_json(a, slice_of(json), &l, &e) < 0)
        fail_msg("%s", e.msg);
    return l;
}

static void test_sorted_unique_and_never_empty(void **state)
{
    (void)state;
    ARENA(a);
    const struct label pairs[] = {PAIR("b", "1"),  PAIR("a", "1"), PAIR("c", ""),  PAIR("b", "2"),
                                  PAIR("ab", "x"), PAIR("a", "3"), PAIR("d", "1"), PAIR("d", "")};
    struct labels l;
    assert_int_equal(labels_make(a, pairs, 8, &l), 0);
    assert_int_equal(l.n, 3);
    assert_true(slice_is(l.v[0].name, "a"));
    assert_true(slice_is(l.v[0].value, "3"));
    assert_true(slice_is(l.v[1].name, "ab"));
    assert_true(slice_is(l.v[2].value, "2"));
    assert_true(slice_is(labels_get(l, "ab"), "x"));
    assert_null(labels_get(l, "d").p);
    assert_int_equal(labels_make(a, NULL, 0, &l), 0);
    assert_int_equal(l.n, 0);
    assert_null(labels_get(l, "a").p);
}

static void test_with_sets_replaces_and_removes(void **state)
{
    (void)state;
    ARENA(a);
    struct labels l = parse(a, "{\"a\":\"1\",\"c\":\"3\"}"), m;
    assert_int_equal(labels_with(a, l, SLICE_LIT("b"), SLICE_LIT("2"), &m), 0);
    assert_true(labels_eq(m, parse(a, "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}")));
    assert_int_equal(labels_with(a, m, SLICE_LIT("c"), SLICE_LIT("4"), &m), 0);
    assert_true(labels_eq(m, parse(a, "{\"a\":\"1\",\"b\":\"2\",\"c\":\"4\"}")));
    assert_int_equal(labels_with(a, m, SLICE_LIT("a"), (struct slice){0}, &m), 0);
    assert_int_equal(labels_with(a, m, SLICE_LIT("z"), (struct slice){0}, &m), 0);
    assert_true(labels_eq(m, parse(a, "{\"b\":\"2\",\"c\":\"4\"}")));
    assert_false(labels_eq(m, l));
}

/* From the tests of prometheus/common, and from the webhook of a running Alertmanager. */
static void test_fingerprints_are_alertmanagers(void **state)
{
    (void)state;
    ARENA(a);
    char hex[FINGERPRINT_STR];
    assert_true(labels_fingerprint(parse(a, "{}")) == UINT64_C(14695981039346656037));
    assert_true(labels_fingerprint(
                    parse(a, "{\"name\":\"garland, briggs\",\"fear\":\"love is not enough\"}")) ==
                UINT64_C(5799056148416392346));
    uint64_t fp = labels_fingerprint(
        parse(a, "{\"severity\":\"warning\",\"job\":\"node\",\"alertname\":\"InstanceDown\","
                 "\"instance\":\"localhost:9100\"}"));
    assert_string_equal(fingerprint_format(fp, hex), "a7ddb1de342424cb");
    assert_string_equal(
        fingerprint_format(labels_fingerprint(parse(a, "{\"alertname\":\"X\"}")), hex),
        "d2aeefc389ca7746");
}

static void test_fingerprint_text(void **state)
{
    (void)state;
    char hex[FINGERPRINT_STR];
    uint64_t fp = 7;
    assert_string_equal(fingerprint_format(0xab, hex), "00000000000000ab");
    assert_true(fingerprint_parse(SLICE_LIT("00000000000000aB"), &fp));
    assert_true(fp == 0xab);
    assert_false(fingerprint_parse(SLICE_LIT("ab"), &fp));
    assert_false(fingerprint_parse(SLICE_LIT("00000000000000g0"), &fp));
    assert_false(fingerprint_parse((struct slice){0}, &fp));
    assert_true(fp == 0xab);
}

static void test_json_there_and_back(void **state)
{
    (void)state;
    ARENA(a);
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    const char *text = "{\"a\":\"\\\"q\\\\\",\"b\":\"\xc3\xa4\"}";
    labels_to_json(&b, parse(a, text));
    assert_string_equal(buf_str(&b), text);
    assert_true(labels_eq(parse(a, buf_str(&b)), parse(a, text)));
}

static void test_other_types(void **state)
{
    (void)state;
    ARENA(a);
    struct err e = {0};
    struct labels l = {.n = 42}, expected = parse(a, "{\"i\":\"5\",\"t\":\"true\",\"s\":\"x\"}");
    assert_true(labels_eq(parse(a, "{\"i\":5,\"t\":true,\"n\":null,\"s\":\"x\"}"), expected));
    assert_int_equal(labels_from_json(a, SLICE_LIT("{\"a\":{}}"), &l, &e), -E2BIG);
    assert_int_equal(labels_from_json(a, SLICE_LIT("{\"a\""), &l, &e), -EBADMSG);
    assert_int_equal(l.n, 42);

    json_t *tree =
        json_pack("{s:i,s:b,s:n,s:s,s:{},s:[]}", "i", 5, "t", 1, "n", "s", "x", "o", "l");
    assert_non_null(tree);
    assert_int_equal(labels_from_tree(a, tree, &l), 0);
    assert_true(labels_eq(l, expected));
    json_decref(tree);
    assert_int_equal(labels_from_tree(a, NULL, &l), 0);
    assert_int_equal(l.n, 0);
}

static void test_every_cap_is_survived(void **state)
{
    (void)state;
    int rc = -1;
    for (size_t cap = 0; rc != 0; cap += 8) {
        CLEANUP(arena_free) struct arena *a = arena_new(cap);
        struct labels l;
        struct err e = {0};
        rc = labels_from_json(a, SLICE_LIT("{\"b\":\"1\",\"a\":5}"), &l, &e);
        if (rc < 0)
            assert_int_equal(rc, -ENOMEM);
        else
            assert_int_equal(l.n, 2);
        assert_true(cap < 65536);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted_unique_and_never_empty),
        cmocka_unit_test(test_with_sets_replaces_and_removes),
        cmocka_unit_test(test_fingerprints_are_alertmanagers),
        cmocka_unit_test(test_fingerprint_text),
        cmocka_unit_test(test_json_there_and_back),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_every_cap_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
