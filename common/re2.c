#include "common/re2.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define REPEAT_MAX 1000
#define NEST_MAX 64
#define MULTIBYTE "[\xc2-\xf4][\x80-\xbf]+" /* one character past ASCII, in the C locale */

struct group {
    unsigned repeat; /* largest product of counted repetitions inside: what regcomp will unroll */
};

struct re {
    struct slice p;
    size_t i;
    struct buf *out;
    struct err *e;
    struct group group[NEST_MAX];
    size_t depth;
    size_t atom_at;  /* where in `out` the last atom starts */
    unsigned atom;   /* its repeat product; 0: nothing to repeat here */
    bool quantified; /* the last thing was a quantifier */
};

/* 128 bits: the ASCII members of a class. */
struct set {
    bool has[128];
    bool negated;
};

static bool left(const struct re *r, size_t n)
{
    return r->p.len - r->i >= n;
}

static char peek(const struct re *r, size_t n)
{
    return left(r, n + 1) ? r->p.p[r->i + n] : '\0';
}

static int bad(struct re *r, const char *what, size_t from)
{
    size_t n = r->p.len - from < 12 ? r->p.len - from : 12;
    if (n == 0)
        return err_set(r->e, -EINVAL, "regular expression: %s at its end", what);
    return err_set(r->e, -EINVAL, "regular expression: %s at byte %zu: `%.*s`", what, from, (int)n,
                   r->p.p + from);
}

static void begin_atom(struct re *r)
{
    r->atom_at = r->out->len;
    r->atom = 1;
    r->quantified = false;
}

static void put_literal(struct re *r, unsigned char c)
{
    if (c < 0x80 && strchr("\\^$.[]|()*+?{}", c))
        buf_putc(r->out, '\\');
    buf_putc(r->out, (char)c);
}

/* A character of the pattern past ASCII is several bytes and one atom. */
static void literal(struct re *r)
{
    unsigned char c = (unsigned char)r->p.p[r->i++];
    begin_atom(r);
    if (c < 0x80) {
        put_literal(r, c);
        return;
    }
    buf_putc(r->out, '(');
    buf_putc(r->out, (char)c);
    while ((peek(r, 0) & 0xc0) == 0x80)
        buf_putc(r->out, r->p.p[r->i++]);
    buf_putc(r->out, ')');
}

/* ---- classes ---- */

static void set_range(struct set *s, unsigned char from, unsigned char to)
{
    for (unsigned c = from; c <= to && c < 128; c++)
        s->has[c] = true;
}

static bool perl_class(char c, struct set *s)
{
    struct set one = {0};
    switch (c | 0x20) {
    case 'd':
        set_range(&one, '0', '9');
        break;
    case 'w':
        set_range(&one, '0', '9');
        set_range(&one, 'A', 'Z');
        set_range(&one, 'a', 'z');
        one.has['_'] = true;
        break;
    case 's':
        one.has['\t'] = one.has['\n'] = one.has['\f'] = one.has['\r'] = one.has[' '] = true;
        break;
    default:
        return false;
    }
    for (unsigned i = 1; i < 128; i++)
        s->has[i] |= isupper((unsigned char)c) ? !one.has[i] : one.has[i];
    return true;
}

static bool plain_in_class(unsigned c)
{
    return c != ']' && c != '[' && c != '^' && c != '-';
}

/* The members as a bracket expression: ']' first, '^' not first, '-' last, so that none is special.
 */
static void put_bracket(struct buf *out, const bool has[128])
{
    size_t from = out->len + 1;
    buf_putc(out, '[');
    if (has[']'])
        buf_putc(out, ']');
    for (unsigned c = 1; c < 128; c++) {
        if (!has[c] || !plain_in_class(c))
            continue;
        unsigned last = c;
        while (last + 1 < 128 && has[last + 1] && plain_in_class(last + 1))
            last++;
        buf_putc(out, (char)c);
        if (last > c + 1)
            buf_putc(out, '-');
        if (last > c)
            buf_putc(out, (char)last);
        c = last;
    }
    if (has['['])
        buf_putc(out, '[');
    bool dash_first = has['-'] && has['^'] && out->len == from;
    if (dash_first)
        buf_putc(out, '-');
    if (has['^'])
        buf_putc(out, '^');
    if (has['-'] && !dash_first)
        buf_putc(out, '-');
    buf_putc(out, ']');
}

