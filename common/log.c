#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"

/*
 * A line is at most PIPE_BUF bytes, because a pipe keeps a write whole up to there and lines of
 * many threads and processes share one. It is built on the stack: logging must work when memory is
 * short.
 */
#define LINE_MAX_LEN PIPE_BUF
#define TEXT_MAX 1024 /* of one field */
#define CUT ",\"cut\":true"

static const char *service_name = "tocsin";
static enum log_level min_level = LVL_INFO;

void log_init(const char *service, enum log_level min)
{
    service_name = service;
    min_level = min;
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {
        [LVL_DEBUG] = "debug", [LVL_INFO] = "info", [LVL_WARN] = "warn", [LVL_ERROR] = "error"};
    return names[level];
}

static void add_text(struct buf *b, struct slice s, bool *cut)
{
    if (s.len > TEXT_MAX) {
        *cut = true;
        s.len = TEXT_MAX;
        while (s.len > TEXT_MAX - 4 && ((unsigned char)s.p[s.len] & 0xC0) == 0x80)
            s.len--; /* not inside a character */
    }
    buf_json(b, s);
}

static void add_value(struct buf *b, const struct kv *f, bool *cut)
{
    switch (f->type) {
    case KV_STR:
        if (f->v.s)
            add_text(b, slice_of(f->v.s), cut);
        else
            buf_puts(b, "null");
        break;
    case KV_SLICE:
        add_text(b, f->v.sl, cut);
        break;
    case KV_INT:
        buf_printf(b, "%lld", (long long)f->v.i);
        break;
    case KV_NUM: /* JSON has no name for infinity */
        if (isfinite(f->v.d))
            buf_printf(b, "%.15g", f->v.d);
        else
            buf_puts(b, "null");
        break;
    case KV_BOOL:
        buf_puts(b, f->v.i ? "true" : "false");
        break;
    }
}

/* A field is in the line as a whole or not at all. */
static void add_field(struct buf *b, const struct kv *f, bool *cut)
{
    size_t before = b->len;
    buf_putc(b, ',');
    buf_json(b, slice_of(f->k));
    buf_putc(b, ':');
    add_value(b, f, cut);
    if (b->failed) {
        b->len = before;
        b->failed = false;
        *cut = true;
    }
}

void log_write(enum log_level level, const struct kv *fields)
{
    if (level < min_level)
        return;
    char line[LINE_MAX_LEN + 1];
    char ts[RFC3339_MAX];
    /* Never past its max, so the buffer never reallocates what is not its own. */
    struct buf b = {.p = line, .size = sizeof(line), .max = LINE_MAX_LEN - sizeof(CUT "}\n")};
    buf_printf(&b, "{\"ts\":\"%s\",\"level\":\"%s\"", rfc3339_format(clock_now_ms(), ts),
               level_name(level));
    bool cut = false;
    add_field(&b, &(struct kv){.k = "service", .type = KV_STR, .v.s = service_name}, &cut);
    for (const struct kv *f = fields; f->k; f++)
        add_field(&b, f, &cut);
    b.max = LINE_MAX_LEN;
    buf_puts(&b, cut ? CUT "}\n" : "}\n");

    ssize_t n = 0;
    do {
        n = write(STDERR_FILENO, line, b.len);
    } while (n < 0 && errno == EINTR);
    /* Nowhere is left to say that logging failed. */
}

bool log_allow(struct log_limit *l, uint32_t *ret_dropped)
{
    int64_t minute = clock_monotonic_ms() / MS_MINUTE + 1; /* never the 0 of a new limit */
    int64_t seen = atomic_load(&l->window);
    int64_t next = 0;
    do {
        next = seen >> 32 == minute ? seen + 1 : minute << 32 | 1;
        if ((next & UINT32_MAX) > l->per_minute) {
            atomic_fetch_add(&l->dropped, 1);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&l->window, &seen, next));
    *ret_dropped = atomic_exchange(&l->dropped, 0);
    return true;
}
