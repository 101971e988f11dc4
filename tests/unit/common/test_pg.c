/* common/pg against a PostgreSQL of its own. */
#include "testing.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/pg.h"
#include "servers.h"

static struct server *server;
static struct postgres_settings settings;

struct fixture {
    struct pg *pg;
    struct arena *arena;
    struct err e;
};

static int start_server(void **state)
{
    (void)state;
    server = server_postgres();
    settings = (struct postgres_settings){.url = server_url(server),
                                          .schema = "tocsin \"x\\",
                                          .connect_timeout = 5000,
                                          .statement_timeout = 20000};
    struct pg *pg;
    if (pg_open(&settings, "test", &pg, NULL) || pg_connect(pg, NULL) ||
        pg_exec(pg, "CREATE SCHEMA \"tocsin \"\"x\\\"", NULL))
        return -1;
    pg_close(pg);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

static struct pg *connected(const struct postgres_settings *s)
{
    struct pg *pg = NULL;
    struct err e = {0};
    assert_int_equal(pg_open(s, "test", &pg, &e), 0);
    if (pg_connect(pg, &e))
        fail_msg("%s", e.msg);
    return pg;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->arena = arena_new(64 << 20);
    f->pg = connected(&settings);
    int rc = pg_exec(f->pg,
                     "DROP TABLE IF EXISTS t; CREATE TABLE t (id int8 PRIMARY KEY, v text CHECK "
                     "(v <> 'refused'), small int2)",
                     &f->e);
    *state = f;
    return rc;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pg_close(f->pg);
    arena_free(f->arena);
    free(f);
    return 0;
}

#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (f)->e.msg);                                                 \
    } while (0)

static int insert(struct fixture *f, int64_t id, const char *v)
{
    struct pg_args *p = pg_args(f->arena);
    pg_int(p, id);
    pg_text(p, slice_of(v));
    return pg_query(f->pg, "INSERT INTO t (id, v) VALUES ($1, $2)", p, NULL, &f->e);
}

static int64_t count(struct fixture *f)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg, "SELECT count(*) FROM t", NULL, &r, &f->e));
    return pg_get_int(r, 0, 0);
}

static void test_scalars_come_back(void **state)
{
    struct fixture *f = *state;
    const unsigned char uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255};
    struct pg_args *p = pg_args(f->arena);
    pg_int(p, INT64_MIN);
    pg_int4(p, -7);
    pg_bool(p, true);
    pg_bool(p, false);
    pg_float(p, -0.1);
    pg_text(p, SLICE_LIT("emojis \xF0\x9F\x94\x94 and 'quotes'"));
    pg_text(p, SLICE_LIT(""));
    pg_text(p, (struct slice){NULL, 0});
    pg_bytea(p, (struct slice){"\0\1\xFF", 3});
    pg_uuid(p, uuid);
    pg_uuid(p, NULL);
    pg_null(p);
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg,
                   "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::int4, 3::int2, "
                   "1.5::float4, '{\"a\":1}'::jsonb::text",
                   p, &r, &f->e));
    assert_true(pg_get_int(r, 0, 0) == INT64_MIN);
    assert_int_equal(pg_get_int(r, 0, 1), -7);
    assert_true(pg_get_bool(r, 0, 2));
    assert_int_equal(pg_get_int(r, 0, 2), 1);
    assert_false(pg_get_bool(r, 0, 3));
    assert_true(pg_get_float(r, 0, 4) == -0.1);
    assert_true(slice_is(pg_get_text(r, 0, 5), "emojis \xF0\x9F\x94\x94 and 'quotes'"));
    assert_non_null(pg_get_text(r, 0, 6).p);
    assert_int_equal(pg_get_text(r, 0, 6).len, 0);
    assert_null(pg_get_text(r, 0, 7).p);
    assert_true(slice_eq(pg_get_text(r, 0, 8), (struct slice){"\0\1\xFF", 3}));
    assert_memory_equal(pg_get_uuid(r, 0, 9), uuid, 16);
    assert_null(pg_get_uuid(r, 0, 10));
    assert_true(pg_is_null(r, 0, 11));
    assert_int_equal(pg_get_int(r, 0, 11), 0);
    assert_int_equal(pg_get_int(r, 0, 12), 3);
    assert_true(pg_get_float(r, 0, 13) == 1.5);
    assert_true(slice_is(pg_get_text(r, 0, 14), "{\"a\": 1}"));
}

