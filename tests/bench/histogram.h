/*
 * How long things took, in microseconds, without keeping each: 128 buckets to every doubling, so
 * that a quantile is at most 1 % above the truth.
 */
#pragma once

#include <stdint.h>

#define DURATIONS_SUB_BITS 7
#define DURATIONS_BUCKETS                                                                          \
    ((40 - DURATIONS_SUB_BITS + 1) << DURATIONS_SUB_BITS) /* up to 2^40 us                         \
                                                           */

struct durations {
    uint64_t n, sum, max;
    uint64_t buckets[DURATIONS_BUCKETS];
};

/* Negative counts as 0, past 2^40 as 2^40. */
void durations_add(struct durations *d, int64_t us);
/* The least value that a share `q` of all is not above, at most 1 % more; 0 when there is none. */
uint64_t durations_quantile(const struct durations *d, double q);
double durations_mean(const struct durations *d);
