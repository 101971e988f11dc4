#include "common/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define FIXED_HEADERS 7

int record_headers(const struct record *r, struct arena *a, const struct kafka_header **ret,
                   size_t *ret_n)
{
    struct kafka_header *h = arena_array(a, FIXED_HEADERS + r->header_n, struct kafka_header);
    char *id = arena_alloc(a, 1, UUID_STR);
    char *at = arena_printf(a, "%lld", (long long)r->received_at);
    if (!h || !id || !at)
        return -ENOMEM;
    size_t n = 0;
    h[n++] = (struct kafka_header){"v", SLICE_LIT(RECORD_VERSION)};
    h[n++] = (struct kafka_header){"tenant", r->tenant};
    h[n++] = (struct kafka_header){"request_id", slice_of(uuid_format(&r->request_id, id))};
    h[n++] = (struct kafka_header){"received_at", slice_of(at)};
    h[n++] = (struct kafka_header){"source", r->source};
    h[n++] = (struct kafka_header){"content_type", r->content_type};
    if (r->traceparent.len > 0)
        h[n++] = (struct kafka_header){"traceparent", r->traceparent};
    for (size_t i = 0; i < r->header_n; i++) {
        char *name = arena_printf(a, RECORD_HEADER_PREFIX "%s", r->headers[i].name);
        if (!name)
            return -ENOMEM;
        h[n++] = (struct kafka_header){name, r->headers[i].value};
    }
    *ret = h;
    *ret_n = n;
    return 0;
}

static bool time_parse(struct slice s, int64_t *ret)
{
    int64_t v = 0;
    if (s.len == 0 || s.len > 15) /* 15 digits of ms reach the year 33658 */
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *ret = v;
    return true;
}

/* Where the value of a fixed header goes; NULL for those that are checked and not kept. */
static struct slice *field(struct record *r, const char *name)
{
    if (strcmp(name, "tenant") == 0)
        return &r->tenant;
    if (strcmp(name, "source") == 0)
        return &r->source;
    if (strcmp(name, "content_type") == 0)
        return &r->content_type;
    if (strcmp(name, "traceparent") == 0)
        return &r->traceparent;
    return NULL;
}

/* What must be there to know what the record is. */
struct seen {
    bool version, request_id, received_at;
};

static int take(const struct kafka_header *h, struct record *r, struct seen *seen, struct err *e)
{
    if (strcmp(h->name, "v") == 0) {
        if (!slice_is(h->value, RECORD_VERSION))
            return err_set(e, -EBADMSG, "header v: version %.*s is not known",
                           (int)(h->value.len < 16 ? h->value.len : 16),
                           h->value.p ? h->value.p : "");
        seen->version = true;
    } else if (strcmp(h->name, "request_id") == 0) {
        if (!uuid_parse(h->value, &r->request_id))
            return err_set(e, -EBADMSG, "header request_id: not a UUID");
        seen->request_id = true;
    } else if (strcmp(h->name, "received_at") == 0) {
        if (!time_parse(h->value, &r->received_at))
            return err_set(e, -EBADMSG, "header received_at: not milliseconds");
        seen->received_at = true;
    } else {
        struct slice *to = field(r, h->name);
        if (to)
            *to = h->value;
    }
    return 0;
}

int record_parse(const struct kafka_header *headers, size_t n, struct slice value, struct arena *a,
                 struct record *ret, struct err *e)
{
    struct record r = {.body = value};
    struct seen seen = {0};
    struct kafka_header *kept = arena_array(a, n ? n : 1, struct kafka_header);
    if (!kept)
        return err_set(e, -ENOMEM, "record: too many headers");
    for (size_t i = 0; i < n; i++) {
        size_t prefix = sizeof(RECORD_HEADER_PREFIX) - 1;
        if (strncmp(headers[i].name, RECORD_HEADER_PREFIX, prefix) == 0) {
            kept[r.header_n++] = (struct kafka_header){headers[i].name + prefix, headers[i].value};
            continue;
        }
        int rc = take(&headers[i], &r, &seen, e);
        if (rc < 0)
            return rc;
    }
    if (!seen.version || !seen.request_id || !seen.received_at)
        return err_set(e, -EBADMSG, "header %s is missing",
                       !seen.version      ? "v"
                       : !seen.request_id ? "request_id"
                                          : "received_at");
    if (r.tenant.len == 0 || r.source.len == 0)
        return err_set(e, -EBADMSG, "header %s is missing",
                       r.tenant.len == 0 ? "tenant" : "source");
    r.headers = kept;
    *ret = r;
    return 0;
}

struct slice record_header(const struct record *r, const char *name)
{
    for (size_t i = 0; i < r->header_n; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return (struct slice){0};
}
