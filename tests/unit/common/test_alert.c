#include "common/alert.h"
#include "testing.h"

static void test_severity_in_anybodys_words(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum severity expected;
    } cases[] = {{"critical", SEVERITY_CRITICAL}, {"CRITICAL", SEVERITY_CRITICAL},
                 {"fatal", SEVERITY_CRITICAL},    {"page", SEVERITY_CRITICAL},
                 {"P1", SEVERITY_CRITICAL},       {"error", SEVERITY_ERROR},
                 {"High", SEVERITY_ERROR},        {"warn", SEVERITY_WARNING},
                 {"p3", SEVERITY_WARNING},        {"info", SEVERITY_INFO},
                 {"low", SEVERITY_INFO}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(severity_parse(slice_of(cases[i].word), 0), cases[i].expected);
    assert_int_equal(severity_parse(SLICE_LIT("criticalx"), SEVERITY_INFO), SEVERITY_INFO);
    assert_int_equal(severity_parse((struct slice){0}, SEVERITY_ERROR), SEVERITY_ERROR);
    for (enum severity s = SEVERITY_INFO; s <= SEVERITY_CRITICAL; s++)
        assert_int_equal(severity_parse(slice_of(severity_name(s)), 0), s);
}

static struct anomaly of(struct arena *a, const char *tenant, const char *json)
{
    struct labels l;
    struct anomaly ret;
    assert_int_equal(labels_from_json(a, slice_of(json), &l, &(struct err){0}), 0);
    anomaly_of(slice_of(tenant), l, &ret);
    return ret;
}

/* SHA-256 of "default\0OOM\0api\0prod\0OOMKilled\0", by another program. */
static void test_anomaly_key_is_stable(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct anomaly x =
        of(a, "default",
           "{\"alertname\":\"OOM\",\"job\":\"api\",\"service\":\"other\",\"namespace\":\"prod\","
           "\"reason\":\"OOMKilled\",\"error_type\":\"other\",\"instance\":\"a\"}");
    char hex[2 * ANOMALY_KEY_LEN + 1];
    assert_string_equal(hex_encode(x.key, sizeof(x.key), hex), "3f4a7d6e8450ad8ff5e90e0f5062730b");
    assert_true(slice_is(x.service, "api"));
    assert_true(slice_is(x.error_type, "OOMKilled"));
    struct anomaly y = of(a, "default",
                          "{\"alertname\":\"OOM\",\"service\":\"api\",\"namespace\":\"prod\","
                          "\"error_type\":\"OOMKilled\"}");
    assert_memory_equal(x.key, y.key, sizeof(x.key));
    struct anomaly z = of(a, "other",
                          "{\"alertname\":\"OOM\",\"service\":\"api\",\"namespace\":\"prod\","
                          "\"error_type\":\"OOMKilled\"}");
    assert_memory_not_equal(x.key, z.key, sizeof(x.key));
}

/* Where one part ends and the next begins is part of the key. */
static void test_parts_do_not_run_together(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct anomaly x = of(a, "t", "{\"alertname\":\"ab\",\"job\":\"c\"}"),
                   y = of(a, "t", "{\"alertname\":\"a\",\"job\":\"bc\"}"),
                   z = of(a, "t", "{\"alertname\":\"ab\",\"namespace\":\"c\"}");
    assert_memory_not_equal(x.key, y.key, sizeof(x.key));
    assert_memory_not_equal(x.key, z.key, sizeof(x.key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_severity_in_anybodys_words),
        cmocka_unit_test(test_anomaly_key_is_stable),
        cmocka_unit_test(test_parts_do_not_run_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
