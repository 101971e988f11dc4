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
 * go to `dead` with the database's own reason. Here the database refuses an alert whose instance is
 * a SQLSTATE, with that: what data can do to it is of the classes 22, 23 and 54.
 */
static void test_what_the_database_refuses_goes_to_dead(void **state)
{
    struct batch *b = batch_open();

    (void)state;
    DO("CREATE FUNCTION race_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
       "IF NEW.labels ->> 'instance' ~ '^[0-9]' THEN RAISE EXCEPTION 'does not fit' USING ERRCODE "
       "= "
       "NEW.labels ->> 'instance'; END IF; RETURN NEW; END $$; "
       "CREATE TRIGGER race_refuse BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION "
       "race_refuse()");
    neighbour(b, "n0");
    neighbour(b, "22021"); /* 1 */
    neighbour(b, "n2");
    neighbour(b, "23514"); /* 3 */
    neighbour(b, "54000"); /* 4 */
    neighbour(b, "n5");
    commits(&one, b);
    DO("DROP TRIGGER race_refuse ON alerts");
    SAYS("1 store, 3 store, 4 store", DEAD);
    SAYS("n0 n2 n5", STORED);
    SAYS(
        "1 firing 3 of 3, 3 counted",
        "SELECT concat(status, ' firing ', alerts_firing, ' of ', alerts_total, ', ', occurrences, "
        "' counted') FROM incidents");
    SAYS("6", "SELECT next_offset::text FROM offsets WHERE partition = 0");
    assert_int_equal(INT("SELECT count(*) FROM outbox WHERE headers ->> 'reason' ~ "
                         "'does not fit .(22021|23514|54000)'"),
                     3);
    /* The originals. */
    assert_int_equal(INT("SELECT count(*) FROM outbox WHERE convert_from(value, 'UTF8')::jsonb #>> "
                         "'{0,labels,instance}' ~ '^(22021|23514|54000)$'"),
                     3);
}

/* Ids that no index takes: they stand as their hashes, and are known again. */
static void test_ids_that_are_too_long(void **state)
{
    const struct kafka_header delivery = {"h.Request-ID", slice_of(noise(3000))};
    const char *issue =
        "{\"action\":\"created\",\"data\":{\"issue\":{\"id\":\"1\",\"title\":\"Boom\","
        "\"project\":{\"slug\":\"shop\"}}},\"actor\":{\"type\":\"application\",\"id\":\"sentry\"}}";
    const char *event =
        sql("{\"action\":\"created\",\"data\":{\"error\":{\"event_id\":\"%s\",\"issue_id\":\"2\","
            "\"title\":\"Boom\",\"project\":\"shop\"}},\"actor\":{\"type\":\"application\",\"id\":"
            "\"sentry\"}}",
            noise(3000));

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct batch *b = batch_open();
        neighbour(b, i ? "n1" : "n0");
        put_body(b, 0, "sentry", 10, slice_of(issue), &delivery);
        put_body(b, 0, "sentry", 11, slice_of(event), NULL);
        commits(&one, b);
    }
    SAYS("n0 n1", STORED);
    SAYS("0", "SELECT count(*)::text FROM outbox");
    SAYS("1 1", "SELECT string_agg(occurrences::text, ' ') FROM alerts WHERE source = 'sentry'");
    SAYS("6", "SELECT next_offset::text FROM offsets WHERE partition = 0");
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
        cmocka_unit_test_setup(test_ids_that_are_too_long, scene_empty),
        cmocka_unit_test_setup(test_strange_text_and_times, scene_empty),
        cmocka_unit_test_setup(test_a_receive_time_in_the_year_30000, scene_empty),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
