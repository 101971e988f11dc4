/* Flushes of what is silenced. */
#include "flush_stage.h"

/* ---- silences ---- */

#define SILENCE "018f0000-0000-7000-8000-0000000000ff"

/* Of every alert with this job, for an hour. */
static void silence(const char *job)
{
    unsigned char key[SILENCE_KEY_LEN];
    char hex[2 * SILENCE_KEY_LEN + 1];

    silence_key(SLICE_LIT("job"), slice_of(job), key);
    DO("INSERT INTO silences VALUES ('" TENANT "', '" SILENCE "', '[{\"name\": \"job\", "
       "\"value\": \"%s\"}]', '\\x%s', 0, (extract(epoch FROM now()) * 1000)::int8 + 3600000, "
       "'ann', 'known', 0)",
       job, hex_encode(key, sizeof(key), hex));
}

static void silence_is_over(void)
{
    struct uuid id;

    assert_true(uuid_parse(SLICE_LIT(SILENCE), &id));
    SQL_OK(&db, silence_end(db.pg, SLICE_LIT(TENANT), &id, clock_now_ms(), &db.e));
}

static const char *ledger(void)
{
    return TEXT("SELECT coalesce(string_agg(channel || ':' || kind || ':' || state, ' ' ORDER BY "
                "channel, seq), '') FROM notifications");
}

static void test_a_silenced_incident_is_told_when_that_is_over(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    for (int i = 0; i < 2; i++) { /* it is said once that nothing is said */
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), "slack:opened:suppressed webhook:opened:suppressed");
    }
    assert_non_null(strstr(TEXT("SELECT min(reason) FROM notifications"),
                           "silence " SILENCE " of ann until 2"));
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE ended_at IS NULL"), 0);
    assert_int_equal(
        INT("SELECT min(due_at) - (SELECT ends_at FROM silences) FROM timers WHERE kind = 1"), 0);
    assert_string_equal(TEXT("SELECT concat_ws('|', told->'0'->'last'->>'seq', "
                             "told->'0'->'withheld'->>'seq') FROM groups"),
                        "1");
    /* a raised severity is withheld, too */
    schema_do(&db, "UPDATE incidents SET severity = 3");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:suppressed slack:severity:suppressed "
                                  "webhook:opened:suppressed webhook:severity:suppressed");
    forget();
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over(); /* which wakes the group */
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:pending webhook:opened:pending");
    assert_string_equal(TEXT("SELECT concat_ws('|', told->'0'->'last'->>'severity', "
                             "told->'0'->'withheld'->>'seq') FROM groups"),
                        "3");
}

static void test_a_long_comment_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    silence("api");
    DO("UPDATE silences SET comment = repeat('磁盘', 100)");
    look(add_group(&f->now, "{}", INCIDENT));
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:suppressed webhook:opened:suppressed");
    assert_non_null(strstr(TEXT("SELECT min(reason) FROM notifications"), ": 磁盘磁盘"));
}

/* All that was told of has arrived. */
static void arrive(void)
{
    schema_do(&db, "UPDATE groups SET told = (SELECT jsonb_object_agg(key, value || "
                   "jsonb_build_object('delivered', value -> 'last')) FROM jsonb_each(told))");
}

/* It is told to those who have the newest message, past that silence, as is its end. */
static void test_a_silence_from_a_message(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    silence("api"); /* of somebody else */
    arrive();
    forget();
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "");
    DO("UPDATE incidents SET severity = 3, silence_id = '" SILENCE "'");
    DO("UPDATE groups SET told = told #- '{1,delivered}'");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), "slack:silence:pending slack:severity:suppressed "
                                      "webhook:severity:suppressed");
    }
    assert_string_equal(
        TEXT("SELECT concat_ws('|', about #>> '{state,silenced_by}', (about #>> "
             "'{state,silenced_until}')::int8 - (SELECT ends_at FROM silences), about #>> "
             "'{state,severity}') FROM notifications WHERE kind = 'silence'"),
        "ann|0|2");
    assert_int_equal(
        INT("SELECT min(due_at) - (SELECT ends_at FROM silences) FROM timers WHERE kind = 1"), 0);
    /* it is over: what was kept is told, and says so */
    arrive();
    forget();
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:severity:pending webhook:severity:pending");
    assert_string_equal(TEXT("SELECT told -> '0' -> 'last' ->> 'silenced_until' FROM groups"), "");
    arrive();
    /* or that alone is */
    schema_do(&db, "TRUNCATE silences");
    silence("api");
    look(g);
    pass(f, f->timers);
    arrive();
    forget();
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:silence:pending webhook:silence:pending");
    assert_string_equal(TEXT("SELECT string_agg(about #>> '{state,silenced_until}', '') FROM "
                             "notifications"),
                        "");
}

