#include "common/clock.h"

#include <stdio.h>
#include <time.h>

#define MS_YEAR (365 * MS_DAY)
#define DURATION_MAX (100 * MS_YEAR)
#define FIRST_MS INT64_C(-62135596800000) /* 0001-01-01T00:00:00.000Z */
#define LAST_MS INT64_C(253402300799999)  /* 9999-12-31T23:59:59.999Z */

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts); /* both clocks always exist on Linux */
    return (int64_t)ts.tv_sec * MS_SECOND + ts.tv_nsec / 1000000;
}

int64_t clock_now_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_monotonic_ms(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

struct date {
    int64_t year;
    int month, day;
};

/*
 * Days since 1970-01-01 in the Gregorian calendar and back, over eras of 400 years that begin in
 * March, so that the leap day is the last of its year.
 */
static int64_t days_from_date(struct date d)
{
    int64_t y = d.month <= 2 ? d.year - 1 : d.year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static struct date date_from_days(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    return (struct date){yoe + era * 400 + (month <= 2), month,
                         (int)(doy - (153 * mp + 2) / 5 + 1)};
}

static bool is_leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static bool date_exists(struct date d)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (d.month < 1 || d.month > 12 || d.day < 1)
        return false;
    return d.day <= lengths[d.month - 1] + (d.month == 2 && is_leap(d.year));
}

const char *rfc3339_format(int64_t ms, char out[RFC3339_MAX])
{
    if (ms < FIRST_MS)
        ms = FIRST_MS;
    if (ms > LAST_MS)
        ms = LAST_MS;
    int64_t days = (ms >= 0 ? ms : ms - MS_DAY + 1) / MS_DAY;
    unsigned rest = (unsigned)(ms - days * MS_DAY);
    struct date d = date_from_days(days);
    (void)snprintf(out, RFC3339_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)d.year,
                   (unsigned)d.month, (unsigned)d.day, rest / 3600000, rest / 60000 % 60,
                   rest / 1000 % 60, rest % 1000);
    return out;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The next `at_least`..`at_most` digits as a number; takes them off the front of `s`. */
static bool take_number(struct slice *s, size_t at_least, size_t at_most, int64_t *ret)
{
    int64_t v = 0;
    size_t n = 0;
    while (n < s->len && n < at_most && is_digit(s->p[n]))
        v = v * 10 + (s->p[n++] - '0');
    if (n < at_least)
        return false;
    *s = (struct slice){s->p + n, s->len - n};
    *ret = v;
    return true;
}

static bool take_two(struct slice *s, int max, int *ret)
{
    int64_t v = 0;
    if (!take_number(s, 2, 2, &v) || v > max)
        return false;
    *ret = (int)v;
    return true;
}

/* One character out of `set`; '\0' when the next is none of them. */
static char take_one(struct slice *s, const char *set)
{
    if (s->len == 0 || s->p[0] == '\0' || !strchr(set, s->p[0]))
        return '\0';
    char c = s->p[0];
    *s = (struct slice){s->p + 1, s->len - 1};
    return c;
}

static bool take_date(struct slice *s, struct date *ret)
{
    return take_number(s, 4, 9, &ret->year) && take_one(s, "-") && take_two(s, 12, &ret->month) &&
           take_one(s, "-") && take_two(s, 31, &ret->day) && date_exists(*ret);
}

static bool take_fraction(struct slice *s, int *ret_ms)
{
    *ret_ms = 0;
    if (!take_one(s, "."))
        return true;
    size_t before = s->len;
    int64_t v = 0;
    if (!take_number(s, 1, 9, &v))
        return false;
    size_t digits = before - s->len;
    for (; digits < 3; digits++)
        v *= 10;
    for (; digits > 3; digits--)
        v /= 10;
    *ret_ms = (int)v;
    return true;
}

/* Minutes that local time is ahead of UTC. */
static bool take_offset(struct slice *s, int *ret)
{
    char c = take_one(s, "Zz+-");
    int h = 0, m = 0;
    if (c == '+' || c == '-') {
        if (!take_two(s, 23, &h) || !take_one(s, ":") || !take_two(s, 59, &m))
            return false;
    } else if (c == '\0') {
        return false;
    }
    *ret = c == '-' ? -(h * 60 + m) : h * 60 + m;
    return true;
}

bool rfc3339_parse(struct slice s, int64_t *ret)
{
    struct date d;
    int h = 0, m = 0, sec = 0, ms = 0, offset = 0;
    if (!take_date(&s, &d) || !take_one(&s, "Tt ") || !take_two(&s, 23, &h) || !take_one(&s, ":") ||
        !take_two(&s, 59, &m) || !take_one(&s, ":") || !take_two(&s, 60, &sec) ||
        !take_fraction(&s, &ms) || !take_offset(&s, &offset) || s.len > 0)
        return false;
    /* Leap seconds exist at 23:59 UTC only; like POSIX time we read them as the second after. */
    int utc_minute = (h * 60 + m - offset + 2 * 1440) % 1440;
    if (sec == 60 && utc_minute != 1439)
        return false;
    if (d.year > 10000)
        d.year = 10000; /* past the end either way, and no overflow */
    int64_t t =
        days_from_date(d) * MS_DAY + (h * 60 + m - offset) * MS_MINUTE + sec * MS_SECOND + ms;
    *ret = t < 0 ? 0 : t > LAST_MS ? LAST_MS : t;
    return true;
}

/* In the only order Prometheus accepts them. Years and weeks are written only when nothing is left
 * over: 90d reads better than 12w6d. */
static const struct unit {
    const char *name;
    int64_t ms;
    bool exact;
} units[] = {
    {"y", MS_YEAR, true},    {"w", 7 * MS_DAY, true}, {"d", MS_DAY, false}, {"h", MS_HOUR, false},
    {"m", MS_MINUTE, false}, {"s", MS_SECOND, false}, {"ms", 1, false},
};
#define UNIT_N (sizeof(units) / sizeof(units[0]))

/* The letters up to the next digit name a unit at or after units[from]; its index, or UNIT_N. */
static size_t take_unit(struct slice *s, size_t from)
{
    size_t n = 0;
    while (n < s->len && !is_digit(s->p[n]))
        n++;
    struct slice name = {s->p, n};
    for (size_t i = from; i < UNIT_N; i++)
        if (slice_is(name, units[i].name)) {
            *s = (struct slice){s->p + n, s->len - n};
            return i;
        }
    return UNIT_N;
}

bool duration_parse(struct slice s, int64_t *ret_ms)
{
    int64_t total = 0;
    size_t next = 0;
    if (s.len == 0)
        return false;
    if (slice_is(s, "0")) {
        *ret_ms = 0;
        return true;
    }
    while (s.len > 0) {
        int64_t v = 0;
        if (!take_number(&s, 1, 13, &v))
            return false;
        size_t i = take_unit(&s, next);
        if (i == UNIT_N || v > (DURATION_MAX - total) / units[i].ms)
            return false;
        total += v * units[i].ms;
        next = i + 1;
    }
    *ret_ms = total;
    return true;
}

const char *duration_format(int64_t ms, char out[RFC3339_MAX])
{
    if (ms <= 0) {
        (void)snprintf(out, RFC3339_MAX, "0s");
        return out;
    }
    size_t len = 0;
    for (size_t i = 0; i < UNIT_N; i++) {
        if (ms < units[i].ms || (units[i].exact && ms % units[i].ms != 0))
            continue;
        int n = snprintf(out + len, RFC3339_MAX - len, "%lld%s", (long long)(ms / units[i].ms),
                         units[i].name);
        len += (size_t)n;
        ms %= units[i].ms;
    }
    return out;
}
