/* Slack, incoming webhook. The error is one word of text beside the status. */
#include <errno.h>
#include <string.h>

#include "notifier/channel.h"
#include "notifier/layout.h"

struct slack_cfg {
    const char *api_url, *channel, *username, *icon_emoji, *icon_url;
};

#define KEY(field, flags, help) CONF(struct slack_cfg, field, CONF_STR, NULL, flags, help)
static const struct conf_key keys[] = {
    KEY(api_url, CONF_SECRET, "incoming webhook; default: global.slack_api_url"),
    KEY(channel, 0, "channel, where the webhook may choose one"),
    KEY(username, 0, "name of the sender"),
    KEY(icon_emoji, 0, "emoji for the sender"),
    KEY(icon_url, 0, "picture for the sender"),
    CONF_END,
};

static const char *const foreign[] = {
    "actions",      "app_token", "app_token_file", "app_url",        "callback_id", "color",
    "fallback",     "fields",    "footer",         "http_config",    "image_url",   "link_names",
    "message_text", "mrkdwn_in", "pretext",        "short_fields",   "text",        "thumb_url",
    "timeout",      "title",     "title_link",     "update_message", NULL,
};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct slack_cfg *s = cfg;

    if (!s->api_url || !*s->api_url)
        s->api_url = in->global->slack_api_url;
    if (!s->api_url || !*s->api_url)
        return err_set(e, -EINVAL,
                       yaml_get(in->node, "app_token")
                           ? "slack: app_token: a bot stands under slack_bot_configs, as bot_token"
                           : "slack: api_url is missing, and global.slack_api_url too");
    return check_http_url("slack: api_url", s->api_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct slack_cfg *s = cfg;

    canonical_url(s->api_url, out);
}

/* Of /services/T.../B.../SECRET, where the secret begins; 0: it may be anywhere. */
static size_t before_secret(const char *path)
{
    static const char services[] = "/services/";
    size_t n = sizeof(services) - 1;

    if (strncmp(path, services, n) != 0)
        return 0;
    for (const char *kind = "TB"; *kind; kind++) {
        size_t part = strcspn(path + n, "/?#");
        if (path[n] != *kind || path[n + part] != '/')
            return 0;
        n += part + 1;
    }
    return n;
}

static void place(const void *cfg, struct buf *out)
{
    const struct slack_cfg *s = cfg;
    const char *host = strstr(s->api_url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
    size_t known = path ? before_secret(path) : 0;

    if (s->channel && *s->channel)
        buf_printf(out, "%s at ", s->channel);
    host_of_url(s->api_url, out);
    if (known)
        buf_printf(out, "%.*s…", (int)known, path);
}

static void put(json_t *doc, const char *key, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(doc, key, json_string(value));
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    static const struct header headers[] = {{"Content-Type", "application/json"}};
    const struct slack_cfg *s = cfg;
    json_t *doc = json_object();

    put(doc, "text", n->text);
    put(doc, "channel", s->channel);
    put(doc, "username", s->username);
    put(doc, "icon_emoji", s->icon_emoji);
    put(doc, "icon_url", s->icon_url);
    *ret = (struct request){
        .url = s->api_url,
        .method = "POST",
        .headers = headers,
        .header_n = 1,
        .body = json_bytes(doc, a),
    };
    return ret->body.len ? 0 : err_set(e, -ENOMEM, "slack: the message does not fit in its memory");
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

const struct channel channel_slack = {
    .name = "slack",
    .summary = "Slack, incoming webhook",
    .cfg_size = sizeof(struct slack_cfg),
    .keys = keys,
    .foreign = foreign,
    .escape = ESCAPE_ANGLE,
    .layout =
        LAYOUT("*", "*", "", "_", "_",
               LAYOUT_ACTS("<{{url}}|{{name}}>",
                           "") "*{{word.details}}*{{word.colon}}<{{link}}>"
                               "{{#source_link}} · <{{source_link}}|{{source}}>{{/source_link}}"),
    .max_text = 12000, /* 40,000 characters are taken, but nobody reads them */
    /* One a second, and they do not arrive as evenly as they leave. Slack takes short bursts, but
     * does not promise to show what came in one. */
    .max_per_minute = 50,
    .burst = 1,
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
