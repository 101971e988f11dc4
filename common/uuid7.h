/*
 * UUIDv7 (RFC 9562): 48 bits of ms, then a counter that makes ids of one process strictly
 * increasing, then random bits. Ingest's request ids; their byte order is the order of records.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

struct uuid {
    unsigned char b[16];
};

#define UUID_STR 37
struct uuid uuid7_new(int64_t now_ms); /* thread-safe, strictly increasing in this process even when
                                          the clock steps back */
const char *uuid_format(const struct uuid *u, char out[UUID_STR]); /* lower case with dashes */
bool uuid_parse(struct slice s, struct uuid *ret);                 /* with or without dashes */
int uuid_cmp(const struct uuid *a, const struct uuid *b);
