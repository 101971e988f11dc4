#include "common/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/conf_value.h"
#include "common/yaml.h"

#define CONF_MEMORY ((size_t)256 << 20)
#define FILE_MAX ((size_t)16 << 20)
#define SECRET_FILE_MAX ((size_t)64 << 10)
#define ENV_PREFIX "TOCSIN__"

/* Highest precedence first: the order in which a key is looked up. */
enum origin { FROM_SET, FROM_ENV, FROM_FILE, FROM_DEFAULT };
#define ORIGINS FROM_DEFAULT

/* One --set or one environment variable; whatever no key takes is a typing error. */
struct override {
    const char *name, *value;
    bool taken;
    struct override *next;
};

/* A key's value before its type has parsed it. */
struct value {
    bool found;
    enum origin origin;
    const char *text;        /* NULL: `node` is a list */
    const struct yaml *node; /* FROM_FILE only */
    const char *name;        /* as the user wrote it: variable, flag or key */
    bool from_twin;          /* text came out of a file: a list has one element a line */
};

/* A key that was loaded: for conf_print() and for errors found later. */
struct record {
    const char *name; /* section.key */
    const struct conf_key *key;
    struct value value;
    struct conf_strs strs; /* CONF_STRS only */
    struct record *next;
};

struct known {
    const char *name;
    bool tree;   /* handed out by conf_yaml(): its environment is not judged ... */
    bool loaded; /* ... unless tables were loaded below it, and then with a warning */
    struct known *next;
};

struct warning {
    const char *text;
    struct warning *next;
};

struct conf {
    struct arena *a;
    const char *file, *dir;
    const struct yaml *root;
    struct override *overrides[2]; /* by enum origin */
    struct record *records, **records_tail;
    struct known *known;
    struct warning *warnings, **warnings_tail;
};

void *conf_alloc(struct conf *c, size_t n, size_t size)
{
    return arena_alloc(c->a, n, size);
}

char *conf_strdup(struct conf *c, const char *s)
{
    return arena_strndup(c->a, s, strlen(s));
}

int conf_defer(struct conf *c, void (*fn)(void *), void *obj)
{
    return arena_defer(c->a, fn, obj);
}

static int out_of_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "the configuration is too large");
}

/* --- opening --- */

static struct conf *conf_new(const char *file)
{
    struct arena *a = arena_new(CONF_MEMORY);
    struct conf *c = a ? arena_new_of(a, struct conf) : NULL;
    const char *slash = strrchr(file, '/');

    if (!c) {
        arena_free(a);
        return NULL;
    }
    c->a = a;
    c->file = conf_strdup(c, file);
    c->dir = slash ? arena_strndup(a, file, (size_t)(slash - file) + 1) : "";
    c->records_tail = &c->records;
    c->warnings_tail = &c->warnings;
    if (!c->file || !c->dir) {
        arena_free(a);
        return NULL;
    }
    return c;
}

void conf_free(struct conf *c)
{
    if (c)
        arena_free(c->a); /* the struct itself lives there */
}

/* "name=value" onto a list; a later one of the same name wins because it comes first. */
static int override_add(struct conf *c, enum origin o, const char *pair, struct err *e)
{
    const char *eq = strchr(pair, '=');
    struct override *v = arena_new_of(c->a, struct override);

    if (!eq || eq == pair)
        return err_set(e, -EINVAL, "--set %s: section.key=value is expected", pair);
    if (!v)
        return out_of_memory(e);
    v->name = arena_strndup(c->a, pair, (size_t)(eq - pair));
    v->value = conf_strdup(c, eq + 1);
    v->next = c->overrides[o];
    c->overrides[o] = v;
    return v->name && v->value ? 0 : out_of_memory(e);
}

static int environment_add(struct conf *c, struct err *e)
{
    int r = 0;

    for (char **v = environ; v && *v && r == 0; v++)
        if (strncmp(*v, ENV_PREFIX, strlen(ENV_PREFIX)) == 0 && strchr(*v, '='))
            r = override_add(c, FROM_ENV, *v, e);
    return r;
}

