/* Mail as bytes: RFC 5322 headers, RFC 2047 encoded words, a multipart/alternative of text and HTML
 * in base64. Pure. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

struct mail {
    const char *from, *to; /* as configured: "Name <a@b>", several by comma */
    const char *subject;
    const char *message_id, *thread_id; /* without <>; thread_id NULL: no thread */
    int64_t at_ms;
    const char *text, *html;
    const char *const (*headers)[2]; /* further ones: name, value */
    size_t header_n;
};

/* Append the whole message with CRLF line ends. */
void mail_write(struct buf *out, const struct mail *m);
/* One header; control characters are dropped, what is not ASCII becomes encoded words. */
void mail_header(struct buf *out, const char *name, const char *value);

/* "Ann <a@b.c>, d@e.f" into bare addresses in the arena; the count, or -EINVAL with the first that
 * is none. */
int mail_addresses(const char *list, struct arena *a, const char *const **ret,
                   struct err *e) MUST_CHECK;
