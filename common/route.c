#include "common/route.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"

#define PATH_MAX_LEN 256           /* of a key's name: routes nest at most so deep */
#define TEXT_MAX ((size_t)1 << 20) /* of a route's matchers and grouping */

/* What a route's map says, before group_by and digest are looked at more closely. */
struct words {
    const char *receiver, *digest;
    struct conf_strs group_by;
    int64_t group_wait, group_interval, repeat_interval;
    bool goes_on;
};

/* What stands beside the table: trees, and what has no effect yet. */
static const char *const trees[] = {"matchers", "match", "match_re", "routes", NULL};
static const char *const foreign[] = {"mute_time_intervals", "active_time_intervals", NULL};

struct loader {
    struct conf *c;
    const struct receivers *receivers;
};

/* One node of the configuration, and where it stands. */
struct place {
    const struct yaml *node;
    const char *path; /* "route.routes.0" */
    const struct route *parent;
    const struct words *above; /* the parent's */
};

static int out_of_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "route: the configuration is too large");
}

/* An error about one key of a route, where its value was written. */
static int key_err(struct loader *l, const struct place *p, const char *key, struct err *e,
                   const char *what, const char *value)
{
    char name[PATH_MAX_LEN + 32];

    (void)snprintf(name, sizeof(name), "%s.%s", p->path, key);
    return conf_key_err(l->c, name, e, "%s%s", what, value);
}

/* ---- what is inherited ---- */

static const char *duration_text(struct conf *c, int64_t ms)
{
    char text[RFC3339_MAX];

    return conf_strdup(c, duration_format(ms, text));
}

/* The table of one route: its defaults are what the parent says, so that --print-config shows what
 * holds. `continue` is no C name, hence no CONF(). */
static const struct conf_key *table_of(struct conf *c, const struct words *above)
{
    const struct conf_key keys[] = {
        CONF(struct words, receiver, CONF_STR, above->receiver, 0, "who is told"),
        CONF(struct words, group_by, CONF_STRS, NULL, 0, "labels that share a message"),
        CONF(struct words, group_wait, CONF_DURATION, duration_text(c, above->group_wait), 0,
             "before the first message of a group"),
        CONF(struct words, group_interval, CONF_DURATION, duration_text(c, above->group_interval),
             0, "between messages of a group"),
        CONF(struct words, repeat_interval, CONF_DURATION, duration_text(c, above->repeat_interval),
             0, "before the same is said again"),
        CONF(struct words, digest, CONF_STR, above->digest, 0,
             "gather and tell at this period or time of day; 0s: at once"),
        {.name = "continue",
         .offset = offsetof(struct words, goes_on),
         .def = "false",
         .help = "try the routes after this one, too",
         .type = CONF_BOOL},
        CONF_END,
    };
    struct conf_key *copy = conf_alloc(c, 1, sizeof(keys));

    for (const struct conf_key *k = keys; copy && k->name; k++)
        if (k->type == CONF_DURATION && !k->def)
            return NULL;
    return copy ? memcpy(copy, keys, sizeof(keys)) : NULL;
}

/* ---- single values ---- */

/* Two digits below `limit`, or -1. */
static int32_t two_digits(const char *p, int32_t limit)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return -1;
    const int32_t v = (p[0] - '0') * 10 + (p[1] - '0');
    return v < limit ? v : -1;
}

static bool parse_time_of_day(const char *text, int32_t *ret)
{
    if (strlen(text) != 5 || text[2] != ':')
        return false;
    const int32_t hour = two_digits(text, 24), minute = two_digits(text + 3, 60);
    if (hour < 0 || minute < 0)
        return false;
    *ret = hour * 60 + minute;
    return true;
}

