/* Two workers of the processor inside at once: the same incident, the same alert, the same
 * partition. */
#include "scene.h"

#include <errno.h>

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

static struct batch *a_batch(int32_t partition, struct post p)
{
    struct batch *b = batch_open();

    put(b, partition, p);
    return b;
}

/*
 * Both workers are inside: `one` stands at `first`, then `two` at `second`. `two` is let go and
 * runs into what `one` holds, or past it; then `one` is let go, too.
 */
static void race(const struct pause *first, struct batch *of_one, const struct pause *second,
                 struct batch *of_two)
{
    worker_commits(&one, of_one);
    pause_reached(first);
    worker_commits(&two, of_two);
    pause_reached(second);
    pause_end(second);
    (void)worker_waits(&two);
    pause_end(first);
    assert_int_equal(worker_end(&one), 0);
    assert_int_equal(worker_end(&two), 0);
}

#define TOLD "SELECT coalesce(string_agg(kind, ' ' ORDER BY seq), '') FROM notifications"
#define INCIDENTS                                                                                  \
    "SELECT string_agg(concat_ws(' ', status, 'firing', alerts_firing, 'of', alerts_total, "       \
    "'counted', occurrences, 'episode', episode), ', ' ORDER BY opened_at) FROM incidents"
#define TIMELINE "SELECT string_agg(kind, ' ' ORDER BY at, kind) FROM timeline"

/*
 * one:  [ends a ... holds the incident |                 | COMMIT]
 * two:            [ends b |  wants the incident .................. reads what one left, ends it]
 */
static void test_the_last_two_alerts_end_at_once(void **state)
{
    struct batch *b = batch_open();
    struct pause first, second;

    (void)state;
    put(b, 0, (struct post){"Disk", "a", .at = 10, .starts = 5});
    put(b, 1, (struct post){"Disk", "b", .at = 11, .starts = 5});
    commits(&one, b);
    runs(&one);
    SAYS("opened", TOLD);
    pause_at(&first, &st.db, "one", "BEFORE UPDATE ON incidents");
    pause_at(&second, &st.db, "two", "AFTER INSERT ON anomalies");
    race(&first, a_batch(0, (struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59}), &second,
         a_batch(1, (struct post){"Disk", "b", .at = 61, .starts = 5, .ends = 60}));
    SAYS("4 firing 0 of 2 counted 2 episode 1", INCIDENTS);
    SAYS("opened resolved", TIMELINE);
    SAYS("2,2", "SELECT string_agg(status::text, ',') FROM alerts");
    runs(&one);
    runs(&two);
    SAYS("opened resolved", TOLD);
}

/*
 * one:  [a begins ... has inserted the anomaly |        | inserts the incident, COMMIT]
 * two:           [b begins | wants to insert the anomaly ........ finds both, joins]
 */
static void test_two_open_the_same_incident(void **state)
{
    struct pause first, second;

    (void)state;
    pause_at(&first, &st.db, "one", "BEFORE INSERT ON incidents");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(&first, a_batch(0, (struct post){"Disk", "a", .at = 10, .starts = 5}), &second,
         a_batch(1, (struct post){"Disk", "b", .at = 11, .starts = 5}));
    SAYS("1 firing 2 of 2 counted 2 episode 1", INCIDENTS);
    SAYS("2", "SELECT occurrences::text FROM anomalies");
    SAYS("opened", TIMELINE);
    runs(&one);
    SAYS("opened", TOLD);
}

/* The same where the anomaly is known and its last incident long over: only its row's lock keeps
 * the second from opening another. */
static void test_two_open_the_next_incident(void **state)
{
    struct pause first, second;

    (void)state;
    commits(&one, a_batch(0, (struct post){"Disk", "a", .at = 10, .starts = 5}));
    commits(&one, a_batch(0, (struct post){"Disk", "a", .at = 20, .starts = 5, .ends = 19}));
    pause_at(&first, &st.db, "one", "BEFORE UPDATE ON anomalies");
    pause_at(&second, &st.db, "two", "AFTER INSERT ON anomalies");
    race(&first, a_batch(0, (struct post){"Disk", "a", .at = 1000, .starts = 995}), &second,
         a_batch(1, (struct post){"Disk", "b", .at = 1001, .starts = 996}));
    SAYS("4 firing 0 of 1 counted 1 episode 1, 1 firing 2 of 2 counted 2 episode 1", INCIDENTS);
    SAYS("3", "SELECT occurrences::text FROM anomalies");
    SAYS("opened resolved opened crossing", TIMELINE);
}

