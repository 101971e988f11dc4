/* What a beat says: {"id", "at", "oldest_spooled_ms", "farewell"}. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

#define BEAT_MAX 256

struct beat_word {
    const char *id;         /* of the process */
    int64_t at;             /* ms */
    int64_t oldest_spooled; /* ms: publisher_age() */
    bool farewell;
};

/* The record's value, in `out`. */
struct slice beat_text(const struct beat_word *w, char out[BEAT_MAX]);
