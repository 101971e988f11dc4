/*
 * Time, at the edges only. The core takes `now_ms` as an argument.
 * All times are milliseconds: since 1970 UTC for wall time, since boot for monotonic time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"

#define MS_SECOND INT64_C(1000)
#define MS_MINUTE (60 * MS_SECOND)
#define MS_HOUR (60 * MS_MINUTE)
#define MS_DAY (24 * MS_HOUR)

int64_t clock_now_ms(void);       /* wall time */
int64_t clock_monotonic_ms(void); /* for deadlines and durations */

#define RFC3339_MAX 40
/* "2026-01-02T03:04:05.678Z" into out[RFC3339_MAX]; returns out. Years past 9999 are clamped. */
const char *rfc3339_format(int64_t ms, char out[RFC3339_MAX]);

/*
 * RFC 3339 with any offset and 0-9 fractional digits (cut to ms). False when it is none.
 * The zero time 0001-01-01T00:00:00Z, and anything before 1970, gives true and 0: "absent".
 * Years past 9999 give true and the last ms of 9999.
 */
bool rfc3339_parse(struct slice s, int64_t *ret);

/* "90s", "1h30m", "2d", "500ms" as Prometheus and Alertmanager write it, and "0"; false when
 * malformed or over 100 years. */
bool duration_parse(struct slice s, int64_t *ret_ms);
/* The shortest such form: "1h30m". Returns out. */
const char *duration_format(int64_t ms, char out[RFC3339_MAX]);