/* A start that both report is counted once, whoever is first. */
static void test_two_report_the_same_start(void **state)
{
    struct pause first, second;

    (void)state;
    pause_at(&first, &st.db, "one", "AFTER INSERT ON occurrences");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(&first, a_batch(0, (struct post){"Disk", "a", .at = 10, .starts = 5}), &second,
         a_batch(1, (struct post){"Disk", "a", .at = 11, .starts = 5}));
    SAYS("1 firing 1 of 1 counted 1 episode 1", INCIDENTS);
    SAYS("1 1", "SELECT a.occurrences || ' ' || n.occurrences FROM alerts a, anomalies n");
    SAYS("1", "SELECT count(*)::text FROM occurrences");
}

/*
 * one:  [the end of a, which is new, would insert it ... |          | it is there: again, ends it]
 * two:             [a begins, which is new, inserts it, COMMIT]
 * No lock lies between them: an end of nothing concerns no incident.
 */
static void test_an_alert_is_new_to_two(void **state)
{
    struct pause first, second;

    (void)state;
    pause_at(&first, &st.db, "one", "BEFORE INSERT ON alerts");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(&first, a_batch(0, (struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59}), &second,
         a_batch(1, (struct post){"Disk", "a", .at = 10, .starts = 5}));
    SAYS("2 1", "SELECT status || ' ' || occurrences FROM alerts");
    SAYS("4 firing 0 of 1 counted 1 episode 1", INCIDENTS);
    SAYS("opened resolved", TIMELINE);
}

/*
 * one:  [a goes on: about to write it, without a lock ... |      | it was written: again, ended]
 * two:                             [a ends, writes it, COMMIT]
 */
static void test_an_alert_ends_while_it_is_repeated(void **state)
{
    struct pause first, second;

    (void)state;
    commits(&one, a_batch(0, (struct post){"Disk", "a", .at = 10, .starts = 5}));
    pause_at(&first, &st.db, "one", "BEFORE UPDATE ON alerts");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(&first, a_batch(0, (struct post){"Disk", "a", .at = 20, .starts = 5}), &second,
         a_batch(1, (struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59}));
    SAYS("2 1", "SELECT status || ' ' || occurrences FROM alerts");
    SAYS("4 firing 0 of 1 counted 1 episode 1", INCIDENTS);
    SAYS("opened resolved", TIMELINE);
}

#define EVERYTHING                                                                                 \
    "SELECT md5(string_agg(t, '')) FROM ("                                                         \
    "SELECT x::text AS t FROM alerts x UNION ALL SELECT x::text FROM incidents x UNION ALL "       \
    "SELECT x::text FROM anomalies x UNION ALL SELECT x::text FROM occurrences x UNION ALL "       \
    "SELECT x::text FROM offsets x UNION ALL SELECT x::text FROM timeline x UNION ALL "            \
    "SELECT x::text FROM groups x UNION ALL SELECT x::text FROM timers x UNION ALL "               \
    "SELECT x::text FROM outbox x ORDER BY 1) all_of_it"

/*
 * one, the new owner of partition 0:  [moves the offset ... |           | COMMIT]
 * two, a zombie with the same records:       [wants the offset ................. sees it moved]
 */
static void test_a_zombie_commits_after_its_partition_moved(void **state)
{
    struct batch *b = batch_open();
    struct pause owner;

    (void)state;
    pause_at(&owner, &st.db, "one", "BEFORE INSERT ON alerts");
    put(b, 0, (struct post){"Disk", "a", .at = 10, .starts = 5});
    put(b, 1, (struct post){"Disk", "z", .at = 10, .starts = 5});
    worker_commits(&one, a_batch(0, (struct post){"Disk", "a", .at = 10, .starts = 5}));
    pause_reached(&owner);
    worker_commits(&two, b);
    const bool waited = worker_waits(&two);
    pause_end(&owner);
    assert_int_equal(worker_end(&one), 0);
    const char *before = TEXT(EVERYTHING);
    assert_int_equal(worker_end(&two), -ESTALE);
    assert_true(waited);
    SAYS(before, EVERYTHING);
    SAYS("1,0", "SELECT string_agg(next_offset::text, ',' ORDER BY partition) FROM offsets WHERE "
                "partition < 2");
}

