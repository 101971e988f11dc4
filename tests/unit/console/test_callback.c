/* What vendors post back, over HTTP on a real PostgreSQL. */
#include "testing.h"

#include <string.h>

#include "common/act.h"
#include "common/clock.h"
#include "common/digest.h"
#include "console/callback.h"
#include "served.h"

#define INCIDENT "018f0000-0000-7000-8000-00000000000a"

static int fill(void **state)
{
    (void)state;
    schema_do(&db, "TRUNCATE anomalies, incidents, alerts, timeline, groups, timers, silences;"
                   "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, "
                   "error_type, first_seen, last_seen) VALUES ('default', '\\x0a', 'Slow', 'shop', "
                   "'', '', 1, 1);"
                   "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, "
                   "source, alert_name, service, namespace, environment, error_type, opened_at, "
                   "updated_at, window_start, last_seen, occurrences, alerts_firing, "
                   "alerts_total) VALUES ('default', '" INCIDENT "', '\\x0a', 1, 4, 'Slow', "
                   "'prom', 'Slow', 'shop', '', '', '', 1, 1, 1, 1, 1, 1, 1);"
                   "INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, "
                   "severity, labels, annotations, title, description, link, source, first_seen, "
                   "last_seen) VALUES ('default', 7, '\\x0a', '" INCIDENT "', 1, 3, "
                   "'{\"alertname\": \"Slow\"}', '{}', '', '', '', '', 1, 1);");
    return 0;
}

static const char *token_to(enum act_verb verb, int64_t lasts_ms)
{
    const struct act_secrets secrets = {.now = SLICE_LIT(LINK_SECRET)};
    struct act_grant g = {.verb = verb,
                          .tenant = SLICE_LIT("default"),
                          .receiver = SLICE_LIT("team"),
                          .expires_ms = clock_now_ms() + lasts_ms};

    assert_true(uuid_parse(SLICE_LIT(INCIDENT), &g.incident));
    return act_token(&g, &secrets, db.arena);
}

static const char *row(void)
{
    return schema_text(&db, "SELECT concat_ws('|', status, owner, coalesce(resolved_by, 0)) "
                            "FROM incidents WHERE id = '" INCIDENT "'");
}

/* As Slack posts it, `late_ms` ago, signed with `secret`. */
static void press(const char *value, const char *secret, int64_t late_ms)
{
    char body[2048], headers[512], mac[2 * SHA256_LEN + 1], at[24];
    unsigned char raw[SHA256_LEN];

    snprintf(body, sizeof body,
             "payload=%%7B%%22type%%22%%3A%%22block_actions%%22%%2C%%22user%%22%%3A%%7B%%22id%%22%%"
             "3A%%22U1%%22%%2C%%22username%%22%%3A%%22ann%%22%%7D%%2C%%22actions%%22%%3A%%5B%%7B%%"
             "22action_id%%22%%3A%%22x%%22%%2C%%22value%%22%%3A%%22%s%%22%%7D%%5D%%7D",
             value);
    snprintf(at, sizeof at, "%lld", (long long)(clock_now_ms() - late_ms) / 1000);
    const struct slice text[] = {SLICE_LIT("v0:"), slice_of(at), SLICE_LIT(":"), slice_of(body)};
    hmac_sha256_v(slice_of(secret), text, 4, raw);
    snprintf(headers, sizeof headers,
             "Content-Type: application/x-www-form-urlencoded\r\nX-Slack-Request-Timestamp: "
             "%s\r\nX-Slack-Signature: v0=%s\r\n",
             at, hex_encode(raw, sizeof raw, mac));
    ask_with("POST", "/callback/slack", headers, body);
}

