#include "learner/policy.h"

#include <stdlib.h>

static double posterior_mean(const struct step *s)
{
    const double author = s->author_rank >= 1 && s->author_rank <= 3 ? 4.0 - s->author_rank : 0.0;
    const double a = 1 + author + (double)s->successes, b = 1 + (double)s->failures;

    return a / (a + b);
}

/* Ties go to the author's order, then to the name: a ranking never depends on chance. */
static int by_score(const void *pa, const void *pb)
{
    const struct step *a = pa, *b = pb;

    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    const uint32_t ra = a->author_rank - 1, rb = b->author_rank - 1; /* 0 wraps to the last */
    if (ra != rb)
        return ra < rb ? -1 : 1;
    return slice_cmp(a->action, b->action);
}

static void rank(struct step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        steps[i].score = posterior_mean(&steps[i]);
    if (n > 1)
        qsort(steps, n, sizeof(*steps), by_score);
}

const struct policy policy_beta_mean = {.name = "beta-mean", .rank = rank};
