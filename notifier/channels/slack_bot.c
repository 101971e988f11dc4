/*
 * Slack bot, by the Web API. The first message of an incident is edited by later news, and each of
 * them stands in its thread, what must ring in the channel too; buttons carry act.h's tokens. An
 * error is `ok: false` with one word, under status 200.
 */
#include <errno.h>
#include <string.h>

#include "common/template_escape.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define SECTION_MAX 3000 /* characters of one block; all of them: 13,000 */
#define BUTTON_MAX 75
#define ID_MAX 64
#define METHOD_POST "chat.postMessage"
#define METHOD_UPDATE "chat.update"
#define DETAILS                                                                                    \
    "<{{link}}|{{word.details}}>{{#source_link}} · <{{source_link}}|{{source}}>{{/source_link}}"

struct slack_bot_cfg {
    const char *api_url, *bot_token, *channel, *username, *icon_emoji, *icon_url;
    bool update_message;
};

#define T struct slack_bot_cfg
static const struct conf_key keys[] = {
    CONF(T, api_url, CONF_STR, "https://slack.com/api/", 0, "Web API"),
    CONF(T, bot_token, CONF_STR, NULL, CONF_SECRET | CONF_REQUIRED, "xoxb-..., with chat:write"),
    CONF(T, channel, CONF_STR, NULL, CONF_REQUIRED, "channel, by id or name; the bot is in it"),
    CONF(T, username, CONF_STR, NULL, 0, "name of the sender, with chat:write.customize"),
    CONF(T, icon_emoji, CONF_STR, NULL, 0, "emoji for the sender"),
    CONF(T, icon_url, CONF_STR, NULL, 0, "picture for the sender"),
    CONF(T, update_message, CONF_BOOL, "true", 0, "later news edits the first message"),
    CONF_END,
};
#undef T

/* A header is made of it. */
static bool is_token(const char *s)
{
    for (; *s > ' ' && *s < 0x7f; s++)
        ;
    return *s == '\0';
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct slack_bot_cfg *s = cfg;
    size_t len = strlen(s->api_url), method = sizeof(METHOD_POST) - 1;

    if (!*s->bot_token || !is_token(s->bot_token))
        return err_set(e, -EINVAL, "slack_bot: this is no bot_token");
    if (!*s->channel)
        return err_set(e, -EINVAL, "slack_bot: channel is empty");
    /* As Alertmanager has it: with the method. */
    if (len > method && strcmp(s->api_url + len - method, METHOD_POST) == 0)
        len -= method;
    while (len > 0 && s->api_url[len - 1] == '/')
        len--;
    char *base = conf_strdup(in->conf, s->api_url);
    if (!base)
        return err_set(e, -ENOMEM, "slack_bot: the configuration is too large");
    base[len] = '\0';
    s->api_url = base;
    return check_http_url("slack_bot: api_url", s->api_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct slack_bot_cfg *s = cfg;

    canonical_url(s->api_url, out);
    buf_printf(out, " %s %s", s->bot_token, s->channel);
}

static void place(const void *cfg, struct buf *out)
{
    const struct slack_bot_cfg *s = cfg;

    buf_printf(out, "%s at ", s->channel);
    host_of_url(s->api_url, out);
}

static bool edits(const void *cfg)
{
    const struct slack_bot_cfg *s = cfg;

    return s->update_message;
}

/* How far the conversation is. */
enum act { ACT_SEND = 1, ACT_EDIT, ACT_REPLY, ACT_DONE };
struct talk {
    enum act act;
    const char *channel, *ts; /* of the first message; ts NULL: none yet */
    struct outcome outcome;
};

static const char *part(const json_t *of, const char *key)
{
    const char *s = json_string_value(json_object_get(of, key));

    return s && *s && strlen(s) <= ID_MAX ? s : NULL;
}

static struct talk begin(const struct step_input *in)
{
    const struct slack_bot_cfg *s = in->cfg;
    struct talk talk = {.act = ACT_SEND, .channel = s->channel};
    const char *of = json_string_value(json_object_get(in->reference, "of"));
    const char *channel = part(in->reference, "channel"), *ts = part(in->reference, "ts");

    if (is_replaceable(in->notification) && of && channel && ts && strcmp(of, s->channel) == 0 &&
        !json_is_true(json_object_get(in->reference, "over"))) {
        talk.act = s->update_message ? ACT_EDIT : ACT_REPLY;
        talk.channel = channel;
        talk.ts = ts;
    }
    return talk;
}

/* ---- what is said ---- */

/* Where to part a text that is longer than a section: after a line, else a word. */
static size_t section_end(struct slice text)
{
    if (text.len <= SECTION_MAX)
        return text.len;
    for (const char *ends = "\n "; *ends; ends++) {
        const char *at = memrchr(text.p, *ends, SECTION_MAX);
        if (at && at > text.p)
            return (size_t)(at - text.p) + 1;
    }
    return utf8_fit(text, SECTION_MAX);
}

static json_t *button(const json_t *act)
{
    const char *verb = json_string_value(json_object_get(act, "verb")),
               *name = json_string_value(json_object_get(act, "name")),
               *token = json_string_value(json_object_get(act, "token"));

    if (!verb || !name || !token)
        return NULL;
    size_t len = utf8_chars(slice_of(name), BUTTON_MAX);
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s%, s:b}}", "type", "button", "action_id", verb,
                     "value", token, "text", "type", "plain_text", "text", name, len, "emoji", 1);
}

