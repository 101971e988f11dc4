#include "common/conf_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"

#define CONF_MEMORY ((size_t)256 << 20)

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

int conf_out_of_memory(struct err *e)
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
        return conf_out_of_memory(e);
    v->name = arena_strndup(c->a, pair, (size_t)(eq - pair));
    v->value = conf_strdup(c, eq + 1);
    v->next = c->overrides[o];
    c->overrides[o] = v;
    return v->name && v->value ? 0 : conf_out_of_memory(e);
}

static int environment_add(struct conf *c, struct err *e)
{
    int r = 0;

    for (char **v = environ; v && *v && r == 0; v++)
        if (strncmp(*v, CONF_ENV_PREFIX, strlen(CONF_ENV_PREFIX)) == 0 && strchr(*v, '='))
            r = override_add(c, FROM_ENV, *v, e);
    return r;
}

static void fclose_p(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

int conf_read_file(struct conf *c, const char *path, size_t max, struct slice *ret, struct err *e)
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
    return ret->p ? 0 : conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
    if (file && (r = conf_read_file(c, file, CONF_FILE_MAX, &text, e)) < 0)
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
        return conf_out_of_memory(e);
    if ((r = load(c, slice_of(text), sets, e)) < 0)
        return r;
    *ret = TAKE(c);
    return 0;
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
        r = conf_load_key(c, node, path, k, out, e);
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
                return conf_out_of_memory(e);
            if (k->flags & CONF_SECRET && !known_add(c, twin, strlen(twin)))
                return conf_out_of_memory(e);
        }
        return load_table(c, c->root, "", keys, out, e);
    }
    if (!known_add(c, section, strlen(section)))
        return conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
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

int conf_check_sections(const struct conf *c, struct err *e)
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
        const char *prefix = o == FROM_ENV ? conf_environment_name(c, k->name) : k->name;
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
            return conf_out_of_memory(e);
    }
    return 0;
}

int conf_finish(struct conf *c, struct err *e)
{
    int r = conf_check_sections(c, e);

    if (r == 0)
        r = check_overrides(c, FROM_ENV, e);
    return r < 0 ? r : check_overrides(c, FROM_SET, e);
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
