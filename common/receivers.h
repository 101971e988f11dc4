/*
 * `receivers:` and `global:` as every service sees it: names and integrations. An integration is
 * one entry of a receiver's `<channel>_configs` list; what stands inside is the channel's own
 * affair, so the YAML node is kept for the notifier. Channels are those of common/channels.def;
 * Alertmanager's keys for channels that are not there yet are load errors, because a receiver that
 * silently sends nothing hides alerts.
 *
 *   receivers:
 *     - name: team
 *       locale: zh-CN            # own keys: locale, time_zone, fallback (another receiver)
 *       slack_configs: [{api_url_file: ...}]
 */
#pragma once

#include "common/settings.h"

/* A name stands in keys of indexes and of Kafka; each integration has a row per message. */
#define RECEIVER_NAME_MAX 200 /* bytes */
#define INTEGRATIONS_MAX 64   /* of one receiver */

struct integration {
    const char *channel;     /* "slack" */
    const struct yaml *node; /* its map */
    const char *path;        /* "receivers.0.slack_configs.1", for conf_node() */
};

struct receiver {
    const char *name;
    const char *locale, *time_zone; /* "" unless given: the channel's or the global default holds */
    const struct receiver *fallback; /* is told what this one did not take; NULL: nobody */
    /* By order of the file: of the `<channel>_configs` keys, then of each list. The index is the
     * `integration` of a notification row and of what a group was told, so it must not depend on
     * which channels this version has: only an edit of the receiver changes it. */
    const struct integration *v;
    size_t n; /* 0: a receiver that sends nothing, as in Alertmanager; at most INTEGRATIONS_MAX */
};

/* `global:` as far as it means something here; Alertmanager's names, meanings and defaults. */
struct global_settings {
    int64_t resolve_timeout; /* of alerts that come without an end */
    const char *smtp_smarthost, *smtp_from, *smtp_hello;
    const char *smtp_auth_username, *smtp_auth_password, *smtp_auth_identity;
    bool smtp_require_tls;
    const char *slack_api_url; /* secret */
    const char *telegram_api_url, *telegram_bot_token;
    const char *mattermost_webhook_url; /* secret, as the token is */
    const char *jira_api_url;
    const char *opsgenie_api_url, *opsgenie_api_key;
    const char *pagerduty_url;
    const char *wechat_api_url, *wechat_api_corp_id, *wechat_api_secret;
};

struct receivers {
    struct global_settings global;
    const struct receiver *v;
    size_t n;
};

/* `global` and `receivers`. Owned by the configuration. Duplicate and empty names are errors, and
 * so are fallbacks that do not exist or that lead back to where they began. */
int receivers_load(struct settings *s, struct receivers *ret, struct err *e) MUST_CHECK;
const struct receiver *receiver_find(const struct receivers *all, struct slice name);
/* The channel of the page alone, which everybody has. */
#define CHANNEL_PAGE "dashboard"
/* Registry of channel names. */
const char *channel_name_at(size_t i); /* NULL past the end */
/* The channel of that name, which may be an alias of it (`weixin`); NULL when there is none. */
const char *channel_name_find(struct slice name);
