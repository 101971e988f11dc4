#include "common/receivers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/locale.h"
#include "common/yaml.h"
#include "common/zone.h"

static const char *const channel_names[] = {
#define CHANNEL(name) #name,
#include "common/channels.def"
#undef CHANNEL
};
#define CHANNELS (sizeof(channel_names) / sizeof(*channel_names))

static const struct {
    const char *name, *channel;
} aliases[] = {
#undef ALIAS
#define CHANNEL(name)
#define ALIAS(name, channel) {#name, #channel},
#include "common/channels.def"
#undef CHANNEL
};
#define ALIASES (sizeof(aliases) / sizeof(*aliases))

#define SUFFIX "_configs"
#define PATH_MAX_LEN 128

#define GLOBAL(field, type, def, flags, help)                                                      \
    CONF(struct global_settings, field, type, def, flags, help)

static const struct conf_key global_keys[] = {
    GLOBAL(resolve_timeout, CONF_DURATION, "5m", 0, "an alert without an end ends after this"),
    GLOBAL(smtp_smarthost, CONF_STR, NULL, 0, "mail server, host:port"),
    GLOBAL(smtp_from, CONF_STR, NULL, 0, "sender of mail"),
    GLOBAL(smtp_hello, CONF_STR, "localhost", 0, "name said in EHLO"),
    GLOBAL(smtp_auth_username, CONF_STR, NULL, 0, "user at the mail server"),
    GLOBAL(smtp_auth_password, CONF_STR, NULL, CONF_SECRET, "password at the mail server"),
    GLOBAL(smtp_auth_identity, CONF_STR, NULL, 0, "identity to act as at the mail server"),
    GLOBAL(smtp_require_tls, CONF_BOOL, "true", 0, "no mail without STARTTLS"),
    GLOBAL(slack_api_url, CONF_STR, NULL, CONF_SECRET, "incoming webhook of Slack"),
    GLOBAL(telegram_api_url, CONF_STR, NULL, 0, "Bot API server of Telegram"),
    GLOBAL(telegram_bot_token, CONF_STR, NULL, CONF_SECRET, "token of the Telegram bot"),
    GLOBAL(mattermost_webhook_url, CONF_STR, NULL, CONF_SECRET, "incoming webhook of Mattermost"),
    GLOBAL(jira_api_url, CONF_STR, NULL, 0, "site of Jira"),
    GLOBAL(opsgenie_api_key, CONF_STR, NULL, CONF_SECRET, "API key of Opsgenie"),
    GLOBAL(opsgenie_api_url, CONF_STR, NULL, 0, "API of Opsgenie"),
    GLOBAL(pagerduty_url, CONF_STR, NULL, 0, "Events API v2 of PagerDuty"),
    GLOBAL(wechat_api_url, CONF_STR, NULL, 0, "API of WeCom"),
    GLOBAL(wechat_api_corp_id, CONF_STR, NULL, 0, "company at WeCom"),
    GLOBAL(wechat_api_secret, CONF_STR, NULL, CONF_SECRET, "secret of the WeCom app"),
    CONF_END,
};

/* Alertmanager's, for channels and options that are not here: a file that has them still loads. */
static const char *const global_foreign[] = {
    "http_config",
    "incidentio_timeout",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
    "smtp_auth_secret",
    "smtp_auth_secret_file",
    "smtp_force_implicit_tls",
    "smtp_tls_config",
    "victorops_api_key",
    "victorops_api_key_file",
    "victorops_api_url",
    "webex_api_url",
    NULL,
};

const char *channel_name_at(size_t i)
{
    return i < CHANNELS ? channel_names[i] : NULL;
}

const char *channel_name_find(struct slice name)
{
    for (size_t i = 0; i < CHANNELS; i++)
        if (slice_is(name, channel_names[i]))
            return channel_names[i];
    for (size_t i = 0; i < ALIASES; i++)
        if (slice_is(name, aliases[i].name))
            return channel_name_find(slice_of(aliases[i].channel));
    return NULL;
}

static int out_of_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "receivers: the configuration is too large");
}

static int global_load(struct conf *c, struct global_settings *ret, struct err *e)
{
    const struct yaml *node = conf_yaml(c, "global");
    int r = conf_node(c, node, "global", global_keys, global_foreign, ret, e);

    for (size_t i = 0; r == 0 && global_foreign[i]; i++) {
        const struct yaml *foreign = yaml_get(node, global_foreign[i]);
        if (foreign)
            r = conf_warn(c, foreign, "global.%s has no effect here", global_foreign[i]);
    }
    return r < 0 ? r : 0;
}

