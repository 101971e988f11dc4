#include "common/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

/* Far above any real file; what they stop is an alias bomb. */
#define NODE_MAX 200000
#define DEPTH_MAX 64
#define TAG_PREFIX "tag:yaml.org,2002:"

struct loader {
    yaml_document_t *doc;
    const char *file;
    struct slice text;
    struct arena *a;
    size_t nodes;
    struct err *e;
};

enum yaml_kind yaml_kind(const struct yaml *n)
{
    return n ? n->kind : YAML_ABSENT;
}

const char *yaml_scalar(const struct yaml *n)
{
    return n && n->kind == YAML_SCALAR ? n->scalar : NULL;
}

size_t yaml_count(const struct yaml *n)
{
    return n ? n->n : 0;
}

const struct yaml *yaml_at(const struct yaml *n, size_t i)
{
    return i < yaml_count(n) ? n->v[i].value : NULL;
}

const char *yaml_key(const struct yaml *n, size_t i)
{
    return i < yaml_count(n) ? n->v[i].key : NULL;
}

static struct yaml_member *member_find(const struct yaml *n, const char *key)
{
    if (yaml_kind(n) != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < n->n; i++)
        if (strcmp(n->v[i].key, key) == 0)
            return &n->v[i];
    return NULL;
}

const struct yaml *yaml_get(const struct yaml *n, const char *key)
{
    const struct yaml_member *m = member_find(n, key);

    return m && m->value->kind != YAML_ABSENT ? m->value : NULL;
}

int yaml_err(const struct yaml *n, struct err *e, const char *fmt, ...)
{
    char msg[sizeof(e->msg)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (!n)
        return err_set(e, -EINVAL, "%s", msg);
    return err_set(e, -EINVAL, "%s:%u:%u: %s", n->file, n->line, n->column, msg);
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Levenshtein, one row. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[65], a_len = strlen(a), b_len = strlen(b);

    if (a_len > 64 || b_len > 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            const size_t above = row[j];

            row[j] = min3(above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1]));
            corner = above;
        }
    }
    return row[b_len];
}

struct nearest nearest_to(const char *word)
{
    return (struct nearest){.word = word, .distance = 1 + strlen(word) / 3};
}

void nearest_try(struct nearest *n, const char *candidate)
{
    const size_t d = edit_distance(n->word, candidate);

    if (d >= strlen(n->word)) /* nothing of it would be left */
        return;
    if (d < n->distance || (d == n->distance && !n->best)) {
        n->best = candidate;
        n->distance = d;
    }
}

int yaml_only(const struct yaml *n, const char *const *known, struct err *e)
{
    for (size_t i = 0; i < yaml_count(n); i++) {
        const struct yaml_member *m = &n->v[i];
        struct nearest near = nearest_to(m->key ? m->key : "");
        size_t k = 0;

        if (!m->key)
            return yaml_err(n, e, "a list stands where a map is expected");
        while (known[k] && strcmp(known[k], m->key) != 0)
            nearest_try(&near, known[k++]);
        if (known[k])
            continue;
        return err_set(e, -EINVAL, "%s:%u:%u: unknown key \"%s\"%s%s%s", n->file, m->line,
                       m->column, m->key, near.best ? "; did you mean \"" : "",
                       near.best ? near.best : "", near.best ? "\"?" : "");
    }
    return 0;
}

/* --- loading --- */

static int convert(struct loader *l, int id, unsigned depth, const struct yaml **ret);

static int out_of_memory(struct loader *l)
{
    return err_set(l->e, -ENOMEM, "%s: too large", l->file);
}

static bool is_null(const yaml_node_t *n)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcmp((const char *)n->data.scalar.value, words[i]) == 0)
            return true;
    return false;
}

static int convert_scalar(struct loader *l, const yaml_node_t *from, struct yaml *to)
{
    const char *text = (const char *)from->data.scalar.value;

    if (memchr(text, '\0', from->data.scalar.length))
        return yaml_err(to, l->e, "a NUL character in a string");
    to->kind = is_null(from) ? YAML_ABSENT : YAML_SCALAR;
    to->scalar = arena_strndup(l->a, text, from->data.scalar.length);
    return to->scalar ? 0 : out_of_memory(l);
}

