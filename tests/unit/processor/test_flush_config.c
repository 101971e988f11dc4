/* Flushes after the configuration changed. */
#include "flush_stage.h"

/* ---- configurations that change ---- */

static void test_a_receiver_that_left(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 4, 0);
    const char *g = add_group(&f->now, "{\"severity\":\"critical\"}", INCIDENT);
    f->second = runner(f, &f->later);
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->second);
    }
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver, reason, "
                             "ended_at IS NOT NULL) FROM notifications"),
                        "opened|suppressed||boss|receiver boss is no longer in the "
                        "configuration|t");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE subject = uuid_send('%s')", g), 0);
    assert_string_equal(TEXT("SELECT receiver FROM groups WHERE id <> '%s'", g), "team");
    /* it comes back, and hears what it missed */
    look(g);
    pass(f, f->timers);
    assert_string_equal(told(g), ":opened webhook:opened");
    assert_int_equal(INT("SELECT count(*) FROM groups WHERE told ? 'gone'"), 0);
}

static void test_a_receiver_without_a_channel(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{\"to\":\"nobody\"}", INCIDENT);
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver, reason, "
                             "ended_at IS NOT NULL) FROM notifications"),
                        "opened|suppressed||page|receiver page has no channel|t");
    /* what it would be told again is no news for the ledger; its end is */
    schema_do(&db, "UPDATE groups SET flushed_at = flushed_at - 10000, told = jsonb_set(told, "
                   "'{none,last,at}', '1')");
    look(g);
    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), 1);
    schema_do(&db, "UPDATE incidents SET status = 4");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT string_agg(kind || ' ' || state, ' ' ORDER BY seq) FROM "
                             "notifications"),
                        "opened suppressed resolved suppressed");
}

/* That a receiver takes nothing is never told by itself; by its fallback, under the same route. */
static void test_about_the_receiver_itself(void **state)
{
    static const char labels[] = "{\"alertname\":\"TocsinReceiverFailing\",\"failing_receiver\":"
                                 "\"boss\",\"severity\":\"critical\"}";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 4, 0);
    const char *g = add_group(&f->now, labels, INCIDENT);
    DO("UPDATE groups SET routed_by = '%s'", labels);
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver, reason) FROM "
                             "notifications"),
                        "opened|suppressed||boss|it is about receiver boss itself, without a "
                        "fallback");
    schema_do(&db, "DELETE FROM notifications; UPDATE groups SET receiver = 'list', told = '{}', "
                   "flushed_at = NULL");
    look(g);
    pass(f, f->timers);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, channel, receiver) FROM "
                             "notifications"),
                        "opened|pending|webhook|list");
}

/* It knew of the beginning: what it would have been told is the end. */
static void test_a_told_receiver_that_left(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 4, 0);
    const char *g = add_group(&f->now, "{\"severity\":\"critical\"}", INCIDENT);
    look(g);
    pass(f, f->timers);
    f->second = runner(f, &f->later);
    schema_do(&db, "UPDATE incidents SET status = 4");
    for (int i = 0; i < 2; i++) {
        look(g);
        pass(f, f->second);
    }
    assert_string_equal(told(g), ":resolved webhook:opened");
}

static void test_a_digest_whose_receiver_left(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 1, 0);
    const char *g = add_group(&f->now, "{\"to\":\"hourly\"}", NULL);
    DO("INSERT INTO digest_items VALUES ('" TENANT "', '%s', '" INCIDENT "', 7, 1, 2)", g);
    look(g);
    f->second = runner(f, &f->later);
    pass(f, f->second);
    assert_string_equal(TEXT("SELECT concat_ws('|', kind, state, about->'items'->0->>"
                             "'occurrences') FROM notifications"),
                        "digest|suppressed|7");
    assert_int_equal(INT("SELECT count(*) FROM digest_items"), 0);
}

/* Its receiver is still there: whoever was told hears the end, nobody anything else. */
static void test_a_route_that_left(void **state)
{
    static const char untold[] = "018f0000-0000-7000-8000-000000000002";
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    add_incident(untold, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT), *h = add_group(&f->now, "{}", untold);
    look(g);
    pass(f, f->timers);
    forget();
    f->second = runner(f, &f->later);
    schema_do(&db, "UPDATE incidents SET level = 2");
    look(g);
    look(h);
    pass(f, f->second);
    assert_string_equal(told(g), "");
    assert_string_equal(told(h), "");
    /* nobody was told of the other: it goes the way that there is now */
    const char *now = TEXT("SELECT id::text FROM groups WHERE id NOT IN ('%s', '%s')", g, h);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE subject = uuid_send('%s') AND due_at > "
                         "extract(epoch FROM now()) * 1000",
                         now),
                     1);
    DO("UPDATE groups SET since = 1 WHERE id = '%s'", now);
    look(now);
    pass(f, f->second);
    assert_string_equal(told(now), "slack:opened slack:crossing slack:crossing webhook:opened "
                                   "webhook:crossing webhook:crossing");
    schema_do(&db, "UPDATE incidents SET status = 4");
    look(g);
    look(h);
    pass(f, f->second);
    assert_string_equal(told(g), "slack:resolved webhook:resolved");
    assert_string_equal(told(h), "");
}

static void test_an_unknown_time_zone(void **state)
{
    struct fixture *f = *state;
    size_t ran;

    f->now.settings.time_zone = "Mars/Olympus";
    f->second = runner(f, &f->now);
    assert_int_equal(timers_pass(f->second, &ran, &f->e), -EINVAL);
    assert_string_equal(f->e.msg, "receiver team: Postgres knows no time zone Mars/Olympus");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_receiver_that_left),         TEST(test_a_receiver_without_a_channel),
        TEST(test_about_the_receiver_itself),    TEST(test_a_told_receiver_that_left),
        TEST(test_a_digest_whose_receiver_left), TEST(test_a_route_that_left),
        TEST(test_an_unknown_time_zone),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
