/*
 * The consumer of tocsin.notify.<channel>: each record names a notification that was just written.
 * It is a hint: partitions are read from their end, what was missed is found by the desk's sweep,
 * and without Kafka messages are only a little later.
 */
#pragma once

#include "notifier/desk.h"

struct wakeups;

int wakeups_new(const struct kafka_settings *s, const struct channel *const *channels, size_t n,
                struct desk *desk, struct wakeups **ret, struct err *e) MUST_CHECK;
/* Leaves the group. NULL is a no-op. */
void wakeups_free(struct wakeups *w);
