/* What vendors report of messages that they had taken, on a real Postgres and the vendors' fakes.
 */
#include <errno.h>

#include "common/report.h"
#include "desk_stage.h"

/* Receiver NAME sends short messages; `more` of it. NAMEb takes anything. */
static struct worker *open_worker(const char *name, const char *more)
{
    return start_worker(AT_ONCE,
                        sql("external_url: https://tocsin.example.com\n"
                            "console: {twilio_auth_token: x}\n"
                            "receivers:\n"
                            "- {name: %s%s, twilio_sms_configs: [{api_url: 'http://127.0.0.1:%d', "
                            "account_sid: AC1, auth_token: token of AC1, from: '+15005550006', to: "
                            "'+4930123456', max_per_minute: 600, burst: 100}]}\n"
                            "- {name: %sb, webhook_configs: [{url: 'http://127.0.0.1:%d/%sb'}]}\n",
                            name, more, fakes.port, name, fakes.port, name));
}

/* The receiver's one group, of one incident, and its message `seq`, the newest that was said. */
static void add(const char *name, int seq)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES ('t', "
       "md5('%s')::uuid, decode(md5('%s'), 'hex'), 1, 4, 'title of %s', 'am', 'E', 'shop', '', "
       "'', '', 0, 0, 0, 0, 1, 1, 1) ON CONFLICT DO NOTHING",
       name, name, name);
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, annotations, title, description, link, source, starts_at, first_seen, last_seen) "
       "SELECT 't', hashtextextended(id::text, 0), anomaly_key, id, 1, 4, '{\"alertname\":\"E\"}', "
       "'{}', title, '', '', 'am', 1, 0, 0 FROM incidents WHERE id = md5('%s')::uuid ON CONFLICT "
       "DO NOTHING",
       name);
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told) "
       "VALUES ('t', md5('%s.g')::uuid, 1, '%s', 'r', '{}', '{}', 0, '{\"0\": {}}') ON CONFLICT "
       "DO NOTHING",
       name, name);
    DO("UPDATE groups SET told = jsonb_set(told, '{0,last}', '{\"seq\":%d}') WHERE id = "
       "md5('%s.g')::uuid",
       seq, name);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at) VALUES ('t', md5('%s.%d')::uuid, "
       "md5('%s.g')::uuid, '%s', 0, 'twilio_sms', %d, 'opened', 4, md5('%s')::uuid, "
       "'{\"reason\":\"opened\",\"group_key\":\"k\",\"group_labels\":{},"
       "\"state\":{\"seq\":%d,\"status\":\"firing\",\"at\":1}}',"
       " (extract(epoch FROM now()) * 1000)::bigint)",
       name, seq, name, name, seq, name, seq);
}

/* "SEQ STATE" of each row of the receiver. */
static const char *rows(const char *receiver)
{
    return sql("SELECT coalesce(string_agg(seq || ' ' || state, ', ' ORDER BY seq), '') FROM "
               "notifications WHERE receiver = '%s'",
               receiver);
}

static int say(const char *name, int seq, int attempt, enum report_state state, const char *words)
{
    struct report r = {.attempt = attempt, .state = state, .words = slice_of(words)};
    struct err e = {0};

    assert_true(uuid_parse(slice_of(TEXT("SELECT md5('%s.%d')", name, seq)), &r.notification));
    int rc = report_store(db.pg, db.arena, SLICE_LIT("t"), &r, &e);
    if (rc < 0 && rc != -ENOENT)
        fail_msg("%s", e.msg);
    return rc;
}

static const char *said(const char *name, int seq)
{
    return TEXT("SELECT coalesce(string_agg(concat_ws('|', attempt, state, words), ' ' ORDER BY "
                "attempt), '') FROM delivery_reports WHERE notification_id = md5('%s.%d')::uuid",
                name, seq);
}

static void looked_at(void)
{
    until("0", "SELECT count(*)::text FROM delivery_reports WHERE due");
}

static const char *told(const char *name)
{
    return TEXT("SELECT told::text FROM groups WHERE receiver = '%s'", name);
}

