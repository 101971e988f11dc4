#include "common/form.h"

#include <errno.h>
#include <strings.h>

#include "common/buf.h"
#include "common/json.h"

#define URLENCODED "application/x-www-form-urlencoded"
#define MULTIPART "multipart/form-data"

static int too_large(struct err *e)
{
    return err_set(e, -E2BIG, "the form needs more memory than a request may");
}

static int add(struct form *f, struct slice name, struct slice value, struct err *e)
{
    for (size_t i = 0; i < f->n; i++) {
        if (slice_eq(f->v[i].name, name)) {
            f->v[i].value = value;
            return 0;
        }
    }
    if (f->n == FORM_FIELDS_MAX)
        return err_set(e, -E2BIG, "a form of more than %d fields", FORM_FIELDS_MAX);
    f->v[f->n++] = (struct form_field){name, value};
    return 0;
}

/* ---- urlencoded ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As browsers read it: a percent sign that is followed by no two digits stands for itself. */
static bool unescape(struct slice s, struct arena *a, struct slice *ret)
{
    char *out = arena_alloc(a, s.len + 1, 1);
    size_t n = 0;

    if (!out)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i] == '+' ? ' ' : s.p[i];
        if (c == '%' && s.len - i > 2) {
            const int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (char)(high * 16 + low);
                i += 2;
            }
        }
        out[n++] = c;
    }
    *ret = (struct slice){out, n};
    return true;
}

/* What stands before the first `c`, which goes too; all of it when there is none. */
static struct slice take_until(struct slice *s, char c)
{
    const char *at = s->len > 0 ? memchr(s->p, c, s->len) : NULL;
    const struct slice head = {s->p, at ? (size_t)(at - s->p) : s->len};
    const size_t gone = head.len + (at != NULL);

    if (gone > 0)
        *s = (struct slice){s->p + gone, s->len - gone};
    return head;
}

