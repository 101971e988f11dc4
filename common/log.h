/*
 * One JSON object per line on stderr: {"ts","level","service","event", ...}. Fields are typed,
 * never printed into a message; `event` is a constant that can be found by grep.
 * Library code returns errors; only the place where an error stops logs it, once.
 * Thread-safe: one write(2) per line.
 */
#pragma once

#include <stdint.h>

#include "common/slice.h"

enum log_level { LVL_DEBUG = 1, LVL_INFO, LVL_WARN, LVL_ERROR };

struct kv {
    const char *k; /* NULL ends the list */
    enum { KV_STR = 1, KV_INT, KV_NUM, KV_SLICE, KV_BOOL } type;
    union {
        const char *s;
        int64_t i;
        double d;
        struct slice sl;
    } v;
};

static inline struct kv kv_str(const char *k, const char *v)
{
    return (struct kv){.k = k, .type = KV_STR, .v.s = v};
}
static inline struct kv kv_int(const char *k, int64_t v)
{
    return (struct kv){.k = k, .type = KV_INT, .v.i = v};
}
static inline struct kv kv_num(const char *k, double v)
{
    return (struct kv){.k = k, .type = KV_NUM, .v.d = v};
}
static inline struct kv kv_slice(const char *k, struct slice v)
{
    return (struct kv){.k = k, .type = KV_SLICE, .v.sl = v};
}
static inline struct kv kv_bool(const char *k, bool v)
{
    return (struct kv){.k = k, .type = KV_BOOL, .v.i = v};
}

#define KV(k, v)                                                                                   \
    _Generic((v), char *: kv_str, const char *: kv_str, float: kv_num, double: kv_num,             \
             struct slice: kv_slice, bool: kv_bool, default: kv_int)((k), (v))
#define EV(name) kv_str("event", (name))
#define log_debug(...) log_write(LVL_DEBUG, (const struct kv[]){__VA_ARGS__, {0}})
#define log_info(...) log_write(LVL_INFO, (const struct kv[]){__VA_ARGS__, {0}})
#define log_warn(...) log_write(LVL_WARN, (const struct kv[]){__VA_ARGS__, {0}})
#define log_error(...) log_write(LVL_ERROR, (const struct kv[]){__VA_ARGS__, {0}})

/* Once at start, before threads. `service` stays the caller's. Lines below `min` are dropped. */
void log_init(const char *service, enum log_level min);
void log_write(enum log_level level, const struct kv *fields);

/*
 * Repeats of one call site: true at most `per_minute` times a minute, and then *ret_dropped
 * says how many were not written since.
 *     static struct log_limit limit = {.per_minute = 6};
 *     if (log_allow(&limit, &dropped)) log_warn(EV("redis_down"), KV("dropped", dropped));
 */
struct log_limit {
    _Atomic int64_t
        window; /* minute << 32 | lines written in it: one word, so that the limit is exact */
    uint32_t per_minute;
    _Atomic uint32_t dropped;
};
bool log_allow(struct log_limit *l, uint32_t *ret_dropped);
