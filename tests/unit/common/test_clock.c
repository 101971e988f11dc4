#include "testing.h"

#include <string.h>

#include "common/clock.h"

#define LAST_MS INT64_C(253402300799999)

static void clocks_move_forward(void **state)
{
    (void)state;
    assert_true(clock_now_ms() > INT64_C(1577836800000)); /* 2020 */
    int64_t before = clock_monotonic_ms();
    assert_true(before > 0);
    assert_true(clock_monotonic_ms() >= before);
}

static void format_known_times(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868799999, "2000-02-29T23:59:59.999Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1767366245678, "2026-01-02T15:04:05.678Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"}, /* 2100 has no leap day */
        {4107542399999, "2100-02-28T23:59:59.999Z"},
        {LAST_MS, "9999-12-31T23:59:59.999Z"},
        {LAST_MS + 1, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_C(-62135596800000), "0001-01-01T00:00:00.000Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[RFC3339_MAX];
        assert_ptr_equal(rfc3339_format(cases[i].ms, out), out);
        assert_string_equal(out, cases[i].text);
    }
}

static void parse_known_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-02T15:04:05.678Z", 1767366245678},
        {"2026-01-02t15:04:05.678z", 1767366245678},
        {"2026-01-02 15:04:05.678Z", 1767366245678},
        {"2026-01-02T15:04:05Z", 1767366245000},
        {"2026-01-02T15:04:05.6Z", 1767366245600},
        {"2026-01-02T15:04:05.67Z", 1767366245670},
        {"2026-01-02T15:04:05.678999999Z", 1767366245678},
        {"2026-01-02T15:04:05.000000001Z", 1767366245000},
        {"2026-01-02T23:04:05+08:00", 1767366245000},
        {"2026-01-02T20:34:05+05:30", 1767366245000},
        {"2026-01-01T16:04:05-23:00", 1767366245000},
        {"2026-01-03T15:03:05+23:59", 1767366245000},
        {"2026-01-02T15:04:05-00:00", 1767366245000},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2024-02-29T12:00:00Z", 1709208000000},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1970-01-01T00:59:59+01:00", 0}, /* before 1970: absent */
        {"1969-12-31T23:59:59.999Z", 0},
        {"0001-01-01T00:00:00Z", 0},
        {"0000-02-29T00:00:00Z", 0},
        {"1990-12-31T23:59:60Z", 662688000000}, /* leap second */
        {"1990-12-31T15:59:60-08:00", 662688000000},
        {"9999-12-31T23:59:59.999Z", LAST_MS},
        {"9999-12-31T23:59:59.999-01:00", LAST_MS},
        {"10000-01-01T00:00:00Z", LAST_MS},
        {"10000-01-01T00:00:00+01:00", LAST_MS - MS_HOUR + 1},
        {"300000-01-01T00:00:00Z", LAST_MS},
        {"999999999-12-31T23:59:59Z", LAST_MS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = -1;
        if (!rfc3339_parse(slice_of(cases[i].text), &ms) || ms != cases[i].ms)
            fail_msg("%s gave %lld", cases[i].text, (long long)ms);
    }
}

static void parse_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "null",
        "2026",
        "2026-01-02",
        "2026-01-02T15:04:05", /* no offset */
        "2026-01-02T15:04Z",
        "2026-01-02T15:04:05.Z",
        "2026-01-02T15:04:05.1234567890Z",
        "2026-01-02T15:04:05,5Z",
        "2026-01-02T15:04:05+08",
        "2026-01-02T15:04:05+0800",
        "2026-01-02T15:04:05+24:00",
        "2026-01-02T15:04:05+08:60",
        "2026-01-02T15:04:05ZZ",
        "2026-01-02T15:04:05Z ",
        " 2026-01-02T15:04:05Z",
        "2026-01-02X15:04:05Z",
        "2026-1-02T15:04:05Z",
        "26-01-02T15:04:05Z",
        "+2026-01-02T15:04:05Z",
        "-2026-01-02T15:04:05Z",
        "2026-00-02T15:04:05Z",
        "2026-13-02T15:04:05Z",
        "2026-01-00T15:04:05Z",
        "2026-01-32T15:04:05Z",
        "2026-04-31T15:04:05Z",
        "2026-02-29T15:04:05Z",
        "1900-02-29T15:04:05Z",
        "2100-02-29T15:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T15:60:05Z",
        "2026-01-02T15:04:60Z", /* a leap second in the afternoon */
        "2026-01-02T15:04:61Z",
        "1234567890-01-01T00:00:00Z",
        "1767366245678",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 77;
        if (rfc3339_parse(slice_of(cases[i]), &ms))
            fail_msg("\"%s\" was taken", cases[i]);
        assert_int_equal(ms, 77);
    }
    int64_t ms = 77;
    assert_false(rfc3339_parse(SLICE_LIT("2026-01-02T15:04:05\0"), &ms));
    assert_false(rfc3339_parse((struct slice){0}, &ms));
}

