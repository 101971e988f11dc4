#include "common/zone.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/zone_rule.h"

#define FILE_MAX ((size_t)1 << 20)
#define HEADER 44
#define DAY_SECONDS INT64_C(86400)

struct kind {
    int32_t offset;
    const char *name;
};

struct zone {
    char *name;
    char *names; /* NUL-separated abbreviations */
    struct kind *kinds;
    size_t kind_n;
    int64_t *at; /* transitions, ascending */
    unsigned char *becomes;
    size_t n;
    struct zone_rule rule;
};

static int64_t big_endian(const char *p, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)p[i];
    return bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v;
}

/* The counts of one TZif header, and how long the data behind it is. */
struct counts {
    size_t utc, wall, leap, time, type, chars, size;
};

static bool header_parse(struct slice s, size_t time_size, struct counts *ret)
{
    size_t v[6];

    if (s.len < HEADER || memcmp(s.p, "TZif", 4) != 0)
        return false;
    for (size_t i = 0; i < 6; i++) {
        int64_t n = big_endian(s.p + 20 + 4 * i, 4);
        if (n < 0 || n > (int64_t)FILE_MAX)
            return false;
        v[i] = (size_t)n;
    }
    *ret = (struct counts){v[0], v[1], v[2], v[3], v[4], v[5], 0};
    ret->size = ret->time * (time_size + 1) + ret->type * 6 + ret->chars +
                ret->leap * (time_size + 4) + ret->wall + ret->utc;
    return ret->size <= s.len - HEADER;
}

static bool body_parse(struct zone *z, const char *p, const struct counts *c, size_t time_size)
{
    const char *types = p + c->time * (time_size + 1), *chars = types + c->type * 6;

    if (c->type == 0 || c->type > 256 || c->chars == 0)
        return false;
    z->n = c->time;
    z->kind_n = c->type;
    z->at = calloc(c->time + 1, sizeof(*z->at));
    z->becomes = calloc(c->time + 1, 1);
    z->kinds = calloc(c->type, sizeof(*z->kinds));
    z->names = calloc(c->chars + 1, 1);
    if (!z->at || !z->becomes || !z->kinds || !z->names)
        return false;
    memcpy(z->names, chars, c->chars);
    for (size_t i = 0; i < c->time; i++) {
        z->at[i] = big_endian(p + i * time_size, time_size);
        z->becomes[i] = (unsigned char)p[c->time * time_size + i];
        if (z->becomes[i] >= c->type || (i > 0 && z->at[i] < z->at[i - 1]))
            return false;
    }
    for (size_t i = 0; i < c->type; i++) {
        size_t name = (unsigned char)types[i * 6 + 5];
        if (name >= c->chars)
            return false;
        z->kinds[i] = (struct kind){(int32_t)big_endian(types + i * 6, 4), z->names + name};
    }
    return true;
}

static bool footer_parse(struct zone *z, struct slice s)
{
    char text[128];

    if (s.len < 2 || s.p[0] != '\n')
        return false;
    const char *end = memchr(s.p + 1, '\n', s.len - 1);
    size_t len = end ? (size_t)(end - s.p - 1) : sizeof(text);
    if (len >= sizeof(text))
        return false;
    memcpy(text, s.p + 1, len);
    text[len] = '\0';
    return zone_rule_parse(text, &z->rule);
}

static bool tzif_parse(struct zone *z, struct slice s)
{
    struct counts c;

    if (!header_parse(s, 4, &c))
        return false;
    if (s.p[4] == '\0') /* version 1: 32-bit times, no footer */
        return body_parse(z, s.p + HEADER, &c, 4);
    s = (struct slice){s.p + HEADER + c.size, s.len - HEADER - c.size};
    if (!header_parse(s, 8, &c) || !body_parse(z, s.p + HEADER, &c, 8))
        return false;
    return footer_parse(z, (struct slice){s.p + HEADER + c.size, s.len - HEADER - c.size});
}

