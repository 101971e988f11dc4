/* Texts that must fit, words and mail headers. */
#include "testing.h"

#include <string.h>

#include "common/locale.h"
#include "notifier/mime.h"
#include "notifier/text.h"
#include "notifier/words.h"

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
    assert_string_equal(text_line(a, SLICE_LIT("a\u202Eb\u202C\u2066c\u2069 d"), 40), "abc d");
}

static void cuts_at_the_end_of_a_line(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);

    (void)state;
    assert_string_equal(text_cut(a, SLICE_LIT("0123456789\nabcdef"), 15, UNIT_BYTES, "..."),
                        "0123456789\n...");
    assert_string_equal(text_cut(a, SLICE_LIT("short"), 15, UNIT_BYTES, "..."), "short");
    assert_true(strlen(text_cut(a, SLICE_LIT("世界世界世界世界"), 10, UNIT_BYTES, "...")) <= 10);
}

/* Cut at every place: within the limit, and nothing begun that does not end. */
static void cuts_through_no_mark_up(void **state)
{
    static const char html[] = "<b>a&amp;b <i>😀c</i>\n&#39;</b> <a href=\"x&amp;y\">d</a>&lt;e";
    static const char escaped[] = "a\\*b\\_\\\\c &lt;d&gt; 世界";

    (void)state;
    assert_int_equal(text_size(SLICE_LIT(html), UNIT_SHOWN), 13);
    assert_int_equal(text_size(SLICE_LIT("😀世"), UNIT_UTF16), 3);
    for (size_t max = 1; max < 13; max++) {
        CLEANUP(arena_free) struct arena *a = arena_new(4096);
        const char *cut = text_cut(a, SLICE_LIT(html), max, UNIT_SHOWN, "…");
        int open = 0;
        assert_true(text_size(slice_of(cut), UNIT_SHOWN) <= max);
        for (const char *p = cut; *p; p++) {
            assert_true(*p != '&' || strchr(p, ';'));
            assert_true(*p != '<' || strchr(p, '>'));
            open += *p == '<' ? p[1] == '/' ? -1 : 1 : 0;
        }
        assert_int_equal(open, 0);
    }
    for (size_t max = 1; max < sizeof(escaped); max++) {
        CLEANUP(arena_free) struct arena *a = arena_new(4096);
        const char *cut = text_cut(a, SLICE_LIT(escaped), max, UNIT_BYTES, "");
        size_t len = strlen(cut), slashes = 0;
        while (slashes < len && cut[len - 1 - slashes] == '\\')
            slashes++;
        assert_int_equal(slashes % 2, 0);
        assert_true(!strrchr(cut, '&') || strchr(strrchr(cut, '&'), ';'));
        assert_true(len <= max);
    }
}

static void finds_languages(void **state)
{
    (void)state;
    assert_string_equal(words_find("zh_cn")->locale, "zh-CN");
    assert_string_equal(words_find("zh-Hant-HK")->locale, "zh-TW");
    assert_null(words_find("fr"));
    assert_null(words_find(""));
}

static void every_language_says_everything(void **state)
{
    (void)state;
    for (size_t i = 0; words_at(i); i++) {
        const struct words *w = words_at(i), *en = words_find("en");
        assert_string_equal(w->locale, locale_name((enum locale)i));
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

static size_t parts(const char *unit, size_t n, const char *end)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(65536);

    for (size_t i = 0; i < n; i++)
        buf_puts(&out, unit);
    buf_puts(&out, end);
    return text_size((struct slice){out.p, out.len}, UNIT_SMS);
}

static void a_short_message_is_counted_in_parts(void **state)
{
    (void)state;
    assert_int_equal(parts("a", 0, ""), 0);
    assert_int_equal(parts("a", 160, ""), 1);
    assert_int_equal(parts("a", 161, ""), 2);
    assert_int_equal(parts("a", 306, ""), 2);
    assert_int_equal(parts("a", 307, ""), 3);
    /* Two signs each, of which none is divided: 76 in a part, one sign stays empty. */
    assert_int_equal(parts("[", 80, ""), 1);
    assert_int_equal(parts("[", 81, ""), 2);
    assert_int_equal(parts("[", 152, ""), 2);
    assert_int_equal(parts("[", 153, ""), 3);
    assert_int_equal(parts("é", 160, ""), 1);
    assert_int_equal(parts("€", 80, ""), 1);
    /* One sign beyond the alphabet, and all count as UTF-16. */
    assert_int_equal(parts("a", 69, "…"), 1);
    assert_int_equal(parts("a", 70, "…"), 2);
    assert_int_equal(parts("`", 71, ""), 2);
    assert_int_equal(parts("世", 70, ""), 1);
    assert_int_equal(parts("世", 134, ""), 2);
    assert_int_equal(parts("世", 135, ""), 3);
    /* Of two units each, 33 in a part. */
    assert_int_equal(parts("🚨", 35, ""), 1);
    assert_int_equal(parts("🚨", 66, ""), 2);
    assert_int_equal(parts("🚨", 67, ""), 3);
}

static void a_short_message_is_cut_to_its_parts(void **state)
{
    static const char *const units[] = {"a", "[", "世", "🚨", "é\n", "a€b", "x世"};
    static const char *const tails[] = {"", "...", "\n...\nhttp://x/", "…"};

    (void)state;
    for (size_t u = 0; u < 7; u++)
        for (size_t t = 0; t < 4; t++)
            for (size_t max = 1; max <= 3; max++) {
                CLEANUP(arena_free) struct arena *a = arena_new(65536);
                CLEANUP(buf_release) struct buf out = BUF_INIT(65536);
                for (size_t i = 0; i < 600; i++)
                    buf_puts(&out, units[u]);
                const char *cut =
                    text_cut(a, (struct slice){out.p, out.len}, max, UNIT_SMS, tails[t]);
                size_t size = text_size(slice_of(cut), UNIT_SMS);
                assert_true(size <= max && (size == max || u == 4));
                size_t len = strlen(cut), tail = strlen(tails[t]);
                assert_string_equal(cut + len - tail, tails[t]);
                assert_memory_equal(cut, out.p, len - tail);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(makes_one_line),
        cmocka_unit_test(cuts_at_the_end_of_a_line),
        cmocka_unit_test(cuts_through_no_mark_up),
        cmocka_unit_test(finds_languages),
        cmocka_unit_test(fills_places_and_chooses_the_number),
        cmocka_unit_test(every_language_says_everything),
        cmocka_unit_test(no_header_breaks_out_of_its_line),
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(a_short_message_is_counted_in_parts),
        cmocka_unit_test(a_short_message_is_cut_to_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
