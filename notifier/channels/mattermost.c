/* Mattermost, incoming webhook. Success is the text "ok". */
#include <errno.h>
#include <string.h>

#include "notifier/channel.h"
#include "notifier/layout.h"

#define DETAILS LAYOUT_ACTS("[{{name}}]({{{url}}})", "") "[{{word.details}}]({{{link}}})"

struct mattermost_cfg {
    const char *webhook_url, *channel, *username, *icon_url, *icon_emoji;
};

#define KEY(field, flags, help) CONF(struct mattermost_cfg, field, CONF_STR, NULL, flags, help)
static const struct conf_key keys[] = {
    KEY(webhook_url, CONF_SECRET, "incoming webhook; default: global.mattermost_webhook_url"),
    KEY(channel, 0, "channel, where the webhook may choose one"),
    KEY(username, 0, "name of the sender"),
    KEY(icon_url, 0, "picture of the sender"),
    KEY(icon_emoji, 0, "emoji for the sender"),
    CONF_END,
};

static const char *const foreign[] = {"attachments", "fallback", "priority", "props",
                                      "text",        "type",     NULL};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct mattermost_cfg *m = cfg;

    if (!m->webhook_url || !*m->webhook_url)
        m->webhook_url = in->global->mattermost_webhook_url;
    if (!m->webhook_url || !*m->webhook_url)
        return err_set(e, -EINVAL,
                       "mattermost: webhook_url is missing, and global.mattermost_webhook_url too");
    return check_http_url("mattermost: webhook_url", m->webhook_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct mattermost_cfg *m = cfg;

    canonical_url(m->webhook_url, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct mattermost_cfg *m = cfg;

    if (m->channel && *m->channel)
        buf_printf(out, "%s at ", m->channel);
    host_of_url(m->webhook_url, out);
}

static void put(json_t *doc, const char *key, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(doc, key, json_string(value));
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    const struct mattermost_cfg *m = cfg;
    json_t *doc = json_pack("{s:s}", "text", n->news ? n->news : n->text);

    put(doc, "channel", m->channel);
    put(doc, "username", m->username);
    put(doc, "icon_url", m->icon_url);
    put(doc, "icon_emoji", m->icon_emoji);
    int r = post_json("mattermost", m->webhook_url, doc, a, ret, e);
    ret->wait_header = "X-Ratelimit-Reset";
    return r;
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);

    (void)cfg;
    /* 200 with anything but "ok" is somebody else's answer, a proxy's login page perhaps. */
    if (out.verdict == VERDICT_DELIVERED && !slice_is(r->body, "ok"))
        out.verdict = VERDICT_RETRY;
    return out;
}

const struct channel channel_mattermost = {
    .name = "mattermost",
    .summary = "Mattermost, incoming webhook",
    .cfg_size = sizeof(struct mattermost_cfg),
    .keys = keys,
    .foreign = foreign,
    .send_resolved = true,
    .escape = ESCAPE_BACKSLASH,
    .layout = LAYOUT("**", "**", "", "_", "_", DETAILS),
    .news_layout = LAYOUT_NEWS("**", "**", "", "_", "_", DETAILS),
    .max_text = 16383,
    .unit = UNIT_UTF16,
    .max_per_minute = 600,
    .burst = 10,
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
