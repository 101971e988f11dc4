/* An incident that has more than its page shows, on a real PostgreSQL. */
#include "testing.h"

#include "served.h"

#define A "018f0000-0000-7000-8000-00000000000a"
#define HERE "/api/v1/incidents/" A

/* Numbers first to last of the timeline, of the alerts and, up to 500, of the ledger; each later
 * than the one before. All alerts fire but number 0. */
static void add(int first, int last)
{
    schema_do(
        &db,
        arena_printf(
            db.arena,
            "CREATE TEMP TABLE n AS SELECT k, 1767225800000 + k AS at FROM generate_series(%d, %d) "
            "k; INSERT INTO timeline SELECT 'default', '" A "', at, '', 'note', '', k FROM n;"
            "INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
            "labels, annotations, title, description, link, source, first_seen, last_seen) SELECT "
            "'default', k, '\\x0a', '" A "', CASE k WHEN 0 THEN 2 ELSE 1 END, 2, '{}', '{}', '', "
            "'', '', '', at, at FROM n;"
            "INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
            "kind, severity, about, created_at) SELECT 'default', gen_random_uuid(), "
            "gen_random_uuid(), 'team', 0, 'slack', k, 'status', 2, '{}', at FROM n WHERE k <= 500;"
            "INSERT INTO notification_incidents SELECT tenant, id, '" A "', created_at FROM "
            "notifications ON CONFLICT DO NOTHING; DROP TABLE n",
            first, last));
}

static int fill(void **state)
{
    (void)state;
    schema_do(&db,
              "TRUNCATE anomalies, incidents, alerts, timeline, notifications, "
              "notification_incidents;"
              "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, error_type, "
              "first_seen, last_seen) VALUES ('default', '\\x0a', 'n', 'v', '', '', 1, 1);"
              "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
              "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
              "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES "
              "('default', '" A "', '\\x0a', 1, 3, 't', 's', 'n', 'v', '', '', '', 1, 1, 1, 1, 1, "
              "1, 1)");
    add(1, 1000);
    return 0;
}

static void assert_shown(const char *more)
{
    get(HERE);
    assert_status(200);
    assert_at("timeline_more", more);
    assert_at("alerts_more", more);
    assert_at("notifications_more", more);
    assert_at("timeline.0.text", "\"1\"");
    assert_at("timeline.999.text", "\"1000\"");
    assert_at("timeline.1000", "(absent)");
    assert_at("alerts.0.id", "\"0000000000000001\"");
    assert_at("alerts.999.id", "\"00000000000003e8\"");
    assert_at("alerts.1000", "(absent)");
    assert_at("notifications.0.sequence", "1");
    assert_at("notifications.499.sequence", "500");
    assert_at("notifications.500", "(absent)");
}

/* The newest of the timeline and of the ledger; of the alerts those that fire, and of those the
 * first. */
static void what_is_not_shown_is_said(void **state)
{
    (void)state;
    assert_shown("false");
    add(0, 0);
    assert_shown("true");
}

/* And there is an address that has it. */
static void what_is_not_shown_is_listed(void **state)
{
    (void)state;
    add(0, 0);
    get("/api/v1/alerts?incident=" A "&until=2026-01-01T00:03:20Z");
    assert_at("alerts.0.id", "\"0000000000000000\"");
    assert_at("alerts.1", "(absent)");
    get(HERE "/notifications?until=2026-01-01T00:03:20Z");
    assert_at("notifications.0.sequence", "0");
    assert_at("notifications.1", "(absent)");
}

#define T(f) cmocka_unit_test_setup(f, fill)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_not_shown_is_said),
        T(what_is_not_shown_is_listed),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
