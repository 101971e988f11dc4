/* Messages that wait for the rate of their channel and become one: more of them than one message,
 * or one look, has room for. */
#include "digest_stage.h"

/* Messages of integration `i`, each about an incident of its own: NAME `from` to `to`. */
static void add_messages(const char *name, int i, int from, int to)
{
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told, "
       "incident_id) SELECT 't', id, 1, '%s', 'r', '{}', '{}', 0, '{\"%d\": {\"last\": {\"seq\": "
       "1}}}', id FROM incidents WHERE title LIKE '%s %%' ON CONFLICT DO NOTHING",
       name, i, name);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at) SELECT 't', id, id, '%s', %d, '%s', 1, "
       "'opened', "
       "severity, id, '{\"reason\": \"opened\", \"group_key\": \"k\", \"state\": {\"seq\": 1, "
       "\"status\": \"firing\", \"at\": 1}}', (extract(epoch FROM now()) * 1000)::bigint - 1000 + "
       "n FROM generate_series(%d, %d) n JOIN incidents ON id = md5('%s' || n)::uuid",
       name, i, channels[i], from, to, name);
}

/* They wait in one, as the notifier leaves them, for `wait_ms` more. */
static void merge_them(const char *name, int i, int wait_ms)
{
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, created_at, not_before) VALUES ('t', md5('%sm')::uuid, "
       "md5('%sm')::uuid, '%s', %d, '%s', 0, 'merge', 4, '{\"reason\": \"merge\"}', 0, "
       "(extract(epoch FROM now()) * "
       "1000)::bigint + %d)",
       name, name, name, i, channels[i], wait_ms);
    DO("UPDATE notifications SET state = 'merged', merged_into = md5('%sm')::uuid, ended_at = 1 "
       "WHERE receiver = '%s' AND kind = 'opened'",
       name, name);
}

/* Of its messages those that a delivered merge told, and how many merges that are. */
static const char *merged(const char *name)
{
    return TEXT("SELECT count(*) || ' in ' || count(DISTINCT m.id) FROM notifications n JOIN "
                "notifications m ON m.id = n.merged_into WHERE n.receiver = '%s' AND n.state = "
                "'merged' AND m.kind = 'merge' AND m.state = 'delivered'",
                name);
}

static void tells_more_than_is_read_at_once(void **state)
{
    struct worker *w = open_worker("crowd", 100);

    (void)state;
    add_incidents("crowd", 700);
    add_messages("crowd", WECOM, 0, 699);
    merge_them("crowd", WECOM, 0);
    start(w);
    until_ended("crowd");
    const size_t told = (size_t)INT("SELECT count(*) FROM notifications WHERE kind = 'merge' AND "
                                    "receiver = 'crowd'");
    assert_string_equal(merged("crowd"), sql("700 in %zu", told));
    assert_int_equal(fakes_count(&fakes, "wecom", "crowd "), told);
    for (int i = 0; i < 700; i += 99)
        assert_int_equal(fakes_count(&fakes, "wecom", sql("crowd %03d ", i)), 1);
    close_worker(w);
}

/* An SMS says how many; the critical one is among those that were not read. */
static void leaves_the_rest_to_another_where_no_line_is_shown(void **state)
{
    struct worker *w = open_worker("short", 100);

    (void)state;
    add_incidents("short", 600);
    DO("UPDATE incidents SET title = title || repeat(' and so on', 200) WHERE title LIKE 'short "
       "%%'");
    add_messages("short", SMS, 0, 599);
    merge_them("short", SMS, 0);
    start(w);
    until_ended("short");
    assert_string_equal(TEXT("SELECT string_agg(m, ', ' ORDER BY m) FROM (SELECT concat_ws(' ', "
                             "m.state, m.severity, count(*)) AS m FROM notifications n JOIN "
                             "notifications m ON m.id = n.merged_into WHERE m.receiver = 'short' "
                             "GROUP BY m.id, m.state, m.severity) x"),
                        "delivered 4 100, delivered 4 500");
    close_worker(w);
}

