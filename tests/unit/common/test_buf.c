#include "testing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(100000);
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 5000; i++) {
        buf_printf(&b, "%d,", i % 10);
        assert_int_equal(b.p[b.len], '\0');
    }
    assert_false(b.failed);
    assert_int_equal(b.len, 10000);
    assert_memory_equal(b.p + 9990, "5,6,7,8,9,", 11);
}

static void takes_max_and_not_a_byte_more(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max++) {
        CLEANUP(buf_release) struct buf b = BUF_INIT(max);
        for (size_t i = 0; i < max; i++)
            buf_putc(&b, 'x');
        assert_false(b.failed);
        assert_int_equal(b.len, max);
        buf_putc(&b, 'y');
        assert_true(b.failed);
        assert_int_equal(b.len, max);
        assert_null(strchr(buf_str(&b), 'y'));
    }
}

static void after_a_failure_nothing_is_added_until_reset(void **state)
{
    (void)state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(8);
    buf_puts(&b, "abc");
    buf_puts(&b, "too much for it");
    buf_puts(&b, "d");
    buf_printf(&b, "%d", 1);
    buf_json(&b, SLICE_LIT(""));
    assert_true(b.failed);
    assert_string_equal(buf_str(&b), "abc");
    buf_reset(&b);
    assert_false(b.failed);
    assert_string_equal(buf_str(&b), "");
    buf_printf(&b, "%08d", 5);
    assert_string_equal(buf_str(&b), "00000005");
}

static void no_maximum_is_possible(void **state)
{
    (void)state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(SIZE_MAX);
    buf_puts(&b, "x");
    volatile size_t huge = SIZE_MAX - 1;
    buf_add(&b, "", huge);
    assert_true(b.failed);
    assert_string_equal(buf_str(&b), "x");
}

static void release_leaves_an_empty_buffer(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(10);
    buf_puts(&b, "x");
    buf_release(&b);
    assert_null(b.p);
    buf_puts(&b, "y");
    assert_string_equal(buf_str(&b), "y");
    buf_release(&b);
    buf_release(&b);
    buf_release(NULL);
}

static void json_escapes(void **state)
{
    (void)state;
    const struct {
        struct slice in;
        const char *out;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {SLICE_LIT("plain"), "\"plain\""},
        {SLICE_LIT("q\" b\\ /"), "\"q\\\" b\\\\ /\""},
        {SLICE_LIT("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\""},
        {SLICE_LIT("\v\x01\x1F\x7F"), "\"\\u000b\\u0001\\u001f\x7F\""},
        {SLICE_LIT("a\0b"), "\"a\\u0000b\""},
        {SLICE_LIT("\xC3\xA9\xE5\x91\x8A\xF0\x9F\x94\xA5"),
         "\"\xC3\xA9\xE5\x91\x8A\xF0\x9F\x94\xA5\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(buf_release) struct buf b = BUF_INIT(1000);
        buf_json(&b, cases[i].in);
        assert_string_equal(buf_str(&b), cases[i].out);
    }
}

#define FFFD "\xEF\xBF\xBD"

static void json_replaces_what_is_no_utf8(void **state)
{
    (void)state;
    const struct {
        struct slice in;
        const char *out;
    } cases[] = {
        {SLICE_LIT("\x80"), FFFD},
        {SLICE_LIT("a\xFFz"), "a" FFFD "z"},
        {SLICE_LIT("\xC0\xAF"), FFFD FFFD}, /* overlong slash */
        {SLICE_LIT("\xC1\xBF"), FFFD FFFD},
        {SLICE_LIT("\xE0\x80\x80"), FFFD FFFD FFFD},          /* overlong */
        {SLICE_LIT("\xED\xA0\x80"), FFFD FFFD FFFD},          /* surrogate */
        {SLICE_LIT("\xF0\x8F\xBF\xBF"), FFFD FFFD FFFD FFFD}, /* overlong */
        {SLICE_LIT("\xF4\x90\x80\x80"), FFFD FFFD FFFD FFFD}, /* past U+10FFFF */
        {SLICE_LIT("\xF5\x80"), FFFD FFFD},
        {SLICE_LIT("\xE5\x91"), FFFD}, /* cut at the end */
        {SLICE_LIT("\xE5\x91x"), FFFD "x"},
        {SLICE_LIT("\xF0\x9F\x94\"q"), FFFD "\\\"q"},
        {SLICE_LIT("\xE5\xE5\x91\x8A"), FFFD "\xE5\x91\x8A"},
        {SLICE_LIT("\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80"),
         "\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(buf_release) struct buf b = BUF_INIT(1000);
        CLEANUP(buf_release) struct buf want = BUF_INIT(1000);
        buf_printf(&want, "\"%s\"", cases[i].out);
        buf_json(&b, cases[i].in);
        assert_string_equal(buf_str(&b), buf_str(&want));
        assert_true(utf8_valid(cases[i].in) == !strstr(cases[i].out, FFFD));
        assert_true(utf8_valid(slice_of(cases[i].out)));
    }
}

/* Every pair and many quadruples of bytes: the result is what a strict parser accepts. */
static void json_is_always_valid(void **state)
{
    (void)state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(1000);
    for (unsigned i = 0; i < 65536 * 2; i++) {
        unsigned mixed = i * 2654435761U;
        const char in[4] = {(char)(i >> 8), (char)i, (char)(mixed >> 24), (char)(mixed >> 16)};
        buf_reset(&b);
        buf_json(&b, (struct slice){in, i < 65536 ? 2 : 4});
        json_t *back = json_loadb(b.p, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(back);
        json_decref(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(takes_max_and_not_a_byte_more),
        cmocka_unit_test(after_a_failure_nothing_is_added_until_reset),
        cmocka_unit_test(no_maximum_is_possible),
        cmocka_unit_test(release_leaves_an_empty_buffer),
        cmocka_unit_test(json_escapes),
        cmocka_unit_test(json_replaces_what_is_no_utf8),
        cmocka_unit_test(json_is_always_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
