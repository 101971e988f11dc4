/* The runner of timers: every kind, what cannot be worked on, and its thread. */
#include "flush_stage.h"

#include "common/metrics.h"

/* ---- subjects that cannot be worked on ---- */

#define FAILED "tocsin_processor_timers_failed_total"
#define PARKED "SELECT count(*) FROM timers WHERE failures = %d"

static long long failed(const char *kind)
{
    return (long long)counter_value(counter_new(FAILED, "", sql("kind=\"%s\"", kind)));
}

/* Two of many groups: Postgres takes no notification of one, and of the other what was told is
 * unreadable. Everybody else is told at once. */
static void test_groups_that_cannot_be_flushed(void **state)
{
    struct fixture *f = *state;
    const char *group[25];
    const size_t n = sizeof(group) / sizeof(*group);
    const long long before = failed("group");

    for (unsigned i = 0; i < n; i++) {
        const char *id = sql("018f0000-0000-7000-8000-%012u", i);

        add_incident(id, 1, 2, 0);
        group[i] = add_group(&f->now, "{}", id);
        look(group[i]);
    }
    DO("UPDATE groups SET told = '[]' WHERE id = '%s'", group[3]);
    DO("ALTER TABLE notifications ADD CONSTRAINT sane CHECK (group_id <> '%s')", group[17]);
    assert_int_equal(pass(f, f->timers), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(told(group[i]), i == 3 || i == 17 ? "" : "slack:opened webhook:opened");
    assert_int_equal(INT(PARKED, 1), 2);
    assert_int_equal(failed("group") - before, 2);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE reason LIKE '%%23514%%sane%%' AND "
                         "subject = uuid_send('%s')",
                         group[17]),
                     1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE reason LIKE 'groups.told%%' AND "
                         "subject = uuid_send('%s')",
                         group[3]),
                     1);
    assert_int_equal(pass(f, f->timers), 0); /* not now */
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE failures > 0 AND due_at <= "
                         "(extract(epoch FROM now()) * 1000)::int8"),
                     0);

    /* mended: the next look tells them, and nothing is left */
    schema_do(&db, "ALTER TABLE notifications DROP CONSTRAINT sane; UPDATE groups SET told = '{}' "
                   "WHERE told = '[]'; UPDATE timers SET due_at = 0 WHERE failures > 0");
    assert_int_equal(pass(f, f->timers), 2);
    assert_string_equal(told(group[3]), "slack:opened webhook:opened");
    assert_string_equal(told(group[17]), "slack:opened webhook:opened");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE failures > 0"), 0);
}

/* It is put off longer each time, up to a bound; news look at once, and add no second timer. */
static void test_a_parked_group_backs_off(void **state)
{
    struct fixture *f = *state;
    long long last = 0;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    schema_do(&db, "UPDATE groups SET told = '[]'");
    for (int i = 1; i <= 40; i++) {
        look(g);
        if (i % 2)
            schema_do(&db, "UPDATE timers SET due_at = 0 WHERE failures > 0");
        pass(f, f->timers);
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 1);
        assert_int_equal(INT("SELECT failures FROM timers WHERE kind = 1"), i);
        const long long due = INT("SELECT due_at FROM timers WHERE kind = 1");
        assert_true(due >= last);
        last = due;
    }
    assert_true(INT("SELECT due_at - (extract(epoch FROM now()) * 1000)::int8 FROM timers WHERE "
                    "kind = 1") <= 10 * MS_MINUTE);
}

static void test_an_alert_that_cannot_end(void **state)
{
    struct fixture *f = *state;
    const long long before = failed("alert");

    for (int i = 1; i <= 7; i++)
        DO("INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 2, 'a', "
           "'\\x000000000000000%d')",
           i);
    f->expire_breaks = 5;
    assert_int_equal(pass(f, f->timers), 7);
    assert_int_equal(f->silent_n, 6);
    for (size_t i = 0; i < f->silent_n; i++)
        assert_true(f->silent[i].fingerprint != 5);
    assert_string_equal(TEXT("SELECT encode(subject, 'hex') FROM timers WHERE failures = 1 AND "
                             "kind = 2 AND reason LIKE '%%22012%%'"),
                        "0000000000000005");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 1);
    assert_int_equal(failed("alert") - before, 1);
    f->expire_breaks = 0;
    schema_do(&db, "UPDATE timers SET due_at = 0 WHERE failures > 0");
    assert_int_equal(pass(f, f->timers), 1);
    assert_int_equal(f->silent_n, 7);
}

/* A month's partition that cannot be made, as rows of that month are in the default one already, is
 * no reason to stop telling people. */
