#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/httpd_impl.h"

/*
 * libmicrohttpd 0.9.75 takes header shapes that another server on the way may read differently,
 * which is how requests are smuggled.
 *
 * It cuts the header block in place, so the strings it hands out lie in the order of their arrival,
 * ended by NULs where CR, LF, colon and blanks were. Walking over them finds what it hid: a NUL in
 * the middle of a line, a folded line, a line that ended in a bare LF, blanks before a colon. Not
 * found is what the library itself made a NUL before a bare LF: a NUL there, or a line of a lone
 * colon, with which it ends the headers. They look like CR LF by then.
 */
struct shape {
    const char *at; /* end of what was seen */
    const char *wrong;
    unsigned hosts, lengths, encodings;
    const char *length, *encoding;
};

static const char broken_line[] = "a NUL, a bare LF or a folded line in the headers";

#define BLANK 1 /* a space became a NUL */
#define CRLF 2  /* ... and each byte of a line's end */
#define END 4   /* of the last line, and of the empty one */

/* `next` must follow after exactly `n` bytes, all of them NUL. */
static bool follows(const struct shape *s, const char *next, ptrdiff_t n)
{
    if (next - s->at != n)
        return false;
    for (const char *p = s->at; p < next; p++)
        if (*p != '\0')
            return false;
    return true;
}

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !(s[i] && strchr("!#$%&'*+-.^_`|~", s[i])))
            return false;
    return len > 0;
}

static bool is_target(const char *s)
{
    for (const char *c = s; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return false;
    return *s != '\0';
}

static bool is_field_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

static void note(struct shape *s, const char *name, const char *value)
{
    if (strcasecmp(name, "Host") == 0)
        s->hosts++;
    if (strcasecmp(name, "Content-Length") == 0) {
        s->lengths++;
        s->length = value;
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        s->encodings++;
        s->encoding = value;
    }
}

static enum MHD_Result each_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                   size_t key_len, const char *value, size_t value_len)
{
    struct shape *s = cls;
    const char *p;

    (void)kind;
    if (!is_token(key, key_len))
        s->wrong = "a header's name has a character that no name may have";
    else if (!follows(s, key, CRLF))
        s->wrong = broken_line;
    else if (!value || !is_field_value(value, value_len))
        s->wrong = "a control character in a header";
    if (s->wrong)
        return MHD_NO;
    p = key + key_len + 1; /* the colon's place */
    while (p < value && (*p == ' ' || *p == '\t'))
        p++;
    if (p != value) {
        s->wrong = broken_line;
        return MHD_NO;
    }
    s->at = value + value_len;
    note(s, key, value);
    return MHD_YES;
}

static const char *body_length(const struct shape *s, const char *version, int64_t *ret)
{
    char *end;

    *ret = 0;
    if (s->lengths + s->encodings > 1)
        return s->encodings ? "Content-Length together with Transfer-Encoding, or two of them"
                            : "two Content-Length headers";
    if (s->encodings) {
        *ret = -1;
        if (strcmp(version, "HTTP/1.1") != 0)
            return "Transfer-Encoding in a request that is not HTTP/1.1";
        return strcasecmp(s->encoding, "chunked") == 0 ? NULL : "a Transfer-Encoding but chunked";
    }
    if (!s->lengths)
        return NULL;
    errno = 0;
    *ret = strtoll(s->length, &end, 10);
    if (!isdigit((unsigned char)s->length[0]) || *end || errno || *ret < 0)
        return "a Content-Length that is not a number";
    return NULL;
}

const char *http_shape_check(struct MHD_Connection *mc, const char *method, const char *raw_uri,
                             const char *uri, const char *version, int64_t *ret_length)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mc, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct shape s = {.at = method + strlen(method)};
    const char *end = info ? method + info->header_size : NULL;

    if (!is_token(method, strlen(method)))
        return "a method that is no word";
    if (!raw_uri || !follows(&s, raw_uri, BLANK))
        return "a request line that is not METHOD PATH VERSION";
    if (!uri || !is_target(uri))
        return "a blank or a control character in the address";
    s.at = raw_uri + strlen(uri);
    if (!follows(&s, version, BLANK) ||
        (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0))
        return "a request line that is not METHOD PATH VERSION";
    s.at = version + strlen(version);
    (void)MHD_get_connection_values_n(mc, MHD_HEADER_KIND, each_header, &s);
    if (s.wrong)
        return s.wrong;
    if (!end || !follows(&s, end, END))
        return broken_line;
    if (s.hosts > 1)
        return "two Host headers";
    if (s.hosts == 0 && strcmp(version, "HTTP/1.1") == 0)
        return "no Host header";
    return body_length(&s, version, ret_length);
}
