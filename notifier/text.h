/* UTF-8 text that must fit: cut between characters, never inside one. Pure. */
#pragma once

#include "common/arena.h"
#include "common/slice.h"

/* The longest prefix of at most `max` bytes that ends between characters. */
size_t utf8_fit(struct slice s, size_t max);
/* The length in bytes of the first `max` characters. */
size_t utf8_chars(struct slice s, size_t max);

/* One line: control characters and line breaks become blanks, runs of blanks one; at most `max`
 * bytes and then "…". Invalid UTF-8 becomes '?'. NULL past the arena's cap. */
const char *text_line(struct arena *a, struct slice s, size_t max);
/* Several lines, cut at the end of a line if one is near, followed by `more` when something was
 * cut. NULL past the arena's cap. */
const char *text_cut(struct arena *a, struct slice s, size_t max, const char *more);