static json_t *blocks_of(const struct notification *n)
{
    const json_t *acts = json_object_get(n->data, "buttons");
    json_t *blocks = json_array(), *buttons = json_array();

    for (struct slice left = slice_of(n->text); left.len > 0;) {
        size_t len = section_end(left);
        (void)json_array_append_new(blocks,
                                    json_pack("{s:s, s:{s:s, s:s%}}", "type", "section", "text",
                                              "type", "mrkdwn", "text", left.p, len));
        left = (struct slice){left.p + len, left.len - len};
    }
    for (size_t i = 0; i < json_array_size(acts); i++) {
        json_t *one = button(json_array_get(acts, i));
        if (one)
            (void)json_array_append_new(buttons, one);
    }
    if (json_array_size(buttons) > 0)
        (void)json_array_append_new(
            blocks, json_pack("{s:s, s:O}", "type", "actions", "elements", buttons));
    json_decref(buttons);
    return blocks;
}

static void put(json_t *doc, const char *key, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(doc, key, json_string(value));
}

/* With blocks the text is what a telephone shows before one looks. */
static void put_title(json_t *doc, const struct notification *n)
{
    CLEANUP(buf_release) struct buf title = BUF_INIT((size_t)64 << 10);

    template_escape(&title, slice_of(n->title), ESCAPE_ANGLE);
    put(doc, "text", title.failed ? "" : buf_str(&title));
}

static json_t *payload(const struct talk *talk, const struct slack_bot_cfg *s,
                       const struct notification *n)
{
    json_t *doc = json_pack("{s:s}", "channel", talk->channel);

    if (talk->act == ACT_EDIT) {
        put(doc, "ts", talk->ts);
    } else {
        (void)json_object_set_new(doc, "unfurl_links", json_false());
        put(doc, "username", s->username);
        put(doc, "icon_emoji", s->icon_emoji);
        put(doc, "icon_url", s->icon_url);
    }
    if (talk->act == ACT_REPLY) {
        put(doc, "text", n->news ? n->news : n->text);
        put(doc, "thread_ts", talk->ts);
        if (is_ringing(n))
            (void)json_object_set_new(doc, "reply_broadcast", json_true());
        return doc;
    }
    put_title(doc, n);
    (void)json_object_set_new(doc, "blocks", blocks_of(n));
    return doc;
}

static int ask(const struct talk *talk, const struct step_input *in, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct slack_bot_cfg *s = in->cfg;
    struct header *headers = arena_array(a, 2, struct header);
    const char *url =
        arena_printf(a, "%s/%s", s->api_url, talk->act == ACT_EDIT ? METHOD_UPDATE : METHOD_POST);
    const char *bearer = arena_printf(a, "Bearer %s", s->bot_token);
    int r = post_json("slack_bot", url, payload(talk, s, in->notification), a, ret, e);

    if (r < 0)
        return r;
    if (!headers || !bearer)
        return err_set(e, -ENOMEM, "slack_bot: the message does not fit in its memory");
    headers[0] = (struct header){"Authorization", bearer};
    headers[1] = (struct header){"Content-Type", "application/json; charset=utf-8"};
    ret->headers = headers;
    ret->header_n = 2;
    return 0;
}

