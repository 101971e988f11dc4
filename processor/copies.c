#include "processor/copies.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/metrics.h"
#include "common/redis.h"

struct copies {
    struct redis *redis; /* NULL: none configured */
    const struct redis_settings *s;
    struct counter *written, *failed;
};

/* The compare and the write are one step in Redis: two workers may arrive in either order. */
static const char newer[] =
    "if tonumber(redis.call('HGET', KEYS[1], 'v') or '-1') < tonumber(ARGV[1]) then "
    "redis.call('HSET', KEYS[1], 'v', ARGV[1], 'f', ARGV[2]) "
    "redis.call('PEXPIRE', KEYS[1], ARGV[3]) end";

int copies_new(const struct redis_settings *s, struct copies **ret, struct err *e)
{
    CLEANUP(free) struct copies *c = calloc(1, sizeof(*c));

    if (!c)
        return err_set(e, -ENOMEM, "out of memory");
    c->s = s;
    if (s->url && s->url[0]) {
        const int rc = redis_open(s, &c->redis, e);
        if (rc < 0)
            return rc;
    }
    c->written = counter_new("tocsin_redis_copies_total", "Frequency copies handed to Redis.", "");
    c->failed = counter_new("tocsin_redis_failures_total",
                            "Writes that Redis did not take; Postgres has the truth.", "");
    *ret = TAKE(c);
    return 0;
}

void copies_free(struct copies *c)
{
    if (!c)
        return;
    redis_close(c->redis);
    free(c);
}

static int append(struct copies *c, const struct anomaly_state *an, struct arena *a, struct err *e)
{
    char hex[2 * ANOMALY_KEY_LEN + 1], version[24], ttl[24];
    const char *key = arena_printf(a, "%s:freq:%.*s:%s", c->s->prefix, SLICE_FMT(an->tenant),
                                   hex_encode(an->id.key, ANOMALY_KEY_LEN, hex));
    const struct slice packed = frequency_pack(&an->frequency, a);

    if (!key || !packed.p)
        return err_set(e, -ENOMEM, "out of memory");
    (void)snprintf(version, sizeof(version), "%" PRId64, an->version + 1);
    (void)snprintf(ttl, sizeof(ttl), "%" PRId64, c->s->key_ttl);
    const struct slice argv[] = {SLICE_LIT("EVAL"), slice_of(newer), SLICE_LIT("1"), slice_of(key),
                                 slice_of(version), packed,          slice_of(ttl)};
    return redis_append(c->redis, sizeof(argv) / sizeof(argv[0]), argv, e);
}

void copies_write(struct copies *c, const struct work *w)
{
    struct err e = {0};
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; c->redis && i < w->anomaly_n && rc == 0; i++) {
        if (!w->anomalies[i].dirty)
            continue;
        rc = append(c, &w->anomalies[i], w->a, &e);
        n++;
    }
    if (n == 0)
        return;
    if (rc == 0)
        rc = redis_flush(c->redis, &e);
    counter_add(rc == 0 ? c->written : c->failed, rc == 0 ? n : 1);
}
