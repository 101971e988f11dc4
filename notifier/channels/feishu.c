/* Feishu and Lark, custom bot of a group. The verdict is `code` in the body; older answers have
 * `StatusCode` alone. The signature stands in the body, too. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define PATH "/open-apis/bot/v2/hook/"
#define LIMIT_WAIT MS_MINUTE
#define DETAILS LAYOUT_ACTS("[{{name}}]({{{url}}})", "") "[{{word.details}}]({{{link}}})"

enum site { SITE_FEISHU, SITE_LARK };
static const char *const sites[] = {"feishu", "lark", NULL};
static const char *const addresses[] = {"https://open.feishu.cn" PATH,
                                        "https://open.larksuite.com" PATH};

struct feishu_cfg {
    const char *url, *token, *secret;
    int site;
};

#define T struct feishu_cfg
static const struct conf_key keys[] = {
    CONF(T, url, CONF_STR, NULL, CONF_SECRET, "the bot's address with its token"),
    CONF(T, token, CONF_STR, NULL, CONF_SECRET, "that token alone, at the site's address"),
    CONF_CHOICE(T, site, "feishu", sites, "whose address: feishu (China) or lark"),
    CONF(T, secret, CONF_STR, NULL, CONF_SECRET, "signs the messages; else unsigned"),
    CONF_END,
};
#undef T

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct feishu_cfg *f = cfg;
    bool url = f->url && *f->url, token = f->token && *f->token;

    if (url == token)
        return err_set(e, -EINVAL, "feishu: either url or token is needed");
    if (token && !(f->url = joined_url(in->conf, addresses[f->site], f->token)))
        return err_set(e, -ENOMEM, "feishu: out of memory");
    return check_http_url("feishu: url", f->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct feishu_cfg *f = cfg;

    canonical_url(f->url, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct feishu_cfg *f = cfg;

    host_of_url(f->url, out);
}

/* base64(HMAC-SHA256("TIME\nSECRET", "")): what others sign is the key here. The time, in seconds
 * and as text, may be an hour off, so each attempt signs its own. */
static bool put_signature(json_t *doc, const struct feishu_cfg *f, int64_t now, struct arena *a)
{
    unsigned char mac[SHA256_LEN];
    char sign[4 * ((SHA256_LEN + 2) / 3) + 1];

    if (!f->secret || !*f->secret)
        return true;
    const char *time = arena_printf(a, "%lld", (long long)(now / MS_SECOND));
    const char *key = time ? arena_printf(a, "%s\n%s", time, f->secret) : NULL;
    if (!key)
        return false;
    hmac_sha256(slice_of(key), SLICE_LIT(""), mac);
    (void)base64_encode(mac, sizeof(mac), sign);
    return json_object_set_new(doc, "timestamp", json_string(time)) == 0 &&
           json_object_set_new(doc, "sign", json_string(sign)) == 0;
}

static const char *colour(const struct notification *n)
{
    const char *severity = json_string_value(json_object_get(n->data, "severity"));

    if (json_is_true(json_object_get(n->data, "resolved")))
        return "green";
    if (!severity || strcmp(severity, "info") == 0)
        return "blue";
    return strcmp(severity, "warning") == 0 ? "orange" : "red";
}

/* A card: its head is plain text, its body Feishu's Markdown. */
static json_t *payload(const struct notification *n)
{
    return json_pack("{s:s, s:{s:{s:b}, s:{s:s, s:{s:s, s:s}}, s:[{s:s, s:s}]}}", "msg_type",
                     "interactive", "card", "config", "wide_screen_mode", 1, "header", "template",
                     colour(n), "title", "tag", "plain_text", "content", n->title, "elements",
                     "tag", "markdown", "content", n->news ? n->news : n->text);
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    const struct feishu_cfg *f = cfg;
    json_t *doc = payload(n);

    if (doc && !put_signature(doc, f, n->now, a)) {
        json_decref(doc);
        doc = NULL;
    }
    return post_json("feishu", f->url, doc, a, ret, e);
}

static void by_code(json_int_t code, struct outcome *out)
{
    switch (code) {
    case 0:
        out->verdict = VERDICT_DELIVERED;
        break;
    case 11232: /* too many messages */
        out->verdict = VERDICT_RETRY;
        out->wait_ms = LIMIT_WAIT;
        out->limited = true;
        break;
    default:
        out->verdict = VERDICT_REJECT;
    }
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);

    (void)cfg;
    if (out.verdict != VERDICT_DELIVERED)
        return out;
    const json_t *doc = answer_json(r, a), *code = json_object_get(doc, "code");
    if (!code)
        code = json_object_get(doc, "StatusCode");
    if (json_is_integer(code))
        by_code(json_integer_value(code), &out);
    else
        out.verdict = VERDICT_RETRY; /* a body without a code is nobody's yes */
    return out;
}

const struct channel channel_feishu = {
    .name = "feishu",
    .summary = "Feishu or Lark, custom bot of a group",
    .cfg_size = sizeof(struct feishu_cfg),
    .keys = keys,
    .send_resolved = true,
    .escape = ESCAPE_MARKDOWN,
    .layout = LAYOUT_BODY("**", "**", "", "※ ", "", DETAILS),
    .news_layout = LAYOUT_NEWS_BODY("", "※ ", "", DETAILS),
    .max_text = 9000, /* 20 KB of JSON, where a sign may take two */
    .locale = "zh-CN",
    .max_per_minute = 100,
    .burst = 3, /* and 5 a second */
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
