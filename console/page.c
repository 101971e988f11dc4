#include "console/page.h"

#include <errno.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/digest.h"

/* Opaque to the reader: 8 bytes of time and 16 of key, big endian, in hex. */
struct packed {
    unsigned char b[24];
};

struct cursor cursor_newest(void)
{
    struct cursor c = {.at = INT64_MAX};

    memset(c.key.b, 0xff, sizeof(c.key.b));
    return c;
}

const char *cursor_format(const struct cursor *c, char out[CURSOR_STR])
{
    struct packed p;

    for (int i = 0; i < 8; i++)
        p.b[i] = (unsigned char)((uint64_t)c->at >> (56 - 8 * i));
    memcpy(p.b + 8, c->key.b, sizeof(c->key.b));
    return hex_encode(p.b, sizeof(p.b), out);
}

bool cursor_parse(struct slice s, struct cursor *ret)
{
    struct packed p;
    uint64_t at = 0;

    if (!hex_decode(s, p.b, sizeof(p.b)))
        return false;
    for (int i = 0; i < 8; i++)
        at = at << 8 | p.b[i];
    if (at > INT64_MAX)
        return false;
    ret->at = (int64_t)at;
    memcpy(ret->key.b, p.b + 8, sizeof(ret->key.b));
    return true;
}

static int read_limit(const char *text, uint32_t max, uint32_t *ret, struct err *e)
{
    unsigned long v;
    char *end;

    *ret = PAGE_DEFAULT < max ? PAGE_DEFAULT : max;
    if (!text)
        return 0;
    v = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || strlen(text) > 9 || v == 0)
        return err_set(e, -EINVAL, "limit must be a number from 1 on");
    *ret = v < max ? (uint32_t)v : max;
    return 0;
}

static int read_time(const struct http_request *r, const char *name, int64_t *ret, struct err *e)
{
    const char *text = http_query(r, name);

    if (text && !rfc3339_parse(slice_of(text), ret))
        return err_set(e, -EINVAL, "%s must be a time like 2026-01-02T03:04:05Z%s", name,
                       strchr(text, ' ') ? "; in an address a + is written %2B" : "");
    return 0;
}

static int check_names(const struct http_request *r, const char *const *filters, struct err *e)
{
    static const char *const own[] = {"limit", "cursor", "since", "until"};
    const char *known[PAGE_FILTERS_MAX + sizeof(own) / sizeof(*own) + 1] = {NULL};
    CLEANUP(buf_release) struct buf names = BUF_INIT(sizeof(e->msg));
    size_t n = 0;

    for (; filters[n] && n < PAGE_FILTERS_MAX; n++)
        known[n] = filters[n];
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        known[n++] = own[i];
    const struct slice other = http_query_other(r, known);
    if (!other.p)
        return 0;
    for (size_t i = 0; i < n; i++)
        buf_printf(&names, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", known[i]);
    return err_set(e, -EINVAL, "unknown parameter \"%.*s\": known are %s",
                   (int)(other.len < 60 ? other.len : 60), other.p, buf_str(&names));
}

/* The database takes no other. */
static int check_texts(const struct http_request *r, const char *const *filters, struct err *e)
{
    for (; *filters; filters++) {
        const char *text = http_query(r, *filters);
        if (text && !utf8_valid(slice_of(text)))
            return err_set(e, -EINVAL, "%s must be UTF-8", *filters);
    }
    return 0;
}

int page_read(const struct http_request *r, const char *const *filters, uint32_t max,
              struct page *ret, struct err *e)
{
    struct page p = {.before = cursor_newest()};
    struct cursor from = p.before;
    const char *cursor = http_query(r, "cursor");
    int64_t until = INT64_MAX;
    int rc = check_names(r, filters, e);

    if (rc < 0 || (rc = check_texts(r, filters, e)) < 0 ||
        (rc = read_limit(http_query(r, "limit"), max, &p.limit, e)) < 0 ||
        (rc = read_time(r, "since", &p.since, e)) < 0 ||
        (rc = read_time(r, "until", &until, e)) < 0)
        return rc;
    if (cursor && !cursor_parse(slice_of(cursor), &from))
        return err_set(e, -EINVAL, "cursor is not one that this list gave");
    p.before = from;
    if (until < from.at) { /* until includes its own millisecond: older than the next one's first */
        p.before.at = until + 1;
        memset(p.before.key.b, 0, sizeof(p.before.key.b));
    }
    *ret = p;
    return 0;
}

int page_read_incident(const struct http_request *r, struct uuid *ret, bool *ret_given,
                       struct err *e)
{
    const char *text = http_query(r, "incident");

    *ret_given = text != NULL;
    if (text && !uuid_parse(slice_of(text), ret))
        return err_set(e, -EINVAL, "incident must be the id of an incident");
    return 0;
}