static void buttons_of_slack_act(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* Slack may post twice */
        press(token_to(ACT_ACKNOWLEDGE, MS_HOUR), SLACK_SECRET, 0);
        assert_status(200);
        assert_int_equal(answer.len, 0);
        assert_string_equal(row(), "2|ann (team)|0");
    }
    assert_string_equal(
        schema_text(&db, "SELECT string_agg(concat_ws('|', kind, actor, body), ';') FROM timeline"),
        "status|ann (team)|acknowledged");
    press(token_to(ACT_SILENCE, MS_HOUR), SLACK_SECRET, 0);
    assert_status(200);
    assert_string_equal(schema_text(&db, "SELECT count(*)::text FROM silences"), "1");
    press(token_to(ACT_RESOLVE, MS_HOUR), SLACK_SECRET, 0);
    assert_status(200);
    assert_string_equal(row(), "4|ann (team)|2");
    press(token_to(ACT_CLAIM, MS_HOUR), SLACK_SECRET, 0);
    assert_status(200); /* it is over */
    assert_string_equal(row(), "4|ann (team)|2");
    press("", SLACK_SECRET, 0);
    assert_status(200); /* a button of the message that is only a link */
}

static void what_slack_did_not_sign_is_refused(void **state)
{
    (void)state;
    press(token_to(ACT_RESOLVE, MS_HOUR), "somebody else's secret", 0);
    assert_status(401);
    press(token_to(ACT_RESOLVE, MS_HOUR), SLACK_SECRET, 301 * MS_SECOND);
    assert_status(401);
    press(token_to(ACT_RESOLVE, -MS_HOUR), SLACK_SECRET, 0);
    assert_status(410);
    press("AQEAZ", SLACK_SECRET, 0);
    assert_status(403);
    ask("POST", "/callback/slack", "payload=x");
    assert_status(401);
    assert_string_equal(row(), "1||0");
}

/* As Twilio posts it. */
static void dial(const char *token, const char *digits, const char *secret)
{
    char path[256], headers[256], text[1024], mac[64], body[128];
    unsigned char raw[SHA1_LEN];

    snprintf(path, sizeof path, "/callback/twilio/%s", token);
    snprintf(text, sizeof text, "%s%sDigits%sTo+1555", settings.external_url, path, digits);
    snprintf(body, sizeof body, "To=%%2B1555&Digits=%s", digits);
    hmac_sha1(slice_of(secret), slice_of(text), raw);
    (void)base64_encode(raw, sizeof raw, mac);
    snprintf(headers, sizeof headers,
             "Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: %s\r\n", mac);
    ask_with("POST", path, headers, body);
}

static void a_key_of_the_telephone_acknowledges(void **state)
{
    const char *token = token_to(ACT_ACKNOWLEDGE, MS_HOUR);

    (void)state;
    dial(token, "2", TWILIO_TOKEN);
    assert_status(200);
    assert_non_null(strstr(answer.body, "<Say>Nothing was changed.</Say>"));
    assert_string_equal(row(), "1||0");
    dial(token, "1", "54321");
    assert_status(401);
    assert_string_equal(row(), "1||0");
    dial(token, "1", TWILIO_TOKEN);
    assert_status(200);
    assert_non_null(strstr(answer.head, "text/xml"));
    assert_non_null(strstr(answer.body, "<Response><Say>Acknowledged.</Say></Response>"));
    assert_string_equal(row(), "2|+1555 (team)|0");
    dial(token, "1", TWILIO_TOKEN);
    assert_non_null(strstr(answer.body, "acknowledged already"));
    dial(token_to(ACT_ACKNOWLEDGE, -MS_HOUR), "1", TWILIO_TOKEN);
    assert_status(410);
}

/* ---- what became of a message ---- */

#define NOTE "00000000-0000-0000-0000-0000000000aa"

static int fill_note(void **state)
{
    (void)state;
    schema_do(&db,
              "TRUNCATE notifications, delivery_reports;"
              "INSERT INTO notifications (tenant, id, group_id, receiver, integration, "
              "channel, seq, kind, severity, about, created_at, state, attempts) SELECT t, '" NOTE
              "', '" NOTE "', 'team', 0, 'twilio_sms', 1, 'opened', 4, '{}', 1, "
              "'delivered', 2 FROM unnest('{default,acme & co}'::text[]) t");
    return 0;
}

