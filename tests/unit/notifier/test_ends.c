/* Groups of alerts at a receiver that wants no ends: what it is told none the less. A real Postgres
 * and the vendors' fakes. */
#include "desk_stage.h"

static struct worker *open_worker(const char *name)
{
    return start_worker(AT_ONCE ", breaker_failures: 0",
                        sql("receivers:\n"
                            "- name: %s\n"
                            "  slack_configs: [{api_url: 'http://127.0.0.1:%d/services/T0/B0/%s', "
                            "send_resolved: false}]\n",
                            name, fakes.port, name));
}

/* Ids are md5 of the test's name and their own; so are fingerprints. */
#define ID "md5('%s.%s')::uuid"

/* Of these alerts, with spaces between: as a list, ascending. */
static const char *fp(const char *name, const char *ids)
{
    return TEXT("SELECT '[' || string_agg('\"' || left(md5('%s.' || id), 16) || '\"', ',' ORDER BY "
                "md5('%s.' || id)) || ']' FROM string_to_table('%s', ' ') id",
                name, name, ids);
}

static void add_alert(const char *name, const char *id)
{
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, status, severity, labels, "
       "annotations, title, description, link, source, starts_at, ended_at, first_seen, last_seen) "
       "VALUES ('t', ('x' || left(md5('%s.%s'), 16))::bit(64)::bigint, decode(md5('%s.%s'), "
       "'hex'), 1, 4, '{\"alertname\":\"%s of %s\"}', '{}', '%s of %s', '', '', 'am', "
       "1767323045000, "
       "1767323105000, 0, 0)",
       name, id, name, id, id, name, id, name);
}

static void add_group(const char *name, const char *told)
{
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, routed_by, since, told) "
       "VALUES ('t', " ID ", 2, '%s', 'r', '{}', '{}', 0, '%s')",
       name, "g", name, told);
}

/* `lists` of about.state, `more` of about. */
static void add_row(const char *name, int seq, const char *status, const char *lists,
                    const char *more)
{
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, created_at) VALUES ('t', md5('%s.n%d')::uuid, " ID
       ", '%s', 0, 'slack', %d, 'alerts', 4, '{\"reason\":\"alerts\",\"group_key\":\"k\","
       "\"group_labels\":{},\"state\":{\"seq\":%d,\"status\":\"%s\",\"at\":%d,%s}%s}', "
       "(extract(epoch FROM now()) * 1000)::bigint)",
       name, seq, name, "g", name, seq, seq, status, seq, lists, more);
}

static const char *state_of(const char *name, int seq)
{
    return sql("SELECT state FROM notifications WHERE id = md5('%s.n%d')::uuid", name, seq);
}

static void what_began_and_ended_unseen_is_told_once(void **state)
{
    (void)state;
    add_alert("late", "one");
    add_group("late", "{\"0\":{\"last\":{\"seq\":1}}}");
    add_row("late", 1, "resolved", sql("\"resolved_alerts\":%s", fp("late", "one")),
            sql(",\"missed\":%s", fp("late", "one")));
    struct worker *w = open_worker("late");
    until("delivered", state_of("late", 1));
    assert_int_equal(fakes_count(&fakes, "slack", "one of late"), 1);
    assert_int_equal(fakes_count(&fakes, "slack", "It was firing since"), 1);
    close_worker(w);
}

/* A fallback's group knows nothing; the mark alone says it. */
static void a_fallback_is_told_it_and_no_other_end(void **state)
{
    static const char of[] = ",\"fallback\":{\"of\":\"x\",\"why\":\"gone\"}";

    (void)state;
    add_alert("instead", "one");
    add_row("instead", 1, "resolved", sql("\"resolved_alerts\":%s", fp("instead", "one")), of);
    struct worker *w = open_worker("instead");
    until("suppressed", state_of("instead", 1));
    add_row("instead", 2, "resolved", sql("\"resolved_alerts\":%s", fp("instead", "one")),
            sql(",\"missed\":%s%s", fp("instead", "one"), of));
    until("delivered", state_of("instead", 2));
    assert_int_equal(fakes_count(&fakes, "slack", "one of instead"), 1);
    close_worker(w);
}

static void it_stands_beside_what_fires_and_other_ends_do_not(void **state)
{
    (void)state;
    add_alert("beside", "one");
    add_alert("beside", "two");
    add_alert("beside", "six");
    add_group("beside", sql("{\"0\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"status\":"
                            "\"firing\",\"alerts\":%s}}}",
                            fp("beside", "one six")));
    add_row(
        "beside", 2, "firing",
        sql("\"alerts\":%s,\"resolved_alerts\":%s", fp("beside", "one"), fp("beside", "six two")),
        sql(",\"missed\":%s", fp("beside", "two")));
    struct worker *w = open_worker("beside");
    until("delivered", state_of("beside", 2));
    assert_int_equal(fakes_count(&fakes, "slack", "one of beside"), 1);
    assert_int_equal(fakes_count(&fakes, "slack", "two of beside"), 1);
    assert_int_equal(fakes_count(&fakes, "slack", "six of beside"), 0);
    close_worker(w);
}

