/* Shared by the files that grant sends, merge what has to wait and part what is too long; nobody
 * else includes it. */
#pragma once

#include "notifier/plan.h"
#include "notifier/store.h"

/* What one destination gets out of this batch. */
struct share {
    struct destination *d;
    struct waiting *v;
    size_t n;
    struct rate rate;
    bool open; /* its breaker: one message may try it, when blocked_until has passed */
    int64_t now, ill_since;
};

struct batch {
    struct store *st;
    struct arena *a;
    struct job **jobs;
    bool *ours, *behind;
    size_t n;
    struct share *shares;
    size_t share_n;
};

/* Rows as the columns that most statements take; room for as many as keys_new() was told. */
struct keys {
    struct slice *tenants;
    unsigned char *ids;
    int64_t *waits;
    struct slice *whys;
    size_t n;
};

int keys_new(struct arena *a, size_t max, struct keys *ret, struct err *e) MUST_CHECK;
void keys_add(struct keys *k, const struct job *j, int64_t wait, const char *why);
struct pg_args *keys_args(const struct keys *k, struct arena *a);
/* The states that `event` may leave, as one argument. */
void put_from(struct pg_args *args, struct arena *a, enum life_event event);

/* What share `s` could not send: merged where the rate holds it and people read it; its end is set
 * where a breaker held it for too long and there is a fallback; else added to `back`. In the
 * caller's transaction. */
int merge_or_put_back(struct batch *b, struct share *s, struct keys *back,
                      struct err *e) MUST_CHECK;

/* Of its first members; or of the merge, or digest, that it continues, what that one tells itself,
 * and the attempt: no two are alike, since a row is merged once, and split once per attempt. */
struct uuid part_id(const struct keys *members, const struct uuid *continues, int64_t attempt);
/* store_split() of a digest. */
int digest_split(struct store *st, struct job *j, struct err *e) MUST_CHECK;
