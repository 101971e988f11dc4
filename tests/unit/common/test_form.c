#include "common/form.h"

#include <errno.h>

#include "common/buf.h"
#include "testing.h"

#define URLENCODED "application/x-www-form-urlencoded"
#define MULTIPART "multipart/form-data; boundary=b"

static const char *const json[] = {"data", NULL};

/* As JSON; or "CODE: reason". */
static const char *read_form(struct arena *a, const char *content_type, const char *body)
{
    static struct form form;
    struct slice text = {0};
    struct err e = {0};
    int rc = content_type ? form_parse(content_type, slice_of(body), a, &form, &e)
                          : form_parse_query(slice_of(body), a, &form, &e);
    if (rc == 0)
        rc = form_to_json(&form, json, a, &text, &e);
    if (rc < 0)
        return arena_printf(a, "%s: %s", rc == -EBADMSG ? "bad" : "big", e.msg);
    return arena_strndup(a, text.p, text.len);
}

static void check(const char *content_type, const char *body, const char *expected)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    assert_string_equal(read_form(a, content_type, body), expected);
}

static void test_which_types_are_forms(void **state)
{
    (void)state;
    assert_true(form_is(URLENCODED));
    assert_true(form_is("Application/X-WWW-Form-Urlencoded ; charset=utf-8"));
    assert_true(form_is(MULTIPART));
    assert_false(form_is("application/json"));
    assert_false(form_is("application/x-www-form-urlencoded2"));
    assert_false(form_is(""));
    assert_false(form_is(NULL));
}

static void test_urlencoded(void **state)
{
    (void)state;
    check(URLENCODED, "", "{}");
    check(URLENCODED, "a=b&c=d+e%20f%2B%C3%A9", "{\"a\":\"b\",\"c\":\"d e f+\xc3\xa9\"}");
    check(URLENCODED, "a&&=b&c=d=e", "{\"a\":\"\",\"\":\"b\",\"c\":\"d=e\"}");
    check(URLENCODED, "a=100%&b=%4&c=%zz", "{\"a\":\"100%\",\"b\":\"%4\",\"c\":\"%zz\"}");
    check(URLENCODED, "a=1&b=2&a=3", "{\"a\":\"3\",\"b\":\"2\"}");
    check(URLENCODED, "a=%ff%22%0a%00", "{\"a\":\"\xef\xbf\xbd\\\"\\n\\u0000\"}");
    check(NULL, "a=b", "{\"a\":\"b\"}");
}

static void test_json_in_a_field(void **state)
{
    (void)state;
    check(NULL, "data=%7B%22a%22%3A1%7D&x=%7B%22a%22%3A1%7D",
          "{\"data\":{\"a\":1},\"x\":\"{\\\"a\\\":1}\"}");
    check(NULL, "data=%7B%22a%22%3A1", "{\"data\":\"{\\\"a\\\":1\"}"); /* it is none */
    check(NULL, "data=5", "{\"data\":\"5\"}");
}

static void test_multipart(void **state)
{
    (void)state;
    check(MULTIPART,
          "--b\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{\"a\":1}\r\n--b--\r\n",
          "{\"data\":{\"a\":1}}");
    check("multipart/form-data; charset=utf-8; boundary=\"b c\"",
          "preamble\r\n--b c\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; "
          "filename=x; name=y\r\n\r\none\r\ntwo --b c\r\n--b c\r\nContent-Disposition: form-data; "
          "name=z\r\n\r\n\r\n--b c--epilogue",
          "{\"y\":\"one\\r\\ntwo --b c\",\"z\":\"\"}");
    check(MULTIPART, "--b--", "{}");
    check(MULTIPART, "\r\n--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--",
          "{\"a\":\"1\"}");
}

static void test_what_is_no_form_says_why(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"multipart/form-data", "--b--", "bad: a multipart form without a boundary"},
        {"multipart/form-data; boundary=", "--b--", "bad: a multipart form without a boundary"},
        {MULTIPART, "", "bad: the multipart form is cut off"},
        {MULTIPART, "--b", "bad: the multipart form is cut off"},
        {MULTIPART, "--b\r\n\r\nx", "bad: the multipart form is cut off"},
        {MULTIPART, "--bx\r\n\r\nx\r\n--b--", "bad: the multipart form is cut off"},
        {MULTIPART, "--b\r\n\r\nx\r\n--b--", "bad: a part of the form has no name"},
        {MULTIPART, "--b\r\nx\r\n--b--",
         "bad: a part of the form has no empty line behind its headers"},
        {"text/plain", "a=b", "bad: not a form"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(cases[i][0], cases[i][1], cases[i][2]);
}

static void test_bounds(void **state)
{
    (void)state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(1 << 16);
    for (int i = 0; i < FORM_FIELDS_MAX; i++)
        buf_printf(&b, "k%d=v&", i);
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    assert_memory_equal(read_form(a, NULL, buf_str(&b)), "{\"k0\"", 5);
    buf_puts(&b, "one=more");
    assert_string_equal(read_form(a, NULL, buf_str(&b)), "big: a form of more than 64 fields");

    /* All of it, or nothing. */
    struct form form;
    struct err e = {0};
    int rc = -E2BIG;
    for (size_t cap = 0; rc != 0; cap += 16) {
        CLEANUP(arena_free) struct arena *small = arena_new(cap);
        struct slice text = {0};
        rc = form_parse_query(SLICE_LIT("a=1&data=%7B%7D"), small, &form, &e);
        if (rc == 0)
            rc = form_to_json(&form, json, small, &text, &e);
        assert_true(rc == -E2BIG || slice_is(text, "{\"a\":\"1\",\"data\":{}}"));
        assert_true(cap < 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_types_are_forms),    cmocka_unit_test(test_urlencoded),
        cmocka_unit_test(test_json_in_a_field),          cmocka_unit_test(test_multipart),
        cmocka_unit_test(test_what_is_no_form_says_why), cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