int form_parse_query(struct slice query, struct arena *a, struct form *ret, struct err *e)
{
    ret->n = 0;
    while (query.len > 0) {
        struct slice value = take_until(&query, '&'), name;
        if (value.len == 0)
            continue;
        name = take_until(&value, '=');
        if (!unescape(name, a, &name) || !unescape(value, a, &value))
            return too_large(e);
        const int rc = add(ret, name, value, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- multipart ---- */

#define BOUNDARY_MAX 70 /* RFC 2046 */

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct slice){s.p + 1, s.len - 1};
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool is_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

/* `name` among the parameters behind the first ';' of a header's value, without its quotes. */
static struct slice parameter(struct slice header, const char *name)
{
    (void)take_until(&header, ';');
    while (header.len > 0) {
        struct slice value = take_until(&header, ';');
        if (!is_word(trim(take_until(&value, '=')), name))
            continue;
        value = trim(value);
        if (value.len >= 2 && value.p[0] == '"' && value.p[value.len - 1] == '"')
            value = (struct slice){value.p + 1, value.len - 2};
        return value;
    }
    return (struct slice){0};
}

/* The next CRLF, "--", boundary; the first may do without the CRLF. *ret_end: behind it. */
static const char *next_delimiter(struct slice body, size_t from, struct slice delimiter,
                                  const char **ret_end)
{
    const size_t bare = delimiter.len - 2;
    const char *at = NULL;

    if (from == 0 && body.len >= bare && memcmp(body.p, delimiter.p + 2, bare) == 0) {
        *ret_end = body.p + bare;
        return body.p;
    }
    if (from < body.len)
        at = memmem(body.p + from, body.len - from, delimiter.p, delimiter.len);
    if (at)
        *ret_end = at + delimiter.len;
    return at;
}

/* One part: headers, an empty line, the value. */
static int add_part(struct form *f, struct slice part, struct err *e)
{
    struct slice name = {0};

    for (;;) {
        const char *end = part.len > 0 ? memmem(part.p, part.len, "\r\n", 2) : NULL;
        if (!end)
            return err_set(e, -EBADMSG, "a part of the form has no empty line behind its headers");
        struct slice line = {part.p, (size_t)(end - part.p)};
        part = (struct slice){end + 2, part.len - line.len - 2};
        if (line.len == 0)
            break;
        struct slice value = line;
        if (is_word(trim(take_until(&value, ':')), "Content-Disposition"))
            name = parameter(value, "name");
    }
    if (!name.p)
        return err_set(e, -EBADMSG, "a part of the form has no name");
    return add(f, name, part, e);
}

static int parse_multipart(struct slice boundary, struct slice body, struct form *ret,
                           struct err *e)
{
    char text[4 + BOUNDARY_MAX] = {'\r', '\n', '-', '-'};
    const struct slice delimiter = {text, 4 + boundary.len};

    if (boundary.len == 0 || boundary.len > BOUNDARY_MAX)
        return err_set(e, -EBADMSG, "a multipart form without a boundary");
    memcpy(text + 4, boundary.p, boundary.len);
    const char *from = NULL, *end = body.len > 0 ? body.p + body.len : body.p;
    const char *at = next_delimiter(body, 0, delimiter, &from);
    while (at && end - from >= 2) {
        const char *value = from + 2;
        if (memcmp(from, "--", 2) == 0)
            return 0;
        if (memcmp(from, "\r\n", 2) != 0)
            break;
        at = next_delimiter(body, (size_t)(from - body.p), delimiter, &from);
        if (!at)
            break;
        const int rc =
            at < value ? 0 : add_part(ret, (struct slice){value, (size_t)(at - value)}, e);
        if (rc < 0)
            return rc;
    }
    return err_set(e, -EBADMSG, "the multipart form is cut off");
}

/* ---- both ---- */

static struct slice media_type(struct slice content_type)
{
    return trim(take_until(&content_type, ';'));
}

bool form_is(const char *content_type)
{
    const struct slice type = media_type(slice_of(content_type));

    return is_word(type, URLENCODED) || is_word(type, MULTIPART);
}

int form_parse(const char *content_type, struct slice body, struct arena *a, struct form *ret,
               struct err *e)
{
    const struct slice type = slice_of(content_type);

    ret->n = 0;
    if (is_word(media_type(type), URLENCODED))
        return form_parse_query(body, a, ret, e);
    if (!is_word(media_type(type), MULTIPART))
        return err_set(e, -EBADMSG, "not a form");
    return parse_multipart(parameter(type, "boundary"), body, ret, e);
}

static bool is_named(const char *const *names, struct slice name)
{
    for (; names && *names; names++)
        if (slice_is(name, *names))
            return true;
    return false;
}

static bool is_object(struct slice text)
{
    static const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct err ignored = {0};
    const struct slice value =
        json_scan(text, &any, &ignored) == 0 ? json_at(text, "") : (struct slice){0};

    return value.len > 0 && value.p[0] == '{';
}

int form_to_json(const struct form *f, const char *const *json, struct arena *a, struct slice *ret,
                 struct err *e)
{
    size_t most = 3;

    for (size_t i = 0; i < f->n; i++) /* a byte becomes six at most: \u0001 */
        most += 6 * (f->v[i].name.len + f->v[i].value.len) + 6;
    CLEANUP(buf_release) struct buf b = BUF_INIT(most);
    buf_putc(&b, '{');
    for (size_t i = 0; i < f->n; i++) {
        const struct form_field *field = &f->v[i];
        if (i > 0)
            buf_putc(&b, ',');
        buf_json(&b, field->name);
        buf_putc(&b, ':');
        if (is_named(json, field->name) && is_object(field->value))
            buf_add(&b, field->value.p, field->value.len);
        else
            buf_json(&b, field->value);
    }
    buf_putc(&b, '}');
    const struct slice text =
        b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
    if (!text.p)
        return too_large(e);
    *ret = text;
    return 0;
}
