/*
 * The unified message: the data model laid out in a channel's format. Templates are compiled once,
 * when the configuration is loaded; one that breaks on some data still gives the plain message.
 * Pure.
 */
#pragma once

#include "notifier/channel.h"
#include "notifier/words.h"

struct messages; /* every channel's built-in layouts, compiled */

int messages_new(struct messages **ret, struct err *e) MUST_CHECK;
void messages_free(struct messages *m);
CLEANUP_DEFINE(struct messages *, messages_free);

struct layout {
    const struct channel *channel;
    size_t max_text;            /* in the channel's unit */
    const struct template *own; /* the receiver's; NULL: built in */
    const struct words *words;
};

/*
 * Fills title, text, news, html and fault of *ret. What is too long first lists fewer lines ("and N
 * more"), then is cut between characters. `model` is the caller's, and its list of lines may get
 * shorter. -ENOMEM past the arena's cap.
 */
int message_render(const struct messages *m, const struct layout *l, json_t *model, struct arena *a,
                   struct notification *ret, struct err *e) MUST_CHECK;
