/* The ledger over HTTP, on a real PostgreSQL. */
#include "testing.h"

#include "served.h"

#define A "018f0000-0000-7000-8000-00000000000a"
#define B "018f0000-0000-7000-8000-00000000000b"
#define ID(n) "00000000-0000-0000-0000-00000000000" n
#define T0 "1767225800000" /* 2026-01-01T00:03:20Z */

/* ---- fixtures ---- */

#define DO(...) schema_do(&db, arena_printf(db.arena, __VA_ARGS__))

/*
 * 1 delivered at the second attempt, after an answer that did not come; 2 failed; 3 merged into 7;
 * 4 superseded by 5, which is a digest of both incidents; 6 waits; 8 has no receiver any more; 9 is
 * a stranger's. The time is in seconds after T0.
 */
static const struct row {
    const char *n, *group, *at, *channel, *receiver, *kind, *state, *more;
} rows[] = {
    {"1", "1", "0", "slack", "team", "opened", "delivered",
     "about = about || '{\"rule\":\"storm\"}', destination = 'slack.com', attempts = 2, "
     "possible_duplicate = true, ended_at = " T0 " + 1000, incident_id = '" A "'"},
    {"2", "1", "1", "email", "boss", "crossing", "failed",
     "destination = 'b@example.com', attempts = 1, reason = 'no such user', ended_at = " T0
     " + 1500"},
    {"3", "2", "2", "wecom", "team", "status", "merged",
     "reason = 'the rate of the channel is used up', merged_into = '" ID("7") "', ended_at = " T0
                                                                              " + 2500"},
    {"4", "3", "3", "slack", "team", "digest", "superseded",
     "reason = 'a newer message was delivered', superseded_by = '" ID("5") "', ended_at = " T0
                                                                           " + 4500"},
    {"5", "3", "4", "slack", "team", "digest", "delivered",
     "destination = 'slack.com', ended_at = " T0 " + 4500"},
    {"6", "1", "5", "webhook", "bot", "resolved", "pending",
     "attempts = 1, reason = 'status 503', not_before = " T0 " + 60000"},
    {"7", "7", "2", "wecom", "team", "merge", "delivered",
     "destination = 'qyapi.weixin.qq.com', attempts = 1, about = '{}', ended_at = " T0 " + 3500"},
    {"8", "4", "6", "", "gone", "resolved", "suppressed",
     "reason = 'receiver gone is no longer in the configuration', ended_at = " T0 " + 6000"},
    {"9", "9", "9", "slack", "team", "opened", "failed", "tenant = 'stranger'"},
};

static const char *const speaks[][2] = {{"1", A}, {"2", A}, {"3", A}, {"4", A},
                                        {"5", A}, {"5", B}, {"6", A}, {"8", B}};

static const struct attempt {
    const char *n, *at, *attempt, *outcome, *status, *answer;
} attempts[] = {
    {"1", "900", "2", "delivered", "200", "ok"},
    {"1", "500", "1", "retry", "0", "Empty reply from server"},
    {"2", "1400", "1", "rejected", "550", "no such user"},
    {"5", "4400", "1", "delivered", "200", "ok"},
    {"6", "5400", "1", "retry", "503", "status 503"},
    {"7", "3400", "1", "delivered", "200", "{\"errcode\":0}"},
};

static int fill(void **state)
{
    (void)state;
    DO("TRUNCATE incidents, anomalies, notifications, notification_incidents, deliveries, "
       "delivery_reports;"
       "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, error_type, "
       "first_seen, last_seen) VALUES ('default', '\\x0a', 'n', 'v', '', '', 1, 1);"
       "INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) SELECT 'default', "
       "i::uuid, '\\x0a', s, 3, t, 's', 'n', 'v', '', '', '', 1, 1, 1, 1, 1, 1, 1 FROM (VALUES "
       "('" A "', 'Shop is slow', 1), ('" B "', 'Disk is full', 4)) v(i, t, s)");
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
           "kind, severity, about, state, created_at) VALUES ('default', '" ID("%s") "', '" ID(
               "%s") "', '%s', 0, '%s', %s, '%s', 3, '{\"group_labels\": {\"job\": \"api\"}}', "
                     "'%s', " T0
                     " + 1000 * %s); UPDATE notifications SET %s WHERE id = '" ID("%s") "'",
           r->n, r->group, r->receiver, r->channel, r->n, r->kind, r->state, r->at, r->more, r->n);
    for (size_t i = 0; i < sizeof speaks / sizeof *speaks; i++)
        DO("INSERT INTO notification_incidents SELECT tenant, id, '%s', created_at FROM "
           "notifications WHERE id = '" ID("%s") "'",
           speaks[i][1], speaks[i][0]);
    for (const struct attempt *a = attempts; a < attempts + sizeof attempts / sizeof *attempts; a++)
        DO("INSERT INTO deliveries VALUES ('default', '" ID("%s") "', " T0 " + %s, %s, 12, '%s', "
                                                                  "%s, '%s')",
           a->n, a->at, a->attempt, a->outcome, a->status, a->answer);
    return 0;
}