static void test_arrays_come_back(void **state)
{
    struct fixture *f = *state;
    const int64_t ints[] = {1, -2, INT64_MAX};
    const int32_t int4s[] = {1, -2, 3};
    const bool bools[] = {true, false, true};
    const double floats[] = {0.5, -1e300, 0};
    const struct slice texts[] = {SLICE_LIT("a,\"b\""), {NULL, 0}, SLICE_LIT("")};
    const struct slice byteas[] = {{"\0", 1}, SLICE_LIT(""), {NULL, 0}};
    unsigned char uuids[48];
    for (size_t i = 0; i < sizeof uuids; i++)
        uuids[i] = (unsigned char)i;
    struct pg_args *p = pg_args(f->arena);
    pg_ints(p, ints, 3);
    pg_int4s(p, int4s, 3);
    pg_bools(p, bools, 3);
    pg_floats(p, floats, 3);
    pg_texts(p, texts, 3);
    pg_byteas(p, byteas, 3);
    pg_uuids(p, uuids, 3);
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg, "SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)", p, &r, &f->e));
    assert_int_equal(PQntuples(r), 3);
    for (int i = 0; i < 3; i++) {
        assert_true(pg_get_int(r, i, 0) == ints[i]);
        assert_int_equal(pg_get_int(r, i, 1), int4s[i]);
        assert_int_equal(pg_get_bool(r, i, 2), bools[i]);
        assert_true(pg_get_float(r, i, 3) == floats[i]);
        assert_true(slice_eq(pg_get_text(r, i, 4), texts[i]));
        assert_int_equal(pg_is_null(r, i, 4), texts[i].p == NULL);
        assert_true(slice_eq(pg_get_text(r, i, 5), byteas[i]));
        assert_int_equal(pg_is_null(r, i, 5), byteas[i].p == NULL);
        assert_memory_equal(pg_get_uuid(r, i, 6), &uuids[i * (ptrdiff_t)16], 16);
    }
}

static void test_empty_arrays(void **state)
{
    struct fixture *f = *state;
    struct pg_args *p = pg_args(f->arena);
    pg_ints(p, NULL, 0);
    pg_texts(p, NULL, 0);
    pg_uuids(p, NULL, 0);
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg, "SELECT * FROM unnest($1, $2, $3)", p, &r, &f->e));
    assert_int_equal(PQntuples(r), 0);
}

static void test_more_parameters_than_the_first_room(void **state)
{
    struct fixture *f = *state;
    struct pg_args *p = pg_args(f->arena);
    for (int i = 0; i < 40; i++)
        pg_int(p, i);
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f,
       pg_query(f->pg,
                "SELECT $1+$2+$3+$4+$5+$6+$7+$8+$9+$10+$11+$12+$13+$14+$15+$16+$17+$18+$19+$20+"
                "$21+$22+$23+$24+$25+$26+$27+$28+$29+$30+$31+$32+$33+$34+$35+$36+$37+$38+$39+$40",
                p, &r, &f->e));
    assert_int_equal(pg_get_int(r, 0, 0), 780);
}

static void test_same_text_with_other_types_is_another_statement(void **state)
{
    struct fixture *f = *state;
    static const char sql[] = "SELECT $1 IS NULL, pg_typeof($1)::text";
    for (int round = 0; round < 2; round++) {
        CLEANUP(PQclear) PGresult *number = NULL, *text = NULL;
        struct pg_args *p = pg_args(f->arena);
        pg_int(p, 1);
        OK(f, pg_query(f->pg, sql, p, &number, &f->e));
        p = pg_args(f->arena);
        pg_text(p, (struct slice){NULL, 0});
        OK(f, pg_query(f->pg, sql, p, &text, &f->e));
        assert_true(slice_is(pg_get_text(number, 0, 1), "bigint"));
        assert_true(slice_is(pg_get_text(text, 0, 1), "text"));
        assert_true(pg_get_bool(text, 0, 0));
    }
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f,
       pg_query(f->pg,
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1 IS%'",
                NULL, &r, &f->e));
    assert_int_equal(pg_get_int(r, 0, 0), 2);
}

