#include "response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DECIMAL 10
#define HEXADECIMAL 16

void response_begin(struct response *r)
{
    r->head_n = r->line_n = 0;
    r->left = 0;
    r->status = 0;
    r->has_head = r->chunked = r->trailer = r->close = r->done = false;
}

/* The value of a header of the NUL-terminated head, or NULL. */
static const char *header(const struct response *r, const char *name)
{
    const size_t n = strlen(name);

    for (const char *line = strchr(r->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1 + strspn(line + n + 1, " ");
    }
    return NULL;
}

static bool read_head(struct response *r)
{
    const char *value;

    if (strncmp(r->head, "HTTP/1.", 7) != 0)
        return false;
    r->status = (unsigned)strtoul(r->head + 9, NULL, DECIMAL);
    value = header(r, "Connection");
    r->close = value && strncasecmp(value, "close", 5) == 0;
    value = header(r, "Transfer-Encoding");
    r->chunked = value && strncasecmp(value, "chunked", 7) == 0;
    value = header(r, "Content-Length");
    r->left = value ? strtoull(value, NULL, DECIMAL) : 0;
    r->has_head = true;
    r->done = !r->chunked && r->left == 0;
    return true;
}

/* One byte at a time: heads are short. */
static size_t feed_head(struct response *r, const char *p, size_t n, bool *good)
{
    size_t used = 0;

    while (used < n && !r->has_head && *good) {
        r->head[r->head_n++] = p[used++];
        r->head[r->head_n] = '\0';
        if (r->head_n >= 4 && memcmp(r->head + r->head_n - 4, "\r\n\r\n", 4) == 0)
            *good = read_head(r);
        else if (r->head_n == RESPONSE_HEAD_MAX - 1)
            *good = false;
    }
    return used;
}

/* A chunk's size, the empty line behind a chunk, or a line of the trailer. */
static void end_line(struct response *r)
{
    const bool empty = r->line_n == 0;

    r->line[r->line_n] = '\0';
    r->line_n = 0;
    if (r->trailer) {
        r->done = empty;
        return;
    }
    if (empty)
        return;
    r->left = strtoull(r->line, NULL, HEXADECIMAL);
    r->trailer = r->left == 0;
}

static size_t feed_chunks(struct response *r, const char *p, size_t n)
{
    size_t used = 0;

    while (used < n && !r->done) {
        if (r->left > 0) {
            const size_t part = r->left < n - used ? (size_t)r->left : n - used;
            used += part;
            r->left -= part;
            continue;
        }
        const char c = p[used++];
        if (c == '\n')
            end_line(r);
        else if (c != '\r' && r->line_n < sizeof(r->line) - 1)
            r->line[r->line_n++] = c;
    }
    return used;
}

long response_feed(struct response *r, const char *p, size_t n)
{
    bool good = true;
    size_t used = feed_head(r, p, n, &good);

    if (!good)
        return -1;
    if (!r->has_head || r->done)
        return (long)used;
    if (r->chunked)
        return (long)(used + feed_chunks(r, p + used, n - used));
    const size_t part = r->left < n - used ? (size_t)r->left : n - used;
    r->left -= part;
    r->done = r->left == 0;
    return (long)(used + part);
}
