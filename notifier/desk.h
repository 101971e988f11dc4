/*
 * The desk: one thread that owns Postgres. It claims notifications that are due, gives them to the
 * wire, reads the verdict in what comes back, and writes how each ended. Wake-ups only make it look
 * sooner; without any it finds everything by itself.
 */
#pragma once

#include "notifier/store.h"

struct desk;

struct desk_options {
    const struct settings *settings;
    struct outlets *outlets;
    const struct channel *const *channels; /* those that this process serves */
    size_t channel_n;
};

/* Starts the wire and the desk's thread. Everything in `o` must outlive it. */
int desk_new(const struct desk_options *o, struct desk **ret, struct err *e) MUST_CHECK;
/* From any thread. Dropped when too many wait already: a wake-up is a hint. */
void desk_wake(struct desk *d, struct slice tenant, const struct uuid *id);
/* From any thread: do wake-ups come from now on? While they do not, and once when they begin, the
 * sweep takes rows of any age, so that nothing waits for a wake-up that nobody heard. */
void desk_hears(struct desk *d, bool hears);
/* No new claims; returns when nothing is under way, or desk_free() is waiting. */
void desk_drain(struct desk *d);
/* What is under way ends unanswered and is written so, if Postgres lets us; else its lease ends.
 * NULL is a no-op. */
void desk_free(struct desk *d);
