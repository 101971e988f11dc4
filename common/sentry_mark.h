/*
 * What Tocsin writes into a Sentry issue ends in this line, and what comes back ending in it is our
 * own echo: the channel `sentry` writes it, the source `sentry` looks for it.
 */
#pragma once

#include "common/slice.h"

#define SENTRY_MARK "(written by Tocsin)"

/* Does a comment end in the mark, spaces behind it aside? */
static inline bool sentry_is_ours(struct slice comment)
{
    static const char mark[] = SENTRY_MARK;
    const size_t n = sizeof(mark) - 1;
    while (comment.len > 0 &&
           (comment.p[comment.len - 1] == ' ' || comment.p[comment.len - 1] == '\n' ||
            comment.p[comment.len - 1] == '\r'))
        comment.len--;
    return comment.len >= n && memcmp(comment.p + comment.len - n, mark, n) == 0;
}
