/*
 * The edge that GETs what sources cannot do without (struct fetch): one thread, one curl multi
 * handle. https only, no redirect, no proxy, the address checked by the guard, the answer capped, a
 * timeout from the moment it was asked for. Requests that want the same thing wait for one fetch of
 * it; what is fit is kept, up to a number and for a while; what failed is not tried again for a few
 * seconds. Whoever finds too many waiting is told at once: nobody else's request waits for that.
 */
#pragma once

#include "common/settings.h"
#include "common/source.h"

struct fetcher;

/* Once per fetcher_get(), from within it or from the fetcher's thread. `body` is in the arena that
 * was given; p NULL: it could not be had. Of an act it is "". */
typedef void fetched_fn(void *ctx, struct slice body);

/* The settings must outlive it. Starts the thread. */
int fetcher_new(const struct settings *s, struct fetcher **ret, struct err *e) MUST_CHECK;
/* Copies *what. Nobody else may touch `a` until `done`. */
void fetcher_get(struct fetcher *f, const struct fetch *what, struct arena *a, fetched_fn *done,
                 void *ctx);
/* Everybody who waits is told that it could not be had. NULL is a no-op. */
void fetcher_free(struct fetcher *f);

CLEANUP_DEFINE(struct fetcher *, fetcher_free);
