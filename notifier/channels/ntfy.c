/*
 * ntfy (ntfy.sh or self-hosted): the message published as JSON. Success is its own JSON with an id.
 * A message of more than 4096 bytes would become an attachment, which nobody reads at night; and
 * the whole JSON may have twice that. Who knows the topic reads it: it is a secret.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/http_auth.h"
#include "notifier/layout.h"

#define REQUESTS_USED_UP 42901 /* a visitor's requests: one more every five seconds */
#define REQUESTS_WAIT (5 * MS_SECOND)
#define DAY_USED_UP_WAIT (10 * MS_MINUTE) /* messages or bandwidth of a day */
#define ACTIONS_MAX 3

struct ntfy_cfg {
    const char *url, *topic, *token;
    struct http_auth auth;
};

#define KEY(field, def, flags, help) CONF(struct ntfy_cfg, field, CONF_STR, def, flags, help)
static const struct conf_key keys[] = {
    KEY(url, "https://ntfy.sh", 0, "address of the server"),
    KEY(topic, NULL, CONF_SECRET | CONF_REQUIRED, "the topic"),
    KEY(token, NULL, CONF_SECRET, "access token; instead of http_config"),
    CONF_END,
};

static const char *const trees[] = {"http_config", NULL};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    struct ntfy_cfg *c = cfg;
    size_t n = strlen(c->topic);

    if (n == 0 || n > 64 || strspn(c->topic, word) != n)
        return err_set(e, -EINVAL,
                       "ntfy: the topic is up to 64 letters, digits, hyphens and underscores");
    int r = http_auth_load(&c->auth, in, e);
    if (r < 0)
        return r;
    if (c->token && *c->token && http_auth_given(&c->auth))
        return err_set(e, -EINVAL, "ntfy: token and http_config exclude each other");
    if (c->token && *c->token) {
        c->auth.auth_type = "Bearer";
        c->auth.credentials = c->token;
    }
    return check_http_url("ntfy: url", c->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct ntfy_cfg *c = cfg;

    canonical_url(c->url, out);
    buf_printf(out, "\n%s\n", c->topic);
    http_auth_identity(&c->auth, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct ntfy_cfg *c = cfg;

    host_of_url(c->url, out);
}

/* How loud, and with which picture. */
static json_t *loudness(const struct notification *n)
{
    static const struct {
        const char *severity, *tag;
        int priority;
    } all[] = {{"critical", "rotating_light", 5},
               {"error", "rotating_light", 4},
               {"warning", "warning", 3},
               {"info", "information_source", 2}};
    const char *severity = json_string_value(json_object_get(n->data, "severity"));

    if (json_is_true(json_object_get(n->data, "resolved")))
        return json_pack("{s:i, s:[s]}", "priority", 3, "tags", "white_check_mark");
    for (size_t i = 0; severity && i < sizeof(all) / sizeof(*all); i++)
        if (strcmp(severity, all[i].severity) == 0)
            return json_pack("{s:i, s:[s]}", "priority", all[i].priority, "tags", all[i].tag);
    return json_pack("{s:i}", "priority", 3);
}

static json_t *actions(const struct notification *n)
{
    json_t *out = json_array();
    const json_t *act;
    size_t i;

    json_array_foreach (json_object_get(n->data, "acts"), i, act)
        if (json_array_size(out) < ACTIONS_MAX)
            (void)json_array_append_new(out, json_pack("{s:s, s:O, s:O}", "action", "view", "label",
                                                       json_object_get(act, "name"), "url",
                                                       json_object_get(act, "url")));
    return out;
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    const struct ntfy_cfg *c = cfg;
    json_t *link = json_object_get(n->data, "link");
    const char *text = n->news ? n->news : n->text;
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == '\n')
        len--;
    json_t *doc = json_pack("{s:s, s:s, s:s%, s:o}", "topic", c->topic, "title", n->title,
                            "message", text, len, "actions", actions(n));

    if (doc && json_is_string(link))
        (void)json_object_set(doc, "click", link);
    (void)json_object_update_new(doc, loudness(n));
    int r = post_json("ntfy", c->url, doc, a, ret, e);
    if (r < 0 || !http_auth_given(&c->auth))
        return r;
    struct header *headers = arena_array(a, ret->header_n + 1, struct header);
    const char *value = http_auth_value(&c->auth, a);
    if (!headers || !value)
        return err_set(e, -ENOMEM, "ntfy: out of memory");
    memcpy(headers, ret->headers, ret->header_n * sizeof(*headers));
    headers[ret->header_n++] = (struct header){"Authorization", value};
    ret->headers = headers;
    return 0;
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);
    const json_t *answer = answer_json(r, a);

    (void)cfg;
    if (out.verdict == VERDICT_DELIVERED && !json_is_string(json_object_get(answer, "id")))
        out.verdict = VERDICT_RETRY; /* somebody else's answer, a login page perhaps */
    if (r->status == 429) {
        bool requests =
            json_integer_value(json_object_get(answer, "code")) == REQUESTS_USED_UP || !answer;
        out.limited = true;
        if (out.wait_ms == 0)
            out.wait_ms = requests ? REQUESTS_WAIT : DAY_USED_UP_WAIT;
    }
    return out;
}

const struct channel channel_ntfy = {
    .name = "ntfy",
    .summary = "ntfy, published as JSON",
    .cfg_size = sizeof(struct ntfy_cfg),
    .keys = keys,
    .trees = trees,
    .send_resolved = true,
    .layout = LAYOUT_BODY("", "", "", "", "", ""),
    .news_layout = LAYOUT_NEWS_BODY("", "", "", ""),
    .max_text = 3000,     /* bytes; escaped, with title and links, within 8192 */
    .max_per_minute = 12, /* a request every five seconds */
    .burst = 4,
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
