/* What becomes of messages that a destination does not take: fallbacks, the alert about it, and the
 * breaker. A real Postgres and the vendors' fakes. */
#include "desk_stage.h"

/* Receivers NAME, whose fallback is NAMEb, whose fallback is NAMEc; and NAMEt and NAMEu, told by
 * templates that give nothing without an incident. */
static struct worker *open_worker(const char *name, const char *notifier)
{
    return start_worker(
        sql(AT_ONCE "%s", notifier),
        sql("tenant: ours\n"
            "receivers:\n"
            "- {name: %s, fallback: %sb, webhook_configs: [{url: 'http://127.0.0.1:%d/%s'}]}\n"
            "- {name: %sb, fallback: %sc, webhook_configs: [{url: 'http://127.0.0.1:%d/%sb'}]}\n"
            "- {name: %sc, webhook_configs: [{url: 'http://127.0.0.1:%d/%sc'}, {url: "
            "'http://127.0.0.1:%d/%sd'}]}\n"
            "- {name: %st, webhook_configs: [{url: 'http://127.0.0.1:%d/%st', content_type: "
            "text/plain, "
            "body: '{{#incident}}{{title}} by a template{{/incident}}'}]}\n"
            "- {name: %su, slack_configs: [{api_url: 'http://127.0.0.1:%d/services/T0/B0/%su', "
            "template: '{{#incident}}{{title}} by a template{{/incident}}'}]}\n",
            name, name, fakes.port, name, name, name, fakes.port, name, name, fakes.port, name,
            fakes.port, name, name, fakes.port, name, name, fakes.port, name));
}

/* An incident `id` of this alert and service; its group, told `seq` - 1; and its message `seq`. */
static void add(const char *name, const char *id, const char *alert, const char *service, int seq)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES ('t', "
       "md5('%s%s')::uuid, decode(md5('%s%s'), 'hex'), 1, 4, 'title of %s', 'am', '%s', '%s', '', "
       "'', '', 0, 0, 0, 0, 1, 1, 1) ON CONFLICT DO NOTHING",
       name, id, name, id, id, alert, service);
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, incident_id, status, severity, "
       "labels, annotations, title, description, link, source, starts_at, first_seen, last_seen) "
       "SELECT 't', hashtextextended(id::text, 0), anomaly_key, id, 1, 4, '{\"alertname\":\"E\"}', "
       "'{}', title, '', '', 'am', 1, 0, 0 FROM incidents WHERE id = md5('%s%s')::uuid ON CONFLICT "
       "DO NOTHING",
       name, id);
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told) "
       "VALUES ('t', md5('%s%sg')::uuid, 1, '%s', 'r', '{}', '{}', 0, "
       "'{\"0\":{\"delivered\":{\"seq\":%d}}}') ON CONFLICT DO NOTHING",
       name, id, name, seq - 1);
    DO("UPDATE groups SET told = jsonb_set(told, '{0,last}', '{\"seq\":%d}') WHERE id = "
       "md5('%s%sg')::uuid",
       seq, name, id);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, "
       "severity, incident_id, about, created_at) VALUES ('t', md5('%s%s%d')::uuid, "
       "md5('%s%sg')::uuid, '%s', 0, 'webhook', %d, 'opened', 4, md5('%s%s')::uuid, "
       "'{\"reason\":\"opened\",\"group_key\":\"k\",\"group_labels\":{},"
       "\"state\":{\"seq\":%d,\"status\":\"firing\",\"at\":1}}',"
       " (extract(epoch FROM now()) * 1000)::bigint)",
       name, id, seq, name, id, name, seq, name, id, seq);
    DO("INSERT INTO notification_incidents SELECT tenant, id, incident_id, created_at FROM "
       "notifications WHERE id = md5('%s%s%d')::uuid",
       name, id, seq);
}

/* The same as a digest of the one incident. */
static void add_digest(const char *name, const char *id, int seq)
{
    add(name, id, "E", "shop", seq);
    DO("UPDATE notifications SET kind = 'digest', incident_id = NULL, about = about || "
       "jsonb_build_object('items', jsonb_build_array(jsonb_build_object('incident', incident_id, "
       "'occurrences', 3, 'first_at', 10, 'last_at', 40))) WHERE id = md5('%s%s%d')::uuid",
       name, id, seq);
}

