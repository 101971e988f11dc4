/* The facts of an alert as bytes, for the column `facts`. */
#include <errno.h>

#include "processor/merge.h"

#define PACK_VERSION 1

/* The database and the workers are one installation, but not one architecture: numbers are little
 * endian. */
static void put_int(struct buf *b, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_putc(b, (char)(v >> (8 * i) & 0xff));
}

static void put_order(struct buf *b, const struct order *o)
{
    put_int(b, (uint64_t)o->at, 8);
    buf_add(b, o->request.b, sizeof(o->request.b));
    put_int(b, o->index, 4);
}

/* How an end came. PLAIN_SILENCE is not written any more: of those it is not known when the promise
 * was received, and the longest counts. */
enum { TOLD, PLAIN_SILENCE, SILENCE_HOLDS, SILENCE_UNDONE };

static uint64_t how_it_came(const struct fact_end *e)
{
    if (!e->silence)
        return TOLD;
    return e->undone ? SILENCE_UNDONE : SILENCE_HOLDS;
}

struct slice facts_pack(const struct facts *f, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)64 << 10);

    put_int(&b, PACK_VERSION, 1);
    put_int(&b, f->start_n, 1);
    put_int(&b, f->end_n, 1);
    put_int(&b, f->mark_n, 1);
    put_int(&b, (uint64_t)f->promise, 8);
    put_order(&b, &f->newest);
    for (uint32_t i = 0; i < f->start_n; i++) {
        put_int(&b, (uint64_t)f->starts[i].start, 8);
        put_order(&b, &f->starts[i].first);
        put_order(&b, &f->starts[i].last);
    }
    for (uint32_t i = 0; i < f->end_n; i++) {
        put_int(&b, (uint64_t)f->ends[i].end, 8);
        put_order(&b, &f->ends[i].first);
        put_order(&b, &f->ends[i].last);
        put_int(&b, how_it_came(&f->ends[i]), 1);
    }
    for (uint32_t i = 0; i < f->mark_n; i++) {
        put_order(&b, &f->marks[i].order);
        put_int(&b, f->marks[i].kind, 1);
    }
    return b.failed ? (struct slice){NULL, 0} : arena_slice(a, (struct slice){b.p, b.len});
}

struct reader {
    const unsigned char *p;
    size_t len;
    bool failed;
};

static uint64_t get_int(struct reader *r, unsigned bytes)
{
    uint64_t v = 0;

    if (r->len < bytes) {
        r->failed = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)r->p[i] << (8 * i);
    r->p += bytes;
    r->len -= bytes;
    return v;
}

/* Far outside of any calendar is garbage, and differences of such times overflow. */
#define TIME_MAX (INT64_C(1) << 60)

static int64_t get_time(struct reader *r)
{
    const int64_t v = (int64_t)get_int(r, 8);

    r->failed |= v > TIME_MAX || v < -TIME_MAX;
    return r->failed ? 0 : v;
}

static struct order get_order(struct reader *r)
{
    struct order o = {.at = get_time(r)};

    for (size_t i = 0; i < sizeof(o.request.b); i++)
        o.request.b[i] = (unsigned char)get_int(r, 1);
    o.index = (uint32_t)get_int(r, 4);
    return o;
}

static void get_facts(struct reader *r, struct facts *f)
{
    f->start_n = (uint32_t)get_int(r, 1);
    f->end_n = (uint32_t)get_int(r, 1);
    f->mark_n = (uint32_t)get_int(r, 1);
    f->promise = get_time(r);
    f->newest = get_order(r);
    if (f->start_n > MERGE_MAX || f->end_n > MERGE_MAX || f->mark_n > MERGE_MAX) {
        r->failed = true;
        return;
    }
    for (uint32_t i = 0; i < f->start_n; i++) {
        f->starts[i].start = get_time(r);
        f->starts[i].first = get_order(r);
        f->starts[i].last = get_order(r);
    }
    for (uint32_t i = 0; i < f->end_n; i++) {
        f->ends[i].end = get_time(r);
        f->ends[i].first = get_order(r);
        f->ends[i].last = get_order(r);
        const uint64_t how = get_int(r, 1);
        f->ends[i].silence = how != TOLD;
        f->ends[i].undone =
            how == SILENCE_UNDONE || (how == PLAIN_SILENCE && f->promise > f->ends[i].end);
    }
    for (uint32_t i = 0; i < f->mark_n; i++) {
        f->marks[i].order = get_order(r);
        f->marks[i].kind = (enum report_kind)get_int(r, 1);
    }
}

int facts_unpack(struct slice bytes, struct facts *ret, struct err *e)
{
    struct reader r = {(const unsigned char *)bytes.p, bytes.len, false};

    facts_init(ret);
    if (bytes.len == 0)
        return 0;
    const bool known = get_int(&r, 1) == PACK_VERSION;
    if (known)
        get_facts(&r, ret);
    if (known && !r.failed && r.len == 0)
        return 0;
    facts_init(ret);
    return err_set(e, -EBADMSG, "facts of an alert: %zu bytes that are none", bytes.len);
}

void facts_recover(const struct remains *row, struct facts *ret)
{
    const int64_t start = row->starts_at;
    const struct order begun = {.at = start}, ended = {.at = row->ended_at};

    facts_init(ret);
    ret->newest.at = row->last_seen;
    if (start <= 0)
        return;
    ret->starts[ret->start_n++] = (struct fact_start){start, begun, begun};
    if (row->firing)
        ret->starts[0].last = ret->newest;
    else if (row->ended_at > start)
        ret->ends[ret->end_n++] =
            (struct fact_end){.end = row->ended_at, .first = ended, .last = ended};
}
