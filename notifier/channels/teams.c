/*
 * Microsoft Teams: an adaptive card for the address of a Workflow ("when a Teams webhook request is
 * received"); the retired connectors' addresses take the same. A 2xx says that the card was taken,
 * not that it was posted; the connectors also told their errors under HTTP 200.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/template_escape.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define BLOCKS_MAX 80 /* with 10,000 bytes of text, each perhaps escaped: within 28 KB of JSON */
#define LIMIT_WAIT (10 * MS_SECOND)

struct teams_cfg {
    const char *webhook_url;
};

#define T struct teams_cfg
static const struct conf_key keys[] = {
    CONF(T, webhook_url, CONF_STR, NULL, CONF_SECRET | CONF_REQUIRED, "the workflow's address"),
    CONF_END,
};
#undef T

static const char *const foreign[] = {"http_config", "summary", "text", "title", NULL};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    const struct teams_cfg *t = cfg;

    (void)in;
    return check_http_url("teams: webhook_url", t->webhook_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct teams_cfg *t = cfg;

    canonical_url(t->webhook_url, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct teams_cfg *t = cfg;

    host_of_url(t->webhook_url, out);
}

static const char *colour(const struct notification *n)
{
    const char *severity = json_string_value(json_object_get(n->data, "severity"));

    if (json_is_true(json_object_get(n->data, "resolved")))
        return "Good";
    if (is_critical(n) || (severity && strcmp(severity, "error") == 0))
        return "Attention";
    return severity && strcmp(severity, "warning") == 0 ? "Warning" : "Default";
}

static json_t *title_block(const struct notification *n)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(4096);

    template_escape(&text, slice_of(n->title), ESCAPE_BACKSLASH);
    return text.failed ? NULL
                       : json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "type", "TextBlock", "text",
                                   buf_str(&text), "size", "Medium", "weight", "Bolder", "color",
                                   colour(n), "wrap", 1);
}

/* A block for each line: what a line feed within a block does differs between Teams' clients. */
static int add_lines(json_t *blocks, const char *text)
{
    bool gap = true;
    int r = 0;

    for (const char *end; *text && r == 0; text = *end ? end + 1 : end) {
        end = text + strcspn(text, "\n");
        if (json_array_size(blocks) + 1 >= BLOCKS_MAX)
            end = text + strlen(text);
        if (end == text) {
            gap = true;
            continue;
        }
        r = json_array_append_new(blocks, json_pack("{s:s, s:s%, s:s, s:b}", "type", "TextBlock",
                                                    "text", text, (size_t)(end - text), "spacing",
                                                    gap ? "Medium" : "None", "wrap", 1));
        gap = false;
    }
    return r;
}

static void add_button(json_t *buttons, const char *title, const char *url)
{
    if (title && url)
        (void)json_array_append_new(buttons, json_pack("{s:s, s:s, s:s}", "type", "Action.OpenUrl",
                                                       "title", title, "url", url));
}

static json_t *buttons_of(const struct notification *n)
{
    const json_t *act;
    json_t *out = json_array();
    size_t i;

    json_array_foreach (json_object_get(n->data, "acts"), i, act)
        add_button(out, json_string_value(json_object_get(act, "name")),
                   json_string_value(json_object_get(act, "url")));
    add_button(out, json_string_value(json_object_get(json_object_get(n->data, "word"), "details")),
               json_string_value(json_object_get(n->data, "link")));
    return out;
}

static json_t *payload(const struct notification *n)
{
    json_t *blocks = json_array();

    if (json_array_append_new(blocks, title_block(n)) < 0 ||
        add_lines(blocks, n->news ? n->news : n->text) < 0) {
        json_decref(blocks);
        return NULL;
    }
    json_t *card = json_pack("{s:s, s:s, s:s, s:o, s:o, s:{s:s}}", "$schema",
                             "http://adaptivecards.io/schemas/adaptive-card.json", "type",
                             "AdaptiveCard", "version", "1.2", "body", blocks, "actions",
                             buttons_of(n), "msteams", "width", "Full");
    return card ? json_pack("{s:s, s:[{s:s, s:n, s:o}]}", "type", "message", "attachments",
                            "contentType", "application/vnd.microsoft.card.adaptive", "contentUrl",
                            "content", card)
                : NULL;
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    const struct teams_cfg *t = cfg;

    return post_json("teams", t->webhook_url, payload(n), a, ret, e);
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);

    (void)cfg;
    if (out.verdict != VERDICT_DELIVERED)
        return out;
    if (strstr(out.words, "HTTP error")) { /* the connectors' way */
        out.verdict = VERDICT_RETRY;
        out.limited = strstr(out.words, "HTTP error 429") != NULL;
        out.wait_ms = out.limited ? LIMIT_WAIT : 0;
    } else if (r->body.len && r->body.p[0] == '<') {
        out.verdict = VERDICT_RETRY; /* somebody else's answer, a login page perhaps */
    }
    return out;
}

const struct channel channel_teams = {
    .name = "teams",
    .summary = "Microsoft Teams, workflow webhook",
    .cfg_size = sizeof(struct teams_cfg),
    .keys = keys,
    .foreign = foreign,
    .send_resolved = true,
    .escape = ESCAPE_BACKSLASH,
    .layout = LAYOUT_BODY("**", "**", "", "_", "_", ""),
    .news_layout = LAYOUT_NEWS_BODY("", "_", "_", ""),
    .max_text = 10000,
    .max_per_minute = 60,
    .burst = 4, /* in a second */
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
