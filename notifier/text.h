/* UTF-8 text that must fit: cut between characters, never inside one, nor inside an escape, an
 * entity or a tag. Pure. */
#pragma once

#include "common/arena.h"
#include "common/slice.h"

/* The length in bytes of the first `max` characters. */
size_t utf8_chars(struct slice s, size_t max);

/* One line: control characters and line breaks become blanks, runs of blanks one, signs that turn
 * the direction are left out; at most `max` bytes and then "…". Invalid UTF-8 becomes '?'. NULL
 * past the arena's cap. */
const char *text_line(struct arena *a, struct slice s, size_t max);

/* What a channel's limit counts. */
enum unit {
    UNIT_BYTES,
    UNIT_UTF16, /* where "characters" are meant: never more of them than of these */
    UNIT_SHOWN, /* the same of what HTML shows: tags are nothing, an entity is its character */
    UNIT_SMS,   /* parts of a short message, notifier/sms.h */
};
size_t text_size(struct slice s, enum unit unit);
/* Several lines, cut at the end of a line if one is near, followed by `more` when something was
 * cut. Tags that UNIT_SHOWN finds open there are closed. NULL past the arena's cap. */
const char *text_cut(struct arena *a, struct slice s, size_t max, enum unit unit, const char *more);
