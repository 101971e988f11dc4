#include "ingest/breaker.h"

#include "testing.h"

static void test_first_miss_opens_and_a_probe_closes(void **state)
{
    (void)state;
    struct breaker b = {0};
    assert_false(b.open);
    assert_false(breaker_probe(&b, 0)); /* nothing to try while it is closed */
    assert_false(breaker_success(&b, 1));
    assert_true(breaker_miss(&b, 1000));
    assert_true(b.open);
    assert_false(breaker_miss(&b, 1001)); /* open already */
    assert_true(breaker_success(&b, 1500));
    assert_false(b.open);
    assert_true(b.since == 1500);
    assert_true(breaker_miss(&b, 1600));
}

static void test_probes_become_rarer_up_to_a_bound(void **state)
{
    (void)state;
    struct breaker b = {0};
    int64_t now = 0, last = 0, wait = 0;
    assert_true(breaker_miss(&b, 0));
    for (int probes = 0; probes < 10; now++) {
        if (!breaker_probe(&b, now))
            continue;
        assert_true(now - last >= wait);
        assert_true(now - last <= BREAKER_WAIT_MAX);
        wait = now - last;
        last = now;
        probes++;
    }
    assert_int_equal(wait, BREAKER_WAIT_MAX);
    assert_true(breaker_success(&b, now));
    assert_true(breaker_miss(&b, now));
    assert_false(breaker_probe(&b, now + BREAKER_WAIT_MIN - 1));
    assert_true(breaker_probe(&b, now + BREAKER_WAIT_MIN)); /* from the start again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_miss_opens_and_a_probe_closes),
        cmocka_unit_test(test_probes_become_rarer_up_to_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
