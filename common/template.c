#include "common/template.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/template_escape.h"

#define NESTING_MAX 16
#define OUTPUT_MAX ((size_t)1 << 20)

enum op_type { OP_TEXT = 1, OP_VALUE, OP_RAW, OP_SECTION, OP_INVERTED };

/* A template is a flat run of these; a section's body is what lies between it and `end`. */
struct op {
    enum op_type type;
    struct slice s; /* the text, or the name */
    size_t end;
};

struct template
{
    char *text; /* our copy; the slices point into it */
    struct op *ops;
    size_t op_n, op_size;
};

void template_free(struct template *t)
{
    if (!t)
        return;
    free(t->ops);
    free(t->text);
    free(t);
}

/* Compiling. */

struct parser {
    struct template *t;
    const char *p, *end;      /* what is not read yet */
    size_t open[NESTING_MAX]; /* sections not closed yet, as indexes into the ops */
    size_t open_n;
    struct err *e;
};

struct tag {
    const char *start, *end; /* in the text, with the braces */
    char sigil;              /* one of "{&#^/!", or '\0' of a plain value */
    struct slice name;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\n' || c == '\r';
}

/* A reason with its place, counted in lines and characters from 1. */
static int fail_at(const struct parser *p, const char *at, const char *why, struct slice what)
{
    size_t line = 1, column = 1;
    for (const char *c = p->t->text; c < at; c++) {
        if (*c == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*c & 0xC0) != 0x80) {
            column++;
        }
    }
    (void)err_set(p->e, -EINVAL, "%zu:%zu: %s%s%.*s", line, column, why, what.len > 0 ? " " : "",
                  (int)(what.len < 100 ? what.len : 100), what.len > 0 ? what.p : "");
    return -EINVAL;
}

static int add_op(struct parser *p, enum op_type type, struct slice s)
{
    struct template *t = p->t;
    if (t->op_n == t->op_size) {
        size_t size = t->op_size ? t->op_size * 2 : 16;
        struct op *ops = reallocarray(t->ops, size, sizeof(*ops));
        if (!ops)
            return err_set(p->e, -ENOMEM, "out of memory");
        t->ops = ops;
        t->op_size = size;
    }
    t->ops[t->op_n++] = (struct op){.type = type, .s = s};
    return 0;
}

static struct slice trim(const char *from, const char *to)
{
    while (from < to && is_space(*from))
        from++;
    while (to > from && is_space(to[-1]))
        to--;
    return (struct slice){from, (size_t)(to - from)};
}

/* "." or parts between single dots. Braces in a name are a tag that was closed wrongly. */
static bool is_name(struct slice s)
{
    if (slice_is(s, "."))
        return true;
    char before = '.';
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (is_space(c) || c == '{' || c == '}' || (c == '.' && before == '.'))
            return false;
        before = c;
    }
    return before != '.';
}

static int refuse_unsupported(const struct parser *p, const struct tag *tag)
{
    switch (tag->sigil) {
    case '>':
        return fail_at(p, tag->start, "partials are not supported", (struct slice){0});
    case '=':
        return fail_at(p, tag->start, "delimiters cannot be changed", (struct slice){0});
    case '<':
    case '$':
        return fail_at(p, tag->start, "inheritance is not supported", (struct slice){0});
    default:
        return 0;
    }
}

/* The tag that begins at `start`. */
static int read_tag(const struct parser *p, const char *start, struct tag *ret)
{
    struct tag tag = {.start = start};
    const char *from = start + 2;
    while (is_space(*from))
        from++;
    if (*from && strchr("{&#^/!><=$", *from))
        tag.sigil = *from++;
    const char *brackets = tag.sigil == '{' ? "}}}" : "}}";
    const char *close = strstr(from, brackets);
    if (!close)
        return fail_at(p, start, "this tag is never closed", (struct slice){0});
    tag.end = close + strlen(brackets);
    tag.name = trim(from, close);
    int r = refuse_unsupported(p, &tag);
    if (r < 0)
        return r;
    if (tag.sigil != '!' && !is_name(tag.name))
        return fail_at(p, start, tag.name.len ? "this is no name:" : "a name is missing", tag.name);
    *ret = tag;
    return 0;
}

