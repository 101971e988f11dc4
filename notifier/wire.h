/*
 * Requests over HTTP and SMTP: one thread with one curl multi handle. Redirects, netrc, proxies and
 * every other scheme are off, the address is checked by the guard, the answer is capped, and a
 * request ends at its total timeout.
 */
#pragma once

#include "common/guard.h"
#include "common/settings.h"
#include "notifier/channel.h"

struct wire;

struct transfer {
    const struct request *request; /* must live until the end is told */
    struct arena *a;               /* for the answer; nobody else touches it meanwhile */
    void *own;                     /* the caller's */
    /* Out: */
    struct response response;
    bool unanswered; /* it may have arrived all the same */
    int64_t duration_ms;
    /* The wire's own: */
    struct transfer *next;
    struct call *call;
};

/* Called on the wire's thread, exactly once per transfer; must not block. */
typedef void wire_done_fn(void *ctx, struct transfer *t);

/* `guard` and the settings must outlive it. Starts the thread. */
int wire_new(const struct notifier_settings *s, const struct guard *guard, wire_done_fn *done,
             void *ctx, struct wire **ret, struct err *e) MUST_CHECK;
void wire_send(struct wire *w, struct transfer *t);
/* Ends what is under way (each is told as unanswered), then the thread. NULL is a no-op. */
void wire_free(struct wire *w);
