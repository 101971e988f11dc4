#include "console/out.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/uuid7.h"

static void begin(struct buf *b, const char *name)
{
    const char last = b->len > 0 ? b->p[b->len - 1] : '[';

    if (last != '{' && last != '[')
        buf_putc(b, ',');
    if (name)
        buf_printf(b, "\"%s\":", name);
}

void out_open(struct buf *b, const char *name, char bracket)
{
    begin(b, name);
    buf_putc(b, bracket);
}

void out_close(struct buf *b, char bracket)
{
    buf_putc(b, bracket);
}

void out_text(struct buf *b, const char *name, struct slice v)
{
    begin(b, name);
    buf_json(b, v);
}

void out_text_or_null(struct buf *b, const char *name, struct slice v)
{
    if (v.len > 0) {
        out_text(b, name, v);
        return;
    }
    begin(b, name);
    buf_puts(b, "null");
}

void out_word(struct buf *b, const char *name, const char *v)
{
    out_text_or_null(b, name, slice_of(v));
}

void out_int(struct buf *b, const char *name, int64_t v)
{
    begin(b, name);
    buf_printf(b, "%" PRId64, v);
}

void out_number(struct buf *b, const char *name, double v)
{
    begin(b, name);
    buf_printf(b, "%.4f", v);
}

void out_bool(struct buf *b, const char *name, bool v)
{
    begin(b, name);
    buf_puts(b, v ? "true" : "false");
}

void out_time(struct buf *b, const char *name, int64_t ms)
{
    char text[RFC3339_MAX];

    out_word(b, name, ms > 0 ? rfc3339_format(ms, text) : NULL);
}

void out_uuid(struct buf *b, const char *name, const unsigned char *v16)
{
    struct uuid u;
    char text[UUID_STR];

    if (v16)
        memcpy(u.b, v16, sizeof(u.b));
    out_word(b, name, v16 ? uuid_format(&u, text) : NULL);
}

void out_raw(struct buf *b, const char *name, struct slice json)
{
    begin(b, name);
    if (json.len > 0)
        buf_add(b, json.p, json.len);
    else
        buf_puts(b, "{}");
}
