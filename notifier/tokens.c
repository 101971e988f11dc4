#include "notifier/tokens.h"

#include <errno.h>
#include <stdio.h>

#include "common/seal.h"

#define NAME_MAX_BYTES 256

struct tokens {
    const struct redis_settings *s;
    struct redis *redis;
};

int tokens_new(const struct redis_settings *s, struct tokens **ret, struct err *e)
{
    struct tokens *t = calloc(1, sizeof(*t));

    if (!t)
        return err_set(e, -ENOMEM, "out of memory");
    t->s = s;
    int r = redis_open(s, &t->redis, e);
    if (r < 0) {
        free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    redis_close(t->redis);
    free(t);
}

static struct slice name_of(const struct tokens *t, const struct credential *c,
                            char out[NAME_MAX_BYTES])
{
    char hex[2 * SHA256_LEN + 1];
    int n = snprintf(out, NAME_MAX_BYTES, "%s:token:%s", t->s->prefix ? t->s->prefix : "",
                     hex_encode(c->id, sizeof(c->id), hex));

    return (struct slice){out, n < NAME_MAX_BYTES ? (size_t)n : NAME_MAX_BYTES - 1};
}

static void hold(struct credential *c, struct slice token, int64_t good_until)
{
    if (token.len > TOKEN_MAX)
        return;
    memcpy(c->token, token.p ? token.p : "", token.len);
    c->token[token.len] = '\0';
    c->good_until = good_until;
}

/* What another process put there, with the time that it still stands. */
static void fetch(struct tokens *t, struct credential *c, int64_t now_ms)
{
    CLEANUP(redis_reply_free) redisReply *value = NULL;
    CLEANUP(redis_reply_free) redisReply *left = NULL;
    CLEANUP(buf_release) struct buf token = BUF_INIT(TOKEN_MAX);
    char name[NAME_MAX_BYTES];
    const struct slice key = name_of(t, c, name);
    struct err e = {0};

    if (redis_command(t->redis, 2, (const struct slice[]){SLICE_LIT("GET"), key}, &value, &e) < 0 ||
        value->type != REDIS_REPLY_STRING ||
        redis_command(t->redis, 2, (const struct slice[]){SLICE_LIT("PTTL"), key}, &left, &e) < 0 ||
        left->type != REDIS_REPLY_INTEGER || left->integer <= 0)
        return;
    const struct slice id = {(const char *)c->id, sizeof(c->id)};
    if (seal_open(c->key, id, (struct slice){value->str, value->len}, &token))
        hold(c, (struct slice){token.p, token.len}, now_ms + left->integer);
}

static void publish(struct tokens *t, struct credential *c, const struct token *learned)
{
    CLEANUP(buf_release) struct buf sealed = BUF_INIT(TOKEN_MAX + SEAL_EXTRA);
    const struct slice id = {(const char *)c->id, sizeof(c->id)};
    char name[NAME_MAX_BYTES], ms[24];
    const struct slice key = name_of(t, c, name);
    struct err e = {0};

    (void)snprintf(ms, sizeof(ms), "%lld", (long long)learned->good_for_ms);
    if (seal(c->key, id, slice_of(learned->text), &sealed) == 0)
        (void)!redis_command(
            t->redis, 5,
            (const struct slice[]){
                SLICE_LIT("SET"), key, {sealed.p, sealed.len}, SLICE_LIT("PX"), slice_of(ms)},
            NULL, &e);
}

const char *tokens_get(struct tokens *t, struct credential *c, int64_t now_ms, struct arena *a)
{
    if (!c)
        return NULL;
    if (!*c->token || now_ms >= c->good_until) {
        c->token[0] = '\0';
        fetch(t, c, now_ms);
    }
    return *c->token ? arena_strndup(a, c->token, strlen(c->token)) : NULL;
}

static void forget(struct tokens *t, struct credential *c)
{
    char name[NAME_MAX_BYTES];
    struct err e = {0};

    c->token[0] = '\0';
    (void)!redis_command(t->redis, 2, (const struct slice[]){SLICE_LIT("DEL"), name_of(t, c, name)},
                         NULL, &e);
}

void tokens_learn(struct tokens *t, struct credential *c, const struct token *learned,
                  const char *had, int64_t now_ms)
{
    if (!c || !learned->text)
        return;
    if (!*learned->text) {
        if (!had || strcmp(had, c->token) == 0)
            forget(t, c);
        return;
    }
    if (learned->good_for_ms <= 0 || strlen(learned->text) > TOKEN_MAX ||
        strcmp(learned->text, c->token) == 0)
        return;
    hold(c, slice_of(learned->text), now_ms + learned->good_for_ms);
    publish(t, c, learned);
}
