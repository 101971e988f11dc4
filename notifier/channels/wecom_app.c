/*
 * WeCom app message, to members by name. A token comes first; it is good for two hours, may be
 * taken back sooner, and is asked for once more then. Always HTTP 200: the verdict is `errcode`,
 * and under code 0 some of the receivers may have been refused.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define API_URL "https://qyapi.weixin.qq.com/cgi-bin"
#define LIMIT_WAIT MS_MINUTE
#define TOKEN_BYTES 512
#define TOKEN_MARGIN (5 * MS_MINUTE) /* not used up to its last second */
#define TEXT_BYTES 2048
#define DETAILS LAYOUT_ACTS("[{{name}}]({{{url}}})", "") "[{{word.details}}]({{{link}}})"

struct wecom_app_cfg {
    const char *api_url, *corp_id, *api_secret, *agent_id;
    const char *to_user, *to_party, *to_tag;
};

#define KEY(field, flags, help) CONF(struct wecom_app_cfg, field, CONF_STR, NULL, flags, help)
static const struct conf_key keys[] = {
    KEY(api_url, 0, "default: global.wechat_api_url, else WeCom's own"),
    KEY(corp_id, 0, "default: global.wechat_api_corp_id"),
    KEY(api_secret, CONF_SECRET, "the app's; default: global.wechat_api_secret"),
    KEY(agent_id, CONF_REQUIRED, "the app's number"),
    KEY(to_user, 0, "members, by |; @all: everybody who sees the app"),
    KEY(to_party, 0, "departments, by |"),
    KEY(to_tag, 0, "tags, by |"),
    CONF_END,
};

static const char *const foreign[] = {"http_config", "message", "message_type", NULL};

static bool given(const char *s)
{
    return s && *s;
}

static const char *either(const char *own, const char *other)
{
    return given(own) ? own : given(other) ? other : NULL;
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct wecom_app_cfg *w = cfg;

    w->api_url = either(w->api_url, in->global->wechat_api_url);
    w->corp_id = either(w->corp_id, in->global->wechat_api_corp_id);
    w->api_secret = either(w->api_secret, in->global->wechat_api_secret);
    if (!w->api_url)
        w->api_url = API_URL;
    if (!w->corp_id || !w->api_secret)
        return err_set(e, -EINVAL,
                       "wecom_app: corp_id and api_secret are needed, here or as "
                       "global.wechat_api_corp_id and global.wechat_api_secret");
    if (!*w->agent_id || w->agent_id[strspn(w->agent_id, "0123456789")])
        return err_set(e, -EINVAL, "wecom_app: agent_id: a number is expected");
    if (!given(w->to_user) && !given(w->to_party) && !given(w->to_tag))
        return err_set(e, -EINVAL, "wecom_app: to_user, to_party or to_tag is needed");
    return check_http_url("wecom_app: api_url", w->api_url, e);
}

/* A member's rate is of the app and the member. */
static void destination(const void *cfg, struct buf *out)
{
    const struct wecom_app_cfg *w = cfg;

    canonical_url(w->api_url, out);
    buf_printf(out, " %s %s %s %s %s", w->corp_id, w->agent_id, w->to_user ? w->to_user : "",
               w->to_party ? w->to_party : "", w->to_tag ? w->to_tag : "");
}

/* Each app has a token of its own. */
static void credential(const void *cfg, struct buf *out)
{
    const struct wecom_app_cfg *w = cfg;

    canonical_url(w->api_url, out);
    buf_printf(out, " %s %s", w->corp_id, w->api_secret);
}

static void put_names(struct buf *out, const char *kind, const char *names)
{
    if (given(names))
        buf_printf(out, "%s%s%s", out->len ? ", " : "", kind, names);
}

static void place(const void *cfg, struct buf *out)
{
    const struct wecom_app_cfg *w = cfg;

    put_names(out, "", w->to_user);
    put_names(out, "department ", w->to_party);
    put_names(out, "tag ", w->to_tag);
    buf_puts(out, " at ");
    host_of_url(w->api_url, out);
}

/* How far the conversation is: what is asked next, and what is known by now. */
enum act { TALK_TOKEN = 1, TALK_SEND, TALK_DONE };
struct talk {
    enum act act;
    const char *token;
    bool renewed; /* asked for in this conversation */
    struct token learned;
    struct outcome outcome;
};

static const char *with_key(const struct wecom_app_cfg *w, struct arena *a, const char *call,
                            const char *const pairs[][2], size_t n)
{
    CLEANUP(buf_release) struct buf url = BUF_INIT((size_t)8 << 10);
    size_t len = strlen(w->api_url);

    while (len > 0 && w->api_url[len - 1] == '/')
        len--;
    buf_printf(&url, "%.*s/%s", (int)len, w->api_url, call);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&url, "%c%s=", i ? '&' : '?', pairs[i][0]);
        url_encode(&url, slice_of(pairs[i][1]));
    }
    return url.failed ? NULL : arena_strndup(a, buf_str(&url), url.len);
}

static int ask_token(const struct wecom_app_cfg *w, struct arena *a, struct request *ret,
                     struct err *e)
{
    const char *const pairs[][2] = {{"corpid", w->corp_id}, {"corpsecret", w->api_secret}};

    *ret = (struct request){
        .url = with_key(w, a, "gettoken", pairs, 2), .method = "GET", .body = SLICE_LIT("")};
    return ret->url ? 0 : err_set(e, -ENOMEM, "wecom_app: the request does not fit in its memory");
}

