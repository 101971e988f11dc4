/* A batch whose transaction fails, or whose COMMIT has no answer: done once, whatever happens. */
#include "cut.h"
#include "scene.h"

#include <errno.h>
#include <time.h>

static struct worker one, wired; /* `wired` reaches the server through a wire that can be cut */
static struct cut *wire;

static int open_all(void **state)
{
    scene_open(state);
    wire = cut_open(server_url(st.db.server));
    worker_open(&one, "one", NULL);
    worker_open(&wired, "wired", cut_host(wire));
    return 0;
}

static int close_all(void **state)
{
    worker_close(&one);
    worker_close(&wired);
    cut_close(wire);
    return scene_close(state);
}

/* Each test begins on a connection that committed nothing yet. */
static int set_up(void **state)
{
    scene_empty(state);
    cut_now(wire);
    worker_close(&wired);
    worker_open(&wired, "wired", cut_host(wire));
    return 0;
}

static struct batch *a_batch(double at)
{
    struct batch *b = batch_open();

    put(b, 0, (struct post){"Disk", "a", .at = at, .starts = 5});
    put(b, 1, (struct post){"Disk", "b", .at = at + 1, .starts = 6});
    return b;
}

#define COUNTED                                                                                    \
    "SELECT concat_ws(' ', (SELECT count(*) FROM incidents), (SELECT sum(occurrences) FROM "       \
    "incidents), (SELECT sum(alerts_total) FROM incidents), (SELECT sum(occurrences) FROM "        \
    "alerts), (SELECT sum(occurrences) FROM anomalies), (SELECT count(*) FROM occurrences), "      \
    "(SELECT count(*) FROM timeline), (SELECT count(*) FROM groups))"
/* One incident of two alerts that began once each. */
#define ONCE "1 2 2 2 2 2 1 1"
#define OFFSETS                                                                                    \
    "SELECT string_agg(next_offset::text, ',' ORDER BY partition) FROM offsets WHERE partition < " \
    "2"

/* The next batch goes on where this one ended. */
static void goes_on(struct worker *w)
{
    SAYS(ONCE, COUNTED);
    SAYS("1,1", OFFSETS);
    commits(w, a_batch(20));
    SAYS(ONCE, COUNTED);
    SAYS("2,2", OFFSETS);
    SAYS("21", "SELECT (max(last_seen) - %lld)::int8 / 1000 || '' FROM alerts", (long long)st.base);
}

/*
 * worker:  [... COMMIT ──────────────▶ server: done
 *                  ╳◀── its answer ───┘     the row says so: not done again
 */
static void test_the_answer_to_commit_is_lost(void **state)
{
    const unsigned before = cut_count(wire);

    (void)state;
    cut_at(wire, CUT_AFTER_COMMIT);
    worker_commits(&wired, a_batch(10));
    assert_int_equal(worker_end(&wired), 0);
    assert_int_equal(cut_count(wire), before + 1);
    goes_on(&wired);
}

/*
 * worker:  [... COMMIT ──╳               server: rolls back
 *                                        the row says so: done again from memory
 */
static void test_the_commit_never_arrives(void **state)
{
    const unsigned before = cut_count(wire);

    (void)state;
    cut_at(wire, CUT_BEFORE_COMMIT);
    worker_commits(&wired, a_batch(10));
    assert_int_equal(worker_end(&wired), 0);
    assert_int_equal(cut_count(wire), before + 1);
    goes_on(&wired);
}

/*
 * worker:  [... COMMIT ──▶ server: in the middle of it |            | done
 *             ╳ looks: the row says no. Tries again, wants the row ... it has moved
 */
static void test_the_commit_is_done_after_it_was_looked_up(void **state)
{
    struct pause middle;

    (void)state;
    pause_at_commit(&middle, &st.db, "wired", "offsets");
    worker_commits(&wired, a_batch(10));
    pause_reached(&middle);
    cut_now(wire);
    assert_true(worker_waits(&wired));
    pause_end(&middle);
    /* Not ours any more, as far as it can know: the offsets are read again, and say where to go on.
     */
    assert_int_equal(worker_end(&wired), -ESTALE);
    st.next[0] = st.next[1] = 1;
    goes_on(&wired);
}