/* The `seq` of what its group believes to have been told last. */
static const char *told_last(const char *name, const char *id)
{
    return TEXT("SELECT told #>> '{0,last,seq}' FROM groups WHERE id = md5('%s%sg')::uuid", name,
                id);
}

/* How often its group is to be looked at again. */
static int64_t looks(const char *name, const char *id)
{
    return INT("SELECT count(*) FROM timers WHERE subject = decode(md5('%s%sg'), 'hex')", name, id);
}

/* The occurrences that its group has to tell again. */
static const char *given_back(const char *name, const char *id)
{
    return TEXT("SELECT coalesce(string_agg(occurrences::text, ' '), '') FROM digest_items WHERE "
                "group_id = md5('%s%sg')::uuid",
                name, id);
}

static void order(const char *key, const char *answers)
{
    fakes_order(&fakes,
                arena_printf(db.arena, "{\"channel\":\"webhook\",\"key\":\"/%s\",\"answers\":[%s]}",
                             key, answers));
}

/* "RECEIVER STATE" of each row that speaks of the incident. */
static const char *ledger(const char *name, const char *id)
{
    return sql("SELECT coalesce(string_agg(substr(n.receiver, length('%s') + 1) || n.integration "
               "|| ' ' || n.state, ', ' ORDER BY n.receiver, n.integration, n.seq), '') FROM "
               "notifications n JOIN notification_incidents i ON i.tenant = n.tenant AND "
               "i.notification_id = n.id WHERE i.incident_id = md5('%s%s')::uuid",
               name, name, id);
}

static void told_to_the_fallback_and_said_once(void **state)
{
    struct worker *w = open_worker("fall", "");

    (void)state;
    order("fall", "\"404*2\"");
    add("fall", "i", "E", "shop", 1);
    until("0 failed, b0 delivered", ledger("fall", "i"));
    assert_non_null(strstr(TEXT("SELECT reason FROM notifications WHERE receiver = 'fall'"),
                           "; told to fallb instead"));
    assert_int_equal(fakes_count(&fakes, "webhook", "fall did not take this message: fault on"), 1);
    /* as if it had been told: the group is not looked at again */
    assert_string_equal(TEXT("SELECT told::text FROM groups WHERE receiver = 'fall'"),
                        "{\"0\": {\"last\": {\"seq\": 1}, \"delivered\": {\"seq\": 0}}}");
    assert_int_equal(INT("SELECT count(*) FROM timers"), 0);
    assert_string_equal(schema_text(&db, alerts_about("fall")), "firing");
    assert_string_equal(
        TEXT("SELECT concat_ws('|', headers ->> 'tenant', headers ->> 'source', v ->> 'severity', "
             "v #>> '{labels,alertname}', v #>> '{labels,service}', v ->> 'description') FROM "
             "(SELECT headers, convert_from(value, 'UTF8')::jsonb AS v FROM outbox) o"),
        sql("ours|generic|critical|TocsinReceiverFailing|fall|127.0.0.1:%d: fault on demand",
            fakes.port));
    add("fall", "i", "E", "shop", 2); /* it goes on failing */
    until("0 failed, 0 failed, b0 delivered, b0 delivered", ledger("fall", "i"));
    assert_string_equal(schema_text(&db, alerts_about("fall")), "firing");
    add("fall", "i", "E", "shop", 3); /* and takes messages again */
    until("0 failed, 0 failed, 0 delivered, b0 delivered, b0 delivered", ledger("fall", "i"));
    assert_string_equal(schema_text(&db, alerts_about("fall")), "firing resolved");
    assert_int_equal(INT("SELECT count(*) FROM failing_receivers"), 0);
    close_worker(w);
}

static void fallbacks_that_fail_end_and_the_group_is_looked_at_again(void **state)
{
    struct worker *w = open_worker("all", "");

    (void)state;
    order("all", "\"404*\"");
    order("allb", "\"404*\"");
    order("allc", "\"404*\"");
    order("alld", "\"404*\"");
    add("all", "i", "E", "shop", 2);
    until("0 failed, b0 failed, c0 failed, c1 failed", ledger("all", "i"));
    until("all allb allc allc", "SELECT string_agg(receiver, ' ' ORDER BY receiver) FROM "
                                "failing_receivers WHERE receiver LIKE 'all%'");
    /* The last of them has nobody: what was told last is what was delivered, and is said again. */
    assert_string_equal(told_last("all", "i"), "1");
    assert_int_equal(looks("all", "i"), 1);
    close_worker(w);
}