struct member {
    const char *path, *text;
};

static void assert_members(const char *where, const struct member *v, size_t n)
{
    get(where);
    assert_status(200);
    for (size_t i = 0; i < n; i++)
        if (strcmp(at(v[i].path), v[i].text) != 0)
            fail_msg("%s: %s is %s, not %s", where, v[i].path, at(v[i].path), v[i].text);
}
#define assert_row(n, ...)                                                                         \
    do {                                                                                           \
        static const struct member members[] = {__VA_ARGS__};                                      \
        assert_members("/api/v1/notifications/" ID(n), members, sizeof members / sizeof *members); \
    } while (0)

/* ---- one row ---- */

static void what_was_delivered_says_to_whom_and_with_what_answer(void **state)
{
    (void)state;
    assert_row(
        "1", {"id", "\"" ID("1") "\""}, {"incident_id", "\"" A "\""},
        {"incidents", "[{\"id\":\"" A "\",\"title\":\"Shop is slow\"}]"},
        {"group", "{\"id\":\"" ID("1") "\",\"labels\":{\"job\":\"api\"}}"}, {"rule", "\"storm\""},
        {"receiver", "\"team\""}, {"integration", "0"}, {"channel", "\"slack\""},
        {"destination", "\"slack.com\""}, {"kind", "\"opened\""}, {"sequence", "1"},
        {"severity", "\"error\""}, {"state", "\"delivered\""}, {"reason", "\"\""},
        {"possible_duplicate", "true"}, {"created_at", "\"2026-01-01T00:03:20.000Z\""},
        {"ended_at", "\"2026-01-01T00:03:21.000Z\""}, {"next_attempt_at", "null"},
        {"attempts", "2"}, {"merged_into", "null"}, {"superseded_by", "null"},
        {"told_instead", "null"},
        {"deliveries.0",
         "{\"answer\":\"Empty reply from server\",\"at\":\"2026-01-01T00:03:20.500Z\","
         "\"attempt\":1,\"duration_ms\":12,\"http_status\":0,\"outcome\":\"retry\","
         "\"report\":null}"},
        {"deliveries.1",
         "{\"answer\":\"ok\",\"at\":\"2026-01-01T00:03:20.900Z\",\"attempt\":2,"
         "\"duration_ms\":12,\"http_status\":200,\"outcome\":\"delivered\",\"report\":null}"},
        {"deliveries.2", "(absent)"});
}

static void what_failed_has_the_channels_own_words(void **state)
{
    (void)state;
    assert_row("2", {"state", "\"failed\""}, {"reason", "\"no such user\""},
               {"destination", "\"b@example.com\""}, {"deliveries.0.outcome", "\"rejected\""},
               {"deliveries.0.http_status", "550"}, {"deliveries.0.answer", "\"no such user\""});
}

static void what_the_vendor_said_later_stands_at_its_attempt(void **state)
{
    (void)state;
    DO("INSERT INTO delivery_reports VALUES ('default', '" ID(
        "1") "', 2, " T0
             " + 2000, 4, 'undelivered, error 30003', true), ('stranger', '" ID(
                 "1") "', 1, 1, 3, '', "
                      "false)");
    assert_row("1", {"deliveries.0.report", "null"},
               {"deliveries.1.report", "{\"at\":\"2026-01-01T00:03:22.000Z\",\"state\":\"lost\","
                                       "\"words\":\"undelivered, error 30003\"}"});
}