/*
 * worker:          [... COMMIT ──▶ done ╳      the server is away ...  looks: others moved it
 * further the next owner:                       [the next records, COMMIT]
 */
static void test_others_went_on_before_it_was_looked_up(void **state)
{
    struct batch *next = batch_open();
    const unsigned before = cut_count(wire);

    (void)state;
    commits(&wired, a_batch(10));
    cut_refuse(wire, true);
    cut_at(wire, CUT_AFTER_COMMIT);
    worker_commits(&wired, a_batch(20));
    UNTIL("2,2", OFFSETS);
    while (cut_count(wire) == before) /* its answer is on its way */
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000L}, NULL);
    assert_int_equal(cut_count(wire), before + 1);
    st.next[0] = st.next[1] = 2;
    put(next, 0, (struct post){"Disk", "a", .at = 30, .starts = 5});
    commits(&one, next);
    assert_false(atomic_load(&wired.done));
    cut_refuse(wire, false);
    assert_int_equal(worker_end(&wired), -ESTALE);
    SAYS(ONCE, COUNTED);
    SAYS("3,2", OFFSETS);
}

/* ---- what fails for a moment ---- */

/* Fails once, whoever comes by: a sequence does not roll back. */
static void fail_once(const char *moment, const char *how)
{
    DO("CREATE SEQUENCE IF NOT EXISTS race_failures; ALTER SEQUENCE race_failures RESTART; "
       "CREATE OR REPLACE FUNCTION race_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
       "IF nextval('race_failures') = 1 THEN %s; END IF; RETURN NULL; END $$; "
       "DROP TRIGGER IF EXISTS race_fail ON offsets; DROP TRIGGER IF EXISTS race_fail ON "
       "incidents; DROP TRIGGER IF EXISTS race_fail ON timers; "
       "CREATE %s EXECUTE FUNCTION race_fail()",
       how, moment);
}

#define AT_COMMIT                                                                                  \
    "CONSTRAINT TRIGGER race_fail AFTER UPDATE ON offsets DEFERRABLE INITIALLY DEFERRED FOR EACH " \
    "ROW"
#define ERROR(state) "RAISE EXCEPTION 'as the test wants it' USING ERRCODE = '" state "'"

/* Whatever fails for a moment, wherever it does: the batch is done again from memory, and once. */
static void test_what_fails_for_a_moment(void **state)
{
    static const char *const moments[] = {
        "TRIGGER race_fail AFTER UPDATE ON offsets FOR EACH STATEMENT",
        "TRIGGER race_fail AFTER INSERT ON incidents FOR EACH STATEMENT",
        "TRIGGER race_fail AFTER INSERT ON timers FOR EACH STATEMENT",
        AT_COMMIT,
    };
    static const char *const failures[] = {
        ERROR("40001"), ERROR("40P01"), ERROR("23505"),
        ERROR("53300"), ERROR("55P03"), ERROR("57014"),
        ERROR("57P01"), ERROR("08006"), "PERFORM pg_terminate_backend(pg_backend_pid())",
    };

    for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++)
        for (size_t k = 0; k < sizeof(failures) / sizeof(*failures); k++) {
            scene_empty(state);
            fail_once(moments[i], failures[k]);
            worker_commits(&one, a_batch(10));
            if (worker_end(&one) != 0)
                fail_msg("%s, %s: %s", moments[i], failures[k], one.e.msg);
            assert_true(INT("SELECT last_value FROM race_failures") > 1);
            SAYS(ONCE, COUNTED);
            SAYS("1,1", OFFSETS);
        }
}

/* A statement that waits as long as it takes, on a connection of its own. */
static PGconn *elsewhere(const char *first)
{
    PGconn *c = PQconnectdb(pause_url(&st.db, "elsewhere", NULL));

    PQclear(PQexec(c, "SET search_path = " SCHEMA_NAME "; SET deadlock_timeout = '60s'"));
    PQclear(PQexec(c, first));
    assert_int_equal(PQtransactionStatus(c), PQTRANS_INTRANS);
    return c;
}

static void answered(PGconn *c)
{
    for (PGresult *r = PQgetResult(c); r; r = PQgetResult(c)) {
        assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
        PQclear(r);
    }
}