/*
 * A section's ends and comments that have a line to themselves take the whole line with them. Then
 * *text_end becomes the start of that line and *next the start of the one after.
 */
static void take_line(const struct parser *p, const struct tag *tag, const char **text_end,
                      const char **next)
{
    const char *before = tag->start;
    const char *after = tag->end;
    while (before > p->t->text && is_blank(before[-1]))
        before--;
    while (is_blank(*after))
        after++;
    bool starts = before == p->t->text || before[-1] == '\n';
    if (!starts)
        return;
    if (after[0] == '\r' && after[1] == '\n')
        after++;
    if (*after != '\n' && after != p->end)
        return;
    *text_end = before;
    *next = after == p->end ? after : after + 1;
}

static int open_section(struct parser *p, const struct tag *tag)
{
    if (p->open_n == NESTING_MAX)
        return fail_at(p, tag->start, "sections are nested too deeply", (struct slice){0});
    p->open[p->open_n++] = p->t->op_n;
    return add_op(p, tag->sigil == '#' ? OP_SECTION : OP_INVERTED, tag->name);
}

static int close_section(struct parser *p, const struct tag *tag)
{
    if (p->open_n == 0)
        return fail_at(p, tag->start, "nothing is open that this could close:", tag->name);
    struct op *op = &p->t->ops[p->open[--p->open_n]];
    if (!slice_eq(op->s, tag->name))
        return fail_at(p, tag->start, "the section to be closed here is", op->s);
    op->end = p->t->op_n;
    return 0;
}

static int add_tag(struct parser *p, const struct tag *tag)
{
    switch (tag->sigil) {
    case '!':
        return 0;
    case '#':
    case '^':
        return open_section(p, tag);
    case '/':
        return close_section(p, tag);
    case '{':
    case '&':
        return add_op(p, OP_RAW, tag->name);
    default:
        return add_op(p, OP_VALUE, tag->name);
    }
}

/* The text up to the next tag, and the tag. */
static int step(struct parser *p)
{
    const char *start = strstr(p->p, "{{");
    const char *text_end = start ? start : p->end;
    const char *next = p->end;
    struct tag tag = {0};
    if (start) {
        int r = read_tag(p, start, &tag);
        if (r < 0)
            return r;
        next = tag.end;
        if (tag.sigil && strchr("#^/!", tag.sigil))
            take_line(p, &tag, &text_end, &next);
    }
    if (text_end > p->p) {
        int r = add_op(p, OP_TEXT, (struct slice){p->p, (size_t)(text_end - p->p)});
        if (r < 0)
            return r;
    }
    p->p = next;
    return start ? add_tag(p, &tag) : 0;
}

static struct template *template_new(const char *text)
{
    struct template *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->text = strdup(text);
    if (!t->text) {
        free(t);
        return NULL;
    }
    return t;
}

static int parse(struct parser *p)
{
    while (p->p < p->end) {
        int r = step(p);
        if (r < 0)
            return r;
    }
    if (p->open_n == 0)
        return 0;
    struct slice name = p->t->ops[p->open[p->open_n - 1]].s;
    return fail_at(p, name.p, "this section is never closed:", name);
}