/* All that was read of it. */
static void tells_what_was_not_read_where_the_rest_is_silenced(void **state)
{
    struct worker *w = open_worker("hush", 100);

    (void)state;
    add_incidents("hush", 520);
    silence_some("hush", "[0-4][0-9]{2}");
    add_messages("hush", WECOM, 0, 519);
    merge_them("hush", WECOM, 0);
    start(w);
    until_ended("hush");
    assert_string_equal(TEXT("SELECT count(*) FILTER (WHERE state = 'suppressed') || ' ' || "
                             "count(*) FILTER (WHERE state = 'merged') FROM notifications WHERE "
                             "receiver = 'hush' AND kind = 'opened'"),
                        "500 20");
    assert_string_equal(merged("hush"), "20 in 1");
    assert_int_equal(fakes_count(&fakes, "wecom", "hush 510 "), 1);
    close_worker(w);
}

/* Its integration left the configuration a day ago. Those that were not read fail later, by
 * themselves. */
static void fails_with_those_that_were_read(void **state)
{
    struct worker *w = open_worker("left", 100);

    (void)state;
    add_incidents("left", 600);
    add_messages("left", WECOM, 0, 599);
    merge_them("left", WECOM, 0);
    DO("UPDATE notifications SET integration = 7 WHERE receiver = 'left'");
    start(w);
    until_count(1, "id = md5('leftm')::uuid AND state = 'failed'");
    assert_string_equal(TEXT("SELECT string_agg(m, ', ' ORDER BY m) FROM (SELECT concat_ws(' ', "
                             "m.state, count(*)) AS m FROM notifications n JOIN notifications m ON "
                             "m.id = n.merged_into WHERE m.receiver = 'left' GROUP BY m.id, "
                             "m.state) x"),
                        "failed 500, pending 100");
    close_worker(w);
}

static const char *how_many_may_double(const char *name)
{
    return TEXT("SELECT count(*) FILTER (WHERE possible_duplicate) || ' of ' || count(*) FROM "
                "notifications WHERE receiver = '%s' AND state = 'delivered'",
                name);
}

static void says_so_when_its_parts_may_have_arrived(void **state)
{
    static const char *const who[] = {"kind = 'merge'", "kind = 'opened'"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "member" : "whole";
        struct worker *w = open_worker(name, 100);

        add_incidents(name, 60 - 30 * i);
        add_messages(name, WECOM, 0, 59 - 30 * i);
        merge_them(name, WECOM, 0);
        DO("UPDATE notifications SET possible_duplicate = true WHERE id = (SELECT max(id::text) "
           "FROM notifications WHERE receiver = '%s' AND %s)::uuid",
           name, who[i]);
        start(w);
        until_ended(name);
        assert_string_equal(how_many_may_double(name), i ? "1 of 1" : "2 of 2");
        close_worker(w);
    }
}

/* Nobody knows whether it arrived; its group says it again. */
static void says_so_when_a_failed_one_may_have_arrived(void **state)
{
    struct worker *w = open_worker("again", 100);

    (void)state;
    add_incidents("again", 2);
    add_messages("again", WECOM, 0, 1);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at, state, possible_duplicate, ended_at) "
       "SELECT tenant, md5(id::text)::uuid, group_id, receiver, integration, channel, 0, kind, "
       "severity, incident_id, about, created_at, 'failed', group_id = md5('again1')::uuid, 1 "
       "FROM notifications WHERE receiver = 'again'");
    start(w);
    until_ended("again");
    assert_string_equal(how_many_may_double("again"), "1 of 2");
    close_worker(w);
}

static void is_joined_until_it_is_full(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        const char *name = full ? "full" : "room";
        struct worker *w = open_worker(name, 1);

        add_incidents(name, 510);
        add_messages(name, WECOM, 0, 498 + full);
        merge_them(name, WECOM, 3600000);
        add_messages(name, WECOM, 500, 509);
        start(w);
        until_count(0, sql("receiver = '%s' AND kind = 'opened' AND state IN ('pending', "
                           "'sending')",
                           name));
        assert_int_equal(INT("SELECT count(*) FROM notifications WHERE merged_into = "
                             "md5('%sm')::uuid",
                             name),
                         full ? 500 : 508);
        close_worker(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_more_than_is_read_at_once),
        cmocka_unit_test(leaves_the_rest_to_another_where_no_line_is_shown),
        cmocka_unit_test(tells_what_was_not_read_where_the_rest_is_silenced),
        cmocka_unit_test(fails_with_those_that_were_read),
        cmocka_unit_test(says_so_when_its_parts_may_have_arrived),
        cmocka_unit_test(says_so_when_a_failed_one_may_have_arrived),
        cmocka_unit_test(is_joined_until_it_is_full),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
