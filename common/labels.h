/*
 * A sorted set of name=value pairs: labels and annotations. Memory is the arena's or the caller's.
 * The fingerprint is Alertmanager's: 64-bit FNV-1a over name, 0xff, value, 0xff of every pair in
 * order of names.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"

struct label {
    struct slice name, value;
};

struct labels {
    const struct label *v; /* ascending by name, names unique, no empty values */
    size_t n;
};

/* Sort, drop pairs with an empty value, the last of equal names wins. `pairs` is copied (not its
 * bytes). -ENOMEM. */
int labels_make(struct arena *a, const struct label *pairs, size_t n,
                struct labels *ret) MUST_CHECK;
/* A copy with `name` set (or removed when value is empty). -ENOMEM. */
int labels_with(struct arena *a, struct labels l, struct slice name, struct slice value,
                struct labels *ret) MUST_CHECK;
struct slice labels_get(struct labels l, const char *name); /* {NULL,0} when absent */
struct slice labels_get_n(struct labels l, struct slice name);
bool labels_eq(struct labels a, struct labels b);
uint64_t labels_fingerprint(struct labels l);

/* {"name":"value",...} for jsonb columns and messages, and back. */
void labels_to_json(struct buf *b, struct labels l);
int labels_from_json(struct arena *a, struct slice json, struct labels *ret,
                     struct err *e) MUST_CHECK;
/* From a tree of JSON: numbers and booleans become their text, other values are skipped. NULL
 * object: empty. */
int labels_from_tree(struct arena *a, const json_t *object, struct labels *ret) MUST_CHECK;

/* 16 hex digits, as Alertmanager prints it. */
#define FINGERPRINT_STR 17
const char *fingerprint_format(uint64_t fp, char out[FINGERPRINT_STR]);
bool fingerprint_parse(struct slice s, uint64_t *ret);
