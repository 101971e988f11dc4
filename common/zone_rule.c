#include "common/zone_rule.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DAY_SECONDS INT64_C(86400)

/* Days and months as in Howard Hinnant's chrono algorithms: a year begins in March, an era has 400
 * years. */
int64_t days_from_civil(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

    *ret_day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *ret_month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *ret_year = (int)(yoe + era * 400 + (*ret_month <= 2));
}

static bool number(const char **p, int max, int *ret)
{
    int v = 0;

    if (!isdigit((unsigned char)**p))
        return false;
    for (; isdigit((unsigned char)**p); (*p)++)
        if ((v = v * 10 + (**p - '0')) > max)
            return false;
    *ret = v;
    return true;
}

/* [+-]h[:m[:s]] in seconds. */
static bool time_of(const char **p, int32_t *ret)
{
    int sign = **p == '-' ? -1 : 1, h = 0, m = 0, s = 0;

    if (**p == '-' || **p == '+')
        (*p)++;
    if (!number(p, 167, &h))
        return false;
    if (**p == ':' && ((*p)++, !number(p, 59, &m)))
        return false;
    if (**p == ':' && ((*p)++, !number(p, 59, &s)))
        return false;
    *ret = sign * (h * 3600 + m * 60 + s);
    return true;
}

/* Letters, or anything in <>. */
static bool name_of(const char **p, char out[16])
{
    bool quoted = **p == '<';
    const char *from = quoted ? *p + 1 : *p, *q = from;

    while (quoted ? *q && *q != '>' : isalpha((unsigned char)*q))
        q++;
    size_t len = (size_t)(q - from);
    if (len == 0 || len > 15 || (quoted && *q != '>'))
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    *p = quoted ? q + 1 : q;
    return true;
}

static bool expect(const char **p, char c)
{
    return **p == c && (*p)++;
}

static bool change_of(const char **p, struct zone_change *ret)
{
    bool ok;

    *ret = (struct zone_change){.seconds = 2 * 3600};
    if (!expect(p, ','))
        return false;
    if (expect(p, 'M')) {
        ret->form = 'M';
        ok = number(p, 12, &ret->month) && expect(p, '.') && number(p, 5, &ret->week) &&
             expect(p, '.') && number(p, 6, &ret->day) && ret->month > 0 && ret->week > 0;
    } else {
        ret->form = expect(p, 'J') ? 'J' : 'N';
        ok = number(p, 365, &ret->day);
    }
    return ok && (!expect(p, '/') || time_of(p, &ret->seconds));
}

bool zone_rule_parse(const char *text, struct zone_rule *ret)
{
    int32_t west;

    *ret = (struct zone_rule){0};
    if (!*text)
        return true;
    if (!name_of(&text, ret->std) || !time_of(&text, &west))
        return false;
    ret->given = true;
    ret->std_offset = -west;
    if (!*text)
        return true;
    ret->has_dst = true;
    if (!name_of(&text, ret->dst))
        return false;
    ret->dst_offset = ret->std_offset + 3600;
    if (*text && *text != ',') {
        if (!time_of(&text, &west))
            return false;
        ret->dst_offset = -west;
    }
    return change_of(&text, &ret->start) && change_of(&text, &ret->end) && !*text;
}

static bool leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Local seconds of a change in `year`, as if they were UTC. */
static int64_t change_at(const struct zone_change *c, int64_t year)
{
    int64_t day;

    if (c->form == 'M') {
        static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int64_t first = days_from_civil(year, c->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
        int of_month = (c->day - weekday + 7) % 7 + (c->week - 1) * 7;
        int length = lengths[c->month - 1] + (c->month == 2 && leap(year));
        while (of_month >= length)
            of_month -= 7;
        day = first + of_month;
    } else {
        int skip = c->form == 'J' ? (leap(year) && c->day >= 60 ? 0 : -1) : 0;
        day = days_from_civil(year, 1, 1) + c->day + skip;
    }
    return day * DAY_SECONDS + c->seconds;
}

void zone_rule_at(const struct zone_rule *r, int64_t t, int32_t *ret_offset, const char **ret_name)
{
    bool dst = false;

    if (r->has_dst) {
        int year, month, day;
        int64_t local = t + r->std_offset;
        civil_from_days((local - (((local % DAY_SECONDS) + DAY_SECONDS) % DAY_SECONDS)) /
                            DAY_SECONDS,
                        &year, &month, &day);
        int64_t start = change_at(&r->start, year) - r->std_offset;
        int64_t end = change_at(&r->end, year) - r->dst_offset;
        dst = start < end ? t >= start && t < end : t >= start || t < end;
    }
    *ret_offset = dst ? r->dst_offset : r->std_offset;
    *ret_name = dst ? r->dst : r->std;
}
