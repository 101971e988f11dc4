/* Positions of partitions in a real PostgreSQL. */
#include "testing.h"

#include <errno.h>

#include "common/offsets.h"
#include "schema.h"

static struct schema db;
static const struct offset_group group = {"processor", "cluster-1"};

static int open_schema(void **state)
{
    (void)state;
    schema_open(&db);
    return 0;
}

static int close_schema(void **state)
{
    (void)state;
    schema_close(&db);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    schema_do(&db, "TRUNCATE offsets");
    return 0;
}

static const char *stored(void)
{
    return schema_text(&db, "SELECT coalesce(string_agg(concat_ws(':', topic, partition, "
                            "next_offset, starts, coalesce(current_since::text, '-'), current_at), "
                            "' ' ORDER BY grp, cluster_id, topic, partition), '') FROM offsets");
}

static int advance(const struct offset_move *m, size_t n)
{
    SQL_OK(&db, pg_begin(db.pg, &db.e));
    int rc = offsets_advance(db.pg, db.arena, &group, m, n, &db.e);
    if (rc == 0)
        SQL_OK(&db, pg_commit(db.pg, &db.e));
    else
        pg_rollback(db.pg);
    return rc;
}

static void first_sight_starts_at_the_low_mark(void **state)
{
    struct offset_row rows[] = {{.topic = "raw.sentry", .partition = 1, .low = 40, .high = 90},
                                {.topic = "raw.generic", .partition = 0, .low = -1, .high = -1}};

    (void)state;
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, rows, 2, &db.e));
    assert_int_equal(rows[0].next, 40);
    assert_int_equal(rows[1].next, 0);
    for (int i = 0; i < 2; i++) {
        assert_true(rows[i].created);
        assert_false(rows[i].new_cluster);
        assert_int_equal(rows[i].lost_from, -1);
        assert_int_equal(rows[i].starts, 0);
    }
    assert_string_equal(stored(), "raw.generic:0:0:0:-:0 raw.sentry:1:40:0:-:0");
}

static void the_row_decides_where_to_read(void **state)
{
    struct offset_row rows[] = {{.topic = "a", .partition = 0, .low = 0, .high = 90},
                                {.topic = "a", .partition = 1, .low = 0, .high = 90}};

    (void)state;
    schema_do(&db, "INSERT INTO offsets VALUES ('processor', 'cluster-1', 'a', 1, 55, 7, 8, 2), "
                   "('other', 'cluster-1', 'a', 0, 33, 7, 8, 2)");
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, rows, 2, &db.e));
    assert_int_equal(rows[0].next, 0);
    assert_true(rows[0].created);
    assert_int_equal(rows[1].next, 55);
    assert_false(rows[1].created);
    assert_int_equal(rows[1].starts, 2);
    /* being current is void with the assignment; another group's row is not ours */
    assert_string_equal(stored(), "a:0:33:2:7:8 a:0:0:0:-:0 a:1:55:2:-:8");
}

static void outside_the_watermarks_is_told_and_read_again(void **state)
{
    struct offset_row rows[] = {{.topic = "a", .partition = 0, .low = 60, .high = 90},
                                {.topic = "a", .partition = 1, .low = 0, .high = 10, .seen = 55},
                                {.topic = "a", .partition = 2, .low = 0, .high = 55, .seen = 55}};

    (void)state;
    schema_do(&db, "INSERT INTO offsets SELECT 'processor', 'cluster-1', 'a', i, 55 "
                   "FROM generate_series(0, 2) i");
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, rows, 3, &db.e));
    assert_int_equal(rows[0].next, 60);
    assert_int_equal(rows[0].lost_from, 55);
    assert_int_equal(rows[1].next, 0);
    assert_int_equal(rows[1].lost_from, 55);
    assert_int_equal(rows[2].next, 55);
    assert_int_equal(rows[2].lost_from, -1);
    assert_string_equal(stored(), "a:0:60:0:-:0 a:1:0:0:-:0 a:2:55:0:-:0");
}

/* A zombie asks the broker, then the owner commits what came since, then the zombie reads the row.
 */
static void what_moved_meanwhile_is_not_lost(void **state)
{
    struct offset_row row = {.topic = "a", .partition = 0};

    (void)state;
    schema_do(&db, "INSERT INTO offsets VALUES ('processor', 'cluster-1', 'a', 0, 90)");
    SQL_OK(&db, offsets_seen(db.pg, db.arena, &group, &row, 1, &db.e));
    assert_int_equal(row.seen, 90);
    row.low = 0;
    row.high = 90;
    assert_int_equal(advance(&(struct offset_move){"a", 0, 90, 95}, 1), 0);
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, &row, 1, &db.e));
    assert_int_equal(row.lost_from, -1);
    assert_int_equal(row.next, 95);
    assert_string_equal(stored(), "a:0:95:0:-:0");
}

static void a_partition_without_a_row_was_not_seen(void **state)
{
    struct offset_row row = {.topic = "a", .partition = 0};

    (void)state;
    SQL_OK(&db, offsets_seen(db.pg, db.arena, &group, &row, 1, &db.e));
    assert_int_equal(row.seen, -1);
}