static void what_was_merged_shares_the_end_of_its_digest(void **state)
{
    (void)state;
    assert_row("3", {"state", "\"merged\""}, {"reason", "\"the rate of the channel is used up\""},
               {"deliveries", "[]"}, {"merged_into", "\"" ID("7") "\""},
               {"told_instead.id", "\"" ID("7") "\""}, {"told_instead.kind", "\"merge\""},
               {"told_instead.destination", "\"qyapi.weixin.qq.com\""},
               {"told_instead.state", "\"delivered\""},
               {"told_instead.ended_at", "\"2026-01-01T00:03:23.500Z\""},
               {"told_instead.deliveries.0.answer", "\"{\\\"errcode\\\":0}\""});
    /* and the digest says of which incidents it spoke */
    assert_row("7", {"rule", "null"}, {"kind", "\"merge\""}, {"group.labels", "{}"},
               {"incident_id", "null"},
               {"incidents", "[{\"id\":\"" A "\",\"title\":\"Shop is slow\"}]"},
               {"deliveries.0.outcome", "\"delivered\""});
}

static void what_was_superseded_names_what_took_its_place(void **state)
{
    (void)state;
    assert_row("4", {"state", "\"superseded\""}, {"superseded_by", "\"" ID("5") "\""},
               {"told_instead.id", "\"" ID("5") "\""}, {"told_instead.sequence", "5"},
               {"told_instead.kind", "\"digest\""}, {"told_instead.state", "\"delivered\""},
               {"deliveries", "[]"}, {"told_instead.deliveries.0.attempt", "1"});
    assert_row("5", {"incidents", "[{\"id\":\"" B "\",\"title\":\"Disk is full\"},{\"id\":\"" A
                                  "\",\"title\":\"Shop is slow\"}]"});
}

static void what_waits_says_why_and_until_when(void **state)
{
    (void)state;
    assert_row("6", {"state", "\"pending\""}, {"reason", "\"status 503\""}, {"attempts", "1"},
               {"next_attempt_at", "\"2026-01-01T00:04:20.000Z\""}, {"ended_at", "null"},
               {"destination", "null"});
    schema_do(&db, "UPDATE notifications SET not_before = 0");
    assert_row("6", {"next_attempt_at", "null"});
}

static void what_nobody_is_there_to_hear_is_suppressed(void **state)
{
    (void)state;
    assert_row("8", {"state", "\"suppressed\""}, {"channel", "\"\""},
               {"reason", "\"receiver gone is no longer in the configuration\""});
}

/* ---- lists ---- */

