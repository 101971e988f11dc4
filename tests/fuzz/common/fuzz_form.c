/*
 * A form: the first line is its Content-Type, or "?" for a query; the rest is what was posted.
 *
 * Any bytes are JSON afterwards, or refused with a reason; the JSON has each field once, with its
 * text as it stood in the form; and those fields written down as a query say the same.
 */
#include <errno.h>

#include "common/buf.h"
#include "common/form.h"
#include "common/json.h"
#include "fuzz.h"
#include "text.h"

#define ARENA ((size_t)4 << 20)

static const char *const json[] = {"data", "heartbeat", NULL};

static bool is_json_field(struct slice name)
{
    return slice_is(name, "data") || slice_is(name, "heartbeat");
}

static void check_member(const struct form_field *field, struct slice key, struct slice value,
                         struct arena *a)
{
    MUST(!is_text(field->name) || slice_eq(json_text(key, a), field->name));
    if (value.p[0] == '{') {
        MUST(is_json_field(field->name));
        return;
    }
    MUST(value.p[0] == '"');
    MUST(!is_text(field->value) || slice_eq(json_text(value, a), field->value));
}

/* As many members as fields, each the field of its place. */
static void check_members(const struct form *f, struct slice text, struct arena *a)
{
    struct slice key, value;
    size_t pos = 0, n = 0;
    while (json_next_member(text, &pos, &key, &value)) {
        MUST(n < f->n);
        check_member(&f->v[n++], key, value, a);
    }
    MUST(n == f->n);
}

/* Every byte escaped. */
static void escape(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        buf_printf(b, "%%%02x", (unsigned char)s.p[i]);
}

static void check_again(const struct form *f, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(ARENA);
    struct form *again = arena_new_of(a, struct form);
    struct err e = {0};
    for (size_t i = 0; i < f->n; i++) {
        escape(&b, f->v[i].name);
        buf_putc(&b, '=');
        escape(&b, f->v[i].value);
        buf_putc(&b, '&');
    }
    MUST(again && form_parse_query((struct slice){buf_str(&b), b.len}, a, again, &e) == 0);
    MUST(again->n == f->n);
    for (size_t i = 0; i < f->n; i++)
        MUST(slice_eq(again->v[i].name, f->v[i].name) &&
             slice_eq(again->v[i].value, f->v[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct arena *a = fuzz_arena(0, ARENA);
    struct form *f = arena_new_of(a, struct form);
    struct slice body = {(const char *)data, size}, text = {0};
    struct err e = {0};
    const char *line = size > 0 ? memchr(data, '\n', size) : NULL;
    if (!line || !f)
        return 0;
    const char *type = arena_strndup(a, body.p, (size_t)(line - body.p));
    body = (struct slice){line + 1, size - (size_t)(line + 1 - body.p)};
    MUST(type);
    if (type[0] != '?' && !form_is(type))
        return 0;
    int rc = type[0] == '?' ? form_parse_query(body, a, f, &e) : form_parse(type, body, a, f, &e);
    if (rc == 0)
        rc = form_to_json(f, json, a, &text, &e);
    if (rc < 0) {
        MUST(rc == e.code && e.msg[0] && (rc == -EBADMSG || rc == -E2BIG));
        return 0;
    }
    MUST(json_scan(text, &any, &e) == 0);
    check_members(f, text, a);
    check_again(f, a);
    return 0;
}