/*
 * two, a zombie:   [moves the offset ... |                      | COMMIT]
 * the new owner:         [asks where the partition stands ........ behind it]
 */
static void test_a_partition_moves_while_its_last_batch_commits(void **state)
{
    struct offset_row row = {.topic = TOPIC, .partition = 0, .low = 0, .high = -1};
    const struct offset_group g = {"processor", "cluster"};
    struct pause zombie;
    struct err e = {0};

    (void)state;
    pause_at_commit(&zombie, &st.db, "two", "offsets");
    worker_commits(&two, a_batch(0, (struct post){"Disk", "a", .at = 10, .starts = 5}));
    pause_reached(&zombie);
    /* It waits for the answer: nobody starts from an offset that is about to move. */
    DO("SET lock_timeout = '300ms'");
    assert_int_equal(offsets_load(st.db.pg, st.db.arena, &g, &row, 1, &e), -EBUSY);
    DO("SET lock_timeout = 0");
    pause_end(&zombie);
    assert_int_equal(worker_end(&two), 0);
    SQL_OK(&st.db, offsets_load(st.db.pg, st.db.arena, &g, &row, 1, &st.db.e));
    assert_int_equal(row.next, 1);
}

/*
 * Two replicas of Prometheus evaluate the same rule 15 s apart; their posts go to two partitions.
 * one:  [replica A: since 0 ... |            | COMMIT]
 * two:       [replica B: since 15, wants the anomaly ... joins: the same occurrence]
 * Then A dies without a word and its promise runs out; B goes on.
 */
static void test_two_replicas_and_one_dies(void **state)
{
    struct pause first, second;
    const double now = 3600;

    (void)state;
    DO("INSERT INTO beats (ingest, since, last_at) SELECT 'i', ms - 600000, ms FROM "
       "(SELECT (extract(epoch FROM now()) * 1000)::int8 + 5000 AS ms) t");
    DO("UPDATE offsets SET current_since = b.since, current_at = b.last_at FROM beats b");
    pause_at(&first, &st.db, "one", "BEFORE INSERT ON incidents");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(
        &first,
        a_batch(0, (struct post){"Up", "x", .at = now - 90, .starts = now - 120, .ends = now - 30}),
        &second,
        a_batch(1,
                (struct post){"Up", "x", .at = now - 80, .starts = now - 105, .ends = now - 20}));
    SAYS("1 firing 1 of 1 counted 1 episode 1", INCIDENTS);
    SAYS("1", "SELECT count(*)::text FROM occurrences");
    /* A says no more. B does, and its promise is what counts. */
    commits(&two, a_batch(1, (struct post){"Up", "x", .at = now - 25, .starts = now - 105,
                                           .ends = now + 600}));
    assert_true(INT("SELECT count(*) FROM timers WHERE kind = 2 AND due_at <= %lld",
                    (long long)(st.base + MS_HOUR)) > 0);
    runs(&one);
    SAYS("1 firing 1 of 1 counted 1 episode 1", INCIDENTS);
    SAYS("1 1", "SELECT status || ' ' || occurrences FROM alerts");
    SAYS("opened", TOLD);
    /* Nobody looked in vain: the next look is at the end of B's promise. */
    assert_int_equal(INT("SELECT min(due_at) FROM timers WHERE kind = 2"),
                     st.base + (int64_t)((now + 600) * 1000));
    /* B says that it is over, and nobody contradicts. */
    commits(&two, a_batch(1, (struct post){"Up", "x", .at = now - 20, .starts = now - 105,
                                           .ends = now - 21}));
    SAYS("4 firing 0 of 1 counted 1 episode 1", INCIDENTS);
}

