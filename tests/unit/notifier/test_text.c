/* Texts that must fit, zones, words and mail headers. */
#include "testing.h"

#include <string.h>

#include "notifier/mime.h"
#include "notifier/text.h"
#include "notifier/words.h"
#include "notifier/zone.h"
#include "notifier/zone_rule.h"

static void cuts_between_characters(void **state)
{
    struct slice s = SLICE_LIT("aé世🚨"); /* 1 + 2 + 3 + 4 bytes */
    static const size_t fits[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};

    (void)state;
    for (size_t max = 0; max < sizeof(fits) / sizeof(*fits); max++)
        assert_int_equal(utf8_fit(s, max), fits[max]);
    assert_int_equal(utf8_chars(s, 3), 6);
    assert_int_equal(utf8_chars(s, 9), 10);
}

static void makes_one_line(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);

    (void)state;
    assert_string_equal(text_line(a, SLICE_LIT("  a\r\n\tb\x01 c  "), 99), "a b c");
    assert_string_equal(text_line(a, SLICE_LIT("世界和平"), 7), "世界…");
    assert_string_equal(text_line(a, SLICE_LIT("x\xff\xc0\xafy"), 99), "x???y");
    assert_string_equal(text_line(a, SLICE_LIT(""), 99), "");
}

static void cuts_at_the_end_of_a_line(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);

    (void)state;
    assert_string_equal(text_cut(a, SLICE_LIT("0123456789\nabcdef"), 15, "..."), "0123456789\n...");
    assert_string_equal(text_cut(a, SLICE_LIT("short"), 15, "..."), "short");
    assert_true(strlen(text_cut(a, SLICE_LIT("世界世界世界世界"), 10, "...")) <= 10);
}

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

static void finds_languages(void **state)
{
    (void)state;
    assert_string_equal(words_find("zh_cn")->locale, "zh-CN");
    assert_string_equal(words_find("zh")->locale, "zh-CN");
    assert_string_equal(words_find("en-GB")->locale, "en");
    assert_null(words_find("fr"));
    assert_null(words_find(""));
}

static void every_language_says_everything(void **state)
{
    (void)state;
    for (size_t i = 0; words_at(i); i++) {
        const struct words *w = words_at(i), *en = words_find("en");
#define X(name)                                                                                    \
    assert_true(w->name && * w->name);                                                             \
    for (const char *place = "0123"; *place; place++) {                                            \
        char hole[] = {'{', *place, '}', '\0'};                                                    \
        assert_int_equal(strstr(w->name, hole) != NULL, strstr(en->name, hole) != NULL);           \
    }
        WORDS(X)
#undef X
    }
}

static void no_header_breaks_out_of_its_line(void **state)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(65536);

    (void)state;
    mail_header(&out, "Subject", "a\r\nBcc: x@y");
    assert_string_equal(buf_str(&out), "Subject: aBcc: x@y\r\n");
    buf_reset(&out);
    mail_header(&out, "Subject", "世界世界世界世界世界世界世界世界世界世界");
    for (const char *line = buf_str(&out); *line; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\r") <= 78);
}

static void reads_addresses(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);
    const char *const *v;
    struct err e;

    (void)state;
    assert_int_equal(mail_addresses("Ann <ann@example.com>,  bob@example.com ", a, &v, &e), 2);
    assert_string_equal(v[0], "ann@example.com");
    assert_string_equal(v[1], "bob@example.com");
    static const char *const wrong[] = {
        "", "ann", "@b", "a@", "a b@c", "<a@b", "a@b>\r\nRCPT TO:<c@d"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_true(mail_addresses(wrong[i], a, &v, &e) < 0);
}

static void fills_places_and_chooses_the_number(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);
    const char *n = "{0} {0|day|days} of {1}";

    (void)state;
    assert_string_equal(words_fill(a, n, "1", "x", NULL, NULL), "1 day of x");
    assert_string_equal(words_fill(a, n, "0", "x", NULL, NULL), "0 days of x");
    assert_string_equal(words_fill(a, n, "11", "{0}", NULL, NULL), "11 days of {0}");
    assert_string_equal(words_fill(a, "{0||s}, {3}{4} {0 {0|a} {", "1", NULL, NULL, NULL),
                        ", {4} {0 {0|a} {");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(makes_one_line),
        cmocka_unit_test(cuts_at_the_end_of_a_line),
        cmocka_unit_test(tells_local_time),
        cmocka_unit_test(changes_at_the_very_second),
        cmocka_unit_test(follows_the_rule_in_the_footer),
        cmocka_unit_test(refuses_what_is_no_zone),
        cmocka_unit_test(finds_languages),
        cmocka_unit_test(fills_places_and_chooses_the_number),
        cmocka_unit_test(every_language_says_everything),
        cmocka_unit_test(no_header_breaks_out_of_its_line),
        cmocka_unit_test(reads_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
