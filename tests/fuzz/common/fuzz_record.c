/*
 * A message's headers, from whoever wrote it: "name: value" lines, an empty line, the body. What
 * reads as a record is written and read again as the same one.
 */
#include "common/record.h"

#include <errno.h>

#include "fuzz.h"

#define HEADERS_MAX 64

static size_t read_headers(struct slice *rest, struct arena *a, struct kafka_header *out)
{
    size_t n = 0;
    while (n < HEADERS_MAX && rest->len > 0) {
        const char *end = memchr(rest->p, '\n', rest->len);
        const size_t len = end ? (size_t)(end - rest->p) : rest->len;
        const char *colon = memchr(rest->p, ':', len);
        const size_t name_len = colon ? (size_t)(colon - rest->p) : len;
        const size_t skip = colon ? name_len + 1 : len;
        const char *from = rest->p;
        rest->p += len + (end != NULL);
        rest->len -= len + (end != NULL);
        if (len == 0)
            break;
        out[n].name = arena_strndup(a, from, name_len);
        out[n].value = (struct slice){from + skip, len - skip};
        MUST(out[n].name);
        n++;
    }
    return n;
}

static void check_same(const struct record *x, const struct record *y)
{
    MUST(slice_eq(x->tenant, y->tenant) && slice_eq(x->source, y->source));
    MUST(slice_eq(x->content_type, y->content_type) && slice_eq(x->traceparent, y->traceparent));
    MUST(x->received_at == y->received_at && uuid_cmp(&x->request_id, &y->request_id) == 0);
    MUST(slice_eq(x->body, y->body) && x->header_n == y->header_n);
    for (size_t i = 0; i < x->header_n; i++) {
        MUST(strcmp(x->headers[i].name, y->headers[i].name) == 0);
        MUST(slice_eq(x->headers[i].value, y->headers[i].value));
        MUST(record_header(x, x->headers[i].name).p == record_header(y, x->headers[i].name).p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)1 << 20);
    struct kafka_header headers[HEADERS_MAX];
    const struct kafka_header *wire = NULL;
    struct slice rest = {(const char *)data, size};
    struct record r, again;
    struct err e = {0};
    size_t wire_n = 0;
    const size_t n = read_headers(&rest, a, headers);
    const int rc = record_parse(headers, n, rest, a, &r, &e);
    if (rc < 0) {
        MUST(rc == -EBADMSG && e.code == rc && e.msg[0]);
        return 0;
    }
    MUST(r.tenant.len > 0 && r.source.len > 0 && r.received_at >= 0 && r.header_n <= n);
    MUST(r.body.p == rest.p && r.body.len == rest.len);
    MUST(record_headers(&r, a, &wire, &wire_n) == 0);
    MUST(record_parse(wire, wire_n, rest, a, &again, &e) == 0);
    check_same(&r, &again);
    return 0;
}
