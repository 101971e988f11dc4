/* Which kind of repair is wanted. */
#include "testing.h"

#include "common/tier.h"

static void each_fact_lifts_the_tier(void **state)
{
    static const struct {
        struct tier_facts facts;
        int tier;
    } cases[] = {
        {{LEVEL_NONE, 0, false}, 1},          {{LEVEL_REPEAT, 1, false}, 1},
        {{LEVEL_NONE, 2, false}, 2},          {{LEVEL_REPEAT, 7, false}, 2},
        {{LEVEL_ESCALATE, 0, false}, 2},      {{LEVEL_PERMANENT_FIX, 0, false}, 3},
        {{LEVEL_PERMANENT_FIX, 9, false}, 3}, {{LEVEL_NONE, 0, true}, 4},
        {{LEVEL_PERMANENT_FIX, 9, true}, 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(recommended_tier(&cases[i].facts), cases[i].tier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_fact_lifts_the_tier)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
