/*
 * Two ways to look at JSON. The door scans bytes in one pass without building anything; the core
 * loads a tree with jansson. To both, of equal keys of an object the last one is meant, as to most
 * parsers that senders are tried against.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "common/arena.h"

#define JSON_DEPTH_MAX 1024 /* no setting goes past it */
struct json_limits {
    uint32_t max_depth; /* nesting of objects and arrays */
};

/*
 * Well-formedness of the whole text in one pass: RFC 8259 grammar, valid UTF-8, no NUL, depth, no
 * trailing bytes. -EBADMSG with offset and reason in `e`, -E2BIG past max_depth.
 */
int json_scan(struct slice text, const struct json_limits *l, struct err *e) MUST_CHECK;

/*
 * The value at a path of object keys ("alerts", or "data.issue.id") as the raw bytes of that value
 * (a string keeps its quotes); {NULL,0} when absent. `text` must have passed json_scan. One pass,
 * no allocation.
 */
struct slice json_at(struct slice text, const char *path);
/* Several members of one object in one pass: ret[i] as json_at(object, names[i]). */
void json_members(struct slice object, const char *const *names, struct slice *ret, size_t n);
/* Number of elements when the value at `path` ("" is the whole text) is an array, else 0. */
size_t json_count(struct slice text, const char *path);
/* Iterate over an array's elements: *pos starts at 0; false at the end. `array` must have passed
 * json_scan. */
bool json_next(struct slice array, size_t *pos, struct slice *ret);
/* Iterate over an object's members, equal keys and all: key is the raw string with quotes. */
bool json_next_member(struct slice object, size_t *pos, struct slice *key, struct slice *value);
/* A raw JSON string (with quotes) decoded into the arena, \u0000 and lone surrogates as U+FFFD;
 * numbers and true/false as their text, not copied; {NULL,0} when absent, null, an object, an
 * array, or past the cap. */
struct slice json_text(struct slice raw, struct arena *a);

/*
 * Tree owned by the arena (json_decref deferred). NULL with a reason. Text must be scanned first.
 * \u0000 and lone surrogates, which RFC 8259 lets through and no database takes, become U+FFFD; an
 * integer past 64 bits makes every number a real.
 */
json_t *json_tree(struct slice text, struct arena *a, struct err *e) MUST_CHECK;
/* The same, to be read only: its memory is the arena's, and no reference to it may be taken, given
 * back or added. Half the cost where there are many. */
json_t *json_lent(struct slice text, struct arena *a, struct err *e) MUST_CHECK;
/* Strings of a tree: "" never NULL. Not a string: numbers and booleans as their text, in the arena;
 * else "". */
struct slice json_str(const json_t *object, const char *key, struct arena *a);
struct slice json_value_text(const json_t *v, struct arena *a);
