#include "testing.h"

#include <errno.h>
#include <string.h>

#include "common/err.h"

static void set_records_code_and_text(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, -EPROTO, "line %d", 7), -EPROTO);
    assert_int_equal(e.code, -EPROTO);
    assert_string_equal(e.msg, "line 7");
}

static void null_is_fine(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, -EINVAL, "nobody listens"), -EINVAL);
    assert_true(err_wrap(NULL, "kafka") < 0);
}

static void wrap_prefixes(void **state)
{
    (void)state;
    struct err e = {0};
    (void)err_set(&e, -ECONNREFUSED, "broker %s", "down");
    assert_int_equal(err_wrap(&e, "kafka[%d]", 2), -ECONNREFUSED);
    assert_string_equal(e.msg, "kafka[2]: broker down");
}

static void its_own_message_may_be_an_argument(void **state)
{
    (void)state;
    struct err e = {0};
    (void)err_set(&e, -EIO, "inner");
    (void)err_set(&e, -EIO, "outer %s", e.msg);
    assert_string_equal(e.msg, "outer inner");
}

static void message_is_one_line(void **state)
{
    (void)state;
    struct err e = {0};
    (void)err_set(&e, -EIO, "FATAL: no\r\n\tHINT: yes\x7F!\n\n");
    assert_string_equal(e.msg, "FATAL: no   HINT: yes !");
}

/* Wherever the cut falls, no character is broken. */
static void long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    for (int shift = 0; shift < 3; shift++) {
        char text[600];
        memset(text, 'x', (size_t)shift);
        for (size_t i = (size_t)shift; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xE5\x91\x8A", 4);
        struct err e = {0};
        (void)err_set(&e, -EIO, "%s", text);
        size_t len = strlen(e.msg);
        assert_true(len < sizeof(e.msg) && len > sizeof(e.msg) - 5);
        assert_int_equal((len - (size_t)shift) % 3, 0);
        assert_memory_equal(e.msg, text, len);
    }
}

static void wrapping_a_full_message_keeps_the_prefix(void **state)
{
    (void)state;
    struct err e = {0};
    (void)err_set(&e, -EIO, "%0500d", 0);
    (void)err_wrap(&e, "pg");
    assert_memory_equal(e.msg, "pg: 000", 7);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_records_code_and_text),
        cmocka_unit_test(null_is_fine),
        cmocka_unit_test(wrap_prefixes),
        cmocka_unit_test(its_own_message_may_be_an_argument),
        cmocka_unit_test(message_is_one_line),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(wrapping_a_full_message_keeps_the_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
