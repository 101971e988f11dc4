/* Acting by a signed link, and silences, over HTTP on a real PostgreSQL. */
#include "testing.h"

#include <string.h>

#include "common/act.h"
#include "common/clock.h"
#include "common/silence.h"
#include "console/act_words.h"
#include "served.h"

#define INCIDENT "018f0000-0000-7000-8000-00000000000a"
#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

static int fill(void **state)
{
    (void)state;
    schema_do(&db, "TRUNCATE anomalies, incidents, alerts, timeline, groups, timers, silences, "
                   "silenced_groups;"
                   "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, "
                   "error_type, first_seen, last_seen) VALUES ('default', '\\x0a', 'Slow', 'shop', "
                   "'', '', 1, 1);"
                   "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, "
                   "source, alert_name, service, namespace, environment, error_type, opened_at, "
                   "updated_at, window_start, last_seen, occurrences, alerts_firing, "
                   "alerts_total) VALUES ('default', '" INCIDENT "', '\\x0a', 1, 4, "
                   "'Shop is <slow>', 'prom', 'Slow', 'shop', '', '', '', 1, 1, 1, 1, 1, 1, 1);"
                   "INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, "
                   "severity, labels, annotations, title, description, link, source, first_seen, "
                   "last_seen) VALUES ('default', 7, '\\x0a', '" INCIDENT "', 1, 3, "
                   "'{\"alertname\": \"Slow\", \"job\": \"shop\", \"instance\": \"a\"}', '{}', "
                   "'', '', '', '', 1, 1);"
                   "INSERT INTO groups (tenant, id, kind, receiver, route, labels, incident_id, "
                   "routed_by, since) VALUES ('default', "
                   "'00000000-0000-0000-0000-00000000000a', 1, 'r', 'h', '{}', '" INCIDENT
                   "', '{}', 1);");
    return 0;
}

static const char *link_to(enum act_verb verb, int64_t lasts_ms)
{
    static char path[4][256];
    static int turn;
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    const struct act_secrets secrets = {.now = SLICE_LIT(LINK_SECRET)};
    struct act_grant g = {.verb = verb,
                          .tenant = SLICE_LIT("default"),
                          .receiver = SLICE_LIT("team"),
                          .expires_ms = clock_now_ms() + lasts_ms};

    assert_true(uuid_parse(SLICE_LIT(INCIDENT), &g.incident));
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "/act/%s", act_token(&g, &secrets, a));
    return path[turn];
}

static const char *row(void)
{
    return schema_text(&db, "SELECT concat_ws('|', status, owner, coalesce(resolved_by, 0)) "
                            "FROM incidents WHERE id = '" INCIDENT "'");
}

static const char *timeline(void)
{
    return schema_text(&db, "SELECT coalesce(string_agg(concat_ws('|', kind, actor, body), ';' "
                            "ORDER BY at, cause), '') FROM timeline");
}

static void assert_says(const char *text)
{
    if (!strstr(answer.body, text))
        fail_msg("does not say \"%s\": %s", text, answer.body);
}

/* Chat programs fetch every link they show. */
static void to_look_changes_nothing(void **state)
{
    (void)state;
    for (enum act_verb v = ACT_ACKNOWLEDGE; v < ACT_VERBS; v++) {
        get(link_to(v, MS_HOUR));
        assert_status(200);
        assert_says("Shop is &lt;slow&gt;");
        assert_says("<form method=\"post\">");
        assert_non_null(strstr(answer.head, "Cache-Control: no-store"));
        assert_non_null(strstr(answer.head, "text/html"));
        assert_non_null(strstr(answer.head, "frame-ancestors 'none'"));
        assert_non_null(strstr(answer.head, "Referrer-Policy: no-referrer"));
        ask("HEAD", link_to(v, MS_HOUR), NULL);
        assert_status(200);
    }
    assert_string_equal(row(), "1||0");
    assert_string_equal(timeline(), "");
    assert_string_equal(schema_text(&db, "SELECT count(*)::text FROM silences"), "0");
}

