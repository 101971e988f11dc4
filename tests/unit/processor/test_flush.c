/* Flushes: what a look at a group tells whom. */
#include "flush_stage.h"

/* ---- incidents ---- */

static void test_opening(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 3, 3);
    const char *g = add_group(&f->now, "{\"job\":\"api\"}", INCIDENT);
    look(g);
    look(g);
    f->now.settings.processor.timer_batch = 1; /* both all the same: they are of one subject */
    assert_int_equal(pass(f, f->timers), 2);
    assert_string_equal(told(g), "slack:opened slack:crossing slack:crossing slack:crossing "
                                 "webhook:opened webhook:crossing webhook:crossing "
                                 "webhook:crossing");
    assert_string_equal(
        TEXT("SELECT string_agg(concat_ws('|', seq, integration, state, severity, incident_id = "
             "'" INCIDENT
             "', about->'state'->>'level', about->>'reason', (about->'state'->>'seq')::int "
             "= seq, about->>'incident' = '" INCIDENT "', about->>'group_key'), ' ') FROM "
             "notifications WHERE channel = 'webhook' AND seq = 2"),
        "2|1|pending|3|t|1|crossing|t|t|{}:{incident=\"" INCIDENT "\"}");
    assert_int_equal(INT("SELECT count(DISTINCT id) FROM notifications"), 8);
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents WHERE incident_id = "
                         "'" INCIDENT "'"),
                     8);
    assert_string_equal(TEXT("SELECT concat_ws('|', seq, flushed_at > 1, told->'0'->'last'->>"
                             "'level', told->'1'->'last'->>'seq', told->'2') FROM groups"),
                        "4|t|3|4");
    /* it looks again when the same may be repeated, and only then */
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 1);
    assert_int_equal(INT("SELECT due_at - flushed_at FROM timers, groups WHERE timers.kind = 1"),
                     4 * MS_HOUR);
}

static void test_a_spurious_look_says_nothing(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    for (int i = 0; i < 4; i++) {
        look(g);
        assert_int_equal(pass(f, f->timers), 1);
        assert_string_equal(told(g), "slack:opened webhook:opened");
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 1);
    }
}

static void test_the_end_and_again(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    forget();
    schema_do(&db, "UPDATE incidents SET status = 4; DELETE FROM timers WHERE kind = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:resolved webhook:resolved");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
    schema_do(&db, "UPDATE incidents SET status = 1, episode = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:resolved slack:reopened webhook:resolved webhook:reopened");
    assert_int_equal(INT("SELECT max(seq) FROM notifications"), 3);
}

/* A backlog: what began and ended in one batch is told none the less, once. */
static void test_over_before_anybody_looked(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 4, 2, 0);
    schema_do(&db, "UPDATE incidents SET episode_at = 5, resolved_at = 9");
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:opened slack:resolved webhook:opened webhook:resolved");
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 4);
}

/* Who takes over is told as who acknowledged; rows of before owners were remembered say nothing by
 * themselves. */
static void test_another_owner(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    forget();
    DO("UPDATE incidents SET status = 2, owner = 'ann'");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:status webhook:status");
    forget();
    DO("UPDATE incidents SET owner = 'bob'");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->timers);
        assert_string_equal(told(g), "slack:status webhook:status");
    }
    assert_string_equal(TEXT("SELECT DISTINCT about #>> '{state,owner}' FROM notifications"),
                        "bob");
    forget();
    DO("UPDATE groups SET told = told #- '{0,last,owner}' #- '{1,last,owner}'");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "");
}

/* One integration failed, the other did not: only the first is told again. */
static void test_integrations_are_told_apart(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    pass(f, f->timers);
    schema_do(&db, "UPDATE groups SET told = jsonb_set(told - '0', '{1,delivered}', "
                   "told->'1'->'last')");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:opened slack:opened webhook:opened");
    assert_string_equal(TEXT("SELECT told->'1'->'delivered'->>'seq' FROM groups"), "1");
}

