/* Notifications on their way: what overtakes what, what fails when, and who may still say so. The
 * letterbox answers when the test wants it. */
#include "scene.h"
#include "sender.h"

static struct worker one, two;

static int open_all(void **state)
{
    scene_open(state);
    worker_open(&one, "one", NULL);
    worker_open(&two, "two", NULL);
    return 0;
}

static int close_all(void **state)
{
    worker_close(&one);
    worker_close(&two);
    return scene_close(state);
}

static struct sender *senders[2];

static void sends(size_t i, const char *who)
{
    senders[i] = sender_open(&st.db, st.config, who);
}

static int tear_down(void **state)
{
    (void)state;
    schema_do(&st.db, "SELECT pg_advisory_unlock_all()");
    for (size_t i = 0; i < 2; i++)
        if (senders[i])
            sender_close(TAKE(senders[i]));
    return 0;
}

static void reports(struct post p)
{
    struct batch *b = batch_open();

    put(b, 0, p);
    commits(&one, b);
    runs(&one);
}

/* Rows by sequence: "opened delivered, resolved failed". */
#define ROWS                                                                                       \
    "SELECT string_agg(kind || ' ' || state, ', ' ORDER BY group_id, seq) FROM notifications"
#define STATE(seq) "SELECT state FROM notifications WHERE seq = " #seq
#define ENDLESS "SELECT count(*)::text FROM notifications WHERE state IN ('pending', 'sending')"

/* Whatever waits for its time does so no longer. */
static void all_is_due(void)
{
    DO("UPDATE timers SET due_at = 1 WHERE kind = 1");
    runs(&one);
}

/* A sender looks at everything that is due: it delivers another row, made after this moment. */
static void a_look_passes(const char *name)
{
    const size_t letters = letterbox_count(st.box);

    reports((struct post){name, "x", .at = 500, .starts = 499});
    letterbox_await(st.box, letters + 1);
    assert_true(letterbox_tells(st.box, letters, name));
    letterbox_answer(st.box, letters, 200);
    UNTIL("delivered",
          "SELECT n.state FROM notifications n JOIN incidents i ON i.id = "
          "n.incident_id WHERE i.alert_name = '%s'",
          name);
}

/* ---- an older one and a newer one ---- */

/*
 * older (opened):    waits after a failed try ......... due | not claimed      | goes, delivered
 * newer (resolved):        [sent ........................... | refused: failed ]
 * The reader now knows of the problem: its end is told after all.
 */
static void test_the_newer_fails_after_the_older_waited(void **state)
{
    (void)state;
    reports((struct post){"Disk", "a", .at = 10, .starts = 5});
    DO("UPDATE notifications SET not_before = 4102444800000, attempts = 1");
    reports((struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59});
    sends(0, "a");
    letterbox_await(st.box, 1);
    SAYS("opened pending, resolved sending", ROWS);
    /* Both inside: the newer is under way when the older becomes due. */
    DO("UPDATE notifications SET not_before = 1 WHERE seq = 1");
    a_look_passes("Other");
    SAYS("pending", "SELECT state FROM notifications n JOIN incidents i ON i.id = n.incident_id "
                    "WHERE alert_name = 'Disk' AND seq = 1");
    letterbox_answer(st.box, 0, 404);
    letterbox_await(st.box, 3);
    /* The look that the failure armed finds nothing to say: nobody was told of the problem yet. */
    UNTIL("1", "SELECT count(*)::text FROM notifications WHERE state = 'failed'");
    all_is_due();
    DO("DELETE FROM timers WHERE kind = 1");
    letterbox_answer(st.box, 2, 200);
    UNTIL("0", ENDLESS);
    all_is_due();
    letterbox_await(st.box, 4);
    assert_true(letterbox_tells(st.box, 3, "\"status\":\"resolved\""));
    letterbox_answer(st.box, 3, 200);
    UNTIL("0", ENDLESS);
    SAYS("opened delivered, resolved failed, resolved delivered",
         "SELECT string_agg(kind || ' ' || state, ', ' ORDER BY seq) FROM notifications n JOIN "
         "incidents i ON i.id = n.incident_id WHERE alert_name = 'Disk'");
    all_is_due();
    UNTIL("0", ENDLESS);
    assert_int_equal(letterbox_count(st.box), 4);
}

