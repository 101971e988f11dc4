/*
 * Telegram bot. The first message of an incident is edited by later news; since an edit rings
 * nobody, what must ring follows as a short reply to it. An error is `ok: false` with a description
 * beside the status.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define TEXT_MAX 4096
#define CHAT_MAX 64
#define DETAILS                                                                                    \
    LAYOUT_ACTS("<a href=\"{{url}}\">{{name}}</a>", "")                                            \
    "<a href=\"{{link}}\">{{word.details}}</a>"

struct telegram_cfg {
    const char *api_url, *bot_token, *chat_id;
    uint32_t message_thread_id;
    bool disable_notifications, update_message;
    const char *parse_mode;
};

#define T struct telegram_cfg
static const struct conf_key keys[] = {
    CONF(T, api_url, CONF_STR, NULL, 0, "Bot API server; default: global.telegram_api_url"),
    CONF(T, bot_token, CONF_STR, NULL, CONF_SECRET, "default: global.telegram_bot_token"),
    CONF(T, chat_id, CONF_STR, NULL, CONF_REQUIRED, "chat, group or @channel"),
    CONF(T, message_thread_id, CONF_U32, "0", 0, "topic of the group; 0: none"),
    CONF(T, disable_notifications, CONF_BOOL, "false", 0, "send without a sound"),
    CONF(T, update_message, CONF_BOOL, "true", 0, "later news edits the first message"),
    CONF(T, parse_mode, CONF_STR, "HTML", 0, "HTML, nothing else: the layouts are written in it"),
    CONF_END,
};
#undef T

static const char *const foreign[] = {"message", NULL};

static const char *given(const char *own, const char *other)
{
    return own && *own ? own : other && *other ? other : NULL;
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct telegram_cfg *t = cfg;

    t->api_url = given(t->api_url, in->global->telegram_api_url);
    t->bot_token = given(t->bot_token, in->global->telegram_bot_token);
    if (!t->api_url)
        t->api_url = "https://api.telegram.org";
    if (!t->bot_token)
        return err_set(e, -EINVAL,
                       "telegram: bot_token is missing, and global.telegram_bot_token too");
    if (t->bot_token[strcspn(t->bot_token, "/?# ")])
        return err_set(e, -EINVAL, "telegram: this is no bot_token");
    if (!*t->chat_id || strlen(t->chat_id) > CHAT_MAX)
        return err_set(e, -EINVAL, "telegram: this is no chat_id");
    if (strcmp(t->parse_mode, "HTML") != 0)
        return err_set(e, -EINVAL,
                       "telegram: parse_mode %s does not apply, messages are laid out in HTML",
                       t->parse_mode);
    return check_http_url("telegram: api_url", t->api_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct telegram_cfg *t = cfg;

    canonical_url(t->api_url, out);
    buf_printf(out, " %s %s", t->bot_token, t->chat_id);
}

static void place(const void *cfg, struct buf *out)
{
    const struct telegram_cfg *t = cfg;

    buf_printf(out, "%s at ", t->chat_id);
    host_of_url(t->api_url, out);
}

static bool edits(const void *cfg)
{
    const struct telegram_cfg *t = cfg;

    return t->update_message;
}

/* How far the conversation is: what is asked next, and what is known by now. */
enum act { ACT_SEND = 1, ACT_EDIT, ACT_RING, ACT_DONE };
struct talk {
    enum act act;
    const char *chat;
    json_int_t message; /* 0: none yet */
    bool moved, plain;
    struct outcome outcome;
};

static struct talk begin(const struct step_input *in)
{
    const struct telegram_cfg *t = in->cfg;
    struct talk talk = {.act = ACT_SEND, .chat = t->chat_id};
    const char *of = json_string_value(json_object_get(in->reference, "of"));
    const char *chat = json_string_value(json_object_get(in->reference, "chat"));
    json_int_t message = json_integer_value(json_object_get(in->reference, "message"));

    if (t->update_message && is_replaceable(in->notification) && of && chat && message > 0 &&
        strcmp(of, t->chat_id) == 0 && !json_is_true(json_object_get(in->reference, "over"))) {
        talk.act = ACT_EDIT;
        talk.chat = chat;
        talk.message = message;
    }
    return talk;
}

/* A chat's id is a number, a channel's name a text. */
static json_t *chat_json(const char *chat)
{
    char *end;
    long long n = strtoll(chat, &end, 10);

    return *chat && !*end ? json_integer(n) : json_string(chat);
}

static json_t *payload(const struct talk *talk, const struct telegram_cfg *t,
                       const struct notification *n, struct arena *a)
{
    const char *text = talk->act == ACT_RING && n->news ? n->news : n->text;
    json_t *doc = json_pack("{s:o, s:{s:b}}", "chat_id", chat_json(talk->chat),
                            "link_preview_options", "is_disabled", 1);

    if (talk->plain)
        text = text_cut(a, slice_of(text), TEXT_MAX, UNIT_UTF16, "…");
    else
        (void)json_object_set_new(doc, "parse_mode", json_string("HTML"));
    if (!text || json_object_set_new(doc, "text", json_string(text)) < 0) {
        json_decref(doc);
        return NULL;
    }
    if (talk->act == ACT_EDIT) {
        (void)json_object_set_new(doc, "message_id", json_integer(talk->message));
        return doc;
    }
    if (talk->act == ACT_RING)
        (void)json_object_set_new(
            doc, "reply_parameters",
            json_pack("{s:I, s:b}", "message_id", talk->message, "allow_sending_without_reply", 1));
    if (t->message_thread_id)
        (void)json_object_set_new(doc, "message_thread_id",
                                  json_integer((json_int_t)t->message_thread_id));
    if (t->disable_notifications)
        (void)json_object_set_new(doc, "disable_notification", json_true());
    return doc;
}