static void fclose_p(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

/* The whole of a file; NUL-terminated, in the arena. */
static int read_all(struct conf *c, const char *path, size_t max, struct slice *ret, struct err *e)
{
    CLEANUP(fclose) FILE *f = fopen(path, "re");
    CLEANUP(buf_release) struct buf b = BUF_INIT(max);
    char chunk[4096];
    size_t n;

    if (!f)
        return err_set(e, -errno, "cannot read %s: %s", path, strerror(errno));
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&b, chunk, n);
    if (ferror(f))
        return err_set(e, -EIO, "cannot read %s: %s", path, strerror(errno));
    if (b.failed)
        return err_set(e, -EFBIG, "%s is larger than %zu bytes", path, max);
    ret->p = arena_strndup(c->a, buf_str(&b), b.len);
    ret->len = b.len;
    return ret->p ? 0 : out_of_memory(e);
}

static int load(struct conf *c, struct slice text, const char *const *sets, struct err *e)
{
    int r = yaml_load(c->file, text, c->a, &c->root, e);

    for (size_t i = 0; sets && sets[i] && r == 0; i++)
        r = override_add(c, FROM_SET, sets[i], e);
    if (r == 0 && (yaml_kind(c->root) == YAML_SCALAR || yaml_kind(c->root) == YAML_SEQ))
        r = yaml_err(c->root, e, "a map of sections is expected");
    return r;
}

int conf_open(const char *file, const char *const *sets, struct conf **ret, struct err *e)
{
    CLEANUP(conf_free) struct conf *c = conf_new(file ? file : "(no file)");
    struct slice text = {0};
    int r;

    if (!c)
        return out_of_memory(e);
    if (file && (r = read_all(c, file, FILE_MAX, &text, e)) < 0)
        return r;
    if ((r = environment_add(c, e)) < 0 || (r = load(c, text, sets, e)) < 0)
        return r;
    *ret = TAKE(c);
    return 0;
}

int conf_parse(const char *name, const char *text, const char *const *sets, struct conf **ret,
               struct err *e)
{
    CLEANUP(conf_free) struct conf *c = conf_new(name);
    int r;

    if (!c)
        return out_of_memory(e);
    if ((r = load(c, slice_of(text), sets, e)) < 0)
        return r;
    *ret = TAKE(c);
    return 0;
}

/* --- looking a key up --- */