/*
 * b:  [claims the older ... |                                        | sees that it is overtaken]
 * a:                          [the newer comes, is claimed, sent ...                  delivered]
 * Neither saw the other's claim. The older one is not sent any more.
 */
static void test_the_newer_is_sent_while_the_older_is_claimed(void **state)
{
    struct pause claim;

    (void)state;
    pause_at(&claim, &st.db, "b", "AFTER UPDATE ON notifications");
    reports((struct post){"Disk", "a", .at = 10, .starts = 5});
    sends(1, "b");
    pause_reached(&claim);
    SAYS("opened pending", ROWS);
    reports((struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59});
    sends(0, "a");
    letterbox_await(st.box, 1);
    assert_true(letterbox_tells(st.box, 0, "\"status\":\"resolved\""));
    pause_end(&claim);
    /* It has its row, and gives it back. */
    UNTIL("t", "SELECT (state = 'pending' AND not_before > 0 OR state = 'superseded')::text::char "
               "FROM notifications WHERE seq = 1");
    letterbox_answer(st.box, 0, 200);
    UNTIL("opened superseded, resolved delivered", ROWS);
    assert_int_equal(letterbox_count(st.box), 1);
}

/*
 * a:  [the newer ... accepted by the channel, delivered]
 * b:  [claims the older ... |                            | sees it]
 */
static void test_the_newer_is_delivered_while_the_older_is_claimed(void **state)
{
    struct pause claim;

    (void)state;
    pause_at(&claim, &st.db, "b", "AFTER UPDATE ON notifications");
    reports((struct post){"Disk", "a", .at = 10, .starts = 5});
    sends(1, "b");
    pause_reached(&claim);
    reports((struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59});
    sends(0, "a");
    letterbox_await(st.box, 1);
    letterbox_answer(st.box, 0, 200);
    UNTIL("delivered", STATE(2));
    pause_end(&claim);
    UNTIL("opened superseded, resolved delivered", ROWS);
    assert_int_equal(letterbox_count(st.box), 1);
}

/*
 * sender:  [the opening was delivered, writes that into the group ... |             | COMMIT]
 * flush:                   [claims the group's timer: it is over. Wants the group ... tells the
 * end] Neither overwrites what the other wrote.
 */
static void test_a_flush_while_a_delivery_is_written(void **state)
{
    struct batch *b = batch_open();
    struct pause writes;

    (void)state;
    reports((struct post){"Disk", "a", .at = 10, .starts = 5});
    pause_at(&writes, &st.db, "a", "AFTER UPDATE ON groups");
    sends(0, "a");
    letterbox_await(st.box, 1);
    letterbox_answer(st.box, 0, 200);
    pause_reached(&writes);
    put(b, 0, (struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59});
    commits(&one, b);
    worker_runs(&two);
    const bool waited = worker_waits(&two);
    pause_end(&writes);
    assert_int_equal(worker_end(&two), 0);
    assert_true(waited);
    SAYS("2 resolved, 1 firing",
         "SELECT format('%%s %%s, %%s %%s', told #>> '{0,last,seq}', told #>> '{0,last,status}', "
         "told #>> '{0,delivered,seq}', told #>> '{0,delivered,status}') FROM groups");
    letterbox_await(st.box, 2);
    letterbox_answer(st.box, 1, 200);
    UNTIL("opened delivered, resolved delivered", ROWS);
}

/* ---- a lease ---- */

/*
 * a:  [claims, sends ......................... hangs ......................... | 404, too late]
 * b:      looks, leaves it | the lease is over: [claims, sends ... 200: delivered]
 */
