#include "testing.h"

#include <string.h>

#include "common/zone.h"
#include "common/zone_rule.h"

static void shown(const char *zone, int64_t ms, const char *want)
{
    CLEANUP(zone_free) struct zone *z = NULL;
    struct err e = {0};
    char text[ZONE_TEXT];

    if (zone_open(zone, &z, &e) < 0)
        fail_msg("%s", e.msg);
    assert_string_equal(zone_format(z, ms, text), want);
}

static void tells_local_time(void **state)
{
    (void)state;
    shown("", 0, "1970-01-01 00:00:00 (UTC)");
    shown("UTC", 1767323045678, "2026-01-02 03:04:05 (UTC)");
    shown("Asia/Shanghai", 1767323045000, "2026-01-02 11:04:05 (Asia/Shanghai)");
    shown("America/New_York", 1767323045000, "2026-01-01 22:04:05 (America/New_York)");
    shown("Europe/Berlin", 1783000000000, "2026-07-02 15:46:40 (Europe/Berlin)");
    /* Past the last transition of the file, by its rule. */
    shown("Europe/Berlin", 4102444800000, "2100-01-01 01:00:00 (Europe/Berlin)");
    shown("Europe/Berlin", 4118083200000, "2100-07-01 02:00:00 (Europe/Berlin)");
    shown("UTC", -1, "1969-12-31 23:59:59 (UTC)");
}

static void changes_at_the_very_second(void **state)
{
    (void)state;
    shown("Europe/Berlin", 1774745999000, "2026-03-29 01:59:59 (Europe/Berlin)");
    shown("Europe/Berlin", 1774746000000, "2026-03-29 03:00:00 (Europe/Berlin)");
    shown("Europe/Berlin", 1792889999000, "2026-10-25 02:59:59 (Europe/Berlin)");
    shown("Europe/Berlin", 1792890000000, "2026-10-25 02:00:00 (Europe/Berlin)");
}

static void follows_the_rule_in_the_footer(void **state)
{
    struct zone_rule r;
    int32_t offset;
    const char *name;

    (void)state;
    assert_true(zone_rule_parse("CET-1CEST,M3.5.0,M10.5.0/3", &r));
    zone_rule_at(&r, 1774745999, &offset, &name);
    assert_string_equal(name, "CET");
    zone_rule_at(&r, 1774746000, &offset, &name);
    assert_int_equal(offset, 7200);
    /* South of the equator summer spans the turn of the year. */
    assert_true(zone_rule_parse("AEST-10AEDT,M10.1.0,M4.1.0/3", &r));
    zone_rule_at(&r, 1767323045, &offset, &name);
    assert_string_equal(name, "AEDT");
    assert_true(zone_rule_parse("<+0330>-3:30", &r));
    zone_rule_at(&r, 0, &offset, &name);
    assert_int_equal(offset, 12600);
    assert_true(zone_rule_parse("", &r));
    assert_false(zone_rule_parse("CET", &r));
    assert_false(zone_rule_parse("CET-1CEST,M13.1.0,M10.5.0", &r));
    assert_false(zone_rule_parse("CET-1CEST,M3.5.0", &r));
}

static void refuses_what_is_no_zone(void **state)
{
    static const char *const wrong[] = {"../../etc/passwd", "/etc/passwd", "No/Such",
                                        "Asia/Shang hai", "Asia"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct zone *z = NULL;
        struct err e = {0};
        assert_true(zone_open(wrong[i], &z, &e) < 0);
        assert_non_null(strstr(e.msg, wrong[i]));
    }
    struct zone *z = NULL;
    for (size_t n = 0; n < 60; n++) {
        char text[60] = "TZif2";
        assert_true(zone_parse("x", (struct slice){text, n}, &z, NULL) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_local_time),
        cmocka_unit_test(changes_at_the_very_second),
        cmocka_unit_test(follows_the_rule_in_the_footer),
        cmocka_unit_test(refuses_what_is_no_zone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
