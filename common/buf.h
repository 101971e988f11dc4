/*
 * A growable byte buffer with a hard maximum, always NUL-terminated behind `len`.
 * The struct lives on the stack or inside another; buf_release() frees what it grew.
 * A failed append sets `failed` and further appends do nothing, so a writer checks once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/slice.h"

struct buf {
    char *p; /* NULL while empty */
    size_t len, size, max;
    bool failed; /* out of memory or past max */
};

/* An empty buffer that never holds more than `max` bytes. */
#define BUF_INIT(max_) ((struct buf){.max = (max_)})

void buf_release(struct buf *b);
void buf_reset(struct buf *b); /* len = 0, failed = false; memory kept */
void buf_add(struct buf *b, const void *p, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Shortest forms, no surrogates; a NUL is a character. */
bool utf8_valid(struct slice s);
/* `s` as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void buf_json(struct buf *b, struct slice s);
/* The string ("" when empty). */
const char *buf_str(const struct buf *b);

#define buf_release_p buf_release