static int load_digest(struct loader *l, const struct place *p, const char *text,
                       struct digest_when *ret, struct err *e)
{
    *ret = (struct digest_when){.at_minute = -1};
    if (!*text)
        return 0;
    if (parse_time_of_day(text, &ret->at_minute)) {
        ret->period_ms = MS_DAY;
        return 0;
    }
    if (!duration_parse(slice_of(text), &ret->period_ms))
        return key_err(l, p, "digest", e,
                       "expected a period such as 15m or 1d, or a time of day "
                       "such as \"09:00\", not ",
                       text);
    if (ret->period_ms > 0 && ret->period_ms < MS_SECOND)
        return key_err(l, p, "digest", e, "a digest takes at least a second, not ", text);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Alertmanager takes an empty list for one that is not there. */
static int load_group_by(struct loader *l, const struct place *p, const struct conf_strs *names,
                         struct route *r, struct err *e)
{
    if (names->n == 0) {
        if (p->parent) {
            r->group_by = p->parent->group_by;
            r->group_by_n = p->parent->group_by_n;
            r->by_incident = p->parent->by_incident;
            r->by_all = p->parent->by_all;
        }
        return 0;
    }
    const char **v = conf_alloc(l->c, names->n, sizeof(*v));
    if (!v)
        return out_of_memory(e);
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->v[i];
        bool *special = strcmp(name, "incident") == 0 ? &r->by_incident
                        : strcmp(name, "...") == 0    ? &r->by_all
                                                      : NULL;
        if (!*name)
            return key_err(l, p, "group_by", e, "a label without a name", "");
        if (special && *special)
            return key_err(l, p, "group_by", e, "there twice: ", name);
        if (special)
            *special = true;
        else
            v[r->group_by_n++] = name;
    }
    if (r->by_all && names->n > 1)
        return key_err(l, p, "group_by", e, "'...' is every label and stands alone", "");
    qsort(v, r->group_by_n, sizeof(*v), by_name);
    for (size_t i = 1; i < r->group_by_n; i++)
        if (strcmp(v[i - 1], v[i]) == 0)
            return key_err(l, p, "group_by", e, "there twice: ", v[i]);
    r->group_by = v;
    return 0;
}

/* ---- matchers ---- */

static void free_matchers(void *m)
{
    matchers_free(m);
}

/* A mistake in a matcher, at its own line. */
static int matcher_err(const struct yaml *n, int rc, struct err *e)
{
    struct err why = e ? *e : (struct err){.code = rc};

    return rc == -ENOMEM ? rc : yaml_err(n, e, "%s", why.msg);
}

/* `matchers:` a list of texts, or one. */
static int add_texts(struct matchers *m, const struct yaml *list, struct err *e)
{
    const bool one = yaml_kind(list) == YAML_SCALAR;
    const size_t n = one ? 1 : yaml_count(list);

    if (yaml_kind(list) == YAML_MAP)
        return yaml_err(list, e, "matchers: a list such as [severity=\"critical\"] is expected");
    for (size_t i = 0; i < n; i++) {
        const struct yaml *text = one ? list : yaml_at(list, i);

        if (yaml_kind(text) != YAML_SCALAR)
            return yaml_err(text, e, "a matcher is a text such as severity=\"critical\"");
        int rc = matchers_add_text(m, slice_of(yaml_scalar(text)), e);
        if (rc < 0)
            return matcher_err(text, rc, e);
    }
    return 0;
}

/* `match:` and `match_re:`, maps of label to value. */
static int add_map(struct matchers *m, const struct yaml *map, bool regex, struct err *e)
{
    if (map && yaml_kind(map) != YAML_MAP && yaml_kind(map) != YAML_ABSENT)
        return yaml_err(map, e, "a map of labels to values is expected");
    for (size_t i = 0; i < yaml_count(map); i++) {
        const struct yaml *value = yaml_at(map, i);
        const char *text = yaml_scalar(value);

        if (!text && yaml_kind(value) != YAML_ABSENT)
            return yaml_err(value, e, "%s: a text is expected", yaml_key(map, i));
        int rc = matchers_add(m, slice_of(yaml_key(map, i)), slice_of(text ? text : ""), regex,
                              false, e);
        if (rc < 0)
            return matcher_err(value, rc, e);
    }
    return 0;
}

static struct matchers *new_matchers(struct conf *c)
{
    struct matchers *m = matchers_new();

    return m && conf_defer(c, free_matchers, m) == 0 ? m : NULL;
}

static int load_matchers(struct loader *l, const struct place *p, struct route *r, struct err *e)
{
    const struct yaml *texts = yaml_get(p->node, "matchers"), *equal = yaml_get(p->node, "match"),
                      *like = yaml_get(p->node, "match_re");
    struct matchers *m = new_matchers(l->c);
    int rc;

    if (!m)
        return out_of_memory(e);
    if ((rc = add_map(m, equal, false, e)) < 0 || (rc = add_map(m, like, true, e)) < 0 ||
        (rc = add_texts(m, texts, e)) < 0)
        return rc;
    r->matchers = m;
    return 0;
}

