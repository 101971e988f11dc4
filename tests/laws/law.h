/*
 * A law holds for every history that its maker can make. law_hold() tries many, cuts the first that
 * breaks it down to what is needed to break it, and prints that. TOCSIN_LAWS_SEED sets the first
 * number, TOCSIN_LAWS_RUNS how many are tried of each law.
 */
#pragma once

#include "history.h"

struct law {
    const char *name;
    struct profile profile;
    uint32_t runs;
    /* NULL: it holds. Else why not, in the arena or static. Decided by the history alone. */
    const char *(*broken)(const struct history *h, struct arena *a);
};

void law_hold(const struct law *law);
/* Every awkward case of the mask was in a history that a law saw. */
void law_covered(uint32_t mask);
/* `what` was to be judged so often; never is a failure: such a law says nothing. */
void law_tried(const char *what, uint64_t times);
