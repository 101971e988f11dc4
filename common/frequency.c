/* Counters of an anomaly: rings of buckets, and the newest times exactly. */
#include "common/frequency.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"

struct ring {
    int64_t *slot0; /* slot number of the newest bucket */
    uint32_t *v;
    size_t n;
    int64_t width;
};

#define RINGS 4
static void rings_of(struct frequency *f, struct ring out[RINGS])
{
    out[0] = (struct ring){&f->minute0, f->minutes, 61, MS_MINUTE};
    out[1] = (struct ring){&f->quarter0, f->quarters, 97, 15 * MS_MINUTE};
    out[2] = (struct ring){&f->hour0, f->hours, 169, MS_HOUR};
    out[3] = (struct ring){&f->six0, f->sixes, 121, 6 * MS_HOUR};
}

void frequency_init(struct frequency *f)
{
    memset(f, 0, sizeof(*f));
}

/* Bucket `slot` lives at slot % n; moving the newest forward clears what it passes. */
static void ring_advance(struct ring *r, int64_t slot)
{
    if (slot <= *r->slot0)
        return;
    const int64_t steps = slot - *r->slot0;
    if (*r->slot0 == 0 || steps >= (int64_t)r->n) {
        memset(r->v, 0, r->n * sizeof(*r->v));
    } else {
        for (int64_t s = *r->slot0 + 1; s <= slot; s++)
            r->v[s % (int64_t)r->n] = 0;
    }
    *r->slot0 = slot;
}

static uint32_t *ring_bucket(struct ring *r, int64_t at_ms)
{
    const int64_t slot = at_ms / r->width;
    if (slot > *r->slot0 || slot <= *r->slot0 - (int64_t)r->n)
        return NULL;
    return &r->v[slot % (int64_t)r->n];
}

static void recent_insert(struct frequency *f, int64_t at_ms)
{
    uint32_t i = f->recent_n;

    if (at_ms < f->forgotten)
        return; /* older than what is remembered exactly */
    while (i > 0 && f->recent[i - 1] > at_ms)
        i--;
    if (f->recent_n == FREQUENCY_RECENT) {
        if (i == 0) {
            f->forgotten = at_ms;
            return;
        }
        f->forgotten = f->recent[0];
        memmove(f->recent, f->recent + 1, (i - 1) * sizeof(f->recent[0]));
        f->recent[i - 1] = at_ms;
        return;
    }
    memmove(f->recent + i + 1, f->recent + i, (f->recent_n - i) * sizeof(f->recent[0]));
    f->recent[i] = at_ms;
    f->recent_n++;
}

void frequency_add(struct frequency *f, int64_t at_ms)
{
    struct ring rings[RINGS];
    bool kept = false;

    rings_of(f, rings);
    for (size_t i = 0; i < RINGS; i++) {
        ring_advance(&rings[i], at_ms / rings[i].width);
        uint32_t *b = ring_bucket(&rings[i], at_ms);
        if (b && *b < UINT32_MAX)
            ++*b;
        kept |= b != NULL;
    }
    if (kept)
        recent_insert(f, at_ms);
}

void frequency_remove(struct frequency *f, int64_t at_ms)
{
    struct ring rings[RINGS];

    rings_of(f, rings);
    for (size_t i = 0; i < RINGS; i++) {
        uint32_t *b = ring_bucket(&rings[i], at_ms);
        if (b && *b > 0)
            --*b;
    }
    for (uint32_t i = 0; i < f->recent_n; i++) {
        if (f->recent[i] != at_ms)
            continue;
        memmove(f->recent + i, f->recent + i + 1, (f->recent_n - i - 1) * sizeof(f->recent[0]));
        f->recent_n--;
        return;
    }
}

/* Occurrences in (now - span, now]: whole buckets, and the share of the oldest one that is inside.
 */
static uint64_t ring_count(const struct ring *r, int64_t now_ms, int64_t span)
{
    const int64_t from = now_ms - span, newest = now_ms / r->width, oldest = from / r->width;
    uint64_t sum = 0;

    for (int64_t s = newest; s > oldest; s--)
        if (s <= *r->slot0 && s > *r->slot0 - (int64_t)r->n)
            sum += r->v[s % (int64_t)r->n];
    if (oldest > *r->slot0 - (int64_t)r->n && oldest <= *r->slot0) {
        const uint64_t v = r->v[oldest % (int64_t)r->n];
        const int64_t inside = (oldest + 1) * r->width - from;
        sum += (v * (uint64_t)inside + (uint64_t)r->width / 2) / (uint64_t)r->width;
    }
    return sum;
}

static uint64_t window_count(const struct frequency *f, const struct ring *r, int64_t now_ms,
                             int64_t span)
{
    uint64_t n = 0;

    if (f->forgotten > now_ms - span)
        return ring_count(r, now_ms, span);
    for (uint32_t i = f->recent_n; i > 0 && f->recent[i - 1] > now_ms - span; i--)
        n += f->recent[i - 1] <= now_ms;
    return n;
}

