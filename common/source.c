#include "common/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/form.h"
#include "common/json.h"
#include "common/yaml.h"

/* ---- registry ---- */

#define SOURCE(name) extern const struct source source_##name;
#include "common/sources.def"
#undef SOURCE

static const struct source *const registry[] = {
#define SOURCE(name) &source_##name,
#include "common/sources.def"
#undef SOURCE
};
#define REGISTRY_N (sizeof(registry) / sizeof(registry[0]))

const struct source *source_at(size_t i)
{
    return i < REGISTRY_N ? registry[i] : NULL;
}

const struct source *source_find(const char *type)
{
    for (size_t i = 0; i < REGISTRY_N; i++)
        if (strcmp(registry[i]->name, type) == 0)
            return registry[i];
    return NULL;
}

/* ---- entries ---- */

#define NAME_LEN_MAX 64
#define TREES_MAX 4 /* of one type */

/* A name is part of URLs, metrics and Kafka headers. */
static bool good_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t n = strlen(name);
    return n > 0 && n <= NAME_LEN_MAX && strspn(name, allowed) == n;
}

/* A secret without a value (a variable that nobody set) would open the door to everybody. */
static int check_secret(const struct conf *c, const struct yaml *node, const char *path,
                        const struct conf_key *key, const void *cfg, struct err *e)
{
    static const char why[] = "must not be empty; without the key anybody may send";
    const char *value;
    char name[128];

    for (size_t i = 0; i < yaml_count(node); i++) {
        const char *said = yaml_key(node, i);
        size_t n = strlen(key->name);

        if (yaml_kind(yaml_at(node, i)) == YAML_ABSENT && strncmp(said, key->name, n) == 0 &&
            (!said[n] || strcmp(said + n, "_file") == 0))
            return yaml_err(yaml_at(node, i), e, "%s.%s: %s", path, said, why);
    }
    memcpy(&value, (const char *)cfg + key->offset, sizeof(value));
    (void)snprintf(name, sizeof(name), "%s.%s", path, key->name);
    return *value || !conf_is_given(c, name) ? 0 : conf_key_err(c, name, e, "%s", why);
}

static int load_entry(struct settings *s, const char *name, const struct yaml *node,
                      const struct source *type, struct source_entry *ret, struct err *e)
{
    const char *extra[1 + TREES_MAX + 1] = {"enabled"};
    for (size_t i = 0; type->trees && type->trees[i] && i < TREES_MAX; i++)
        extra[1 + i] = type->trees[i];
    char path[NAME_LEN_MAX + sizeof("sources.")];
    (void)snprintf(path, sizeof(path), "sources.%s", name);
    void *cfg = conf_alloc(s->conf, 1, type->cfg_size);
    if (!cfg)
        return err_set(e, -ENOMEM, "%s: out of memory", path);
    int rc = conf_node(s->conf, node, path, type->keys, extra, cfg, e);
    for (const struct conf_key *k = type->keys; rc == 0 && k->name; k++)
        if (k->flags & CONF_SECRET && k->type == CONF_STR)
            rc = check_secret(s->conf, node, path, k, cfg, e);
    if (rc < 0)
        return rc;
    struct source_common *common = cfg;
    common->type = type->name;
    if (!common->tenant || !*common->tenant)
        common->tenant = s->tenant;
    if (strlen(common->tenant) > TENANT_MAX)
        return yaml_err(yaml_get(node, "tenant"), e, "%s.tenant: at most %d bytes", path,
                        TENANT_MAX);
    if (type->load && (rc = type->load(s, name, node, cfg, e)) < 0)
        return rc;
    struct err why = {0};
    if (type->check && type->check(cfg, &why) < 0)
        return yaml_err(node, e, "%s: %s", path, why.msg);
    *ret = (struct source_entry){name, type, cfg};
    return 0;
}

static int no_type(const struct yaml *node, const char *name, const char *type, struct err *e)
{
    struct nearest near = nearest_to(type ? type : name);
    for (size_t i = 0; i < REGISTRY_N; i++)
        nearest_try(&near, registry[i]->name);
    return yaml_err(type ? yaml_get(node, "type") : node, e,
                    "source %s: there is no type %s%s%s%s%s", name, near.word,
                    near.best ? "; did you mean \"" : "", near.best ? near.best : "",
                    near.best ? "\"?" : "", type ? "" : " (a name of your own wants a \"type\")");
}

/* "enabled: false". */
static int is_removed(const struct yaml *node, bool *ret, struct err *e)
{
    const struct yaml *enabled = yaml_get(node, "enabled");
    const char *word = yaml_scalar(enabled);
    *ret = word && strcmp(word, "false") == 0;
    if (enabled && !*ret && (!word || strcmp(word, "true") != 0))
        return yaml_err(enabled, e, "enabled: expected true or false");
    return 0;
}