/* It goes on as if it had been told. */
static void while_one_of_a_fallback_takes_it_it_is_not_said_again(void **state)
{
    static const char *const refuses[] = {"c", "d"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *name = sql("part%d", i);
        order(name, "\"404*\"");
        order(sql("%sb", name), "\"404*\"");
        order(sql("%s%s", name, refuses[i]), "\"500*3\",\"404*\"");
        add(name, "i", "E", "shop", 2);
        add_digest(name, "digest", 2);
        struct worker *w = open_worker(name, "");
        const char *all = i ? "0 failed, b0 failed, c0 delivered, c1 failed"
                            : "0 failed, b0 failed, c0 failed, c1 delivered";
        until(all, ledger(name, "i"));
        until(all, ledger(name, "digest"));
        close_worker(w);
        assert_string_equal(told_last(name, "i"), "2");
        assert_string_equal(told_last(name, "digest"), "2");
        assert_int_equal(looks(name, "i") + looks(name, "digest"), 0);
        assert_string_equal(given_back(name, "digest"), "");
    }
}

/* In one batch or in two workers, the last one says so, and nobody else. */
static void when_none_of_a_fallback_takes_it_it_is_said_again_once(void **state)
{
    enum { MANY = 5 };
    struct worker *w[2];

    (void)state;
    order("none", "\"404*\"");
    order("noneb", "\"404*\"");
    order("nonec", "\"404*\"");
    order("noned", "\"404*\"");
    for (int i = 0; i < MANY; i++) {
        add("none", sql("i%d", i), "E", "shop", 2);
        add_digest("none", sql("digest%d", i), 2);
    }
    w[0] = open_worker("none", "");
    w[1] = open_worker("none", "");
    until(sql("%d", MANY * 8), "SELECT count(*)::text FROM notifications WHERE receiver LIKE "
                               "'none%' AND state = 'failed'");
    close_worker(w[0]);
    close_worker(w[1]);
    for (int i = 0; i < MANY; i++) {
        assert_string_equal(told_last("none", sql("i%d", i)), "1");
        assert_string_equal(told_last("none", sql("digest%d", i)), "1");
        assert_int_equal(looks("none", sql("i%d", i)), 1);
        assert_int_equal(looks("none", sql("digest%d", i)), 1);
        assert_string_equal(given_back("none", sql("digest%d", i)), "3");
    }
}

/* What NAME did not take, and how its fallback's two integrations fared with it. */
static void add_at_fallback(const char *name, const char *id, const char *first, const char *second)
{
    add(name, id, "E", "shop", 2);
    DO("UPDATE notifications SET state = 'failed' WHERE id = md5('%s%s2')::uuid", name, id);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at, state, merged_into, lease_until) SELECT "
       "n.tenant, md5(n.id::text || i)::uuid, md5('%s%sf')::uuid, '%sc', i, n.channel, n.seq, "
       "n.kind, n.severity, n.incident_id, n.about || jsonb_build_object('fallback', "
       "jsonb_build_object('of', n.receiver, 'why', 'w', 'group', n.group_id, 'integration', 0, "
       "'hops', 1, 'path', (SELECT jsonb_agg(jsonb_build_object('group', md5('%s%sf')::uuid, "
       "'integration', k)) FROM generate_series(0, 1) k))), n.created_at, s.state, CASE s.state "
       "WHEN 'merged' THEN md5('%sm')::uuid END, CASE "
       "s.state WHEN 'sending' THEN 9000000000000 END FROM notifications n, (VALUES (0, '%s'), (1, "
       "'%s')) AS s (i, state) WHERE n.id = md5('%s%s2')::uuid",
       name, id, name, name, id, name, first, second, name, id);
}

static void what_fails_in_a_merge_is_not_said_again_where_another_told_it(void **state)
{
    (void)state;
    order("mergec", "\"404*\"");
    add_at_fallback("merge", "told", "merged", "delivered");
    add_at_fallback("merge", "lost", "merged", "failed");
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, created_at) VALUES ('t', md5('mergem')::uuid, md5('mergem')::uuid, "
       "'mergec', 0, 'webhook', 0, 'merge', 4, '{}', 1)");
    struct worker *w = open_worker("merge", "");
    until("failed", "SELECT state FROM notifications WHERE id = md5('mergem')::uuid");
    close_worker(w);
    assert_string_equal(told_last("merge", "told"), "2");
    assert_int_equal(looks("merge", "told"), 0);
    assert_string_equal(told_last("merge", "lost"), "1");
    assert_int_equal(looks("merge", "lost"), 1);
}

