#include "histogram.h"

#include <math.h>

#define SUB (1U << DURATIONS_SUB_BITS)
#define VALUE_MAX ((UINT64_C(1) << 40) - 1)

/* Values below SUB have a bucket each; every doubling above has SUB of them. */
static unsigned bucket_of(uint64_t v)
{
    if (v < SUB)
        return (unsigned)v;
    const unsigned shift = 63U - (unsigned)__builtin_clzll(v) - DURATIONS_SUB_BITS;
    return (shift + 1) * SUB + (unsigned)(v >> shift) - SUB;
}

/* The largest value that falls into it. */
static uint64_t bucket_end(unsigned i)
{
    if (i < SUB)
        return i;
    const unsigned shift = i / SUB - 1;
    return ((uint64_t)(i % SUB + SUB + 1) << shift) - 1;
}

void durations_add(struct durations *d, int64_t us)
{
    uint64_t v = us > 0 ? (uint64_t)us : 0;

    if (v > VALUE_MAX)
        v = VALUE_MAX;
    d->n++;
    d->sum += v;
    if (v > d->max)
        d->max = v;
    d->buckets[bucket_of(v)]++;
}

uint64_t durations_quantile(const struct durations *d, double q)
{
    const uint64_t rank = (uint64_t)ceil(q * (double)d->n);
    uint64_t below = 0;

    for (unsigned i = 0; i < DURATIONS_BUCKETS && d->n > 0; i++) {
        below += d->buckets[i];
        if (below >= rank && below > 0)
            return bucket_end(i) < d->max ? bucket_end(i) : d->max;
    }
    return d->max;
}

double durations_mean(const struct durations *d)
{
    return d->n > 0 ? (double)d->sum / (double)d->n : 0;
}
