/* Records that pass the parser and break the database, among neighbours that must not suffer. */
#include "scene.h"

static struct worker one;

static int open_all(void **state)
{
    scene_open(state);
    worker_open(&one, "one", NULL);
    return 0;
}

static int close_all(void **state)
{
    worker_close(&one);
    return scene_close(state);
}

/* Text that no compression makes short: what an index refuses. */
static const char *noise(size_t n)
{
    char *text = arena_alloc(st.db.arena, n + 1, 1);
    uint64_t x = 88172645463325252;

    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        text[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x % 64];
    }
    return text;
}

static void neighbour(struct batch *b, const char *instance)
{
    put(b, 0, (struct post){"Fine", instance, .at = 10, .starts = 5});
}

/* One alert of Prometheus with these members. */
static void prometheus(struct batch *b, const char *labels, const char *more)
{
    put_body(b, 0, "prometheus", 10,
             slice_of(sql("[{\"labels\":{%s},\"annotations\":{}%s}]", labels, more)), NULL);
}

#define DEAD                                                                                       \
    "SELECT string_agg(concat_ws(' ', headers ->> 'offset', headers ->> 'stage'), ', ' ORDER BY "  \
    "(headers ->> 'offset')::int) FROM outbox"
#define STORED                                                                                     \
    "SELECT string_agg(labels ->> 'instance', ' ' ORDER BY labels ->> 'instance') FROM alerts"

/*
 * A batch of good and bad: it fails as a whole, is halved until the bad ones stand alone, and they
 * go to `dead` with the database's own reason.
 */
static void test_what_the_database_refuses_goes_to_dead(void **state)
{
    struct batch *b = batch_open();
    const struct kafka_header long_delivery = {"h.Request-ID", slice_of(noise(3000))};
    const char *issue =
        "{\"action\":\"created\",\"data\":{\"issue\":{\"id\":\"1\",\"title\":\"Boom\","
        "\"project\":{\"slug\":\"shop\"}}},\"actor\":{\"type\":\"application\"}}";
    const char *event =
        sql("{\"action\":\"created\",\"data\":{\"error\":{\"event_id\":\"%s\",\"issue_id\":\"2\","
            "\"title\":\"Boom\",\"project\":\"shop\"}},\"actor\":{\"type\":\"application\"}}",
            noise(3000));

    (void)state;
    DO("ALTER TABLE alerts ADD CONSTRAINT race_no_poison CHECK (labels ->> 'instance' <> "
       "'poison')");
    neighbour(b, "n0");
    put_body(b, 0, "sentry", 10, slice_of(issue), &long_delivery); /* 1 */
    neighbour(b, "n2");
    put_body(b, 0, "sentry", 10, slice_of(event), NULL); /* 3 */
    neighbour(b, "poison");                              /* 4 */
    neighbour(b, "n5");
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].fate != FATE_ALERTS)
            fail_msg("record %zu did not get past the parser: %s", i, b->v[i].reason);
    commits(&one, b);
    DO("ALTER TABLE alerts DROP CONSTRAINT race_no_poison");
    SAYS("1 store, 3 store, 4 store", DEAD);
    SAYS("n0 n2 n5", STORED);
    SAYS(
        "1 firing 3 of 3, 3 counted",
        "SELECT concat(status, ' firing ', alerts_firing, ' of ', alerts_total, ', ', occurrences, "
        "' counted') FROM incidents");
    SAYS("6", "SELECT next_offset::text FROM offsets WHERE partition = 0");
    assert_int_equal(
        INT("SELECT count(*) FROM outbox WHERE headers ->> 'reason' ~ '(54000|23514)'"), 3);
    /* The original, byte for byte. */
    assert_int_equal(
        INT("SELECT count(*) FROM outbox WHERE value = convert_to($_$%s$_$, 'UTF8')", event), 1);
}

/* What the parser mends or cuts is stored; what it cannot take is dead. Nobody is hidden. */
static void test_strange_text_and_times(void **state)
{
    struct batch *b = batch_open();

    (void)state;
    neighbour(b, "n0");
    prometheus(b, "\"alertname\":\"A\",\"instance\":\"nul\\u0000inside\"", "");
    prometheus(b, "\"alertname\":\"B\",\"instance\":\"lone\\ud800surrogate\"", "");
    prometheus(
        b,
        sql("\"alertname\":\"%s\",\"instance\":\"long\",\"job\":\"%s\"", noise(3000), noise(3000)),
        "");
    prometheus(b, "\"alertname\":\"C\",\"instance\":\"year\"",
               ",\"startsAt\":\"300000-01-01T00:00:00Z\",\"endsAt\":\"300001-01-01T00:00:00Z\"");
    prometheus(b, "\"alertname\":\"D\",\"instance\":\"late\"",
               ",\"startsAt\":\"9999-12-31T23:59:59Z\",\"endsAt\":\"9999-12-31T23:59:59Z\"");
    put_body(b, 0, "prometheus", 10, (struct slice){"[{\"labels\":{\"a\":\"\0\"}}]", 21}, NULL);
    put_body(b, 0, "prometheus", 10, SLICE_LIT("[{\"labels\":{\"a\":\"\xff\xfe\"}}]"), NULL);
    neighbour(b, "n8");
    commits(&one, b);
    SAYS("late lone\xef\xbf\xbdsurrogate long n0 n8 nul\xef\xbf\xbdinside year", STORED);
    SAYS("6 decode, 7 decode", DEAD);
    SAYS("9", "SELECT next_offset::text FROM offsets WHERE partition = 0");
    assert_int_equal(INT("SELECT count(*) FROM outbox WHERE headers ->> 'reason' = ''"), 0);
    assert_true(INT("SELECT max(length(labels ->> 'job')) FROM alerts") <= 2048);
    runs(&one);
    SAYS("6", "SELECT count(*)::text FROM notifications");
}

/* A receive time beyond all calendars, as a broken clock of ingest writes it. */
static void test_a_receive_time_in_the_year_30000(void **state)
{
    struct batch *b = batch_open();

    (void)state;
    neighbour(b, "n0");
    put(b, 0, (struct post){"Far", "far", .at = 880000000000, .starts = 5});
    neighbour(b, "n2");
    commits(&one, b);
    SAYS("far n0 n2", STORED);
    SAYS("3", "SELECT next_offset::text FROM offsets WHERE partition = 0");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_the_database_refuses_goes_to_dead, scene_empty),
        cmocka_unit_test_setup(test_strange_text_and_times, scene_empty),
        cmocka_unit_test_setup(test_a_receive_time_in_the_year_30000, scene_empty),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
