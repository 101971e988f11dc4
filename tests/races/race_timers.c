/* Timers, and what they look at while somebody changes it. */
#include "scene.h"

#include <errno.h>
#include <time.h>

static struct worker one, two, three;

static int open_all(void **state)
{
    scene_open(state);
    worker_open(&one, "one", NULL);
    worker_open(&two, "two", NULL);
    worker_open(&three, "three", NULL);
    return 0;
}

static int close_all(void **state)
{
    worker_close(&one);
    worker_close(&two);
    worker_close(&three);
    return scene_close(state);
}

static struct batch *a_batch(struct post p)
{
    struct batch *b = batch_open();

    put(b, 0, p);
    return b;
}

/* Per message: how many fire in it. */
#define LISTED                                                                                     \
    "SELECT coalesce(string_agg(coalesce(jsonb_array_length(about #> '{state,alerts}'), "          \
    "0)::text, "                                                                                   \
    "' ' ORDER BY seq), '') FROM notifications"

/*
 * flush:  [reads the group: a ... |                        | tells a, COMMIT]
 * batch:                             [b joins, COMMIT]                          a later flush: a, b
 */
static void test_an_alert_arrives_between_a_flush_and_its_commit(void **state)
{
    struct pause reading;

    (void)state;
    pause_at(&reading, &st.db, "two", "BEFORE INSERT ON notifications");
    commits(&one, a_batch((struct post){"Disk", "a", "list", .at = 10, .starts = 5}));
    worker_runs(&two);
    pause_reached(&reading);
    commits(&one, a_batch((struct post){"Disk", "b", "list", .at = 20, .starts = 15}));
    pause_end(&reading);
    assert_int_equal(worker_end(&two), 0);
    SAYS("1", LISTED);
    runs(&two);
    SAYS("1 2", LISTED);
}

/*
 * batch:  [b joins ... |                                    | COMMIT]
 * flush:                 [reads: a, tells a, COMMIT]                    a later flush: a, b
 */
static void test_a_flush_comes_before_the_commit_of_a_batch(void **state)
{
    struct pause commit;

    (void)state;
    commits(&one, a_batch((struct post){"Disk", "a", "list", .at = 10, .starts = 5}));
    pause_at_commit(&commit, &st.db, "one", "offsets");
    worker_commits(&one, a_batch((struct post){"Disk", "b", "list", .at = 20, .starts = 15}));
    pause_reached(&commit);
    runs(&two);
    SAYS("1", LISTED);
    pause_end(&commit);
    assert_int_equal(worker_end(&one), 0);
    runs(&two);
    SAYS("1 2", LISTED);
}

/*
 * batch:  [a fires again: it is a member already ... |                                   | COMMIT]
 * flush:                      [reads: a is over, tells the end, would strike a off, COMMIT]
 *                                                                a later flush: a fires
 */
static void test_an_alert_fires_again_while_a_flush_strikes_it_off(void **state)
{
    struct pause member;

    (void)state;
    commits(&one, a_batch((struct post){"Disk", "a", "list", .at = 10, .starts = 5}));
    runs(&two);
    commits(&one, a_batch((struct post){"Disk", "a", "list", .at = 60, .starts = 5, .ends = 59}));
    pause_at(&member, &st.db, "one", "AFTER INSERT ON group_alerts");
    worker_commits(&one, a_batch((struct post){"Disk", "a", "list", .at = 70, .starts = 65}));
    pause_reached(&member);
    runs(&two);
    SAYS("1 0", LISTED);
    pause_end(&member);
    assert_int_equal(worker_end(&one), 0);
    SAYS("1", "SELECT count(*)::text FROM group_alerts");
    runs(&two);
    SAYS("1 0 1", LISTED);
}

/* ---- ends by silence ---- */

static double now(void)
{
    return (double)(clock_now_ms() - st.base) / 1000;
}

/* Everybody was heard all the time: what is quiet too long may end. */
static void all_ears(void)
{
    DO("INSERT INTO beats (ingest, since, last_at) SELECT 'i', ms - 600000, ms FROM "
       "(SELECT (extract(epoch FROM now()) * 1000)::int8 + 5000 AS ms) t");
    DO("UPDATE offsets SET current_since = b.since, current_at = b.last_at FROM beats b");
}

#define STATES                                                                                     \
    "SELECT string_agg(labels ->> 'instance' || status, ' ' ORDER BY labels ->> 'instance') FROM " \
    "alerts"

/* The promise of `instance` ran out; its end is due. */
static void let_be_quiet(const char *instance, double t)
{
    commits(&one, a_batch((struct post){"Up", instance, .at = t - 60, .starts = t - 120,
                                        .ends = t - 30}));
}

/*
 * batch:   [a promises more, holds a ... |                                          | COMMIT]
 * runner:    [claims a's timer, a seems over, wants a ................................ derives
 * anew] another:                                  [claims b's timer, b is over, COMMIT]
 */
