#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 64

void buf_release(struct buf *b)
{
    if (!b)
        return;
    free(b->p);
    *b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->p)
        b->p[0] = '\0';
}

/* Room for `n` more bytes and the NUL. */
static bool reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return false;
    if (n > b->max - b->len || b->len + n == SIZE_MAX) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need <= b->size)
        return true;
    size_t size = b->size > SIZE_MAX / 2 ? SIZE_MAX : b->size * 2;
    if (size > b->max)
        size = b->max < SIZE_MAX ? b->max + 1 : SIZE_MAX;
    if (size < SMALLEST && b->max >= SMALLEST)
        size = SMALLEST;
    if (size < need)
        size = need;
    char *p = realloc(b->p, size);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->size = size;
    return true;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len > 0)
        memcpy(b->p + b->len, p, len);
    b->len += len;
    b->p[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0) {
        b->failed = true;
    } else if (reserve(b, (size_t)n)) {
        (void)vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

/*
 * How many bytes the character at p[0..n) takes; *ret_valid is false when it is none, and then the
 * bytes are those that one U+FFFD stands for (the maximal subpart of the Unicode standard,
 * section 3.9).
 */
static size_t utf8_step(const unsigned char *p, size_t n, bool *ret_valid)
{
    unsigned char lo = 0x80, hi = 0xBF;
    size_t follow = 0;
    *ret_valid = p[0] < 0x80;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 1;
    if (p[0] < 0xE0) {
        follow = 1;
    } else if (p[0] < 0xF0) {
        follow = 2;
        lo = p[0] == 0xE0 ? 0xA0 : 0x80; /* overlong */
        hi = p[0] == 0xED ? 0x9F : 0xBF; /* surrogates */
    } else {
        follow = 3;
        lo = p[0] == 0xF0 ? 0x90 : 0x80; /* overlong */
        hi = p[0] == 0xF4 ? 0x8F : 0xBF; /* past U+10FFFF */
    }
    for (size_t i = 1; i <= follow; i++) {
        if (i == n || p[i] < lo || p[i] > hi)
            return i;
        lo = 0x80;
        hi = 0xBF;
    }
    *ret_valid = true;
    return follow + 1;
}

bool utf8_valid(struct slice s)
{
    bool valid = true;

    for (size_t i = 0; valid && i < s.len;)
        i += utf8_step((const unsigned char *)s.p + i, s.len - i, &valid);
    return valid;
}

static void add_escape(struct buf *b, unsigned char c)
{
    static const char names[] = "btn?fr"; /* \b is 8, \r is 13; \v has no name in JSON */
    if (c == '"' || c == '\\') {
        buf_add(b, (const char[]){'\\', (char)c}, 2);
    } else if (c >= '\b' && c <= '\r' && c != '\v') {
        buf_add(b, (const char[]){'\\', names[c - '\b']}, 2);
    } else {
        buf_printf(b, "\\u%04x", c);
    }
}

void buf_json(struct buf *b, struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t plain = 0; /* start of the run that can be copied as it is */
    size_t i = 0;
    buf_putc(b, '"');
    while (i < s.len && !b->failed) {
        bool valid = false;
        size_t n = utf8_step(p + i, s.len - i, &valid);
        if (valid && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
            i += n;
            continue;
        }
        buf_add(b, s.p + plain, i - plain);
        if (valid)
            add_escape(b, p[i]);
        else
            buf_puts(b, "\xEF\xBF\xBD");
        i += n;
        plain = i;
    }
    if (i > plain)
        buf_add(b, s.p + plain, i - plain);
    buf_putc(b, '"');
}

const char *buf_str(const struct buf *b)
{
    return b->p ? b->p : "";
}