static int ask(const struct talk *talk, const struct step_input *in, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct telegram_cfg *t = in->cfg;
    size_t len = strlen(t->api_url);

    while (len > 0 && t->api_url[len - 1] == '/')
        len--;
    const char *url = arena_printf(a, "%.*s/bot%s/%s", (int)len, t->api_url, t->bot_token,
                                   talk->act == ACT_EDIT ? "editMessageText" : "sendMessage");
    return post_json("telegram", url, payload(talk, t, in->notification, a), a, ret, e);
}

static struct outcome judge(const struct response *r, const json_t *doc, struct arena *a)
{
    struct outcome out = classify_http(r, a);
    const char *words = json_string_value(json_object_get(doc, "description"));
    json_int_t wait =
        json_integer_value(json_object_get(json_object_get(doc, "parameters"), "retry_after"));

    if (words)
        out.words = text_line(a, slice_of(words), 300);
    if (!out.words)
        out.words = "";
    if (out.limited && wait > 0 && wait < MS_DAY / MS_SECOND)
        out.wait_ms = wait * MS_SECOND;
    if (out.verdict == VERDICT_DELIVERED && !json_is_true(json_object_get(doc, "ok")))
        out.verdict = VERDICT_RETRY; /* somebody else's answer */
    return out;
}

static const json_t *keep(const struct talk *talk, const struct step_input *in, struct arena *a)
{
    const struct telegram_cfg *t = in->cfg;
    const json_t *data = in->notification->data;
    /* A group of alerts begins anew after its end; an incident's goes on when it re-opens. */
    bool over = json_is_true(json_object_get(data, "is_alerts")) &&
                json_is_true(json_object_get(data, "resolved"));

    if (talk->message <= 0 || !is_replaceable(in->notification))
        return NULL;
    return json_owned(json_pack("{s:s, s:s, s:I, s:b}", "of", t->chat_id, "chat", talk->chat,
                                "message", talk->message, "over", over),
                      a);
}

/* A refusal that another request may answer: the group has become a supergroup, our HTML is none
 * (an own template's), the first message is not there any more. */
static bool goes_on(struct talk *talk, const json_t *doc, struct arena *a)
{
    const json_t *to = json_object_get(json_object_get(doc, "parameters"), "migrate_to_chat_id");

    if (json_is_integer(to) && !talk->moved) {
        const char *chat = arena_printf(a, "%lld", (long long)json_integer_value(to));
        talk->moved = true;
        talk->chat = chat ? chat : talk->chat;
        talk->act = talk->act == ACT_EDIT ? ACT_SEND : talk->act;
        return true;
    }
    if (strstr(talk->outcome.words, "can't parse entities") && !talk->plain) {
        talk->plain = true;
        return true;
    }
    if (talk->act != ACT_EDIT)
        return false;
    talk->act = ACT_SEND;
    return true;
}

static void hear(struct talk *talk, const struct step_input *in, const struct response *r,
                 struct arena *a)
{
    const json_t *doc = answer_json(r, a);
    bool edit = talk->act == ACT_EDIT;

    talk->outcome = judge(r, doc, a);
    /* An edit that changes nothing was done before, by an attempt that did not get further. */
    if (edit && r->status == 400 && strstr(talk->outcome.words, "message is not modified"))
        talk->outcome.verdict = VERDICT_DELIVERED;
    if (talk->outcome.verdict != VERDICT_DELIVERED) {
        if (r->status != 400 || !goes_on(talk, doc, a))
            talk->act = ACT_DONE;
        return;
    }
    if (talk->act == ACT_SEND)
        talk->message =
            json_integer_value(json_object_get(json_object_get(doc, "result"), "message_id"));
    talk->act = edit && is_ringing(in->notification) ? ACT_RING : ACT_DONE;
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    struct talk talk = begin(in);

    for (size_t i = 0; i < in->past_n; i++)
        hear(&talk, in, &in->past[i].response, a);
    *ret = (struct step){.done = talk.act == ACT_DONE};
    if (!ret->done)
        return ask(&talk, in, a, &ret->request, e);
    ret->outcome = talk.outcome;
    if (ret->outcome.verdict == VERDICT_DELIVERED)
        ret->outcome.keep = keep(&talk, in, a);
    return 0;
}

const struct channel channel_telegram = {
    .name = "telegram",
    .summary = "Telegram bot",
    .cfg_size = sizeof(struct telegram_cfg),
    .keys = keys,
    .foreign = foreign,
    .send_resolved = true,
    .escape = ESCAPE_HTML,
    .layout = LAYOUT("<b>", "</b>", "", "<i>", "</i>", DETAILS),
    .news_layout = LAYOUT_NEWS("<b>", "</b>", "", "<i>", "</i>", DETAILS),
    .max_text = TEXT_MAX,
    .unit = UNIT_SHOWN,
    .max_per_minute = 20, /* of a group */
    .burst = 3,
    .check = check,
    .destination = destination,
    .place = place,
    .edits = edits,
    .step = step,
};
