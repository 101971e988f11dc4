/*
 * JSON Pointer (RFC 6901): "/alerts/0/labels/app~1name" as the keys on the way to a value, ~1 for a
 * slash and ~0 for a tilde in a key; "" is the whole. Read once, with the configuration that owns
 * it; following it allocates nothing.
 */
#pragma once

#include <jansson.h>

#include "common/conf.h"

#define POINTER_KEYS_MAX 32

struct pointer {
    const char *const *keys;
    size_t n;
};

/* -EINVAL with a reason, -ENOMEM. */
int pointer_parse(struct conf *c, struct slice text, struct pointer *ret, struct err *e) MUST_CHECK;
/* NULL when it leads nowhere. An element of an array goes by its index, without leading zeros. */
const json_t *pointer_get(const struct pointer *p, const json_t *from);