static void test_full_arena_fails_the_query(void **state)
{
    struct fixture *f = *state;
    static const char sql[] = "SELECT $1, $2";
    for (size_t cap = 0, rc = 1; rc; cap += 16) {
        CLEANUP(arena_free) struct arena *small = arena_new(cap);
        struct pg_args *p = pg_args(small);
        pg_int(p, 1);
        pg_ints(p, (const int64_t[]){1, 2, 3}, 3);
        int got = pg_query(f->pg, sql, p, NULL, &f->e);
        if (got)
            assert_int_equal(got, -ENOMEM);
        rc = got != 0;
    }
}

static void test_settings_reach_the_session(void **state)
{
    struct fixture *f = *state;
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg,
                   "SELECT current_schema(), current_setting('statement_timeout'), "
                   "current_setting('application_name'), current_setting('client_encoding')",
                   NULL, &r, &f->e));
    assert_true(slice_is(pg_get_text(r, 0, 0), settings.schema));
    assert_true(slice_is(pg_get_text(r, 0, 1), "20s"));
    assert_true(slice_is(pg_get_text(r, 0, 2), "test"));
    assert_true(slice_is(pg_get_text(r, 0, 3), "UTF8"));
}

static void test_options_of_the_url_stay(void **state)
{
    (void)state;
    char url[400];
    snprintf(url, sizeof url, "%s options='-c work_mem=5MB'", server_url(server));
    struct postgres_settings s = settings;
    s.url = url;
    CLEANUP(pg_close) struct pg *pg = connected(&s);
    CLEANUP(PQclear) PGresult *r = NULL;
    assert_int_equal(
        pg_query(pg, "SELECT current_setting('work_mem'), current_schema()", NULL, &r, NULL), 0);
    assert_true(slice_is(pg_get_text(r, 0, 0), "5MB"));
    assert_true(slice_is(pg_get_text(r, 0, 1), settings.schema));
}

static void test_every_class_of_failure_has_its_code(void **state)
{
    struct fixture *f = *state;
    OK(f, insert(f, 1, "a"));
    assert_int_equal(insert(f, 1, "secret-value"), -EEXIST);
    assert_string_equal(pg_sqlstate(f->pg), "23505");
    assert_non_null(strstr(f->e.msg, "t_pkey"));
    assert_null(strstr(f->e.msg, "secret-value"));

    assert_int_equal(insert(f, 2, "refused"), -ERANGE);
    assert_string_equal(pg_sqlstate(f->pg), "23514");

    struct pg_args *p = pg_args(f->arena);
    pg_text(p, SLICE_LIT("secret-value"));
    assert_int_equal(pg_query(f->pg, "SELECT $1::int8", p, NULL, &f->e), -ERANGE);
    assert_string_equal(pg_sqlstate(f->pg), "22P02");
    assert_null(strstr(f->e.msg, "secret-value"));

    p = pg_args(f->arena);
    pg_text(p, (struct slice){"a\0b", 3});
    assert_int_equal(pg_query(f->pg, "SELECT $1", p, NULL, &f->e), -ERANGE);

    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '40P01'; END$$", &f->e), -EAGAIN);
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '40001'; END$$", &f->e), -EAGAIN);
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '53200'; END$$", &f->e), -EBUSY);
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '54000'; END$$", &f->e), -ERANGE);
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '55P03'; END$$", &f->e), -EBUSY);
    assert_true(pg_held_up(f->pg));
    /* "lost connection to parallel worker", and a disk that fails */
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '55000'; END$$", &f->e), -EBUSY);
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '58030'; END$$", &f->e), -EBUSY);
    assert_int_equal(pg_exec(f->pg, "DO $$BEGIN RAISE SQLSTATE '57014'; END$$", &f->e), -EBUSY);
    assert_true(pg_held_up(f->pg));
    assert_int_equal(pg_query(f->pg, "SELECT nothing FROM nowhere", NULL, NULL, &f->e), -EIO);
    assert_string_equal(pg_sqlstate(f->pg), "42P01");
    assert_false(pg_held_up(f->pg));
    assert_non_null(strstr(f->e.msg, "nowhere"));

    OK(f, insert(f, 3, "still works"));
    assert_string_equal(pg_sqlstate(f->pg), "");
}