static char environment_char(char c)
{
    if (c == '.' || c == '-')
        return '_';
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* "sources.my-sentry.secret" is TOCSIN__SOURCES__MY_SENTRY__SECRET. */
static const char *environment_name(struct conf *c, const char *path)
{
    char *name = arena_alloc(c->a, strlen(ENV_PREFIX) + 2 * strlen(path) + 1, 1);
    char *p = name;

    if (!name)
        return NULL;
    p = stpcpy(p, ENV_PREFIX);
    for (; *path; path++) {
        if (*path == '.')
            *p++ = '_';
        *p++ = environment_char(*path);
    }
    return name;
}

static struct value overridden(const struct conf *c, enum origin o, const char *name)
{
    struct value ret = {.origin = o, .name = name};

    for (struct override *v = c->overrides[o]; v; v = v->next) {
        if (strcmp(v->name, name) != 0)
            continue;
        v->taken = true;
        if (!ret.found)
            ret.text = v->value;
        ret.found = true;
    }
    return ret;
}

/* What one origin says about a key; `last` is the key's own name within `node`. */
static int candidate(struct conf *c, enum origin o, const struct yaml *node, const char *name,
                     const char *last, struct value *ret, struct err *e)
{
    if (o == FROM_FILE) {
        const struct yaml *n = yaml_get(node, last);

        *ret = (struct value){
            .found = n != NULL, .origin = o, .text = yaml_scalar(n), .node = n, .name = name};
        return 0;
    }
    if (o == FROM_ENV)
        name = environment_name(c, name);
    if (!name)
        return out_of_memory(e);
    *ret = overridden(c, o, name);
    return 0;
}

/* An error about a value, with the place it came from. */
static int value_err(const struct value *v, struct err *e, const char *msg)
{
    if (v->node)
        return yaml_err(v->node, e, "%s: %s", v->name, msg);
    if (v->origin == FROM_ENV)
        return err_set(e, -EINVAL, "environment: %s: %s", v->name, msg);
    if (v->origin == FROM_SET)
        return err_set(e, -EINVAL, "--set: %s: %s", v->name, msg);
    return err_set(e, -EINVAL, "%s: %s", v->name, msg);
}

/* The content of the file that a `_file` twin names, without its trailing newline. */
static int read_twin(struct conf *c, struct value *v, struct err *e)
{
    const bool beside = v->origin == FROM_FILE && v->text && v->text[0] != '/';
    struct err why = {0};
    struct slice s;
    char *path, *text;

    if (!v->text)
        return value_err(v, e, "the name of a file is expected");
    path = arena_printf(c->a, "%s%s", beside ? c->dir : "", v->text);
    if (!path)
        return out_of_memory(e);
    if (read_all(c, path, SECRET_FILE_MAX, &s, &why) < 0)
        return value_err(v, e, why.msg);
    if (s.len && memchr(s.p, '\0', s.len))
        return value_err(v, e, "the file has a NUL character in it");
    if (s.len && s.p[s.len - 1] == '\n')
        s.len--;
    if (s.len && s.p[s.len - 1] == '\r')
        s.len--;
    text = arena_strndup(c->a, s.p, s.len);
    v->text = text;
    v->from_twin = true;
    return text ? 0 : out_of_memory(e);
}

/* Every origin is asked, so that an override that loses still counts as taken. */
static int look_up(struct conf *c, const struct yaml *node, const char *name,
                   const struct conf_key *key, struct value *ret, struct err *e)
{
    const char *twin_name = arena_printf(c->a, "%s_file", name);
    const char *twin_last = arena_printf(c->a, "%s_file", key->name);
    struct value best = {
        .found = key->def != NULL, .origin = FROM_DEFAULT, .text = key->def, .name = name};
    bool is_twin = false;

    if (!twin_name || !twin_last)
        return out_of_memory(e);
    for (enum origin o = ORIGINS; o-- > 0;) {
        struct value plain = {0}, twin = {0};

        if (candidate(c, o, node, name, key->name, &plain, e) < 0)
            return -ENOMEM;
        if (key->flags & CONF_SECRET && candidate(c, o, node, twin_name, twin_last, &twin, e) < 0)
            return -ENOMEM;
        if (plain.found && twin.found)
            return value_err(&twin, e, "given both as a value and as a file");
        if (plain.found || twin.found) {
            best = plain.found ? plain : twin;
            is_twin = twin.found;
        }
    }
    if (is_twin) {
        const int r = read_twin(c, &best, e);

        if (r < 0)
            return r;
    }
    *ret = best;
    return 0;
}

/* --- giving it its type --- */

/* Elements between separators, without blanks around them; empty ones do not count. */
static int split(struct conf *c, const char *text, const char *separators, struct conf_strs *ret,
                 struct err *e)
{
    const char **v = arena_array(c->a, strlen(text) + 1, const char *);
    size_t n = 0;

    if (!v)
        return out_of_memory(e);
    while (*text) {
        const size_t len = strcspn(text, separators);
        const char *from = text, *to = text + len;

        while (from < to && isspace((unsigned char)*from))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        if (to > from && !(v[n++] = arena_strndup(c->a, from, (size_t)(to - from))))
            return out_of_memory(e);
        text += len + (text[len] != '\0');
    }
    *ret = (struct conf_strs){v, n};
    return 0;
}

static int strs_of_node(struct conf *c, const struct value *v, struct conf_strs *ret, struct err *e)
{
    const size_t n = yaml_count(v->node);
    const char **s = arena_array(c->a, n + 1, const char *);

    if (!s)
        return out_of_memory(e);
    if (v->node->kind != YAML_SEQ)
        return value_err(v, e, "a list of strings is expected");
    for (size_t i = 0; i < n; i++) {
        s[i] = yaml_scalar(yaml_at(v->node, i));
        if (!s[i])
            return yaml_err(yaml_at(v->node, i), e, "%s: a string is expected", v->name);
    }
    *ret = (struct conf_strs){s, n};
    return 0;
}

static int strs_parse(struct conf *c, const struct value *v, struct conf_strs *ret, struct err *e)
{
    if (v->text && v->node && !v->from_twin) {
        const char **one = arena_array(c->a, 1, const char *);

        if (!one)
            return out_of_memory(e);
        *one = v->text;
        *ret = (struct conf_strs){one, 1};
        return 0;
    }
    if (v->text)
        return split(c, v->text, v->from_twin ? "\n" : ",", ret, e);
    return strs_of_node(c, v, ret, e);
}

static struct record *record_find(const struct conf *c, const char *name)
{
    for (struct record *r = c->records; r; r = r->next)
        if (strcmp(r->name, name) == 0)
            return r;
    return NULL;
}

static int record_add(struct conf *c, const struct record *what, struct err *e)
{
    struct record *r = record_find(c, what->name);

    if (!r) {
        r = arena_new_of(c->a, struct record);
        if (!r)
            return out_of_memory(e);
        *c->records_tail = r;
        c->records_tail = &r->next;
    }
    *r = (struct record){what->name, what->key, what->value, what->strs, r->next};
    return 0;
}

static int misfit(struct conf *c, const struct conf_key *key, const struct value *v, struct err *e)
{
    const char *expected = conf_value_expected(key, c->a), *msg;

    if (!expected)
        return out_of_memory(e);
    if (key->flags & CONF_SECRET)
        msg = arena_printf(c->a, "%s is expected", expected);
    else
        msg = arena_printf(c->a, "%s is expected, not \"%s\"", expected, v->text);
    return msg ? value_err(v, e, msg) : out_of_memory(e);
}

static int load_key(struct conf *c, const struct yaml *node, const char *path,
                    const struct conf_key *key, void *out, struct err *e)
{
    char *field = (char *)out + key->offset;
    struct record rec = {.key = key};
    struct value *v = &rec.value;
    int r;

    rec.name = arena_printf(c->a, "%s%s%s", path, path[0] ? "." : "", key->name);
    if (!rec.name)
        return out_of_memory(e);
    if ((r = look_up(c, node, rec.name, key, v, e)) < 0)
        return r;
    if (!v->found && key->flags & CONF_REQUIRED)
        return node ? yaml_err(node, e, "\"%s\" is missing", rec.name)
                    : err_set(e, -EINVAL, "%s: \"%s\" is missing", c->file, rec.name);
    if (!v->found)
        v->text = "";

    if (key->type == CONF_STRS) {
        if ((r = strs_parse(c, v, &rec.strs, e)) < 0)
            return r;
        memcpy(field, &rec.strs, sizeof(rec.strs));
        return record_add(c, &rec, e);
    }
    if (!v->text)
        return value_err(v, e, "one value is expected, not a list or a map");
    if (!v->found)
        conf_value_zero(key, field);
    else if (!conf_value_parse(key, v->text, field))
        return misfit(c, key, v, e);
    return record_add(c, &rec, e);
}

/* --- tables --- */

static bool is_twin_of(const struct conf_key *key, const char *name)
{
    const size_t len = strlen(key->name);

    return key->flags & CONF_SECRET && strncmp(key->name, name, len) == 0 &&
           strcmp(name + len, "_file") == 0;
}

static int check_unknown(const struct yaml *node, const char *path, const struct conf_key *keys,
                         const char *const *extra, struct err *e)
{
    for (size_t i = 0; node && i < node->n; i++) {
        const struct yaml_member *m = &node->v[i];
        struct nearest near = nearest_to(m->key);
        bool known = false;

        for (const struct conf_key *k = keys; k->name && !known; k++) {
            known = strcmp(k->name, m->key) == 0 || is_twin_of(k, m->key);
            nearest_try(&near, k->name);
        }
        for (size_t x = 0; extra && extra[x] && !known; x++) {
            known = strcmp(extra[x], m->key) == 0;
            nearest_try(&near, extra[x]);
        }
        if (!known)
            return err_set(e, -EINVAL, "%s:%u:%u: unknown key \"%s\" in section \"%s\"%s%s%s",
                           node->file, m->line, m->column, m->key, path,
                           near.best ? "; did you mean \"" : "", near.best ? near.best : "",
                           near.best ? "\"?" : "");
    }
    return 0;
}

static int load_table(struct conf *c, const struct yaml *node, const char *path,
                      const struct conf_key *keys, void *out, struct err *e)
{
    int r = 0;

    for (const struct conf_key *k = keys; k->name && r == 0; k++)
        r = load_key(c, node, path, k, out, e);
    return r;
}

/* `len` bytes of `name`: the first part of a path. */
static struct known *known_add(struct conf *c, const char *name, size_t len)
{
    struct known *k = c->known;

    while (k && (strncmp(k->name, name, len) != 0 || k->name[len] != '\0'))
        k = k->next;
    if (k)
        return k;
    k = arena_new_of(c->a, struct known);
    if (!k)
        return NULL;
    k->name = arena_strndup(c->a, name, len);
    if (!k->name)
        return NULL;
    k->next = c->known;
    c->known = k;
    return k;
}

int conf_section(struct conf *c, const char *section, const struct conf_key *keys, void *out,
                 struct err *e)
{
    const struct yaml *node;
    int r;

    if (!section[0]) {
        for (const struct conf_key *k = keys; k->name; k++) {
            const char *twin = arena_printf(c->a, "%s_file", k->name);

            if (!twin || !known_add(c, k->name, strlen(k->name)))
                return out_of_memory(e);
            if (k->flags & CONF_SECRET && !known_add(c, twin, strlen(twin)))
                return out_of_memory(e);
        }
        return load_table(c, c->root, "", keys, out, e);
    }
    if (!known_add(c, section, strlen(section)))
        return out_of_memory(e);
    node = yaml_get(c->root, section);
    if (node && node->kind != YAML_MAP)
        return yaml_err(node, e, "section \"%s\" must be a map", section);
    r = check_unknown(node, section, keys, NULL, e);
    return r < 0 ? r : load_table(c, node, section, keys, out, e);
}

int conf_node(struct conf *c, const struct yaml *node, const char *path,
              const struct conf_key *keys, const char *const *extra, void *out, struct err *e)
{
    struct known *top = known_add(c, path, strcspn(path, "."));
    int r;

    if (!top)
        return out_of_memory(e);
    top->loaded = true;
    if (yaml_kind(node) == YAML_ABSENT)
        node = NULL;
    if (node && node->kind != YAML_MAP)
        return yaml_err(node, e, "\"%s\" must be a map", path);
    r = check_unknown(node, path, keys, extra, e);
    return r < 0 ? r : load_table(c, node, path, keys, out, e);
}

const struct yaml *conf_yaml(struct conf *c, const char *section)
{
    struct known *k = known_add(c, section, strlen(section));

    if (k) /* out of memory: conf_finish() calls the section unknown */
        k->tree = true;
    return yaml_get(c->root, section);
}

/* --- the end of loading --- */

static int check_sections(const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < yaml_count(c->root); i++) {
        const struct yaml_member *m = &c->root->v[i];
        struct nearest near = nearest_to(m->key);
        const struct known *k = c->known;

        while (k && strcmp(k->name, m->key) != 0) {
            nearest_try(&near, k->name);
            k = k->next;
        }
        if (!k)
            return err_set(e, -EINVAL, "%s:%u:%u: unknown key \"%s\" at the top level%s%s%s",
                           c->file, m->line, m->column, m->key,
                           near.best ? "; did you mean \"" : "", near.best ? near.best : "",
                           near.best ? "\"?" : "");
    }
    return 0;
}