int route_load_matchers(struct conf *c, const struct yaml *texts, const struct matchers **ret,
                        struct err *e)
{
    struct matchers *m = new_matchers(c);
    int rc;

    if (!m)
        return out_of_memory(e);
    if ((rc = add_texts(m, texts, e)) < 0)
        return rc;
    *ret = m;
    return 0;
}

/* ---- identity ---- */

static int name_path(struct loader *l, struct route *r, const struct route *parent, struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);

    if (parent)
        buf_printf(&b, "%s/", parent->path);
    matchers_format(r->matchers, &b);
    r->path = b.failed ? NULL : conf_strdup(l->c, buf_str(&b));
    if (!r->path) {
        (void)out_of_memory(e);
        return -ENOMEM;
    }
    return 0;
}

int route_name(struct route *r)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);
    unsigned char hash[SHA256_LEN];

    buf_add(&b, r->receiver->name, strlen(r->receiver->name) + 1);
    buf_add(&b, r->path, strlen(r->path) + 1);
    buf_putc(&b, (char)('0' + (r->by_incident | r->by_all << 1 | (r->digest.period_ms > 0) << 2)));
    for (size_t i = 0; i < r->group_by_n; i++)
        buf_add(&b, r->group_by[i], strlen(r->group_by[i]) + 1);
    if (b.failed)
        return -ENOMEM;
    sha256(b.p, b.len, hash);
    memcpy(r->id, hash, sizeof(r->id));
    return 0;
}

/* ---- the tree ---- */

static int load_node(struct loader *l, const struct place *p, struct route *r, struct err *e);

/* Every child that goes on, and the last that does not, may take the same alert. */
static size_t most_of(const struct route *r)
{
    size_t on = 0, most = 1;

    for (size_t i = 0; i < r->child_n; i++) {
        const size_t here = on + r->children[i].most;

        if (here > most)
            most = here;
        if (r->children[i].goes_on)
            on = here;
    }
    return most;
}

static int load_children(struct loader *l, const struct place *p, const struct words *w,
                         struct route *r, struct err *e)
{
    const struct yaml *list = yaml_get(p->node, "routes");
    const size_t n = yaml_count(list);
    struct route *v;

    if (list && yaml_kind(list) != YAML_SEQ && yaml_kind(list) != YAML_ABSENT)
        return yaml_err(list, e, "routes: a list is expected");
    if (n == 0)
        return 0;
    if (!(v = conf_alloc(l->c, n, sizeof(*v))))
        return out_of_memory(e);
    for (size_t i = 0; i < n; i++) {
        char path[PATH_MAX_LEN];
        const struct yaml *node = yaml_at(list, i);
        const int len = snprintf(path, sizeof(path), "%s.routes.%zu", p->path, i);

        if (len < 0 || (size_t)len >= sizeof(path))
            return yaml_err(node, e, "routes are nested too deep");
        const struct place at = {.node = node, .path = path, .parent = r, .above = w};
        int rc = load_node(l, &at, &v[i], e);
        if (rc < 0)
            return rc;
    }
    r->children = v;
    r->child_n = n;
    return 0;
}

/* As in Alertmanager: the root takes everything, so what narrows it is a mistake. */
static int check_root(struct loader *l, const struct place *p, const struct words *w, struct err *e)
{
    for (const char *const *key = trees; strncmp(*key, "match", 5) == 0; key++)
        if (yaml_count(yaml_get(p->node, *key)) || yaml_scalar(yaml_get(p->node, *key)))
            return yaml_err(yaml_get(p->node, *key), e,
                            "the root route takes every alert: %s may "
                            "not stand here",
                            *key);
    if (w->goes_on)
        return key_err(l, p, "continue", e, "the root route is the last", "");
    return 0;
}

