/* The console over HTTP, on a real PostgreSQL. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/frequency.h"
#include "served.h"

#define A "018f0000-0000-7000-8000-00000000000a"
#define B "018f0000-0000-7000-8000-00000000000b"
#define C "018f0000-0000-7000-8000-00000000000c"

/* ---- fixtures ---- */

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", web, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define INCIDENT(id, key, status, by, sev, title, service, opened, resolved)                       \
    "INSERT INTO incidents (tenant, id, anomaly_key, status, resolved_by, severity, level, "       \
    "title, "                                                                                      \
    "source, alert_name, service, namespace, environment, error_type, opened_at, updated_at, "     \
    "resolved_at, window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES "      \
    "('default', '" id "', '" key "', " status ", " by ", " sev ", 1, '" title "', 'prom', "       \
    "'HighLatency', '" service "', 'ns', 'prod', 'Timeout', " opened ", " opened ", " resolved     \
    ", " opened ", " opened ", 4, 1, 2);"

static int fill(void **state)
{
    struct frequency f;
    const int64_t now = clock_now_ms();

    (void)state;
    schema_do(
        &db,
        "TRUNCATE anomalies, incidents, alerts, timeline, notifications, "
        "notification_incidents, deliveries, "
        "repairs, repair_stats, playbooks, groups, timers;"
        "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, error_type, "
        "first_seen, last_seen) VALUES ('default', '\\x0a', 'HighLatency', 'shop', '', '', "
        "1767225600000, 1767229200000), ('default', '\\x0b', 'HighLatency', 'billing', '', "
        "'', 1767225600000, 1767229200000);" INCIDENT(
            A, "\\x0a", "4", "2", "3", "Shop is slow", "shop", "1767225600000",
            "1767225660000") INCIDENT(B, "\\x0b", "1", "NULL", "4", "Billing is slow", "billing",
                                      "1767225700000", "NULL")
            INCIDENT(
                C, "\\x0a", "2", "NULL", "2", "Shop \"is\" slow again", "shop", "1767225800000",
                "NULL") "INSERT INTO incidents SELECT 'stranger', id, anomaly_key, status, "
                        "resolved_by, "
                        "severity, level, 0, 1, 'secret', '', source, alert_name, service, "
                        "namespace, "
                        "environment, error_type, link, 0, 0, opened_at, updated_at, resolved_at, "
                        "window_start, last_seen, occurrences, 0, 0, '' FROM incidents;"
                        "INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, "
                        "status, "
                        "severity, labels, annotations, title, description, link, source, "
                        "starts_at, "
                        "ended_at, first_seen, last_seen, occurrences) VALUES "
                        "('default', -2, '\\x0a', '" C
                        "', 1, 2, '{\"alertname\": \"HighLatency\"}', "
                        "'{\"summary\": \"slow\"}', 't', '', 'http://g/1', 's', 1767225800000, "
                        "NULL, "
                        "1767225800000, 1767225800000, 3), "
                        "('default', 5, '\\x0a', '" A
                        "', 2, 3, '{}', '{}', 't', '', '', 's', 1767225600000, "
                        "1767225660000, 1767225600000, 1767225600000, 1), "
                        "('default', 6, '\\x0b', NULL, 1, 4, '{}', '{}', 't', '', '', 's', "
                        "1767225700000, "
                        "NULL, 1767225700000, 1767225700000, 1), "
                        "('default', 7, '\\x0b', NULL, 0, 4, '{}', '{}', 't', '', '', 's', NULL, "
                        "NULL, "
                        "1767225700000, 1767225700000, 0);");
    frequency_init(&f);
    for (int i = 0; i < 4; i++)
        frequency_add(&f, now - 10 * MS_MINUTE - i * 2 * MS_HOUR);
    struct pg_args *p = pg_args(db.arena);
    pg_bytea(p, frequency_pack(&f, db.arena));
    SQL_OK(&db, pg_query(db.pg, "UPDATE anomalies SET frequency = $1 WHERE service = 'shop'", p,
                         NULL, &db.e));
    return 0;
}

/* ---- the list ---- */

static void an_incident_says_what_the_contract_promises(void **state)
{
    (void)state;
    get("/api/v1/incidents?service=shop&status=active");
    assert_status(200);
    assert_non_null(strstr(answer.head, "application/json"));
    assert_string_equal(listed("incidents"), "c");
    static const struct {
        const char *path, *text;
    } members[] = {
        {"incidents.0.id", "\"" C "\""},
        {"incidents.0.tenant", "\"default\""},
        {"incidents.0.title", "\"Shop \\\"is\\\" slow again\""},
        {"incidents.0.status", "\"acknowledged\""},
        {"incidents.0.resolve_reason", "null"},
        {"incidents.0.severity", "\"warning\""},
        {"incidents.0.service", "\"shop\""},
        {"incidents.0.namespace", "\"ns\""},
        {"incidents.0.environment", "\"prod\""},
        {"incidents.0.source", "\"prom\""},
        {"incidents.0.alert_name", "\"HighLatency\""},
        {"incidents.0.error_type", "\"Timeout\""},
        {"incidents.0.anomaly_key", "\"0a\""},
        {"incidents.0.opened_at", "\"2026-01-01T00:03:20.000Z\""},
        {"incidents.0.updated_at", "\"2026-01-01T00:03:20.000Z\""},
        {"incidents.0.resolved_at", "null"},
        {"incidents.0.alerts_firing", "1"},
        {"incidents.0.alerts_total", "2"},
        {"incidents.0.is_aggregated", "true"},
        {"incidents.0.aggregated_count", "4"},
        {"incidents.0.aggregation_window_start", "\"2026-01-01T00:03:20.000Z\""},
        {"incidents.0.link", "null"},
        {"incidents.0.frequency_stats",
         "{\"count_1h\":1,\"count_24h\":4,\"count_30d\":4,\"count_7d\":4,"
         "\"escalation_level\":\"REPEAT\",\"first_seen\":\"2026-01-01T00:00:00.000Z\","
         "\"last_seen\":\"2026-01-01T01:00:00.000Z\"}"},
        {"incidents.0.repair_stats",
         "{\"last_repair_action\":null,\"last_repair_time\":null,\"recommended_tier\":1,"
         "\"repair_history\":[],\"successful_attempts\":0,\"total_attempts\":0}"},
        {"incidents.0.proposed_repair", "null"},
        {"next_cursor", "null"},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        assert_at(members[i].path, members[i].text);
}

static void every_filter_does_what_it_says(void **state)
{
    static const struct {
        const char *query, *ids;
    } cases[] = {
        {"", "cba"},
        {"?status=active", "cb"},
        {"?status=open", "b"},
        {"?status=acknowledged", "c"},
        {"?status=investigating", ""},
        {"?status=resolved", "a"},
        {"?severity=critical", "b"},
        {"?severity=error&status=resolved", "a"},
        {"?service=shop", "ca"},
        {"?service=sho", ""},
        {"?service=billing&status=active", "b"},
        {"?q=AGAIN", "c"},
        {"?q=slow", "cba"},
        {"?q=highlat", "cba"},
        {"?q=billing", "b"},
        {"?q=timeout&status=open", "b"},
        {"?q=%25", ""},
        {"?q=%E6%85%A2%F0%9F%90%8C", ""},
        {"?q=shop&service=shop&status=resolved", "a"},
        {"?since=2026-01-01T00:01:40Z", "cb"},
        {"?until=2026-01-01T00:01:40Z", "ba"},
        {"?since=2026-01-01T00:01:40Z&until=2026-01-01T00:01:40.000Z", "b"},
        {"?since=2027-01-01T00:00:00Z", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        snprintf(path, sizeof path, "/api/v1/incidents%s", cases[i].query);
        get(path);
        assert_status(200);
        if (strcmp(listed("incidents"), cases[i].ids) != 0)
            fail_msg("%s gives \"%s\", not \"%s\"", path, listed("incidents"), cases[i].ids);
        assert_at("next_cursor", "null");
    }
}

static void pages_follow_each_other_without_gap_or_repeat(void **state)
{
    char path[256];

    (void)state;
    get("/api/v1/incidents?limit=1");
    assert_string_equal(listed("incidents"), "c");
    snprintf(path, sizeof path, "/api/v1/incidents?limit=1&cursor=%.48s", at("next_cursor") + 1);
    /* what opens meanwhile is newer: it moves nothing */
    schema_do(&db, "UPDATE incidents SET updated_at = 1 WHERE id = '" C "'");
    get(path);
    assert_string_equal(listed("incidents"), "b");
    snprintf(path, sizeof path, "/api/v1/incidents?limit=1&cursor=%.48s", at("next_cursor") + 1);
    get(path);
    assert_string_equal(listed("incidents"), "a");
    assert_at("next_cursor", "null");
}

static void equal_times_are_told_apart_by_id(void **state)
{
    char path[256];

    (void)state;
    schema_do(&db, "UPDATE incidents SET opened_at = 1767225600000");
    get("/api/v1/incidents?limit=2");
    assert_string_equal(listed("incidents"), "cb");
    snprintf(path, sizeof path, "/api/v1/incidents?limit=2&cursor=%.48s", at("next_cursor") + 1);
    get(path);
    assert_string_equal(listed("incidents"), "a");
}

static void the_limit_is_capped_not_refused(void **state)
{
    (void)state;
    schema_do(&db, "INSERT INTO incidents SELECT 'default', gen_random_uuid(), anomaly_key, 4, 1, "
                   "severity, level, 0, 1, title, '', source, alert_name, service, namespace, "
                   "environment, error_type, link, 0, 0, opened_at, updated_at, resolved_at, "
                   "window_start, last_seen, occurrences, 0, 0, '' FROM incidents WHERE "
                   "tenant = 'default'");
    get("/api/v1/incidents?limit=100000");
    assert_status(200);
    assert_int_equal(strlen(listed("incidents")), 3);
    assert_true(at("next_cursor")[0] == '"');
}

static void a_wrong_parameter_is_named(void **state)
{
    (void)state;
    assert_refused("/api/v1/incidents?limit=0", 400, "limit must be");
    assert_refused("/api/v1/incidents?limit=-1", 400, "limit must be");
    assert_refused("/api/v1/incidents?limit=ten", 400, "limit must be");
    assert_refused("/api/v1/incidents?limit=99999999999999999999", 400, "limit must be");
    assert_refused("/api/v1/incidents?cursor=abc", 400, "cursor");
    assert_refused("/api/v1/incidents?status=closed", 400, "status must be");
    assert_refused("/api/v1/incidents?severity=fatal", 400, "severity must be");
    assert_refused("/api/v1/incidents?since=yesterday", 400, "since must be");
    assert_refused("/api/v1/incidents?until=2026-13-01", 400, "until must be");
    assert_refused("/api/v1/incidents?since=2026-01-01T00:00:00+01:00", 400, "written %2B");
    assert_refused("/api/v1/incidents?limit=1&sevrity=critical", 400,
                   "unknown parameter \\\"sevrity\\\": known are status, severity, service, q, "
                   "limit, cursor, since and until");
    assert_refused("/api/v1/incidents?q=%CA%FD", 400, "q must be UTF-8");
    assert_refused("/api/v1/incidents?service=shop%ED%A0%80", 400, "service must be UTF-8");
    assert_refused("/api/v1/alerts?service=shop", 400, "unknown parameter");
    assert_refused("/api/v1/alerts?status=open", 400, "status must be");
    assert_refused("/api/v1/alerts?severity=x", 400, "severity must be");
    assert_refused("/api/v1/alerts?limit=x", 400, "limit must be");
    assert_refused("/api/v1/alerts?incident=7", 400, "id of an incident");
    assert_at("error.code", "\"bad_request\"");
}

/* ---- repairs ---- */

static void what_was_tried_is_told_with_its_numbers(void **state)
{
    (void)state;
    schema_do(&db,
              "INSERT INTO repair_stats VALUES ('default', '\\x0a', 'restart_pod', 16, 14, 2, "
              "1767225900000, 'success'), ('default', '\\x0a', 'scale_up', 2, 1, 0, 1, 'unknown');"
              "INSERT INTO repairs (tenant, id, incident_id, anomaly_key, action, claim, outcome, "
              "actor, note, at) SELECT 'default', gen_random_uuid(), '" A "', '\\x0a', "
              "'restart_pod', 'success', CASE WHEN i = 30 THEN 'pending' ELSE 'success' END, "
              "'ada', 'n' || i, 1767225900000 + i * 1000 FROM generate_series(1, 30) i;"
              "INSERT INTO playbooks VALUES ('default', 'global', 1, '[{\"action\": \"look\", "
              "\"successes\": 0, \"attempts\": 0, \"last_used\": 0, \"text\": \"\"}]', 1), "
              "('default', 'alert:HighLatency', 4, '[{\"action\": \"wait\", \"successes\": 0, "
              "\"attempts\": 0, \"last_used\": 0, \"text\": \"Breathe\"}]', 1), "
              "('default', 'anomaly:0a', 7, '[{\"action\": \"restart_pod\", \"successes\": 14, "
              "\"attempts\": 16, \"last_used\": 1767225900000, \"text\": \"\"}, {\"action\": "
              "\"x\"}]', 1)");
    get("/api/v1/incidents/" C);
    assert_status(200);
    assert_at("repair_stats.total_attempts", "18");
    assert_at("repair_stats.successful_attempts", "15");
    assert_at("repair_stats.last_repair_action", "\"restart_pod\"");
    assert_at("repair_stats.last_repair_time", "\"2026-01-01T00:05:30.000Z\"");
    assert_at("repair_stats.recommended_tier", "2");
    assert_at("repair_stats.repair_history.0",
              "{\"action\":\"restart_pod\",\"at\":\"2026-01-01T00:05:30.000Z\",\"by\":\"ada\","
              "\"note\":\"n30\",\"outcome\":\"pending\"}");
    assert_at("repair_stats.repair_history.19.note", "\"n11\"");
    assert_at("repair_stats.repair_history.20", "(absent)");
    assert_at("proposed_repair.action", "\"restart_pod\"");
    assert_at("proposed_repair.successes", "14");
    assert_at("proposed_repair.attempts", "16");
    assert_at("proposed_repair.success_rate", "0.875");
    assert_at("proposed_repair.wilson_lower", "0.6398");
    assert_at("proposed_repair.last_used", "\"2026-01-01T00:05:00.000Z\"");
    assert_at("proposed_repair.playbook_version", "7");
    assert_non_null(strstr(at("proposed_repair.text"),
                           "restart_pod fixed this 14 of 16 times (Wilson lower bound 64 %), last "
                           "used "));
    /* nothing was learned about the other anomaly: the wider playbook speaks */
    get("/api/v1/incidents/" B);
    assert_at("proposed_repair.playbook_version", "4");
    assert_at("proposed_repair.text", "\"Breathe: wait has no known outcome yet\"");
    assert_at("proposed_repair.last_used", "null");
    assert_at("repair_stats.total_attempts", "0");
    /* and both in one page, each with its own */
    get("/api/v1/incidents?status=active");
    assert_at("incidents.0.proposed_repair.action", "\"restart_pod\"");
    assert_at("incidents.1.proposed_repair.action", "\"wait\"");
    assert_at("incidents.1.repair_stats.repair_history", "[]");
}

static void tier_four_when_the_permanent_fix_did_not_last(void **state)
{
    (void)state;
    schema_do(&db, "INSERT INTO repair_stats VALUES ('default', '\\x0a', 'permanent_fix', 1, 1, 0, "
                   "1767225700000, 'success')");
    get("/api/v1/incidents/" C);
    assert_at("repair_stats.recommended_tier", "4");
    get("/api/v1/incidents/" A); /* it began before the fix */
    assert_at("repair_stats.recommended_tier", "1");
    assert_at("resolve_reason", "\"manual\"");
    assert_at("resolved_at", "\"2026-01-01T00:01:00.000Z\"");
}

/* ---- one incident ---- */

static void one_incident_has_its_whole_story(void **state)
{
    (void)state;
    schema_do(
        &db, "INSERT INTO timeline VALUES ('default', '" C "', 1767225900000, 'b', 'status', "
             "'ada', 'acknowledged: mine'), ('default', '" C "', 1767225800000, 'a', 'opened', '', "
             "'Shop'), ('default', '" B "', 1767225800000, 'a', 'opened', '', 'other');"
             "INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, "
             "seq, kind, severity, about, created_at) SELECT 'default', "
             "('00000000-0000-0000-0000-00000000000' || k)::uuid, gen_random_uuid(), 'team', 0, "
             "'slack', k, 'status', 2, '{}', 1767225800000 + k FROM generate_series(1, 3) k;"
             "INSERT INTO notification_incidents SELECT tenant, id, '" C "', created_at FROM "
             "notifications WHERE seq < 3");
    get("/api/v1/incidents/" C);
    assert_status(200);
    assert_at("timeline",
              "[{\"actor\":\"\",\"at\":\"2026-01-01T00:03:20.000Z\",\"kind\":\"opened\",\"text\":"
              "\"Shop\"},{\"actor\":\"ada\",\"at\":\"2026-01-01T00:05:00.000Z\",\"kind\":"
              "\"status\",\"text\":\"acknowledged: mine\"}]");
    assert_at("alerts",
              "[{\"annotations\":{\"summary\":\"slow\"},\"count\":3,\"ends_at\":null,\"id\":"
              "\"fffffffffffffffe\",\"incident_id\":\"" C "\",\"labels\":{\"alertname\":"
              "\"HighLatency\"},\"link\":\"http://g/1\",\"severity\":\"warning\",\"starts_at\":"
              "\"2026-01-01T00:03:20.000Z\",\"status\":\"firing\"}]");
    /* oldest first, like the timeline; test_ledger.c looks closer */
    assert_at("notifications.0.sequence", "1");
    assert_at("notifications.1.sequence", "2");
    assert_at("notifications.2", "(absent)");
}

static void what_is_not_there_is_404(void **state)
{
    (void)state;
    assert_refused("/api/v1/incidents/018f0000-0000-7000-8000-00000000ffff", 404,
                   "no such incident");
    assert_refused("/api/v1/incidents/42", 404, "no such incident");
    assert_refused("/api/v1/alerts/0000000000000063", 404, "no such alert");
    assert_refused("/api/v1/alerts/63", 404, "no such alert");
    assert_refused("/api/v1/alerts/0000000000000007", 404, "no such alert"); /* never fired */
    assert_refused("/api/v2/incidents", 404, "nothing at");
    ask("PUT", "/api/v1/incidents/018f0000-0000-7000-8000-00000000ffff/status",
        "{\"status\":\"resolved\"}");
    assert_status(404);
    ask("PUT", "/api/v1/incidents/x/status", "{\"status\":\"resolved\"}");
    assert_status(404);
    ask("DELETE", "/api/v1/incidents/" C, NULL);
    assert_status(405);
}

/* ---- alerts ---- */

static const char *alerts_listed(void)
{
    static char out[64];
    size_t n = 0;

    for (int i = 0;; i++) {
        char path[32];
        snprintf(path, sizeof path, "alerts.%d.id", i);
        const char *id = at(path);
        if (strcmp(id, "(absent)") == 0)
            break;
        out[n++] = id[16];
    }
    out[n] = '\0';
    return out;
}

static void alerts_are_listed_newest_first(void **state)
{
    static const struct {
        const char *query, *ids;
    } cases[] = {
        {"", "e65"},
        {"?status=active", "e6"},
        {"?status=firing", "e6"},
        {"?status=resolved", "5"},
        {"?severity=critical", "6"},
        {"?status=firing&severity=error", ""},
        {"?incident=" A, "5"},
        {"?incident=" C "&status=firing", "e"},
        {"?incident=" C "&status=resolved", ""},
        {"?incident=" B, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        snprintf(path, sizeof path, "/api/v1/alerts%s", cases[i].query);
        get(path);
        assert_status(200);
        assert_string_equal(alerts_listed(), cases[i].ids);
        assert_at("next_cursor", "null");
    }
    get("/api/v1/alerts/0000000000000005");
    assert_at("ends_at", "\"2026-01-01T00:01:00.000Z\"");
    assert_at("status", "\"resolved\"");
    assert_at("link", "null");
}

/* Three pages of one. */
static void assert_pages(const char *list, const char *ids)
{
    char path[256], seen[8] = "";

    snprintf(path, sizeof path, "%s", list);
    for (int i = 0; i < 3; i++) {
        get(path);
        assert_status(200);
        strcat(seen, alerts_listed());
        snprintf(path, sizeof path, "%s&cursor=%.48s", list, at("next_cursor") + 1);
    }
    assert_string_equal(seen, ids);
    assert_at("next_cursor", "null");
}

/* Fingerprints are unsigned to the reader and signed in the table: a page must not skip at zero. */
static void pages_of_alerts_cross_the_sign(void **state)
{
    (void)state;
    schema_do(&db, "UPDATE alerts SET first_seen = 1767225600000, incident_id = '" C "'");
    assert_pages("/api/v1/alerts?limit=1", "65e");
    assert_pages("/api/v1/alerts?limit=1&incident=" C, "65e");
}

/* ---- acts ---- */

static void a_person_acts_and_the_timeline_tells(void **state)
{
    (void)state;
    ask("PUT", "/api/v1/incidents/" B "/status",
        "{\"status\":\"acknowledged\",\"note\":\"on it\"}");
    assert_status(200);
    assert_at("id", "\"" B "\"");
    assert_at("status", "\"acknowledged\"");
    ask("PUT", "/api/v1/incidents/" B "/status", "{\"status\":\"resolved\"}");
    assert_at("status", "\"resolved\"");
    assert_at("resolve_reason", "\"manual\"");
    get("/api/v1/incidents/" B);
    assert_at("timeline.0.text", "\"acknowledged: on it\"");
    assert_at("timeline.1.text", "\"resolved\"");
    assert_at("timeline.1.actor", "\"console\"");
    ask("PUT", "/api/v1/incidents/" B "/status", "{\"status\":\"investigating\"}");
    assert_status(409);
    assert_non_null(strstr(at("error.message"), "only a new occurrence"));
}

static void acting_on_an_alert_acts_on_its_incident(void **state)
{
    (void)state;
    ask("PUT", "/api/v1/alerts/fffffffffffffffe/status",
        "{\"status\":\"resolved\",\"resolution_note\":\"fixed\"}");
    assert_status(200);
    assert_at("id", "\"fffffffffffffffe\"");
    assert_at("status", "\"firing\""); /* what is closed is the incident */
    get("/api/v1/incidents/" C);
    assert_at("status", "\"resolved\"");
    assert_at("timeline.0.text", "\"resolved: fixed\"");
    ask("PUT", "/api/v1/alerts/0000000000000006/status", "{\"status\":\"resolved\"}");
    assert_status(409);
}

static void a_body_is_taken_at_its_word_only(void **state)
{
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"[]", "must be an object"},
        {"{}", "status must be"},
        {"{\"status\":\"open\"}", "status must be"},
        {"{\"status\":7}", "status must be a string"},
        {"{\"status\":\"resolved\",\"note\":null}", "note must be a string"},
        {"{\"status\":\"resolved\",\"resolution_note\":\"x\"}", "unknown member"},
        {"{\"status\":\"resolved\",\"status\":\"open\"}", "status must be"}, /* the last is meant */
        {"{\"status\":\"resolved\",\"note\":[[[[[[]]]]]]}", "not JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask("PUT", "/api/v1/incidents/" B "/status", cases[i].body);
        assert_status(400);
        if (!strstr(at("error.message"), cases[i].says))
            fail_msg("%s does not say \"%s\"", answer.body, cases[i].says);
    }
    static char big[5000] = "{\"status\":\"resolved\",\"note\":\"";
    memset(big + strlen(big), 'x', 4001);
    strcat(big, "\"}");
    ask("PUT", "/api/v1/incidents/" B "/status", big);
    assert_status(400);
    get("/api/v1/incidents/" B);
    assert_at("status", "\"open\"");
    assert_at("timeline", "[]");
}

/* ---- the database ---- */

static void a_lost_connection_is_made_again(void **state)
{
    (void)state;
    get("/api/v1/incidents");
    schema_do(&db, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                   "WHERE application_name = 'tocsin-console'");
    get("/api/v1/incidents");
    assert_status(200);
    get("/api/v1/incidents");
    assert_status(200);
}

static void no_database_is_503_with_a_reason(void **state)
{
    struct console lost = console;
    struct settings other = settings;
    struct httpd *was = httpd;
    const struct httpd_options o = {.listen = "127.0.0.1:0",
                                    .threads = 1,
                                    .connections = 4,
                                    .max_body = 1000,
                                    .request_deadline_ms = 5000};

    (void)state;
    other.postgres.url = "postgresql://nobody:secret@127.0.0.1:1/none";
    lost.settings = &other;
    SQL_OK(&db, pool_new(&other.postgres, 1, &lost.pool, &db.e));
    SQL_OK(&db, httpd_start(&o, console_routes, &lost, NULL, NULL, &httpd, &db.e));
    get("/api/v1/incidents");
    assert_status(503);
    assert_at("error.code", "\"database_unavailable\"");
    assert_null(strstr(answer.body, "secret"));
    assert_non_null(strstr(answer.head, "Retry-After: 5"));
    httpd_stop(httpd);
    pool_free(lost.pool);
    httpd = was;
}

/* ---- the page ---- */

static void without_a_build_the_page_says_so(void **state)
{
    (void)state;
    get("/");
    assert_status(404);
    assert_non_null(strstr(answer.body, "The page is not built"));
    assert_non_null(strstr(answer.head, "text/html"));
}

static void the_page_and_its_files_are_served(void **state)
{
    char path[256];

    (void)state;
    write_file("index.html", "<title>page</title>");
    snprintf(path, sizeof path, "%s/assets", web);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file("assets/main-1a2b.js", "let x;");
    write_file("assets/.hidden.js", "no");
    write_file("secret.js", "no");
    snprintf(path, sizeof path, "%s/assets/link.js", web);
    assert_int_equal(symlink("../secret.js", path), 0);
    get("/");
    assert_status(200);
    assert_string_equal(answer.body, "<title>page</title>");
    assert_non_null(strstr(answer.head, "Content-Security-Policy: default-src 'self'"));
    assert_non_null(strstr(answer.head, "Cache-Control: no-cache"));
    get("/assets/main-1a2b.js");
    assert_status(200);
    assert_string_equal(answer.body, "let x;");
    assert_non_null(strstr(answer.head, "Content-Type: text/javascript"));
    assert_non_null(strstr(answer.head, "immutable"));
    assert_non_null(strstr(answer.head, "X-Content-Type-Options: nosniff"));
}

static void nothing_else_of_the_disk_is_served(void **state)
{
    static const char *const paths[] = {
        "/assets/../secret.js",
        "/assets/..%2fsecret.js",
        "/assets/%2e%2e/secret.js",
        "/assets/.hidden.js",
        "/assets/link.js",
        "/assets/",
        "/assets/none.js",
        "/assets//etc/passwd",
        "/assets/main-1a2b.js%00.css",
        "/assets/sub/../main.js",
        "/assets/%2fetc%2fhostname.js",
        "/secret.js",
        "/index.html",
    };

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        get(paths[i]);
        if (answer.status != 404 && answer.status != 400)
            fail_msg("%s gives %d", paths[i], answer.status);
        assert_null(strstr(answer.body, "no\n"));
        assert_string_not_equal(answer.body, "no");
    }
}

#define T(f) cmocka_unit_test_setup(f, fill)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_incident_says_what_the_contract_promises),
        T(every_filter_does_what_it_says),
        T(pages_follow_each_other_without_gap_or_repeat),
        T(equal_times_are_told_apart_by_id),
        T(the_limit_is_capped_not_refused),
        T(a_wrong_parameter_is_named),
        T(what_was_tried_is_told_with_its_numbers),
        T(tier_four_when_the_permanent_fix_did_not_last),
        T(one_incident_has_its_whole_story),
        T(what_is_not_there_is_404),
        T(alerts_are_listed_newest_first),
        T(pages_of_alerts_cross_the_sign),
        T(a_person_acts_and_the_timeline_tells),
        T(acting_on_an_alert_acts_on_its_incident),
        T(a_body_is_taken_at_its_word_only),
        T(a_lost_connection_is_made_again),
        T(no_database_is_503_with_a_reason),
        T(without_a_build_the_page_says_so),
        T(the_page_and_its_files_are_served),
        T(nothing_else_of_the_disk_is_served),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