static struct slice alertmanager(const char *status, double starts, double ends)
{
    return slice_of(sql("{\"version\":\"4\",\"status\":\"%s\",\"alerts\":[{\"status\":\"%s\","
                        "\"labels\":{\"alertname\":\"Up\",\"instance\":\"x\"},\"annotations\":{},"
                        "\"startsAt\":\"%s\",\"endsAt\":\"%s\"}]}",
                        status, status, time_text(starts),
                        ends > 0 ? time_text(ends) : "0001-01-01T00:00:00Z"));
}

static struct batch *from_alertmanager(int32_t partition, const char *status, double at,
                                       double starts, double ends)
{
    struct batch *b = batch_open();

    put_body(b, partition, "alertmanager", at, alertmanager(status, starts, ends), NULL);
    assert_int_equal(b->v[0].fate, FATE_ALERTS);
    return b;
}

/*
 * Alertmanager lost Prometheus, says that it is over, finds it again and fires with the same start.
 * The two posts are in two partitions.
 * one:  [the end ... |                               | COMMIT]
 * two:       [fires again, wants the alert ................... re-opens]
 * told: opened, and between the two what a flush sees.
 */
static void test_alertmanager_loses_prometheus(void **state)
{
    struct pause first, second;

    (void)state;
    commits(&one, from_alertmanager(0, "firing", 10, 5, 0));
    runs(&one);
    pause_at(&first, &st.db, "one", "BEFORE UPDATE ON incidents");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(&first, from_alertmanager(0, "resolved", 310, 5, 305), &second,
         from_alertmanager(1, "firing", 312, 5, 0));
    SAYS("1 firing 1 of 1 counted 1 episode 2", INCIDENTS);
    SAYS("1 1", "SELECT status || ' ' || occurrences FROM alerts");
    SAYS("1", "SELECT occurrences::text FROM anomalies");
    runs(&one);
    SAYS("opened reopened", TOLD);
    /* The same with a look in between: the end is told, and then that it was none. */
    commits(&one, from_alertmanager(0, "resolved", 410, 5, 405));
    runs(&one);
    commits(&two, from_alertmanager(1, "firing", 412, 5, 0));
    runs(&one);
    SAYS("opened reopened resolved reopened", TOLD);
    SAYS("1 firing 1 of 1 counted 1 episode 3", INCIDENTS);
}

/*
 * The other way round: the firing is committed first although it was received last.
 * one:  [fires again ... |                    | COMMIT: nothing new]
 * two:       [the older end, wants the alert ............ overruled before it came]
 */
static void test_the_end_comes_after_it_was_overruled(void **state)
{
    struct pause first, second;

    (void)state;
    commits(&one, from_alertmanager(0, "firing", 10, 5, 0));
    runs(&one);
    pause_at(&first, &st.db, "one", "AFTER UPDATE ON alerts");
    pause_at(&second, &st.db, "two", "AFTER UPDATE ON offsets");
    race(&first, from_alertmanager(0, "firing", 312, 5, 0), &second,
         from_alertmanager(1, "resolved", 310, 5, 305));
    SAYS("1 1", "SELECT status || ' ' || occurrences FROM alerts");
    SAYS("1 firing 1 of 1 counted 1 episode 1", INCIDENTS);
    runs(&one);
    SAYS("opened", TOLD);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_last_two_alerts_end_at_once, scene_empty),
        cmocka_unit_test_setup(test_two_open_the_same_incident, scene_empty),
        cmocka_unit_test_setup(test_two_open_the_next_incident, scene_empty),
        cmocka_unit_test_setup(test_two_report_the_same_start, scene_empty),
        cmocka_unit_test_setup(test_an_alert_is_new_to_two, scene_empty),
        cmocka_unit_test_setup(test_an_alert_ends_while_it_is_repeated, scene_empty),
        cmocka_unit_test_setup(test_a_zombie_commits_after_its_partition_moved, scene_empty),
        cmocka_unit_test_setup(test_a_partition_moves_while_its_last_batch_commits, scene_empty),
        cmocka_unit_test_setup(test_two_replicas_and_one_dies, scene_empty),
        cmocka_unit_test_setup(test_alertmanager_loses_prometheus, scene_empty),
        cmocka_unit_test_setup(test_the_end_comes_after_it_was_overruled, scene_empty),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