static void test_a_raised_severity_moves(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *team = add_group(&f->now, "{}", INCIDENT);
    look(team);
    pass(f, f->timers);
    forget();
    schema_do(&db, "UPDATE incidents SET severity = 4, level = 1");
    for (int i = 0; i < 2; i++) { /* it need not be the alert of this group that raised it */
        look(team);
        (void)pass(f, f->timers);
    }
    const char *boss = TEXT("SELECT id::text FROM groups WHERE receiver = 'boss'");
    assert_string_equal(told(team), "");
    assert_string_equal(told(boss), "webhook:opened webhook:crossing");
    forget();
    schema_do(&db, "UPDATE incidents SET status = 4");
    look(team);
    look(boss);
    pass(f, f->timers);
    assert_string_equal(told(team), "slack:resolved webhook:resolved");
    assert_string_equal(told(boss), "webhook:resolved");
}

/* ---- groups of alerts ---- */

static void test_alerts(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 1, 2);
    add_alert(HIGH_FP, 1, 4);
    DO("UPDATE alerts SET incident_id = ('018f0000-0000-7000-8000-0000000000' || "
       "CASE fingerprint WHEN 5 THEN '0a' ELSE '0b' END)::uuid");
    const char *g = alerts_group(f);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts");
    assert_string_equal(
        TEXT("SELECT concat_ws('|', severity, about->'state'->'alerts', about->>'group_key', "
             "about->'group_labels', incident_id) FROM notifications"),
        "4|[\"0000000000000005\", \"8000000000000001\"]|{}/{to=\"alerts\"}:{job=\"api\"}|{\"job\": "
        "\"api\"}");
    /* one is over: told, and it leaves */
    schema_do(&db, "UPDATE alerts SET status = 2 WHERE fingerprint = 5");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts webhook:alerts");
    assert_string_equal(TEXT("SELECT about->'state'->>'resolved_alerts' FROM notifications WHERE "
                             "seq = 2"),
                        "[\"0000000000000005\"]");
    assert_string_equal(TEXT("SELECT string_agg(coalesce(about->>'ends_only', 'no'), ' ' ORDER BY "
                             "seq) FROM notifications"),
                        "no true");
    assert_int_equal(INT("SELECT fingerprint::int8 FROM group_alerts") == (int64_t)HIGH_FP, 1);
    schema_do(&db, "UPDATE alerts SET status = 2");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT about->'state'->>'status' FROM notifications WHERE seq = 3"),
                        "resolved");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
    /* what fires and what is over, each time */
    assert_string_equal(speak_of(g), "alerts:0a alerts:0b alerts:0a alerts:0b alerts:0b");
}

/* What the integration was told last: these fire, those are over. */
static void was_told(const char *integration, const char *firing, const char *ended)
{
    DO("UPDATE groups SET told = jsonb_set(jsonb_set(told, '{%s,last,alerts}', '%s'), "
       "'{%s,last,resolved_alerts}', '%s')",
       integration, firing, integration, ended);
}

#define MEMBERS                                                                                    \
    "SELECT string_agg(right(to_hex(fingerprint), 1), ' ' ORDER BY fingerprint) FROM "             \
    "group_alerts"
#define FP(n) "\"000000000000000" #n "\""
#define HIGH "\"8000000000000001\""

/* It stays while one of several has yet to hear that it is over, whichever that is. */
static void test_an_alert_leaves_when_all_know(void **state)
{
    struct fixture *f = *state;

    add_alert(4, 1, 2);
    add_alert(5, 1, 2);
    add_alert(6, 1, 2);
    add_alert(HIGH_FP, 1, 2);
    const char *g = alerts_group_to(f, "{\"job\":\"api\",\"to\":\"both alerts\"}");
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:alerts webhook:alerts");
    assert_string_equal(TEXT(MEMBERS), "1 4 5 6");
    schema_do(&db, "UPDATE alerts SET status = 2");
    was_told("0", "[" FP(5) ", " HIGH "]", "[" FP(4) ", " FP(6) "]");
    was_told("1", "[" FP(6) "]", "[" FP(4) ", " FP(5) ", " HIGH "]");
    look(g); /* before the interval is over */
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:alerts webhook:alerts");
    assert_string_equal(TEXT(MEMBERS), "1 5 6");
    was_told("0", "[" HIGH "]", "[" FP(4) ", " FP(5) ", " FP(6) "]");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT(MEMBERS), "1 6");
    schema_do(&db, "UPDATE groups SET flushed_at = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:alerts slack:alerts webhook:alerts webhook:alerts");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
}

