/* The answer to one request, read as it comes: the status, and where the answer ends. The body is
 * not kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESPONSE_HEAD_MAX 8192

struct response {
    char head[RESPONSE_HEAD_MAX];
    size_t head_n;
    bool has_head, chunked, trailer, close;
    uint64_t left; /* bytes of the body, or of the chunk, to come */
    char line[64]; /* chunked: the line at hand */
    size_t line_n;
    unsigned status;
    bool done;
};

void response_begin(struct response *r);
/* How much of the bytes belongs to this answer; `done` when it is whole. -1: that is no HTTP. */
long response_feed(struct response *r, const char *p, size_t n);