/* Another worker is about to write that the other one failed. */
static void two_that_fail_at_the_same_time_do_not_count_on_each_other(void **state)
{
    const char *failed = "(SELECT state FROM notifications WHERE receiver = 'samec' AND "
                         "integration = 0) = 'failed'";
    struct err e = {0};

    (void)state;
    order("samec", "\"404*\"");
    add_at_fallback("same", "i", "pending", "sending");
    assert_int_equal(pg_begin(db.pg, &e), 0);
    DO("UPDATE notifications SET state = 'failed' WHERE receiver = 'samec' AND integration = 1");
    struct worker *w = open_worker("same", "");
    until("true", sql("SELECT (%s OR EXISTS (SELECT FROM pg_locks WHERE NOT granted AND "
                      "pg_backend_pid() = ANY (pg_blocking_pids(pid))))::text",
                      failed));
    assert_int_equal(pg_commit(db.pg, &e), 0);
    until("true", sql("SELECT (%s)::text", failed));
    close_worker(w);
    assert_string_equal(told_last("same", "i"), "1");
    assert_int_equal(looks("same", "i"), 1);
}

/* A receiver refuses what an outage left, the newest first. */
static void a_fallback_is_not_told_what_is_old_after_what_is_new(void **state)
{
    struct worker *w = open_worker("old", "");

    (void)state;
    order("old", "\"404*\"");
    add("old", "i", "E", "shop", 12);
    until("0 failed, b0 delivered", ledger("old", "i"));
    add("old", "i", "E", "shop", 11);
    until("0 failed, 0 failed, b0 superseded, b0 delivered", ledger("old", "i"));
    add("old", "i", "E", "shop", 13);
    until("0 failed, 0 failed, 0 failed, b0 superseded, b0 delivered, b0 delivered",
          ledger("old", "i"));
    assert_int_equal(INT("SELECT b.seq FROM notifications n JOIN notifications b ON b.id = "
                         "n.superseded_by WHERE n.receiver = 'oldb' AND n.seq = 11"),
                     12);
    close_worker(w);
}

static void a_fallback_is_told_every_digest(void **state)
{
    (void)state;
    order("each", "\"404*\"");
    add_digest("each", "i", 2);
    struct worker *w = open_worker("each", "");
    until("0 failed, b0 delivered", ledger("each", "i"));
    close_worker(w);
    add_digest("each", "i", 1);
    w = open_worker("each", "");
    until("0 failed, 0 failed, b0 delivered, b0 delivered", ledger("each", "i"));
    close_worker(w);
}

static void the_alert_about_a_receiver_passes_it_by(void **state)
{
    struct worker *w = open_worker("self", "");

    (void)state;
    order("self", "\"404*\"");
    add("self", "i", "TocsinReceiverFailing", "selfb", 1);
    until("0 failed, c0 delivered, c1 delivered", ledger("self", "i"));
    close_worker(w);
}

static void receivers_that_are_no_more_fail_no_more(void **state)
{
    (void)state;
    DO("INSERT INTO failing_receivers VALUES ('gone', 0, 'webhook', 1), ('left', 7, 'webhook', 1), "
       "('left', 0, 'webhook', 1)");
    struct worker *w = open_worker("left", "");
    until("left 0", "SELECT string_agg(receiver || ' ' || integration, ', ') FROM "
                    "failing_receivers WHERE receiver IN ('gone', 'left')");
    assert_string_equal(schema_text(&db, alerts_about("gone")), "resolved");
    assert_string_equal(schema_text(&db, alerts_about("left")), "resolved");
    close_worker(w);
}

/* What the outbox says of templates of the receiver, in order. */
static const char *alerts_of_template(const char *receiver)
{
    return sql(
        "SELECT coalesce(string_agg(concat_ws(' ', v ->> 'status', v #>> "
        "'{labels,message}', v ->> 'description'), ', ' ORDER BY id), '') FROM (SELECT id, "
        "convert_from(value, 'UTF8')::jsonb AS v FROM outbox) o WHERE v #>> "
        "'{labels,alertname}' = 'TocsinTemplateFailing' AND v #>> '{labels,receiver}' = '%s'",
        receiver);
}

#define EMPTY "firing opened it is empty; the plain message is sent"

