/* Silences that begin after a message was written: in a merge that waits, and at a fallback. A real
 * Postgres and the vendors' fakes. */
#include "desk_stage.h"

/* A receiver for people, 0, and for programs, 1, whose fallback is NAMEb. */
static struct worker *open_worker(const char *name)
{
    return start_worker(AT_ONCE ", breaker_failures: 0",
                        sql("receivers:\n"
                            "- name: %s\n"
                            "  fallback: %sb\n"
                            "  slack_configs: [{api_url: 'http://127.0.0.1:%d/services/T0/B0/%s', "
                            "send_resolved: true}]\n"
                            "  webhook_configs: [{url: 'http://127.0.0.1:%d/%s'}]\n"
                            "- {name: %sb, webhook_configs: [{url: 'http://127.0.0.1:%d/%sb'}]}\n",
                            name, name, fakes.port, name, fakes.port, name, name, fakes.port,
                            name));
}

static void end_worker(struct worker *w)
{
    close_worker(w);
    DO("TRUNCATE silences, silenced_groups, timers");
}

/* Ids are md5 of the test's name and their own. */
#define ID "md5('%s.%s')::uuid"

/* An incident with one alert of this job. */
static void add_incident(const char *name, const char *id, const char *job)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES ('t', " ID ", "
       "decode(md5('%s.%s'), 'hex'), 1, 4, '%s of %s', 'am', 'E', 'shop', '', '', '', 0, 0, 0, 0, "
       "1, 1, 1)",
       name, id, name, id, id, name);
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, annotations, title, description, link, source, starts_at, first_seen, last_seen) "
       "SELECT 't', ('x' || left(md5('%s.%s'), 16))::bit(64)::bigint, anomaly_key, id, 1, 4, "
       "'{\"alertname\":\"E\",\"job\":\"%s\"}', '{}', title, '', '', 'am', 1, 0, 0 FROM incidents "
       "WHERE id = " ID,
       name, id, job, name, id);
}

static void is_over(const char *name, const char *id)
{
    DO("UPDATE incidents SET status = 4, resolved_by = 1, resolved_at = 9 WHERE id = " ID, name,
       id);
    DO("UPDATE alerts SET status = 2, ended_at = 9 WHERE incident_id = " ID, name, id);
}

static void add_group(const char *name, const char *id, const char *told)
{
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told) "
       "VALUES ('t', " ID ", 1, '%s', 'r', '{\"group\":\"%s\"}', '{}', 0, '%s')",
       name, id, name, id, told);
}

struct row {
    const char *id, *group, *incident, *kind, *status;
    int integration, seq;
    const char *lists; /* of about.state */
};

static void add_row(const char *name, const struct row *r)
{
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at) VALUES ('t', " ID ", " ID
       ", '%s', %d, '%s', %d, '%s', 4, %s, '{\"reason\":\"%s\",\"group_key\":\"k\","
       "\"group_labels\":{},\"state\":{\"seq\":%d,\"status\":\"%s\",\"at\":1%s}}', "
       "(extract(epoch FROM now()) * 1000)::bigint)",
       name, r->id, name, r->group, name, r->integration, r->integration ? "webhook" : "slack",
       r->seq, r->kind, r->incident ? sql(ID, name, r->incident) : "NULL", r->kind, r->seq,
       r->status, r->lists ? r->lists : "");
}

/* These wait in a merge, as the notifier leaves them. */
static void merge(const char *name, const char *id)
{
    DO("UPDATE notifications SET state = 'merged', merged_into = " ID " WHERE receiver = '%s'",
       name, id, name);
    add_row(name, &(struct row){id, id, NULL, "merge", "firing", .seq = 0});
}

static const char *state_of(const char *name, const char *id)
{
    return sql("SELECT state FROM notifications WHERE id = " ID, name, id);
}

/* Its group counts it as withheld, and is known to who ends the silence. */
static void assert_withheld(const char *name, const char *group, int integration, int seq)
{
    assert_int_equal(INT("SELECT (told #>> '{%d,withheld,seq}')::int8 FROM groups WHERE id = " ID,
                         integration, name, group),
                     seq);
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups WHERE group_id = " ID, name, group),
                     1);
    assert_int_equal(INT("SELECT count(*) FROM timers, silences WHERE due_at = ends_at AND "
                         "subject = uuid_send(" ID ")",
                         name, group),
                     1);
}

static void assert_silenced(const char *name, const char *id)
{
    assert_string_equal(
        TEXT("SELECT concat_ws('|', state, merged_into, reason LIKE 'silence %% of ann until 2%%: "
             "known') FROM notifications WHERE id = " ID,
             name, id),
        "suppressed|t");
}

