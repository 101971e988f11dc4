#include "common/pick.h"

#include <errno.h>

#include "common/json.h"

#define PICK_DEPTH 4   /* lists within lists, and the like */
#define PARTS_MAX 32   /* of one text */
#define CHOICES_MAX 16 /* of one list */
#define VALUES_MAX 256

enum pick_kind { PICK_TEXT = 1, PICK_FIRST, PICK_LOOKUP };

struct part {
    struct slice literal; /* when there is no pointer */
    const struct pick_pointer *pointer;
};

/* A word of `values`, and what it becomes. */
struct value {
    const char *word, *ours;
    const struct yaml *node;
};

struct pick {
    enum pick_kind kind;
    const struct yaml *node;
    union {
        struct {
            struct part *v;
            size_t n;
        } text;
        struct {
            const struct pick **v;
            size_t n;
        } first;
        struct {
            const struct pick *from;
            const struct value *values; /* the last is `default`, when there is one */
            size_t n;
            const char *otherwise;
        } lookup;
    };
};

static const struct slice none = {"", 0};

static int out_of_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "the configuration is too large");
}

/* ---- pointers ---- */

bool pick_is_pointer(const char *text)
{
    return text[0] == '/' || strcmp(text, ".") == 0 || strncmp(text, "./", 2) == 0;
}

static int parse_pointer(struct conf *c, const struct yaml *node, struct slice text,
                         struct pick_pointer *ret, struct err *e)
{
    struct err why = {0};
    char *copy = conf_alloc(c, text.len + 1, 1);
    if (!copy)
        return out_of_memory(e);
    memcpy(copy, text.p, text.len);
    ret->text = copy;
    ret->of_element = copy[0] == '.';
    int rc = pointer_parse(c, slice_of(copy + ret->of_element), &ret->p, &why);
    if (rc == -EINVAL)
        return yaml_err(node, e, "%s: %s", copy, why.msg);
    return rc < 0 ? out_of_memory(e) : 0;
}

int pick_pointer_load(struct conf *c, const struct yaml *node, struct pick_pointer *ret,
                      struct err *e)
{
    const char *text = yaml_scalar(node);
    if (!text || !pick_is_pointer(text))
        return yaml_err(node, e, "a pointer like /alerts is expected");
    return parse_pointer(c, node, slice_of(text), ret, e);
}

const json_t *pick_pointer_get(const struct pick_pointer *p, const struct pick_scope *at)
{
    return pointer_get(&p->p, p->of_element ? at->element : at->body);
}

/* ---- loading ---- */

static int load(struct conf *c, const struct yaml *node, unsigned depth, const struct pick **ret,
                struct err *e);

static int add_pointer(struct conf *c, struct pick *p, struct slice text, struct err *e)
{
    struct pick_pointer *pointer = conf_alloc(c, 1, sizeof(*pointer));
    if (!pointer)
        return out_of_memory(e);
    p->text.v[p->text.n++] = (struct part){.pointer = pointer};
    return parse_pointer(c, p->node, text, pointer, e);
}

/* "Build {/number}": up to the next brace, or what stands in it. *text is what is left. */
static int add_part(struct conf *c, struct pick *p, const char **text, struct err *e)
{
    const char *from = *text;
    if (*from != '{') {
        const size_t n = strcspn(from, "{");
        p->text.v[p->text.n++] = (struct part){.literal = {from, n}};
        *text = from + n;
        return 0;
    }
    const size_t n = strcspn(++from, "}");
    char *inside = conf_alloc(c, n + 1, 1);
    if (!inside)
        return out_of_memory(e);
    memcpy(inside, from, n);
    if (from[n] != '}' || !pick_is_pointer(inside))
        return yaml_err(p->node, e,
                        "in a text { } holds a pointer, as {/name} does; one that has braces "
                        "of its own is written {text: ...}");
    *text = from + n + 1;
    return add_pointer(c, p, slice_of(inside), e);
}