static void put_set(struct re *r, const struct set *s)
{
    bool has[128] = {false};
    size_t n = 0;
    for (unsigned c = 1; c < 128; c++) {
        has[c] = s->has[c] != s->negated;
        n += has[c];
    }
    begin_atom(r);
    if (s->negated)
        buf_puts(r->out, "(" MULTIBYTE "|");
    if (n == 1 && has['^'])
        buf_puts(r->out, "\\^");
    else if (n > 0)
        put_bracket(r->out, has);
    else
        buf_puts(r->out, "[\x01][\x02]"); /* a class of nothing never matches */
    if (s->negated)
        buf_putc(r->out, ')');
}

/* \xHH or \x{H..}, ASCII only; the position is behind `\x`. */
static int hex_char(struct re *r, size_t from, unsigned char *ret)
{
    char digits[9] = {0};
    size_t n = 0;
    bool braces = peek(r, 0) == '{';
    r->i += braces;
    while (n < (braces ? 8U : 2U) && isxdigit((unsigned char)peek(r, 0)))
        digits[n++] = r->p.p[r->i++];
    if (n == 0 || (braces ? peek(r, 0) != '}' : n != 2))
        return bad(r, "invalid escape", from);
    r->i += braces;
    unsigned long c = strtoul(digits, NULL, 16);
    if (c == 0 || c > 127)
        return bad(r, "only ASCII can be written as \\x", from);
    *ret = (unsigned char)c;
    return 0;
}

/* An escape that stands for one ASCII character; the position is at the backslash. */
static int escaped_char(struct re *r, unsigned char *ret)
{
    static const char names[] = "tnrfva", bytes[] = "\t\n\r\f\v\a";
    size_t from = r->i;
    char c = peek(r, 1);
    r->i += 2;
    if (c == 'x')
        return hex_char(r, from, ret);
    const char *at = c ? strchr(names, c) : NULL;
    if (at) {
        *ret = (unsigned char)bytes[at - names];
        return 0;
    }
    if (!ispunct((unsigned char)c) || (unsigned char)c >= 128)
        return bad(r, "this escape cannot be translated", from);
    *ret = (unsigned char)c;
    return 0;
}

/* [:alpha:] and [:^alpha:]; false when it is none. */
static bool named_class(struct re *r, struct set *s)
{
    static const struct {
        const char *name;
        int (*is)(int);
    } classes[] = {{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank},
                   {"cntrl", iscntrl}, {"digit", isdigit}, {"graph", isgraph},
                   {"lower", islower}, {"print", isprint}, {"punct", ispunct},
                   {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit}};
    bool not = peek(r, 2) == '^';
    for (size_t k = 0; k < sizeof(classes) / sizeof(classes[0]); k++) {
        size_t at = r->i + 2 + not, n = strlen(classes[k].name);
        if (r->p.len < at + n + 2 || memcmp(r->p.p + at, classes[k].name, n) != 0 ||
            memcmp(r->p.p + at + n, ":]", 2) != 0)
            continue;
        for (int c = 1; c < 128; c++)
            s->has[c] |= (classes[k].is(c) != 0) != not ;
        r->i = at + n + 2;
        return true;
    }
    return false;
}

/* One end of a range. */
static int class_char(struct re *r, unsigned char *ret)
{
    if (peek(r, 0) == '\\')
        return escaped_char(r, ret);
    if ((unsigned char)peek(r, 0) >= 128)
        return bad(r, "a class of characters past ASCII cannot be translated", r->i);
    *ret = (unsigned char)r->p.p[r->i++];
    return 0;
}