static bool ends_with(const char *s, const char *end)
{
    size_t a = strlen(s), b = strlen(end);

    return a >= b && strcmp(s + a - b, end) == 0;
}

/* The channel of a `<channel>_configs` key, or NULL. */
static const char *channel_of_key(const char *key)
{
    return ends_with(key, SUFFIX)
               ? channel_name_find((struct slice){key, strlen(key) - strlen(SUFFIX)})
               : NULL;
}

static bool is_list(const struct yaml *n)
{
    return yaml_kind(n) == YAML_SEQ || yaml_kind(n) == YAML_ABSENT;
}

static int no_channel(const struct yaml *node, const struct yaml_member *m, struct err *e)
{
    char word[64];

    (void)snprintf(word, sizeof(word), "%.*s", (int)(strlen(m->key) - strlen(SUFFIX)), m->key);
    struct nearest near = nearest_to(word);
    for (size_t i = 0; i < CHANNELS; i++)
        nearest_try(&near, channel_names[i]);
    for (size_t i = 0; i < ALIASES; i++)
        nearest_try(&near, aliases[i].name);
    return err_set(e, -EINVAL,
                   "%s:%u:%u: %s: there is no such channel here, nothing would be sent%s%s%s",
                   node->file, m->line, m->column, m->key, near.best ? "; did you mean \"" : "",
                   near.best ? near.best : "", near.best ? SUFFIX "\"?" : "");
}

/* Every member of a receiver is ours, or is refused by name. Counts integrations. */
static int check_members(const struct yaml *node, size_t *ret_n, struct err *e)
{
    size_t n = 0;

    for (size_t i = 0; i < yaml_count(node); i++) {
        const char *key = yaml_key(node, i);
        const struct yaml *value = yaml_at(node, i);

        if (strcmp(key, "name") == 0 || strcmp(key, "locale") == 0 ||
            strcmp(key, "time_zone") == 0 || strcmp(key, "fallback") == 0)
            continue;
        if (!ends_with(key, SUFFIX))
            return yaml_err(value, e, "unknown key %s of a receiver", key);
        if (!channel_of_key(key))
            return no_channel(node, &node->v[i], e);
        if (!is_list(value))
            return yaml_err(value, e, "%s: a list is expected", key);
        n += yaml_count(value);
    }
    *ret_n = n;
    return 0;
}

/* `key` as it stands in the file: what a person reads in errors, an alias perhaps. */
static int add_channel(struct conf *c, const struct yaml *list, const char *key, size_t receiver,
                       struct integration *v, struct err *e)
{
    for (size_t i = 0; i < yaml_count(list); i++) {
        char path[PATH_MAX_LEN];
        const struct yaml *node = yaml_at(list, i);

        if (yaml_kind(node) == YAML_SCALAR || yaml_kind(node) == YAML_SEQ)
            return yaml_err(node, e, "%s: a list of maps is expected", key);
        (void)snprintf(path, sizeof(path), "receivers.%zu.%s.%zu", receiver, key, i);
        v[i] = (struct integration){channel_of_key(key), node, conf_strdup(c, path)};
        if (!v[i].path)
            return out_of_memory(e);
    }
    return 0;
}

static int add_integrations(struct conf *c, const struct yaml *node, size_t index,
                            struct receiver *ret, struct err *e)
{
    struct integration *v = NULL;
    size_t n = 0, used = 0;
    int r = check_members(node, &n, e);

    if (r < 0)
        return r;
    if (n == 0)
        return 0; /* as it was cleared: nothing is sent */
    if (n > INTEGRATIONS_MAX)
        return yaml_err(node, e, "receiver %s has %zu integrations, more than %d", ret->name, n,
                        INTEGRATIONS_MAX);
    if (!(v = conf_alloc(c, n, sizeof(*v))))
        return out_of_memory(e);
    for (size_t i = 0; i < yaml_count(node); i++) {
        const char *key = yaml_key(node, i);
        const struct yaml *list = yaml_at(node, i);

        if (!channel_of_key(key))
            continue;
        if ((r = add_channel(c, list, key, index, v + used, e)) < 0)
            return r;
        used += yaml_count(list);
    }
    ret->v = v;
    ret->n = n;
    return 0;
}

static int text_of(struct conf *c, const struct yaml *node, const char *key, const char **ret,
                   struct err *e)
{
    const struct yaml *value = yaml_get(node, key);

