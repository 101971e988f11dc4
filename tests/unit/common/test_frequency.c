/* How often: exact while the newest times cover a window, bounded and interpolated beyond. */
#include "testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/frequency.h"

/* On the edge of every bucket, so that a test decides how far into one it is. */
#define T0 (INT64_C(1767225600000) / (6 * MS_HOUR) * (6 * MS_HOUR))

static struct frequency_counts counts(const struct frequency *f, int64_t now)
{
    return frequency_count(f, now);
}

#define assert_counts(f, now, a, b, c, d)                                                          \
    do {                                                                                           \
        struct frequency_counts n_ = counts((f), (now));                                           \
        assert_int_equal(n_.h1, (a));                                                              \
        assert_int_equal(n_.h24, (b));                                                             \
        assert_int_equal(n_.d7, (c));                                                              \
        assert_int_equal(n_.d30, (d));                                                             \
    } while (0)

static void few_are_counted_to_the_millisecond(void **state)
{
    struct frequency f;

    (void)state;
    frequency_init(&f);
    assert_counts(&f, T0, 0, 0, 0, 0);
    frequency_add(&f, T0 - 30 * MS_DAY + 1);
    frequency_add(&f, T0 - 7 * MS_DAY + 1);
    frequency_add(&f, T0 - MS_DAY + 1);
    frequency_add(&f, T0 - MS_HOUR + 1);
    frequency_add(&f, T0);
    assert_counts(&f, T0, 2, 3, 4, 5);
    assert_counts(&f, T0 + 1, 1, 2, 3, 4);
    /* a look from before the newest ones sees what was then */
    assert_counts(&f, T0 - 1, 1, 2, 3, 4);
    assert_counts(&f, T0 + 31 * MS_DAY, 0, 0, 0, 0);
}

static void order_of_arrival_does_not_matter(void **state)
{
    static struct frequency a, b;
    int64_t at[100];

    (void)state;
    srand(1);
    frequency_init(&a);
    frequency_init(&b);
    for (int i = 0; i < 100; i++)
        at[i] = T0 + rand() % (20 * MS_DAY);
    at[0] = T0 + 20 * MS_DAY;
    for (int i = 0; i < 100; i++)
        frequency_add(&a, at[i]);
    for (int i = 99; i >= 0; i--)
        frequency_add(&b, at[i]);
    assert_memory_equal(&a, &b, sizeof a);
}

/* 1,000 in one minute: no exact times cover them, and every window must still say 1,000. */
static void a_storm_is_not_forgotten(void **state)
{
    static struct frequency f;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 1000; i++)
        frequency_add(&f, T0 + i);
    assert_counts(&f, T0 + MS_MINUTE, 1000, 1000, 1000, 1000);
    assert_counts(&f, T0 + 59 * MS_MINUTE, 1000, 1000, 1000, 1000);
    /* past the edge of each window it leaves that window only */
    assert_counts(&f, T0 + MS_HOUR + MS_MINUTE, 0, 1000, 1000, 1000);
    assert_counts(&f, T0 + MS_DAY + MS_HOUR, 0, 0, 1000, 1000);
    assert_counts(&f, T0 + 8 * MS_DAY, 0, 0, 0, 1000);
    assert_counts(&f, T0 + 31 * MS_DAY, 0, 0, 0, 0);
}

static void the_oldest_bucket_counts_by_its_share(void **state)
{
    static struct frequency f;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 600; i++) /* evenly over one minute */
        frequency_add(&f, T0 + i * 100);
    for (int i = 0; i < 200; i++) /* the exact times are all later */
        frequency_add(&f, T0 + 30 * MS_MINUTE);
    assert_int_equal(counts(&f, T0 + MS_HOUR + 15 * MS_SECOND).h1, 200 + 450);
    assert_int_equal(counts(&f, T0 + MS_HOUR + 45 * MS_SECOND).h1, 200 + 150);
    assert_int_equal(counts(&f, T0 + MS_HOUR + 60 * MS_SECOND).h1, 200);
}