struct frequency_counts frequency_count(const struct frequency *f, int64_t now_ms)
{
    struct frequency copy = *f; /* rings_of() wants to write nothing, but C cannot say so */
    struct ring rings[RINGS];

    rings_of(&copy, rings);
    return (struct frequency_counts){
        .h1 = window_count(f, &rings[0], now_ms, MS_HOUR),
        .h24 = window_count(f, &rings[1], now_ms, MS_DAY),
        .d7 = window_count(f, &rings[2], now_ms, 7 * MS_DAY),
        .d30 = window_count(f, &rings[3], now_ms, 30 * MS_DAY),
    };
}

uint64_t frequency_within(const struct frequency *f, int64_t now_ms, int64_t window_ms)
{
    struct frequency copy = *f;
    struct ring rings[RINGS];
    size_t i = 0;

    rings_of(&copy, rings);
    while (i < RINGS - 1 && window_ms > (int64_t)(rings[i].n - 1) * rings[i].width)
        i++;
    return window_count(f, &rings[i], now_ms, window_ms);
}

enum escalation_level frequency_level(const struct frequency_settings *s, uint64_t count_24h)
{
    if (count_24h >= s->permanent_fix)
        return LEVEL_PERMANENT_FIX;
    if (count_24h >= s->escalate)
        return LEVEL_ESCALATE;
    return count_24h >= s->repeat ? LEVEL_REPEAT : LEVEL_NONE;
}

/*
 * Packed form: a version byte, then little groups of 7 bits (LEB128): for each ring its newest
 * slot, and (gap of empty buckets, value) pairs ended by a zero value; then `forgotten`, the number
 * of recent times, and their differences.
 */
#define PACK_VERSION 1

static void put_varint(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_putc(b, (char)(0x80 | (v & 0x7f)));
        v >>= 7;
    }
    buf_putc(b, (char)v);
}

static void pack_ring(struct buf *b, const struct ring *r)
{
    uint64_t gap = 0;

    put_varint(b, (uint64_t)*r->slot0);
    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i] == 0) {
            gap++;
            continue;
        }
        put_varint(b, gap);
        put_varint(b, r->v[i]);
        gap = 0;
    }
    put_varint(b, 0);
    put_varint(b, 0);
}

struct slice frequency_pack(const struct frequency *f, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)64 << 10);
    struct frequency copy = *f;
    struct ring rings[RINGS];
    int64_t before = 0;

    buf_putc(&b, PACK_VERSION);
    rings_of(&copy, rings);
    for (size_t i = 0; i < RINGS; i++)
        pack_ring(&b, &rings[i]);
    put_varint(&b, (uint64_t)f->forgotten);
    put_varint(&b, f->recent_n);
    for (uint32_t i = 0; i < f->recent_n; i++) {
        put_varint(&b, (uint64_t)(f->recent[i] - before));
        before = f->recent[i];
    }
    if (b.failed)
        return (struct slice){NULL, 0};
    return arena_slice(a, (struct slice){b.p, b.len});
}

static bool get_varint(struct slice *in, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
        const unsigned char c = (unsigned char)*in->p++;
        in->len--;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool unpack_ring(struct slice *in, struct ring *r)
{
    uint64_t slot, gap, v, at = 0;

    if (!get_varint(in, &slot) || slot > INT64_MAX / 2)
        return false;
    *r->slot0 = (int64_t)slot;
    for (;;) {
        if (!get_varint(in, &gap) || !get_varint(in, &v) || v > UINT32_MAX)
            return false;
        if (v == 0)
            return true;
        if (gap >= r->n || at + gap >= r->n)
            return false;
        at += gap;
        r->v[at++] = (uint32_t)v;
    }
}

static bool unpack(struct slice in, struct frequency *f)
{
    struct ring rings[RINGS];
    uint64_t v, n, before = 0;

    if (in.p[0] != PACK_VERSION)
        return false;
    in.p++;
    in.len--;
    rings_of(f, rings);
    for (size_t i = 0; i < RINGS; i++)
        if (!unpack_ring(&in, &rings[i]))
            return false;
    if (!get_varint(&in, &v) || v > INT64_MAX || !get_varint(&in, &n) || n > FREQUENCY_RECENT)
        return false;
    f->forgotten = (int64_t)v;
    f->recent_n = (uint32_t)n;
    for (uint32_t i = 0; i < f->recent_n; i++) {
        if (!get_varint(&in, &v) || v > INT64_MAX - before)
            return false;
        before += v;
        f->recent[i] = (int64_t)before;
    }
    return in.len == 0;
}

int frequency_unpack(struct slice bytes, struct frequency *ret, struct err *e)
{
    struct frequency f;

    frequency_init(&f);
    if (bytes.len > 0 && !unpack(bytes, &f))
        return err_set(e, -EBADMSG, "frequency: %zu bytes that are not a packed frequency",
                       bytes.len);
    *ret = f;
    return 0;
}