static void put(json_t *doc, const char *key, const char *value)
{
    if (given(value))
        (void)json_object_set_new(doc, key, json_string(value));
}

static int ask_send(const struct wecom_app_cfg *w, const char *token, const struct notification *n,
                    struct arena *a, struct request *ret, struct err *e)
{
    const char *const pairs[][2] = {{"access_token", token}};
    json_t *doc =
        json_pack("{s:s, s:I, s:{s:s}}", "msgtype", "markdown", "agentid",
                  (json_int_t)strtoll(w->agent_id, NULL, 10), "markdown", "content", n->text);

    put(doc, "touser", w->to_user);
    put(doc, "toparty", w->to_party);
    put(doc, "totag", w->to_tag);
    return post_json("wecom_app", with_key(w, a, "message/send", pairs, 1), doc, a, ret, e);
}

/* What an answer says of itself, whichever it answers; *ret_code -2 where it says nothing. */
static struct outcome judge(const struct response *r, const json_t *doc, json_int_t *ret_code,
                            struct arena *a)
{
    struct outcome out = classify_http(r, a);
    const json_t *code = json_object_get(doc, "errcode");

    *ret_code = json_is_integer(code) ? json_integer_value(code) : -2;
    if (out.verdict != VERDICT_DELIVERED)
        return out;
    switch (*ret_code) {
    case 0:
        break;
    case 45009: /* too often */
        out.limited = true;
        out.wait_ms = LIMIT_WAIT;
        out.verdict = VERDICT_RETRY;
        break;
    case -1: /* busy */
    case -2: /* a body without errcode is nobody's yes */
    case 40014:
    case 42001:
        out.verdict = VERDICT_RETRY;
        break;
    default:
        out.verdict = VERDICT_REJECT;
    }
    return out;
}

static void hear_token(struct talk *talk, const struct response *r, struct arena *a)
{
    const json_t *doc = answer_json(r, a);
    const char *token = json_string_value(json_object_get(doc, "access_token"));
    int64_t good_for = json_integer_value(json_object_get(doc, "expires_in")) * MS_SECOND;
    json_int_t code;

    talk->outcome = judge(r, doc, &code, a);
    talk->act = TALK_DONE;
    talk->renewed = true;
    if (talk->outcome.verdict != VERDICT_DELIVERED)
        return;
    /* The answer has the token in it: nothing of it goes into the ledger. */
    talk->outcome =
        (struct outcome){.verdict = VERDICT_RETRY, .words = "an answer without a token"};
    if (!given(token) || strlen(token) > TOKEN_BYTES)
        return;
    talk->token = token;
    talk->learned = (struct token){token, good_for > 2 * TOKEN_MARGIN ? good_for - TOKEN_MARGIN
                                          : good_for > 0              ? good_for / 2
                                                                      : 0};
    talk->act = TALK_SEND;
}

/* Code 0 says that somebody was told; who was not stands beside it. */
static const char *refused(const json_t *doc, struct arena *a)
{
    static const char *const lists[][2] = {{"invaliduser", ""},
                                           {"invalidparty", "department "},
                                           {"invalidtag", "tag "},
                                           {"unlicenseduser", "without a licence: "}};
    CLEANUP(buf_release) struct buf out = BUF_INIT(2048);

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        put_names(&out, lists[i][1], json_string_value(json_object_get(doc, lists[i][0])));
    return out.len && !out.failed ? text_line(a, (struct slice){out.p, out.len}, 300) : NULL;
}

static void hear_send(struct talk *talk, const struct response *r, struct arena *a)
{
    const json_t *doc = answer_json(r, a);
    json_int_t code;

    talk->outcome = judge(r, doc, &code, a);
    talk->act = TALK_DONE;
    if (talk->outcome.verdict == VERDICT_DELIVERED)
        talk->outcome.refused = refused(doc, a);
    if (code != 40014 && code != 42001)
        return;
    talk->learned = (struct token){"", 0}; /* it is good for nobody */
    if (!talk->renewed)
        talk->act = TALK_TOKEN;
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    struct talk talk = {.act = given(in->token) ? TALK_SEND : TALK_TOKEN, .token = in->token};

    for (size_t i = 0; i < in->past_n; i++) {
        if (talk.act == TALK_TOKEN)
            hear_token(&talk, &in->past[i].response, a);
        else
            hear_send(&talk, &in->past[i].response, a);
    }
    *ret = (struct step){.done = talk.act == TALK_DONE, .token = talk.learned};
    if (talk.act == TALK_TOKEN)
        return ask_token(in->cfg, a, &ret->request, e);
    if (talk.act == TALK_SEND)
        return ask_send(in->cfg, talk.token, in->notification, a, &ret->request, e);
    ret->outcome = talk.outcome;
    return 0;
}

const struct channel channel_wecom_app = {
    .name = "wecom_app",
    .summary = "WeCom app message",
    .cfg_size = sizeof(struct wecom_app_cfg),
    .keys = keys,
    .foreign = foreign,
    .escape = ESCAPE_MARKDOWN,
    .layout = LAYOUT("**", "**", "", "> ", "", DETAILS),
    .max_text = TEXT_BYTES,
    .locale = "zh-CN",
    .max_per_minute = 30, /* of a member: what is more is dropped, and said to be sent */
    .burst = 10,
    .check = check,
    .destination = destination,
    .credential = credential,
    .place = place,
    .step = step,
};
