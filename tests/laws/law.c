#include "law.h"

#include <stdlib.h>
#include <string.h>

#include "testing.h"

#define MEMORY ((size_t)64 << 20)

static uint64_t covered[AWKWARDS];

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);

    return s && *s ? strtoull(s, NULL, 10) : otherwise;
}

static const char *ask(const struct law *law, const struct history *h, char why[256])
{
    struct arena *a = arena_new(MEMORY);

    assert_non_null(a);
    const char *broken = law->broken(h, a);
    if (broken)
        (void)snprintf(why, 256, "%s", broken);
    arena_free(a);
    return broken ? why : NULL;
}

/* ---- shrinking ---- */

static void take_out(struct history *h, size_t i)
{
    if (i > 0)
        h->v[i - 1].cut |= h->v[i].cut;
    h->n--;
    memmove(&h->v[i], &h->v[i + 1], (h->n - i) * sizeof(h->v[0]));
}

static bool try_change(const struct law *law, struct history *h, const struct history *changed)
{
    char why[256];

    if (!ask(law, changed, why))
        return false;
    *h = *changed;
    return true;
}

static bool shrink_once(const struct law *law, struct history *h)
{
    struct history less;
    bool shorter = false;

    for (size_t i = h->n; i-- > 0;) {
        less = *h;
        take_out(&less, i);
        shorter |= try_change(law, h, &less);
    }
    for (size_t i = 0; i < h->n; i++) {
        less = *h;
        less.v[i].cut = false;
        if (h->v[i].cut)
            shorter |= try_change(law, h, &less);
    }
    return shorter;
}

/* ---- running ---- */

static void fail_smallest(const struct law *law, uint64_t seed, struct history *h)
{
    char why[256];

    print_message("%s: broken at %llu, cutting down\n", law->name, (unsigned long long)seed);
    while (shrink_once(law, h))
        ;
    (void)ask(law, h, why);
    (void)fprintf(stderr, "\nbroken: %s\n  %s\n  TOCSIN_LAWS_SEED=%llu TOCSIN_LAWS_RUNS=1\n",
                  law->name, why, (unsigned long long)seed);
    history_print(h, stderr);
    fail_msg("%s: %s", law->name, why);
}

void law_hold(const struct law *law)
{
    const uint64_t seed = setting("TOCSIN_LAWS_SEED", 1);
    const uint64_t runs = setting("TOCSIN_LAWS_RUNS", law->runs);
    struct history *h = malloc(sizeof(*h));
    char why[256];

    assert_non_null(h);
    print_message("%s: seeds %llu to %llu\n", law->name, (unsigned long long)seed,
                  (unsigned long long)(seed + runs - 1));
    for (uint64_t i = seed; i < seed + runs; i++) {
        struct dice d = {i};
        history_make(&d, &law->profile, h);
        const uint32_t found = awkward_in(h);
        for (unsigned c = 0; c < AWKWARDS; c++)
            covered[c] += found >> c & 1;
        if (ask(law, h, why))
            fail_smallest(law, i, h);
    }
    free(h);
}

void law_tried(const char *what, uint64_t times)
{
    print_message("%8llu times: %s\n", (unsigned long long)times, what);
    if (times == 0 && setting("TOCSIN_LAWS_RUNS", 1000) >= 1000)
        fail_msg("never tried: %s", what);
}

void law_covered(uint32_t mask)
{
    for (unsigned c = 0; c < AWKWARDS; c++)
        if (mask >> c & 1)
            law_tried(awkward_name((enum awkward)c), covered[c]);
}