/* The tree that an override points into, if any. */
static const struct known *tree_of(struct conf *c, enum origin o, const char *name)
{
    for (const struct known *k = c->known; k; k = k->next) {
        const char *prefix = o == FROM_ENV ? environment_name(c, k->name) : k->name;
        const size_t len = prefix ? strlen(prefix) : 0;

        if (!k->tree || len == 0 || strncmp(name, prefix, len) != 0)
            continue;
        if (o == FROM_ENV ? strncmp(name + len, "__", 2) == 0 : name[len] == '.')
            return k;
    }
    return NULL;
}

static int check_overrides(struct conf *c, enum origin o, struct err *e)
{
    for (const struct override *v = c->overrides[o]; v; v = v->next) {
        const struct known *tree;
        int r = 0;

        if (v->taken)
            continue;
        tree = tree_of(c, o, v->name);
        if (!tree)
            return err_set(e, -EINVAL, "%s%s: there is no such setting",
                           o == FROM_ENV ? "environment: " : "--set ", v->name);
        if (tree->loaded)
            r = conf_warn(c, NULL, "%s has no effect: nothing below \"%s\" has that name", v->name,
                          tree->name);
        if (r < 0)
            return out_of_memory(e);
    }
    return 0;
}

int conf_finish(struct conf *c, struct err *e)
{
    int r = check_sections(c, e);

    if (r == 0)
        r = check_overrides(c, FROM_ENV, e);
    return r < 0 ? r : check_overrides(c, FROM_SET, e);
}

