/* When to send, and about whom: arrivals of a Poisson process, and keys by Zipf's law. Repeatable:
 * the same seed gives the same run. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"

struct dice {
    uint64_t state;
};

uint64_t dice_next(struct dice *d);
double dice_unit(struct dice *d); /* above 0, at most 1 */

/* Arrivals that know nothing of the answers. */
struct schedule {
    struct dice dice;
    double gap_us, next_us;
};

void schedule_start(struct schedule *s, double per_second, uint64_t seed, int64_t start_us);
/* The time of the next arrival, from the start on and never before the last one. */
int64_t schedule_next(struct schedule *s);

/* Key k (from 0) is drawn with a weight of 1 / (k + 1) ^ exponent; 0: all alike. */
struct zipf;
struct zipf *zipf_new(size_t keys, double exponent) MUST_CHECK;
size_t zipf_draw(const struct zipf *z, struct dice *d);
void zipf_free(struct zipf *z);

CLEANUP_DEFINE(struct zipf *, zipf_free);