static int load_text(struct conf *c, const char *text, bool literal, struct pick *p, struct err *e)
{
    p->kind = PICK_TEXT;
    p->text.v = conf_alloc(c, PARTS_MAX, sizeof(*p->text.v));
    if (!p->text.v)
        return out_of_memory(e);
    if (!*text)
        return yaml_err(p->node, e, "a pointer like /build/name, or a text, is expected");
    if (!literal && pick_is_pointer(text))
        return add_pointer(c, p, slice_of(text), e);
    if (literal) {
        p->text.v[p->text.n++] = (struct part){.literal = slice_of(text)};
        return 0;
    }
    while (*text) {
        if (p->text.n == PARTS_MAX)
            return yaml_err(p->node, e, "at most %d pointers and what is between them", PARTS_MAX);
        int rc = add_part(c, p, &text, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int load_first(struct conf *c, const struct yaml *node, unsigned depth, struct pick *p,
                      struct err *e)
{
    const size_t n = yaml_count(node);
    if (n == 0 || n > CHOICES_MAX)
        return yaml_err(node, e,
                        "a list of 1 to %d, of which the first that finds something counts",
                        CHOICES_MAX);
    p->kind = PICK_FIRST;
    p->first.v = conf_alloc(c, n, sizeof(void *));
    if (!p->first.v)
        return out_of_memory(e);
    for (; p->first.n < n; p->first.n++) {
        int rc = load(c, yaml_at(node, p->first.n), depth + 1, &p->first.v[p->first.n], e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int load_values(const struct yaml *node, struct value *v, struct err *e)
{
    for (size_t i = 0; i < yaml_count(node); i++) {
        const struct yaml *ours = yaml_at(node, i);
        if (!yaml_scalar(ours))
            return yaml_err(ours, e, "the text that \"%s\" becomes is expected", yaml_key(node, i));
        v[i] = (struct value){yaml_key(node, i), yaml_scalar(ours), ours};
    }
    return 0;
}

static int load_lookup(struct conf *c, const struct yaml *node, unsigned depth, struct pick *p,
                       struct err *e)
{
    static const char *const known[] = {"from", "values", "default", NULL};
    const struct yaml *values = yaml_get(node, "values"), *otherwise = yaml_get(node, "default");
    int rc = yaml_only(node, known, e);
    if (rc < 0)
        return rc;
    if (values && yaml_kind(values) != YAML_MAP)
        return yaml_err(values, e, "values: a map of the sender's words to ours is expected");
    if (yaml_count(values) > VALUES_MAX)
        return yaml_err(values, e, "values: at most %d words", VALUES_MAX);
    if (otherwise && !yaml_scalar(otherwise))
        return yaml_err(otherwise, e, "default: a text is expected");
    if (!yaml_get(node, "from"))
        return yaml_err(node, e, "{from: /status, values: {...}} is expected, or {text: ...}");
    const size_t n = yaml_count(values);
    struct value *v = conf_alloc(c, n + 1, sizeof(*v));
    if (!v)
        return out_of_memory(e);
    p->kind = PICK_LOOKUP;
    p->lookup.values = v;
    p->lookup.n = n;
    p->lookup.otherwise = yaml_scalar(otherwise);
    v[n] = (struct value){NULL, p->lookup.otherwise, otherwise};
    rc = load_values(values, v, e);
    return rc < 0 ? rc : load(c, yaml_get(node, "from"), depth + 1, &p->lookup.from, e);
}

static int load_map(struct conf *c, const struct yaml *node, unsigned depth, struct pick *p,
                    struct err *e)
{
    static const char *const known[] = {"text", NULL};
    const struct yaml *text = yaml_get(node, "text");
    if (!text)
        return load_lookup(c, node, depth, p, e);
    int rc = yaml_only(node, known, e);
    if (rc < 0)
        return rc;
    if (!yaml_scalar(text))
        return yaml_err(text, e, "text: a text is expected");
    return load_text(c, yaml_scalar(text), true, p, e);
}

static int load(struct conf *c, const struct yaml *node, unsigned depth, const struct pick **ret,
                struct err *e)
{
    struct pick *p = conf_alloc(c, 1, sizeof(*p));
    int rc = -EINVAL;
    if (!p)
        return out_of_memory(e);
    p->node = node;
    if (depth > PICK_DEPTH)
        return yaml_err(node, e, "lists and maps within each other %d deep are the most",
                        PICK_DEPTH);
    switch (yaml_kind(node)) {
    case YAML_SCALAR:
        rc = load_text(c, yaml_scalar(node), false, p, e);
        break;
    case YAML_SEQ:
        rc = load_first(c, node, depth, p, e);
        break;
    case YAML_MAP:
        rc = load_map(c, node, depth, p, e);
        break;
    case YAML_ABSENT:
        rc = yaml_err(node, e, "a pointer like /build/name, or a text, is expected");
        break;
    }
    if (rc == 0)
        *ret = p;
    return rc;
}

int pick_load(struct conf *c, const struct yaml *node, const struct pick **ret, struct err *e)
{
    return load(c, node, 0, ret, e);
}

/* ---- what it can say by itself ---- */

static bool is_literal(const struct pick *p)
{
    return p->kind == PICK_TEXT && p->text.n == 1 && !p->text.v[0].pointer;
}

bool pick_is_constant(const struct pick *p)
{
    switch (p->kind) {
    case PICK_TEXT:
        return is_literal(p);
    case PICK_FIRST:
        return pick_is_constant(p->first.v[0]);
    case PICK_LOOKUP:
        return pick_is_constant(p->lookup.from);
    }
    return false;
}

static int check_word(const struct yaml *node, struct slice word, bool (*known)(struct slice word),
                      const char *expected, struct err *e)
{
    if (known(word))
        return 0;
    return yaml_err(node, e, "%s is expected, not \"%.*s\"", expected,
                    (int)(word.len < 40 ? word.len : 40), word.p);
}

int pick_words(const struct pick *p, bool (*known)(struct slice word), const char *expected,
               struct err *e)
{
    int rc = 0;
    switch (p->kind) {
    case PICK_TEXT:
        return is_literal(p) ? check_word(p->node, p->text.v[0].literal, known, expected, e) : 0;
    case PICK_FIRST:
        for (size_t i = 0; i < p->first.n && rc == 0; i++)
            rc = pick_words(p->first.v[i], known, expected, e);
        return rc;
    case PICK_LOOKUP:
        for (size_t i = 0; i <= p->lookup.n && rc == 0; i++)
            if (p->lookup.values[i].ours)
                rc = check_word(p->lookup.values[i].node, slice_of(p->lookup.values[i].ours), known,
                                expected, e);
        return rc;
    }
    return rc;
}

/* ---- picking ---- */

static struct slice cut(struct decoder *d, struct slice s)
{
    s = source_cut(s, d->lim->annotation_value, d->a, &d->truncated);
    d->failed |= !s.p;
    return s.p ? s : none;
}

static struct slice part_text(struct decoder *d, const struct part *part,
                              const struct pick_scope *at)
{
    if (!part->pointer)
        return cut(d, part->literal);
    const json_t *v = pick_pointer_get(part->pointer, at);
    struct slice s = json_value_text(v, d->a);
    d->failed |= s.len == 0 && json_is_number(v);
    return cut(d, s);
}

static struct slice joined(struct decoder *d, const struct pick *p, const struct pick_scope *at)
{
    struct slice text[PARTS_MAX];
    size_t len = 0;
    for (size_t i = 0; i < p->text.n; i++) {
        text[i] = part_text(d, &p->text.v[i], at);
        if (text[i].len == 0)
            return none;
        len += text[i].len;
    }
    if (p->text.n == 1)
        return text[0];
    char *all = arena_alloc(d->a, len + 1, 1);
    if (!all) {
        d->failed = true;
        return none;
    }
    len = 0;
    for (size_t i = 0; i < p->text.n; i++) {
        memcpy(all + len, text[i].p, text[i].len);
        len += text[i].len;
    }
    return cut(d, (struct slice){all, len});
}

static struct slice translated(const struct pick *p, struct slice word)
{
    for (size_t i = 0; i < p->lookup.n && word.len > 0; i++)
        if (slice_is(word, p->lookup.values[i].word))
            return slice_of(p->lookup.values[i].ours);
    return p->lookup.otherwise && word.len > 0 ? slice_of(p->lookup.otherwise) : word;
}

struct slice pick_text(struct decoder *d, const struct pick *p, const struct pick_scope *at)
{
    struct slice s = none;
    switch (p->kind) {
    case PICK_TEXT:
        return joined(d, p, at);
    case PICK_FIRST:
        for (size_t i = 0; i < p->first.n && s.len == 0; i++)
            s = pick_text(d, p->first.v[i], at);
        return s;
    case PICK_LOOKUP:
        return cut(d, translated(p, pick_text(d, p->lookup.from, at)));
    }
    return s;
}

/* ---- saying why ---- */

void pick_place(const struct pick_scope *at, bool of_element, struct buf *b)
{
    if (of_element && at->each)
        buf_printf(b, "%s/%zu", strcmp(at->each, ".") == 0 ? "" : at->each, at->index);
    else
        buf_puts(b, "the body");
}

static const char *what_is(const json_t *v)
{
    return json_is_object(v)   ? "an object"
           : json_is_array(v)  ? "an array"
           : json_is_null(v)   ? "null"
           : json_is_string(v) ? "an empty text"
                               : "nothing";
}

/* Once each, however many texts of a list begin with it. */
static void say(const struct pick_pointer *p, const json_t *v, const struct pick_scope *at,
                struct buf *b)
{
    CLEANUP(buf_release) struct buf one = BUF_INIT(b->max);
    buf_printf(&one, "%s finds %s in ", p->text, what_is(v));
    pick_place(at, p->of_element, &one);
    if (!strstr(buf_str(b), buf_str(&one)))
        buf_printf(b, "%s%s", b->len > 0 ? ", " : "", buf_str(&one));
}

static void explain_text(const struct pick *p, const struct pick_scope *at, struct buf *b)
{
    for (size_t i = 0; i < p->text.n; i++) {
        const struct pick_pointer *pointer = p->text.v[i].pointer;
        if (!pointer)
            continue;
        const json_t *v = pick_pointer_get(pointer, at);
        const bool is_text = json_string_length(v) > 0 || json_is_number(v) || json_is_boolean(v);
        if (is_text)
            continue;
        say(pointer, v, at, b);
        return;
    }
}

void pick_explain(const struct pick *p, const struct pick_scope *at, struct buf *b)
{
    switch (p->kind) {
    case PICK_TEXT:
        explain_text(p, at, b);
        return;
    case PICK_FIRST:
        for (size_t i = 0; i < p->first.n; i++)
            pick_explain(p->first.v[i], at, b);
        return;
    case PICK_LOOKUP:
        pick_explain(p->lookup.from, at, b);
        return;
    }
}
