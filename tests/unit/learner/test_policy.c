/* Which step comes first. */
#include "testing.h"

#include <stdlib.h>

#include "learner/policy.h"

static struct step step(const char *action, uint32_t rank, uint64_t s, uint64_t f)
{
    return (struct step){
        .action = slice_of(action), .author_rank = rank, .successes = s, .failures = f};
}

static void assert_order(struct step *v, size_t n, const char *const *names)
{
    policy_beta_mean.rank(v, n);
    for (size_t i = 0; i < n; i++)
        assert_true(slice_is(v[i].action, names[i]));
}

static void at_the_start_the_author_is_right(void **state)
{
    struct step v[] = {step("d", 0, 0, 0), step("c", 3, 0, 0), step("a", 1, 0, 0),
                       step("e", 4, 0, 0), step("b", 2, 0, 0)};

    (void)state;
    assert_order(v, 5, (const char *const[]){"a", "b", "c", "e", "d"});
}

static void outcomes_overrule_the_author(void **state)
{
    struct step v[] = {step("first", 1, 0, 3), step("second", 2, 4, 0)};

    (void)state;
    assert_order(v, 2, (const char *const[]){"second", "first"});
}

static void one_lucky_success_does_not(void **state)
{
    struct step v[] = {step("reported", 0, 1, 0), step("first", 1, 7, 1)};

    (void)state;
    assert_order(v, 2, (const char *const[]){"first", "reported"});
}

static void the_score_is_the_posterior_mean(void **state)
{
    struct step v[] = {step("x", 0, 3, 1), step("y", 1, 0, 0)};

    (void)state;
    policy_beta_mean.rank(v, 2);
    assert_true(v[0].score == 4.0 / 5.0 && slice_is(v[0].action, "y"));
    assert_true(v[1].score == 4.0 / 6.0);
}

static void a_ranking_does_not_depend_on_the_order_it_came_in(void **state)
{
    struct step v[8];

    (void)state;
    srand(4);
    for (int round = 0; round < 200; round++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        for (size_t i = 0; i < 8; i++)
            v[i] = step(names[i], 0, 1, 1);
        for (size_t i = 7; i > 0; i--) {
            const size_t j = (size_t)rand() % (i + 1);
            struct step t = v[i];
            v[i] = v[j];
            v[j] = t;
        }
        assert_order(v, 8, names);
    }
}

static void nothing_and_one_are_ranked(void **state)
{
    struct step v = step("x", 0, 0, 0);

    (void)state;
    policy_beta_mean.rank(NULL, 0);
    policy_beta_mean.rank(&v, 1);
    assert_true(v.score == 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_start_the_author_is_right),
        cmocka_unit_test(outcomes_overrule_the_author),
        cmocka_unit_test(one_lucky_success_does_not),
        cmocka_unit_test(the_score_is_the_posterior_mean),
        cmocka_unit_test(a_ranking_does_not_depend_on_the_order_it_came_in),
        cmocka_unit_test(nothing_and_one_are_ranked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