static void test_housekeeping_that_fails(void **state)
{
    struct fixture *f = *state;

    pass(f, f->timers);
    DO("DROP TABLE timeline_%s; INSERT INTO timeline (tenant, incident_id, at, cause, kind, body) "
       "SELECT '" TENANT "', '" INCIDENT "', (extract(epoch FROM date_trunc('month', now() AT TIME "
       "ZONE 'UTC' + interval '3 months')) * 1000)::int8 + 5, '', '', ''; UPDATE timers SET due_at "
       "= 5 WHERE kind = 3",
       TEXT("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYYMM')"));
    const size_t ran = pass(f, f->timers);
    schema_do(&db, "TRUNCATE timeline; SELECT partitions_ahead(3)");
    assert_int_equal(ran, 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3 AND failures = 1 AND reason "
                         "LIKE '%%23514%%'"),
                     1);
}

static void test_a_group_that_is_no_more(void **state)
{
    struct fixture *f = *state;

    look(INCIDENT);
    schema_do(&db,
              "INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 1, 't', '\\x01')");
    assert_int_equal(pass(f, f->timers), 2);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), 0);
}

#define CROWD 120
#define LOOKS 4

struct racer {
    pthread_t thread;
    struct timers *timers;
    int rc;
};

static void *race(void *ctx)
{
    struct racer *r = ctx;
    struct err e = {0};

    for (int i = 0; i < 400; i++) {
        size_t ran = 0;

        r->rc = timers_pass(r->timers, &ran, &e);
        if (r->rc == -EAGAIN)
            continue;
        if (r->rc < 0 || ran == 0)
            break;
    }
    return NULL;
}

static void test_two_runners_double_nothing(void **state)
{
    struct fixture *f = *state;
    struct racer racers[2];

    f->now.settings.processor.timer_batch = 7;
    f->second = runner(f, &f->now);
    for (unsigned i = 0; i < CROWD; i++) {
        const char *id = sql("018f0000-0000-7000-8000-%012u", i);

        add_incident(id, 1, 2, 1);
        const char *g = add_group(&f->now, "{}", id);
        for (int j = 0; j < LOOKS; j++)
            look(g);
    }
    racers[0] = (struct racer){.timers = f->timers};
    racers[1] = (struct racer){.timers = f->second};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        (void)pthread_join(racers[i].thread, NULL);
        assert_int_equal(racers[i].rc, 0);
    }
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND due_at = 1"), 0);
    assert_int_equal(INT("SELECT count(*) FROM notifications"), CROWD * 4);
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE kind = 'opened'"), CROWD * 2);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1"), CROWD);
}

/* ---- other kinds ---- */

static void test_alerts_that_may_have_ended(void **state)
{
    struct fixture *f = *state;
    size_t ran;

    schema_do(&db, "INSERT INTO timers (due_at, kind, tenant, subject) VALUES "
                   "(1, 2, 'b', '\\x8000000000000001'), (2, 2, 'b', '\\x8000000000000001'), "
                   "(1, 2, 'a', '\\x0000000000000002'), (4102444800000, 2, 'a', "
                   "'\\x0000000000000002')");
    f->expire_answer = -ENOTCONN;
    assert_int_equal(timers_pass(f->timers, &ran, &f->e), -ENOTCONN);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 4);
    assert_int_equal(INT("SELECT count(*) FROM beats"), 0);

    f->silent_n = 0;
    f->expire_answer = 0;
    assert_int_equal(pass(f, f->timers), 3);
    assert_int_equal(f->silent_n, 2);
    assert_int_equal(f->silent[0].fingerprint, 2);
    assert_true(f->silent[1].fingerprint == HIGH_FP);
    assert_int_equal(INT("SELECT count(*) FROM beats"), 1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 1);
}

/* What the ends of alerts may run into, and the connection is still there: nobody else waits. */
static void test_alerts_that_must_be_tried_again(void **state)
{
    static const int answers[] = {-EBUSY, -EAGAIN};
    struct fixture *f = *state;
    size_t ran;

    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        schema_do(&db, "TRUNCATE timers, notifications, beats; UPDATE groups SET told = '{}'; "
                       "INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 2, 'a', "
                       "'\\x0000000000000002'), (1, 3, '', '')");
        look(g);
        f->expire_answer = answers[i];
        assert_int_equal(timers_pass(f->timers, &ran, &f->e), answers[i]);
        assert_string_equal(f->e.msg, "as the test wants it");
        assert_string_equal(told(g), "slack:opened webhook:opened");
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3 AND due_at > 1"), 1);
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2 AND due_at = 1"), 1);
        assert_int_equal(INT("SELECT count(*) FROM beats"), 0);
    }
    f->expire_answer = 0;
    assert_int_equal(pass(f, f->timers), 1);
}