static void every_filter_does_what_it_says(void **state)
{
    static const struct {
        const char *query, *ids;
    } cases[] = {
        {"?state=delivered", "571"},
        {"?state=failed", "2"},
        {"?state=pending", "6"},
        {"?state=sending", ""},
        {"?state=suppressed", "8"},
        {"?state=superseded", "4"},
        {"?state=merged", "3"},
        {"?channel=email", "2"},
        {"?channel=wecom", "73"},
        {"?channel=slack&state=delivered", "51"},
        {"?receiver=bot", "6"},
        {"?receiver=nobody", ""},
        {"?kind=digest", "54"},
        {"?kind=merge", "7"},
        {"?kind=reopened", ""},
        {"?kind=resolved&state=pending", "6"},
        {"?incident=" B, "85"},
        {"?incident=" B "&state=delivered", "5"},
        {"?incident=" A "&channel=email", "2"},
        {"?incident=018f0000-0000-7000-8000-0000000000ff", ""},
        {"?since=2026-01-01T00:03:25Z", "86"},
        {"?until=2026-01-01T00:03:21Z", "21"},
        {"?since=2026-01-01T00:03:21Z&until=2026-01-01T00:03:21Z", "2"},
        {"?since=2026-01-01T00:03:21Z&state=failed", "2"},
        {"?since=2026-01-01T00:03:22Z&state=failed", ""},
        {"?incident=" A "&until=2026-01-01T00:03:21Z", "21"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        snprintf(path, sizeof path, "/api/v1/notifications%s", cases[i].query);
        get(path);
        assert_status(200);
        if (strcmp(listed("notifications"), cases[i].ids) != 0)
            fail_msg("%s gives \"%s\", not \"%s\"", path, listed("notifications"), cases[i].ids);
        assert_at("next_cursor", "null");
    }
}

/* All pages of a list, as one. */
static const char *all_pages(const char *query)
{
    static char seen[64];
    char path[256];

    snprintf(path, sizeof path, "%s&limit=1", query);
    for (seen[0] = '\0'; strlen(seen) < 20;) {
        get(path);
        assert_status(200);
        strcat(seen, listed("notifications"));
        if (strcmp(at("next_cursor"), "null") == 0)
            break;
        snprintf(path, sizeof path, "%s&limit=1&cursor=%.48s", query, at("next_cursor") + 1);
    }
    return seen;
}

/* 7 and 3 are of the same time; whatever index is read, pages neither skip nor repeat. */
static void pages_follow_each_other_on_every_path(void **state)
{
    (void)state;
    assert_string_equal(all_pages("/api/v1/notifications?"), "86547321");
    assert_string_equal(all_pages("/api/v1/notifications?state=delivered"), "571");
    schema_do(&db, "UPDATE notifications SET state = 'failed'");
    assert_string_equal(all_pages("/api/v1/notifications?state=failed"), "86547321");
    assert_string_equal(all_pages("/api/v1/notifications?channel=wecom"), "73");
    assert_string_equal(all_pages("/api/v1/notifications?incident=" A), "654321");
    assert_string_equal(all_pages("/api/v1/incidents/" A "/notifications?"), "654321");
}

static void an_incident_lists_every_message_that_spoke_of_it(void **state)
{
    (void)state;
    get("/api/v1/incidents/" B "/notifications");
    assert_status(200);
    assert_string_equal(listed("notifications"), "85");
    get("/api/v1/incidents/" B "/notifications?kind=digest");
    assert_string_equal(listed("notifications"), "5");
    assert_refused("/api/v1/incidents/018f0000-0000-7000-8000-0000000000ff/notifications", 404,
                   "no such incident");
    assert_refused("/api/v1/incidents/42/notifications", 404, "no such incident");
    assert_refused("/api/v1/notifications/" ID("9"), 404, "no such notification");
    assert_refused("/api/v1/notifications/42", 404, "no such notification");
}

static void an_unknown_value_is_refused_with_those_that_are_known(void **state)
{
    (void)state;
    assert_refused("/api/v1/notifications?state=sent", 400,
                   "state must be pending, sending, delivered, failed, suppressed, superseded or "
                   "merged");
    assert_refused("/api/v1/notifications?channel=pigeon", 400,
                   "channel must be aliyun_sms, dashboard, dingtalk");
    assert_refused("/api/v1/notifications?kind=", 400,
                   "kind must be opened, reopened, crossing, severity, status, resolved, repeat, "
                   "alerts, digest, silence or merge");
    assert_refused("/api/v1/notifications?incident=7", 400, "id of an incident");
    assert_refused("/api/v1/notifications?receiver=%FF", 400, "receiver must be UTF-8");
    assert_refused("/api/v1/incidents/" A "/notifications?receiver=te%C0%AFm", 400,
                   "receiver must be UTF-8");
    assert_refused("/api/v1/notifications?since=now", 400, "since must be");
    assert_refused("/api/v1/notifications?limit=0", 400, "limit must be");
    assert_refused("/api/v1/notifications?cursor=x", 400, "cursor");
    assert_refused("/api/v1/incidents/" A "/notifications?state=x", 400, "state must be");
    assert_refused("/api/v1/incidents/" A "/notifications?incident=" B, 400, "unknown parameter");
    assert_refused("/api/v1/notifications?status=failed", 400, "known are incident, state");
    assert_at("error.code", "\"bad_request\"");
}

/* Attempts are as many as the channel made of them; the newest are shown. */
static void a_message_that_never_got_through_has_an_end_too(void **state)
{
    (void)state;
    schema_do(&db,
              "INSERT INTO deliveries SELECT 'default', '" ID(
                  "6") "', " T0
                       " + 6000 + i, i, 1, 'retry', 503, 'again' FROM generate_series(2, 400) i;"
                       "UPDATE notifications SET attempts = 400 WHERE id = '" ID("6") "'");
    assert_row("6", {"attempts", "400"}, {"deliveries.0.attempt", "351"},
               {"deliveries.49.attempt", "400"}, {"deliveries.50", "(absent)"});
}

/* ---- what it costs ---- */

/* Rows that all queries so far read from end to end, and by an index. */
static void read_so_far(long long *ret_seq, long long *ret_idx)
{
    static const char sums[] = "SELECT sum(%s)::bigint FROM pg_stat_user_tables WHERE relname IN "
                               "('notifications', 'notification_incidents') OR relname LIKE "
                               "'deliveries%%'";

    /* A connection tells what it read when it ends, or is told to: ours read all when it wrote.
     * However long it takes to end: told later, it would count for the next page. */
    schema_do(&db, "SELECT pg_stat_force_next_flush()");
    while (schema_int(&db, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
                           "application_name = 'tocsin-console'") > 0)
        usleep(10000);
    *ret_seq = schema_int(&db, arena_printf(db.arena, sums, "seq_tup_read"));
    *ret_idx = schema_int(&db, arena_printf(db.arena, sums, "idx_tup_fetch"));
}

static void reads_some(void)
{
    static const char *const paths[] = {
        "/api/v1/notifications",
        "/api/v1/notifications?state=failed",
        "/api/v1/notifications?state=pending",
        "/api/v1/notifications?state=delivered",
        "/api/v1/notifications?state=merged&channel=wecom",
        "/api/v1/notifications?receiver=bot",
        "/api/v1/notifications?kind=merge&until=2026-01-01T00:03:25Z",
        "/api/v1/notifications?incident=" A,
        "/api/v1/notifications?incident=" A "&state=failed",
        "/api/v1/incidents/" A "/notifications",
        "/api/v1/incidents/" A,
        "/api/v1/notifications/" ID("3"),
    };
    const int all = 24000, most = 21000; /* SCAN_MAX, again for the edge; a page */
    long long seq, idx, seq_now, idx_now;
    read_so_far(&seq, &idx);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        get(paths[i]);
        assert_status(200);
        read_so_far(&seq_now, &idx_now);
        if (seq_now - seq >= all || idx_now - idx > most)
            fail_msg("%s reads %lld rows from end to end and %lld by an index", paths[i],
                     seq_now - seq, idx_now - idx);
        seq = seq_now;
        idx = idx_now;
    }
}