static void the_button_acts_once(void **state)
{
    (void)state;
    const char *path = link_to(ACT_ACKNOWLEDGE, MS_HOUR);

    ask_with("POST", path, FORM, "name=Ann+L%C3%B6we");
    assert_status(200);
    assert_says("Acknowledged.");
    assert_string_equal(row(), "2|Ann Löwe (team)|0");
    assert_string_equal(timeline(), "status|Ann Löwe (team)|acknowledged");
    assert_string_equal(schema_text(&db, "SELECT count(*)::text FROM timers"), "1");
    ask_with("POST", path, FORM, "name=Bob");
    assert_status(200);
    assert_says("It was acknowledged already.");
    assert_string_equal(row(), "2|Ann Löwe (team)|0");
    assert_string_equal(timeline(), "status|Ann Löwe (team)|acknowledged");
}

static void who_gives_no_name_is_the_receiver(void **state)
{
    (void)state;
    ask("POST", link_to(ACT_ACKNOWLEDGE, MS_HOUR), NULL);
    assert_status(200);
    assert_string_equal(row(), "2|team|0");
    fill(NULL);
    ask_with("POST", link_to(ACT_ACKNOWLEDGE, MS_HOUR), FORM, "name=%ff%fe%0a");
    assert_status(200);
    assert_string_equal(row(), "2|team|0");
    fill(NULL);
    ask_with("POST", link_to(ACT_ACKNOWLEDGE, MS_HOUR), FORM, "name=%0d%0aA%00nn%09");
    assert_status(200);
    assert_string_equal(row(), "2|A nn (team)|0");
}

static void to_take_it_takes_it_from_others(void **state)
{
    (void)state;
    ask_with("POST", link_to(ACT_CLAIM, MS_HOUR), FORM, "name=Ann");
    assert_says("It is yours now.");
    assert_string_equal(row(), "2|Ann (team)|0");
    ask_with("POST", link_to(ACT_CLAIM, MS_HOUR), FORM, "name=Bob");
    assert_says("It is yours now.");
    ask_with("POST", link_to(ACT_CLAIM, MS_HOUR), FORM, "name=Bob");
    assert_says("It was yours already.");
    assert_string_equal(row(), "2|Bob (team)|0");
    schema_do(&db, "UPDATE incidents SET status = 3");
    ask_with("POST", link_to(ACT_CLAIM, MS_HOUR), FORM, "name=Cid");
    assert_string_equal(row(), "3|Cid (team)|0");
    ask("POST", link_to(ACT_ACKNOWLEDGE, MS_HOUR), NULL);
    assert_says("It was acknowledged already.");
    assert_string_equal(row(), "3|Cid (team)|0");
}

static void what_is_over_stays_over(void **state)
{
    (void)state;
    ask("POST", link_to(ACT_RESOLVE, MS_HOUR), NULL);
    assert_status(200);
    assert_says("Resolved.");
    assert_string_equal(row(), "4||2");
    ask("POST", link_to(ACT_RESOLVE, MS_HOUR), NULL);
    assert_says("It was resolved already.");
    get(link_to(ACT_ACKNOWLEDGE, MS_HOUR));
    assert_status(200);
    assert_says("This incident is already resolved.");
    assert_null(strstr(answer.body, "<form"));
    ask("POST", link_to(ACT_ACKNOWLEDGE, MS_HOUR), NULL);
    assert_status(409);
    assert_says("This incident is already resolved.");
    assert_string_equal(row(), "4||2");
}

static void bad_links_are_refused_for_people(void **state)
{
    char path[256];

    (void)state;
    snprintf(path, sizeof path, "%s", link_to(ACT_RESOLVE, MS_HOUR));
    path[10] = path[10] == 'A' ? 'B' : 'A';
    for (int i = 0; i < 2; i++) {
        ask(i ? "POST" : "GET", path, NULL);
        assert_status(403);
        assert_says("This link is not valid.");
        ask(i ? "POST" : "GET", link_to(ACT_RESOLVE, -1000), NULL);
        assert_status(410);
        assert_says("This link has expired.");
    }
    ask("DELETE", link_to(ACT_RESOLVE, MS_HOUR), NULL);
    assert_status(405);
    assert_says("This is not possible here.");
    assert_non_null(strstr(answer.head, "Allow: GET"));
    assert_string_equal(row(), "1||0");
    schema_do(&db, "TRUNCATE incidents");
    ask("POST", link_to(ACT_RESOLVE, MS_HOUR), NULL);
    assert_status(404);
    assert_says("There is no such incident any more.");
}

