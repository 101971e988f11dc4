/* The notifier's desk with a real Postgres and the vendors' fakes; no Kafka: the sweep alone finds
 * the rows. */
#include "desk_stage.h"

enum {
    EMAIL,
    SLACK,
    WEBHOOK,
    WECOM,
    DISCORD,
    TELEGRAM,
    MATTERMOST,
    DASHBOARD,
    WECOM_APP,
    SMS,
    CALL,
    ALIYUN,
    TEAMS
};

static struct worker *open_worker(const char *name, const char *more)
{
    struct worker *w = load_worker(
        "sweep_interval: 50ms, retry_base: 20ms, retry_cap: 50ms, request_timeout: 20s, "
        "lease: 60s, breaker_wait: 100ms",
        sql("external_url: https://tocsin.example.com\n"
            "global: {smtp_smarthost: '127.0.0.1:%d', smtp_from: t@example.com, "
            "smtp_require_tls: false}\n"
            "receivers:\n"
            "- name: %s\n"
            "  email_configs: [{to: %s@example.com, send_resolved: true}]\n"
            "  slack_configs: [{api_url: 'http://127.0.0.1:%d/services/T0/B0/%s'}]\n"
            "  webhook_configs: [{url: 'http://127.0.0.1:%d/%s'}]\n"
            "  wecom_configs: [{url: 'http://127.0.0.1:%d/cgi-bin/webhook/send?key=%s'%s}]\n"
            "  discord_configs: [{webhook_url: 'http://127.0.0.1:%d/api/webhooks/1/%s'}]\n"
            "  telegram_configs: [{api_url: 'http://127.0.0.1:%d', bot_token: '%s', chat_id: "
            "-7}]\n"
            "  mattermost_configs: [{webhook_url: 'http://127.0.0.1:%d/hooks/%s'}]\n"
            "  dashboard_configs: [{}]\n"
            "  wechat_configs: [{api_url: 'http://127.0.0.1:%d/cgi-bin', corp_id: '%s', "
            "api_secret: 'secret/of %s', agent_id: 7, to_user: 'ann|gone1'}]\n"
            "  twilio_sms_configs: [{api_url: 'http://127.0.0.1:%d', account_sid: AC1, "
            "auth_token: token of AC1, from: '+15005550006', to: '+4930123456'}]\n"
            "  twilio_voice_configs: [{api_url: 'http://127.0.0.1:%d', account_sid: AC1, "
            "auth_token: token of AC1, from: '+15005550006', to: '+4930123456'}]\n"
            "  aliyun_sms_configs: [{api_url: 'http://127.0.0.1:%d/aliyun', access_key_id: K, "
            "access_key_secret: secret of K, sign_name: S, template_code: SMS_1, to: "
            "['13800000000']}]\n"
            "  msteamsv2_configs: [{webhook_url: 'http://127.0.0.1:%d/workflows/%s/triggers/"
            "manual/paths/invoke?api-version=1&sp=x&sv=1&sig=s'}]\n",
            fakes.smtp_port, name, name, fakes.port, name, fakes.port, name, fakes.port, name, more,
            fakes.port, name, fakes.port, name, fakes.port, name, fakes.port, name, name,
            fakes.port, fakes.port, fakes.port, fakes.port, name));

    w->name = name;
    return w;
}

/* Uuids of a test's own: md5 of its name and theirs. */
#define ID "md5('%s.%s')::uuid"

static void add_incident(struct worker *w, const char *id, const char *title)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
       "alert_name, service, namespace, environment,"
       " error_type, opened_at, updated_at, window_start, last_seen, occurrences, alerts_firing, "
       "alerts_total)"
       " VALUES ('t', " ID ", decode(md5('%s.%s'), 'hex'), 1, 4, '%s', 'sentry', 'E', 'shop', '', "
       "'prod', '', 1767323045000,"
       " 1767323045000, 1767323045000, 1767323045000, 1, 1, 1)",
       w->name, id, w->name, id, title);
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, "
       "annotations, title, description, link, source, starts_at, first_seen, last_seen) "
       "SELECT 't', hashtextextended(id::text, 0), anomaly_key, id, 1, 4, '{\"alertname\":\"E\"}', "
       "'{}', "
       "title, '', '', 'sentry', 1767323045000, 0, 0 FROM incidents WHERE id = " ID,
       w->name, id);
}

static void add_group(struct worker *w, const char *id, const char *told)
{
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told)"
       " VALUES ('t', " ID ", 1, '%s', 'r', '{\"service\":\"shop\"}', '{}', 0, '%s')",
       w->name, id, w->name, told);
}

struct row {
    const char *id, *group, *incident, *kind, *status;
    int integration, seq, severity;
    const char *items;
};

