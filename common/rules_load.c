/* `rules:` from the configuration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/glob.h"
#include "common/rules.h"

#define PATH_MAX_LEN 64 /* "rules.NUMBER.match" */
#define COUNT_MAX UINT32_MAX
#define WINDOW_MIN MS_MINUTE
#define WINDOW_MAX (30 * MS_DAY)

static const char *const actions[] = {"as_routed", "immediate", "hourly_summary", "daily_digest",
                                      NULL};

/* What a rule's maps say, before it is looked at more closely. */
struct words {
    const char *name, *receiver;
    int action;
    struct conf_strs channels;
};
struct match_words {
    struct conf_strs fingerprint, level, category;
    const char *rate;
};

static const struct conf_key keys[] = {
    CONF(struct words, name, CONF_STR, NULL, 0, "stands where one asks why"),
    CONF_CHOICE(struct words, action, "as_routed", actions, "when it is told"),
    CONF(struct words, channels, CONF_STRS, NULL, 0,
         "of the receiver; dashboard alone: nobody is sent anything"),
    CONF(struct words, receiver, CONF_STR, NULL, 0, "instead of the route's"),
    CONF_END,
};
static const struct conf_key match_keys[] = {
    CONF(struct match_words, fingerprint, CONF_STRS, NULL, 0, "globs over its words"),
    CONF(struct match_words, level, CONF_STRS, NULL, 0, "severities"),
    CONF(struct match_words, category, CONF_STRS, NULL, 0,
         "label category, else application or infrastructure"),
    CONF(struct match_words, rate, CONF_STR, NULL, 0, "such as \"> 10 per hour\""),
    CONF_END,
};

struct loader {
    struct conf *c;
    const struct receivers *receivers;
    struct rules *rules;
    char path[PATH_MAX_LEN]; /* of the rule at hand: "rules.0" */
};

static int out_of_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "rules: the configuration is too large");
}

/* An error about one key of a rule, where its value was written. */
static int key_err(const struct loader *l, const char *key, struct err *e, const char *what,
                   const char *value)
{
    char name[PATH_MAX_LEN + 32];

    (void)snprintf(name, sizeof(name), "%s.%s", l->path, key);
    return conf_key_err(l->c, name, e, "%s%s", what, value);
}

/* ---- names ---- */

static int load_name(const struct loader *l, const struct words *w, struct rule *r, struct err *e)
{
    const size_t len = strlen(w->name);

    if (len == 0)
        return key_err(l, "name", e, "a rule needs a name", "");
    if (len > RULE_NAME_MAX)
        return key_err(l, "name", e, "a rule's name is too long: ", w->name);
    for (const char *p = w->name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '\x7f' || *p == '"' || *p == '\\')
            return key_err(l, "name", e, "a rule's name holds no \", \\ or control character", "");
    for (size_t i = 0; i < l->rules->n; i++)
        if (strcmp(l->rules->v[i].name, w->name) == 0)
            return key_err(l, "name", e, "there are two rules named ", w->name);
    r->name = w->name;
    return 0;
}

/* ---- what it matches ---- */

static int load_fingerprint(const struct loader *l, const struct conf_strs *globs, struct rule *r,
                            struct err *e)
{
    for (size_t i = 0; i < globs->n; i++) {
        const char *fault = glob_fault(globs->v[i]);
        char what[128];

        if (!fault)
            continue;
        (void)snprintf(what, sizeof(what), "%s: ", fault);
        return key_err(l, "match.fingerprint", e, what, globs->v[i]);
    }
    r->fingerprint = *globs;
    r->takes_rest = globs->n > 0 && strcmp(globs->v[globs->n - 1], "*") == 0;
    return 0;
}