static void a_template_that_gives_nothing_is_an_alert_until_it_gives_something(void **state)
{
    struct worker *w;

    (void)state;
    for (int i = 0; i < 3; i++)
        add("tmplt", sql("gone%d", i), "E", "shop", 1);
    add("tmplu", "gone", "E", "shop", 1);
    DO("UPDATE notifications SET channel = 'slack' WHERE receiver = 'tmplu'");
    DO("DELETE FROM incidents WHERE id IN (SELECT incident_id FROM notifications WHERE receiver IN "
       "('tmplt', 'tmplu'))");
    w = open_worker("tmpl", "");
    until("3", "SELECT count(*)::text FROM notifications WHERE receiver = 'tmplt' AND state = "
               "'delivered'");
    assert_int_equal(fakes_count(&fakes, "webhook", "by a template"), 0);
    assert_int_equal(fakes_count(&fakes, "webhook", "\"receiver\":\"tmplt\""), 3);
    until(EMPTY, alerts_of_template("tmplt"));
    until(EMPTY, alerts_of_template("tmplu"));
    until("delivered", "SELECT state FROM notifications WHERE receiver = 'tmplu'");
    DO("DELETE FROM failing_templates WHERE receiver = 'tmplu'");
    close_worker(w);
    add("tmplt", "late", "E", "shop", 1);
    DO("DELETE FROM incidents WHERE id = md5('tmpltlate')::uuid");
    w = open_worker("tmpl", "");
    until("0 delivered", ledger("tmplt", "late"));
    add("tmplt", "good", "E", "shop", 1);
    until("0 failed", ledger("tmplt", "good")); /* it takes Alertmanager's payload only */
    assert_int_equal(fakes_count(&fakes, "webhook", "title of good by a template"), 1);
    /* Once; and it failed just now: some break it, and some do not. */
    until(EMPTY, alerts_of_template("tmplt"));
    DO("UPDATE failing_templates SET failed_at = 1");
    add("tmplt", "other", "E", "shop", 1);
    until(EMPTY ", resolved opened", alerts_of_template("tmplt"));
    assert_int_equal(INT("SELECT count(*) FROM failing_templates"), 0);
    close_worker(w);
    DO("INSERT INTO failing_templates VALUES ('tmplb', 0, 'opened', 'webhook', 1, 1), ('tmplt', 0, "
       "'digest', 'webhook', 1, 1)");
    w = open_worker("tmpl", ""); /* the one has no template, or not any more */
    until("resolved opened", alerts_of_template("tmplb"));
    assert_string_equal(TEXT("SELECT string_agg(kind, ' ') FROM failing_templates"), "digest");
    close_worker(w);
}

/* Another worker, for which the time has passed. */
static struct worker *later(struct worker *w, const char *name, const char *notifier)
{
    close_worker(w);
    DO("UPDATE destinations SET blocked_until = 0");
    DO("UPDATE notifications SET not_before = 0 WHERE state = 'pending'");
    return open_worker(name, notifier);
}

static void a_breaker_leaves_it_alone_but_for_one_message_at_a_time(void **state)
{
    static const char one[] = ", breaker_failures: 3, breaker_wait: 1h, per_destination: 1";
    static const char waits[] = "SELECT count(*)::text FROM notifications WHERE receiver = 'shut' "
                                "AND state = 'pending' AND reason = 'the channel does not answer'";
    struct worker *w;

    (void)state;
    schema_do(&db, "DELETE FROM destinations");
    order("shut", "\"500\",\"reset\",\"503*\"");
    for (int i = 0; i < 5; i++)
        add("shut", sql("i%d", i), "E", "shop", 1);
    w = open_worker("shut", one);
    until("3", "SELECT coalesce(max(failures), -1)::text FROM destinations");
    until("t", "SELECT left(bool_and(blocked_until > extract(epoch FROM now()) * 1000 + "
               "3000000)::text, 1) FROM destinations");
    assert_int_equal(fakes_count(&fakes, "webhook", "shut"), 3);
    w = later(w, "shut", one); /* it tries once, and waits again */
    until("4", "SELECT coalesce(max(failures), -1)::text FROM destinations");
    assert_int_equal(fakes_count(&fakes, "webhook", "shut"), 4);
    free(fakes_ask(&fakes, "/_reset", ""));
    w = later(w, "shut", one); /* it is well: all of them go */
    until("5", "SELECT count(*)::text FROM notifications WHERE receiver = 'shut' AND state = "
               "'delivered'");
    until("0", "SELECT (failures + blocked_until)::text FROM destinations");
    until("0", waits);
    close_worker(w);
}