static void add_row(struct worker *w, const struct row *r)
{
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about,"
       " created_at) VALUES ('t', " ID ", " ID ", '%s', %d, '%s', %d, '%s', %d, %s,"
       " '{\"reason\":\"%s\",\"group_key\":\"k\",\"group_labels\":{},\"items\":%s,"
       "\"state\":{\"seq\":%d,\"status\":\"%s\",\"at\":1767323045000,\"%s\":[\"00000000000000a1\"]}"
       "}',"
       " (extract(epoch FROM now()) * 1000)::bigint)",
       w->name, r->id, w->name, r->group, w->name, r->integration,
       w->outlets->v[r->integration].channel->name, r->seq, r->kind, r->severity ? r->severity : 4,
       r->incident ? sql(ID, w->name, r->incident) : "NULL", r->kind, r->items ? r->items : "[]",
       r->seq, r->status, strcmp(r->status, "firing") == 0 ? "alerts" : "resolved_alerts");
}

static const char *state_of(struct worker *w, const char *id)
{
    return sql("SELECT state FROM notifications WHERE id = " ID, w->name, id);
}

static void delivers_on_every_channel_and_writes_it_down(void **state)
{
    char id[4][8];

    (void)state;
    struct worker *w = open_worker("every", "");
    add_incident(w, "i", "Checkout <fails> every");
    add_group(w, "g", "{\"0\":{\"last\":{\"seq\":1}}}");
    for (int i = EMAIL; i <= WECOM; i++) {
        (void)snprintf(id[i], sizeof(id[i]), "n%d", i);
        add_row(w, &(struct row){id[i], "g", "i", "opened", "firing", .integration = i, .seq = 1});
    }
    start(w);
    for (int i = EMAIL; i <= WECOM; i++)
        until("delivered", state_of(w, id[i]));
    assert_int_equal(fakes_count(&fakes, "slack", "Checkout <fails> every"), 1);
    assert_int_equal(fakes_count(&fakes, "wecom", "Checkout <fails> every"),
                     0); /* shown as an entity */
    assert_int_equal(fakes_count(&fakes, "wecom", "fails&gt; every"), 1);
    assert_int_equal(fakes_count(&fakes, "webhook", "Checkout <fails> every"), 1);
    assert_int_equal(fakes_count(&fakes, "email", "Checkout <fails> every"), 1);
    for (int i = EMAIL; i <= WECOM; i++)
        assert_int_equal(
            INT("SELECT (told #> '{%d,delivered,seq}')::bigint FROM groups WHERE id = " ID, i,
                w->name, "g"),
            1);
    assert_string_equal(
        TEXT("SELECT string_agg(destination, ' ' ORDER BY integration) FROM notifications WHERE "
             "receiver = '%s'",
             w->name),
        sql("every@example.com 127.0.0.1:%d/services/T0/B0/… 127.0.0.1:%d 127.0.0.1:%d", fakes.port,
            fakes.port, fakes.port));
    assert_int_equal(
        INT("SELECT count(*) FROM timeline WHERE kind = 'notification' AND incident_id = " ID,
            w->name, "i"),
        4);
    assert_int_equal(
        INT("SELECT count(*) FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
            " WHERE n.receiver = '%s' AND d.outcome = 'delivered' AND d.attempt = 1",
            w->name),
        4);
    assert_int_equal(
        INT("SELECT count(*) FROM notifications WHERE receiver = '%s' AND possible_duplicate",
            w->name),
        0);
    close_worker(w);
}

static void what_is_for_the_page_alone_is_delivered_by_its_row(void **state)
{

    (void)state;
    struct worker *w = open_worker("page", "");
    add_incident(w, "i", "page");
    add_group(w, "g", "{\"7\":{\"last\":{\"seq\":1}}}");
    add_row(w,
            &(struct row){"n", "g", "i", "opened", "firing", .integration = DASHBOARD, .seq = 1});
    start(w);
    until("delivered", state_of(w, "n"));
    assert_string_equal(
        TEXT("SELECT concat_ws('|', n.destination, d.outcome, d.attempt, d.answer) FROM "
             "deliveries d JOIN notifications n ON n.id = d.notification_id WHERE n.id = " ID,
             w->name, "n"),
        "the page|delivered|1|it is on the page");
    assert_int_equal(INT("SELECT (told #> '{7,delivered,seq}')::bigint FROM groups WHERE id = " ID,
                         w->name, "g"),
                     1);
    close_worker(w);
}

static void an_error_in_the_body_is_a_failure_and_arms_the_group_again(void **state)
{

    (void)state;
    struct worker *w = open_worker("refused", "");
    add_incident(w, "i", "refused");
    add_group(w, "g", "{\"3\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1}}}");
    add_row(w, &(struct row){"n", "g", "i", "crossing", "firing", .integration = WECOM, .seq = 2});
    fakes_order(&fakes,
                "{\"channel\":\"wecom\",\"key\":\"refused\",\"answers\":[\"200body:93000\"]}");
    start(w);
    until("failed", state_of(w, "n"));
    assert_non_null(strstr(
        TEXT("SELECT answer FROM deliveries WHERE notification_id = " ID, w->name, "n"), "93000"));
    assert_int_equal(
        INT("SELECT (told #> '{3,last,seq}')::bigint FROM groups WHERE id = " ID, w->name, "g"), 1);
    assert_int_equal(
        INT("SELECT count(*) FROM timers WHERE kind = 1 AND subject = decode(md5('%s.g'), 'hex')",
            w->name),
        1);
    close_worker(w);
}

