/*
 * How often an anomaly occurs: 1 h, 24 h, 7 d and 30 d, from counters that never grow. Pure.
 *
 * 60 one-minute, 96 quarter-hour, 168 one-hour and 120 six-hour buckets (and one more of each, for
 * the part of the oldest that a window still covers) by record time, so that late and replayed
 * occurrences land in their own slot; the oldest bucket of a window is interpolated. The newest 128
 * occurrence times are kept beside them: while they cover a window its count is exact, and
 * thresholds (3, 5, 10) always are.
 */
#pragma once

#include <stdint.h>

#include "common/arena.h"
#include "common/incident.h"
#include "common/settings.h"

#define FREQUENCY_RECENT 128

struct frequency {
    int64_t minute0, quarter0, hour0, six0; /* slot number of each ring's newest bucket */
    uint32_t minutes[61], quarters[97], hours[169], sixes[121];
    int64_t recent[FREQUENCY_RECENT]; /* ascending occurrence times */
    uint32_t recent_n;
    int64_t forgotten; /* newest occurrence time that fell out of `recent`; 0: none */
};

struct frequency_counts {
    uint64_t h1, h24, d7, d30;
};

void frequency_init(struct frequency *f);
/* One occurrence at `at_ms`. Older than 30 days before the newest: nothing. */
void frequency_add(struct frequency *f, int64_t at_ms);
/* Take one back (two occurrences turned out to be one). */
void frequency_remove(struct frequency *f, int64_t at_ms);
struct frequency_counts frequency_count(const struct frequency *f, int64_t now_ms);
/* Those in (now - window, now], up to 30 days. */
uint64_t frequency_within(const struct frequency *f, int64_t now_ms, int64_t window_ms);
enum escalation_level frequency_level(const struct frequency_settings *s, uint64_t count_24h);

/* Packed: zero runs cost nothing. In the arena; {NULL,0} past its cap. */
struct slice frequency_pack(const struct frequency *f, struct arena *a);
/* Empty bytes give an empty frequency. -EBADMSG. */
int frequency_unpack(struct slice bytes, struct frequency *ret, struct err *e) MUST_CHECK;