static void test_statement_timeout(void **state)
{
    (void)state;
    struct postgres_settings s = settings;
    s.statement_timeout = 50;
    CLEANUP(pg_close) struct pg *pg = connected(&s);
    assert_int_equal(pg_query(pg, "SELECT pg_sleep(60)", NULL, NULL, NULL), -EBUSY);
    int rc;
    do
        rc = pg_query(pg, "SELECT 1", NULL, NULL, NULL);
    while (rc == -EBUSY); /* a slow machine may take 50 ms for it */
    assert_int_equal(rc, 0);
}

static void test_transactions(void **state)
{
    struct fixture *f = *state;
    OK(f, pg_begin(f->pg, &f->e));
    OK(f, insert(f, 1, "a"));
    OK(f, pg_commit(f->pg, &f->e));
    OK(f, pg_begin(f->pg, &f->e));
    OK(f, insert(f, 2, "b"));
    pg_rollback(f->pg);
    pg_rollback(f->pg);
    assert_int_equal(count(f), 1);
}

static void test_commit_after_a_failure_is_no_success(void **state)
{
    struct fixture *f = *state;
    OK(f, pg_begin(f->pg, &f->e));
    OK(f, insert(f, 1, "a"));
    assert_int_equal(insert(f, 1, "b"), -EEXIST);
    assert_int_equal(pg_commit(f->pg, &f->e), -EIO);
    assert_int_equal(count(f), 0);
}

static void test_rollback_keeps_the_reason(void **state)
{
    struct fixture *f = *state;
    OK(f, pg_begin(f->pg, &f->e));
    OK(f, insert(f, 1, "a"));
    assert_int_equal(insert(f, 1, "b"), -EEXIST);
    pg_rollback(f->pg);
    assert_string_equal(pg_sqlstate(f->pg), "23505");
    assert_int_equal(count(f), 0);
}

static void test_affected_rows(void **state)
{
    struct fixture *f = *state;
    OK(f, insert(f, 1, "a"));
    OK(f, insert(f, 2, "a"));
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg, "UPDATE t SET v = 'b'", NULL, &r, &f->e));
    assert_int_equal(pg_affected(r), 2);
}

static int send_insert(struct fixture *f, int64_t id, const char *v, PGresult **ret)
{
    struct pg_args *p = pg_args(f->arena);
    pg_int(p, id);
    pg_text(p, slice_of(v));
    return pg_send(f->pg, "INSERT INTO t (id, v) VALUES ($1, $2) RETURNING id", p, ret, &f->e);
}

static void insert_by_pipeline(struct fixture *f, int64_t first, PGresult **r, int n)
{
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    OK(f, pg_send(f->pg, "BEGIN", NULL, NULL, &f->e));
    for (int i = 0; i < n; i++)
        OK(f, send_insert(f, first + i, "a", &r[i]));
    OK(f, pg_send(f->pg, "COMMIT", NULL, NULL, &f->e));
    OK(f, pg_pipeline_end(f->pg, &f->e));
}

static void test_pipeline_gives_results_in_order(void **state)
{
    struct fixture *f = *state;
    PGresult *r[100] = {NULL};
    for (int round = 0; round < 2; round++) {
        insert_by_pipeline(f, round * INT64_C(100), r, 100);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(pg_get_int(r[i], 0, 0), 100 * round + i);
            PQclear(r[i]);
        }
    }
    assert_int_equal(count(f), 200);
}