static void a_merge_leaves_out_what_is_silenced_meanwhile(void **state)
{
    (void)state;
    silence("hushed");
    add_incident("merge", "hushed", "hushed");
    add_incident("merge", "loud", "loud");
    add_incident("merge", "over", "hushed");
    is_over("merge", "over");
    add_group("merge", "hushed", "{\"0\":{\"last\":{\"seq\":2}}}");
    add_group("merge", "loud", "{\"0\":{\"last\":{\"seq\":1}}}");
    add_group("merge", "over",
              "{\"0\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"status\":\"firing\"}}}");
    add_row("merge", &(struct row){"h1", "hushed", "hushed", "opened", "firing", .seq = 1});
    add_row("merge", &(struct row){"h2", "hushed", "hushed", "crossing", "firing", .seq = 2});
    add_row("merge", &(struct row){"l", "loud", "loud", "opened", "firing", .seq = 1});
    add_row("merge", &(struct row){"o", "over", "over", "resolved", "resolved", .seq = 2});
    merge("merge", "m");
    struct worker *w = open_worker("merge");
    until("delivered", state_of("merge", "m"));
    assert_int_equal(fakes_count(&fakes, "slack", "loud of merge"), 1);
    assert_int_equal(fakes_count(&fakes, "slack", "over of merge"), 1); /* an end is owed */
    assert_int_equal(fakes_count(&fakes, "slack", "hushed of merge"), 0);
    assert_silenced("merge", "h1");
    assert_silenced("merge", "h2");
    assert_withheld("merge", "hushed", 0, 2);
    assert_int_equal(INT("SELECT count(*) FROM groups WHERE id = " ID " AND told->'0' ? 'last'",
                         "merge", "hushed"),
                     0);
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE merged_into = " ID
                         " AND state = 'merged'",
                         "merge", "m"),
                     2);
    assert_int_equal(
        INT("SELECT count(*) FROM silenced_groups WHERE group_id <> " ID, "merge", "hushed"), 0);
    end_worker(w);
}

static void a_merge_of_what_is_silenced_is_not_sent(void **state)
{
    (void)state;
    silence("hushed");
    for (int i = 0; i < 2; i++) {
        const char *id = sql("i%d", i);
        add_incident("none", id, "hushed");
        add_group("none", id, "{\"0\":{\"last\":{\"seq\":1}}}");
        add_row("none", &(struct row){sql("n%d", i), id, id, "opened", "firing", .seq = 1});
    }
    merge("none", "m");
    struct worker *w = open_worker("none");
    until("suppressed", state_of("none", "m"));
    assert_string_equal(TEXT("SELECT reason FROM notifications WHERE id = " ID, "none", "m"),
                        "all that it would have told is silenced");
    for (int i = 0; i < 2; i++) {
        assert_silenced("none", sql("n%d", i));
        assert_withheld("none", sql("i%d", i), 0, 1);
    }
    assert_int_equal(fakes_count(&fakes, "slack", "of none"), 0);
    end_worker(w);
}

static const char *fallbacks(const char *name, const char *state)
{
    return sql("SELECT count(*)::text FROM notifications WHERE receiver = '%sb' AND state = '%s'",
               name, state);
}

static void order(const char *key, const char *answers)
{
    fakes_order(&fakes,
                sql("{\"channel\":\"webhook\",\"key\":\"/%s\",\"answers\":[%s]}", key, answers));
}

static void a_fallback_is_not_told_what_is_silenced_meanwhile(void **state)
{
    struct worker *w = open_worker("fall");

    (void)state;
    order("fall", "\"404*\"");
    order("fallb", "\"500*\"");
    add_incident("fall", "i", "hushed");
    add_group("fall", "g",
              "{\"1\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"status\":\"firing\"}}}");
    add_row("fall", &(struct row){"n", "g", "i", "crossing", "firing", .integration = 1, .seq = 2});
    until("failed", state_of("fall", "n"));
    until("1",
          "SELECT count(*)::text FROM notifications WHERE receiver = 'fallb' AND attempts > 1");
    silence("hushed");
    until("1", fallbacks("fall", "suppressed"));
    assert_non_null(strstr(TEXT("SELECT reason FROM notifications WHERE receiver = 'fallb'"),
                           "of ann until 2"));
    /* The group that it spoke for says it again once that is over. */
    assert_withheld("fall", "g", 1, 2);
    assert_int_equal(
        INT("SELECT (told #>> '{1,last,seq}')::int8 FROM groups WHERE id = " ID, "fall", "g"), 1);
    /* An end is owed, whoever tells it. */
    free(fakes_ask(&fakes, "/_reset", ""));
    order("fall", "\"404*\"");
    is_over("fall", "i");
    add_row("fall",
            &(struct row){"e", "g", "i", "resolved", "resolved", .integration = 1, .seq = 3});
    until("1", fallbacks("fall", "delivered"));
    end_worker(w);
}

