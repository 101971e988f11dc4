#include "common/json.h"

#include <errno.h>

/* ---- well-formedness ---- */

enum expect {
    A_VALUE = 1,
    A_VALUE_OR_END, /* after '[' */
    A_KEY,
    A_KEY_OR_END, /* after '{' */
    A_COMMA_OR_END,
    NOTHING, /* the text is complete */
};

struct scan {
    const unsigned char *p;
    size_t n, i;
    const char *why; /* set by what refuses */
    uint32_t depth;
    unsigned char object[JSON_DEPTH_MAX / 8 + 1]; /* bit per level: object or array */
};

static bool refuse(struct scan *s, const char *why)
{
    s->why = why;
    return false;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_one_of(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A sequence of two to four bytes: shortest form, no surrogates, nothing past U+10FFFF. */
static bool scan_utf8(struct scan *s)
{
    const unsigned char *p = s->p + s->i;
    unsigned char lo = 0x80, hi = 0xbf;
    size_t follow = 0;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        follow = 1;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        follow = 2;
        lo = p[0] == 0xe0 ? 0xa0 : lo;
        hi = p[0] == 0xed ? 0x9f : hi;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        follow = 3;
        lo = p[0] == 0xf0 ? 0x90 : lo;
        hi = p[0] == 0xf4 ? 0x8f : hi;
    } else {
        return refuse(s, "invalid UTF-8");
    }
    if (s->n - s->i <= follow || p[1] < lo || p[1] > hi)
        return refuse(s, "invalid UTF-8");
    for (size_t k = 2; k <= follow; k++)
        if (p[k] < 0x80 || p[k] > 0xbf)
            return refuse(s, "invalid UTF-8");
    s->i += follow + 1;
    return true;
}

static bool scan_escape(struct scan *s)
{
    const unsigned char *p = s->p + s->i; /* at the backslash */
    size_t left = s->n - s->i;
    if (left < 2)
        return refuse(s, "unfinished string");
    if (p[1] == 'u') {
        if (left < 6 || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
            return refuse(s, "invalid \\u escape");
        s->i += 6;
        return true;
    }
    if (!is_one_of("\"\\/bfnrt", (char)p[1]))
        return refuse(s, "invalid escape");
    s->i += 2;
    return true;
}

static bool scan_string(struct scan *s)
{
    s->i++;
    while (s->i < s->n) {
        unsigned char c = s->p[s->i];
        if (c == '"') {
            s->i++;
            return true;
        }
        if (c < 0x20)
            return refuse(s, "control character in a string");
        if (c == '\\') {
            if (!scan_escape(s))
                return false;
        } else if (c >= 0x80) {
            if (!scan_utf8(s))
                return false;
        } else {
            s->i++;
        }
    }
    return refuse(s, "unfinished string");
}

static bool scan_digits(struct scan *s)
{
    size_t from = s->i;
    while (s->i < s->n && is_digit(s->p[s->i]))
        s->i++;
    return s->i > from ? true : refuse(s, "invalid number");
}

static bool scan_number(struct scan *s)
{
    if (s->p[s->i] == '-')
        s->i++;
    if (s->i < s->n && s->p[s->i] == '0')
        s->i++; /* nothing but a fraction or exponent may follow a leading zero */
    else if (!scan_digits(s))
        return false;
    if (s->i < s->n && s->p[s->i] == '.') {
        s->i++;
        if (!scan_digits(s))
            return false;
    }
    if (s->i < s->n && (s->p[s->i] == 'e' || s->p[s->i] == 'E')) {
        s->i++;
        if (s->i < s->n && (s->p[s->i] == '+' || s->p[s->i] == '-'))
            s->i++;
        if (!scan_digits(s))
            return false;
    }
    return true;
}

static bool scan_literal(struct scan *s, const char *word)
{
    size_t len = strlen(word);
    if (s->n - s->i < len || memcmp(s->p + s->i, word, len) != 0)
        return refuse(s, "unexpected character");
    s->i += len;
    return true;
}

static bool scan_scalar(struct scan *s)
{
    unsigned char c = s->p[s->i];
    switch (c) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    default:
        return c == '-' || is_digit(c) ? scan_number(s) : refuse(s, "unexpected character");
    }
}

static bool in_object(const struct scan *s)
{
    return s->object[s->depth / 8] >> (s->depth % 8) & 1;
}

static enum expect scan_open(struct scan *s, bool object)
{
    s->i++;
    s->depth++;
    unsigned bit = 1U << (s->depth % 8);
    unsigned char *byte = &s->object[s->depth / 8];
    *byte = (unsigned char)(object ? *byte | bit : *byte & ~bit);
    return object ? A_KEY_OR_END : A_VALUE_OR_END;
}

static enum expect after_value(const struct scan *s)
{
    return s->depth == 0 ? NOTHING : A_COMMA_OR_END;
}

static enum expect scan_close(struct scan *s)
{
    s->i++;
    s->depth--;
    return after_value(s);
}

/* "key" and its colon. */
static enum expect scan_key(struct scan *s)
{
    if (s->p[s->i] != '"') {
        s->why = "expected a key";
        return 0;
    }
    if (!scan_string(s))
        return 0;
    while (s->i < s->n && is_space(s->p[s->i]))
        s->i++;
    if (s->i == s->n || s->p[s->i] != ':') {
        s->why = "expected ':'";
        return 0;
    }
    s->i++;
    return A_VALUE;
}

/* One token; what may follow it, or 0 when it may not stand here. */
static enum expect scan_token(struct scan *s, enum expect now, uint32_t max_depth)
{
    unsigned char c = s->p[s->i];
    switch (now) {
    case A_COMMA_OR_END:
        if (c == ',') {
            s->i++;
            return in_object(s) ? A_KEY : A_VALUE;
        }
        if (c == (in_object(s) ? '}' : ']'))
            return scan_close(s);
        s->why = in_object(s) ? "expected ',' or '}'" : "expected ',' or ']'";
        return 0;
    case A_KEY_OR_END:
        return c == '}' ? scan_close(s) : scan_key(s);
    case A_KEY:
        return scan_key(s);
    case A_VALUE_OR_END:
        if (c == ']')
            return scan_close(s);
        break;
    case A_VALUE:
        break;
    case NOTHING:
        s->why = "bytes after the end";
        return 0;
    }
    if (c == '{' || c == '[') {
        if (s->depth >= max_depth)
            return 0; /* the caller knows by the missing reason */
        return scan_open(s, c == '{');
    }
    return scan_scalar(s) ? after_value(s) : 0;
}

int json_scan(struct slice text, const struct json_limits *l, struct err *e)
{
    struct scan s = {.p = (const unsigned char *)text.p, .n = text.len};
    uint32_t max_depth = l->max_depth < JSON_DEPTH_MAX ? l->max_depth : JSON_DEPTH_MAX;
    enum expect expect = A_VALUE;
    for (;;) {
        while (s.i < s.n && is_space(s.p[s.i]))
            s.i++;
        if (s.i == s.n)
            break;
        expect = scan_token(&s, expect, max_depth);
        if (expect == 0 && !s.why)
            return err_set(e, -E2BIG, "nested deeper than %u at byte %zu", max_depth, s.i);
        if (expect == 0)
            return err_set(e, -EBADMSG, "%s at byte %zu", s.why, s.i);
    }
    if (expect != NOTHING)
        return err_set(e, -EBADMSG, "%s at byte %zu", s.n == 0 ? "empty text" : "unfinished text",
                       s.i);
    return 0;
}

/* ---- looking into scanned text; every step is bounded by the slice, whatever it holds ---- */

static size_t skip_space(struct slice s, size_t i)
{
    while (i < s.len && is_space((unsigned char)s.p[i]))
        i++;
    return i;
}

/* Past the string that starts at i: behind the first quote that no odd number of backslashes
 * precedes. */
static size_t skip_string(struct slice s, size_t i)
{
    const char *const inside = s.p + i + 1, *const end = s.p + s.len;
    for (const char *q = inside; q < end; q++) {
        size_t escapes = 0;
        q = memchr(q, '"', (size_t)(end - q));
        if (!q)
            break;
        while (q - escapes > inside && *(q - escapes - 1) == '\\')
            escapes++;
        if (escapes % 2 == 0)
            return (size_t)(q - s.p) + 1;
    }
    return s.len;
}

static bool opens_or_closes(unsigned char c)
{
    static const bool marks[256] = {
        ['"'] = true, ['{'] = true, ['['] = true, ['}'] = true, [']'] = true};
    return marks[c];
}

/* Past the value that starts at i. */
static size_t skip_value(struct slice s, size_t i)
{
    size_t depth = 0;
    while (i < s.len) {
        char c = s.p[i];
        if (c == '"') {
            i = skip_string(s, i);
        } else if (c == '{' || c == '[') {
            depth++;
            i++;
            continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return i;
            depth--;
            i++;
        } else if (depth > 0) {
            while (i < s.len && !opens_or_closes((unsigned char)s.p[i]))
                i++;
            continue;
        } else {
            while (i < s.len && !is_space((unsigned char)s.p[i]) && !is_one_of(",]}:", s.p[i]))
                i++;
        }
        if (depth == 0)
            return i;
    }
    return s.len;
}

static struct slice cut(struct slice s, size_t from, size_t to)
{
    return (struct slice){s.p + from, to - from};
}

/* Start of the next element or member at *pos; false at the end or when `s` is not that kind of
 * container. */
static bool next_item(struct slice s, char open, size_t *pos)
{
    size_t i = skip_space(s, *pos);
    if (*pos == 0) {
        if (i >= s.len || s.p[i] != open)
            return false;
        i = skip_space(s, i + 1);
    } else if (i < s.len && s.p[i] == ',') {
        i = skip_space(s, i + 1);
    }
    if (i >= s.len || s.p[i] == ']' || s.p[i] == '}' || s.p[i] == ',' || s.p[i] == ':')
        return false;
    *pos = i;
    return true;
}

bool json_next(struct slice array, size_t *pos, struct slice *ret)
{
    if (!next_item(array, '[', pos))
        return false;
    size_t from = *pos;
    *pos = skip_value(array, from);
    *ret = cut(array, from, *pos);
    return true;
}

bool json_next_member(struct slice object, size_t *pos, struct slice *key, struct slice *value)
{
    if (!next_item(object, '{', pos) || object.p[*pos] != '"')
        return false;
    size_t from = *pos;
    size_t end = skip_string(object, from);
    size_t i = skip_space(object, end);
    if (i >= object.len || object.p[i] != ':')
        return false;
    i = skip_space(object, i + 1);
    *pos = skip_value(object, i);
    *key = cut(object, from, end);
    *value = cut(object, i, *pos);
    return true;
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        uint32_t digit = is_digit(c) ? (uint32_t)c - '0' : (c | 0x20U) - 'a' + 10;
        v = v << 4 | (digit & 15);
    }
    return v;
}