static void the_page_speaks_chinese(void **state)
{
    (void)state;
    ask_with("GET", link_to(ACT_SILENCE, MS_HOUR), "Accept-Language: zh-CN,zh;q=0.9\r\n", NULL);
    assert_says("<html lang=\"zh-CN\">");
    assert_says("静默此问题？");
    assert_says("静默 (1h)");
    ask_with("GET", link_to(ACT_SILENCE, MS_HOUR), "Accept-Language: zh-Hant-HK,en;q=0.9\r\n",
             NULL);
    assert_says("<html lang=\"zh-TW\">");
    assert_says("要將此問題設為靜音嗎？");
}

static void the_page_says_everything_in_each_language(void **state)
{
    (void)state;
    for (enum locale l = 0; l < LOCALES; l++) {
        const struct act_words *w = act_words(l);
        const char *const said[] = {
            w->name_label,  w->details,      w->until,           w->is_over,     w->gone,
            w->forged,      w->forged_why,   w->expired,         w->expired_why, w->trouble,
            w->trouble_why, w->wrong_method, w->wrong_method_why};
        assert_string_equal(w->locale, locale_name(l));
        for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++)
            assert_true(said[i] && *said[i]);
        for (int v = ACT_ACKNOWLEDGE; v < ACT_VERBS; v++) {
            const struct act_word *b = &w->verbs[v];
            assert_true(b->question && b->explained && b->button && b->done && b->was_done);
        }
        for (int s = INCIDENT_OPEN; s <= INCIDENT_RESOLVED; s++)
            assert_true(w->status[s] && *w->status[s]);
    }
}

/* ---- silences ---- */

#define NONE(name)                                                                                 \
    ", {\"name\": \"" name "\", \"value\": \"\", \"isEqual\": true, \"isRegex\": false}"

static void a_link_silences_the_anomaly(void **state)
{
    (void)state;
    ask_with("POST", link_to(ACT_SILENCE, MS_HOUR), FORM, "name=Ann");
    assert_status(200);
    assert_says("Silenced.");
    assert_string_equal(
        schema_text(&db,
                    "SELECT concat_ws('|', matchers::text, created_by, ends_at - starts_at) FROM "
                    "silences"),
        "[{\"name\": \"alertname\", \"value\": \"Slow\", \"isEqual\": true, \"isRegex\": false}, "
        "{\"name\": \"job\", \"value\": \"shop\", \"isEqual\": true, \"isRegex\": false}" NONE(
            "namespace") NONE("reason") NONE("error_type") "]|Ann (team)|3600000");
    assert_non_null(strstr(timeline(), "note|Ann (team)|silenced until 2"));
    assert_string_equal(row(), "1||0");
    assert_string_equal(schema_text(&db, "SELECT string_agg((i.silence_id = s.id)::text, ' ') FROM "
                                         "incidents i, silences s WHERE i.id = '" INCIDENT "'"),
                        "true");
    assert_string_equal(schema_text(&db, "SELECT (count(*) = (SELECT count(*) FROM groups WHERE "
                                         "incident_id = '" INCIDENT "') AND count(*) > 0)::text "
                                         "FROM timers"),
                        "true"); /* whose messages are to say so */
    ask("POST", link_to(ACT_SILENCE, MS_HOUR), NULL);
    assert_says("It was silenced already.");
    assert_string_equal(schema_text(&db, "SELECT count(*)::text FROM silences"), "1");
    schema_do(&db, "UPDATE silences SET ends_at = 1, starts_at = 0");
    ask("POST", link_to(ACT_SILENCE, MS_HOUR), NULL);
    assert_says("Silenced.");
    assert_string_equal(schema_text(&db, "SELECT count(*)::text FROM silences"), "2");
}

#define BODY(matchers, more) "{\"matchers\": [" matchers "], \"duration\": \"2h\"" more "}"