#define HELD "tocsin_processor_timers_held_total"
#define DUE_SOON                                                                                   \
    "SELECT encode(subject, 'hex') FROM timers WHERE kind = 2 AND failures = 0 AND due_at > "      \
    "(extract(epoch FROM now()) * 1000)::int8 AND reason LIKE '%%lock timeout%%'"

/* Somebody left a transaction open: what needs its row waits for it, and nobody else does. */
static void test_an_alert_that_somebody_holds(void **state)
{
    struct fixture *f = *state;
    struct counter *held = counter_new(HELD, "", "kind=\"alert\"");
    const uint64_t before = counter_value(held);
    const long long parked = failed("alert");
    struct pg *holder;

    for (unsigned i = 1; i <= 7; i++) {
        add_alert(i, 1, 2);
        DO("INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 2, '" TENANT
           "', '\\x000000000000000%u')",
           i);
    }
    add_incident(INCIDENT, 1, 2, 0);
    const char *g = add_group(&f->now, "{}", INCIDENT);
    look(g);
    f->expire_locks = true;
    SQL_OK(f, pg_open(&db.settings, "holder", &holder, &f->e));
    SQL_OK(f, pg_connect(holder, &f->e));
    SQL_OK(f, pg_exec(holder, "BEGIN; SELECT FROM alerts WHERE fingerprint = 5 FOR UPDATE", &f->e));
    assert_int_equal(pass(f, f->timers), 8);
    assert_string_equal(told(g), "slack:opened webhook:opened");
    assert_int_equal(f->silent_n, 6);
    for (size_t i = 0; i < f->silent_n; i++)
        assert_true(f->silent[i].fingerprint != 5);
    assert_string_equal(TEXT(DUE_SOON), "0000000000000005");
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 1);
    assert_int_equal(counter_value(held) - before, 1);
    assert_int_equal(failed("alert"), parked);

    /* again: it is put off in the same way, not longer, and there is one timer */
    DO("UPDATE timers SET due_at = 0 WHERE kind = 2");
    assert_int_equal(pass(f, f->timers), 1);
    assert_string_equal(TEXT(DUE_SOON), "0000000000000005");
    assert_int_equal(f->silent_n, 6);

    SQL_OK(f, pg_exec(holder, "ROLLBACK", &f->e));
    pg_close(holder);
    DO("UPDATE timers SET due_at = 0 WHERE kind = 2");
    assert_int_equal(pass(f, f->timers), 1);
    assert_int_equal(f->silent_n, 7);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 2"), 0);
}

/* What is listed still, or may still be ended, stays. */
static void test_silences_that_are_long_over_go(void **state)
{
    struct fixture *f = *state;

    pass(f, f->timers);
    DO("INSERT INTO silences SELECT '" TENANT "', md5(k || i)::uuid, '[]', '', 0, (extract(epoch "
       "FROM now()) * 1000)::int8 + age, 'ann', '', 0 FROM (VALUES ('old', -31 * 86400000::int8, "
       "4500), ('listed', -29 * 86400000::int8, 1), ('now', 3600000, 1)) v (k, age, n), "
       "generate_series(1, n) i");
    DO("INSERT INTO silenced_groups SELECT tenant, id, g FROM silences, (VALUES (md5('g')::uuid), "
       "(md5('h')::uuid)) v (g)");
    DO("INSERT INTO silenced_groups VALUES ('" TENANT "', md5('none')::uuid, md5('g')::uuid)");
    DO("UPDATE timers SET due_at = 5 WHERE kind = 3");
    assert_int_equal(pass(f, f->timers), 1);
    assert_string_equal(TEXT("SELECT string_agg(CASE id WHEN md5('listed1')::uuid THEN 'listed' "
                             "WHEN md5('now1')::uuid THEN 'now' ELSE 'old' END, ' ' ORDER BY "
                             "ends_at) FROM silences"),
                        "listed now");
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups"), 2);
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups WHERE silence_id = "
                         "md5('now1')::uuid"),
                     2);
}