static void test_a_lease_runs_out_while_the_send_hangs(void **state)
{
    struct pause looks;

    (void)state;
    reports((struct post){"Disk", "a", .at = 10, .starts = 5});
    sends(0, "a");
    letterbox_await(st.box, 1);
    sends(1, "b");
    a_look_passes("Other");
    a_look_passes("Third");
    assert_int_equal(letterbox_count(st.box), 3);
    /* Only the other may claim it now. */
    pause_at(&looks, &st.db, "a", "BEFORE UPDATE ON notifications");
    pause_reached(&looks);
    SAYS("sending f", "SELECT concat(state, ' ', possible_duplicate) FROM notifications n JOIN "
                      "incidents i ON i.id = n.incident_id WHERE alert_name = 'Disk'");
    DO("UPDATE notifications SET lease_until = 1 WHERE state = 'sending'");
    letterbox_await(st.box, 4);
    assert_true(letterbox_tells(st.box, 3, "Disk"));
    SAYS("sending t", "SELECT concat(state, ' ', possible_duplicate) FROM notifications n JOIN "
                      "incidents i ON i.id = n.incident_id WHERE alert_name = 'Disk'");
    const char *holder = TEXT("SELECT lease_by FROM notifications WHERE state = 'sending'");
    pause_end(&looks);
    letterbox_answer(st.box, 0, 404);
    UNTIL("rejected",
          "SELECT coalesce(max(d.outcome), '') FROM deliveries d JOIN notifications n ON n.id = "
          "d.notification_id JOIN incidents i ON i.id = n.incident_id WHERE "
          "alert_name = 'Disk'");
    SAYS(holder, "SELECT lease_by FROM notifications WHERE state = 'sending'");
    letterbox_answer(st.box, 3, 200);
    UNTIL("0", ENDLESS);
    SAYS("delivered t", "SELECT concat(n.state, ' ', possible_duplicate) FROM notifications n JOIN "
                        "incidents i ON i.id = n.incident_id WHERE alert_name = 'Disk'");
    SAYS("firing", "SELECT told #>> '{0,delivered,status}' FROM groups g JOIN incidents i ON i.id "
                   "= g.incident_id WHERE alert_name = 'Disk'");
    assert_int_equal(letterbox_count(st.box), 4);
}

/*
 * a:  [claims, sends ....... hangs ............ | 200: it was delivered, whoever holds it]
 * b:    the lease is over: [claims, sends .......................... | 404: changes nothing]
 */
static void test_the_late_answer_says_that_it_was_delivered(void **state)
{
    (void)state;
    reports((struct post){"Disk", "a", .at = 10, .starts = 5});
    sends(0, "a");
    letterbox_await(st.box, 1);
    sends(1, "b");
    DO("UPDATE notifications SET lease_until = 1 WHERE state = 'sending'");
    letterbox_await(st.box, 2);
    letterbox_answer(st.box, 0, 200);
    UNTIL("delivered", STATE(1));
    letterbox_answer(st.box, 1, 404);
    UNTIL("2", "SELECT count(*)::text FROM deliveries");
    SAYS("delivered t", "SELECT concat(state, ' ', possible_duplicate) FROM notifications");
    SAYS("1", "SELECT told #>> '{0,last,seq}' FROM groups");
    all_is_due();
    SAYS("opened delivered", ROWS);
    assert_int_equal(letterbox_count(st.box), 2);
}

/* ---- merges ---- */

/* Incidents of the receiver whose rate is one message a minute: `from` .. `to` - 1. */
static void storm(int from, int to)
{
    struct batch *b = batch_open();

    for (int i = from; i < to; i++)
        put(b, 0, (struct post){sql("Storm%d", i), "x", "people", .at = 10 + i, .starts = 5});
    commits(&one, b);
    runs(&one);
}

/* The minute is over. */
static void let_one_go(void)
{
    DO("UPDATE destinations SET tat = 0, blocked_until = 0; UPDATE notifications SET not_before = "
       "1 WHERE state = 'pending'");
}

#define MERGED                                                                                     \
    "SELECT count(*)::text FROM notifications n JOIN notifications m ON m.id = n.merged_into "     \
    "WHERE m.state = "

/*
 * digest of 1 and 2:  [sent ................................ | refused: failed, and so are 1 and 2]
 * 3 and 4:                  [the rate is used up: merge ... not into that one] delivered
 * 1 and 2 are told again.
 */