struct template *template_compile(const char *text, struct err *e)
{
    struct template *t = template_new(text);
    if (!t) {
        (void)err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    struct parser p = {.t = t, .p = t->text, .end = t->text + strlen(t->text), .e = e};
    if (parse(&p) < 0) {
        template_free(t);
        return NULL;
    }
    return t;
}

/* Rendering. */

struct view {
    const struct op *ops;
    enum escape escape;
    struct arena *a;
    struct buf *out;
    const json_t *stack[NESTING_MAX + 1]; /* contexts, outermost first */
    size_t depth;
};

/* Takes the part before the next dot off the front of `name`. */
static struct slice take_part(struct slice *name)
{
    const char *dot = memchr(name->p, '.', name->len);
    struct slice part = {name->p, dot ? (size_t)(dot - name->p) : name->len};
    size_t used = part.len + (dot ? 1 : 0);
    *name = (struct slice){name->p + used, name->len - used};
    return part;
}

/* The first part is looked for outwards through the contexts; the others only in what was found. */
static const json_t *look_up(const struct view *v, struct slice name)
{
    if (slice_is(name, "."))
        return v->stack[v->depth];
    struct slice part = take_part(&name);
    const json_t *found = NULL;
    for (size_t i = v->depth + 1; i > 0 && !found; i--)
        found = json_object_getn(v->stack[i - 1], part.p, part.len);
    while (found && name.len > 0) {
        part = take_part(&name);
        found = json_object_getn(found, part.p, part.len);
    }
    return found;
}

static bool is_false(const json_t *value)
{
    if (!value || json_is_null(value) || json_is_false(value))
        return true;
    if (json_is_string(value))
        return json_string_length(value) == 0;
    return json_is_array(value) && json_array_size(value) == 0;
}

static void add_value(struct view *v, const json_t *value, enum escape escape)
{
    if (!value || json_is_null(value))
        return;
    if (json_is_string(value)) {
        template_escape(v->out, (struct slice){json_string_value(value), json_string_length(value)},
                        escape);
        return;
    }
    const size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15);
    size_t len = json_dumpb(value, NULL, 0, flags);
    char *text = len > 0 ? arena_alloc(v->a, len, 1) : NULL;
    if (!text || json_dumpb(value, text, len, flags) != len) {
        v->out->failed = true;
        return;
    }
    template_escape(v->out, (struct slice){text, len}, escape);
}

static void render(struct view *v, size_t from, size_t to);

static void render_body(struct view *v, const struct op *op, const json_t *context)
{
    v->stack[++v->depth] = context;
    render(v, (size_t)(op - v->ops) + 1, op->end);
    v->depth--;
}

static void render_section(struct view *v, const struct op *op, const json_t *value)
{
    if (is_false(value))
        return;
    if (!json_is_array(value)) {
        render_body(v, op, value);
        return;
    }
    for (size_t i = 0; i < json_array_size(value) && !v->out->failed; i++)
        render_body(v, op, json_array_get(value, i));
}

static void render(struct view *v, size_t from, size_t to)
{
    for (size_t i = from; i < to && !v->out->failed; i++) {
        const struct op *op = &v->ops[i];
        switch (op->type) {
        case OP_TEXT:
            buf_add(v->out, op->s.p, op->s.len);
            break;
        case OP_VALUE:
            add_value(v, look_up(v, op->s), v->escape);
            break;
        case OP_RAW:
            add_value(v, look_up(v, op->s), ESCAPE_NONE);
            break;
        case OP_SECTION:
            render_section(v, op, look_up(v, op->s));
            i = op->end - 1;
            break;
        case OP_INVERTED:
            if (is_false(look_up(v, op->s)))
                render(v, i + 1, op->end);
            i = op->end - 1;
            break;
        }
    }
}

const char *template_render(const struct template *t, const json_t *data, enum escape escape,
                            struct arena *a, size_t *ret_len)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(OUTPUT_MAX);
    struct view v = {.ops = t->ops, .escape = escape, .a = a, .out = &out, .stack = {data}};
    render(&v, 0, t->op_n);
    if (out.failed)
        return NULL;
    const char *text = arena_strndup(a, buf_str(&out), out.len);
    if (text && ret_len)
        *ret_len = out.len;
    return text;
}