/* Of what fires, whatever the others in the group were; at the end, of what ended. */
static void test_the_severity_of_alerts(void **state)
{
    static const char severities[] = "SELECT string_agg(channel || ':' || severity, ' ' ORDER BY "
                                     "channel, seq) FROM notifications";
    struct fixture *f = *state;

    add_alert(4, 1, 4);
    add_alert(5, 1, 2);
    const char *g = alerts_group_to(f, "{\"job\":\"api\",\"to\":\"both alerts\"}");
    pass(f, f->timers);
    assert_string_equal(TEXT(severities), "slack:4 webhook:4");
    forget();
    /* the critical one is over, slack has yet to hear it, and a third comes */
    add_alert(6, 1, 1);
    DO("INSERT INTO group_alerts VALUES ('" TENANT "', '%s', 6)", g);
    DO("UPDATE alerts SET status = 2 WHERE fingerprint = 4");
    DO("UPDATE groups SET flushed_at = 1");
    was_told("1", "[" FP(5) "]", "[" FP(4) "]");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT(severities), "slack:2 webhook:2");
    forget();
    /* slack was not reached */
    DO("UPDATE alerts SET status = 2");
    DO("UPDATE groups SET flushed_at = 1");
    DO("INSERT INTO group_alerts VALUES ('" TENANT "', '%s', 4)", g);
    was_told("0", "[" FP(4) ", " FP(5) "]", "[]");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT(severities), "slack:4 webhook:2");
}

static void test_alerts_over_before_anybody_looked(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 2, 2);
    schema_do(&db, "UPDATE alerts SET starts_at = 5, ended_at = 9");
    const char *g = alerts_group(f);
    DO("UPDATE groups SET since = 4102444800000");
    pass(f, f->timers);
    assert_string_equal(told(g), "");
    add_alert(6, 2, 2);
    schema_do(&db, "UPDATE alerts SET starts_at = 5, ended_at = 9");
    DO("INSERT INTO group_alerts VALUES ('" TENANT "', '%s', 6)", g);
    DO("UPDATE groups SET since = 1");
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts");
    assert_string_equal(TEXT("SELECT concat_ws(' ', about->'state'->>'resolved_alerts', "
                             "about->>'missed') FROM notifications"),
                        "[\"0000000000000006\"] [\"0000000000000006\"]");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
}

/* A resolve that failed is said again, although the member has left. */
static void test_a_failed_end_of_alerts(void **state)
{
    struct fixture *f = *state;

    add_alert(5, 1, 2);
    const char *g = alerts_group(f);
    pass(f, f->timers);
    schema_do(&db, "CREATE TEMP TABLE before AS SELECT told FROM groups; UPDATE alerts SET status "
                   "= 2");
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 0);
    schema_do(&db, "UPDATE groups SET told = before.told FROM before; DROP TABLE before");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT about->'state'->>'resolved_alerts' FROM notifications WHERE "
                             "seq = 3"),
                        "[\"0000000000000005\"]");
}

