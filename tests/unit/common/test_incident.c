/* The life of an incident, and a person's act on one in a real PostgreSQL. */
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/incident.h"
#include "schema.h"

#define NOW INT64_C(1767225600000)
#define TENANT SLICE_LIT("default")
#define NONE SLICE_LIT("")

static struct schema db;

static struct uuid id_of(const char *text)
{
    struct uuid id;
    assert_true(uuid_parse(slice_of(text), &id));
    return id;
}

#define INCIDENT "018f0000-0000-7000-8000-000000000001"
#define OTHER "018f0000-0000-7000-8000-000000000002"

static int open_schema(void **state)
{
    (void)state;
    schema_open(&db);
    return 0;
}

static int close_schema(void **state)
{
    (void)state;
    schema_close(&db);
    return 0;
}

/* Two incidents of two anomalies; the first has two groups and one firing alert, the second one
 * group. */
static int fill(void **state)
{
    (void)state;
    schema_do(
        &db, "TRUNCATE anomalies, incidents, alerts, groups, timers, timeline;"
             "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, error_type, "
             "first_seen, last_seen) VALUES ('default', '\\x01', 'a', 's', '', '', 1, 1), "
             "('default', '\\x02', 'b', 's', '', '', 1, 1);"
             "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
             "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
             "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES "
             "('default', '" INCIDENT "', '\\x01', 1, 3, 't', 'x', 'a', 's', '', '', '', 1, 1, 1, "
             "1, 1, 1, 1), ('default', '" OTHER "', '\\x02', 1, 3, 't', 'x', 'b', 's', '', '', "
             "'', 1, 1, 1, 1, 1, 0, 0);"
             "INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
             "labels, annotations, title, description, link, source, first_seen, last_seen) VALUES "
             "('default', 7, '\\x01', '" INCIDENT "', 1, 3, '{}', '{}', '', '', '', '', 1, 1);"
             "INSERT INTO groups (tenant, id, kind, receiver, route, labels, incident_id, "
             "routed_by, since) VALUES "
             "('default', '00000000-0000-0000-0000-00000000000a', 1, 'r', 'h', '{}', '" INCIDENT
             "', '{}', 1), ('default', '00000000-0000-0000-0000-00000000000b', 1, 'q', 'h', '{}', "
             "'" INCIDENT "', '{}', 1), "
             "('default', '00000000-0000-0000-0000-00000000000c', 1, 'r', 'h', '{}', '" OTHER
             "', '{}', 1);");
    return 0;
}

static int act(const char *id, enum incident_status to, const char *actor, const char *note)
{
    struct uuid u = id_of(id);
    const struct person_act a = {
        .to = to, .actor = slice_of(actor), .note = slice_of(note), .at_ms = NOW};
    return incident_set_status(db.pg, TENANT, &u, &a, &db.e);
}

static const char *row(void)
{
    return schema_text(&db, "SELECT concat_ws('|', status, coalesce(resolved_by::text, '-'), "
                            "coalesce(resolved_at::text, '-'), updated_at, owner) FROM incidents "
                            "WHERE id = '" INCIDENT "'");
}

static void names_are_those_of_the_api(void **state)
{
    (void)state;
    for (int i = INCIDENT_OPEN; i <= INCIDENT_RESOLVED; i++) {
        enum incident_status s;
        assert_true(
            incident_status_parse(slice_of(incident_status_name((enum incident_status)i)), &s));
        assert_int_equal(s, i);
    }
    enum incident_status s = INCIDENT_OPEN;
    assert_false(incident_status_parse(SLICE_LIT("Resolved"), &s));
    assert_false(incident_status_parse(NONE, &s));
    assert_int_equal(s, INCIDENT_OPEN);
    assert_string_equal(resolved_by_name(RESOLVED_BY_PERSON), "manual");
    assert_string_equal(resolved_by_name(RESOLVED_BY_SILENCE), "expired");
    assert_string_equal(resolved_by_name(RESOLVED_BY_ALERTS), "alerts");
    assert_string_equal(escalation_level_name(LEVEL_NONE), "none");
    assert_string_equal(escalation_level_name(LEVEL_PERMANENT_FIX), "PERMANENT_FIX");
}