static void the_api_makes_lists_and_ends(void **state)
{
    char path[128], id[64];

    (void)state;
    ask("POST", "/api/v1/silences",
        BODY("{\"name\": \"job\", \"value\": \"sh.*\", \"isRegex\": true}, {\"name\": \"env\", "
             "\"value\": \"prod\"}",
             ", \"created_by\": \"ann\", \"comment\": \"move\""));
    assert_status(201);
    assert_at("status", "\"active\"");
    assert_at("created_by", "\"ann\"");
    assert_at("comment", "\"move\"");
    assert_at("matchers.0.isRegex", "true");
    snprintf(id, sizeof id, "%.36s", at("id") + 1);
    ask("POST", "/api/v1/silences",
        "{\"matchers\": [{\"name\": \"a\", \"value\": \"b\"}], \"starts_at\": "
        "\"2100-01-01T00:00:00Z\", \"ends_at\": \"2100-01-01T01:00:00Z\"}");
    assert_status(400);
    ask("POST", "/api/v1/silences",
        "{\"matchers\": [{\"name\": \"a\", \"value\": \"b\"}], \"starts_at\": "
        "\"2030-01-01T00:00:00Z\", \"ends_at\": \"2030-01-01T01:00:00Z\"}");
    assert_status(201);
    assert_at("status", "\"pending\"");
    get("/api/v1/silences");
    assert_at("silences.0.status", "\"pending\"");
    assert_at("silences.1.status", "\"active\"");
    assert_at("silences.2", "(absent)");
    get("/api/v1/silences?status=active&limit=1");
    assert_at("silences.0.comment", "\"move\"");
    assert_at("next_cursor", "null");
    snprintf(path, sizeof path, "/api/v1/silences/%s", id);
    for (int i = 0; i < 2; i++) {
        ask("DELETE", path, NULL);
        assert_status(200);
        assert_at("status", "\"expired\"");
    }
    get(path);
    assert_at("status", "\"expired\"");
    get("/api/v1/silences?limit=1");
    snprintf(path, sizeof path, "/api/v1/silences?limit=1&cursor=%.48s", at("next_cursor") + 1);
    get(path);
    assert_at("silences.0.status", "\"expired\"");
    assert_at("next_cursor", "null");
    assert_refused("/api/v1/silences?status=x", 400, "active, pending or expired");
    assert_refused("/api/v1/silences/x", 404, "no such silence");
    ask("DELETE", "/api/v1/silences/" INCIDENT, NULL);
    assert_status(404);
}

static void what_would_silence_all_is_refused(void **state)
{
    static const char *const bodies[][2] = {
        {BODY("{\"name\": \"job\", \"value\": \".*\", \"isRegex\": true}", ""), "silences all"},
        {BODY("{\"name\": \"job\", \"value\": \"\"}", ""), "silences all"},
        {BODY("{\"name\": \"job\", \"value\": \"a\", \"isEqual\": false}", ""), "silences all"},
        {BODY("", ""), "1 to 32"},
        {BODY("{\"name\": \"job\", \"value\": \"(\", \"isRegex\": true}", ""),
         "regular expression"},
        {BODY("{\"name\": \"\", \"value\": \"a\"}", ""), "empty"},
        {BODY("{\"name\": \"a\", \"value\": \"a\", \"isequal\": true}", ""), "isequal"},
        {BODY("{\"name\": \"a\", \"value\": \"a\"}", ", \"creator\": \"x\""),
         "creator\\\": known are matchers, starts_at"},
        {BODY("{\"name\": \"a\", \"value\": \"a\"}", ", \"ends_at\": \"2099-01-01T00:00:00Z\""),
         "either"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        ask("POST", "/api/v1/silences", bodies[i][0]);
        assert_status(400);
        if (!strstr(answer.body, bodies[i][1]))
            fail_msg("%zu: %s", i, answer.body);
    }
    assert_string_equal(schema_text(&db, "SELECT count(*)::text FROM silences"), "0");
}

/* The rarest equality leads to it; without any it is one of a few. */
static void silences_are_found_by_what_is_rare(void **state)
{
    char body[512];

    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(body, sizeof body,
                 BODY("{\"name\": \"alertname\", \"value\": \"Slow\"}, {\"name\": \"instance\", "
                      "\"value\": \"%d\"}",
                      ""),
                 i);
        ask("POST", "/api/v1/silences", body);
        assert_status(201);
    }
    assert_string_equal(schema_text(&db, "SELECT count(DISTINCT key)::text FROM silences"), "3");
    for (int i = 0; i <= SILENCES_LOOSE_MAX; i++) {
        ask("POST", "/api/v1/silences",
            BODY("{\"name\": \"job\", \"value\": \"a.+\", \"isRegex\": true}", ""));
        assert_status(i < SILENCES_LOOSE_MAX ? 201 : 409);
    }
}