/* A prime step visits every day of the week, month and leap cycle. */
static void parse_undoes_format(void **state)
{
    (void)state;
    for (int64_t ms = 0; ms <= LAST_MS; ms += INT64_C(8675309023)) {
        char out[RFC3339_MAX];
        int64_t back = -1;
        assert_true(rfc3339_parse(slice_of(rfc3339_format(ms, out)), &back));
        assert_int_equal(back, ms);
    }
}

static void every_prefix_is_refused(void **state)
{
    (void)state;
    struct slice whole = SLICE_LIT("2026-01-02T15:04:05.678+08:00");
    int64_t ms = 0;
    for (size_t n = 0; n < whole.len; n++)
        assert_false(rfc3339_parse((struct slice){whole.p, n}, &ms));
    assert_true(rfc3339_parse(whole, &ms));
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
        const char *shortest;
    } cases[] = {
        {"0", 0, "0s"},
        {"0s", 0, "0s"},
        {"90s", 90 * MS_SECOND, "1m30s"},
        {"1h30m", 90 * MS_MINUTE, "1h30m"},
        {"90m", 90 * MS_MINUTE, "1h30m"},
        {"2d", 2 * MS_DAY, "2d"},
        {"500ms", 500, "500ms"},
        {"1m500ms", MS_MINUTE + 500, "1m500ms"},
        {"1w", 7 * MS_DAY, "1w"},
        {"90d", 90 * MS_DAY, "90d"},
        {"1w1d", 8 * MS_DAY, "8d"},
        {"1y", 365 * MS_DAY, "1y"},
        {"1d2h3m4s5ms", MS_DAY + 2 * MS_HOUR + 3 * MS_MINUTE + 4 * MS_SECOND + 5, "1d2h3m4s5ms"},
        {"100y", 36500 * MS_DAY, "100y"},
        {"3153600000000ms", 36500 * MS_DAY, "100y"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = -1;
        char out[RFC3339_MAX];
        assert_true(duration_parse(slice_of(cases[i].text), &ms));
        assert_int_equal(ms, cases[i].ms);
        assert_string_equal(duration_format(ms, out), cases[i].shortest);
        assert_true(duration_parse(slice_of(out), &ms));
        assert_int_equal(ms, cases[i].ms);
    }
    char out[RFC3339_MAX];
    assert_string_equal(duration_format(-5, out), "0s");
    assert_true(strlen(duration_format(INT64_MAX, out)) < RFC3339_MAX);
}

static void durations_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "5",
        "00",
        "s",
        "-5s",
        "+5s",
        "1.5h",
        "5 s",
        " 5s",
        "5s ",
        "5S",
        "5sec",
        "30m1h",
        "1h1h",
        "5ms1s",
        "1h30",
        "h1",
        "101y",
        "100y1ms",
        "1e3s",
        "1µs",
        "1ns",
        "99999999999999ms",
        "9999999999999y",
        "0x5s",
        "5s\n",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 77;
        if (duration_parse(slice_of(cases[i]), &ms))
            fail_msg("\"%s\" was taken", cases[i]);
        assert_int_equal(ms, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_move_forward), cmocka_unit_test(format_known_times),
        cmocka_unit_test(parse_known_texts),   cmocka_unit_test(parse_refuses),
        cmocka_unit_test(parse_undoes_format), cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(durations),           cmocka_unit_test(durations_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
