/* What pg.c (the connection) and pg_value.c (parameters and cells) share. */
#pragma once

#include "common/pg.h"

struct pg_args {
    struct arena *arena;
    bool failed; /* the arena is full, or a value is longer than libpq can carry */
    int n, size;
    size_t bytes; /* of all values: how much of a pipeline waits in libpq's buffer */
    Oid *types;
    const char **values;
    int *lengths, *formats;
};
