#include "common/dead.h"

#include <errno.h>
#include <inttypes.h>

#include "common/buf.h"

#define HEADERS_MAX ((size_t)1 << 20)
#define OWN_MAX ((size_t)64 << 10)
#define ESCAPED 6 /* a byte may become \u001f */

/* What jsonb would not take stays behind, since what is dead must get out. */
static void add(struct buf *b, const struct kafka_header *h)
{
    const struct slice name = slice_of(h->name), v = h->value;
    if (v.len > 0 && memchr(v.p, '\0', v.len))
        return;
    if (v.len + name.len + 1 > (HEADERS_MAX - b->len) / ESCAPED)
        return;
    buf_json(b, name);
    buf_putc(b, ':');
    buf_json(b, v);
    buf_putc(b, ',');
}

int dead_store(struct pg *pg, struct arena *a, const struct dead *d, struct err *e)
{
    CLEANUP(buf_release) struct buf h = BUF_INIT(HEADERS_MAX + OWN_MAX);
    struct pg_args *p = pg_args(a);

    buf_putc(&h, '{');
    for (size_t i = 0; i < d->header_n; i++)
        add(&h, &d->headers[i]);
    /* Ours come last: of equal names the last one stands. */
    buf_puts(&h, "\"reason\":");
    buf_json(&h, slice_of(d->reason));
    buf_puts(&h, ",\"stage\":");
    buf_json(&h, slice_of(d->stage));
    buf_puts(&h, ",\"topic\":");
    buf_json(&h, slice_of(d->topic));
    buf_printf(&h, ",\"partition\":\"%" PRId32 "\",\"offset\":\"%" PRId64 "\"}", d->partition,
               d->offset);
    if (h.failed)
        return err_set(e, -ENOMEM, "out of memory");
    pg_bytea(p, d->key);
    pg_bytea(p, d->value.p ? d->value : SLICE_LIT(""));
    pg_text(p, (struct slice){h.p, h.len});
    return pg_query(
        pg,
        "INSERT INTO outbox (topic, key, value, headers) VALUES ('dead', $1, $2, $3::text::jsonb)",
        p, NULL, e);
}