static void the_end_of_what_was_told_is_not_wanted(void **state)
{
    (void)state;
    add_alert("known", "one");
    add_group("known", sql("{\"0\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"status\":"
                           "\"firing\",\"alerts\":%s}}}",
                           fp("known", "one")));
    add_row("known", 2, "resolved", sql("\"resolved_alerts\":%s", fp("known", "one")), "");
    struct worker *w = open_worker("known");
    until("suppressed", state_of("known", 2));
    assert_int_equal(fakes_count(&fakes, "slack", "one of known"), 0);
    close_worker(w);
}

/* The start waits, and it is over: one message says both, and none that it fires. */
static void an_end_overtakes_a_start_that_waits(void **state)
{
    (void)state;
    add_alert("both", "one");
    add_group("both", "{\"0\":{\"last\":{\"seq\":2}}}");
    add_row("both", 1, "firing", sql("\"alerts\":%s", fp("both", "one")), "");
    add_row("both", 2, "resolved", sql("\"resolved_alerts\":%s", fp("both", "one")), "");
    struct worker *w = open_worker("both");
    until("delivered", state_of("both", 2));
    until("superseded", state_of("both", 1));
    assert_int_equal(fakes_count(&fakes, "slack", "one of both"), 1);
    close_worker(w);
}

static const char *known(const char *name)
{
    return TEXT("SELECT concat_ws(' ', told #>> '{0,last,seq}', told #>> '{0,last,at}', told #>> "
                "'{0,last,status}', jsonb_array_length(told #> '{0,last,alerts}'), told #> "
                "'{0,last}' = told #> '{0,delivered}', (SELECT count(*) FROM timers WHERE subject "
                "= uuid_send(g.id) AND kind = 1)) FROM groups g WHERE id = " ID,
                name, "g");
}

/* The group goes on with what is left: it is repeated in its time, and what ended is news when it
 * fires again. */
static void what_still_fires_is_not_said_at_each_end(void **state)
{
    (void)state;
    add_alert("rest", "one");
    add_alert("rest", "two");
    add_group("rest", sql("{\"0\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"at\":7,"
                          "\"status\":\"firing\",\"alerts\":%s}}}",
                          fp("rest", "one two")));
    add_row("rest", 2, "firing",
            sql("\"alerts\":%s,\"resolved_alerts\":%s", fp("rest", "one"), fp("rest", "two")),
            ",\"ends_only\":true");
    struct worker *w = open_worker("rest");
    until("suppressed", state_of("rest", 2));
    assert_string_equal(TEXT("SELECT reason FROM notifications WHERE receiver = 'rest'"),
                        "send_resolved is false, and all that still fires was told");
    assert_string_equal(known("rest"), "1 7 firing 1 t 1");
    add_row("rest", 3, "firing", sql("\"alerts\":%s", fp("rest", "one two")), "");
    until("delivered", state_of("rest", 3));
    assert_int_equal(fakes_count(&fakes, "slack", "two of rest"), 1);
    close_worker(w);
}

/* It would not be said again if the next message failed. */
static void after_an_unwanted_end_nothing_fires(void **state)
{
    (void)state;
    add_alert("over", "one");
    add_group("over", sql("{\"0\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"at\":7,"
                          "\"status\":\"firing\",\"alerts\":%s}}}",
                          fp("over", "one")));
    add_row("over", 2, "resolved", sql("\"alerts\":[],\"resolved_alerts\":%s", fp("over", "one")),
            "");
    struct worker *w = open_worker("over");
    until("suppressed", state_of("over", 2));
    assert_string_equal(known("over"), "1 7 resolved 0 t 1");
    close_worker(w);
}

/* A repeat that waits is told by it, as things are now; and so is what was never told. */
static void an_end_beside_what_waits_is_told(void **state)
{
    (void)state;
    add_alert("waits", "one");
    add_alert("waits", "two");
    add_group("waits", sql("{\"0\":{\"last\":{\"seq\":3},\"delivered\":{\"seq\":1,\"at\":7,"
                           "\"status\":\"firing\",\"alerts\":%s}}}",
                           fp("waits", "one two")));
    add_row("waits", 2, "firing", sql("\"alerts\":%s", fp("waits", "one two")), "");
    add_row("waits", 3, "firing",
            sql("\"alerts\":%s,\"resolved_alerts\":%s", fp("waits", "one"), fp("waits", "two")),
            ",\"ends_only\":true");
    struct worker *w = open_worker("waits");
    until("delivered", state_of("waits", 3));
    until("superseded", state_of("waits", 2));
    assert_int_equal(fakes_count(&fakes, "slack", "one of waits"), 1);
    assert_int_equal(fakes_count(&fakes, "slack", "two of waits"), 0);
    add_row("waits", 4, "firing", sql("\"alerts\":%s", fp("waits", "one six")),
            ",\"ends_only\":true");
    until("delivered", state_of("waits", 4));
    close_worker(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_began_and_ended_unseen_is_told_once),
        cmocka_unit_test(a_fallback_is_told_it_and_no_other_end),
        cmocka_unit_test(it_stands_beside_what_fires_and_other_ends_do_not),
        cmocka_unit_test(the_end_of_what_was_told_is_not_wanted),
        cmocka_unit_test(an_end_overtakes_a_start_that_waits),
        cmocka_unit_test(what_still_fires_is_not_said_at_each_end),
        cmocka_unit_test(after_an_unwanted_end_nothing_fires),
        cmocka_unit_test(an_end_beside_what_waits_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