static void test_pipeline_fails_with_the_first_error_and_writes_nothing(void **state)
{
    struct fixture *f = *state;
    PGresult *first = NULL, *last = NULL;
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    OK(f, send_insert(f, 1, "a", &first));
    OK(f, send_insert(f, 1, "secret-value", NULL));
    struct pg_args *p = pg_args(f->arena);
    pg_int(p, 9);
    OK(f, pg_send(f->pg, "SELECT $1 / 0", p, &last, &f->e));
    assert_int_equal(pg_pipeline_end(f->pg, &f->e), -EEXIST);
    assert_string_equal(pg_sqlstate(f->pg), "23505");
    assert_null(strstr(f->e.msg, "secret-value"));
    assert_null(first);
    assert_null(last);
    assert_int_equal(count(f), 0);

    /* What the server skipped preparing is prepared again. */
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    p = pg_args(f->arena);
    pg_int(p, 9);
    OK(f, pg_send(f->pg, "SELECT $1 / 0", p, &last, &f->e));
    assert_int_equal(pg_pipeline_end(f->pg, &f->e), -ERANGE);
    assert_string_equal(pg_sqlstate(f->pg), "22012");
}

static void test_pipeline_error_inside_a_transaction_rolls_back(void **state)
{
    struct fixture *f = *state;
    OK(f, pg_begin(f->pg, &f->e));
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    OK(f, send_insert(f, 1, "a", NULL));
    OK(f, send_insert(f, 1, "a", NULL));
    OK(f, pg_send(f->pg, "COMMIT", NULL, NULL, &f->e));
    assert_int_equal(pg_pipeline_end(f->pg, &f->e), -EEXIST);
    pg_rollback(f->pg);
    assert_int_equal(count(f), 0);
}

/* 64 MB each way: without reading while writing, both sides would wait for each other for ever. */
static void test_large_pipeline_does_not_block_both_sides(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free) char *big = malloc(1 << 20);
    memset(big, 'x', 1 << 20);
    PGresult *r[64] = {NULL};
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    for (int i = 0; i < 64; i++) {
        struct pg_args *p = pg_args(f->arena);
        pg_text(p, (struct slice){big, 1 << 20});
        OK(f, pg_send(f->pg, "SELECT $1", p, &r[i], &f->e));
    }
    OK(f, pg_pipeline_end(f->pg, &f->e));
    for (int i = 0; i < 64; i++) {
        assert_int_equal(pg_get_text(r[i], 0, 0).len, 1 << 20);
        PQclear(r[i]);
    }
}

static void test_pipeline_that_could_not_be_sent_commits_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP(arena_free) struct arena *none = arena_new(0);
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    OK(f, send_insert(f, 1, "a", NULL));
    struct pg_args *p = pg_args(none);
    pg_int(p, 1);
    assert_int_equal(pg_send(f->pg, "SELECT $1", p, NULL, &f->e), -ENOMEM);
    assert_int_equal(pg_pipeline_end(f->pg, &f->e), -ENOMEM);
    OK(f, pg_connect(f->pg, &f->e));
    assert_int_equal(count(f), 0);
}

static void test_query_inside_a_pipeline_is_refused(void **state)
{
    struct fixture *f = *state;
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    assert_int_equal(pg_query(f->pg, "SELECT 1", NULL, NULL, &f->e), -EIO);
    OK(f, pg_pipeline_end(f->pg, &f->e));
    OK(f, pg_query(f->pg, "SELECT 1", NULL, NULL, &f->e));
}

static int32_t backend(struct fixture *f)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    OK(f, pg_query(f->pg, "SELECT pg_backend_pid()", NULL, &r, &f->e));
    return (int32_t)pg_get_int(r, 0, 0);
}

static void terminate(struct fixture *f)
{
    CLEANUP(pg_close) struct pg *other = connected(&settings);
    struct pg_args *p = pg_args(f->arena);
    pg_int4(p, backend(f));
    CLEANUP(PQclear) PGresult *r = NULL;
    assert_int_equal(pg_query(other, "SELECT pg_terminate_backend($1, 10000)", p, &r, NULL), 0);
    assert_true(pg_get_bool(r, 0, 0));
}