static void life_goes_forward(void **state)
{
    static const bool may[5][5] = {
        [INCIDENT_OPEN] = {0, 1, 1, 1, 1},
        [INCIDENT_ACKNOWLEDGED] = {0, 0, 1, 1, 1},
        [INCIDENT_INVESTIGATING] = {0, 0, 0, 1, 1},
        [INCIDENT_RESOLVED] = {0, 1, 0, 0, 1},
    };

    (void)state;
    for (int from = 1; from <= 4; from++)
        for (int to = 1; to <= 4; to++) {
            struct err e = {0};
            int rc = incident_may_become((enum incident_status)from, (enum incident_status)to, &e);
            assert_int_equal(rc, may[from][to] ? 0 : -EINVAL);
            assert_int_equal(e.msg[0] != '\0', !may[from][to]);
        }
}

static void acknowledging_takes_it(void **state)
{
    (void)state;
    SQL_OK(&db, act(INCIDENT, INCIDENT_ACKNOWLEDGED, "ada", "looking"));
    assert_string_equal(row(), "2|-|-|1767225600000|ada");
    assert_string_equal(
        schema_text(&db, "SELECT concat_ws('|', incident_id, at, kind, actor, body) FROM timeline"),
        INCIDENT "|1767225600000|status|ada|acknowledged: looking");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM timeline WHERE cause ~ "
                                     "'^person:[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-'"),
                     1);
}

/* Who investigates what another took does not take it away. */
static void investigating_keeps_the_owner(void **state)
{
    (void)state;
    SQL_OK(&db, act(INCIDENT, INCIDENT_ACKNOWLEDGED, "ada", ""));
    SQL_OK(&db, act(INCIDENT, INCIDENT_INVESTIGATING, "bob", ""));
    assert_string_equal(row(), "3|-|-|1767225600000|ada");
    assert_string_equal(
        schema_text(&db,
                    "SELECT string_agg(actor || ':' || body, ',' ORDER BY cause) FROM timeline"),
        "ada:acknowledged,bob:investigating");
}

static void resolving_leaves_the_alerts_firing(void **state)
{
    (void)state;
    SQL_OK(&db, act(INCIDENT, INCIDENT_RESOLVED, "", "restarted the broker"));
    assert_string_equal(row(), "4|2|1767225600000|1767225600000|");
    assert_string_equal(schema_text(&db, "SELECT body FROM timeline"),
                        "resolved: restarted the broker");
    assert_int_equal(schema_int(&db, "SELECT status FROM alerts"), ALERT_FIRING);
    assert_int_equal(schema_int(&db, "SELECT status FROM incidents WHERE id = '" OTHER "'"), 1);
}

static void every_group_of_it_looks_now(void **state)
{
    (void)state;
    SQL_OK(&db, act(INCIDENT, INCIDENT_ACKNOWLEDGED, "ada", ""));
    assert_string_equal(schema_text(&db,
                                    "SELECT string_agg(concat_ws('|', due_at, kind, tenant, "
                                    "encode(subject, 'hex')), ' ' ORDER BY subject) FROM timers"),
                        "1767225600000|1|default|0000000000000000000000000000000a "
                        "1767225600000|1|default|0000000000000000000000000000000b");
}

static void the_same_again_changes_nothing(void **state)
{
    (void)state;
    SQL_OK(&db, act(INCIDENT, INCIDENT_ACKNOWLEDGED, "ada", ""));
    schema_do(&db, "TRUNCATE timers; UPDATE incidents SET updated_at = 5");
    SQL_OK(&db, act(INCIDENT, INCIDENT_ACKNOWLEDGED, "bob", ""));
    assert_string_equal(row(), "2|-|-|5|ada");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM timers"), 0);
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM timeline"), 1);
    SQL_OK(&db, act(INCIDENT, INCIDENT_ACKNOWLEDGED, "bob", "still with me"));
    assert_string_equal(schema_text(&db, "SELECT kind || body FROM timeline WHERE actor = 'bob'"),
                        "notestill with me");
}

