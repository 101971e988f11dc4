#include "common/pointer.h"

#include <errno.h>

#include "testing.h"

static struct conf *conf;

static int parse(const char *text, struct pointer *ret, struct err *e)
{
    return pointer_parse(conf, slice_of(text), ret, e);
}

static const json_t *get(const char *text, const json_t *from)
{
    struct pointer p;
    struct err e = {0};
    if (parse(text, &p, &e) < 0)
        fail_msg("%s: %s", text, e.msg);
    return pointer_get(&p, from);
}

/* The document and the pointers of RFC 6901, section 5. */
static void test_those_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *pointer, *value;
    } table[] = {
        {"/foo", "[\"bar\",\"baz\"]"},
        {"/foo/0", "\"bar\""},
        {"/", "0"},
        {"/a~1b", "1"},
        {"/c%d", "2"},
        {"/e^f", "3"},
        {"/g|h", "4"},
        {"/i\\j", "5"},
        {"/k\"l", "6"},
        {"/ ", "7"},
        {"/m~0n", "8"},
    };
    json_t *doc = json_loads("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,"
                             "\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}",
                             0, NULL);
    assert_non_null(doc);
    assert_ptr_equal(get("", doc), doc);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        json_t *expected = json_loads(table[i].value, JSON_DECODE_ANY, NULL);
        if (!json_equal(get(table[i].pointer, doc), expected))
            fail_msg("%s is not %s", table[i].pointer, table[i].value);
        json_decref(expected);
    }
    json_decref(doc);
}

static void test_nowhere(void **state)
{
    (void)state;
    static const char *const nowhere[] = {
        "/b",      "/a/9",  "/a/2",   "/a/-",
        "/a/01",   "/a/1x", "/a/",    "/a/18446744073709551616",
        "/a/00",   "/a/+1", "/s/0",   "/n/0",
        "/a/0/0",  "/o/~1", "/a/1/b", "/a/99999999999999999999999999999999999999",
        "/o/k/k/k"};
    json_t *doc =
        json_loads("{\"a\":[1,{\"c\":2}],\"s\":\"text\",\"n\":null,\"o\":{\"k\":{}}}", 0, NULL);
    assert_non_null(doc);
    assert_int_equal(json_integer_value(get("/a/1/c", doc)), 2);
    for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
        if (get(nowhere[i], doc))
            fail_msg("%s leads somewhere", nowhere[i]);
    assert_null(get("/a", NULL));
    json_decref(doc);
}

/* ~01 is the key "~1": one pass, not two. */
static void test_escapes_are_undone_once(void **state)
{
    (void)state;
    json_t *doc = json_loads("{\"~1\":1,\"/\":2,\"~0\":3}", 0, NULL);
    assert_int_equal(json_integer_value(get("/~01", doc)), 1);
    assert_int_equal(json_integer_value(get("/~1", doc)), 2);
    assert_int_equal(json_integer_value(get("/~00", doc)), 3);
    json_decref(doc);
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a",      "a/b",  " /a",
        "/~",     "/a~2", "/a~",
        "/a/~/b", "#/a",  "/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3"};
    struct pointer p;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = {0};
        if (parse(bad[i], &p, &e) != -EINVAL || !e.msg[0])
            fail_msg("%s is taken for a pointer", bad[i]);
    }
}

static int open_conf(void **state)
{
    (void)state;
    struct err e = {0};
    return conf_parse("test", "", NULL, &conf, &e);
}

static int close_conf(void **state)
{
    (void)state;
    conf_free(conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_of_the_rfc),
        cmocka_unit_test(test_nowhere),
        cmocka_unit_test(test_escapes_are_undone_once),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, open_conf, close_conf);
}