/* A batch that is making the alert fire again holds its row: the member stays. */
static void test_a_member_in_flight_stays(void **state)
{
    struct fixture *f = *state;
    struct pg *batch;

    add_alert(5, 1, 2);
    const char *g = alerts_group(f);
    pass(f, f->timers);
    schema_do(&db, "UPDATE alerts SET status = 2");
    SQL_OK(f, pg_open(&db.settings, "batch", &batch, &f->e));
    SQL_OK(f, pg_connect(batch, &f->e));
    SQL_OK(f, pg_exec(batch,
                      "BEGIN; SELECT FROM alerts FOR NO KEY UPDATE; UPDATE alerts SET "
                      "status = 1",
                      &f->e));
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts webhook:alerts");
    assert_int_equal(INT("SELECT count(*) FROM group_alerts"), 1);
    SQL_OK(f, pg_exec(batch, "COMMIT", &f->e));
    pg_close(batch);
    schema_do(&db, "UPDATE groups SET flushed_at = 1"); /* group_interval is over */
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:alerts webhook:alerts webhook:alerts");
    assert_string_equal(TEXT("SELECT about->'state'->>'status' FROM notifications WHERE seq = 3"),
                        "firing");
}

/* ---- digests ---- */

static void test_a_digest(void **state)
{
    static const char other[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    add_incident(other, 1, 3, 0);
    const char *g = add_group(&f->now, "{\"to\":\"hourly\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1000, 2000), "
       "('" TENANT "', '%s', '%s', 1, 3000, 3000)",
       g, g, other);
    look(g);
    pass(f, f->timers);
    assert_string_equal(
        TEXT("SELECT concat_ws('|', kind, state, severity, incident_id, about->'items') FROM "
             "notifications"),
        sql("digest|pending|3|[{\"last_at\": 3000, \"first_at\": 3000, \"incident\": \"%s\", "
            "\"occurrences\": 1}, {\"last_at\": 2000, \"first_at\": 1000, \"incident\": \"" INCIDENT
            "\", \"occurrences\": 7}]",
            other));
    assert_string_equal(speak_of(g), "digest:01 digest:02");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 0);
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
}

static void test_a_digest_waits_for_its_time(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    const char *g = add_group(&f->now, "{\"to\":\"daily\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 1, "
       "(extract(epoch FROM now()) * 1000)::int8 + 60000, 1)",
       g);
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 1);
    /* nine o'clock in Shanghai is one o'clock UTC */
    assert_int_equal(INT("SELECT due_at %% 86400000 FROM timers WHERE kind = 1"), MS_HOUR);
}

/* Half an hour after the last one with summer time. */
static void test_a_digest_waits_where_clocks_change(void **state)
{
    struct fixture *f = *state;
    const struct flush_settings s = {
        .routes = f->now.routes, .receivers = &f->now.receivers, .time_zone = "Europe/Berlin"};
    struct flush_subject subject = {.tenant = SLICE_LIT(TENANT)};
    struct flush_subjects v = {.v = &subject, .n = 1};
    struct flushed out;
    int64_t item, next;

    assert_true(rfc3339_parse(SLICE_LIT("2026-10-24T09:30:00+02:00"), &item));
    assert_true(rfc3339_parse(SLICE_LIT("2026-10-25T09:00:00+01:00"), &next));
    add_incident(INCIDENT, 1, 1, 0);
    const char *g = add_group(&f->now, "{\"to\":\"daily\"}", NULL);
    assert_true(uuid_parse(slice_of(g), &subject.group));
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 1, %lld, 1)", g,
       (long long)item);
    v.now_ms = next - 1;
    SQL_OK(f, flush_groups(&s, db.pg, db.arena, &v, &out, &f->e));
    assert_string_equal(told(g), "");
    assert_int_equal(INT("SELECT due_at FROM timers WHERE kind = 1"), next);
    v.now_ms = next;
    SQL_OK(f, flush_groups(&s, db.pg, db.arena, &v, &out, &f->e));
    assert_string_equal(told(g), "webhook:digest");
}

/* The other one told it. */
static void test_what_one_was_not_told_waits_for_it_alone(void **state)
{
    static const char other[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    add_incident(other, 1, 3, 0);
    const char *g = add_group(&f->now, "{\"to\":\"both daily\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1000, 2000, 1), "
       "('" TENANT "', '%s', '%s', 1, (extract(epoch FROM now()) * 1000)::int8 + 60000, 1, -1)",
       g, g, other);
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), "webhook:digest");
    assert_string_equal(speak_of(g), "digest:01");
    assert_string_equal(TEXT("SELECT incident_id || ' ' || integration FROM digest_items"),
                        sql("%s -1", other));
    assert_int_equal(INT("SELECT due_at %% 86400000 FROM timers WHERE kind = 1"), MS_HOUR);
}

