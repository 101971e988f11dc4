/* A silence whose COMMIT has no answer: made once, and the asker is told which. */
#include "cut.h"
#include "served.h"

#include "common/silence.h"

static struct cut *wire; /* between the console and its database */

static int open_all(void **state)
{
    start(state);
    wire = cut_open(server_url(db.server));
    settings.postgres.url = arena_printf(db.arena, "%s host=%s", db.settings.url, cut_host(wire));
    pool_free(console.pool);
    SQL_OK(&db, pool_new(&settings.postgres, 1, &console.pool, &db.e));
    return 0;
}

static int close_all(void **state)
{
    int rc = finish(state);

    cut_close(wire);
    return rc;
}

/* Each test begins on a connection that committed nothing yet. */
static int set_up(void **state)
{
    (void)state;
    schema_do(&db, "TRUNCATE silences");
    cut_now(wire);
    get("/api/v1/silences");
    assert_status(200);
    return 0;
}

static void make(bool regex)
{
    char body[200];

    snprintf(body, sizeof body,
             "{\"matchers\": [{\"name\": \"alertname\", \"value\": \"Disk\", \"isRegex\": %s}], "
             "\"duration\": \"1h\"}",
             regex ? "true" : "false");
    ask("POST", "/api/v1/silences", body);
}

#define COUNTED "SELECT count(*)::text FROM silences"
#define NEWEST "SELECT to_json(id)::text FROM silences ORDER BY created_at DESC LIMIT 1"

static void made_once(enum cut_at at_commit, bool regex, const char *then)
{
    const unsigned before = cut_count(wire);

    cut_at(wire, at_commit);
    make(regex);
    assert_status(201);
    assert_int_equal(cut_count(wire), before + 1);
    assert_string_equal(schema_text(&db, COUNTED), then);
    assert_at("id", schema_text(&db, NEWEST));
}

/*
 * console: [... COMMIT ──────────────▶ server: done
 *                  ╳◀── its answer ───┘     tried again: it is there
 */
static void test_the_answer_to_commit_is_lost(void **state)
{
    (void)state;
    made_once(CUT_AFTER_COMMIT, false, "1");
}

/*
 * console: [... COMMIT ──╳               server: rolls back
 *                                        tried again
 */
static void test_the_commit_never_arrives(void **state)
{
    (void)state;
    made_once(CUT_BEFORE_COMMIT, false, "1");
}

/* The last place among those without an equality is taken by itself. */
static void test_the_answer_is_lost_of_the_last_that_may_be(void **state)
{
    (void)state;
    schema_do(&db, arena_printf(db.arena,
                                "INSERT INTO silences SELECT 'default', gen_random_uuid(), '[]', "
                                "'', 0, %lld, '', '', 0 FROM generate_series(2, %d)",
                                (long long)INT64_MAX, SILENCES_LOOSE_MAX));
    made_once(CUT_AFTER_COMMIT, true, "100");
    make(true);
    assert_status(409);
}

#define T(f) cmocka_unit_test_setup(f, set_up)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_the_answer_to_commit_is_lost),
        T(test_the_commit_never_arrives),
        T(test_the_answer_is_lost_of_the_last_that_may_be),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
