#include "common/uuid7.h"

#include <stdatomic.h>
#include <string.h>

#include "common/digest.h"
#include "common/rate.h"

#define MS_MAX ((INT64_C(1) << 48) - 1)
#define COUNTER_BITS 16

/*
 * The last id's time and counter in one word: when time stands still or steps back the word is
 * incremented, and a counter that runs over borrows from the next millisecond. So ids increase
 * without a lock. The 58 random bits behind them tell processes apart.
 */
static _Atomic uint64_t last;

static uint64_t next_stamp(int64_t now_ms)
{
    int64_t ms = now_ms < 0 ? 0 : now_ms > MS_MAX ? MS_MAX : now_ms;
    uint64_t fresh = (uint64_t)ms << COUNTER_BITS;
    uint64_t seen = atomic_load_explicit(&last, memory_order_relaxed);
    uint64_t next = 0;
    do {
        next = fresh > seen ? fresh : seen + 1;
    } while (!atomic_compare_exchange_weak_explicit(&last, &seen, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return next;
}

static void put_be64(unsigned char *out, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(v >> (56 - 8 * i));
}

struct uuid uuid7_new(int64_t now_ms)
{
    uint64_t stamp = next_stamp(now_ms);
    uint64_t high = (stamp & ~UINT64_C(0xFFFF)) | 0x7000 | (stamp & 0xFFFF) >> 4;
    uint64_t low = UINT64_C(1) << 63 | (stamp & 0xF) << 58 | random_u64() >> 6;
    struct uuid u;
    put_be64(u.b, high);
    put_be64(u.b + 8, low);
    return u;
}

/* Bytes before each dash: 4-2-2-2-6. */
static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *uuid_format(const struct uuid *u, char out[UUID_STR])
{
    char *p = out;
    for (size_t i = 0; i < sizeof(u->b); i++) {
        if (dash_before(i))
            *p++ = '-';
        hex_encode(u->b + i, 1, p);
        p += 2;
    }
    return out;
}

bool uuid_parse(struct slice s, struct uuid *ret)
{
    struct uuid u;
    if (s.len == 2 * sizeof(u.b)) {
        if (!hex_decode(s, u.b, sizeof(u.b)))
            return false;
        *ret = u;
        return true;
    }
    if (s.len != UUID_STR - 1)
        return false;
    const char *p = s.p;
    for (size_t i = 0; i < sizeof(u.b); i++) {
        if (dash_before(i) && *p++ != '-')
            return false;
        if (!hex_decode((struct slice){p, 2}, u.b + i, 1))
            return false;
        p += 2;
    }
    *ret = u;
    return true;
}

int uuid_cmp(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b));
}
