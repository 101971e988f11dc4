#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "common/conf_impl.h"
#include "common/conf_value.h"

#define SECRET_FILE_MAX ((size_t)64 << 10)

/* --- looking a key up --- */

static char environment_char(char c)
{
    if (c == '.' || c == '-')
        return '_';
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

const char *conf_environment_name(struct conf *c, const char *path)
{
    char *name = arena_alloc(c->a, strlen(CONF_ENV_PREFIX) + 2 * strlen(path) + 1, 1);
    char *p = name;

    if (!name)
        return NULL;
    p = stpcpy(p, CONF_ENV_PREFIX);
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
        name = conf_environment_name(c, name);
    if (!name)
        return conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
    if (conf_read_file(c, path, SECRET_FILE_MAX, &s, &why) < 0)
        return value_err(v, e, why.msg);
    if (s.len && memchr(s.p, '\0', s.len))
        return value_err(v, e, "the file has a NUL character in it");
    if (s.len && s.p[s.len - 1] == '\n')
        s.len--;
    if (s.len && s.p[s.len - 1] == '\r')
        s.len--;
    if (s.len == 0)
        return value_err(v, e, "the file is empty");
    text = arena_strndup(c->a, s.p, s.len);
    v->text = text;
    v->from_twin = true;
    return text ? 0 : conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
    while (*text) {
        const size_t len = strcspn(text, separators);
        const char *from = text, *to = text + len;

        while (from < to && isspace((unsigned char)*from))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        if (to > from && !(v[n++] = arena_strndup(c->a, from, (size_t)(to - from))))
            return conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
    if (yaml_kind(v->node) != YAML_SEQ)
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
            return conf_out_of_memory(e);
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
            return conf_out_of_memory(e);
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
        return conf_out_of_memory(e);
    if (key->flags & CONF_SECRET)
        msg = arena_printf(c->a, "%s is expected", expected);
    else
        msg = arena_printf(c->a, "%s is expected, not \"%s\"", expected, v->text);
    return msg ? value_err(v, e, msg) : conf_out_of_memory(e);
}

/* Into its field of `out`; a list also into *strs. */
static int give(struct conf *c, const struct conf_key *key, struct value *v, void *out,
                struct conf_strs *strs, struct err *e)
{
    char *field = (char *)out + key->offset;

    if (!v->found)
        v->text = "";
    if (key->type == CONF_STRS) {
        const int r = strs_parse(c, v, strs, e);

        if (r == 0)
            memcpy(field, strs, sizeof(*strs));
        return r;
    }
    if (!v->text)
        return value_err(v, e, "one value is expected, not a list or a map");
    if (!v->found)
        conf_value_zero(key, field);
    else if (!conf_value_parse(key, v->text, field))
        return misfit(c, key, v, e);
    return 0;
}

int conf_load_key(struct conf *c, const struct yaml *node, const char *path,
                  const struct conf_key *key, void *out, struct err *e)
{
    struct record rec = {.key = key};
    struct value *v = &rec.value;
    int r;

    rec.name = arena_printf(c->a, "%s%s%s", path, path[0] ? "." : "", key->name);
    if (!rec.name)
        return conf_out_of_memory(e);
    if ((r = look_up(c, node, rec.name, key, v, e)) < 0)
        return r;
    if (!v->found && key->flags & CONF_REQUIRED)
        return node ? yaml_err(node, e, "\"%s\" is missing", rec.name)
                    : err_set(e, -EINVAL, "%s: \"%s\" is missing", c->file, rec.name);
    r = give(c, key, v, out, &rec.strs, e);
    return r < 0 ? r : record_add(c, &rec, e);
}

int conf_defaults(struct conf *c, const struct conf_key *keys, void *out, struct err *e)
{
    int r = 0;

    for (const struct conf_key *k = keys; k->name && r == 0; k++) {
        struct value v = {
            .found = k->def != NULL, .origin = FROM_DEFAULT, .text = k->def, .name = k->name};
        struct conf_strs strs;

        r = give(c, k, &v, out, &strs, e);
    }
    return r;
}

bool conf_is_given(const struct conf *c, const char *name)
{
    const struct record *r = record_find(c, name);

    return r && r->value.found && r->value.origin != FROM_DEFAULT;
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