static void test_a_timer_is_claimed_while_its_alert_is_hot(void **state)
{
    const double t = now();
    struct pause hot;

    (void)state;
    all_ears();
    let_be_quiet("a", t);
    pause_at(&hot, &st.db, "one", "BEFORE UPDATE ON alerts");
    worker_commits(
        &one, a_batch((struct post){"Up", "a", .at = t - 40, .starts = t - 120, .ends = t + 600}));
    pause_reached(&hot);
    worker_runs(&two);
    assert_true(worker_waits(&two));
    /* Nobody waits for the two of them who has other work. */
    DO("INSERT INTO alerts SELECT (jsonb_populate_record(a, jsonb_build_object('fingerprint', 7, "
       "'anomaly_key', '\\x07', 'incident_id', NULL, 'labels', '{\"instance\":\"b\"}'::jsonb))).* "
       "FROM alerts a; INSERT INTO anomalies SELECT (jsonb_populate_record(n, "
       "'{\"key\": \"\\\\x07\", \"incident_id\": null}')).* FROM anomalies n; "
       "INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 2, '" TENANT
       "', '\\x0000000000000007')");
    runs(&three);
    SAYS("a1 b2", STATES);
    assert_false(atomic_load(&two.done));
    pause_end(&hot);
    assert_int_equal(worker_end(&one), 0);
    assert_int_equal(worker_end(&two), 0);
    SAYS("a1 b2", STATES);
    SAYS("open", "SELECT CASE status WHEN 1 THEN 'open' END FROM incidents");
    assert_int_equal(INT("SELECT min(due_at) FROM timers WHERE kind = 2"),
                     st.base + (int64_t)((t + 600) * 1000));
}

/*
 * batch:   [a promises more, holds a ... |                       | COMMIT]
 * runner:    [claims a's timer, wants a ... dies]   another: [claims it again, derives]
 */
static void test_a_runner_dies_with_a_claimed_timer(void **state)
{
    const double t = now();
    struct pause hot;

    (void)state;
    all_ears();
    let_be_quiet("a", t);
    pause_at(&hot, &st.db, "one", "BEFORE UPDATE ON alerts");
    worker_commits(
        &one, a_batch((struct post){"Up", "a", .at = t - 40, .starts = t - 120, .ends = t - 20}));
    pause_reached(&hot);
    worker_runs(&two);
    assert_true(worker_waits(&two));
    DO("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE wait_event_type = "
       "'Lock' AND wait_event <> 'advisory'");
    assert_int_equal(worker_end(&two), -ENOTCONN);
    SAYS("1", "SELECT count(*)::text FROM timers WHERE kind = 2");
    pause_end(&hot);
    assert_int_equal(worker_end(&one), 0);
    SAYS("a1", STATES);
    runs(&three);
    runs(&three);
    SAYS("a2", STATES);
    SAYS("4 3", "SELECT status || ' ' || resolved_by FROM incidents");
}

/* A promise moves no timer; the one that was there finds it anew, and in the end it ends. */
static void test_a_promise_is_renewed_and_then_kept_no_more(void **state)
{
    const double t = now();

    (void)state;
    all_ears();
    let_be_quiet("a", t);
    commits(&one,
            a_batch((struct post){"Up", "a", .at = t - 40, .starts = t - 120, .ends = t + 1}));
    for (int i = 0; i < 400 && strcmp(TEXT(STATES), "a2") != 0; i++) {
        runs(&two);
        (void)nanosleep(&(struct timespec){.tv_nsec = 25000000L}, NULL);
    }
    SAYS("a2", STATES);
    SAYS("opened expired", "SELECT string_agg(kind, ' ' ORDER BY at) FROM timeline");
    /* Not before its promise. */
    assert_int_equal(INT("SELECT ended_at FROM alerts"), st.base + (int64_t)((t + 1) * 1000));
}

/*
 * elsewhere:  [holds a                                                          | ROLLBACK
 * runner:       [a, b: too long]  [a: too long, put off]  [b is over]  [flush]  |  [a is over]
 */
static void test_a_row_that_somebody_holds(void **state)
{
    const double t = now();
    struct pg *elsewhere;

    (void)state;
    all_ears();
    let_be_quiet("a", t);
    commits(&one,
            a_batch((struct post){"Gone", "b", .at = t - 60, .starts = t - 120, .ends = t - 30}));
    SQL_OK(&st.db, pg_open(&st.db.settings, "elsewhere", &elsewhere, &st.db.e));
    SQL_OK(&st.db, pg_connect(elsewhere, &st.db.e));
    SQL_OK(&st.db, pg_exec(elsewhere,
                           "BEGIN; SELECT FROM alerts WHERE labels ->> 'instance' = 'a' FOR UPDATE",
                           &st.db.e));
    runs(&two);
    SAYS("a1 b2", STATES);
    SAYS("1 0", "SELECT concat_ws(' ', count(*), sum(failures)) FROM timers WHERE kind = 2");
    SAYS("2", "SELECT count(*)::text FROM notifications WHERE kind = 'opened'");
    SQL_OK(&st.db, pg_exec(elsewhere, "ROLLBACK", &st.db.e));
    pg_close(elsewhere);
    DO("UPDATE timers SET due_at = 1 WHERE kind = 2");
    runs(&two);
    SAYS("a2 b2", STATES);
    SAYS("0", "SELECT count(*)::text FROM timers WHERE kind = 2");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_alert_arrives_between_a_flush_and_its_commit, scene_empty),
        cmocka_unit_test_setup(test_a_flush_comes_before_the_commit_of_a_batch, scene_empty),
        cmocka_unit_test_setup(test_an_alert_fires_again_while_a_flush_strikes_it_off, scene_empty),
        cmocka_unit_test_setup(test_a_timer_is_claimed_while_its_alert_is_hot, scene_empty),
        cmocka_unit_test_setup(test_a_runner_dies_with_a_claimed_timer, scene_empty),
        cmocka_unit_test_setup(test_a_promise_is_renewed_and_then_kept_no_more, scene_empty),
        cmocka_unit_test_setup(test_a_row_that_somebody_holds, scene_empty),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
