/* Records of the topic `repairs`. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "learner/report.h"

#define ID "018f0000-0000-7000-8000-0000000000aa"
#define INCIDENT "018f0000-0000-7000-8000-000000000001"
#define GOOD "{\"incident_id\":\"" INCIDENT "\",\"action\":\"restart_pod\",\"outcome\":\"success\""

static const struct kafka_header headers[] = {{"v", {"1", 1}},
                                              {"tenant", {"default", 7}},
                                              {"request_id", {ID, 36}},
                                              {"received_at", {"1767225600000", 13}}};

static int parse(struct arena *a, const char *json, struct report *r, struct err *e)
{
    const struct inbound in = {.topic = "repairs",
                               .value = slice_of(json),
                               .headers = headers,
                               .header_n = sizeof headers / sizeof *headers};
    return report_parse(&in, a, r, e);
}

static void a_whole_report(void **state)
{
    struct arena *a = arena_new(1 << 20);
    struct report r;
    struct err e = {0};
    char id[UUID_STR];

    (void)state;
    assert_int_equal(parse(a,
                           GOOD ",\"by\":\"ada\",\"note\":\"slow\",\"attempt\":3,"
                                "\"verified\":true,\"later\":[1]}",
                           &r, &e),
                     0);
    assert_string_equal(uuid_format(&r.id, id), ID);
    assert_string_equal(uuid_format(&r.incident_id, id), INCIDENT);
    assert_true(slice_is(r.tenant, "default") && slice_is(r.action, "restart_pod"));
    assert_true(slice_is(r.by, "ada") && slice_is(r.note, "slow"));
    assert_int_equal(r.attempt_number, 3);
    assert_int_equal(r.attempt.claim, OUTCOME_SUCCESS);
    assert_int_equal(r.attempt.at, 1767225600000);
    assert_true(r.attempt.verified);
    arena_free(a);
}

static void what_is_left_out_is_empty(void **state)
{
    struct arena *a = arena_new(1 << 20);
    struct report r;
    struct err e = {0};

    (void)state;
    assert_int_equal(parse(a, GOOD "}", &r, &e), 0);
    assert_int_equal(r.attempt_number, 1);
    assert_false(r.attempt.verified);
    assert_non_null(r.by.p);
    assert_int_equal(r.by.len + r.note.len, 0);
    arena_free(a);
}

/* "true" as text must not pass for the word of a token. */
static void only_true_is_verified(void **state)
{
    struct arena *a = arena_new(1 << 20);
    struct report r;
    struct err e = {0};

    (void)state;
    assert_int_equal(parse(a, GOOD ",\"verified\":\"true\"}", &r, &e), 0);
    assert_false(r.attempt.verified);
    assert_int_equal(parse(a, GOOD ",\"verified\":1}", &r, &e), 0);
    assert_false(r.attempt.verified);
    arena_free(a);
}

static void long_words_are_cut_between_characters(void **state)
{
    struct arena *a = arena_new(1 << 20);
    static char json[4096];
    struct report r;
    struct err e = {0};
    size_t n = (size_t)snprintf(json, sizeof json, "%s,\"note\":\"x", GOOD);

    (void)state;
    for (int i = 0; i < 1000; i++, n += 2)
        memcpy(json + n, "\xc3\xa9", 2);
    memcpy(json + n, "\"}", 3);
    assert_int_equal(parse(a, json, &r, &e), 0);
    assert_int_equal(r.note.len, 1999);
    arena_free(a);
}

static void what_is_no_report_says_why(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", "empty text"},
        {"[]", "not an object"},
        {"{\"action\":\"x\",\"outcome\":\"success\"}", "incident_id is no UUID"},
        {"{\"incident_id\":\"" INCIDENT "\",\"outcome\":\"success\"}", "action must be"},
        {"{\"incident_id\":\"" INCIDENT "\",\"action\":\"a\\nb\",\"outcome\":\"success\"}",
         "action must be"},
        {"{\"incident_id\":\"" INCIDENT "\",\"action\":\"a\",\"outcome\":\"pending\"}",
         "outcome is none of"},
        {"{\"incident_id\":\"" INCIDENT "\",\"action\":\"a\"}", "outcome is none of"},
        {GOOD ",\"attempt\":0}", "attempt is no number"},
        {GOOD ",\"attempt\":\"2\"}", "attempt is no number"},
    };
    struct arena *a = arena_new(1 << 20);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report r;
        struct err e = {0};
        assert_int_equal(parse(a, cases[i].json, &r, &e), -EBADMSG);
        assert_true(e.msg[0]);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", e.msg, cases[i].says);
    }
    arena_free(a);
}

static void every_header_is_needed(void **state)
{
    struct arena *a = arena_new(1 << 20);

    (void)state;
    for (size_t without = 1; without < 4; without++) {
        struct kafka_header h[4];
        struct report r;
        struct err e = {0};
        memcpy(h, headers, sizeof h);
        h[without].value = SLICE_LIT("");
        struct inbound in = {
            .topic = "repairs", .value = slice_of(GOOD "}"), .headers = h, .header_n = 4};
        assert_int_equal(report_parse(&in, a, &r, &e), -EBADMSG);
        assert_non_null(strstr(e.msg, headers[without].name));
        h[without].value = SLICE_LIT("-5x");
        if (without > 1)
            assert_int_equal(report_parse(&in, a, &r, &e), -EBADMSG);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_report),
        cmocka_unit_test(what_is_left_out_is_empty),
        cmocka_unit_test(only_true_is_verified),
        cmocka_unit_test(long_words_are_cut_between_characters),
        cmocka_unit_test(what_is_no_report_says_why),
        cmocka_unit_test(every_header_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
