/* The POSIX TZ text in the footer of a TZif file: what holds after its last transition. Pure;
 * zone.c alone uses it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct zone_change {
    char form;            /* 'M' month.week.day, 'J' day 1-365 without Feb 29, 'N' day 0-365 */
    int month, week, day; /* day alone for J and N */
    int32_t seconds;      /* local time of the change */
};

struct zone_rule {
    bool given, has_dst;
    char std[16], dst[16];
    int32_t std_offset, dst_offset; /* seconds east */
    struct zone_change start, end;  /* of daylight time */
};

/* False when malformed. "" is fine: no rule. */
bool zone_rule_parse(const char *text, struct zone_rule *ret);
/* Offset and name at `t`, seconds since 1970. */
void zone_rule_at(const struct zone_rule *r, int64_t t, int32_t *ret_offset, const char **ret_name);

int64_t days_from_civil(int64_t year, int month, int day); /* since 1970-01-01 */
void civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day);