/* Many rows, few of them of interest: no list reads them all, whatever it looks for, and however
 * often it was planned before. */
static void no_list_reads_the_whole_table(void **state)
{
    (void)state;
    schema_do(&db,
              "INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, "
              "seq, kind, severity, about, state, created_at, ended_at) SELECT 'default', "
              "gen_random_uuid(), gen_random_uuid(), 'other', 0, 'webhook', i, 'opened', 2, '{}', "
              "'delivered', " T0 " + i, " T0 " + i FROM generate_series(1, 24000) i;"
              "INSERT INTO notification_incidents SELECT tenant, id, gen_random_uuid(), "
              "created_at FROM notifications WHERE receiver = 'other';"
              "INSERT INTO deliveries SELECT tenant, id, created_at, 1, 1, 'delivered', 200, 'ok' "
              "FROM notifications WHERE receiver = 'other';"
              "ANALYZE notifications; ANALYZE notification_incidents; ANALYZE deliveries");
    reads_some();
    schema_do(&db, "ALTER ROLE CURRENT_USER SET plan_cache_mode = force_generic_plan");
    reads_some();
    schema_do(&db, "ALTER ROLE CURRENT_USER RESET plan_cache_mode");
}

#define T(f) cmocka_unit_test_setup(f, fill)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_delivered_says_to_whom_and_with_what_answer),
        T(what_failed_has_the_channels_own_words),
        T(what_the_vendor_said_later_stands_at_its_attempt),
        T(what_was_merged_shares_the_end_of_its_digest),
        T(what_was_superseded_names_what_took_its_place),
        T(what_waits_says_why_and_until_when),
        T(what_nobody_is_there_to_hear_is_suppressed),
        T(every_filter_does_what_it_says),
        T(pages_follow_each_other_on_every_path),
        T(an_incident_lists_every_message_that_spoke_of_it),
        T(an_unknown_value_is_refused_with_those_that_are_known),
        T(a_message_that_never_got_through_has_an_end_too),
        T(no_list_reads_the_whole_table),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
