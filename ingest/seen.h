/* Which payloads of a spool were met already, by their SHA-256. Zeroed is empty. */
#pragma once

#include <stdbool.h>

#include "common/err.h"
#include "common/slice.h"

struct seen {
    void *root;
};

bool seen_has(const struct seen *s, struct slice payload);
/* -EEXIST: it was; -ENOMEM. */
int seen_add(struct seen *s, struct slice payload) MUST_CHECK;
void seen_release(struct seen *s);