/* ---- who is silenced ---- */

static const struct silencing *judge(void)
{
    struct silence_look look = {.tenant = SLICE_LIT("default")};

    assert_true(uuid_parse(SLICE_LIT(INCIDENT), &look.incident));
    SQL_OK(&db, silences_of_incidents(db.pg, db.arena, &look, 1, clock_now_ms(), &db.e));
    return look.by;
}

static void an_incident_is_silenced_when_all_that_fires_is(void **state)
{
    (void)state;
    assert_null(judge());
    ask("POST", "/api/v1/silences",
        BODY("{\"name\": \"instance\", \"value\": \"a\"}", ", \"comment\": \"known\""));
    assert_non_null(judge());
    assert_non_null(strstr(judge()->reason, "of console until 2"));
    assert_non_null(strstr(judge()->reason, ": known"));
    schema_do(&db, "INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, "
                   "severity, labels, annotations, title, description, link, source, first_seen, "
                   "last_seen) VALUES ('default', 8, '\\x0a', '" INCIDENT
                   "', 1, 3, '{\"instance\": \"b\"}', '{}', '', '', '', '', 1, 1)");
    assert_null(judge());
    schema_do(&db, "UPDATE alerts SET status = 2 WHERE fingerprint = 8");
    assert_non_null(judge());
    schema_do(&db, "UPDATE silences SET ends_at = 1, starts_at = 0");
    assert_null(judge());
    ask("POST", "/api/v1/silences",
        BODY("{\"name\": \"instance\", \"value\": \"a|b\", \"isRegex\": true}", ""));
    schema_do(&db, "UPDATE alerts SET status = 2");
    assert_non_null(judge()); /* all that there was */
    schema_do(&db, "UPDATE silences SET tenant = 'other'");
    assert_null(judge());
}

/* Whoever ends one wakes what it kept silent. */
static void the_end_of_a_silence_wakes_groups(void **state)
{
    char path[128];
    struct silenced_group g = {.tenant = SLICE_LIT("default")};

    (void)state;
    ask("POST", "/api/v1/silences", BODY("{\"name\": \"instance\", \"value\": \"a\"}", ""));
    snprintf(path, sizeof path, "/api/v1/silences/%.36s", at("id") + 1);
    assert_true(uuid_parse(slice_of(path + 17), &g.silence));
    g.group.b[15] = 0x0a;
    for (int i = 0; i < 2; i++)
        SQL_OK(&db, silenced_groups_insert(db.pg, db.arena, &g, 1, &db.e));
    ask("DELETE", path, NULL);
    assert_string_equal(schema_text(&db, "SELECT string_agg(concat_ws('|', kind, "
                                         "encode(subject, 'hex')), ';') FROM timers"),
                        "1|0000000000000000000000000000000a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(to_look_changes_nothing, fill),
        cmocka_unit_test_setup(the_button_acts_once, fill),
        cmocka_unit_test_setup(who_gives_no_name_is_the_receiver, fill),
        cmocka_unit_test_setup(to_take_it_takes_it_from_others, fill),
        cmocka_unit_test_setup(what_is_over_stays_over, fill),
        cmocka_unit_test_setup(bad_links_are_refused_for_people, fill),
        cmocka_unit_test_setup(the_page_speaks_chinese, fill),
        cmocka_unit_test(the_page_says_everything_in_each_language),
        cmocka_unit_test_setup(a_link_silences_the_anomaly, fill),
        cmocka_unit_test_setup(the_api_makes_lists_and_ends, fill),
        cmocka_unit_test_setup(what_would_silence_all_is_refused, fill),
        cmocka_unit_test_setup(silences_are_found_by_what_is_rare, fill),
        cmocka_unit_test_setup(an_incident_is_silenced_when_all_that_fires_is, fill),
        cmocka_unit_test_setup(the_end_of_a_silence_wakes_groups, fill),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
