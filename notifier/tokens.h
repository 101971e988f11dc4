/*
 * Tokens that a vendor gives for a secret, kept by credential: in this process, and sealed with the
 * secret in Redis, so that other notifiers need not ask for one of their own. Who can open one has
 * the secret and could have asked. Redis is a cache: without it each process asks for itself. Not
 * thread-safe: the desk's.
 */
#pragma once

#include "common/redis.h"
#include "notifier/outlets.h"

struct tokens;

/* `s` must outlive it. */
int tokens_new(const struct redis_settings *s, struct tokens **ret, struct err *e) MUST_CHECK;
void tokens_free(struct tokens *t);

/* The token at hand, in the arena; NULL: none. */
const char *tokens_get(struct tokens *t, struct credential *c, int64_t now_ms, struct arena *a);
/* What a conversation learned. `had`: the token it began with, NULL: none; it is forgotten alone if
 * another has come meanwhile. */
void tokens_learn(struct tokens *t, struct credential *c, const struct token *learned,
                  const char *had, int64_t now_ms);