static int convert_seq(struct loader *l, const yaml_node_t *from, unsigned depth, struct yaml *to)
{
    const yaml_node_item_t *item = from->data.sequence.items.start;
    const size_t n = (size_t)(from->data.sequence.items.top - item);

    to->kind = YAML_SEQ;
    to->v = arena_array(l->a, n + 1, struct yaml_member);
    if (!to->v)
        return out_of_memory(l);
    for (; to->n < n; to->n++) {
        struct yaml_member *m = &to->v[to->n];
        const int r = convert(l, item[to->n], depth + 1, &m->value);

        if (r < 0)
            return r;
        m->line = m->value->line;
        m->column = m->value->column;
    }
    return 0;
}

/* `<<: *base`: what the map itself says wins, then what came first. */
static int merge_map(struct loader *l, const struct yaml *base, struct yaml *to)
{
    struct yaml_member *v;

    if (base->kind != YAML_MAP)
        return yaml_err(base, l->e, "\"<<\" takes a map or a list of maps");
    v = arena_array(l->a, to->n + base->n + 1, struct yaml_member);
    if (!v)
        return out_of_memory(l);
    if (to->n)
        memcpy(v, to->v, to->n * sizeof(*v));
    to->v = v;
    for (size_t i = 0; i < base->n; i++)
        if (!member_find(to, base->v[i].key))
            v[to->n++] = base->v[i];
    return 0;
}

static int merge(struct loader *l, int id, unsigned depth, struct yaml *to)
{
    const struct yaml *base;
    int r = convert(l, id, depth + 1, &base);

    if (r < 0 || base->kind != YAML_SEQ)
        return r < 0 ? r : merge_map(l, base, to);
    for (size_t i = 0; i < base->n && r == 0; i++)
        r = merge_map(l, base->v[i].value, to);
    return r;
}

static bool is_merge_key(const yaml_node_t *key)
{
    return key->type == YAML_SCALAR_NODE && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           strcmp((const char *)key->data.scalar.value, "<<") == 0;
}

static int add_member(struct loader *l, const yaml_node_t *key, int value, unsigned depth,
                      struct yaml *to)
{
    const struct yaml at = {.file = l->file,
                            .line = (uint32_t)key->start_mark.line + 1,
                            .column = (uint32_t)key->start_mark.column + 1};
    struct yaml_member *m = &to->v[to->n];
    const struct yaml_member *first;
    const char *name;
    int r;

    if (key->type != YAML_SCALAR_NODE)
        return yaml_err(&at, l->e, "a key must be a string");
    name = (const char *)key->data.scalar.value;
    if (memchr(name, '\0', key->data.scalar.length))
        return yaml_err(&at, l->e, "a NUL character in a key");
    first = member_find(to, name);
    if (first)
        return yaml_err(&at, l->e, "duplicate key \"%s\" (first in line %u)", name, first->line);
    m->key = arena_strndup(l->a, name, key->data.scalar.length);
    if (!m->key)
        return out_of_memory(l);
    m->line = at.line;
    m->column = at.column;
    r = convert(l, value, depth + 1, &m->value);
    if (r == 0)
        to->n++;
    return r;
}

static int convert_map(struct loader *l, const yaml_node_t *from, unsigned depth, struct yaml *to)
{
    const yaml_node_pair_t *pair = from->data.mapping.pairs.start;
    const yaml_node_pair_t *top = from->data.mapping.pairs.top;
    int r = 0;

    to->kind = YAML_MAP;
    to->v = arena_array(l->a, (size_t)(top - pair) + 1, struct yaml_member);
    if (!to->v)
        return out_of_memory(l);
    for (const yaml_node_pair_t *p = pair; p < top && r == 0; p++) {
        const yaml_node_t *key = yaml_document_get_node(l->doc, p->key);

        if (!is_merge_key(key))
            r = add_member(l, key, p->value, depth, to);
    }
    for (const yaml_node_pair_t *p = pair; p < top && r == 0; p++)
        if (is_merge_key(yaml_document_get_node(l->doc, p->key)))
            r = merge(l, p->value, depth, to);
    return r;
}