/* One message in two seconds is tried, and none of them often enough to be given up by its own. */
static void what_a_breaker_held_for_too_long_goes_to_the_fallback(void **state)
{
    struct worker *w;

    (void)state;
    schema_do(&db, "DELETE FROM destinations");
    order("held", "\"500*\"");
    for (int i = 0; i < 40; i++)
        add("held", sql("i%d", i), "E", "shop", 1);
    w = open_worker("held", ", breaker_failures: 3, breaker_wait: 2s, retry_for: 1s");
    until("40", "SELECT count(*)::text FROM notifications WHERE receiver = 'heldb' AND state = "
                "'delivered'");
    until("40", "SELECT count(*)::text FROM notifications WHERE receiver = 'held' AND state = "
                "'failed'");
    assert_true(INT("SELECT count(*) FROM notifications WHERE receiver = 'held' AND attempts = 0 "
                    "AND reason = 'given up: the channel does not answer; told to heldb instead'") >
                10);
    close_worker(w);
}

/* Whoever tells it then would be no other than itself. */
static void without_a_fallback_it_waits_for_the_channel(void **state)
{
    struct worker *w;

    (void)state;
    schema_do(&db, "DELETE FROM destinations");
    order("onec", "\"500*4\"");
    for (int i = 0; i < 20; i++)
        add("onec", sql("i%d", i), "E", "shop", 1);
    w = open_worker("one", ", breaker_failures: 3, breaker_wait: 1s, retry_for: 1s");
    until("t", "SELECT left((count(*) >= 19)::text, 1) FROM notifications WHERE receiver = 'onec' "
               "AND state = 'delivered'");
    close_worker(w);
}

static void only_one_of_two_workers_tries(void **state)
{
    static const char many[] = ", breaker_failures: 3, breaker_wait: 1h, request_timeout: 2s";
    struct worker *w[2];

    (void)state;
    schema_do(&db, "DELETE FROM destinations");
    order("probe", "\"500*3\"");
    add("probe", "i0", "E", "shop", 1);
    w[0] = open_worker("probe", many);
    until("3", "SELECT coalesce(max(failures), -1)::text FROM destinations");
    close_worker(w[0]);
    DO("UPDATE destinations SET blocked_until = 0");
    DO("UPDATE notifications SET not_before = 0 WHERE receiver = 'probe'");
    for (int i = 1; i < 6; i++)
        add("probe", sql("i%d", i), "E", "shop", 1);
    order("probe", "\"hang*\"");
    w[0] = open_worker("probe", many);
    w[1] = open_worker("probe", many);
    until("5", "SELECT count(*)::text FROM notifications WHERE receiver = 'probe' AND state = "
               "'pending' AND reason = 'the channel does not answer'");
    until("4", "SELECT coalesce(max(failures), -1)::text FROM destinations");
    assert_int_equal(fakes_count(&fakes, "webhook", "probe"), 4);
    close_worker(w[0]);
    close_worker(w[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_to_the_fallback_and_said_once),
        cmocka_unit_test(fallbacks_that_fail_end_and_the_group_is_looked_at_again),
        cmocka_unit_test(while_one_of_a_fallback_takes_it_it_is_not_said_again),
        cmocka_unit_test(when_none_of_a_fallback_takes_it_it_is_said_again_once),
        cmocka_unit_test(what_fails_in_a_merge_is_not_said_again_where_another_told_it),
        cmocka_unit_test(two_that_fail_at_the_same_time_do_not_count_on_each_other),
        cmocka_unit_test(a_fallback_is_not_told_what_is_old_after_what_is_new),
        cmocka_unit_test(a_fallback_is_told_every_digest),
        cmocka_unit_test(the_alert_about_a_receiver_passes_it_by),
        cmocka_unit_test(receivers_that_are_no_more_fail_no_more),
        cmocka_unit_test(a_template_that_gives_nothing_is_an_alert_until_it_gives_something),
        cmocka_unit_test(a_breaker_leaves_it_alone_but_for_one_message_at_a_time),
        cmocka_unit_test(what_a_breaker_held_for_too_long_goes_to_the_fallback),
        cmocka_unit_test(without_a_fallback_it_waits_for_the_channel),
        cmocka_unit_test(only_one_of_two_workers_tries),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
