/*
 * Local time of a named zone without the process's own: TZif (RFC 9636) read once when the
 * configuration is loaded, then pure and safe from any thread. Leap seconds are not told.
 */
#pragma once

#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/slice.h"

#define ZONE_DIR "/usr/share/zoneinfo"

struct zone;

struct local_time {
    int year, month, day, hour, minute, second; /* month and day from 1 */
    int32_t offset;                             /* seconds east of UTC */
    const char *name;                           /* "CST": lives as long as the zone */
};

/* "Asia/Shanghai" from ZONE_DIR; "" and "UTC" need no file. -EINVAL with a reason. */
int zone_open(const char *name, struct zone **ret, struct err *e) MUST_CHECK;
/* The content of a TZif file. */
int zone_parse(const char *name, struct slice tzif, struct zone **ret, struct err *e) MUST_CHECK;
void zone_free(struct zone *z);
CLEANUP_DEFINE(struct zone *, zone_free);

const char *zone_name(const struct zone *z);
/* NULL: UTC. */
struct local_time zone_local(const struct zone *z, int64_t ms);

#define ZONE_TEXT 64
/* "2026-01-02 11:04:05" + " (Asia/Shanghai)". Returns out. */
const char *zone_format(const struct zone *z, int64_t ms, char out[ZONE_TEXT]);