static int convert(struct loader *l, int id, unsigned depth, const struct yaml **ret)
{
    const yaml_node_t *from = yaml_document_get_node(l->doc, id);
    struct yaml *to = arena_new_of(l->a, struct yaml);
    const char *tag = (const char *)from->tag;
    int r;

    if (!to)
        return out_of_memory(l);
    to->file = l->file;
    to->line = (uint32_t)from->start_mark.line + 1;
    to->column = (uint32_t)from->start_mark.column + 1;
    if (depth > DEPTH_MAX)
        return yaml_err(to, l->e, "nested deeper than %d", DEPTH_MAX);
    if (++l->nodes > NODE_MAX)
        return yaml_err(to, l->e, "more than %d values once aliases are expanded", NODE_MAX);
    if (tag && strncmp(tag, TAG_PREFIX, strlen(TAG_PREFIX)) != 0)
        return yaml_err(to, l->e, "the tag %s is not known here", tag);

    if (from->type == YAML_SCALAR_NODE)
        r = convert_scalar(l, from, to);
    else if (from->type == YAML_SEQUENCE_NODE)
        r = convert_seq(l, from, depth, to);
    else
        r = convert_map(l, from, depth, to);
    if (r == 0)
        *ret = to;
    return r;
}

/* Whether a line of the text is indented by a tab. */
static bool is_tabbed(struct slice text, size_t line)
{
    const char *at = text.p, *end = text.p + text.len;

    while (at && line-- > 0)
        at = (at = memchr(at, '\n', (size_t)(end - at))) ? at + 1 : NULL;
    while (at && at < end && *at == ' ')
        at++;
    return at && at < end && *at == '\t';
}

static int parser_error(const yaml_parser_t *p, const char *file, struct slice text, struct err *e)
{
    if (p->error == YAML_MEMORY_ERROR)
        return err_set(e, -ENOMEM, "%s: out of memory", file);
    if (p->error == YAML_READER_ERROR)
        return err_set(e, -EINVAL, "%s: %s at byte %zu", file, p->problem, p->problem_offset);
    const yaml_mark_t *at = &p->problem_mark;
    if (p->context && p->context_mark.line < at->line)
        return err_set(e, -EINVAL, "%s:%zu:%zu: %s that begins in line %zu: %s", file, at->line + 1,
                       at->column + 1, p->context, p->context_mark.line + 1, p->problem);
    return err_set(e, -EINVAL, "%s:%zu:%zu: %s%s%s%s", file, at->line + 1, at->column + 1,
                   p->context ? p->context : "", p->context ? ": " : "",
                   p->problem ? p->problem : "not YAML",
                   is_tabbed(text, at->line) ? ": indent by spaces, not by a tab" : "");
}

static int load_document(yaml_parser_t *p, struct loader *l, const struct yaml **ret)
{
    yaml_document_t doc;
    const yaml_node_t *root;
    int r = 0;

    if (!yaml_parser_load(p, &doc))
        return parser_error(p, l->file, l->text, l->e);
    l->doc = &doc;
    root = yaml_document_get_root_node(&doc);
    if (root && *ret)
        r = err_set(l->e, -EINVAL, "%s:%zu:%zu: a second document; one is expected", l->file,
                    root->start_mark.line + 1, root->start_mark.column + 1);
    else if (root)
        r = convert(l, 1, 0, ret);
    yaml_document_delete(&doc);
    l->doc = NULL;
    return r < 0 ? r : root != NULL;
}

int yaml_load(const char *file, struct slice text, struct arena *a, const struct yaml **ret,
              struct err *e)
{
    if (!text.p)
        text = SLICE_LIT("");
    struct loader l = {.file = file, .text = text, .a = a, .e = e};
    const struct yaml *root = NULL;
    yaml_parser_t p;
    int r;

    if (!yaml_parser_initialize(&p))
        return err_set(e, -ENOMEM, "%s: out of memory", file);
    yaml_parser_set_input_string(&p, (const unsigned char *)text.p, text.len);
    do
        r = load_document(&p, &l, &root);
    while (r > 0);
    yaml_parser_delete(&p);
    if (r == 0)
        *ret = root;
    return r;
}
