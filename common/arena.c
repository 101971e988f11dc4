#include "common/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define ALIGNMENT alignof(max_align_t)
#define FIRST_BLOCK ((size_t)8 << 10)
#define LARGEST_BLOCK ((size_t)1 << 20)

struct block {
    struct block *next; /* older */
    size_t size, used;
    alignas(max_align_t) char data[];
};

struct deferred {
    struct deferred *next; /* older */
    void (*fn)(void *);
    void *obj;
};

struct arena {
    struct block *blocks; /* newest first; the last one is kept by arena_reset() */
    struct deferred *deferred;
    size_t cap, held; /* held: the sum of the blocks' sizes */
};

/* Room for `n` bytes, and more when the cap allows: blocks double so that big messages cost few. */
static int add_block(struct arena *a, size_t n)
{
    size_t left = a->cap - a->held;
    if (n > left)
        return -ENOMEM;
    size_t size = a->blocks ? a->blocks->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK)
        size = LARGEST_BLOCK;
    if (size < n)
        size = n;
    if (size > left)
        size = left;
    struct block *b = size <= SIZE_MAX - sizeof(*b) ? malloc(sizeof(*b) + size) : NULL;
    if (!b)
        return -ENOMEM;
    *b = (struct block){.next = a->blocks, .size = size};
    ASAN_POISON_MEMORY_REGION(b->data, size);
    a->blocks = b;
    a->held += size;
    return 0;
}

static void free_block(struct block *b)
{
    ASAN_UNPOISON_MEMORY_REGION(b->data, b->size);
    free(b);
}

struct arena *arena_new(size_t cap)
{
    struct arena *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->cap = cap;
    if (add_block(a, 0) < 0) {
        free(a);
        return NULL;
    }
    return a;
}

void arena_reset(struct arena *a)
{
    while (a->deferred) {
        struct deferred *d = a->deferred;
        a->deferred = d->next;
        d->fn(d->obj);
    }
    while (a->blocks->next) {
        struct block *b = a->blocks;
        a->blocks = b->next;
        a->held -= b->size;
        free_block(b);
    }
    a->blocks->used = 0;
    ASAN_POISON_MEMORY_REGION(a->blocks->data, a->blocks->size);
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    arena_reset(a);
    free_block(a->blocks);
    free(a);
}

/* What is handed out starts aligned, so a block is used in steps of the alignment. */
static bool fits(const struct block *b, size_t n, size_t *ret_at)
{
    size_t at = (b->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (at > b->size || n > b->size - at)
        return false;
    *ret_at = at;
    return true;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    if (bytes == 0)
        bytes = 1; /* an empty array is not a failure */
    size_t at = 0;
    if (!fits(a->blocks, bytes, &at)) {
        if (add_block(a, bytes) < 0)
            return NULL;
        at = 0;
    }
    char *p = a->blocks->data + at;
    a->blocks->used = at + bytes;
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    return memset(p, 0, bytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *p = arena_alloc(a, len + 1, 1);
    if (p && len > 0)
        memcpy(p, s, len);
    return p;
}

struct slice arena_slice(struct arena *a, struct slice s)
{
    if (s.len == 0)
        return (struct slice){0};
    char *p = arena_strndup(a, s.p, s.len);
    return p ? (struct slice){p, s.len} : (struct slice){0};
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1, 1);
    if (p)
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *p = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

int arena_defer(struct arena *a, void (*fn)(void *), void *obj)
{
    struct deferred *d = arena_new_of(a, struct deferred);
    if (!d) {
        fn(obj);
        return -ENOMEM;
    }
    *d = (struct deferred){.next = a->deferred, .fn = fn, .obj = obj};
    a->deferred = d;
    return 0;
}

size_t arena_used(const struct arena *a)
{
    size_t used = 0;
    for (const struct block *b = a->blocks; b; b = b->next)
        used += b->used;
    return used;
}