/* Exactness ends where a time that fell out may lie inside the window, not before. */
static void exact_as_long_as_the_newest_cover_the_window(void **state)
{
    static struct frequency f;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i <= FREQUENCY_RECENT; i++)
        frequency_add(&f, T0 + i * MS_MINUTE + 7);
    assert_int_equal(f.recent_n, FREQUENCY_RECENT);
    assert_int_equal(f.forgotten, T0 + 7);
    assert_int_equal(counts(&f, T0 + FREQUENCY_RECENT * MS_MINUTE + 7).h1, 60);
    assert_int_equal(counts(&f, T0 + FREQUENCY_RECENT * MS_MINUTE + 8).h1, 60);
    assert_int_equal(counts(&f, T0 + FREQUENCY_RECENT * MS_MINUTE + 6).h1, 60);
    assert_int_equal(counts(&f, T0 + MS_DAY + 7).h24, FREQUENCY_RECENT);
}

static void late_ones_land_in_their_own_slot(void **state)
{
    static struct frequency f;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 300; i++)
        frequency_add(&f, T0 + 3 * MS_DAY);
    frequency_add(&f, T0 + 3 * MS_DAY - 2 * MS_HOUR);
    assert_counts(&f, T0 + 3 * MS_DAY, 300, 301, 301, 301);
    /* older than any bucket of the short rings: it is in the long ones */
    frequency_add(&f, T0 - 10 * MS_DAY);
    assert_counts(&f, T0 + 3 * MS_DAY, 300, 301, 301, 302);
}

static void older_than_thirty_days_before_the_newest_is_nothing(void **state)
{
    static struct frequency f, before;

    (void)state;
    frequency_init(&f);
    frequency_add(&f, T0);
    before = f;
    frequency_add(&f, T0 - 31 * MS_DAY);
    assert_memory_equal(&f, &before, sizeof f);
}

/* The ring's slots wrap: what the newest passes must be clean. */
static void a_ring_forgets_what_it_passes(void **state)
{
    static struct frequency f;

    (void)state;
    frequency_init(&f);
    for (int day = 0; day < 200; day++) {
        for (int i = 0; i < 150; i++)
            frequency_add(&f, T0 + day * MS_DAY + i * MS_MINUTE);
        const int64_t now = T0 + day * MS_DAY + 150 * MS_MINUTE;
        const int days7 = day < 6 ? day + 1 : 7, days30 = day < 29 ? day + 1 : 30;
        /* Half past two: the oldest hour is half inside, the oldest six hours 3.5 of 6. */
        const int edge7 = day < 7 ? 0 : 30 / 2, edge30 = day < 30 ? 0 : (150 * 35 + 30) / 60;
        assert_counts(&f, now, 59, 150, 150 * days7 + edge7, 150 * days30 + edge30);
    }
}

static void a_long_pause_empties_everything(void **state)
{
    static struct frequency f;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 1000; i++)
        frequency_add(&f, T0 + i * MS_HOUR);
    frequency_add(&f, T0 + 5000 * MS_HOUR);
    for (int i = 0; i < FREQUENCY_RECENT; i++)
        frequency_add(&f, T0 + 5000 * MS_HOUR + 1);
    assert_counts(&f, T0 + 5000 * MS_HOUR + 1, 129, 129, 129, 129);
}

static void one_can_be_taken_back(void **state)
{
    static struct frequency f, before;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 300; i++)
        frequency_add(&f, T0 + i * MS_MINUTE);
    before = f;
    frequency_add(&f, T0 + 299 * MS_MINUTE + 5);
    frequency_remove(&f, T0 + 299 * MS_MINUTE + 5);
    assert_int_equal(counts(&f, T0 + 300 * MS_MINUTE).d7, 300);
    assert_int_equal(counts(&f, T0 + 300 * MS_MINUTE).h1, counts(&before, T0 + 300 * MS_MINUTE).h1);
    /* one that only the buckets remember */
    frequency_remove(&f, T0);
    assert_int_equal(counts(&f, T0 + 300 * MS_MINUTE).d7, 299);
    assert_int_equal(counts(&f, T0 + 300 * MS_MINUTE).h24, 299);
    /* never below nothing */
    frequency_remove(&f, T0 - 5 * MS_DAY);
    assert_int_equal(counts(&f, T0 + 300 * MS_MINUTE).d7, 299);
}

