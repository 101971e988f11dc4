/*
 * Bump allocator: one per in-flight message or batch, reset between them.
 *
 * Nothing allocated here is freed one by one. Foreign objects (json_t,
 * PGresult, rd_kafka_message_t) join with arena_defer() and are destroyed in
 * reverse order. The cap makes one message's appetite bounded: past it
 * arena_alloc() returns NULL and the message is rejected, not the process.
 * Not thread-safe: an arena belongs to one thread at a time.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/slice.h"

struct arena;

/* A new arena that will never hold more than `cap` bytes; NULL when out of memory. */
struct arena *arena_new(size_t cap) MUST_CHECK;

/* Run deferred destructors, newest first; keep the first block for reuse. */
void arena_reset(struct arena *a);

/* arena_reset(), then give all memory back. NULL is a no-op. */
void arena_free(struct arena *a);

/* Zeroed memory aligned for any type; NULL past the cap. `n` * `size` is overflow-checked. */
void *arena_alloc(struct arena *a, size_t n, size_t size)
    __attribute__((malloc, alloc_size(2, 3))) MUST_CHECK;

/* A NUL-terminated copy of s[0..len); NULL past the cap. */
char *arena_strndup(struct arena *a, const char *s, size_t len) MUST_CHECK;

/* A copy of `s` (NUL-terminated behind its length); {NULL, 0} past the cap or when empty. */
struct slice arena_slice(struct arena *a, struct slice s);

/* Formatted string; NULL past the cap. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) PRINTF_LIKE(2, 0) MUST_CHECK;

/* Destroy `obj` with `fn` at reset. -ENOMEM past the cap, and then `obj` is destroyed at once. */
int arena_defer(struct arena *a, void (*fn)(void *), void *obj) MUST_CHECK;

size_t arena_used(const struct arena *a);

#define arena_new_of(a, T) ((T *)arena_alloc((a), 1, sizeof(T)))
#define arena_array(a, n, T) ((T *)arena_alloc((a), (n), sizeof(T)))

CLEANUP_DEFINE(struct arena *, arena_free);