    if (yaml_kind(value) == YAML_SEQ || yaml_kind(value) == YAML_MAP)
        return yaml_err(value, e, "%s: a text is expected", key);
    *ret = conf_strdup(c, value && yaml_scalar(value) ? yaml_scalar(value) : "");
    return *ret ? 0 : out_of_memory(e);
}

static int check_zone(const struct yaml *node, const char *name, struct err *e)
{
    CLEANUP(zone_free) struct zone *zone = NULL;
    struct err why = {0};

    return zone_open(name, &zone, &why) < 0
               ? yaml_err(yaml_get(node, "time_zone"), e, "%s", why.msg)
               : 0;
}

static int check_locale(const struct yaml *node, const char *name, struct err *e)
{
    enum locale l;

    return *name && !locale_find(slice_of(name), &l)
               ? yaml_err(yaml_get(node, "locale"), e, "locale: one of%s is expected, not \"%s\"",
                          LOCALE_NAMES, name)
               : 0;
}

static int load_one(struct conf *c, const struct yaml *node, size_t index, struct receiver *ret,
                    struct err *e)
{
    int r;

    if (yaml_kind(node) != YAML_MAP)
        return yaml_err(node, e, "a receiver is a map with a name");
    if ((r = text_of(c, node, "name", &ret->name, e)) < 0 ||
        (r = text_of(c, node, "locale", &ret->locale, e)) < 0 ||
        (r = text_of(c, node, "time_zone", &ret->time_zone, e)) < 0 ||
        (r = check_locale(node, ret->locale, e)) < 0 ||
        (r = check_zone(node, ret->time_zone, e)) < 0)
        return r;
    if (!*ret->name)
        return yaml_err(node, e, "a receiver needs a name");
    if (strlen(ret->name) > RECEIVER_NAME_MAX)
        return yaml_err(yaml_get(node, "name"), e, "a receiver's name has at most %d bytes",
                        RECEIVER_NAME_MAX);
    return add_integrations(c, node, index, ret, e);
}

/* Who is told what a receiver did not take. No way may lead back, or a message went round for ever.
 */
static int set_fallbacks(const struct yaml *list, struct receiver *v, const struct receivers *all,
                         struct err *e)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct yaml *node = yaml_get(yaml_at(list, i), "fallback");
        const char *name = node ? yaml_scalar(node) : NULL;

        if (node && (!name || !*name))
            return yaml_err(node, e, "fallback: the name of a receiver is expected");
        v[i].fallback = name ? receiver_find(all, slice_of(name)) : NULL;
        if (name && !v[i].fallback)
            return yaml_err(node, e, "fallback: there is no receiver %s", name);
        if (name && v[i].fallback->n == 0)
            return yaml_err(node, e, "fallback: receiver %s has no channel", name);
    }
    for (size_t i = 0; i < all->n; i++) {
        const struct receiver *r = v[i].fallback;
        for (size_t steps = 0; r && r != &v[i] && steps < all->n; steps++)
            r = r->fallback;
        if (r == &v[i])
            return yaml_err(yaml_get(yaml_at(list, i), "fallback"), e,
                            "fallback: the way from %s leads back to it", v[i].name);
    }
    return 0;
}

int receivers_load(struct settings *s, struct receivers *ret, struct err *e)
{
    const struct yaml *list = conf_yaml(s->conf, "receivers");
    struct receivers all = {.n = yaml_count(list)};
    int r = global_load(s->conf, &all.global, e);

    if (r < 0)
        return r;
    if (!is_list(list))
        return yaml_err(list, e, "receivers: a list is expected");
    struct receiver *v = all.n ? conf_alloc(s->conf, all.n, sizeof(*v)) : NULL;
    if (all.n && !v)
        return out_of_memory(e);
    all.v = v;
    for (size_t i = 0; i < all.n; i++) {
        if ((r = load_one(s->conf, yaml_at(list, i), i, &v[i], e)) < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (strcmp(v[i].name, v[j].name) == 0)
                return yaml_err(yaml_at(list, i), e, "there are two receivers named %s", v[i].name);
    }
    if ((r = set_fallbacks(list, v, &all, e)) < 0)
        return r;
    *ret = all;
    return 0;
}

const struct receiver *receiver_find(const struct receivers *all, struct slice name)
{
    for (size_t i = 0; i < all->n; i++)
        if (slice_is(name, all->v[i].name))
            return &all->v[i];
    return NULL;
}
