/*
 * Scope-bound ownership. A destructor runs when its variable leaves scope:
 *     CLEANUP(arena_free) struct arena *a = arena_new(cap);
 *     return TAKE(a);
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn##_p)))

/* Give a `void fn(T)` destructor a `fn_p(T *)` form that CLEANUP(fn) can use. */
#define CLEANUP_DEFINE(type, fn)                                                                   \
    __attribute__((unused)) static inline void fn##_p(type *p)                                     \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }                                                                                              \
    struct cleanup_swallow_semicolon

/* Move ownership out of a CLEANUP variable: return TAKE(p). */
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) take_ = (p);                                                                 \
        (p) = NULL;                                                                                \
        take_;                                                                                     \
    })

__attribute__((unused)) static inline void free_p(void *p)
{
    free(*(void **)p);
}

__attribute__((unused)) static inline void close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