void zone_free(struct zone *z)
{
    if (!z)
        return;
    free(z->name);
    free(z->names);
    free(z->kinds);
    free(z->at);
    free(z->becomes);
    free(z);
}

static struct zone *zone_new(const char *name)
{
    struct zone *z = calloc(1, sizeof(*z));

    if (z && !(z->name = strdup(name))) {
        free(z);
        return NULL;
    }
    return z;
}

int zone_parse(const char *name, struct slice tzif, struct zone **ret, struct err *e)
{
    struct zone *z = zone_new(name);

    if (!z)
        return err_set(e, -ENOMEM, "out of memory");
    if (!tzif_parse(z, tzif)) {
        zone_free(z);
        return err_set(e, -EINVAL, "time zone %s: not a TZif file", name);
    }
    *ret = z;
    return 0;
}

/* A name stays below ZONE_DIR. */
static bool name_ok(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/.";

    return strspn(name, allowed) == strlen(name) && name[0] != '/' && !strstr(name, "..");
}

static void fclose_p(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

int zone_open(const char *name, struct zone **ret, struct err *e)
{
    CLEANUP(buf_release) struct buf path = BUF_INIT(512), text = BUF_INIT(FILE_MAX);
    char chunk[4096];
    size_t n;

    if (!*name || strcmp(name, "UTC") == 0) {
        *ret = zone_new("UTC");
        return *ret ? 0 : err_set(e, -ENOMEM, "out of memory");
    }
    buf_printf(&path, ZONE_DIR "/%s", name);
    if (path.failed || !name_ok(name))
        return err_set(e, -EINVAL, "time zone %s: a name such as Asia/Shanghai is expected", name);
    CLEANUP(fclose) FILE *f = fopen(buf_str(&path), "re");
    if (!f)
        return err_set(e, -EINVAL, "time zone %s: %s: %s", name, buf_str(&path), strerror(errno));
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&text, chunk, n);
    if (ferror(f) || text.failed)
        return err_set(e, -EINVAL, "time zone %s: cannot read %s", name, buf_str(&path));
    return zone_parse(name, (struct slice){text.p, text.len}, ret, e);
}

const char *zone_name(const struct zone *z)
{
    return z->name;
}

static void offset_at(const struct zone *z, int64_t t, int32_t *ret_offset, const char **ret_name)
{
    size_t low = 0, high = z ? z->n : 0; /* the first transition after t */

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (z->at[mid] <= t)
            low = mid + 1;
        else
            high = mid;
    }
    if (z && low == z->n && z->rule.given) {
        zone_rule_at(&z->rule, t, ret_offset, ret_name);
    } else if (z && z->kind_n > 0) {
        const struct kind *k = &z->kinds[low > 0 ? z->becomes[low - 1] : 0];
        *ret_offset = k->offset;
        *ret_name = k->name;
    } else {
        *ret_offset = 0;
        *ret_name = "UTC";
    }
}

struct local_time zone_local(const struct zone *z, int64_t ms)
{
    struct local_time t;
    int64_t utc = ms / 1000 - (ms % 1000 < 0);

    offset_at(z, utc, &t.offset, &t.name);
    int64_t local = utc + t.offset, seconds = (local % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;
    civil_from_days((local - seconds) / DAY_SECONDS, &t.year, &t.month, &t.day);
    t.hour = (int)(seconds / 3600);
    t.minute = (int)(seconds / 60 % 60);
    t.second = (int)(seconds % 60);
    return t;
}

const char *zone_format(const struct zone *z, int64_t ms, char out[ZONE_TEXT])
{
    struct local_time t = zone_local(z, ms);

    (void)snprintf(out, ZONE_TEXT, "%04d-%02d-%02d %02d:%02d:%02d (%.32s)", t.year, t.month, t.day,
                   t.hour, t.minute, t.second, z->name);
    return out;
}
