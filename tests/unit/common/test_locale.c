#include "common/locale.h"

#include "testing.h"

static void finds_what_a_tag_asks_for(void **state)
{
    static const struct {
        const char *tag;
        enum locale locale;
    } cases[] = {
        {"en", LOCALE_EN},
        {"EN", LOCALE_EN},
        {"en-GB", LOCALE_EN},
        {"zh", LOCALE_ZH_CN},
        {"zh-CN", LOCALE_ZH_CN},
        {"zh_cn", LOCALE_ZH_CN},
        {"zh-SG", LOCALE_ZH_CN},
        {"zh-Hans", LOCALE_ZH_CN},
        {"zh-Hans-HK", LOCALE_ZH_CN},
        {"zh-TW", LOCALE_ZH_TW},
        {"zh_TW", LOCALE_ZH_TW},
        {"zh-Hant", LOCALE_ZH_TW},
        {"zh-hant-TW", LOCALE_ZH_TW},
        {"zh_HK", LOCALE_ZH_TW},
        {"zh-MO", LOCALE_ZH_TW},
    };
    static const char *const none[] = {"",  "fr",  "e",       "eng", "z",
                                       "-", "zho", "english", " en", "zhTW"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        enum locale l = LOCALES;
        if (!locale_find(slice_of(cases[i].tag), &l) || l != cases[i].locale)
            fail_msg("%s", cases[i].tag);
    }
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        enum locale l = LOCALES;
        if (locale_find(slice_of(none[i]), &l) || l != LOCALES)
            fail_msg("%s", none[i]);
    }
}

static void each_is_found_by_its_name(void **state)
{
    (void)state;
    for (enum locale l = 0; l < LOCALES; l++) {
        enum locale found = LOCALES;
        assert_true(locale_find(slice_of(locale_name(l)), &found));
        assert_int_equal(found, l);
    }
    assert_string_equal(LOCALE_NAMES, " en zh-CN zh-TW");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_a_tag_asks_for),
        cmocka_unit_test(each_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