#define REPLACEMENT 0xfffdU

/* The \u escape at s.p[i], with the second half of a surrogate pair when there is one. *ret_used
 * bytes belong to it. */
static uint32_t unescape_u(struct slice s, size_t i, size_t *ret_used)
{
    *ret_used = s.len - i < 6 ? s.len - i : 6;
    if (s.len - i < 6)
        return REPLACEMENT;
    uint32_t c = hex4(s.p + i + 2);
    if (c == 0 || (c >= 0xdc00 && c <= 0xdfff))
        return REPLACEMENT;
    if (c < 0xd800 || c > 0xdbff)
        return c;
    if (s.len - i < 12 || s.p[i + 6] != '\\' || s.p[i + 7] != 'u')
        return REPLACEMENT;
    uint32_t low = hex4(s.p + i + 8);
    if (low < 0xdc00 || low > 0xdfff)
        return REPLACEMENT;
    *ret_used = 12;
    return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

static size_t put_utf8(char *out, uint32_t c)
{
    unsigned char *o = (unsigned char *)out;
    if (c < 0x80) {
        o[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        o[0] = (unsigned char)(0xc0 | c >> 6);
        o[1] = (unsigned char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        o[0] = (unsigned char)(0xe0 | c >> 12);
        o[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        o[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    o[0] = (unsigned char)(0xf0 | c >> 18);
    o[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    o[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    o[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

/* The character at s.p[*i] of a string's inside, as bytes in out[4]; advances *i. */
static size_t next_char(struct slice s, size_t *i, char out[4])
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (s.p[*i] != '\\' || *i + 1 >= s.len) {
        out[0] = s.p[(*i)++];
        return 1;
    }
    if (s.p[*i + 1] == 'u') {
        size_t used = 0;
        uint32_t c = unescape_u(s, *i, &used);
        *i += used;
        return put_utf8(out, c);
    }
    const char *at = memchr(names, s.p[*i + 1], sizeof(names) - 1);
    out[0] = at ? bytes[at - names] : s.p[*i + 1];
    *i += 2;
    return 1;
}

struct slice json_text(struct slice raw, struct arena *a)
{
    if (raw.len == 0 || is_one_of("{[n", raw.p[0]))
        return (struct slice){0};
    if (raw.p[0] != '"')
        return raw;
    struct slice inside = {raw.p + 1, raw.len >= 2 ? raw.len - 2 : 0};
    if (inside.len == 0)
        return (struct slice){"", 0};
    char *out =
        arena_alloc(a, inside.len + 4, 1); /* an escape is never shorter than what it stands for */
    if (!out)
        return (struct slice){0};
    const char *escape = memchr(inside.p, '\\', inside.len);
    size_t n = escape ? (size_t)(escape - inside.p) : inside.len;
    memcpy(out, inside.p, n);
    for (size_t i = n; i < inside.len;) {
        char c[4];
        size_t len = next_char(inside, &i, c);
        memcpy(out + n, c, len);
        n += len;
    }
    return (struct slice){out, n};
}

/* Does the raw key (with quotes) spell name[0..len)? Escapes count as what they stand for, as they
 * do for the tree. */
static bool key_is(struct slice raw, const char *name, size_t len)
{
    struct slice inside = {raw.p + 1, raw.len >= 2 ? raw.len - 2 : 0};
    if (!memchr(inside.p, '\\', inside.len))
        return inside.len == len && memcmp(inside.p, name, len) == 0;
    size_t at = 0;
    for (size_t i = 0; i < inside.len;) {
        char c[4];
        size_t n = next_char(inside, &i, c);
        if (n > len - at || memcmp(name + at, c, n) != 0)
            return false;
        at += n;
    }
    return at == len;
}

static struct slice member(struct slice object, const char *name, size_t len)
{
    size_t pos = 0;
    struct slice key, value, last = {0};
    while (json_next_member(object, &pos, &key, &value))
        if (key_is(key, name, len))
            last = value;
    return last;
}

struct slice json_at(struct slice text, const char *path)
{
    size_t from = skip_space(text, 0);
    if (from == text.len)
        return (struct slice){0};
    /* What lies behind the value is not looked at on the way to a member of it. */
    struct slice at = cut(text, from, *path ? text.len : skip_value(text, from));
    while (*path && at.p) {
        size_t len = strcspn(path, ".");
        at = member(at, path, len);
        path += len + (path[len] == '.');
    }
    return at;
}

void json_members(struct slice object, const char *const *names, struct slice *ret, size_t n)
{
    size_t pos = 0;
    struct slice key, value;
    memset(ret, 0, n * sizeof(*ret));
    while (json_next_member(object, &pos, &key, &value))
        for (size_t i = 0; i < n; i++)
            if (key_is(key, names[i], strlen(names[i]))) {
                ret[i] = value;
                break;
            }
}

size_t json_count(struct slice text, const char *path)
{
    struct slice array = json_at(text, path), item;
    size_t pos = 0, n = 0;
    while (json_next(array, &pos, &item))
        n++;
    return n;
}