static void levels_follow_the_settings(void **state)
{
    const struct frequency_settings s = {.repeat = 3, .escalate = 5, .permanent_fix = 10};
    static const struct {
        uint64_t n;
        enum escalation_level level;
    } cases[] = {{0, LEVEL_NONE},           {2, LEVEL_NONE},
                 {3, LEVEL_REPEAT},         {4, LEVEL_REPEAT},
                 {5, LEVEL_ESCALATE},       {9, LEVEL_ESCALATE},
                 {10, LEVEL_PERMANENT_FIX}, {1000000, LEVEL_PERMANENT_FIX}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(frequency_level(&s, cases[i].n), cases[i].level);
}

static void packed_and_unpacked_is_the_same(void **state)
{
    static struct frequency f, g;
    struct arena *a = arena_new(1 << 20);

    (void)state;
    srand(2);
    for (int n = 0; n <= 4000; n = n * 2 + 1) {
        struct err e;
        frequency_init(&f);
        for (int i = 0; i < n; i++)
            frequency_add(&f, T0 + rand() % (40 * MS_DAY));
        struct slice packed = frequency_pack(&f, a);
        assert_non_null(packed.p);
        memset(&g, 0x5a, sizeof g);
        assert_int_equal(frequency_unpack(packed, &g, &e), 0);
        assert_memory_equal(&f, &g, sizeof f);
        arena_reset(a);
    }
    arena_free(a);
}

static void few_take_few_bytes(void **state)
{
    struct frequency f;
    struct arena *a = arena_new(1 << 16);

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 3; i++)
        frequency_add(&f, T0 + i * MS_HOUR);
    assert_in_range(frequency_pack(&f, a).len, 1, 100);
    arena_free(a);
}

static void nothing_unpacks_to_nothing(void **state)
{
    struct frequency f, empty;
    struct err e;

    (void)state;
    frequency_init(&empty);
    memset(&f, 0x5a, sizeof f);
    assert_int_equal(frequency_unpack((struct slice){NULL, 0}, &f, &e), 0);
    assert_memory_equal(&f, &empty, sizeof f);
}

/* A row that was damaged is an error, never a wrong count that nobody notices, never a crash. */
static void garbage_is_refused(void **state)
{
    static struct frequency f, untouched;
    struct arena *a = arena_new(1 << 20);
    struct err e;

    (void)state;
    frequency_init(&f);
    for (int i = 0; i < 500; i++)
        frequency_add(&f, T0 + i * 77 * MS_SECOND);
    struct slice packed = frequency_pack(&f, a);
    memset(&untouched, 0x5a, sizeof untouched);
    f = untouched;
    for (size_t len = 1; len < packed.len; len++)
        assert_int_equal(frequency_unpack((struct slice){packed.p, len}, &f, &e), -EBADMSG);
    char *copy = arena_alloc(a, 1, packed.len + 1);
    memcpy(copy, packed.p, packed.len);
    assert_int_equal(frequency_unpack((struct slice){copy, packed.len + 1}, &f, &e), -EBADMSG);
    copy[0] = 9;
    assert_int_equal(frequency_unpack((struct slice){copy, packed.len}, &f, &e), -EBADMSG);
    assert_memory_equal(&f, &untouched, sizeof f);
    srand(3);
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, packed.p, packed.len);
        for (int i = 0; i < 3; i++)
            copy[1 + (size_t)rand() % (packed.len - 1)] = (char)rand();
        /* whatever it says, what comes out can be worked with */
        if (frequency_unpack((struct slice){copy, packed.len}, &f, &e) == 0) {
            frequency_add(&f, T0 + 40 * MS_DAY);
            assert_true(frequency_count(&f, T0 + 40 * MS_DAY).h1 >= 1);
        }
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_counted_to_the_millisecond),
        cmocka_unit_test(order_of_arrival_does_not_matter),
        cmocka_unit_test(a_storm_is_not_forgotten),
        cmocka_unit_test(the_oldest_bucket_counts_by_its_share),
        cmocka_unit_test(exact_as_long_as_the_newest_cover_the_window),
        cmocka_unit_test(late_ones_land_in_their_own_slot),
        cmocka_unit_test(older_than_thirty_days_before_the_newest_is_nothing),
        cmocka_unit_test(a_ring_forgets_what_it_passes),
        cmocka_unit_test(a_long_pause_empties_everything),
        cmocka_unit_test(one_can_be_taken_back),
        cmocka_unit_test(levels_follow_the_settings),
        cmocka_unit_test(packed_and_unpacked_is_the_same),
        cmocka_unit_test(few_take_few_bytes),
        cmocka_unit_test(nothing_unpacks_to_nothing),
        cmocka_unit_test(garbage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