static int load_levels(const struct loader *l, const struct conf_strs *names, struct rule *r,
                       struct err *e)
{
    for (size_t i = 0; i < names->n; i++) {
        const enum severity severity = severity_parse(slice_of(names->v[i]), (enum severity)0);

        if (!severity)
            return key_err(l, "match.level", e,
                           "critical, error, warning or info is expected, not ", names->v[i]);
        r->levels |= 1U << severity;
    }
    return 0;
}

static const struct {
    const char *name;
    int64_t ms;
} windows[] = {
    {"minute", MS_MINUTE}, {"hour", MS_HOUR},      {"day", MS_DAY},
    {"week", 7 * MS_DAY},  {"month", 30 * MS_DAY},
};

static bool parse_window(const char *text, int64_t *ret)
{
    for (size_t i = 0; i < sizeof(windows) / sizeof(*windows); i++)
        if (strcmp(text, windows[i].name) == 0) {
            *ret = windows[i].ms;
            return true;
        }
    return duration_parse(slice_of(text), ret);
}

static const char *skip_spaces(const char *p)
{
    return p + strspn(p, " ");
}

/* "> 10 per hour", ">=100/15m": false when it is no such text. */
static bool parse_rate(const char *p, struct rule_rate *ret)
{
    uint64_t n = 0;
    bool more;

    p = skip_spaces(p);
    if (*p++ != '>')
        return false;
    more = *p != '=';
    p = skip_spaces(p + !more);
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        n = n > COUNT_MAX ? n : 10 * n + (uint64_t)(*p - '0');
    p = skip_spaces(p);
    if (strncmp(p, "per ", 4) == 0)
        p += 4;
    else if (*p++ != '/')
        return false;
    ret->least = n + more;
    return parse_window(skip_spaces(p), &ret->window_ms);
}

static int load_rate(const struct loader *l, const char *text, struct rule *r, struct err *e)
{
    struct rule_rate rate = {.text = text, .bit = (uint32_t)l->rules->rated_n};

    if (!*text)
        return 0;
    if (!parse_rate(text, &rate))
        return key_err(l, "match.rate", e, "expected a rate such as \"> 10 per hour\", not ", text);
    if (rate.least == 0 || rate.least > COUNT_MAX)
        return key_err(l, "match.rate", e, "between 1 and 4294967295 occurrences, not ", text);
    if (rate.window_ms < WINDOW_MIN || rate.window_ms > WINDOW_MAX)
        return key_err(l, "match.rate", e, "occurrences are counted over 1m to 30d, not ", text);
    if (l->rules->rated_n == RULES_RATED_MAX)
        return key_err(l, "match.rate", e, "at most 64 rules have a rate", "");
    r->rate = rate;
    return 0;
}

static int load_match(const struct loader *l, const struct yaml *node, struct rule *r,
                      struct err *e)
{
    static const char *const extra[] = {"matchers", NULL};
    char path[PATH_MAX_LEN];
    struct match_words w = {0};
    int rc;

    if (node && yaml_kind(node) != YAML_MAP && yaml_kind(node) != YAML_ABSENT)
        return yaml_err(node, e, "match: a map such as {level: critical} is expected");
    (void)snprintf(path, sizeof(path), "%.*s.match", PATH_MAX_LEN - 7, l->path);
    if ((rc = conf_node(l->c, node, path, match_keys, extra, &w, e)) < 0 ||
        (rc = load_fingerprint(l, &w.fingerprint, r, e)) < 0 ||
        (rc = load_levels(l, &w.level, r, e)) < 0 || (rc = load_rate(l, w.rate, r, e)) < 0)
        return rc;
    r->categories = w.category;
    return route_load_matchers(l->c, yaml_get(node, "matchers"), &r->matchers, e);
}

/* ---- what it does ---- */

static bool has_channel(const struct receiver *r, const char *channel)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->v[i].channel, channel) == 0)
            return true;
    return false;
}

