/* What every fuzz target shares. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assert that no build flag removes. */
#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                       \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* An empty arena for the input at hand; `i` tells several apart. Kept, since a new one for each
 * input would be most of the work. */
static inline struct arena *fuzz_arena(size_t i, size_t cap)
{
    static struct arena *kept[4];
    if (!kept[i])
        kept[i] = arena_new(cap);
    MUST(kept[i]);
    arena_reset(kept[i]);
    return kept[i];
}