static int warn_foreign(struct loader *l, const struct place *p)
{
    for (const char *const *key = foreign; *key; key++) {
        const struct yaml *n = yaml_get(p->node, *key);

        if (n && conf_warn(l->c, n, "%s.%s has no effect here yet", p->path, *key) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int load_words(struct loader *l, const struct place *p, struct words *ret, struct err *e)
{
    const char *extra[sizeof(trees) / sizeof(*trees) + sizeof(foreign) / sizeof(*foreign)];
    const struct conf_key *keys = table_of(l->c, p->above);
    size_t n = 0;

    for (const char *const *t = trees; *t; t++)
        extra[n++] = *t;
    for (const char *const *t = foreign; *t; t++)
        extra[n++] = *t;
    extra[n] = NULL;
    if (!keys || warn_foreign(l, p) < 0)
        return out_of_memory(e);
    return conf_node(l->c, p->node, p->path, keys, extra, ret, e);
}

static int load_node(struct loader *l, const struct place *p, struct route *r, struct err *e)
{
    struct words w = {0};
    int rc = load_words(l, p, &w, e);

    if (rc < 0 || (!p->parent && (rc = check_root(l, p, &w, e)) < 0))
        return rc;
    if (!*w.receiver)
        return key_err(l, p, "receiver", e, "the root route names who is told", "");
    r->receiver = receiver_find(l->receivers, slice_of(w.receiver));
    if (!r->receiver)
        return key_err(l, p, "receiver", e, "there is no receiver named ", w.receiver);
    if (w.repeat_interval == 0)
        return key_err(l, p, "repeat_interval", e, "must not be 0", "");
    r->group_wait_ms = w.group_wait;
    r->group_interval_ms = w.group_interval;
    r->repeat_interval_ms = w.repeat_interval;
    r->goes_on = w.goes_on;
    if ((rc = load_digest(l, p, w.digest, &r->digest, e)) < 0 ||
        (rc = load_group_by(l, p, &w.group_by, r, e)) < 0 || (rc = load_matchers(l, p, r, e)) < 0 ||
        (rc = name_path(l, r, p->parent, e)) < 0)
        return rc;
    if (route_name(r) < 0)
        return out_of_memory(e);
    if ((rc = load_children(l, p, &w, r, e)) == 0)
        r->most = most_of(r);
    return rc;
}

int route_load(struct settings *s, const struct receivers *receivers, const struct route **ret,
               struct err *e)
{
    struct loader l = {.c = s->conf, .receivers = receivers};
    const struct yaml *node = conf_yaml(s->conf, "route");
    const bool absent = yaml_kind(node) == YAML_ABSENT;
    struct words defaults = {.receiver = "",
                             .digest = "",
                             .group_wait = 30 * MS_SECOND,
                             .group_interval = 5 * MS_MINUTE,
                             .repeat_interval = 4 * MS_HOUR};
    struct route *root;

    if (absent && receivers->n == 0) {
        *ret = NULL;
        return 0;
    }
    if (absent && receivers->n > 1)
        return err_set(e, -EINVAL,
                       "route: which of the %zu receivers is told what? There is no "
                       "route",
                       receivers->n);
    if (absent)
        defaults.receiver = receivers->v[0].name;
    if (!(root = conf_alloc(s->conf, 1, sizeof(*root))))
        return out_of_memory(e);
    const struct place at = {.node = node, .path = "route", .above = &defaults};
    int rc = load_node(&l, &at, root, e);
    if (rc < 0)
        return rc;
    *ret = root;
    return 0;
}

/* ---- use ---- */

struct found {
    const struct route **v;
    size_t n;
};

/* Did this node or one below it take the alert? */
static bool walk(const struct route *r, struct labels labels, struct found *to)
{
    bool taken = false;

    if (!matchers_match(r->matchers, labels))
        return false;
    for (size_t i = 0; i < r->child_n; i++) {
        const bool here = walk(&r->children[i], labels, to);

        taken = taken || here;
        if (here && !r->children[i].goes_on)
            break;
    }
    if (!taken)
        to->v[to->n++] = r;
    return true;
}

size_t route_match(const struct route *root, struct labels labels, const struct route **out)
{
    struct found to = {.v = out};

    if (root)
        (void)walk(root, labels, &to);
    return to.n;
}

const struct route *route_find(const struct route *root, const unsigned char id[16])
{
    const struct route *found = NULL;

    if (!root || memcmp(root->id, id, sizeof(root->id)) == 0)
        return root;
    for (size_t i = 0; i < root->child_n && !found; i++)
        found = route_find(&root->children[i], id);
    return found;
}

int route_labels(struct arena *a, struct labels labels, enum severity severity, struct slice source,
                 struct labels *ret)
{
    int rc = labels_with(a, labels, SLICE_LIT("severity"), slice_of(severity_name(severity)), ret);

    if (rc == 0 && source.len > 0 && labels_get(*ret, "source").len == 0)
        rc = labels_with(a, *ret, SLICE_LIT("source"), source, ret);
    return rc;
}
