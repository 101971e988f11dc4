#include "common/matcher.h"

#include <errno.h>
#include <regex.h>
#include <stdlib.h>

#include "common/re2.h"

struct matcher {
    char *name, *value;
    size_t name_len, value_len;
    bool regex, negative;
    regex_t *compiled; /* when regex; apart, since a regex_t must not move */
};

struct matchers {
    struct matcher *v;
    size_t n, size;
};

#define TEXT_MAX ((size_t)1 << 20)

struct matchers *matchers_new(void)
{
    return calloc(1, sizeof(struct matchers));
}

static void matcher_release(struct matcher *m)
{
    free(m->name);
    free(m->value);
    if (m->compiled)
        regfree(m->compiled);
    free(m->compiled);
}

void matchers_free(struct matchers *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        matcher_release(&m->v[i]);
    free(m->v);
    free(m);
}

static int compile(struct slice pattern, regex_t **ret, struct err *e)
{
    CLEANUP(buf_release) struct buf ere = BUF_INIT(TEXT_MAX);
    bool icase = false;
    int rc = re2_to_ere(pattern, &ere, &icase, e);
    if (rc < 0)
        return rc;
    regex_t *to = calloc(1, sizeof(*to));
    if (!to)
        return err_set(e, -ENOMEM, "regular expression: out of memory");
    rc = regcomp(to, buf_str(&ere), REG_EXTENDED | REG_NOSUB | (icase ? REG_ICASE : 0));
    if (rc != 0) {
        char why[128];
        (void)regerror(rc, to, why, sizeof(why));
        free(to);
        return err_set(e, rc == REG_ESPACE ? -ENOMEM : -EINVAL, "regular expression: %s", why);
    }
    *ret = to;
    return 0;
}

static char *copy(struct slice s)
{
    char *p = malloc(s.len + 1);
    if (!p)
        return NULL;
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    p[s.len] = '\0';
    return p;
}

static int by_text(const void *a, const void *b)
{
    const struct matcher *x = a, *y = b;
    int c = slice_cmp((struct slice){x->name, x->name_len}, (struct slice){y->name, y->name_len});
    if (c == 0)
        c = slice_cmp((struct slice){x->value, x->value_len},
                      (struct slice){y->value, y->value_len});
    if (c == 0)
        c = (x->regex << 1 | x->negative) - (y->regex << 1 | y->negative);
    return c;
}

int matchers_add(struct matchers *m, struct slice name, struct slice value, bool regex,
                 bool negative, struct err *e)
{
    if (name.len == 0)
        return err_set(e, -EINVAL, "matcher: empty label name");
    if (m->n == m->size) {
        size_t size = m->size ? m->size * 2 : 4;
        struct matcher *v = reallocarray(m->v, size, sizeof(*v));
        if (!v)
            return err_set(e, -ENOMEM, "matcher: out of memory");
        m->v = v;
        m->size = size;
    }
    struct matcher one = {.name_len = name.len, .value_len = value.len, .negative = negative};
    if (regex) {
        int rc = compile(value, &one.compiled, e);
        if (rc < 0)
            return err_wrap(e, "matcher %.*s", SLICE_FMT(name));
        one.regex = true;
    }
    one.name = copy(name);
    one.value = copy(value);
    if (!one.name || !one.value) {
        matcher_release(&one);
        return err_set(e, -ENOMEM, "matcher: out of memory");
    }
    m->v[m->n++] = one;
    qsort(m->v, m->n, sizeof(*m->v), by_text); /* one order: identity, and few elements */
    return 0;
}

/* ---- text ---- */

struct text {
    struct slice s;
    size_t i;
    struct err *e;
};

static bool at_end(const struct text *t)
{
    return t->i >= t->s.len;
}

static char here(const struct text *t)
{
    return at_end(t) ? '\0' : t->s.p[t->i];
}

static void skip_space(struct text *t)
{
    while (!at_end(t) && strchr(" \t\r\n", here(t)))
        t->i++;
}

static int bad(struct text *t, const char *what)
{
    return err_set(t->e, -EINVAL, "matcher: %s at byte %zu of %.*s", what, t->i,
                   (int)(t->s.len < 120 ? t->s.len : 120), t->s.p ? t->s.p : "");
}

/* "..." with \" \\ \n \t \r; a backslash before anything else stays, so that "\d" reaches the
 * expression. */
static int quoted(struct text *t, struct buf *out)
{
    static const char names[] = "\"\\ntr", bytes[] = "\"\\\n\t\r";
    for (t->i++; !at_end(t) && here(t) != '"'; t->i++) {
        char c = here(t);
        const char *at = NULL;
        if (c == '\\' && t->i + 1 < t->s.len)
            at = memchr(names, t->s.p[t->i + 1], sizeof(names) - 1);
        if (at) {
            c = bytes[at - names];
            t->i++;
        }
        buf_putc(out, c);
    }
    if (at_end(t))
        return bad(t, "missing quote");
    t->i++;
    return 0;
}

