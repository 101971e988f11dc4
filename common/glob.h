/*
 * Patterns over one word: `*` is any run of characters, `?` one character, `[a-z]` one of these,
 * `[!a-z]` one of the others, `\` takes what follows as it is. The whole word must match, in
 * exactly these letters. Characters are UTF-8's; inside brackets only ASCII may stand.
 */
#pragma once

#include "common/slice.h"

/* What is wrong with a pattern, for a person; NULL: nothing. */
const char *glob_fault(const char *pattern);
/* Of a pattern without fault. Time is bounded by the product of both lengths. */
bool glob_match(const char *pattern, struct slice word);