static const char *digest_of(const char *channel)
{
    return TEXT("SELECT n.severity || ':' || string_agg(right(i ->> 'incident', 1) || '*' || (i "
                "->> 'occurrences') || '@' || (i ->> 'first_at') || '-' || (i ->> 'last_at'), ' ' "
                "ORDER BY k) FROM notifications n, jsonb_array_elements(n.about -> 'items') WITH "
                "ORDINALITY AS e (i, k) WHERE channel = '%s' GROUP BY n.id, n.severity",
                channel);
}

/* Of integration 7 nobody knows any more: all are told what it was not. */
static void test_a_digest_tells_each_what_waited_for_it(void **state)
{
    static const char other[] = "018f0000-0000-7000-8000-000000000002";
    static const char third[] = "018f0000-0000-7000-8000-000000000003";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    add_incident(other, 1, 3, 0);
    add_incident(third, 1, 4, 0);
    const char *g = add_group(&f->now, "{\"to\":\"both\"}", NULL);
    DO("INSERT INTO digest_items SELECT '" TENANT "', '%s', v.* FROM (VALUES "
       "('" INCIDENT "'::uuid, 2, 1000, 2000, -1), ('" INCIDENT "', 5, 500, 600, 1), "
       "('%s', 1, 3000, 3000, -1), ('%s', 4, 9, 4000, 7), ('%s', 6, 1, 1, 1)) v",
       g, other, other, third);
    look(g);
    pass(f, f->timers);
    assert_string_equal(digest_of("slack"), "3:2*5@9-4000 1*2@1000-2000");
    assert_string_equal(digest_of("webhook"), "4:3*6@1-1 2*5@9-4000 1*7@500-2000");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 0);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
}

/* ---- wake-ups ---- */

struct heard {
    char text[4096];
    size_t n;
};

static void hear(void *ctx, const struct kafka_message *m)
{
    struct heard *h = ctx;
    const size_t used = strlen(h->text);

    assert_int_equal(m->key.len, 16);
    assert_true(slice_is(kafka_message_header(m, "v"), "1"));
    (void)snprintf(h->text + used, sizeof(h->text) - used, "%s %.*s %.*s;", m->topic,
                   SLICE_FMT(m->value), SLICE_FMT(kafka_message_header(m, "tenant")));
    h->n++;
}

static void test_wakeups(void **state)
{
    static const char *const read[] = {"notify.email", NULL};
    static const char mail[] = "receivers: [{name: m, email_configs: [{to: a@b}]}]\n"
                               "route: {receiver: m, group_by: [incident], group_wait: 0s}\n";
    struct fixture *f = *state;
    struct heard heard = {.n = 0};
    struct world w = {0};

    world_load(&w, mail);
    add_incident(INCIDENT, 1, 2, 1);
    look(add_group(&w, "{}", INCIDENT));
    f->second = runner(f, &w);
    pass(f, f->second);
    assert_int_equal(kafka_flush(f->producer, 10000), 0);
    broker_read(&broker, "wakeups", read, 2, hear, &heard);
    assert_string_equal(heard.text,
                        TEXT("SELECT string_agg('notify.email ' || id || ' " TENANT ";', '' ORDER "
                             "BY seq) FROM notifications"));
    timers_free(f->second);
    f->second = NULL;
    conf_free(w.conf);
}

/* ---- transactions ---- */

