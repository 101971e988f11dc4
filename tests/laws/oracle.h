/*
 * What the rules of merging say of bare records, written apart from the product: every record is
 * kept, every question is asked of all of them, nothing is fast. An end by silence is a record,
 * too.
 */
#pragma once

#include "history.h"

#define NAMES_MAX (2 * HISTORY_MAX)

struct verdict {
    bool firing, ever;
    int64_t starts_at; /* of what fires now, or fired last; 0: never */
    int64_t ended_at;  /* when the report came that ended the last of it; 0: fires, or never did */
    size_t name_n;     /* occurrences */
    struct slice names[NAMES_MAX];
};

/* Of what was heard up to v[n) about one alert. Memory is the arena's. */
void oracle_ask(const struct said *v, size_t n, uint32_t alert, int64_t window, struct arena *a,
                struct verdict *ret);
/* That alone. */
bool oracle_fires(const struct said *v, size_t n, uint32_t alert);