static void test_housekeeping(void **state)
{
    struct fixture *f = *state;

    pass(f, f->timers);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3"), 1);
    DO("INSERT INTO delivery_ids SELECT '" TENANT
       "', 's', i::text, 1 FROM generate_series(1, 4500) "
       "i; INSERT INTO delivery_ids VALUES ('" TENANT "', 's', 'young', 4102444800000); "
       "INSERT INTO beats (ingest, since, last_at) VALUES ('old', 1, 1), ('young', 1, "
       "4102444800000); DROP TABLE IF EXISTS timeline_%s; UPDATE timers SET due_at = 5 WHERE kind "
       "= 3",
       TEXT("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYYMM')"));
    assert_int_equal(pass(f, f->timers), 1);
    assert_string_equal(TEXT("SELECT id FROM delivery_ids"), "young");
    assert_string_equal(TEXT("SELECT ingest FROM beats"), "young");
    assert_int_equal(INT("SELECT count(*) FROM pg_tables WHERE schemaname = '" SCHEMA_NAME
                         "' AND tablename = 'timeline_' || to_char(now() AT TIME ZONE 'UTC' + "
                         "interval '3 months', 'YYYYMM')"),
                     1);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 3 AND due_at > 5"), 1);
}

/* ---- the thread ---- */

static void wait_for(const char *query)
{
    const int64_t deadline = clock_monotonic_ms() + 60 * MS_SECOND;

    while (!schema_int(&db, query)) {
        if (clock_monotonic_ms() > deadline)
            fail_msg("this never came true: %s", query);
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static void test_the_runner(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    f->now.settings.processor.timer_idle = MS_HOUR; /* so that only a kick or a timer wakes it */
    while (kafka_produce_wait(f->producer, "notify.slack", SLICE_LIT("k"), SLICE_LIT("v"), NULL, 0,
                              60 * MS_SECOND, &f->e) != 0)
        continue; /* a fresh producer may take longer than the outbox waits */
    SQL_OK(f, timers_start(f->timers, &f->e));
    wait_for("SELECT count(*) FROM timers WHERE kind = 3");
    look(add_group(&f->now, "{}", INCIDENT));
    schema_do(&db, "INSERT INTO outbox (topic, value) VALUES ('notify.slack', 'x')");
    timers_kick(f->timers);
    wait_for("SELECT count(*) = 2 FROM notifications");
    wait_for("SELECT count(*) = 0 FROM outbox");
    /* it sleeps until the next timer, not for an hour */
    schema_do(&db, "UPDATE incidents SET level = 1; INSERT INTO timers (due_at, kind, tenant, "
                   "subject) SELECT (extract(epoch FROM now()) * 1000)::int8 + 100, 1, tenant, "
                   "uuid_send(id) FROM groups");
    timers_kick(f->timers);
    wait_for("SELECT count(*) = 4 FROM notifications");
    timers_stop(f->timers);
    schema_do(&db, "UPDATE incidents SET status = 4; UPDATE timers SET due_at = 1 WHERE kind = 1");
    timers_kick(f->timers);
    assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND due_at = 1"), 1);
}

/* A timer that is long due and another's is no reason to sleep for ever. */
static void test_the_runner_beside_a_claim(void **state)
{
    struct fixture *f = *state;
    struct pg *holder;

    add_incident(INCIDENT, 1, 2, 0);
    look(add_group(&f->now, "{}", INCIDENT));
    SQL_OK(f, pg_open(&db.settings, "holder", &holder, &f->e));
    SQL_OK(f, pg_connect(holder, &f->e));
    SQL_OK(f, pg_exec(holder, "BEGIN; SELECT FROM timers FOR UPDATE", &f->e));
    SQL_OK(f, timers_start(f->timers, &f->e));
    wait_for("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tocsin-processor "
             "timers' AND state = 'idle' AND query LIKE '%FROM outbox)%'");
    pg_close(holder);
    timers_kick(f->timers);
    wait_for("SELECT count(*) = 2 FROM notifications");
}

/* Postgres ends its connection under it. */
static void test_the_runner_survives_postgres(void **state)
{
    struct fixture *f = *state;

    add_incident(INCIDENT, 1, 2, 0);
    f->now.settings.processor.timer_idle = 20;
    SQL_OK(f, timers_start(f->timers, &f->e));
    wait_for("SELECT count(*) FROM timers WHERE kind = 3");
    schema_do(&db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name "
                   "= 'tocsin-processor timers'");
    look(add_group(&f->now, "{}", INCIDENT));
    wait_for("SELECT count(*) = 2 FROM notifications");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_groups_that_cannot_be_flushed),
        TEST(test_a_parked_group_backs_off),
        TEST(test_an_alert_that_cannot_end),
        TEST(test_housekeeping_that_fails),
        TEST(test_a_group_that_is_no_more),
        TEST(test_two_runners_double_nothing),
        TEST(test_alerts_that_may_have_ended),
        TEST(test_alerts_that_must_be_tried_again),
        TEST(test_an_alert_that_somebody_holds),
        TEST(test_silences_that_are_long_over_go),
        TEST(test_housekeeping),
        TEST(test_the_runner),
        TEST(test_the_runner_beside_a_claim),
        TEST(test_the_runner_survives_postgres),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
