#include "notifier/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool says(const struct notification *n, const char *name)
{
    return json_is_true(json_object_get(n->data, name));
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "";
}

const char *program_key(const struct notification *n)
{
    return is_replaceable(n) ? n->group : n->id;
}

const char *program_text(const struct notification *n, const char *name)
{
    return text_of(n->data, name);
}

const char *program_incident(const struct notification *n, const char *name)
{
    return text_of(json_object_get(n->data, "incident"), name);
}

const char *program_label(const struct notification *n, const char *name)
{
    return text_of(json_object_get(n->data, "common_labels"), name);
}

const char *program_title(const struct notification *n, size_t max, struct arena *a)
{
    const char *title = program_text(n, "title");

    return text_cut(a, slice_of(*title ? title : n->title), max, UNIT_UTF16, "…");
}

bool program_over(const struct notification *n)
{
    return is_replaceable(n) && says(n, "resolved");
}

bool program_taken(const struct notification *n)
{
    const char *status = program_incident(n, "status");

    return strcmp(program_text(n, "reason"), "status") == 0 && !program_over(n) &&
           (strcmp(status, "acknowledged") == 0 || strcmp(status, "investigating") == 0);
}

bool program_first(const struct notification *n)
{
    return !says(n, "is_news");
}

bool program_missed(const struct notification *n)
{
    return *program_text(n, "firing_since") != '\0';
}

int program_ask(const struct ask *ask, json_t *doc, struct arena *a, struct request *ret,
                struct err *e)
{
    struct header *headers = arena_array(a, 3, struct header);
    bool has_body = doc != NULL;

    *ret = (struct request){.url = ask->url,
                            .method = ask->method,
                            .headers = headers,
                            .body = json_bytes(doc, a),
                            .wait_header = ask->wait_header};
    if (!headers || !ret->url || (has_body && !ret->body.len))
        return err_set(e, -ENOMEM, "%s: the message does not fit in its memory", ask->channel);
    headers[ret->header_n++] = (struct header){"Accept", "application/json"};
    if (has_body)
        headers[ret->header_n++] = (struct header){"Content-Type", "application/json"};
    if (ask->authorization)
        headers[ret->header_n++] = (struct header){"Authorization", ask->authorization};
    return 0;
}

const char *program_url(struct arena *a, const char *base, const char *rest)
{
    size_t len = strlen(base);

    while (len > 0 && base[len - 1] == '/')
        len--;
    return rest ? arena_printf(a, "%.*s%s", (int)len, base, rest) : NULL;
}

const char *program_escape(struct arena *a, const char *s)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, 3, strlen(s) + 1), *p = out;

    for (; out && *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (strchr(plain, c)) {
            *p++ = *s;
            continue;
        }
        *p++ = '%';
        *p++ = digits[c >> 4];
        *p++ = digits[c & 15];
    }
    return out;
}

/* ---- settings ---- */

static bool is_template(const char *s)
{
    return s && strstr(s, "{{");
}

static int warn_template(const struct check_input *in, const struct yaml *node, const char *name)
{
    return conf_warn(in->conf, node, "%s.%s: a template of Alertmanager's has no effect here",
                     in->path, name);
}

int program_plain(const struct check_input *in, const char *name, const char **value, struct err *e)
{
    if (!is_template(*value))
        return 0;
    *value = NULL;
    return warn_template(in, yaml_get(in->node, name), name) < 0
               ? err_set(e, -ENOMEM, "receivers: the configuration is too large")
               : 0;
}

/* What a YAML scalar without quotes is; the tree does not tell whether there were any. */
static json_t *typed_scalar(const char *s)
{
    char *end;

    if (strcmp(s, "true") == 0 || strcmp(s, "false") == 0)
        return json_boolean(*s == 't');
    errno = 0;
    long long whole = strtoll(s, &end, 10);
    if (*s && !*end && errno == 0)
        return json_integer(whole);
    double real = strtod(s, &end);
    if (*s && !*end && strspn(s, "+-.0123456789eE") == strlen(s))
        return json_real(real);
    return json_string(s);
}

struct reading {
    const struct check_input *in;
    const char *name;
    bool typed, failed;
};

static json_t *read_node(struct reading *r, const struct yaml *node)
{
    const char *scalar = yaml_scalar(node);
    bool map = yaml_kind(node) == YAML_MAP;

    if (is_template(scalar)) {
        r->failed = warn_template(r->in, node, r->name) < 0 || r->failed;
        return NULL;
    }
    if (scalar)
        return r->typed ? typed_scalar(scalar) : json_string(scalar);
    if (!map && yaml_kind(node) != YAML_SEQ)
        return json_null();
    json_t *out = map ? json_object() : json_array();
    for (size_t i = 0; i < yaml_count(node); i++) {
        json_t *value = read_node(r, yaml_at(node, i));
        if (value && map)
            (void)json_object_set_new(out, yaml_key(node, i), value);
        else if (value)
            (void)json_array_append_new(out, value);
    }
    return out;
}

static void free_tree(void *tree)
{
    json_decref(tree);
}

int program_tree(const struct check_input *in, const char *name, bool typed, json_t **ret,
                 struct err *e)
{
    const struct yaml *node = yaml_get(in->node, name);
    struct reading r = {.in = in, .name = name, .typed = typed};

    *ret = NULL;
    if (!node || yaml_kind(node) == YAML_ABSENT)
        return 0;
    if (yaml_kind(node) == YAML_SCALAR)
        return yaml_err(node, e, "%s: a map or a list is expected", name);
    json_t *tree = read_node(&r, node);
    if (r.failed || !tree || conf_defer(in->conf, free_tree, tree) < 0)
        return err_set(e, -ENOMEM, "receivers: the configuration is too large");
    *ret = tree;
    return 0;
}

void program_merge(json_t *to, const json_t *from)
{
    /* Copies: the settings are shared by every message. */
    json_t *copy = from ? json_deep_copy(from) : NULL;

    if (copy)
        (void)json_object_update(to, copy);
    json_decref(copy);
}