/* What was over meanwhile is not worth a word; what was told as open is told to be over. */
static void test_a_silenced_incident_that_ends(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    look(g);
    pass(f, f->timers);
    schema_do(&db, "UPDATE incidents SET status = 4; UPDATE alerts SET status = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT string_agg(DISTINCT state, ' ') FROM notifications"),
                        "suppressed");
    silence_is_over();
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE state = 'pending'"), 0);

    forget();
    schema_do(&db, "UPDATE incidents SET status = 1, episode = 2; UPDATE alerts SET status = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:pending webhook:opened:pending");
    forget();
    schema_do(&db, "TRUNCATE silences");
    silence("api");
    schema_do(&db, "UPDATE incidents SET status = 4; UPDATE alerts SET status = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:resolved:pending webhook:resolved:pending");
}

/* One alert that is not silenced is enough. */
static void test_an_incident_that_is_silenced_in_part_is_told(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    add_alert(6, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = ('{\"job\": \"' || CASE "
       "fingerprint WHEN 5 THEN 'api' ELSE 'web' END || '\"}')::jsonb");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:pending webhook:opened:pending");
}

/* More than are read at once, of which one is not silenced: wherever it stands. */
static void test_an_incident_of_many_alerts(void **state)
{
    static const int loud[] = {0, 1, 100, 101, 1100, 1101, 3000};
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(1, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, annotations, title, description, link, source, first_seen, last_seen) SELECT "
       "tenant, n, anomaly_key, incident_id, 1, severity, labels, annotations, title, description, "
       "link, source, first_seen + n / 10, last_seen FROM alerts, generate_series(2, 3000) n");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    silence("api");
    for (size_t i = 0; i < sizeof(loud) / sizeof(*loud); i++) {
        DO("UPDATE alerts SET labels = ('{\"job\": \"' || CASE fingerprint WHEN %d THEN 'web' ELSE "
           "'api' END || '\"}')::jsonb",
           loud[i]);
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), loud[i] == 0
                                          ? "slack:opened:suppressed webhook:opened:suppressed"
                                          : "slack:opened:pending webhook:opened:pending");
        forget();
        schema_do(&db, "UPDATE groups SET told = '{}'");
    }
    /* what fires is asked for first: the others do not matter */
    DO("UPDATE alerts SET labels = '{\"job\": \"web\"}', status = 2 WHERE fingerprint > 1500");
    DO("UPDATE alerts SET labels = '{\"job\": \"api\"}' WHERE fingerprint <= 1500");
    look(g);
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:suppressed webhook:opened:suppressed");
}