static int load_named(struct settings *s, const struct yaml *all, size_t i,
                      struct source_entry *ret, bool *ret_removed, struct err *e)
{
    const struct yaml *node = yaml_at(all, i);
    const char *name = yaml_key(all, i);
    if (!good_name(name))
        return yaml_err(node, e, "a source's name is 1 to %d letters, digits, _ or -",
                        NAME_LEN_MAX);
    const char *type_name = yaml_scalar(yaml_get(node, "type"));
    const struct source *type = source_find(type_name ? type_name : name);
    if (!type)
        return no_type(node, name, type_name, e);
    int rc = is_removed(node, ret_removed, e);
    return rc < 0 ? rc : load_entry(s, name, node, type, ret, e);
}

/* Also by a key that says nothing more ("grafana:"). */
static bool is_named(const struct yaml *all, const char *name)
{
    for (size_t i = 0; i < yaml_count(all); i++)
        if (strcmp(yaml_key(all, i), name) == 0)
            return true;
    return false;
}

static int load_plain(struct settings *s, struct source_entries *ret, struct err *e)
{
    struct source_entry *v = conf_alloc(s->conf, REGISTRY_N, sizeof(*v));
    if (!v)
        return err_set(e, -ENOMEM, "sources: out of memory");
    size_t n = 0;
    for (size_t i = 0; i < REGISTRY_N; i++) {
        const struct source *type = registry[i];
        if (type->load)
            continue;
        struct source_common *cfg = conf_alloc(s->conf, 1, type->cfg_size);
        if (!cfg)
            return err_set(e, -ENOMEM, "sources: out of memory");
        int rc = conf_defaults(s->conf, type->keys, cfg, e);
        if (rc < 0)
            return rc;
        cfg->type = type->name;
        cfg->tenant = s->tenant;
        v[n++] = (struct source_entry){type->name, type, cfg};
    }
    ret->plain = v;
    ret->plain_n = n;
    return 0;
}

int source_entries_load(struct settings *s, struct source_entries *ret, struct err *e)
{
    const struct yaml *all = conf_yaml(s->conf, "sources");
    if (all && yaml_kind(all) != YAML_MAP && yaml_count(all) > 0)
        return yaml_err(all, e, "sources: expected a map of names");
    size_t named = yaml_count(all), n = 0;
    struct source_entry *v = conf_alloc(s->conf, named + REGISTRY_N, sizeof(*v));
    if (!v)
        return err_set(e, -ENOMEM, "sources: out of memory");
    for (size_t i = 0; i < named; i++) {
        bool removed = false;
        int rc = load_named(s, all, i, &v[n], &removed, e);
        if (rc < 0)
            return rc;
        n += !removed;
    }
    for (size_t i = 0; i < REGISTRY_N; i++) {
        if (is_named(all, registry[i]->name) || registry[i]->load)
            continue;
        int rc = load_entry(s, registry[i]->name, NULL, registry[i], &v[n], e);
        if (rc < 0)
            return rc;
        n++;
    }
    struct source_entries loaded = {.v = v, .n = n};
    int rc = load_plain(s, &loaded, e);
    if (rc == 0)
        *ret = loaded;
    return rc;
}

const struct source_entry *source_entry_find(const struct source_entries *all, struct slice name)
{
    for (size_t i = 0; i < all->n; i++)
        if (slice_is(name, all->v[i].name))
            return &all->v[i];
    return NULL;
}

const struct source_entry *source_entry_plain(const struct source_entries *all, const char *type)
{
    for (size_t i = 0; i < all->plain_n; i++)
        if (strcmp(all->plain[i].name, type) == 0)
            return &all->plain[i];
    return NULL;
}

/* ---- bodies ---- */

static bool begins_as_json(struct slice body)
{
    size_t i = 0;
    while (i < body.len && body.p[i] && strchr(" \t\r\n", body.p[i]))
        i++;
    return i < body.len && (body.p[i] == '{' || body.p[i] == '[');
}

static bool is_json(struct slice body)
{
    const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct err ignored;
    return json_scan(body, &any, &ignored) != -EBADMSG;
}

static int text_to_json(const char *field, struct slice text, struct arena *a, struct slice *ret,
                        struct err *e)
{
    struct form *form = arena_new_of(a, struct form);
    if (!form)
        return err_set(e, -E2BIG, "the request needs more memory than one may");
    form->v[form->n++] = (struct form_field){slice_of(field), text};
    return form_to_json(form, NULL, a, ret, e);
}

int source_body(const struct source *type, const struct hook *h, struct arena *a, struct slice *ret,
                struct err *e)
{
    const char *content_type = h->header(h, "Content-Type");
    bool is_form = type->takes_forms && form_is(content_type) && !begins_as_json(h->body);
    if (type->text_field && !h->is_get && !is_json(h->body))
        return text_to_json(type->text_field, h->body, a, ret, e);
    if (!h->is_get && !is_form) {
        *ret = h->route && h->body.len == 0 ? SLICE_LIT("{}") : h->body;
        return 0;
    }
    struct form *form = arena_new_of(a, struct form);
    if (!form)
        return err_set(e, -E2BIG, "the request needs more memory than one may");
    int rc = h->is_get ? form_parse_query(h->query_string, a, form, e)
                       : form_parse(content_type, h->body, a, form, e);
    return rc < 0 ? rc : form_to_json(form, type->form_json, a, ret, e);
}

/* ---- authentication ---- */