static int class_item(struct re *r, struct set *s)
{
    size_t from = r->i;
    unsigned char lo = 0, hi = 0;
    if (peek(r, 0) == '[' && peek(r, 1) == ':' && named_class(r, s))
        return 0;
    if (peek(r, 0) == '\\' && perl_class(peek(r, 1), s)) {
        r->i += 2;
        return 0;
    }
    int rc = class_char(r, &lo);
    if (rc < 0)
        return rc;
    hi = lo;
    if (peek(r, 0) == '-' && left(r, 2) && peek(r, 1) != ']') {
        r->i++;
        rc = class_char(r, &hi);
        if (rc < 0)
            return rc;
    }
    if (lo > hi)
        return bad(r, "range out of order", from);
    set_range(s, lo, hi);
    return 0;
}

static int class(struct re *r)
{
    struct set s = {0};
    size_t from = r->i++;
    s.negated = peek(r, 0) == '^';
    r->i += s.negated;
    for (bool first = true; peek(r, 0) != ']' || first; first = false) {
        if (!left(r, 1))
            return bad(r, "missing ]", from);
        int rc = class_item(r, &s);
        if (rc < 0)
            return rc;
    }
    r->i++;
    put_set(r, &s);
    return 0;
}

/* ---- escapes outside classes ---- */

static void quoted(struct re *r)
{
    for (r->i += 2; left(r, 1); literal(r)) {
        if (peek(r, 0) == '\\' && peek(r, 1) == 'E') {
            r->i += 2;
            return;
        }
    }
}

static int escape(struct re *r)
{
    struct set s = {0};
    char c = peek(r, 1);
    switch (c) {
    case 'Q':
        quoted(r);
        return 0;
    case 'A':
    case 'z':
    case 'b':
    case 'B':
        buf_puts(r->out, c == 'A' ? "^" : c == 'z' ? "$" : c == 'b' ? "\\b" : "\\B");
        r->i += 2;
        r->atom = 0;
        return 0;
    default:
        break;
    }
    if (c && strchr("DWS", c)) {
        s.negated = true; /* also every character past ASCII */
        (void)perl_class((char)(c | 0x20), &s);
        r->i += 2;
        put_set(r, &s);
        return 0;
    }
    if (perl_class(c, &s)) {
        r->i += 2;
        put_set(r, &s);
        return 0;
    }
    unsigned char one = 0;
    int rc = escaped_char(r, &one);
    if (rc < 0)
        return rc;
    begin_atom(r);
    put_literal(r, one);
    return 0;
}

/* ---- groups and repetition ---- */

/* Behind "(": past what names the group. -EINVAL for flags that have no translation. */
static int group_head(struct re *r, size_t from)
{
    if (peek(r, 0) != '?')
        return 0;
    if (peek(r, 1) == ':') {
        r->i += 2;
        return 0;
    }
    size_t at = r->i + (peek(r, 1) == 'P' ? 2 : 1);
    if (at < r->p.len && r->p.p[at] == '<') {
        const char *end = memchr(r->p.p + at, '>', r->p.len - at);
        if (end && (isalnum((unsigned char)r->p.p[at + 1]) || r->p.p[at + 1] == '_')) {
            r->i = (size_t)(end - r->p.p) + 1;
            return 0;
        }
    }
    return bad(r, "this group cannot be translated", from);
}

static int open_group(struct re *r)
{
    size_t from = r->i++;
    int rc = group_head(r, from);
    if (rc < 0)
        return rc;
    if (r->depth + 1 == NEST_MAX)
        return bad(r, "groups nested too deep", from);
    r->group[++r->depth].repeat = 1;
    buf_putc(r->out, '(');
    r->atom = 0;
    r->quantified = false;
    return 0;
}

static int close_group(struct re *r)
{
    if (r->depth == 0)
        return bad(r, "unexpected )", r->i);
    r->i++;
    buf_putc(r->out, ')');
    r->atom = r->group[r->depth--].repeat;
    r->quantified = false;
    return 0;
}

