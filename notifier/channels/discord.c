/*
 * Discord webhook. With ?wait=true the answer names the message, which later news edits; since an
 * edit rings nobody, what must ring follows as a short message. A webhook that is not found must
 * not be asked again.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/layout.h"

#define UNKNOWN_WEBHOOK 10015
#define WAIT_MAX 86400.0
#define ID_MAX 32
#define DETAILS LAYOUT_ACTS("[{{name}}](<{{{url}}}>)", "") "[{{word.details}}](<{{{link}}}>)"

struct discord_cfg {
    const char *webhook_url, *username, *avatar_url;
    bool update_message;
};

#define T struct discord_cfg
static const struct conf_key keys[] = {
    CONF(T, webhook_url, CONF_STR, NULL, CONF_SECRET | CONF_REQUIRED, "the webhook's address"),
    CONF(T, username, CONF_STR, NULL, 0, "name of the sender"),
    CONF(T, avatar_url, CONF_STR, NULL, 0, "picture of the sender"),
    CONF(T, update_message, CONF_BOOL, "true", 0, "later news edits the first message"),
    CONF_END,
};
#undef T

static const char *const foreign[] = {"content", "message", "title", NULL};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    const struct discord_cfg *d = cfg;

    (void)in;
    return check_http_url("discord: webhook_url", d->webhook_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct discord_cfg *d = cfg;

    canonical_url(d->webhook_url, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct discord_cfg *d = cfg;

    host_of_url(d->webhook_url, out);
}

static bool edits(const void *cfg)
{
    const struct discord_cfg *d = cfg;

    return d->update_message;
}

/* How far the conversation is. */
enum act { ACT_SEND = 1, ACT_EDIT, ACT_RING, ACT_DONE };
struct talk {
    enum act act;
    const char *message; /* its id; NULL: none yet */
    struct outcome outcome;
};

/* Ids are numbers in text; anything else has no place in a path. */
static bool is_id(const char *s)
{
    size_t len = s ? strlen(s) : 0;

    return len > 0 && len <= ID_MAX && strspn(s, "0123456789") == len;
}

static struct talk begin(const struct step_input *in)
{
    const struct discord_cfg *d = in->cfg;
    struct talk talk = {.act = ACT_SEND};
    const char *message = json_string_value(json_object_get(in->reference, "message"));

    if (d->update_message && is_replaceable(in->notification) && is_id(message) &&
        !json_is_true(json_object_get(in->reference, "over"))) {
        talk.act = ACT_EDIT;
        talk.message = message;
    }
    return talk;
}

static int colour(const struct notification *n)
{
    const char *severity = json_string_value(json_object_get(n->data, "severity"));

    if (json_is_true(json_object_get(n->data, "resolved")))
        return 0x2da44e;
    if (!severity || strcmp(severity, "info") == 0)
        return 0x0969da;
    return strcmp(severity, "warning") == 0 ? 0xd4a72c : 0xcf222e;
}

/* One embed: a title of at most 256 characters, a description of 4096. Nobody is named by what
 * stands in an alert. */
static json_t *payload(const struct talk *talk, const struct discord_cfg *d,
                       const struct notification *n)
{
    const char *text = talk->act == ACT_RING && n->news ? n->news : n->text;
    json_t *doc = json_pack("{s:[{s:s, s:s, s:i}], s:{s:[]}}", "embeds", "title", n->title,
                            "description", text, "color", colour(n), "allowed_mentions", "parse");

    if (doc && talk->act != ACT_EDIT && d->username && *d->username)
        (void)json_object_set_new(doc, "username", json_string(d->username));
    if (doc && talk->act != ACT_EDIT && d->avatar_url && *d->avatar_url)
        (void)json_object_set_new(doc, "avatar_url", json_string(d->avatar_url));
    return doc;
}

/* The webhook's own query, a thread's perhaps, stays. */
static const char *address(const struct talk *talk, const struct discord_cfg *d, struct arena *a)
{
    size_t path = strcspn(d->webhook_url, "?#");
    const char *query = d->webhook_url + path;
    size_t len = *query == '?' ? strcspn(query, "#") : 0;

    if (talk->act == ACT_EDIT)
        return arena_printf(a, "%.*s/messages/%s%.*s", (int)path, d->webhook_url, talk->message,
                            (int)len, query);
    return arena_printf(a, "%.*s%.*s%cwait=true", (int)path, d->webhook_url, (int)len, query,
                        len ? '&' : '?');
}

static int ask(const struct talk *talk, const struct step_input *in, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct discord_cfg *d = in->cfg;
    int r =
        post_json("discord", address(talk, d, a), payload(talk, d, in->notification), a, ret, e);

    if (talk->act == ACT_EDIT)
        ret->method = "PATCH";
    return r;
}

static struct outcome judge(const struct response *r, const json_t *doc, struct arena *a)
{
    struct outcome out = classify_http(r, a);
    double wait = json_number_value(json_object_get(doc, "retry_after"));
    int64_t ms = wait > 0 && wait < WAIT_MAX ? (int64_t)ceil(wait * (double)MS_SECOND) : 0;

    if (out.limited && ms > out.wait_ms)
        out.wait_ms = ms;
    /* Asked to wait it answers with the message; anything else is somebody else's answer. */
    if (r->status == 200 && !json_is_string(json_object_get(doc, "id")))
        out.verdict = VERDICT_RETRY;
    return out;
}

static const json_t *keep(const struct talk *talk, const struct step_input *in, struct arena *a)
{
    const json_t *data = in->notification->data;
    /* A group of alerts begins anew after its end; an incident's goes on when it re-opens. */
    bool over = json_is_true(json_object_get(data, "is_alerts")) &&
                json_is_true(json_object_get(data, "resolved"));

    if (!is_id(talk->message) || !is_replaceable(in->notification))
        return NULL;
    return json_owned(json_pack("{s:s, s:b}", "message", talk->message, "over", over), a);
}

static void hear(struct talk *talk, const struct step_input *in, const struct response *r,
                 struct arena *a)
{
    const json_t *doc = answer_json(r, a);
    bool edit = talk->act == ACT_EDIT;

    talk->outcome = judge(r, doc, a);
    if (talk->outcome.verdict != VERDICT_DELIVERED) {
        bool unknown = json_integer_value(json_object_get(doc, "code")) == UNKNOWN_WEBHOOK;
        talk->outcome.gone = r->status == 404 && (!edit || unknown);
        /* The message was deleted: there is a webhook to send another to. */
        talk->act = r->status == 404 && edit && !unknown ? ACT_SEND : ACT_DONE;
        return;
    }
    if (talk->act == ACT_SEND)
        talk->message = json_string_value(json_object_get(doc, "id"));
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

const struct channel channel_discord = {
    .name = "discord",
    .summary = "Discord webhook",
    .cfg_size = sizeof(struct discord_cfg),
    .keys = keys,
    .foreign = foreign,
    .send_resolved = true,
    .escape = ESCAPE_BACKSLASH,
    .layout = LAYOUT_BODY("**", "**", "", "> ", "", DETAILS),
    .news_layout = LAYOUT_NEWS_BODY("", "> ", "", DETAILS),
    .max_text = 4096,
    .unit = UNIT_UTF16,
    .max_per_minute = 30,
    .burst = 5,
    .check = check,
    .destination = destination,
    .place = place,
    .edits = edits,
    .step = step,
};
