/* What became of a request of Opsgenie's API, on a real PostgreSQL. */
#include "common/opsgenie_id.h"
#include "served.h"

#define AT INT64_C(1767225800000)

static int fill(void **state)
{
    (void)state;
    schema_do(&db,
              "TRUNCATE anomalies, incidents, alerts, timeline, groups, timers;"
              "INSERT INTO alerts (tenant, fingerprint, anomaly_key, status, severity, labels, "
              "annotations, title, description, link, source, starts_at, first_seen, "
              "last_seen, occurrences) VALUES "
              "('default', -2, '\\x0a', 1, 2, '{}', '{\"alias\": \"disk \\\"1\\\"\"}', 't', "
              "'', '', 'og', 1767225800000, 1767225800000, 1767225800000, 1), "
              "('default', 5, '\\x0a', 2, 3, '{}', '{}', 't', '', '', 'og', 1767225600000, "
              "1767225600000, 1767225600000, 1), "
              "('default', 7, '\\x0b', 0, 4, '{}', '{}', 't', '', '', 'og', NULL, "
              "1767225700000, 1767225700000, 0), "
              "('stranger', 8, '\\x0b', 1, 4, '{}', '{}', 't', '', '', 'og', 1767225700000, "
              "1767225700000, 1767225700000, 1);");
    return 0;
}

static int ask_about(int64_t alert, enum opsgenie_act act, int64_t at)
{
    const struct opsgenie_request q = {.alert = (uint64_t)alert, .at = at, .act = act};
    char id[UUID_STR], path[128];
    snprintf(path, sizeof path, "/v2/alerts/requests/%s", opsgenie_request_id(&q, 7, id));
    get(path);
    return answer.status;
}

static void a_create_is_told_its_alert(void **state)
{
    (void)state;
    assert_int_equal(ask_about(-2, OPSGENIE_CREATE, AT), 200);
    assert_non_null(strstr(answer.body, "\"success\":true,\"action\":\"Create\""));
    assert_non_null(strstr(answer.body, "\"alertId\":\"ffffffff-ffff-fffe-0000-000000000000\""));
    assert_non_null(strstr(answer.body, "\"alias\":\"disk \\\"1\\\"\""));
    assert_non_null(strstr(answer.body, "\"processedAt\":\"2026-01-01T00:03:20"));
    assert_non_null(strstr(answer.body, "\"requestId\":\"ffffffff-ffff-fffe-"));
}

static void what_is_not_done_yet_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(ask_about(-2, OPSGENIE_CLOSE, AT + 1),
                     404); /* it fires, and was asked later */
    assert_non_null(strstr(answer.body, "It might not be processed, yet."));
    assert_int_equal(ask_about(5, OPSGENIE_CLOSE, AT), 200);
    assert_int_equal(ask_about(5, OPSGENIE_CREATE, AT), 404); /* closed before this create */
    assert_int_equal(ask_about(5, OPSGENIE_NOTE, AT), 200);
    assert_int_equal(ask_about(7, OPSGENIE_CREATE, AT), 404); /* never fired */
    assert_int_equal(ask_about(8, OPSGENIE_CREATE, 0), 404);  /* another tenant's */
    assert_int_equal(ask_about(9, OPSGENIE_NOTE, AT), 404);
}

static void an_id_of_nobody_is_not_found(void **state)
{
    (void)state;
    get("/v2/alerts/requests/nothing");
    assert_int_equal(answer.status, 404);
    get("/v2/alerts/requests/ffffffff-ffff-fffe-0000-00000000ff00"); /* no such act */
    assert_int_equal(answer.status, 404);
}

static void ids_are_read_as_they_were_written(void **state)
{
    (void)state;
    char id[UUID_STR];
    uint64_t alert = 0;
    struct opsgenie_request q;
    const struct opsgenie_request last = {UINT64_MAX, AT, OPSGENIE_PRIORITY};
    assert_true(opsgenie_alert_parse(slice_of(opsgenie_alert_id(0x1234, id)), &alert));
    assert_int_equal(alert, 0x1234);
    assert_false(opsgenie_alert_parse(SLICE_LIT("21366c55-0950-32ba-0000-000000000001"), &alert));
    assert_true(opsgenie_request_parse(slice_of(opsgenie_request_id(&last, 255, id)), &q));
    assert_true(q.alert == last.alert && q.at == AT && q.act == last.act);
}

#define T(f) cmocka_unit_test_setup(f, fill)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_create_is_told_its_alert),
        T(what_is_not_done_yet_is_not_found),
        T(an_id_of_nobody_is_not_found),
        T(ids_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
