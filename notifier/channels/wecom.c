/* WeCom group robot. Always HTTP 200: the verdict is `errcode` in the body, and a body without one
 * is nobody's yes. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define SEND_URL "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="
#define LIMIT_WAIT MS_MINUTE
#define DETAILS LAYOUT_ACTS("[{{name}}]({{{url}}})", "") "[{{word.details}}]({{{link}}})"

static const char layout[] = "**{{headline}}**\n"
                             "{{rule}}\n"
                             "{{#origin}}\n"
                             "> {{name}}{{word.colon}}{{value}}\n"
                             "{{/origin}}\n"
                             "\n"
                             "{{#details}}\n"
                             "**{{name}}**{{word.colon}}{{value}}\n"
                             "{{/details}}\n"
                             "{{#lines}}\n"
                             "{{emoji}} {{text}}\n"
                             "{{/lines}}\n"
                             "{{#more}}\n"
                             "{{more}}\n"
                             "{{/more}}\n"
                             "{{#notes}}\n"
                             "> {{.}}\n"
                             "{{/notes}}\n"
                             "{{#link}}\n" DETAILS "\n"
                             "{{/link}}\n";

struct wecom_cfg {
    const char *url, *key;
    struct conf_strs mentioned_list;
};

#define T struct wecom_cfg
static const struct conf_key keys[] = {
    CONF(T, url, CONF_STR, NULL, CONF_SECRET, "the robot's address with its key"),
    CONF(T, key, CONF_STR, NULL, CONF_SECRET, "the robot's key alone, at WeCom's own address"),
    CONF(T, mentioned_list, CONF_STRS, NULL, 0, "members named in critical messages"),
    CONF_END,
};
#undef T

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct wecom_cfg *w = cfg;
    bool url = w->url && *w->url, key = w->key && *w->key;

    if (url == key)
        return err_set(e, -EINVAL, "wecom: either url or key is needed");
    if (key && !(w->url = joined_url(in->conf, SEND_URL, w->key)))
        return err_set(e, -ENOMEM, "wecom: out of memory");
    return check_http_url("wecom: url", w->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct wecom_cfg *w = cfg;

    canonical_url(w->url, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct wecom_cfg *w = cfg;

    host_of_url(w->url, out);
}

/* Markdown knows members by <@id>; "@all" has no such form and is left to text messages. */
static const char *with_mentions(const struct wecom_cfg *w, const struct notification *n,
                                 struct arena *a)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(8192);
    const char *severity = json_string_value(json_object_get(n->data, "severity"));

    if (!w->mentioned_list.n || !severity || strcmp(severity, "critical") != 0)
        return n->text;
    buf_puts(&out, n->text);
    for (size_t i = 0; i < w->mentioned_list.n; i++)
        buf_printf(&out, "<@%s>", w->mentioned_list.v[i]);
    /* Rather no names than a message that is refused. */
    if (out.failed || out.len > 4096)
        return n->text;
    return arena_strndup(a, buf_str(&out), out.len);
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    static const struct header headers[] = {{"Content-Type", "application/json"}};
    const struct wecom_cfg *w = cfg;
    const char *text = with_mentions(w, n, a);
    json_t *doc =
        text ? json_pack("{s:s, s:{s:s}}", "msgtype", "markdown", "markdown", "content", text)
             : NULL;

    *ret = (struct request){
        .url = w->url,
        .method = "POST",
        .headers = headers,
        .header_n = 1,
        .body = json_bytes(doc, a),
    };
    return ret->body.len ? 0 : err_set(e, -ENOMEM, "wecom: the message does not fit in its memory");
}

static struct outcome by_code(json_int_t code, struct outcome out)
{
    out.wait_ms = 0;
    switch (code) {
    case 0:
        out.verdict = VERDICT_DELIVERED;
        break;
    case 45009: /* too many messages */
        out.verdict = VERDICT_RETRY;
        out.wait_ms = LIMIT_WAIT;
        out.limited = true;
        break;
    case -1: /* busy */
        out.verdict = VERDICT_RETRY;
        break;
    default:
        out.verdict = VERDICT_REJECT;
    }
    return out;
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);

    (void)cfg;
    if (out.verdict != VERDICT_DELIVERED)
        return out;
    json_t *doc = json_loadb(r->body.p ? r->body.p : "", r->body.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *code = json_object_get(doc, "errcode");
    if (json_is_integer(code))
        out = by_code(json_integer_value(code), out);
    else
        out.verdict = VERDICT_RETRY;
    json_decref(doc);
    return out;
}

const struct channel channel_wecom = {
    .name = "wecom",
    .summary = "WeCom group robot",
    .cfg_size = sizeof(struct wecom_cfg),
    .keys = keys,
    .escape = ESCAPE_MARKDOWN,
    .layout = layout,
    .max_text = 4096,
    .send_resolved = true,
    .locale = "zh-CN",
    .max_per_minute = 20,
    .burst = 10,
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