static bool is_set(const char *secret)
{
    return secret && *secret;
}

/* "Bearer TOKEN", "GenieKey TOKEN", "TOKEN". */
static bool token_matches(const char *authorization, const char *token)
{
    const char *space = strchr(authorization, ' ');
    const char *given = space ? space + 1 : authorization;
    return secret_eq(slice_of(given), slice_of(token));
}

bool source_common_guarded(const struct source_common *c)
{
    return is_set(c->bearer_token) || is_set(c->path_token) || is_set(c->username) ||
           is_set(c->password);
}

bool source_entry_guarded(const struct source_entry *entry)
{
    if (source_common_guarded(entry->cfg))
        return true;
    for (const struct conf_key *k = entry->type->keys; k->name; k++) {
        const char *const *at = (const void *)((const char *)entry->cfg + k->offset);
        if ((k->flags & CONF_SECRET) && k->type == CONF_STR && is_set(*at))
            return true;
    }
    return false;
}

enum auth source_verify_common(const struct source_common *c, const struct hook *h)
{
    bool basic = is_set(c->username) || is_set(c->password);
    if (!source_common_guarded(c))
        return AUTH_OK;
    const char *authorization = h->header(h, "Authorization");
    bool ok = false;
    if (is_set(c->path_token) && h->path_token)
        ok |= secret_eq(slice_of(h->path_token), slice_of(c->path_token));
    if (is_set(c->bearer_token) && authorization)
        ok |= token_matches(authorization, c->bearer_token);
    if (basic && authorization)
        ok |= basic_auth_eq(slice_of(authorization), slice_of(c->username), slice_of(c->password));
    if (ok)
        return AUTH_OK;
    return h->path_token || authorization ? AUTH_BAD : AUTH_MISSING;
}

bool source_hmac_hex_eq(const char *given_hex, const char *secret, const struct slice *text,
                        size_t n)
{
    unsigned char expected[SHA256_LEN], given[SHA256_LEN];
    if (!hex_decode(slice_of(given_hex), given, sizeof(given)))
        return false;
    hmac_sha256_v(slice_of(secret), text, n, expected);
    return secret_eq((struct slice){(const char *)given, sizeof(given)},
                     (struct slice){(const char *)expected, sizeof(expected)});
}

/* ---- caps ---- */

#define MARK "\xe2\x80\xa6#" /* an ellipsis */
#define MARK_LEN (sizeof(MARK) - 1 + 16)

struct slice source_cut(struct slice s, size_t max, struct arena *a, bool *truncated)
{
    if (s.len <= max)
        return s;
    *truncated = true;
    if (max < MARK_LEN)
        return (struct slice){s.p, utf8_fit(s, max)};
    size_t keep = utf8_fit(s, max - MARK_LEN);
    char *cut = arena_alloc(a, keep + MARK_LEN + 1, 1);
    if (!cut)
        return (struct slice){0};
    memcpy(cut, s.p, keep);
    (void)snprintf(cut + keep, MARK_LEN + 1, MARK "%016" PRIx64, fnv1a(FNV1A_INIT, s.p, s.len));
    return (struct slice){cut, keep + MARK_LEN};
}

static bool is_alertname(struct label l)
{
    return slice_is(l.name, "alertname");
}

/* Past `max`, drop by order of names; alertname takes the last place if it would go. */
static size_t cap_count(struct label *v, size_t n, size_t max, bool *truncated)
{
    if (n <= max)
        return n;
    *truncated = true;
    for (size_t i = max; i < n; i++)
        if (is_alertname(v[i]) && max > 0)
            v[max - 1] = v[i];
    return max;
}

struct labels_caps {
    size_t count, name, value;
};

static int capped(const json_t *object, const struct labels_caps *caps, struct arena *a,
                  struct labels *ret, bool *truncated)
{
    struct labels all;
    int rc = labels_from_tree(a, object, &all);
    if (rc < 0)
        return rc;
    struct label *v = arena_array(a, all.n + 1, struct label);
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < all.n; i++) {
        v[i].name = source_cut(all.v[i].name, caps->name, a, truncated);
        v[i].value = source_cut(all.v[i].value, caps->value, a, truncated);
        if (!v[i].name.p || !v[i].value.p)
            return -ENOMEM;
    }
    size_t n = cap_count(v, all.n, caps->count, truncated);
    return labels_make(a, v, n, ret);
}

int source_labels(const json_t *object, const struct limits_settings *lim, struct arena *a,
                  struct labels *ret, bool *truncated)
{
    const struct labels_caps caps = {lim->labels, lim->label_name, lim->label_value};
    return capped(object, &caps, a, ret, truncated);
}

int source_annotations(const json_t *object, const struct limits_settings *lim, struct arena *a,
                       struct labels *ret, bool *truncated)
{
    const struct labels_caps caps = {lim->annotations, lim->label_name, lim->annotation_value};
    return capped(object, &caps, a, ret, truncated);
}

int64_t source_time(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    int64_t ms = 0;
    if (!json_is_string(v) ||
        !rfc3339_parse((struct slice){json_string_value(v), json_string_length(v)}, &ms))
        return 0;
    return ms;
}