/* As Twilio posts it: `fields` are name and value in turn, sorted; NULL ends. */
static void report(const char *path, const char *secret, const char *const *fields)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(4096), body = BUF_INIT(4096);
    unsigned char raw[SHA1_LEN];
    char headers[256], mac[64];

    buf_printf(&text, "%s%s", settings.external_url, path);
    for (; *fields; fields += 2) {
        buf_printf(&text, "%s%s", fields[0], fields[1]);
        buf_printf(&body, "%s%s=%s", body.len ? "&" : "", fields[0], fields[1]);
    }
    hmac_sha1(slice_of(secret), (struct slice){buf_str(&text), text.len}, raw);
    (void)base64_encode(raw, sizeof raw, mac);
    snprintf(headers, sizeof headers,
             "Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: %s\r\n", mac);
    ask_with("POST", path, headers, buf_str(&body));
}
#define REPORT(path, ...)                                                                          \
    report("/callback/twilio/status/" path, TWILIO_TOKEN, (const char *const[]){__VA_ARGS__, NULL})

static const char *reports(void)
{
    return schema_text(&db, "SELECT coalesce(string_agg(concat_ws('|', tenant, attempt, state, "
                            "words), ';' ORDER BY tenant, attempt), '') FROM delivery_reports");
}

static void what_became_of_a_message_is_kept(void **state)
{
    (void)state;
    REPORT(NOTE "/2", "MessageSid", "SM1", "MessageStatus", "sent");
    assert_status(204);
    REPORT(NOTE "/2", "ErrorCode", "30003", "MessageSid", "SM1", "MessageStatus", "undelivered");
    assert_status(204);
    for (int i = 0; i < 2; i++) /* late, and twice */
        REPORT(NOTE "/2", "MessageSid", "SM1", "MessageStatus", "queued");
    REPORT(NOTE "/2", "MessageSid", "SM1", "MessageStatus", "delivered");
    assert_status(204);
    assert_string_equal(reports(), "default|2|4|undelivered, error 30003");
    REPORT(NOTE "/1?tenant=acme%20%26%20co", "CallSid", "CA1", "CallStatus", "failed",
           "SipResponseCode", "404");
    assert_status(204);
    REPORT(NOTE "/2?tenant=acme%20%26%20co", "CallSid", "CA1", "CallStatus", "no-answer",
           "SipResponseCode", "200");
    assert_string_equal(reports(), "acme & co|1|4|failed, SIP 404;acme & co|2|4|no-answer;default|2"
                                   "|4|undelivered, error 30003");
}

static void what_twilio_did_not_sign_or_cannot_mean_changes_nothing(void **state)
{
    static const char path[] = "/callback/twilio/status/" NOTE "/2";
    static const char *const failed[] = {"MessageStatus", "failed", NULL};

    (void)state;
    report(path, "54321", failed);
    assert_status(401);
    ask_with("POST", path, "Content-Type: application/x-www-form-urlencoded\r\n",
             "MessageStatus=failed");
    assert_status(401);
    REPORT("00000000-0000-0000-0000-0000000000ab/1", "MessageStatus", "failed");
    assert_status(404);
    REPORT(NOTE "/2?tenant=other", "MessageStatus", "failed");
    assert_status(404);
    REPORT(NOTE "/0", "MessageStatus", "failed");
    assert_status(404);
    REPORT(NOTE "/9999999999", "MessageStatus", "failed");
    assert_status(404);
    REPORT("x/1", "MessageStatus", "failed");
    assert_status(404);
    REPORT(NOTE "/2", "MessageStatus", "teleported"); /* a word of tomorrow */
    assert_status(204);
    REPORT(NOTE "/2", "MessageSid", "SM1");
    assert_status(204);
    assert_string_equal(reports(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(buttons_of_slack_act, fill),
        cmocka_unit_test_setup(what_slack_did_not_sign_is_refused, fill),
        cmocka_unit_test_setup(a_key_of_the_telephone_acknowledges, fill),
        cmocka_unit_test_setup(what_became_of_a_message_is_kept, fill_note),
        cmocka_unit_test_setup(what_twilio_did_not_sign_or_cannot_mean_changes_nothing, fill_note),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
