/*
 * Which step first. A policy orders the steps of one playbook by what is known of them. Pure: the
 * same steps in any order give the same ranking.
 *
 * A better policy is another `struct policy`; what it needs to know beyond this is added to `struct
 * step`, so that callers and storage stay as they are.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"

struct step {
    struct slice action, text; /* text: the author's, may be empty */
    uint32_t author_rank;      /* 1: the author would do this first; 0: reported, not configured */
    uint64_t successes, failures;
    int64_t last_used; /* 0: never */
    double score;      /* set by the policy: higher is better */
};

struct policy {
    const char *name;
    void (*rank)(struct step *steps, size_t n); /* sets score, sorts best first */
};

/*
 * The mean of the Beta posterior over the success rate. The prior is even (one success, one
 * failure), and the author's first three steps have 3, 2 and 1 successes more, so that a good
 * author is hard to beat at the start and easy to overrule by outcomes.
 */
extern const struct policy policy_beta_mean;
