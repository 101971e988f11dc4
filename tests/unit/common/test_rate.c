#include "testing.h"

#include "common/rate.h"

static void backoff_stays_within_its_bounds(void **state)
{
    (void)state;
    for (uint32_t attempt = 0; attempt < 200; attempt++) {
        int64_t ceiling = attempt < 9 ? INT64_C(1000) << attempt : 300000;
        if (ceiling > 300000)
            ceiling = 300000;
        assert_int_equal(backoff_full_jitter(attempt, 1000, 300000, 0), 0);
        assert_int_equal(backoff_full_jitter(attempt, 1000, 300000, (uint64_t)ceiling), ceiling);
        assert_int_equal(backoff_full_jitter(attempt, 1000, 300000, (uint64_t)ceiling + 1), 0);
        for (int i = 0; i < 50; i++) {
            int64_t d = backoff_full_jitter(attempt, 1000, 300000, random_u64());
            assert_true(d >= 0 && d <= ceiling);
        }
    }
}

static void backoff_never_overflows(void **state)
{
    (void)state;
    assert_true(backoff_full_jitter(62, INT64_MAX, INT64_MAX, UINT64_MAX) >= 0);
    assert_true(backoff_full_jitter(UINT32_MAX, INT64_MAX, INT64_MAX, UINT64_MAX) >= 0);
    assert_int_equal(backoff_full_jitter(0, INT64_MAX, 10, 10), 10);
    assert_int_equal(backoff_full_jitter(5, 0, 1000, UINT64_MAX), 0);
    assert_int_equal(backoff_full_jitter(5, -1, 1000, UINT64_MAX), 0);
    assert_int_equal(backoff_full_jitter(5, 1000, 0, UINT64_MAX), 0);
}

static void backoff_uses_the_whole_range(void **state)
{
    (void)state;
    int seen[4] = {0};
    for (int i = 0; i < 400; i++)
        seen[backoff_full_jitter(0, 3, 100, random_u64())]++;
    for (int i = 0; i < 4; i++)
        assert_true(seen[i] > 0);
}

static void gcra_gives_a_burst_then_one_per_interval(void **state)
{
    (void)state;
    int64_t tat = 0, wait = 0;
    for (int i = 0; i < 5; i++)
        assert_true(gcra_take(&tat, 1000, 100, 5, 1, &wait));
    assert_false(gcra_take(&tat, 1000, 100, 5, 1, &wait));
    assert_int_equal(wait, 100);
    assert_false(gcra_take(&tat, 1099, 100, 5, 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(gcra_take(&tat, 1100, 100, 5, 1, &wait));
    assert_false(gcra_take(&tat, 1100, 100, 5, 1, &wait));
    /* A long rest gives one burst back, not more. */
    for (int i = 0; i < 5; i++)
        assert_true(gcra_take(&tat, 1000000, 100, 5, 1, &wait));
    assert_false(gcra_take(&tat, 1000000, 100, 5, 1, &wait));
}

/* Whatever the traffic: never more than burst + T / interval in any T, and the wait is exact. */
static void gcra_laws_hold_for_any_traffic(void **state)
{
    (void)state;
    uint64_t seed = 42;
    for (int round = 0; round < 50; round++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        uint32_t burst = 1 + (uint32_t)(seed >> 60);
        int64_t interval = 1 + (int64_t)(seed >> 40) % 500;
        int64_t tat = 0, now = 1000000;
        int64_t taken_at[600] = {0};
        size_t taken = 0;
        while (taken + 20 < 600) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            now += (int64_t)(seed >> 33) % (2 * interval);
            uint32_t n = 1 + (uint32_t)(seed >> 20) % burst;
            int64_t before = tat, wait = -1;
            if (gcra_take(&tat, now, interval, burst, n, &wait)) {
                for (uint32_t i = 0; i < n; i++)
                    taken_at[taken++] = now;
                continue;
            }
            assert_int_equal(tat, before);
            assert_true(wait > 0);
            int64_t at = tat, ignored = 0;
            assert_false(gcra_take(&at, now + wait - 1, interval, burst, n, &ignored));
            assert_true(gcra_take(&at, now + wait, interval, burst, n, &ignored));
        }
        for (size_t i = 0; i < taken; i++)
            for (size_t k = i; k < taken; k++)
                assert_true((int64_t)(k - i + 1) <=
                            (int64_t)burst + (taken_at[k] - taken_at[i]) / interval);
    }
}

static void gcra_more_than_a_burst_never_goes(void **state)
{
    (void)state;
    int64_t tat = 0, wait = -1;
    assert_false(gcra_take(&tat, 1000, 100, 3, 4, &wait));
    assert_int_equal(wait, 0); /* a whole burst is there already */
    assert_int_equal(tat, 0);
    assert_true(gcra_take(&tat, 1000, 100, 3, 3, &wait));
    assert_false(gcra_take(&tat, 1000, 100, 3, 4, &wait));
    assert_int_equal(wait, 300);
    assert_false(gcra_take(&tat, 1000, 100, 0, 1, &wait));
}

static void gcra_clock_step_back_costs_at_most_a_burst(void **state)
{
    (void)state;
    int64_t tat = 0, wait = 0;
    for (int i = 0; i < 3; i++)
        assert_true(gcra_take(&tat, 10000000, 100, 3, 1, &wait));
    assert_false(gcra_take(&tat, 1000, 100, 3, 1, &wait));
    assert_int_equal(wait, 100);
}

static void gcra_without_a_limit(void **state)
{
    (void)state;
    int64_t tat = 0, wait = 0;
    for (int i = 0; i < 1000; i++)
        assert_true(gcra_take(&tat, 5, 0, 1, 100, &wait));
    assert_true(gcra_take(&tat, 5, 100, 1, 0, &wait));
    assert_int_equal(tat, 0);
    assert_false(gcra_take(&tat, 5, INT64_MAX, 2, 3, &wait)); /* no overflow */
}

static void random_is_not_constant(void **state)
{
    (void)state;
    uint64_t ones = 0, zeros = 0;
    for (int i = 0; i < 200; i++) {
        uint64_t r = random_u64();
        ones |= r;
        zeros |= ~r;
    }
    assert_true(ones == UINT64_MAX && zeros == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_stays_within_its_bounds),
        cmocka_unit_test(backoff_never_overflows),
        cmocka_unit_test(backoff_uses_the_whole_range),
        cmocka_unit_test(gcra_gives_a_burst_then_one_per_interval),
        cmocka_unit_test(gcra_laws_hold_for_any_traffic),
        cmocka_unit_test(gcra_more_than_a_burst_never_goes),
        cmocka_unit_test(gcra_clock_step_back_costs_at_most_a_burst),
        cmocka_unit_test(gcra_without_a_limit),
        cmocka_unit_test(random_is_not_constant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