static void what_was_lost_fails_and_is_said_again(void **state)
{
    struct worker *w = open_worker("lost", "");

    (void)state;
    add("lost", 1);
    until("1 delivered", rows("lost"));
    add("lost", 2);
    until("1 delivered, 2 delivered", rows("lost"));
    assert_int_equal(say("lost", 2, 1, REPORT_SENT, "sent"), 0);
    assert_int_equal(say("lost", 2, 1, REPORT_LOST, "undelivered, error 30003"), 0);
    until("1 delivered, 2 failed", rows("lost"));
    assert_string_equal(
        TEXT("SELECT reason FROM notifications WHERE receiver = 'lost' AND seq = 2"),
        "undelivered, error 30003");
    /* What was told last is the one before it, so that the group says its news again. */
    assert_string_equal(told("lost"),
                        "{\"0\": {\"last\": {\"at\": 1, \"seq\": 1, \"status\": \"firing\"}, "
                        "\"delivered\": {\"at\": 1, \"seq\": 1, \"status\": \"firing\"}}}");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE subject = decode(md5('lost.g'), "
                         "'hex')"),
                     1);
    assert_string_equal(TEXT("SELECT string_agg(body, ';' ORDER BY cause LIKE '%%failed', body) "
                             "FROM timeline WHERE incident_id = md5('lost')::uuid"),
                        "twilio_sms to lost: delivered;twilio_sms to lost: delivered;"
                        "twilio_sms to lost: failed: undelivered, error 30003");
    assert_string_equal(schema_text(&db, alerts_about("lost")), "firing");
    /* And the one before it was lost, too: nobody was told anything. */
    assert_int_equal(say("lost", 1, 1, REPORT_LOST, "failed, error 30008"), 0);
    until("1 failed, 2 failed", rows("lost"));
    assert_string_equal(told("lost"), "{\"0\": {}}");
    assert_string_equal(schema_text(&db, alerts_about("lost")), "firing");
    looked_at();
    close_worker(w);
}

/* Both in one look. */
static void what_was_lost_together_is_not_what_was_told_before(void **state)
{
    struct worker *w = open_worker("both", "");

    (void)state;
    add("both", 1);
    until("1 delivered", rows("both"));
    add("both", 2);
    until("1 delivered, 2 delivered", rows("both"));
    close_worker(w);
    (void)say("both", 1, 1, REPORT_LOST, "undelivered");
    (void)say("both", 2, 1, REPORT_LOST, "undelivered");
    w = open_worker("both", "");
    until("1 failed, 2 failed", rows("both"));
    assert_string_equal(told("both"), "{\"0\": {}}");
    close_worker(w);
}

static void a_fallback_is_told_what_was_lost(void **state)
{
    struct worker *w = open_worker("fall", ", fallback: fallb");

    (void)state;
    add("fall", 1);
    until("1 delivered", rows("fall"));
    (void)say("fall", 1, 1, REPORT_LOST, "undelivered, error 30006");
    until("1 failed", rows("fall"));
    until("1 delivered", rows("fallb"));
    assert_string_equal(TEXT("SELECT reason FROM notifications WHERE receiver = 'fall'"),
                        "undelivered, error 30006; told to fallb instead");
    assert_int_equal(fakes_count(&fakes, "webhook", "fall did not take this message"), 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE subject = decode(md5('fall.g'), "
                         "'hex')"),
                     0);
    close_worker(w);
}

/* The receiver is a fallback itself, told beside another integration that ended so. */
static void add_as_fallback(const char *name, const char *other)
{
    add(name, 1);
    DO("UPDATE notifications n SET group_id = md5('%s.f')::uuid, about = about || "
       "jsonb_build_object('fallback', jsonb_build_object('of', 'x', 'why', 'w', 'group', "
       "n.group_id, 'integration', 0, 'hops', 1, 'path', (SELECT "
       "jsonb_agg(jsonb_build_object('group', md5('%s.f')::uuid, 'integration', k)) FROM "
       "generate_series(0, 1) k))) WHERE receiver = '%s'",
       name, name, name);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at, state) SELECT tenant, md5('%s.other')::"
       "uuid, group_id, 'x', 1, channel, seq, kind, severity, incident_id, about, created_at, '%s' "
       "FROM notifications WHERE receiver = '%s'",
       name, other, name);
}

static void what_a_fallback_lost_is_said_again_unless_another_told_it(void **state)
{
    static const char *const others[] = {"delivered", "failed"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *name = others[i];
        add_as_fallback(name, others[i]);
        struct worker *w = open_worker(name, "");
        until("1 delivered", rows(name));
        (void)say(name, 1, 1, REPORT_LOST, "undelivered");
        until("1 failed", rows(name));
        close_worker(w);
        assert_string_equal(told(name), i ? "{\"0\": {}}" : "{\"0\": {\"last\": {\"seq\": 1}}}");
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE subject = decode(md5('%s.g'), "
                             "'hex')",
                             name),
                         i);
    }
}

static void the_first_last_word_stands(void **state)
{
    struct worker *w = open_worker("order", "");

    (void)state;
    add("order", 1);
    until("1 delivered", rows("order"));
    (void)say("order", 1, 1, REPORT_ARRIVED, "delivered");
    (void)say("order", 1, 1, REPORT_SENT, "sent");
    (void)say("order", 1, 1, REPORT_LOST, "failed");
    assert_string_equal(said("order", 1), "1|3|delivered");
    looked_at();
    add("order", 2);
    until("1 delivered, 2 delivered", rows("order"));
    (void)say("order", 2, 1, REPORT_UNDER_WAY, "queued");
    assert_string_equal(said("order", 2), "1|1|queued");
    (void)say("order", 2, 1, REPORT_LOST, "failed");
    (void)say("order", 2, 1, REPORT_ARRIVED, "delivered");
    (void)say("order", 2, 1, REPORT_UNDER_WAY, "queued");
    assert_string_equal(said("order", 2), "1|4|failed");
    until("1 delivered, 2 failed", rows("order"));
    assert_int_equal(say("order", 3, 1, REPORT_LOST, "failed"), -ENOENT);
    close_worker(w);
}

