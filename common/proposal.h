/*
 * A proposed repair step, explained in numbers. Pure; for everybody who shows one.
 *
 * A playbook's `steps` are ranked: [{"action","successes","attempts","success_rate","wilson_lower",
 * "last_used","text"}]; `attempts` are those with a known outcome, `last_used` is ms (0: never),
 * `text` is the author's word on the step.
 */
#pragma once

#include <stdint.h>

#include "common/arena.h"

struct proposal {
    struct slice playbook_id; /* "anomaly:...", "alert:...", "service:...", "global" */
    struct slice action, text;
    uint64_t successes, attempts;
    int64_t last_used;
};

/* Lower bound of the success rate at 95 % (Wilson's score interval); 0 without attempts. */
double wilson_lower(uint64_t successes, uint64_t attempts);

/* "restart_pod fixed this 14 of 16 times (Wilson lower bound 64 %), last used 2 days ago", after
 * the author's word when there is one. In the arena; NULL past its cap. */
const char *proposal_text(struct arena *a, const struct proposal *p, int64_t now_ms);
