#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"

static void decref(void *tree)
{
    json_decref(tree);
}

/* The value of \uXXXX at p, or -1. */
static int32_t escape_at(struct slice s, size_t i)
{
    if (s.len - i < 6 || s.p[i] != '\\' || s.p[i + 1] != 'u')
        return -1;
    char hex[5] = {0}, *end = NULL;
    memcpy(hex, s.p + i + 2, 4);
    long v = strtol(hex, &end, 16);
    return *end ? -1 : (int32_t)v;
}

static bool is_high(int32_t c)
{
    return c >= 0xd800 && c <= 0xdbff;
}

static bool is_low(int32_t c)
{
    return c >= 0xdc00 && c <= 0xdfff;
}

/*
 * The first \u escape from `i` on that jansson refuses (NUL, half of a surrogate pair); s.len when
 * there is none.
 */
static size_t bad_escape(struct slice s, size_t i)
{
    while (i < s.len) {
        const char *at = memchr(s.p + i, '\\', s.len - i);
        if (!at)
            return s.len;
        i = (size_t)(at - s.p);
        int32_t c = escape_at(s, i);
        if (c == 0 || is_low(c))
            return i;
        if (!is_high(c)) {
            i += 2;
            continue;
        }
        if (!is_low(escape_at(s, i + 6 < s.len ? i + 6 : s.len)))
            return i;
        i += 12;
    }
    return s.len;
}

/* `text`, or a copy of the same length with U+FFFD where jansson would refuse; {NULL,0} past the
 * cap. */
static struct slice mended(struct slice text, struct arena *a)
{
    size_t bad = bad_escape(text, 0);
    if (bad >= text.len)
        return text;
    char *copy = arena_strndup(a, text.p, text.len);
    if (!copy)
        return (struct slice){0};
    static const char replacement[] = {'\\', 'u', 'f', 'f', 'f', 'd'};
    for (; bad < text.len; bad = bad_escape(text, bad + sizeof(replacement)))
        memcpy(copy + bad, replacement, sizeof(replacement));
    return (struct slice){copy, text.len};
}

static json_t *load(struct slice text, struct arena *a, struct err *e)
{
    struct slice good = mended(text, a);
    if (!good.p) {
        (void)err_set(e, -ENOMEM, "JSON: too large");
        return NULL;
    }
    json_error_t why;
    json_t *tree = json_loadb(good.p, good.len, JSON_DECODE_ANY, &why);
    if (!tree && json_error_code(&why) == json_error_numeric_overflow)
        tree = json_loadb(good.p, good.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &why);
    if (!tree)
        (void)err_set(e, -EBADMSG, "JSON: %s at byte %d", why.text, why.position);
    return tree;
}

json_t *json_tree(struct slice text, struct arena *a, struct err *e)
{
    json_t *tree = load(text, a, e);
    if (tree && arena_defer(a, decref, tree) < 0) {
        (void)err_set(e, -ENOMEM, "JSON: too large");
        return NULL;
    }
    return tree;
}

/*
 * jansson's memory. While `lender` is set, this thread builds a tree that is the arena's, and what
 * it frees meanwhile is of that tree; at all other times blocks are malloc's, before and after the
 * functions were given to jansson alike. Where the arena ends, blocks go on from malloc until the
 * tree is given up: jansson 2.14 writes past a string whose buffer could not grow.
 */
struct beyond {
    struct beyond *next;
    alignas(max_align_t) char data[];
};
static _Thread_local struct arena *lender;
static _Thread_local struct beyond *beyond;

static void *take_memory(size_t n)
{
    if (!lender)
        return malloc(n);
    void *p = beyond ? NULL : arena_alloc(lender, 1, n);
    struct beyond *b = p ? NULL : malloc(sizeof(*b) + n);
    if (!b)
        return p;
    b->next = beyond;
    beyond = b;
    return b->data;
}

static void give_memory(void *p)
{
    if (!lender)
        free(p);
}

static void set_memory(void)
{
    json_set_alloc_funcs(take_memory, give_memory);
}

json_t *json_lent(struct slice text, struct arena *a, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_memory);
    lender = a;
    json_t *tree = load(text, a, e);
    lender = NULL;
    if (beyond) {
        (void)err_set(e, -ENOMEM, "JSON: too large");
        tree = NULL;
    }
    while (beyond) {
        struct beyond *b = beyond;
        beyond = b->next;
        free(b);
    }
    return tree;
}

/* The shortest text that reads back as the same number. */
static struct slice real_text(double v, struct arena *a)
{
    char text[40];
    (void)snprintf(text, sizeof(text), "%.15g", v);
    if (strtod(text, NULL) < v || strtod(text, NULL) > v)
        (void)snprintf(text, sizeof(text), "%.17g", v);
    return arena_slice(a, slice_of(text));
}

struct slice json_value_text(const json_t *v, struct arena *a)
{
    static const struct slice none = {"", 0};
    struct slice s = none;
    if (!v)
        return none;
    switch (json_typeof(v)) {
    case JSON_STRING:
        return (struct slice){json_string_value(v), json_string_length(v)};
    case JSON_INTEGER: {
        const char *text = arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return text ? slice_of(text) : none;
    }
    case JSON_REAL:
        s = real_text(json_real_value(v), a);
        return s.p ? s : none;
    case JSON_TRUE:
        return SLICE_LIT("true");
    case JSON_FALSE:
        return SLICE_LIT("false");
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        break;
    }
    return none;
}

struct slice json_str(const json_t *object, const char *key, struct arena *a)
{
    return json_value_text(json_object_get(object, key), a);
}