static void another_cluster_is_told(void **state)
{
    struct offset_row row = {.topic = "a", .partition = 0, .low = 3, .high = 9};

    (void)state;
    schema_do(&db, "INSERT INTO offsets VALUES ('processor', 'cluster-0', 'a', 0, 55)");
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, &row, 1, &db.e));
    assert_true(row.new_cluster);
    assert_int_equal(row.next, 3);
    assert_string_equal(stored(), "a:0:55:0:-:0 a:0:3:0:-:0");
}

static void moves_together_or_not_at_all(void **state)
{
    const struct offset_move good[] = {{"b", 0, 5, 8}, {"a", 1, 5, 6}};
    const struct offset_move one_stale[] = {{"a", 1, 6, 7}, {"b", 0, 5, 9}};
    const struct offset_move missing[] = {{"a", 1, 6, 7}, {"c", 0, 0, 1}};

    (void)state;
    schema_do(&db, "INSERT INTO offsets SELECT 'processor', 'cluster-1', t, p, 5, NULL, 0, 3 "
                   "FROM unnest('{a,b}'::text[]) t, generate_series(0, 1) p");
    assert_int_equal(advance(good, 2), 0);
    assert_string_equal(stored(), "a:0:5:3:-:0 a:1:6:0:-:0 b:0:8:0:-:0 b:1:5:3:-:0");
    assert_int_equal(advance(one_stale, 2), -ESTALE);
    assert_int_equal(advance(missing, 2), -ESTALE);
    assert_string_equal(stored(), "a:0:5:3:-:0 a:1:6:0:-:0 b:0:8:0:-:0 b:1:5:3:-:0");
}

static void a_start_is_counted_until_a_batch_commits(void **state)
{
    struct offset_row row = {.topic = "a", .partition = 0, .low = 0, .high = 9};

    (void)state;
    for (int i = 0; i < 3; i++) {
        SQL_OK(&db, offsets_load(db.pg, db.arena, &group, &row, 1, &db.e));
        assert_int_equal(row.starts, i);
        SQL_OK(&db, offsets_starts(db.pg, db.arena, &group, &row, 1, &db.e));
    }
    assert_int_equal(advance(&(struct offset_move){"a", 0, 0, 1}, 1), 0);
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, &row, 1, &db.e));
    assert_int_equal(row.starts, 0);
}

/* A batch that ended with an assignment, not with a process, is no death. */
static void a_start_that_was_withdrawn_is_no_death(void **state)
{
    struct offset_row row = {.topic = "a", .partition = 0, .low = 0, .high = 9};

    (void)state;
    for (int i = 0; i < 5; i++) {
        SQL_OK(&db, offsets_load(db.pg, db.arena, &group, &row, 1, &db.e));
        assert_int_equal(row.starts, 0);
        SQL_OK(&db, offsets_starts(db.pg, db.arena, &group, &row, 1, &db.e));
        SQL_OK(&db, offsets_withdraw(db.pg, db.arena, &group, &row, 1, &db.e));
    }
    SQL_OK(&db, offsets_withdraw(db.pg, db.arena, &group, &row, 1, &db.e));
    assert_string_equal(stored(), "a:0:0:0:-:0");
}

/* A worker that lost the partition must not say that it is current. */
static void only_the_owner_says_it_is_current(void **state)
{
    struct offset_current rows[] = {{"a", 0, 5, 1000}, {"a", 1, 4, 1000}, {"a", 2, 5, 0}};

    (void)state;
    schema_do(&db, "INSERT INTO offsets SELECT 'processor', 'cluster-1', 'a', p, 5, 900, 950, 1 "
                   "FROM generate_series(0, 2) p");
    SQL_OK(&db, offsets_current(db.pg, db.arena, &group, rows, 3, 2000, &db.e));
    assert_string_equal(stored(), "a:0:5:1:1000:2000 a:1:5:1:900:950 a:2:5:1:-:2000");
}

static void nothing_to_do_is_fine(void **state)
{
    (void)state;
    SQL_OK(&db, offsets_load(db.pg, db.arena, &group, NULL, 0, &db.e));
    SQL_OK(&db, offsets_starts(db.pg, db.arena, &group, NULL, 0, &db.e));
    SQL_OK(&db, offsets_advance(db.pg, db.arena, &group, NULL, 0, &db.e));
    SQL_OK(&db, offsets_current(db.pg, db.arena, &group, NULL, 0, 1, &db.e));
    assert_string_equal(stored(), "");
}

#define T(f) cmocka_unit_test_setup(f, clear)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(first_sight_starts_at_the_low_mark),
        T(the_row_decides_where_to_read),
        T(outside_the_watermarks_is_told_and_read_again),
        T(what_moved_meanwhile_is_not_lost),
        T(a_partition_without_a_row_was_not_seen),
        T(another_cluster_is_told),
        T(moves_together_or_not_at_all),
        T(a_start_is_counted_until_a_batch_commits),
        T(a_start_that_was_withdrawn_is_no_death),
        T(only_the_owner_says_it_is_current),
        T(nothing_to_do_is_fine),
    };
    return cmocka_run_group_tests(tests, open_schema, close_schema);
}