/* A message of alerts that tells an end beside what fires. */
static void an_end_is_told_with_what_is_silenced(void **state)
{
    const char *fingerprint[2];

    (void)state;
    silence("hushed");
    for (int i = 0; i < 2; i++) {
        add_incident("mixed", sql("i%d", i), "hushed");
        fingerprint[i] = TEXT("SELECT left(md5('mixed.i%d'), 16)", i);
    }
    add_group("mixed", "g", "{\"0\":{\"last\":{\"seq\":2}}}");
    add_group("mixed", "h", "{\"0\":{\"last\":{\"seq\":1}}}");
    add_row("mixed", &(struct row){"n", "g", NULL, "alerts", "firing", .seq = 2,
                                   .lists = sql(",\"alerts\":[\"%s\"],\"resolved_alerts\":[\"%s\"]",
                                                fingerprint[0], fingerprint[1])});
    add_row("mixed", &(struct row){"o", "h", NULL, "alerts", "firing", .seq = 1,
                                   .lists = sql(",\"alerts\":[\"%s\"],\"resolved_alerts\":[]",
                                                fingerprint[0])});
    struct worker *w = open_worker("mixed");
    until("delivered", state_of("mixed", "n"));
    until("suppressed", state_of("mixed", "o"));
    end_worker(w);
}

/* ---- many alerts ---- */

/* As the one that it has, and seen later: numbers of them from `first` to `last`. */
static void add_alerts(const char *name, const char *incident, const char *job, int first, int last)
{
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, annotations, title, description, link, source, starts_at, first_seen, last_seen) "
       "SELECT tenant, n, anomaly_key, incident_id, 1, 4, (SELECT jsonb_object_agg('label ' || k, "
       "'value ' || n) FROM generate_series(1, 12) k) || '{\"alertname\":\"E\",\"job\":\"%s\"}', "
       "'{}', title, '', '', 'am', 1, n, n FROM alerts, generate_series(%d, %d) n WHERE "
       "incident_id = " ID " AND first_seen = 0",
       job, first, last, name, incident);
}

/* Of this incident, or of the alerts 1 to 1500. */
static void add_groups(const char *name, int n, const char *incident)
{
    const char *alerts =
        incident ? NULL
                 : TEXT("SELECT ',\"alerts\":[' || string_agg('\"' || lpad(to_hex(n), 16, '0') || "
                        "'\"', ',') || ']' FROM generate_series(1, 1500) n");

    for (int i = 0; i < n; i++) {
        add_group(name, sql("g%d", i), "{\"0\":{\"last\":{\"seq\":1}}}");
        add_row(name,
                &(struct row){sql("n%d", i), sql("g%d", i), incident,
                              incident ? "opened" : "alerts", "firing", .seq = 1, .lists = alerts});
    }
}

static void forget_alerts(struct worker *w)
{
    end_worker(w);
    DO("DELETE FROM alerts");
}

static void many_words_about_an_incident_of_many_alerts(void **state)
{
    (void)state;
    silence("hushed");
    add_incident("many", "i", "hushed");
    add_alerts("many", "i", "hushed", 1, 3000);
    add_groups("many", 50, "i");
    merge("many", "m");
    struct worker *w = open_worker("many");
    until("suppressed", state_of("many", "m"));
    for (int i = 0; i < 50; i++)
        assert_silenced("many", sql("n%d", i));
    assert_int_equal(fakes_count(&fakes, "slack", "of many"), 0);
    forget_alerts(w);
}

static void the_last_of_many_alerts_is_not_silenced(void **state)
{
    (void)state;
    silence("hushed");
    add_incident("last", "i", "hushed");
    add_alerts("last", "i", "hushed", 1, 3000);
    add_alerts("last", "i", "loud", 3001, 3001);
    add_groups("last", 2, "i");
    merge("last", "m");
    struct worker *w = open_worker("last");
    until("delivered", state_of("last", "m"));
    assert_int_equal(fakes_count(&fakes, "slack", "i of last"), 1);
    forget_alerts(w);
}

/* Of one group an alert more, which is not silenced. */
static void many_words_about_many_alerts(void **state)
{
    (void)state;
    silence("hushed");
    add_incident("each", "i", "hushed");
    add_incident("each", "l", "loud");
    add_alerts("each", "i", "hushed", 1, 1500);
    add_groups("each", 50, NULL);
    DO("UPDATE notifications SET about = jsonb_insert(about, '{state,alerts,700}', "
       "to_jsonb(left(md5('each.l'), 16))) WHERE id = " ID,
       "each", "n20");
    merge("each", "m");
    struct worker *w = open_worker("each");
    until("delivered", state_of("each", "m"));
    for (int i = 0; i < 50; i++)
        if (i != 20)
            assert_silenced("each", sql("n%d", i));
    assert_string_equal(schema_text(&db, state_of("each", "n20")), "merged");
    forget_alerts(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merge_leaves_out_what_is_silenced_meanwhile),
        cmocka_unit_test(a_merge_of_what_is_silenced_is_not_sent),
        cmocka_unit_test(a_fallback_is_not_told_what_is_silenced_meanwhile),
        cmocka_unit_test(an_end_is_told_with_what_is_silenced),
        cmocka_unit_test(many_words_about_an_incident_of_many_alerts),
        cmocka_unit_test(the_last_of_many_alerts_is_not_silenced),
        cmocka_unit_test(many_words_about_many_alerts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