/* The incident ends while a flush that did not see it is under way. */
static void test_a_change_between_flush_and_commit(void **state)
{
    struct fixture *f = *state;
    const struct flush_settings s = {
        .routes = f->now.routes, .receivers = &f->now.receivers, .time_zone = "UTC"};
    struct flush_subject subject = {.tenant = SLICE_LIT(TENANT)};
    struct flushed out;
    struct pg *flusher;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    assert_true(uuid_parse(slice_of(g), &subject.group));
    SQL_OK(f, pg_open(&db.settings, "flusher", &flusher, &f->e));
    SQL_OK(f, pg_connect(flusher, &f->e));
    SQL_OK(f, pg_begin(flusher, &f->e));
    const struct flush_subjects v = {.v = &subject, .n = 1, .now_ms = 100000};
    SQL_OK(f, flush_groups(&s, flusher, db.arena, &v, &out, &f->e));
    assert_int_equal(out.created[DUE_OPENED], 2);
    assert_int_equal(out.wakeup_n, 2);

    schema_do(&db, "UPDATE incidents SET status = 4");
    look(g);
    assert_string_equal(told(g), "");
    SQL_OK(f, pg_commit(flusher, &f->e));
    pg_close(flusher);
    pass(f, f->timers);
    assert_string_equal(told(g), "slack:opened slack:resolved webhook:opened webhook:resolved");
}

/* What cannot be done leaves its timer. */
static void test_a_failed_pass_changes_nothing(void **state)
{
    struct fixture *f = *state;
    size_t ran;

    add_incident(INCIDENT, 1, 2, 0);
    look(add_group(&f->now, "{}", INCIDENT));
    schema_do(&db, "ALTER TABLE notifications RENAME TO elsewhere");
    const int rc = timers_pass(f->timers, &ran, &f->e);
    schema_do(&db, "ALTER TABLE elsewhere RENAME TO notifications");
    assert_int_equal(rc, -EIO);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND failures = 0"), 1);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 0);
}

/* ---- topics ---- */

static bool broker_knows(const char *topic)
{
    const struct rd_kafka_metadata *md;
    bool found = false;

    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", broker.settings.brokers, NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_int_equal(rd_kafka_metadata(rk, 1, NULL, &md, 10000), 0);
    for (int i = 0; i < md->topic_cnt; i++)
        found |= strcmp(md->topics[i].topic, topic) == 0;
    rd_kafka_metadata_destroy(md);
    rd_kafka_destroy(rk);
    return found;
}

/* librdkafka may take a second for the first record of a topic that nobody asked about. (The mock
 * cluster shows who asked: it makes any topic that is asked about, whatever the client says.) */
static void test_topics_are_looked_up_before_they_are_written(void **state)
{
    static const char *const written[] = {"unit.dead", "unit.repairs", "unit.playbooks",
                                          "unit.notify.wecom", "unit.notify.email"};
    const int64_t deadline = clock_monotonic_ms() + 60 * MS_SECOND;

    (void)state; /* its runner was made, and has done nothing */
    for (size_t i = 0; i < sizeof(written) / sizeof(*written); i++) {
        while (!broker_knows(written[i])) {
            if (clock_monotonic_ms() > deadline)
                fail_msg("nobody asked about %s", written[i]);
            (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_topics_are_looked_up_before_they_are_written),
        TEST(test_opening),
        TEST(test_a_spurious_look_says_nothing),
        TEST(test_the_end_and_again),
        TEST(test_over_before_anybody_looked),
        TEST(test_another_owner),
        TEST(test_integrations_are_told_apart),
        TEST(test_a_raised_severity_moves),
        TEST(test_alerts),
        TEST(test_an_alert_leaves_when_all_know),
        TEST(test_the_severity_of_alerts),
        TEST(test_alerts_over_before_anybody_looked),
        TEST(test_a_failed_end_of_alerts),
        TEST(test_a_member_in_flight_stays),
        TEST(test_a_digest),
        TEST(test_a_digest_waits_for_its_time),
        TEST(test_a_digest_waits_where_clocks_change),
        TEST(test_what_one_was_not_told_waits_for_it_alone),
        TEST(test_a_digest_tells_each_what_waited_for_it),
        TEST(test_wakeups),
        TEST(test_a_change_between_flush_and_commit),
        TEST(test_a_failed_pass_changes_nothing),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