static void refusals_change_nothing(void **state)
{
    struct uuid id = id_of(INCIDENT);

    (void)state;
    assert_int_equal(act("018f0000-0000-7000-8000-00000000ffff", INCIDENT_RESOLVED, "a", ""),
                     -ENOENT);
    assert_int_equal(
        incident_set_status(db.pg, SLICE_LIT("stranger"), &id,
                            &(struct person_act){
                                .to = INCIDENT_RESOLVED, .actor = NONE, .note = NONE, .at_ms = NOW},
                            &db.e),
        -ENOENT);
    assert_int_equal(act(INCIDENT, INCIDENT_OPEN, "a", ""), -EINVAL);
    SQL_OK(&db, act(INCIDENT, INCIDENT_RESOLVED, "a", ""));
    assert_int_equal(act(INCIDENT, INCIDENT_ACKNOWLEDGED, "b", "n"), -EINVAL);
    assert_string_equal(row(), "4|2|1767225600000|1767225600000|");
    assert_int_equal(schema_int(&db, "SELECT count(*) FROM timeline"), 1);
    /* and the connection is not left inside a transaction */
    assert_int_equal(schema_int(&db, "SELECT (pg_current_xact_id_if_assigned() IS NULL)::int"), 1);
}

/* Names of this length that nothing compresses: an index entry takes them as they are. */
static int name_it(int tenant, int label)
{
    const char *sql = arena_printf(
        db.arena,
        "WITH noise AS (SELECT string_agg(encode(sha512(i::text::bytea), 'base64'), '') AS t "
        "FROM generate_series(1, 50) i), name AS (SELECT substr(translate(t, E'=\n', ''), 1, %d) "
        "AS tenant, substr(translate(t, E'=\n', ''), 300, %d) AS label FROM noise), "
        "playbook AS (INSERT INTO playbooks (tenant, id, version, steps, updated_at) "
        "SELECT tenant, 'service:' || label, 1, '[]', 1 FROM name) "
        "UPDATE incidents SET tenant = name.tenant, service = name.label FROM name "
        "WHERE id = '" INCIDENT "'",
        tenant, label);

    assert_non_null(sql);
    return pg_exec(db.pg, sql, &db.e);
}

static void the_longest_names_fit_every_index(void **state)
{
    (void)state;
    assert_int_equal(name_it(TENANT_MAX, LABEL_VALUE_MAX + 100), -ERANGE);
    SQL_OK(&db, name_it(TENANT_MAX, LABEL_VALUE_MAX));
    assert_int_equal(schema_int(&db, "SELECT max(length(service)) FROM incidents"),
                     LABEL_VALUE_MAX);
    schema_do(&db, "DELETE FROM playbooks");
}

static void *resolve(void *arg)
{
    const struct person_act a = {
        .to = INCIDENT_RESOLVED, .actor = SLICE_LIT("bob"), .note = NONE, .at_ms = NOW + 1};
    struct pg *pg = arg;
    struct uuid id = id_of(INCIDENT);
    struct err e;

    return (void *)(intptr_t)incident_set_status(pg, TENANT, &id, &a, &e);
}

/* The act waits for whoever holds the anomaly, and decides on what that one left behind. */
static void decides_under_the_lock(void **state)
{
    struct pg *other;
    pthread_t thread;
    void *rc;

    (void)state;
    SQL_OK(&db, pg_open(&db.settings, "test2", &other, &db.e));
    schema_do(&db, "BEGIN; SELECT FROM anomalies WHERE key = '\\x01' FOR NO KEY UPDATE");
    assert_int_equal(pthread_create(&thread, NULL, resolve, other), 0);
    while (schema_int(&db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                           "AND application_name = 'test2'") == 0)
        schema_do(&db, "SELECT pg_sleep(0.01), pg_stat_clear_snapshot()");
    schema_do(&db, "UPDATE incidents SET status = 4, resolved_by = 1, resolved_at = 3, "
                   "updated_at = 3 WHERE id = '" INCIDENT "'; COMMIT");
    pthread_join(thread, &rc);
    assert_int_equal((intptr_t)rc, 0);
    assert_string_equal(row(), "4|1|3|3|");
    pg_close(other);
}

#define T(f) cmocka_unit_test_setup(f, fill)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_api),
        cmocka_unit_test(life_goes_forward),
        T(acknowledging_takes_it),
        T(investigating_keeps_the_owner),
        T(resolving_leaves_the_alerts_firing),
        T(every_group_of_it_looks_now),
        T(the_same_again_changes_nothing),
        T(refusals_change_nothing),
        T(the_longest_names_fit_every_index),
        T(decides_under_the_lock),
    };
    return cmocka_run_group_tests(tests, open_schema, close_schema);
}