static void test_a_digest_fails_after_others_wanted_to_join(void **state)
{
    (void)state;
    sends(0, "a");
    storm(0, 1);
    letterbox_await(st.box, 1);
    storm(1, 3);
    UNTIL("2", MERGED "'pending'");
    letterbox_answer(st.box, 0, 200);
    UNTIL("1", "SELECT count(*)::text FROM notifications WHERE state = 'delivered'");
    let_one_go();
    letterbox_await(st.box, 2);
    assert_true(letterbox_tells(st.box, 1, "Storm1") && letterbox_tells(st.box, 1, "Storm2"));
    storm(3, 5);
    UNTIL("2", MERGED "'pending'");
    SAYS("2", MERGED "'sending'");
    letterbox_answer(st.box, 1, 404);
    UNTIL("2", MERGED "'failed'");
    all_is_due();
    /* 3 and 4 go, and what was told in vain with them or after them. */
    for (size_t letter = 2; letter < 8; letter++) {
        if (strcmp(TEXT(ENDLESS), "0") == 0)
            break;
        let_one_go();
        letterbox_await(st.box, letter + 1);
        letterbox_answer(st.box, letter, 200);
        UNTIL("0", "SELECT count(*)::text FROM notifications WHERE state = 'sending'");
    }
    SAYS("0", ENDLESS);
    SAYS("5", "SELECT count(*)::text FROM groups WHERE told #>> '{0,delivered,status}' = 'firing'");
    bool told[5] = {false};
    for (size_t letter = 0; letter < letterbox_count(st.box); letter++)
        for (int i = 0; i < 5; i++)
            told[i] |= letter != 1 && letterbox_tells(st.box, letter, sql("Storm%d", i));
    for (int i = 0; i < 5; i++)
        assert_true(told[i]);
}

/*
 * a:  [sends the digest of 1 and 2 ....... hangs .................................. | 200, late]
 * b:    the lease is over: [claims it, the rate is used up: put back] [3 joins it]
 * What a delivered did not tell 3: nobody may take it for told.
 */
static void test_a_late_answer_to_a_digest_that_others_joined(void **state)
{
    (void)state;
    sends(0, "a");
    storm(0, 1);
    letterbox_await(st.box, 1);
    storm(1, 3);
    UNTIL("2", MERGED "'pending'");
    letterbox_answer(st.box, 0, 200);
    UNTIL("1", "SELECT count(*)::text FROM notifications WHERE state = 'delivered'");
    let_one_go();
    letterbox_await(st.box, 2);
    sends(1, "b");
    DO("UPDATE notifications SET lease_until = 1 WHERE state = 'sending'");
    UNTIL("2", MERGED "'pending'");
    storm(3, 4);
    UNTIL("3", MERGED "'pending'");
    letterbox_answer(st.box, 1, 200);
    UNTIL("2", "SELECT count(*)::text FROM deliveries");
    for (size_t letter = 2; letter < 6 && strcmp(TEXT(ENDLESS), "0") != 0; letter++) {
        let_one_go();
        letterbox_await(st.box, letter + 1);
        letterbox_answer(st.box, letter, 200);
        UNTIL("0", "SELECT count(*)::text FROM notifications WHERE state = 'sending'");
    }
    SAYS("0", ENDLESS);
    SAYS("4", "SELECT count(*)::text FROM groups WHERE told #>> '{0,delivered,status}' = 'firing'");
    bool told = false;
    for (size_t letter = 2; letter < letterbox_count(st.box); letter++)
        told |= letterbox_tells(st.box, letter, "Storm3");
    assert_true(told);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_newer_fails_after_the_older_waited, scene_empty,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_newer_is_sent_while_the_older_is_claimed,
                                        scene_empty, tear_down),
        cmocka_unit_test_setup_teardown(test_the_newer_is_delivered_while_the_older_is_claimed,
                                        scene_empty, tear_down),
        cmocka_unit_test_setup_teardown(test_a_flush_while_a_delivery_is_written, scene_empty,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_lease_runs_out_while_the_send_hangs, scene_empty,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_late_answer_says_that_it_was_delivered,
                                        scene_empty, tear_down),
        cmocka_unit_test_setup_teardown(test_a_digest_fails_after_others_wanted_to_join,
                                        scene_empty, tear_down),
        cmocka_unit_test_setup_teardown(test_a_late_answer_to_a_digest_that_others_joined,
                                        scene_empty, tear_down),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