/* A name or a value: quoted, or everything up to what ends it. */
static int word(struct text *t, const char *ends, struct buf *out)
{
    skip_space(t);
    if (here(t) == '"')
        return quoted(t, out);
    size_t from = t->i;
    while (!at_end(t) && !strchr(ends, here(t)))
        t->i++;
    size_t to = t->i;
    while (to > from && strchr(" \t\r\n", t->s.p[to - 1]))
        to--;
    buf_add(out, t->s.p + from, to - from);
    return 0;
}

static int operator(struct text *t, bool *regex, bool *negative)
{
    skip_space(t);
    char first = here(t);
    if (first != '=' && first != '!')
        return bad(t, "expected = != =~ or !~");
    t->i++;
    char second = here(t);
    *negative = first == '!';
    *regex = second == '~';
    if (*negative && second != '=' && second != '~')
        return bad(t, "expected != or !~");
    if (*negative || *regex)
        t->i++;
    return 0;
}

static int one(struct matchers *m, struct text *t)
{
    CLEANUP(buf_release) struct buf name = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_release) struct buf value = BUF_INIT(TEXT_MAX);
    bool regex = false, negative = false;
    int rc = word(t, "=!~,{}\"", &name);
    if (rc == 0)
        rc = operator(t, &regex, &negative);
    if (rc == 0)
        rc = word(t, ",{}\"", &value);
    if (rc < 0)
        return rc;
    skip_space(t);
    if (!at_end(t) && here(t) != ',' && here(t) != '}')
        return bad(t, "expected a comma, or quotes around the whole value,");
    if (name.failed || value.failed)
        return err_set(t->e, -ENOMEM, "matcher: too large");
    return matchers_add(m, (struct slice){buf_str(&name), name.len},
                        (struct slice){buf_str(&value), value.len}, regex, negative, t->e);
}

int matchers_add_text(struct matchers *m, struct slice text, struct err *e)
{
    struct text t = {text, 0, e};
    skip_space(&t);
    bool braces = here(&t) == '{';
    t.i += braces;
    for (;;) {
        skip_space(&t);
        if (at_end(&t) || here(&t) == '}')
            break;
        int rc = one(m, &t);
        if (rc < 0)
            return rc;
        if (here(&t) == ',')
            t.i++;
    }
    if (braces != (here(&t) == '}'))
        return bad(&t, braces ? "missing }" : "unexpected }");
    t.i += braces;
    skip_space(&t);
    return at_end(&t) ? 0 : bad(&t, "text behind the end");
}

struct matchers *matchers_parse(struct slice text, struct err *e)
{
    struct matchers *m = matchers_new();
    if (!m) {
        (void)err_set(e, -ENOMEM, "matcher: out of memory");
        return NULL;
    }
    if (matchers_add_text(m, text, e) < 0) {
        matchers_free(m);
        return NULL;
    }
    return m;
}

/* ---- use ---- */

static bool matches(const struct matcher *m, struct slice value)
{
    if (!m->regex)
        return slice_eq(value, (struct slice){m->value, m->value_len});
    /* Bounds in bytes: a label has no NUL behind it. */
    regmatch_t all = {.rm_so = 0, .rm_eo = (regoff_t)value.len};
    return regexec(m->compiled, value.p ? value.p : "", 1, &all, REG_STARTEND) == 0;
}

bool matchers_match(const struct matchers *m, struct labels l)
{
    for (size_t i = 0; m && i < m->n; i++) {
        const struct matcher *one_of = &m->v[i];
        struct slice value = labels_get_n(l, (struct slice){one_of->name, one_of->name_len});
        if (matches(one_of, value) == one_of->negative)
            return false;
    }
    return true;
}

static bool plain_name(const struct matcher *m)
{
    for (size_t i = 0; i < m->name_len; i++) {
        char c = m->name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

static void put_quoted(struct buf *out, const char *p, size_t len)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '"' || p[i] == '\\')
            buf_putc(out, '\\');
        if (p[i] == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, p[i]);
    }
    buf_putc(out, '"');
}

void matchers_format(const struct matchers *m, struct buf *out)
{
    buf_putc(out, '{');
    for (size_t i = 0; m && i < m->n; i++) {
        const struct matcher *it = &m->v[i];
        if (i > 0)
            buf_putc(out, ',');
        if (plain_name(it))
            buf_add(out, it->name, it->name_len);
        else
            put_quoted(out, it->name, it->name_len);
        buf_putc(out, it->negative ? '!' : '=');
        if (it->regex || it->negative)
            buf_putc(out, it->regex ? '~' : '=');
        put_quoted(out, it->value, it->value_len);
    }
    buf_putc(out, '}');
}
