#include "schedule.h"

#include <math.h>
#include <stdlib.h>

/* SplitMix64: small, and good enough to draw arrivals with. */
uint64_t dice_next(struct dice *d)
{
    uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double dice_unit(struct dice *d)
{
    return ((double)(dice_next(d) >> 11) + 1.0) / 9007199254740992.0; /* 2^53 */
}

void schedule_start(struct schedule *s, double per_second, uint64_t seed, int64_t start_us)
{
    *s = (struct schedule){
        .dice.state = seed, .gap_us = 1e6 / per_second, .next_us = (double)start_us};
}

int64_t schedule_next(struct schedule *s)
{
    s->next_us -= log(dice_unit(&s->dice)) * s->gap_us;
    return (int64_t)s->next_us;
}

struct zipf {
    size_t n;
    double up_to[]; /* share of the keys up to this one */
};

struct zipf *zipf_new(size_t keys, double exponent)
{
    struct zipf *z = calloc(1, sizeof(*z) + keys * sizeof(z->up_to[0]));
    double sum = 0;

    if (!z)
        return NULL;
    z->n = keys;
    for (size_t i = 0; i < keys; i++)
        z->up_to[i] = sum += pow((double)(i + 1), -exponent);
    for (size_t i = 0; i < keys; i++)
        z->up_to[i] /= sum;
    return z;
}

size_t zipf_draw(const struct zipf *z, struct dice *d)
{
    const double u = dice_unit(d);
    size_t low = 0, high = z->n - 1;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (z->up_to[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void zipf_free(struct zipf *z)
{
    free(z);
}