/* Could it be told there at all? Everybody has the page. */
static bool is_somewhere(const struct loader *l, const struct rule *r, const char *channel)
{
    if (strcmp(channel, CHANNEL_PAGE) == 0)
        return true;
    if (r->receiver)
        return has_channel(r->receiver, channel);
    for (size_t i = 0; i < l->receivers->n; i++)
        if (has_channel(&l->receivers->v[i], channel))
            return true;
    return false;
}

static int load_channels(const struct loader *l, const struct conf_strs *names, struct rule *r,
                         struct err *e)
{
    const char **v = names->n ? conf_alloc(l->c, names->n, sizeof(*v)) : NULL;

    if (names->n > 0 && !v)
        return out_of_memory(e);
    r->page_only = names->n > 0;
    for (size_t i = 0; i < names->n; i++) {
        v[i] = channel_name_find(slice_of(names->v[i]));
        if (!v[i])
            return key_err(l, "channels", e, "there is no channel ", names->v[i]);
        if (!is_somewhere(l, r, v[i]))
            return key_err(l, "channels", e,
                           r->receiver ? "its receiver has no " : "no receiver has a ",
                           names->v[i]);
        r->page_only &= strcmp(v[i], CHANNEL_PAGE) == 0;
    }
    r->channels = (struct conf_strs){v, names->n};
    return 0;
}

static int load_receiver(const struct loader *l, const char *name, struct rule *r, struct err *e)
{
    if (!*name)
        return 0;
    r->receiver = receiver_find(l->receivers, slice_of(name));
    return r->receiver ? 0 : key_err(l, "receiver", e, "there is no receiver named ", name);
}

/* ---- the list ---- */

static int load_rule(struct loader *l, const struct yaml *node, struct rule *r, struct err *e)
{
    static const char *const extra[] = {"match", NULL};
    struct words w = {0};
    int rc;

    if (yaml_kind(node) != YAML_MAP)
        return yaml_err(node, e, "a rule is a map with a name");
    if ((rc = conf_node(l->c, node, l->path, keys, extra, &w, e)) < 0 ||
        (rc = load_name(l, &w, r, e)) < 0 ||
        (rc = load_match(l, yaml_get(node, "match"), r, e)) < 0 ||
        (rc = load_receiver(l, w.receiver, r, e)) < 0)
        return rc;
    r->action = (enum rule_action)w.action;
    return load_channels(l, &w.channels, r, e);
}

static int load_list(struct loader *l, const struct yaml *list, struct err *e)
{
    const size_t n = yaml_count(list);
    struct rule *v = conf_alloc(l->c, n, sizeof(*v));

    if (!v)
        return out_of_memory(e);
    l->rules->v = v;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(l->path, sizeof(l->path), "rules.%zu", i);
        int rc = load_rule(l, yaml_at(list, i), &v[i], e);
        if (rc < 0)
            return rc;
        if (v[i].rate.least > 0)
            l->rules->rated[l->rules->rated_n++] = &v[i];
        l->rules->n++;
    }
    return 0;
}

int rules_load(struct settings *s, const struct source_entries *sources,
               const struct receivers *receivers, const struct route *root,
               const struct rules **ret, struct err *e)
{
    const struct yaml *list = conf_yaml(s->conf, "rules");
    struct loader l = {.c = s->conf, .receivers = receivers};

    *ret = NULL;
    if (list && yaml_kind(list) != YAML_SEQ && yaml_kind(list) != YAML_ABSENT)
        return yaml_err(list, e, "rules: a list is expected");
    if (yaml_count(list) == 0)
        return 0;
    if (!root)
        return yaml_err(list, e, "rules change what a route says, and there is no receiver");
    if (yaml_count(list) > s->limits.rules)
        return yaml_err(list, e, "there are %zu rules, more than limits.rules", yaml_count(list));
    if (!(l.rules = conf_alloc(s->conf, 1, sizeof(*l.rules))))
        return out_of_memory(e);
    l.rules->sources = sources;
    int rc = load_list(&l, list, e);
    if (rc == 0)
        *ret = l.rules;
    return rc;
}
