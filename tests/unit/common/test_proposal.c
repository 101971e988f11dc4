/* The numbers behind a proposal. */
#include "testing.h"

#include <math.h>

#include "common/clock.h"
#include "common/proposal.h"

#define NOW INT64_C(1767225600000)

static void bounds_are_wilsons(void **state)
{
    static const struct {
        uint64_t s, n;
        double low;
    } cases[] = {{0, 0, 0},          {14, 16, 0.639769}, {1, 1, 0.206543},     {0, 5, 0},
                 {20, 20, 0.838875}, {5, 9, 0.266651},   {900, 1000, 0.879853}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fabs(wilson_lower(cases[i].s, cases[i].n) - cases[i].low) < 1e-5);
}

static void says_how_often_how_sure_and_when(void **state)
{
    struct arena *a = arena_new(1 << 16);
    struct proposal p = {.playbook_id = SLICE_LIT("anomaly:00ff"),
                         .action = SLICE_LIT("restart_pod"),
                         .successes = 14,
                         .attempts = 16,
                         .last_used = NOW - 2 * MS_DAY - 5 * MS_HOUR};

    (void)state;
    assert_string_equal(proposal_text(a, &p, NOW),
                        "restart_pod fixed this 14 of 16 times (Wilson lower bound 64 %), last "
                        "used 2 days ago");
    p.playbook_id = SLICE_LIT("alert:QueueBacklog");
    p.text = SLICE_LIT("One pod at a time");
    p.last_used = NOW - MS_HOUR;
    assert_string_equal(proposal_text(a, &p, NOW),
                        "One pod at a time: restart_pod fixed alerts of this name 14 of 16 times "
                        "(Wilson lower bound 64 %), last used 1 hour ago");
    p.playbook_id = SLICE_LIT("service:shop");
    p.text = SLICE_LIT("");
    p.last_used = NOW + 5; /* another host's clock */
    assert_string_equal(proposal_text(a, &p, NOW),
                        "restart_pod fixed this service 14 of 16 times (Wilson lower bound 64 %), "
                        "last used just now");
    p.playbook_id = SLICE_LIT("global");
    p.attempts = 0;
    assert_string_equal(proposal_text(a, &p, NOW), "restart_pod has no known outcome yet");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_wilsons),
        cmocka_unit_test(says_how_often_how_sure_and_when),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