static void test_lost_connection_and_reconnect(void **state)
{
    struct fixture *f = *state;
    OK(f, insert(f, 1, "a"));
    OK(f, pg_begin(f->pg, &f->e));
    OK(f, insert(f, 2, "a"));
    terminate(f);
    assert_int_equal(insert(f, 3, "a"), -ENOTCONN);
    assert_string_equal(pg_sqlstate(f->pg), "");
    /* The transaction is gone: nothing may run by itself on a new connection. */
    assert_int_equal(insert(f, 3, "a"), -ENOTCONN);
    pg_rollback(f->pg);
    OK(f, pg_connect(f->pg, &f->e));
    OK(f, insert(f, 4, "a"));
    assert_int_equal(count(f), 2);
}

static void test_connection_lost_in_a_pipeline(void **state)
{
    struct fixture *f = *state;
    OK(f, pg_pipeline_begin(f->pg, &f->e));
    OK(f, send_insert(f, 1, "a", NULL));
    OK(f, pg_send(f->pg, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, NULL, &f->e));
    PGresult *r = NULL;
    OK(f, send_insert(f, 2, "a", &r));
    assert_int_equal(pg_pipeline_end(f->pg, &f->e), -ENOTCONN);
    assert_null(r);
    OK(f, pg_connect(f->pg, &f->e));
    assert_int_equal(count(f), 0);
}

/* A peer that stops answering without closing (a frozen host) must not hold a thread for ever. */
static void test_silent_server_counts_as_gone(void **state)
{
    struct fixture *f = *state;
    struct postgres_settings s = settings;
    s.statement_timeout = 1000;
    pg_close(f->pg);
    f->pg = connected(&s);
    OK(f, pg_exec(f->pg, "SET statement_timeout = 0", &f->e));
    pid_t pid = backend(f);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    int rc = pg_query(f->pg, "SELECT 1", NULL, NULL, &f->e);
    kill(pid, SIGCONT);
    assert_int_equal(rc, -ENOTCONN);
}

static void test_no_server(void **state)
{
    (void)state;
    struct postgres_settings s = settings;
    s.url = "host=/nonexistent user=u password=hunter2";
    CLEANUP(pg_close) struct pg *pg = NULL;
    struct err e = {0};
    assert_int_equal(pg_open(&s, "test", &pg, &e), 0);
    assert_int_equal(pg_connect(pg, &e), -ENOTCONN);
    assert_non_null(strstr(e.msg, "/nonexistent"));
    assert_null(strstr(e.msg, "hunter2"));
    assert_null(strchr(e.msg, '\n'));
    assert_int_equal(pg_ping(&s, &e), -ENOTCONN);
    assert_int_equal(pg_ping(&settings, &e), 0);
}

static void test_malformed_url_is_not_quoted(void **state)
{
    (void)state;
    struct postgres_settings s = settings;
    s.url = "postgres://u:hunter2@[::1/x";
    struct pg *pg = NULL;
    struct err e = {0};
    assert_int_equal(pg_open(&s, "test", &pg, &e), -EINVAL);
    assert_null(strstr(e.msg, "hunter2"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_scalars_come_back),
        TEST(test_arrays_come_back),
        TEST(test_empty_arrays),
        TEST(test_more_parameters_than_the_first_room),
        TEST(test_same_text_with_other_types_is_another_statement),
        TEST(test_full_arena_fails_the_query),
        TEST(test_settings_reach_the_session),
        cmocka_unit_test(test_options_of_the_url_stay),
        TEST(test_every_class_of_failure_has_its_code),
        cmocka_unit_test(test_statement_timeout),
        TEST(test_transactions),
        TEST(test_commit_after_a_failure_is_no_success),
        TEST(test_rollback_keeps_the_reason),
        TEST(test_affected_rows),
        TEST(test_pipeline_gives_results_in_order),
        TEST(test_pipeline_fails_with_the_first_error_and_writes_nothing),
        TEST(test_pipeline_error_inside_a_transaction_rolls_back),
        TEST(test_large_pipeline_does_not_block_both_sides),
        TEST(test_pipeline_that_could_not_be_sent_commits_nothing),
        TEST(test_query_inside_a_pipeline_is_refused),
        TEST(test_lost_connection_and_reconnect),
        TEST(test_connection_lost_in_a_pipeline),
        TEST(test_silent_server_counts_as_gone),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_malformed_url_is_not_quoted),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