/* ---- what is answered ---- */

static bool among(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

static struct outcome judge(const struct response *r, const json_t *doc, struct arena *a)
{
    static const char *const slow[] = {"ratelimited", "rate_limited", NULL};
    static const char *const ill[] = {"internal_error",  "fatal_error",       "service_unavailable",
                                      "request_timeout", "team_added_to_org", NULL};
    struct outcome out = classify_http(r, a);
    const char *word = json_string_value(json_object_get(doc, "error"));
    const char *needed = json_string_value(json_object_get(doc, "needed"));

    if (word)
        out.words = text_line(a, slice_of(word), 300);
    if (word && needed)
        out.words = text_line(a, slice_of(arena_printf(a, "%s: %s is needed", word, needed)), 300);
    if (!out.words)
        out.words = "";
    if (out.verdict != VERDICT_DELIVERED)
        return out;
    if (json_is_true(json_object_get(doc, "ok"))) {
        out.words = "ok";
        return out;
    }
    out.limited = word && among(word, slow);
    /* Neither ok nor an error is somebody else's answer, a proxy's login page perhaps. */
    out.verdict = !word || out.limited || among(word, ill) ? VERDICT_RETRY : VERDICT_REJECT;
    return out;
}

static const json_t *keep(const struct talk *talk, const struct step_input *in, struct arena *a)
{
    const struct slack_bot_cfg *s = in->cfg;
    const json_t *data = in->notification->data;
    /* A group of alerts begins anew after its end; an incident's goes on when it re-opens. */
    bool over = json_is_true(json_object_get(data, "is_alerts")) &&
                json_is_true(json_object_get(data, "resolved"));

    if (!talk->ts || !is_replaceable(in->notification))
        return NULL;
    return json_owned(json_pack("{s:s, s:s, s:s, s:b}", "of", s->channel, "channel", talk->channel,
                                "ts", talk->ts, "over", over),
                      a);
}

static void hear(struct talk *talk, const struct response *r, struct arena *a)
{
    /* Of a message that was deleted, or is too old: another one takes its place. */
    static const char *const lost[] = {"message_not_found", "cant_update_message",
                                       "edit_window_closed", "thread_not_found", NULL};
    const json_t *doc = answer_json(r, a);

    talk->outcome = judge(r, doc, a);
    if (talk->outcome.verdict != VERDICT_DELIVERED) {
        bool again = talk->act != ACT_SEND && among(talk->outcome.words, lost);
        talk->act = again ? ACT_SEND : ACT_DONE;
        return;
    }
    if (talk->act == ACT_EDIT) {
        talk->act = ACT_REPLY;
        return;
    }
    if (talk->act == ACT_SEND) {
        talk->ts = part(doc, "ts");
        talk->channel = part(doc, "channel") ? part(doc, "channel") : talk->channel;
    }
    talk->act = ACT_DONE;
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    const struct slack_bot_cfg *s = in->cfg;
    struct talk talk = begin(in);

    for (size_t i = 0; i < in->past_n; i++) {
        hear(&talk, &in->past[i].response, a);
        if (talk.act == ACT_SEND)
            talk.channel = s->channel;
    }
    *ret = (struct step){.done = talk.act == ACT_DONE};
    if (!ret->done)
        return ask(&talk, in, a, &ret->request, e);
    ret->outcome = talk.outcome;
    if (ret->outcome.verdict == VERDICT_DELIVERED)
        ret->outcome.keep = keep(&talk, in, a);
    return 0;
}

const struct channel channel_slack_bot = {
    .name = "slack_bot",
    .summary = "Slack bot, with threads and buttons",
    .cfg_size = sizeof(struct slack_bot_cfg),
    .keys = keys,
    .send_resolved = true,
    .escape = ESCAPE_ANGLE,
    .layout = LAYOUT("*", "*", "", "_", "_", DETAILS),
    .news_layout = LAYOUT_NEWS("*", "*", "", "_", "_", DETAILS),
    .max_text = 12000, /* in sections */
    /* One a second, and they do not arrive as evenly as they leave. Slack takes short bursts, but
     * does not promise to show what came in one. */
    .max_per_minute = 50,
    .burst = 1,
    .check = check,
    .destination = destination,
    .place = place,
    .edits = edits,
    .step = step,
};
