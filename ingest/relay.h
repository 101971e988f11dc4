/*
 * Passes what a vendor's API is asked on to the console, which alone knows the answer, so that one
 * address serves a sender: a GET of console_url and a path, nothing more. One thread, one curl
 * multi handle; no redirect, no proxy, the answer capped, a timeout. Whoever finds too many under
 * way is told at once: a console that is slow or away costs those who ask, and nobody who reports.
 * Its address is the operator's own setting, so it may be http, and private.
 */
#pragma once

#include "common/settings.h"

struct relay;

/* What the console said, as it is; or status 0 and why it could not be asked. */
struct relayed {
    unsigned status;
    const char *content_type; /* NULL: it named none */
    struct slice body;
    const char *why;
};

/* Once per relay_get(), from within it or from the relay's thread; *answer is gone after it. */
typedef void relayed_fn(void *ctx, const struct relayed *answer);

/* The settings, which have a console_url, must outlive it. Starts the thread. */
int relay_new(const struct ingest_settings *s, struct relay **ret, struct err *e) MUST_CHECK;
/* `path`: from its first slash, nothing in it that has to be escaped; it is copied. */
void relay_get(struct relay *r, const char *path, relayed_fn *done, void *ctx);
/* Everybody who waits is told that the console could not be asked. NULL is a no-op. */
void relay_free(struct relay *r);

CLEANUP_DEFINE(struct relay *, relay_free);
