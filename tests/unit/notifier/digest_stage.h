/*
 * The stage for tests of what does not fit into one message: a chat that takes 4096 bytes, a
 * program, telephones, and digests to tell.
 */
#pragma once

#include "desk_stage.h"

enum { WECOM, WEBHOOK, SMS, ALIYUN };
static const char *const channels[] = {"wecom", "webhook", "twilio_sms", "aliyun_sms"};

/* Receiver NAME, and NAMEf whose fallback is NAMEb; the chat gets at most `burst` messages at once.
 */
static inline struct worker *open_worker(const char *name, int burst)
{
    return load_worker(
        AT_ONCE,
        sql("receivers:\n"
            "- name: %s\n"
            "  wecom_configs: [{url: 'http://127.0.0.1:%d/cgi-bin/webhook/send?key=%s', "
            "max_per_minute: 120, burst: %d}]\n"
            "  webhook_configs: [{url: 'http://127.0.0.1:%d/%s'}]\n"
            "  twilio_sms_configs: [{api_url: 'http://127.0.0.1:%d', account_sid: AC1, auth_token: "
            "token of AC1, from: '+15005550006', to: '+4930123456'}]\n"
            "  aliyun_sms_configs: [{api_url: 'http://127.0.0.1:%d/aliyun', access_key_id: K, "
            "access_key_secret: secret of K, sign_name: S, template_code: SMS_1, to: "
            "['13800000000']}]\n"
            "- name: %sf\n"
            "  fallback: %sb\n"
            "  wecom_configs: [{url: 'http://127.0.0.1:%d/cgi-bin/webhook/send?key=%sf', "
            "max_per_minute: 120, burst: %d}]\n"
            "- {name: %sb, webhook_configs: [{url: 'http://127.0.0.1:%d/%sb'}]}\n",
            name, fakes.port, name, burst, fakes.port, name, fakes.port, fakes.port, name, name,
            fakes.port, name, burst, name, fakes.port, name));
}

/* Warnings NAME 000 to NAME n - 1, but for the last, which is critical. */
static inline void add_incidents(const char *name, int n)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) SELECT 't', md5('%s' || "
       "i)::uuid, decode(md5('%s' || i), 'hex'), 1, CASE WHEN i = %d THEN 4 ELSE 2 END, '%s ' || "
       "to_char(i, 'FM9000') || ' disk is filling up faster than anybody cleans it', 'am', 'E', "
       "'shop', '', '', '', 0, 0, 0, 0, 1, 1, 1 FROM generate_series(0, %d) AS i",
       name, name, n - 1, name, n - 1);
}

/* A digest `id` of incidents `from` to `to`, each with one occurrence more than its number. */
static inline void add_digest(const char *receiver, const char *id, int integration, int seq,
                              const char *incidents, int from, int to)
{
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told) "
       "VALUES ('t', md5('%s%dg')::uuid, 3, '%s', 'r', '{}', '{}', 0, '{}') ON CONFLICT DO NOTHING",
       receiver, integration, receiver);
    DO("UPDATE groups SET told = '{\"%d\": {\"last\": {\"seq\": %d}}}' WHERE id = "
       "md5('%s%dg')::uuid",
       integration, seq, receiver, integration);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, created_at) SELECT 't', md5('%s%s')::uuid, md5('%s%dg')::uuid, "
       "'%s', %d, '%s', %d, 'digest', 4, jsonb_build_object('reason', 'digest', 'group_key', 'k', "
       "'group_labels', '{}'::jsonb, 'items', jsonb_agg(jsonb_build_object('incident', md5('%s' || "
       "i)::uuid, 'occurrences', i + 1, 'first_at', 10, 'last_at', 40)), 'state', "
       "jsonb_build_object('seq', %d, 'status', 'firing', 'at', 1)), (extract(epoch FROM now()) * "
       "1000)::bigint FROM generate_series(%d, %d) AS i",
       receiver, id, receiver, integration, receiver, integration, channels[integration], seq,
       incidents, seq, from, to);
    DO("INSERT INTO notification_incidents SELECT n.tenant, n.id, (i ->> 'incident')::uuid, "
       "n.created_at FROM notifications n, jsonb_array_elements(n.about -> 'items') i WHERE n.id = "
       "md5('%s%s')::uuid",
       receiver, id);
}

/* Each incident's alert; those whose number matches are silenced. */
static inline void silence_some(const char *name, const char *numbers)
{
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, annotations, title, description, link, source, starts_at, first_seen, last_seen) "
       "SELECT 't', hashtextextended(id::text, 0), anomaly_key, id, 1, 4, "
       "jsonb_build_object('job', CASE WHEN title ~ '^%s (%s) ' THEN '%s' ELSE 'loud' END), '{}', "
       "title, '', '', 'am', 1, 0, 0 FROM incidents WHERE title LIKE '%s %%'",
       name, numbers, name, name);
    silence(name);
}

/* Until that many notifications are so; the test fails when they never are. */
static inline void until_count(long long want, const char *where)
{
    const char *count = sql("SELECT count(*) FROM notifications WHERE %s", where);

    for (int i = 0; i < 2400 && schema_int(&db, count) != want; i++)
        usleep(50000);
    assert_int_equal(schema_int(&db, count), want);
}

static inline void until_ended(const char *receiver)
{
    until_count(0, sql("receiver = '%s' AND state IN ('pending', 'sending')", receiver));
}

/* Of all items of the receiver's digests that ended so: "incidents occurrences". */
static inline const char *told(const char *receiver, const char *state)
{
    return TEXT("SELECT count(*) || ' ' || coalesce(sum((i ->> 'occurrences')::int), 0) FROM "
                "notifications n, jsonb_array_elements(n.about -> 'items') i WHERE n.receiver = "
                "'%s' AND n.state = '%s'",
                receiver, state);
}

static inline void each_was_read_once(const char *name, int n)
{
    for (int i = 0; i < n; i++) {
        const size_t times = fakes_count(&fakes, "wecom", sql("%s %03d ", name, i));
        if (times != 1)
            fail_msg("%s %03d was read %zu times", name, i, times);
    }
}