/* {n}, {n,} or {n,m} at the position: bytes it takes, 0 when the brace is a plain character. */
static size_t counted(const struct re *r, unsigned *ret_min, unsigned *ret_max)
{
    size_t i = 1;
    unsigned v[2] = {0, 0};
    size_t digits[2] = {0, 0};
    bool comma = false;
    for (; peek(r, i) && peek(r, i) != '}'; i++) {
        char c = peek(r, i);
        if (c == ',' && !comma) {
            comma = true;
        } else if (isdigit((unsigned char)c)) {
            digits[comma]++;
            v[comma] = v[comma] > REPEAT_MAX ? v[comma] : v[comma] * 10 + (unsigned)(c - '0');
        } else {
            return 0;
        }
    }
    if (peek(r, i) != '}' || digits[0] == 0)
        return 0;
    *ret_min = v[0];
    *ret_max = digits[1] > 0 ? v[1] : v[0]; /* {n,} unrolls n times */
    if (comma && digits[1] > 0 && v[1] < v[0])
        *ret_max = REPEAT_MAX + 1;
    return i + 1;
}

static int quantifier(struct re *r, size_t len, unsigned times)
{
    if (r->atom == 0)
        return bad(r, "nothing to repeat", r->i);
    if (r->quantified)
        return bad(r, "a repetition of a repetition", r->i);
    if (times > REPEAT_MAX || r->atom * times > REPEAT_MAX)
        return bad(r, "repeated too often", r->i);
    buf_add(r->out, r->p.p + r->i, len);
    if (times > 0 && r->atom * times > r->group[r->depth].repeat)
        r->group[r->depth].repeat = r->atom * times;
    r->i += len;
    r->quantified = true;
    if (peek(r, 0) == '?') /* lazy: whether the whole matches is the same */
        r->i++;
    return 0;
}

static int brace(struct re *r)
{
    unsigned min = 0, max = 0;
    size_t len = counted(r, &min, &max);
    if (len > 0)
        return quantifier(r, len, max > min ? max : min);
    literal(r);
    return 0;
}

static void bare(struct re *r)
{
    buf_putc(r->out, r->p.p[r->i++]);
    r->atom = 0;
    r->quantified = false;
}

static void any_char(struct re *r)
{
    r->i++;
    begin_atom(r);
    /* Followed by * or +, bytes will do. */
    if (peek(r, 0) == '*' || peek(r, 0) == '+')
        buf_putc(r->out, '.');
    else
        buf_puts(r->out, "([\x01-\x7f]|" MULTIBYTE ")");
}

static int step(struct re *r)
{
    switch (peek(r, 0)) {
    case '\\':
        return escape(r);
    case '[':
        return class(r);
    case '(':
        return open_group(r);
    case ')':
        return close_group(r);
    case '*':
    case '+':
    case '?':
        return quantifier(r, 1, 1);
    case '{':
        return brace(r);
    case '.':
        any_char(r);
        return 0;
    case '|':
    case '^':
    case '$':
        bare(r);
        return 0;
    case '\0':
        return bad(r, "NUL", r->i);
    default:
        literal(r);
        return 0;
    }
}

/* (?i), (?s), (?is) at the very start. */
static bool leading_flags(struct re *r, bool *icase)
{
    size_t i = 2;
    bool fold = false;
    if (peek(r, 0) != '(' || peek(r, 1) != '?')
        return false;
    for (; peek(r, i) == 'i' || peek(r, i) == 's'; i++)
        fold |= peek(r, i) == 'i';
    if (i == 2 || peek(r, i) != ')')
        return false;
    r->i += i + 1;
    *icase |= fold;
    return true;
}

int re2_to_ere(struct slice pattern, struct buf *out, bool *ret_icase, struct err *e)
{
    struct re r = {.p = pattern, .out = out, .e = e, .group[0].repeat = 1};
    bool icase = false;
    if (pattern.len > RE2_PATTERN_MAX)
        return err_set(e, -EINVAL, "regular expression: longer than %d bytes", RE2_PATTERN_MAX);
    buf_puts(out, "^(");
    while (leading_flags(&r, &icase))
        ;
    while (r.i < pattern.len) {
        int rc = step(&r);
        if (rc < 0)
            return rc;
    }
    if (r.depth > 0)
        return bad(&r, "missing )", pattern.len);
    buf_puts(out, ")$");
    if (out->failed)
        return err_set(e, -ENOMEM, "regular expression: out of memory");
    *ret_icase = icase;
    return 0;
}