static void tries_again_and_counts_each_attempt(void **state)
{

    (void)state;
    struct worker *w = open_worker("again", "");
    add_incident(w, "i", "again");
    add_group(w, "g", "{}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = WEBHOOK, .seq = 1});
    fakes_order(&fakes,
                "{\"channel\":\"webhook\",\"key\":\"/again\",\"answers\":[\"500\",\"503\"]}");
    start(w);
    until("delivered", state_of(w, "n"));
    assert_int_equal(INT("SELECT attempts FROM notifications WHERE id = " ID, w->name, "n"), 3);
    assert_string_equal(
        TEXT("SELECT string_agg(attempt || outcome || status, ' ' ORDER BY attempt) FROM deliveries"
             " WHERE notification_id = " ID,
             w->name, "n"),
        "1retry500 2retry503 3delivered200");
    close_worker(w);
}

static void an_answer_that_never_came_marks_a_possible_duplicate(void **state)
{

    (void)state;
    struct worker *w = open_worker("lost", "");
    add_incident(w, "i", "lost");
    add_group(w, "g", "{}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = WEBHOOK, .seq = 1});
    add_row(w, &(struct row){"m", "g", "i", "opened", "firing", .integration = EMAIL, .seq = 1});
    fakes_order(&fakes, "{\"channel\":\"webhook\",\"key\":\"/lost\",\"answers\":[\"lost\"]}");
    fakes_order(&fakes,
                "{\"channel\":\"email\",\"key\":\"lost@example.com\",\"answers\":[\"451\"]}");
    start(w);
    until("delivered", state_of(w, "n"));
    until("delivered", state_of(w, "m"));
    assert_int_equal(
        INT("SELECT possible_duplicate FROM notifications WHERE id = " ID, w->name, "n"), 1);
    /* A refusal is an answer. */
    assert_int_equal(
        INT("SELECT possible_duplicate FROM notifications WHERE id = " ID, w->name, "m"), 0);
    close_worker(w);
}

/* On a kept connection curl would send the message a second time by itself, and say nothing. */
static void a_lost_answer_on_a_kept_connection_marks_it_too(void **state)
{

    (void)state;
    struct worker *w = open_worker("kept", "");
    add_incident(w, "i", "opens it");
    add_incident(w, "j", "comes twice");
    add_group(w, "g", "{}");
    add_group(w, "h", "{}");
    add_row(w, &(struct row){"m", "g", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    start(w);
    until("delivered", state_of(w, "m"));
    fakes_order(&fakes, "{\"channel\":\"slack\",\"key\":\"kept\",\"answers\":[\"lost\"]}");
    add_row(w, &(struct row){"n", "h", "j", "opened", "firing", .integration = SLACK, .seq = 1});
    until("delivered", state_of(w, "n"));
    assert_int_equal(fakes_count(&fakes, "slack", "comes twice"), 2);
    assert_int_equal(
        INT("SELECT possible_duplicate FROM notifications WHERE id = " ID, w->name, "n"), 1);
    assert_int_equal(INT("SELECT attempts FROM notifications WHERE id = " ID, w->name, "n"), 2);
    close_worker(w);
}

/* A row is left to its wake-up only by who would hear it. */
static void nothing_waits_for_a_wake_up_that_nobody_hears(void **state)
{
    struct uuid id;

    (void)state;
    struct worker *w = open_worker("deaf", "");
    w->settings.notifier.sweep_age = MS_HOUR;
    add_incident(w, "i", "deaf");
    for (size_t i = 0; i < 4; i++)
        add_group(w, ((const char *const[]){"g", "h", "k", "l"})[i], "{}");
    start(w);
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    until("delivered", state_of(w, "n"));
    desk_hears(w->desk, true);
    add_row(w, &(struct row){"m", "h", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    assert_true(uuid_parse(slice_of(TEXT("SELECT " ID "::text", w->name, "m")), &id));
    desk_wake(w->desk, SLICE_LIT("t"), &id);
    until("delivered", state_of(w, "m"));
    /* Put back, it has none to come. */
    fakes_order(&fakes, "{\"channel\":\"slack\",\"key\":\"deaf\",\"answers\":[\"500\"]}");
    add_row(w, &(struct row){"p", "l", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    assert_true(uuid_parse(slice_of(TEXT("SELECT " ID "::text", w->name, "p")), &id));
    desk_wake(w->desk, SLICE_LIT("t"), &id);
    until("delivered", state_of(w, "p"));
    desk_hears(w->desk, false);
    add_row(w, &(struct row){"o", "k", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    until("delivered", state_of(w, "o"));
    close_worker(w);
}

/* `groups` of them, each with `rows` messages to the webhook, one newer than the other. */
static void add_backlog(const char *name, int groups, int rows)
{
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told) "
       "SELECT 't', md5('%s.g' || g)::uuid, 1, '%s', 'r', '{}', '{}', 0, '{}' "
       "FROM generate_series(1, %d) g",
       name, name, groups);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, "
       "severity, incident_id, about, created_at) "
       "SELECT 't', md5('%s.n' || g || '.' || s)::uuid, md5('%s.g' || g)::uuid, '%s', %d, "
       "'webhook', "
       "s, 'opened', 4, " ID ", jsonb_build_object('reason', 'opened', 'group_key', 'k', "
       "'group_labels', '{}'::jsonb, 'state', jsonb_build_object('seq', s, 'status', 'firing', "
       "'at', "
       "1767323045000, 'alerts', '[]'::jsonb)), (extract(epoch FROM now()) * 1000)::bigint "
       "FROM generate_series(1, %d) g, generate_series(1, %d) s",
       name, name, name, WEBHOOK, name, "i", groups, rows);
}

static void wake_ups_beyond_the_room_put_nothing_back(void **state)
{

    (void)state;
    struct worker *w = open_worker("crowd", "");
    w->settings.notifier.sweep_age = MS_HOUR;
    add_incident(w, "i", "crowd");
    start(w);
    desk_hears(w->desk, true);
    add_backlog(w->name, 40, 1);
    for (int g = 1; g <= 40; g++) {
        struct uuid id;
        assert_true(uuid_parse(slice_of(TEXT("SELECT md5('crowd.n%d.1')::uuid::text", g)), &id));
        desk_wake(w->desk, SLICE_LIT("t"), &id);
    }
    until("40", "SELECT count(*)::text FROM notifications WHERE receiver = 'crowd' AND state = "
                "'delivered' AND attempts = 1 AND not_before = 0");
    close_worker(w);
}

static void a_backlog_ends_whole_whatever_comes_before_it(void **state)
{

    (void)state;
    struct worker *w = open_worker("backlog", "");
    w->settings.notifier.sweep_interval = MS_SECOND;
    add_incident(w, "i", "backlog");
    add_backlog(w->name, 24, 3);
    start(w);
    until("t",
          "SELECT (count(*) > 2)::text::char FROM notifications WHERE receiver = 'backlog' AND "
          "state = 'delivered'");
    add_group(w, "late", "{}");
    add_row(w, &(struct row){"late", "late", "i", "opened", "firing", .integration = WEBHOOK,
                             .seq = 1});
    DO("UPDATE notifications SET created_at = 1000 WHERE id = " ID, w->name, "late");
    until("delivered", state_of(w, "late"));
    until("delivered 25, superseded 48",
          "SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, count(*) "
          "AS n FROM notifications WHERE receiver = 'backlog' GROUP BY 1) x");
    close_worker(w);
}

static long long read_by_index(void)
{
    DO("SELECT pg_stat_force_next_flush()");
    return INT("SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = "
               "'notifications' AND schemaname = '" SCHEMA_NAME "'");
}

/* The planner has seen a table in which hardly anything waits; then a storm waits elsewhere. */
static void a_claim_reads_nothing_of_what_waits_elsewhere(void **state)
{
    const int rows = 60, most = 100; /* of a message: claims, checks and ends */

    (void)state;
    struct worker *w = open_worker("few", "");
    add_incident(w, "i", "few");
    add_backlog("storm", 4000, 1);
    DO("UPDATE notifications SET state = 'delivered' WHERE receiver = 'storm'");
    DO("ANALYZE notifications");
    DO("UPDATE notifications SET state = 'pending', not_before = 4000000000000000 WHERE receiver = "
       "'storm'");
    const long long before = read_by_index();
    add_backlog(w->name, rows, 1);
    start(w);
    until("60", "SELECT count(*)::text FROM notifications WHERE receiver || '' = 'few' AND "
                "state || '' = 'delivered'");
    close_worker(w); /* it tells what it read */
    const long long read = read_by_index() - before;
    if (read > (long long)rows * most)
        fail_msg("%d messages read %lld rows", rows, read);
    DO("DELETE FROM notifications WHERE receiver = 'storm'");
}

static void a_dead_workers_row_is_claimed_when_its_lease_ends(void **state)
{

    (void)state;
    struct worker *w = open_worker("lease", "");
    add_incident(w, "i", "lease");
    add_group(w, "g", "{}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    DO("UPDATE notifications SET state = 'sending', lease_by = 'dead', lease_until = 1 WHERE id "
       "= " ID,
       w->name, "n");
    start(w);
    until("delivered", state_of(w, "n"));
    assert_int_equal(
        INT("SELECT possible_duplicate FROM notifications WHERE id = " ID, w->name, "n"), 1);
    close_worker(w);
}

/* The newest goes, tells what the older one could not, and then ends it. */
static void a_resolve_after_an_undelivered_firing_says_both(void **state)
{

    (void)state;
    struct worker *w = open_worker("both", "");
    add_incident(w, "i", "both ends");
    add_group(w, "g", "{}");
    add_row(w, &(struct row){"old", "g", "i", "opened", "firing", .integration = WECOM, .seq = 1});
    add_row(w,
            &(struct row){"new", "g", "i", "resolved", "resolved", .integration = WECOM, .seq = 2});
    DO("UPDATE incidents SET status = 4, resolved_by = 1, resolved_at = 1767323105000 WHERE id "
       "= " ID,
       w->name, "i");
    start(w);
    until("delivered", state_of(w, "new"));
    until("superseded", state_of(w, "old"));
    assert_string_equal(TEXT("SELECT concat_ws(' ', destination, superseded_by = " ID
                             ") FROM notifications WHERE id = " ID,
                             w->name, "new", w->name, "old"),
                        sql("127.0.0.1:%d t", fakes.port));
    assert_int_equal(fakes_count(&fakes, "wecom", "both ends"), 1);
    assert_int_equal(fakes_count(&fakes, "wecom", "起告警，期间已恢复"), 1);
    close_worker(w);
}

static void an_older_message_never_follows_a_delivered_newer_one(void **state)
{

    (void)state;
    struct worker *w = open_worker("older", "");
    add_incident(w, "i", "older");
    add_group(w, "g",
              "{\"1\":{\"last\":{\"seq\":9},\"delivered\":{\"seq\":9,\"status\":\"firing\"}}}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = SLACK, .seq = 4});
    add_row(w,
            &(struct row){"m", "g", "i", "resolved", "resolved", .integration = SLACK, .seq = 9});
    DO("UPDATE notifications SET state = 'delivered' WHERE id = " ID, w->name, "m");
    start(w);
    until("superseded", state_of(w, "n"));
    assert_int_equal(fakes_count(&fakes, "slack", "older"), 0);
    assert_int_equal(INT("SELECT superseded_by = " ID " FROM notifications WHERE id = " ID, w->name,
                         "m", w->name, "n"),
                     1);
    close_worker(w);
}

static void an_end_that_nobody_wants_is_suppressed(void **state)
{

    (void)state;
    struct worker *w = open_worker("unwanted", "");
    add_incident(w, "i", "unwanted");
    add_group(w, "g", "{}");
    add_row(w,
            &(struct row){"n", "g", "i", "resolved", "resolved", .integration = SLACK, .seq = 1});
    start(w);
    until("suppressed", state_of(w, "n"));
    assert_string_equal(TEXT("SELECT reason FROM notifications WHERE id = " ID, w->name, "n"),
                        "send_resolved is false");
    assert_int_equal(fakes_count(&fakes, "slack", "unwanted"), 0);
    close_worker(w);
}

/* Made after the flush; the silence of another tenant or job keeps nothing. */
static void what_is_silenced_meanwhile_is_not_sent(void **state)
{
    (void)state;
    struct worker *w = open_worker("hushed", "");
    silence("hushed");
    add_incident(w, "i", "hushed");
    add_incident(w, "o", "hushed other");
    DO("UPDATE alerts SET labels = '{\"job\": \"hushed\"}' WHERE incident_id = " ID, w->name, "i");
    DO("UPDATE alerts SET labels = '{\"job\": \"loud\"}' WHERE incident_id = " ID, w->name, "o");
    add_group(w, "g", "{\"1\":{\"last\":{\"seq\":4}}}");
    add_group(w, "h", "{}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = SLACK, .seq = 4});
    add_row(w, &(struct row){"m", "h", "o", "opened", "firing", .integration = SLACK, .seq = 1});
    start(w);
    until("suppressed", state_of(w, "n"));
    until("delivered", state_of(w, "m"));
    assert_int_equal(fakes_count(&fakes, "slack", "hushed"), 1);
    assert_non_null(strstr(TEXT("SELECT reason FROM notifications WHERE id = " ID, w->name, "n"),
                           "of ann until 2"));
    /* the group does not think that it was told, and is known to who ends the silence */
    assert_string_equal(TEXT("SELECT concat_ws('|', told->'1'->'last', "
                             "told->'1'->'withheld'->>'seq') FROM groups WHERE id = " ID,
                             w->name, "g"),
                        "4");
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups WHERE group_id = " ID, w->name, "g"),
                     1);
    assert_int_equal(INT("SELECT count(*) FROM timers, silences WHERE due_at = ends_at AND "
                         "subject = uuid_send(" ID ")",
                         w->name, "g"),
                     1);
    schema_do(&db, "TRUNCATE silences, silenced_groups");
    close_worker(w);
}

/* Twelve incidents, a rate of two at once: the others are told in digests, and share their end. */
static void a_storm_becomes_a_digest_and_nothing_is_lost(void **state)
{
    char id[16];

    (void)state;
    struct worker *w = open_worker("storm", ", max_per_minute: 60, burst: 2");
    for (int i = 0; i < 12; i++) {
        (void)snprintf(id, sizeof(id), "s%d", i);
        add_incident(w, id, sql("storm number %02d", i));
        add_group(w, id, "{}");
        add_row(w, &(struct row){id, id, id, "opened", "firing", .integration = WECOM, .seq = 1,
                                 .severity = 2 + i % 3});
    }
    start(w);
    until("0", "SELECT count(*)::text FROM notifications WHERE receiver = 'storm' AND state IN "
               "('pending', 'sending')");
    assert_int_equal(
        INT("SELECT count(*) FROM notifications WHERE receiver = '%s' AND state = 'merged'",
            w->name),
        10);
    assert_int_equal(
        INT("SELECT count(*) FROM notifications n JOIN notifications m ON m.id = n.merged_into"
            " WHERE n.receiver = '%s' AND m.kind = 'merge' AND m.state = 'delivered'",
            w->name),
        10);
    assert_int_equal(INT("SELECT count(*) FROM groups WHERE receiver = '%s' AND (told #> "
                         "'{3,delivered,seq}')::bigint = 1",
                         w->name),
                     12);
    for (int i = 0; i < 12; i++)
        assert_int_equal(fakes_count(&fakes, "wecom", sql("storm number %02d", i)), 1);
    close_worker(w);
}

/* Thirty long titles do not fit into one message of 4096 bytes: it goes on in another. */
static void a_digest_that_is_too_long_goes_on_in_another_message(void **state)
{
    char id[16];
    const char *title = "a long title of an incident whose words go on and on until nobody wants "
                        "to read them any more, and then some";

    (void)state;
    struct worker *w = open_worker("long", ", max_per_minute: 60, burst: 1");
    for (int i = 0; i < 45; i++) {
        (void)snprintf(id, sizeof(id), "l%d", i);
        add_incident(w, id, sql("long %02d %s", i, title));
        add_group(w, id, "{}");
        add_row(w, &(struct row){id, id, id, "opened", "firing", .integration = WECOM, .seq = 1});
    }
    start(w);
    until("0", "SELECT count(*)::text FROM notifications WHERE receiver = 'long' AND state IN "
               "('pending', 'sending')");
    assert_true(INT("SELECT count(*) FROM notifications WHERE receiver = '%s' AND kind = "
                    "'merge' AND state = 'delivered'",
                    w->name) >= 2);
    for (int i = 0; i < 45; i++)
        assert_int_equal(fakes_count(&fakes, "wecom", sql("long %02d ", i)), 1);
    close_worker(w);
}

static void a_failed_digest_gives_its_items_back_to_its_integration(void **state)
{

    (void)state;
    struct worker *w = open_worker("items", "");
    add_incident(w, "i", "items");
    add_group(w, "g", "{}");
    DO("INSERT INTO digest_items SELECT 't', " ID ", " ID ", 2, 50, 60, i FROM unnest(ARRAY[-1, "
       "%d]) i",
       w->name, "g", w->name, "i", (int)SLACK);
    const char *incident = TEXT("SELECT (" ID ")::text", w->name, "i");
    add_row(w, &(struct row){
                   "n", "g", NULL, "digest", "firing", .integration = SLACK, .seq = 1,
                   .items = sql(
                       "[{\"incident\":\"%s\",\"occurrences\":5,\"first_at\":10,\"last_at\":40}]",
                       incident)});
    fakes_order(&fakes, "{\"channel\":\"slack\",\"key\":\"items\",\"answers\":[\"404\"]}");
    start(w);
    until("failed", state_of(w, "n"));
    assert_string_equal(TEXT("SELECT string_agg(concat_ws(' ', integration, occurrences, first_at, "
                             "last_at), ', ' ORDER BY integration) FROM digest_items WHERE "
                             "group_id = " ID,
                             w->name, "g"),
                        sql("-1 2 50 60, %d 7 10 60", (int)SLACK));
    close_worker(w);
}

static void a_destination_that_hangs_delays_no_other(void **state)
{
    char id[16];

    (void)state;
    struct worker *w = open_worker("hangs", "");
    w->settings.notifier.request_timeout = 2 * MS_SECOND;
    add_incident(w, "i", "hangs");
    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof(id), "h%d", i);
        add_group(w, id, "{}");
        add_row(w,
                &(struct row){id, id, "i", "opened", "firing", .integration = WEBHOOK, .seq = 1});
    }
    fakes_order(&fakes, "{\"channel\":\"webhook\",\"key\":\"/hangs\",\"answers\":[\"hang*\"]}");
    start(w);
    add_group(w, "g", "{}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = SLACK, .seq = 1});
    until("delivered", state_of(w, "n"));
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = '%s' AND "
                         "integration = 2 AND state IN"
                         " ('pending', 'sending')",
                         w->name),
                     20);
    char *reset = fakes_ask(&fakes, "/_reset", "{}");
    free(reset);
    until("0", "SELECT count(*)::text FROM notifications WHERE receiver = 'hangs' AND state <> "
               "'delivered'");
    close_worker(w);
}

static void two_workers_send_each_message_once(void **state)
{
    char id[16];

    (void)state;
    struct worker *w = open_worker("pair", "");
    struct worker *second = open_worker("pair", "");
    add_incident(w, "i", "pair");
    for (int i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof(id), "p%d", i);
        add_group(w, id, "{}");
        add_row(w,
                &(struct row){id, id, "i", "opened", "firing", .integration = WEBHOOK, .seq = 1});
    }
    start(w);
    start(second);
    until(
        "100",
        "SELECT count(*)::text FROM notifications WHERE receiver = 'pair' AND state = 'delivered'");
    assert_int_equal(fakes_count(&fakes, "webhook", "\"receiver\":\"pair\""), 100);
    assert_int_equal(INT("SELECT max(attempts) FROM notifications WHERE receiver = '%s'", w->name),
                     1);
    close_worker(w);
    close_worker(second);
}

/* Mattermost has a header of its own for what others say by Retry-After. */
static void waits_as_the_vendors_own_header_says(void **state)
{

    (void)state;
    struct worker *w = open_worker("patient", "");
    add_incident(w, "i", "patient");
    add_group(w, "g", "{\"6\":{\"last\":{\"seq\":1}}}");
    add_row(w,
            &(struct row){"n", "g", "i", "opened", "firing", .integration = MATTERMOST, .seq = 1});
    fakes_order(&fakes,
                "{\"channel\":\"mattermost\",\"key\":\"patient\",\"answers\":[\"429:3600\"]}");
    start(w);
    until("true", sql("SELECT (state = 'pending' AND not_before > created_at + 3000000)::text FROM "
                      "notifications WHERE id = " ID,
                      w->name, "n"));
    close_worker(w);
}

/* A token is asked for once, serves the messages after, and is renewed when it is taken back. */
static void a_token_serves_until_it_is_taken_back(void **state)
{
    static const char *const names[] = {"first", "next", "renewed"};

    (void)state;
    struct worker *w = open_worker("tokens", "");
    start(w);
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            fakes_order(
                &fakes,
                "{\"channel\":\"wecom_app\",\"key\":\"tokens\",\"answers\":[\"200body:42001\"]}");
        add_incident(w, names[i], names[i]);
        add_group(w, names[i], "{}");
        add_row(w, &(struct row){names[i], names[i], names[i], "opened", "firing",
                                 .integration = WECOM_APP, .seq = 1});
        until("delivered", state_of(w, names[i]));
        assert_int_equal(fakes_count(&fakes, "wecom_app", "token for tokens"), i == 2 ? 2 : 1);
        assert_string_equal(
            TEXT("SELECT attempts::text || ' ' || reason FROM notifications WHERE id = " ID,
                 w->name, names[i]),
            "1 refused for gone1");
    }
    close_worker(w);
}

/* Forms, signatures and cards, over the wire. */
static void telephones_and_teams_are_told(void **state)
{
    static const int integrations[] = {SMS, CALL, ALIYUN, TEAMS};
    static const char *const names[] = {"twilio_sms", "twilio_voice", "aliyun_sms", "teams"};

    (void)state;
    struct worker *w = open_worker("phones", "");
    add_incident(w, "i", "Disk of phones");
    for (int i = 0; i < 4; i++) {
        add_group(w, names[i], "{}");
        add_row(w, &(struct row){names[i], names[i], "i", "opened", "firing",
                                 .integration = integrations[i], .seq = 1});
    }
    start(w);
    for (int i = 0; i < 4; i++) {
        until("delivered", state_of(w, names[i]));
        assert_int_equal(fakes_count(&fakes, names[i], "Disk of phones"), 1);
    }
    close_worker(w);
}

/* The vendor wants no further try, and gets none from this process. */
static void a_channel_that_is_gone_is_not_asked_again(void **state)
{

    (void)state;
    struct worker *w = open_worker("gone", "");
    add_incident(w, "i", "gone");
    add_group(w, "g", "{\"4\":{\"last\":{\"seq\":1}}}");
    add_row(w, &(struct row){"a", "g", "i", "opened", "firing", .integration = DISCORD, .seq = 1});
    fakes_order(&fakes, "{\"channel\":\"discord\",\"key\":\"gone\",\"answers\":[\"404\"]}");
    start(w);
    until("failed", state_of(w, "a"));
    add_row(w,
            &(struct row){"b", "g", "i", "crossing", "firing", .integration = DISCORD, .seq = 2});
    until("failed", state_of(w, "b"));
    assert_int_equal(fakes_count(&fakes, "discord", "gone"), 1);
    assert_non_null(strstr(TEXT("SELECT reason FROM notifications WHERE id = " ID, w->name, "b"),
                           "Unknown Webhook"));
    close_worker(w);
}

/* Later news edits the first message; what must ring follows it, and the end does not ring. */
static void one_message_tells_an_incident(void **state)
{

    (void)state;
    struct worker *w = open_worker("edited", "");
    add_incident(w, "i", "edited once");
    add_group(w, "g", "{\"5\":{\"last\":{\"seq\":1}}}");
    add_row(w, &(struct row){"a", "g", "i", "opened", "firing", .integration = TELEGRAM, .seq = 1});
    start(w);
    until("delivered", state_of(w, "a"));
    add_row(w, &(struct row){"b", "g", "i", "repeat", "firing", .integration = TELEGRAM, .seq = 2});
    until("delivered", state_of(w, "b"));
    add_row(
        w, &(struct row){"c", "g", "i", "resolved", "resolved", .integration = TELEGRAM, .seq = 3});
    until("delivered", state_of(w, "c"));
    json_t *seen = fakes_seen(&fakes, "telegram", "edited once");
    static const char *const methods[] = {"sendMessage", "editMessageText", "sendMessage",
                                          "editMessageText"};
    assert_int_equal(json_array_size(seen), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *one = json_array_get(seen, i);
        const char *raw = json_string_value(json_object_get(one, "raw"));
        assert_true(json_is_true(json_object_get(one, "accepted")));
        assert_non_null(strstr(json_string_value(json_object_get(one, "endpoint")), methods[i]));
        assert_int_equal(strstr(raw, "reply_parameters") != NULL, i == 2);
    }
    json_decref(seen);
    close_worker(w);
}

static void a_private_address_is_refused_unless_it_is_opened(void **state)
{

    (void)state;
    struct worker *w = open_worker("private", "");
    w->settings.limits.allow_private_addresses.n = 0;
    add_incident(w, "i", "private");
    add_group(w, "g", "{}");
    add_row(w, &(struct row){"n", "g", "i", "opened", "firing", .integration = WEBHOOK, .seq = 1});
    start(w);
    until("failed", state_of(w, "n"));
    assert_non_null(
        strstr(TEXT("SELECT answer FROM deliveries WHERE notification_id = " ID, w->name, "n"),
               "private"));
    assert_int_equal(fakes_count(&fakes, "webhook", "\"receiver\":\"private\""), 0);
    close_worker(w);
}

/* With the alert that every row lists. */
static int set_up_with_alert(void **state)
{
    (void)set_up(state);
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, status, severity, labels, "
       "annotations, title,"
       " description, link, source, starts_at, first_seen, last_seen) VALUES ('t', 161, '', 1, 4,"
       " '{\"alertname\":\"E\"}', '{}', 'E', '', '', 'sentry', 1767323045000, 0, 0)");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_on_every_channel_and_writes_it_down),
        cmocka_unit_test(what_is_for_the_page_alone_is_delivered_by_its_row),
        cmocka_unit_test(an_error_in_the_body_is_a_failure_and_arms_the_group_again),
        cmocka_unit_test(tries_again_and_counts_each_attempt),
        cmocka_unit_test(an_answer_that_never_came_marks_a_possible_duplicate),
        cmocka_unit_test(a_lost_answer_on_a_kept_connection_marks_it_too),
        cmocka_unit_test(nothing_waits_for_a_wake_up_that_nobody_hears),
        cmocka_unit_test(wake_ups_beyond_the_room_put_nothing_back),
        cmocka_unit_test(a_backlog_ends_whole_whatever_comes_before_it),
        cmocka_unit_test(a_claim_reads_nothing_of_what_waits_elsewhere),
        cmocka_unit_test(a_dead_workers_row_is_claimed_when_its_lease_ends),
        cmocka_unit_test(a_resolve_after_an_undelivered_firing_says_both),
        cmocka_unit_test(an_older_message_never_follows_a_delivered_newer_one),
        cmocka_unit_test(an_end_that_nobody_wants_is_suppressed),
        cmocka_unit_test(what_is_silenced_meanwhile_is_not_sent),
        cmocka_unit_test(a_storm_becomes_a_digest_and_nothing_is_lost),
        cmocka_unit_test(a_digest_that_is_too_long_goes_on_in_another_message),
        cmocka_unit_test(a_failed_digest_gives_its_items_back_to_its_integration),
        cmocka_unit_test(a_destination_that_hangs_delays_no_other),
        cmocka_unit_test(two_workers_send_each_message_once),
        cmocka_unit_test(waits_as_the_vendors_own_header_says),
        cmocka_unit_test(a_token_serves_until_it_is_taken_back),
        cmocka_unit_test(telephones_and_teams_are_told),
        cmocka_unit_test(a_channel_that_is_gone_is_not_asked_again),
        cmocka_unit_test(one_message_tells_an_incident),
        cmocka_unit_test(a_private_address_is_refused_unless_it_is_opened),
    };
    return cmocka_run_group_tests(tests, set_up_with_alert, tear_down);
}
