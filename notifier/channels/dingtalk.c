/* DingTalk group robot. Always HTTP 200: the verdict is `errcode` in the body. Who goes past 20
 * messages in a minute is locked out for ten. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define SEND_URL "https://oapi.dingtalk.com/robot/send?access_token="
#define LOCKED_OUT (10 * MS_MINUTE)
#define BODY_MAX 20000

/* A line ends with two blanks, or Markdown joins it to the next. */
#define EOL "  "
#define DETAILS LAYOUT_ACTS("[{{name}}]({{{url}}})", EOL) "[{{word.details}}]({{{link}}})"

struct dingtalk_cfg {
    const char *url, *access_token, *secret;
    struct conf_strs at_mobiles, at_user_ids;
};

#define T struct dingtalk_cfg
static const struct conf_key keys[] = {
    CONF(T, url, CONF_STR, NULL, CONF_SECRET, "the robot's address with its access_token"),
    CONF(T, access_token, CONF_STR, NULL, CONF_SECRET, "that token alone, at DingTalk's address"),
    CONF(T, secret, CONF_STR, NULL, CONF_SECRET, "signs the messages (SEC...); else unsigned"),
    CONF(T, at_mobiles, CONF_STRS, NULL, 0, "telephone numbers named in critical messages"),
    CONF(T, at_user_ids, CONF_STRS, NULL, 0, "members named in critical messages"),
    CONF_END,
};
#undef T

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct dingtalk_cfg *d = cfg;
    bool url = d->url && *d->url, token = d->access_token && *d->access_token;

    if (url == token)
        return err_set(e, -EINVAL, "dingtalk: either url or access_token is needed");
    if (token && !(d->url = joined_url(in->conf, SEND_URL, d->access_token)))
        return err_set(e, -ENOMEM, "dingtalk: out of memory");
    return check_http_url("dingtalk: url", d->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct dingtalk_cfg *d = cfg;

    canonical_url(d->url, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct dingtalk_cfg *d = cfg;

    host_of_url(d->url, out);
}

/* base64(HMAC-SHA256(secret, "TIME\nSECRET")) in the query. The time may be an hour off, so each
 * attempt signs its own. */
static const char *signed_url(const struct dingtalk_cfg *d, int64_t now, struct arena *a)
{
    unsigned char mac[SHA256_LEN];
    char sign[4 * ((SHA256_LEN + 2) / 3) + 1];
    CLEANUP(buf_release) struct buf out = BUF_INIT((size_t)8 << 10);

    if (!d->secret || !*d->secret)
        return d->url;
    const char *text = arena_printf(a, "%lld\n%s", (long long)now, d->secret);
    if (!text)
        return NULL;
    hmac_sha256(slice_of(d->secret), slice_of(text), mac);
    (void)base64_encode(mac, sizeof(mac), sign);
    buf_printf(&out, "%s%ctimestamp=%lld&sign=", d->url, strchr(d->url, '?') ? '&' : '?',
               (long long)now);
    url_encode(&out, slice_of(sign));
    return out.failed ? NULL : arena_strndup(a, buf_str(&out), out.len);
}

static json_t *names(const struct conf_strs *list, struct buf *text)
{
    json_t *out = json_array();

    for (size_t i = 0; i < list->n; i++) {
        buf_printf(text, "%s@%s", i ? " " : "\n", list->v[i]);
        (void)json_array_append_new(out, json_string(list->v[i]));
    }
    return out;
}

/* Who is named must stand in the text too. */
static json_t *payload(const struct dingtalk_cfg *d, const struct notification *n)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(BODY_MAX);
    bool name = is_critical(n) && is_ringing(n) && (d->at_mobiles.n || d->at_user_ids.n);

    buf_puts(&text, n->news ? n->news : n->text);
    json_t *at = name ? json_pack("{s:o, s:o}", "atMobiles", names(&d->at_mobiles, &text),
                                  "atUserIds", names(&d->at_user_ids, &text))
                      : json_object();
    json_t *doc = text.failed
                      ? NULL
                      : json_pack("{s:s, s:{s:s, s:s}, s:O}", "msgtype", "markdown", "markdown",
                                  "title", n->title, "text", buf_str(&text), "at", at);
    json_decref(at);
    return doc;
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    const struct dingtalk_cfg *d = cfg;

    return post_json("dingtalk", signed_url(d, n->now, a), payload(d, n), a, ret, e);
}

static void lock_out(struct outcome *out)
{
    out->verdict = VERDICT_RETRY;
    out->wait_ms = LOCKED_OUT;
    out->limited = true;
}

static void by_code(json_int_t code, struct outcome *out)
{
    switch (code) {
    case 0:
        out->verdict = VERDICT_DELIVERED;
        break;
    case 130101: /* too fast */
    case 410100:
        lock_out(out);
        break;
    case -1: /* busy */
        out->verdict = VERDICT_RETRY;
        break;
    default:
        out->verdict = VERDICT_REJECT;
    }
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);
    const json_t *doc = answer_json(r, a), *code = json_object_get(doc, "errcode");

    (void)cfg;
    if (out.verdict != VERDICT_DELIVERED)
        return out;
    out.verdict = VERDICT_RETRY; /* a body without errcode is nobody's yes */
    if (json_is_integer(code))
        by_code(json_integer_value(code), &out);
    else if (json_object_get(doc, "punish"))
        lock_out(&out); /* the gateway's own word for the same */
    return out;
}

const struct channel channel_dingtalk = {
    .name = "dingtalk",
    .summary = "DingTalk group robot",
    .cfg_size = sizeof(struct dingtalk_cfg),
    .keys = keys,
    .send_resolved = true,
    .escape = ESCAPE_MARKDOWN,
    .layout = LAYOUT("**", "**", EOL, "※ ", "", DETAILS),
    .news_layout = LAYOUT_NEWS("**", "**", EOL, "※ ", "", DETAILS),
    .max_text = 9000, /* 20,000 bytes of JSON, where a sign may take two */
    .locale = "zh-CN",
    .max_per_minute = 20,
    .burst = 10,
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