/* Two of them keep it silent: it looks again when the first is over. */
static void test_the_silence_that_ends_first(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_alert(5, 1, 2);
    add_alert(6, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = ('{\"job\": \"' || CASE "
       "fingerprint WHEN 5 THEN 'api' ELSE 'web' END || '\"}')::jsonb");
    silence("web");
    DO("UPDATE silences SET id = gen_random_uuid(), ends_at = ends_at - 60000");
    silence("api");
    look(add_group(&f->now, "{}", INCIDENT));
    pass(f, f->timers);
    assert_string_equal(ledger(), "slack:opened:suppressed webhook:opened:suppressed");
    assert_int_equal(INT("SELECT min(due_at) - (SELECT min(ends_at) FROM silences) FROM timers "
                         "WHERE kind = 1"),
                     0);
}

static void test_silenced_alerts_of_a_group(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 1, 2);
    add_alert(6, 1, 2);
    DO("UPDATE alerts SET labels = ('{\"job\": \"' || CASE fingerprint WHEN 5 THEN 'api' ELSE "
       "'web' END || '\"}')::jsonb");
    const char *g = alerts_group(f);
    silence("api");
    pass(f, f->timers);
    assert_string_equal(ledger(), "webhook:alerts:pending");
    assert_string_equal(TEXT("SELECT about->'state'->>'alerts' FROM notifications"),
                        "[\"0000000000000006\"]");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
        assert_string_equal(ledger(), "webhook:alerts:pending webhook:alerts:suppressed");
    }
    assert_string_equal(TEXT("SELECT about->'state'->>'alerts' FROM notifications WHERE seq = 2"),
                        "[\"0000000000000005\"]");
    /* the other one's end is told without it */
    schema_do(&db, "UPDATE alerts SET status = 2 WHERE fingerprint = 6");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', state, about->'state'->>'alerts', "
                             "about->'state'->>'resolved_alerts') FROM notifications WHERE seq = "
                             "3"),
                        "pending|[\"0000000000000006\"]");
    forget();
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(ledger(), "webhook:alerts:pending");
    assert_string_equal(TEXT("SELECT about->'state'->>'alerts' FROM notifications"),
                        "[\"0000000000000005\"]");
}

/* What is silenced lends the others no severity, told before or not. */
static void test_the_severity_of_silenced_alerts(void **state)
{
    static const char rows[] = "SELECT string_agg(state || ':' || severity || ':' || "
                               "jsonb_array_length(about->'state'->'alerts'), ' ' ORDER BY seq) "
                               "FROM notifications";
    struct fixture *f = *state;

    add_alert(5, 1, 4);
    add_alert(6, 1, 2);
    DO("UPDATE alerts SET labels = ('{\"job\": \"' || CASE fingerprint WHEN 5 THEN 'api' ELSE "
       "'web' END || '\"}')::jsonb");
    const char *g = alerts_group(f);
    silence("api");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
    }
    assert_string_equal(TEXT(rows), "pending:2:1 suppressed:4:1");
    forget();
    DO("UPDATE groups SET told = jsonb_build_object('0', jsonb_set(told->'0', '{last,alerts}', "
       "'[\"0000000000000005\"]'))");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT(rows), "pending:2:2");
    forget();
    /* the other one ends: what is told still fires, and is critical */
    DO("UPDATE alerts SET status = 2 WHERE fingerprint = 6");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT(rows), "pending:4:1");
}

static void test_a_digest_leaves_out_what_is_silenced(void **state)
{
    static const char other[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    add_incident(other, 1, 3, 0);
    add_alert(5, 1, 2);
    DO("UPDATE alerts SET incident_id = '" INCIDENT "', labels = '{\"job\": \"api\"}'");
    const char *g = add_group(&f->now, "{\"to\":\"hourly\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1000, 2000), "
       "('" TENANT "', '%s', '%s', 1, 3000, 3000)",
       g, g, other);
    /* withheld from this integration before */
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 5, 500, 600, 0)", g);
    silence("api");
    look(g);
    pass(f, f->timers);
    assert_string_equal(speak_of(g), "digest:02");
    look(g);
    pass(f, f->timers);
    assert_string_equal(speak_of(g), "digest:02");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 2);
    schema_do(&db, "DELETE FROM timers WHERE kind = 1");
    silence_is_over();
    pass(f, f->timers);
    assert_string_equal(speak_of(g), "digest:02 digest:01");
    assert_int_equal(INT("SELECT (about #>> '{items,0,occurrences}')::int FROM notifications WHERE "
                         "seq = 2"),
                     12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_silenced_incident_is_told_when_that_is_over),
        TEST(test_a_long_comment_is_cut_between_characters),
        TEST(test_a_silence_from_a_message),
        TEST(test_a_silenced_incident_that_ends),
        TEST(test_an_incident_that_is_silenced_in_part_is_told),
        TEST(test_an_incident_of_many_alerts),
        TEST(test_the_silence_that_ends_first),
        TEST(test_silenced_alerts_of_a_group),
        TEST(test_the_severity_of_silenced_alerts),
        TEST(test_a_digest_leaves_out_what_is_silenced),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