/* The first attempt had no answer, and another followed. */
static void an_attempt_that_another_followed_decides_nothing(void **state)
{
    struct worker *w = open_worker("twice", "");

    (void)state;
    fakes_order(&fakes, "{\"channel\":\"twilio_sms\",\"key\":\"*\",\"answers\":[\"lost\"]}");
    add("twice", 1);
    until("1 delivered", rows("twice"));
    assert_int_equal(INT("SELECT attempts FROM notifications WHERE receiver = 'twice'"), 2);
    (void)say("twice", 1, 1, REPORT_LOST, "failed");
    looked_at();
    assert_string_equal(schema_text(&db, rows("twice")), "1 delivered");
    (void)say("twice", 1, 2, REPORT_LOST, "failed");
    until("1 failed", rows("twice"));
    close_worker(w);
}

/* It came before the answer to the request was written down. */
static void a_report_waits_for_its_row(void **state)
{
    struct worker *w;

    (void)state;
    add("early", 1);
    DO("UPDATE notifications SET state = 'sending', attempts = 1, lease_by = 'other', lease_until "
       "= 4000000000000 WHERE receiver = 'early'");
    (void)say("early", 1, 1, REPORT_LOST, "failed");
    w = open_worker("early", "");
    usleep(200000);
    assert_string_equal(schema_text(&db, rows("early")), "1 sending");
    DO("UPDATE notifications SET state = 'delivered', ended_at = 1, lease_until = NULL WHERE "
       "receiver = 'early'");
    until("1 failed", rows("early"));
    close_worker(w);
}

static void the_members_of_a_merge_share_its_loss(void **state)
{
    struct worker *w;

    (void)state;
    add("merge", 1);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, created_at, state, attempts, ended_at) VALUES ('t', "
       "md5('merge.9')::uuid, md5('merge.m')::uuid, 'merge', 0, 'twilio_sms', 9, 'merge', 4, "
       "'{}', 1, 'delivered', 1, 1)");
    DO("UPDATE notifications SET state = 'merged', merged_into = md5('merge.9')::uuid, ended_at = "
       "1 WHERE id = md5('merge.1')::uuid");
    DO("UPDATE groups SET told = jsonb_set(told, '{0,delivered}', '{\"seq\":1}') WHERE receiver = "
       "'merge'");
    (void)say("merge", 9, 1, REPORT_LOST, "failed");
    w = open_worker("merge", "");
    until("1 merged, 9 failed", rows("merge"));
    assert_string_equal(told("merge"), "{\"0\": {}}");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE subject = decode(md5('merge.g'), "
                         "'hex')"),
                     1);
    close_worker(w);
}

/* To be taken is no news where what was taken was lost. */
static void a_receiver_fails_until_a_message_arrives(void **state)
{
    struct worker *w = open_worker("flap", "");

    (void)state;
    add("flap", 1);
    until("1 delivered", rows("flap"));
    (void)say("flap", 1, 1, REPORT_LOST, "undelivered");
    until("firing", alerts_about("flap"));
    add("flap", 2);
    until("1 failed, 2 delivered", rows("flap"));
    assert_string_equal(schema_text(&db, alerts_about("flap")), "firing");
    (void)say("flap", 2, 1, REPORT_SENT, "sent");
    (void)say("flap", 2, 1, REPORT_ARRIVED, "delivered");
    until("firing resolved", alerts_about("flap"));
    /* What was refused at once ends when one is taken, whatever becomes of that. */
    fakes_order(&fakes, "{\"channel\":\"twilio_sms\",\"key\":\"*\",\"answers\":[\"400:21610\"]}");
    add("flap", 3);
    until("1 failed, 2 delivered, 3 failed", rows("flap"));
    add("flap", 4);
    until("firing resolved firing resolved", alerts_about("flap"));
    close_worker(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_lost_fails_and_is_said_again),
        cmocka_unit_test(what_was_lost_together_is_not_what_was_told_before),
        cmocka_unit_test(a_fallback_is_told_what_was_lost),
        cmocka_unit_test(what_a_fallback_lost_is_said_again_unless_another_told_it),
        cmocka_unit_test(the_first_last_word_stands),
        cmocka_unit_test(an_attempt_that_another_followed_decides_nothing),
        cmocka_unit_test(a_report_waits_for_its_row),
        cmocka_unit_test(the_members_of_a_merge_share_its_loss),
        cmocka_unit_test(a_receiver_fails_until_a_message_arrives),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
