/* Cursors, and what asks for a page. */
#include "testing.h"

#include "console/page.h"

static void cursors_go_both_ways(void **state)
{
    static const int64_t times[] = {0, 1, 1767225600123, INT64_MAX};
    char text[CURSOR_STR];

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct cursor c = {.at = times[i]}, back;
        for (int j = 0; j < 16; j++)
            c.key.b[j] = (unsigned char)(j * 17 + (int)i);
        assert_true(cursor_parse(slice_of(cursor_format(&c, text)), &back));
        assert_memory_equal(&c, &back, sizeof c);
    }
}

static void what_is_no_cursor_is_refused(void **state)
{
    static const char *const bad[] = {"", "0", "zz",
                                      "00000000000000000000000000000000000000000000000",
                                      "ffffffffffffffff00000000000000000000000000000000"};
    struct cursor c;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(cursor_parse(slice_of(bad[i]), &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_go_both_ways),
        cmocka_unit_test(what_is_no_cursor_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