int conf_key_err(const struct conf *c, const char *name, struct err *e, const char *fmt, ...)
{
    const struct record *r = record_find(c, name);
    const struct value unset = {.origin = FROM_DEFAULT, .name = name};
    char msg[sizeof(e->msg)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    return value_err(r ? &r->value : &unset, e, msg);
}

int conf_warn(struct conf *c, const struct yaml *n, const char *fmt, ...)
{
    struct warning *w = arena_new_of(c->a, struct warning);
    const char *msg;
    va_list ap;

    va_start(ap, fmt);
    msg = arena_vprintf(c->a, fmt, ap);
    va_end(ap);
    if (!w || !msg)
        return -ENOMEM;
    w->text = n ? arena_printf(c->a, "%s:%u:%u: %s", n->file, n->line, n->column, msg) : msg;
    if (!w->text)
        return -ENOMEM;
    *c->warnings_tail = w;
    c->warnings_tail = &w->next;
    return 0;
}

const char *conf_warning(const struct conf *c, size_t i)
{
    const struct warning *w = c->warnings;

    while (w && i-- > 0)
        w = w->next;
    return w ? w->text : NULL;
}

/* --- printing --- */

static void print_scalar(struct buf *b, enum conf_type type, const char *text)
{
    if (type == CONF_STR || type == CONF_STRS)
        conf_value_quote(b, text);
    else
        buf_puts(b, text[0] ? text : type == CONF_BOOL ? "false" : "0");
}

static void print_value(struct buf *b, const struct record *r)
{
    const bool empty = r->key->type == CONF_STRS ? r->strs.n == 0 : !r->value.text[0];

    if (r->key->flags & CONF_SECRET && !empty) {
        buf_puts(b, "<secret>");
        return;
    }
    if (r->key->type != CONF_STRS) {
        print_scalar(b, r->key->type, r->value.text);
        return;
    }
    buf_putc(b, '[');
    for (size_t i = 0; i < r->strs.n; i++) {
        buf_puts(b, i ? ", " : "");
        print_scalar(b, CONF_STRS, r->strs.v[i]);
    }
    buf_putc(b, ']');
}

void conf_print(const struct conf *c, FILE *out)
{
    static const char *const origins[] = {"--set", "environment", "", "default"};

    for (const struct record *r = c->records; r; r = r->next) {
        CLEANUP(buf_release) struct buf b = BUF_INIT(FILE_MAX);
        const struct yaml *n = r->value.node;

        print_value(&b, r);
        if (n)
            (void)fprintf(out, "%s: %s  # %s:%u\n", r->name, buf_str(&b), n->file, n->line);
        else
            (void)fprintf(out, "%s: %s  # %s\n", r->name, buf_str(&b), origins[r->value.origin]);
    }
}
