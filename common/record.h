/*
 * One record of tocsin.raw.<source> as the core sees it: the sender's body, byte for byte (of a
 * form or a GET the JSON of its fields), and what ingest noted beside it. Headers on the wire: v
 * (schema version), tenant, request_id, received_at (ms), source (the entry under `sources:`),
 * content_type, traceparent when given, and `h.<Name>` for each request header that the source
 * asked to keep (source.h: keep_headers). ingest writes it, processor reads it.
 */
#pragma once

#include "common/kafka.h"
#include "common/uuid7.h"

#define RECORD_VERSION "1"
#define RECORD_HEADER_PREFIX "h."

struct record {
    struct slice tenant, source, content_type, traceparent;
    struct uuid request_id; /* with the index of the alert in the body: the order among equal
                               receive times */
    int64_t received_at;    /* ms, ingest's clock */
    struct slice body;
    const struct kafka_header *headers; /* kept request headers, names without prefix */
    size_t header_n;
};

/* Wire headers of a record, in the arena; -ENOMEM. */
int record_headers(const struct record *r, struct arena *a, const struct kafka_header **ret,
                   size_t *ret_n) MUST_CHECK;
/* From a message's headers and value; slices point into `headers`' memory. -EBADMSG with a reason
 * when a required one is missing or wrong. */
int record_parse(const struct kafka_header *headers, size_t n, struct slice value, struct arena *a,
                 struct record *ret, struct err *e) MUST_CHECK;
/* A kept request header by name, any case; {NULL,0} when absent. */
struct slice record_header(const struct record *r, const char *name);