#define DEADLOCKS "SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()"

/*
 * A real deadlock, and the batch is its victim: who completes the circle finds it.
 * worker:     [holds the anomaly | ................... wants the timeline: 40P01, again from memory
 * elsewhere:  [holds the timeline     wants the anomaly ........................ has it, COMMIT]
 */
static void test_a_deadlock(void **state)
{
    struct pause holds;
    struct batch *b = batch_open();

    (void)state;
    commits(&one, a_batch(10));
    const char *before = TEXT(DEADLOCKS);
    put(b, 0, (struct post){"Disk", "a", .at = 60, .starts = 5, .ends = 59});
    put(b, 1, (struct post){"Disk", "b", .at = 60, .starts = 6, .ends = 59});
    pause_at(&holds, &st.db, "one", "BEFORE UPDATE ON incidents");
    PGconn *c = elsewhere("BEGIN; LOCK TABLE timeline IN SHARE MODE");
    worker_commits(&one, b);
    pause_reached(&holds);
    assert_int_equal(PQsendQuery(c, "UPDATE anomalies SET version = version"), 1);
    UNTIL("1", "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'transactionid'");
    pause_end(&holds);
    answered(c);
    assert_false(atomic_load(&one.done));
    PQfinish(c);
    assert_int_equal(worker_end(&one), 0);
    UNTIL(sql("%lld", strtoll(before, NULL, 10) + 1), DEADLOCKS);
    SAYS("4 firing 0", "SELECT status || ' firing ' || alerts_firing FROM incidents");
    SAYS("opened resolved", "SELECT string_agg(kind, ' ' ORDER BY at) FROM timeline");
    SAYS("2,2", OFFSETS);
}

/*
 * Somebody left a transaction open: what comes before it in the batch is done, and nobody is dead.
 * elsewhere:  [holds b                                              | ROLLBACK
 * worker:       [a, b, c: too long] twice  [a, COMMIT]  [b ........ |          COMMIT]  [c, COMMIT]
 */
static void test_a_row_that_somebody_holds(void **state)
{
    struct worker hasty;
    struct batch *b = batch_open();
    const int64_t usual = st.db.settings.statement_timeout;

    (void)state;
    st.db.settings.statement_timeout = 500;
    worker_open(&hasty, "hasty", NULL);
    st.db.settings.statement_timeout = usual;
    for (int i = 0; i < 2; i++) {
        if (i > 0)
            b = batch_open();
        put(b, 0, (struct post){"Disk", "a", .at = 10 + 50 * i, .starts = 5});
        put(b, 0, (struct post){"Load", "b", .at = 10 + 50 * i, .starts = 5});
        put(b, 0, (struct post){"Rain", "c", .at = 10 + 50 * i, .starts = 5});
        if (i == 0)
            commits(&one, b);
    }
    PGconn *c = elsewhere("BEGIN; SELECT FROM alerts WHERE labels ->> 'instance' = 'b' FOR UPDATE");
    worker_commits(&hasty, b);
    UNTIL("4", "SELECT next_offset::text FROM offsets WHERE partition = 0");
    assert_false(atomic_load(&hasty.done));
    PQfinish(c);
    assert_int_equal(worker_end(&hasty), 0);
    SAYS("6", "SELECT next_offset::text FROM offsets WHERE partition = 0");
    SAYS("0", "SELECT count(*)::text FROM outbox WHERE topic = 'dead'");
    SAYS("60 60 60", "SELECT string_agg(((last_seen - %lld) / 1000)::text, ' ') FROM alerts",
         (long long)st.base);
    worker_close(&hasty);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_answer_to_commit_is_lost, set_up),
        cmocka_unit_test_setup(test_the_commit_never_arrives, set_up),
        cmocka_unit_test_setup(test_the_commit_is_done_after_it_was_looked_up, set_up),
        cmocka_unit_test_setup(test_others_went_on_before_it_was_looked_up, set_up),
        cmocka_unit_test_setup(test_a_deadlock, set_up),
        cmocka_unit_test_setup(test_a_row_that_somebody_holds, set_up),
        cmocka_unit_test_setup(test_what_fails_for_a_moment, set_up),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
