#include "console/callback.h"

#include <errno.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/report.h"
#include "common/template_escape.h"
#include "console/act_words.h"
#include "console/perform.h"

#define XML "text/xml; charset=utf-8"

/* One call of a vendor's. */
struct called {
    struct act_grant grant;
    struct slice who;
    bool acts;
};

static struct slice field(const struct form *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (slice_is(f->v[i].name, name))
            return f->v[i].value;
    return (struct slice){NULL, 0};
}

/* False when it was answered. */
static bool token_good(const struct console *c, struct http_request *r, struct slice token,
                       struct act_grant *ret)
{
    const enum act_check check = grant_read(c, token, clock_now_ms(), http_arena(r), ret);

    if (check == ACT_FORGED)
        http_reply_error(r, 403, "forbidden", "this is no token of ours");
    if (check == ACT_EXPIRED)
        http_reply_error(r, 410, "expired", "this button is too old: use a newer message");
    return check == ACT_GOOD;
}

/* ---- Slack ---- */

/* What was pressed, in the form's field `payload`. NULL with a reason. */
static json_t *payload_of(struct http_request *r, struct err *e)
{
    static const struct json_limits limits = {.max_depth = 32};
    struct form *f = arena_new_of(http_arena(r), struct form);

    if (!f) {
        (void)err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    if (form_parse(http_header(r, "Content-Type"), http_body(r), http_arena(r), f, e) < 0)
        return NULL;
    const struct slice payload = field(f, "payload");
    if (json_scan(payload, &limits, e) < 0)
        return NULL;
    return json_tree(payload, http_arena(r), e);
}

/* The message is brought up to date by its own channel: an act wakes the groups of the incident. */
static int slack_answer(struct visit *v, void *arg, struct err *e)
{
    struct called *call = arg;
    struct incident_silenced done = {0};
    int rc = perform(v, &call->grant, call->who, &done, e);

    /* Slack shows an error for anything but 200, and nobody can do anything about it there. */
    return rc == -EPERM || rc == -ENOENT ? 0 : rc;
}

static struct slice presser(const json_t *payload, struct arena *a)
{
    const json_t *user = json_object_get(payload, "user");
    const struct slice name = json_str(user, "username", a);

    return name.len > 0 ? name : json_str(user, "name", a);
}

void post_slack(void *ctx, struct http_request *r)
{
    static const struct console_form nothing = {.type = "text/plain", .answer = slack_answer};
    const struct console *c = ctx;
    const struct slice secret = slice_of(c->settings->console.slack_signing_secret);
    struct called call = {.acts = true};
    struct err e = {0};

    if (secret.len == 0) {
        http_reply_error(r, 404, "not_found", "console.slack_signing_secret is not set");
        return;
    }
    if (!slack_signed(secret, http_header(r, "X-Slack-Request-Timestamp"), http_body(r),
                      http_header(r, "X-Slack-Signature"), clock_now_ms())) {
        http_reply_error(r, 401, "unauthorized", "this is not signed by Slack");
        return;
    }
    const json_t *payload = payload_of(r, &e);
    if (!payload) {
        http_reply_error(r, 400, "bad_request", "the payload cannot be read: %s", e.msg);
        return;
    }
    const json_t *pressed = json_array_get(json_object_get(payload, "actions"), 0);
    const struct slice token = json_str(pressed, "value", http_arena(r));
    if (token.len == 0) { /* a menu, a link: Slack tells of all of them */
        http_reply(r, 200, "text/plain", "", 0);
        return;
    }
    call.who = presser(payload, http_arena(r));
    if (token_good(c, r, token, &call.grant))
        console_answer_as(c, r, &nothing, &call);
}

/* ---- Twilio ---- */

static void say(struct visit *v, const char *text)
{
    buf_puts(&v->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Say>");
    template_escape(&v->out, slice_of(text), ESCAPE_HTML);
    buf_puts(&v->out, "</Say></Response>");
}

static int twilio_answer(struct visit *v, void *arg, struct err *e)
{
    struct called *call = arg;
    const struct act_words *w = act_words(LOCALE_EN);
    struct incident_silenced done = {0};
    int rc = call->acts ? perform(v, &call->grant, call->who, &done, e) : 0;

    if (rc == -EPERM || rc == -ENOENT)
        say(v, rc == -EPERM ? w->is_over : w->gone);
    else if (rc == 0)
        say(v, !call->acts    ? "Nothing was changed."
               : done.changed ? w->verbs[call->grant.verb].done
                              : w->verbs[call->grant.verb].was_done);
    return rc == -EPERM || rc == -ENOENT ? 0 : rc;
}

/* As Twilio called it: what people and vendors reach us by, and what stood behind that. */
static const char *url_of(const struct console *c, struct http_request *r)
{
    const char *base = c->settings->external_url;
    const struct slice query = http_query_string(r);
    size_t len = strlen(base);

    while (len > 0 && base[len - 1] == '/')
        len--;
    const char *url = arena_printf(http_arena(r), "%.*s%s%s%.*s", (int)len, base, http_path(r),
                                   query.len > 0 ? "?" : "", SLICE_FMT(query));
    return url ? url : "";
}

/* What Twilio posted and signed. NULL when it was answered. */
static const struct form *twilio_form(const struct console *c, struct http_request *r)
{
    const struct slice secret = slice_of(c->settings->console.twilio_auth_token);
    struct form *f = arena_new_of(http_arena(r), struct form);
    struct err e = {0};

    if (secret.len == 0) {
        http_reply_error(r, 404, "not_found", "console.twilio_auth_token is not set");
        return NULL;
    }
    if (!f || form_parse(http_header(r, "Content-Type"), http_body(r), http_arena(r), f, &e) < 0) {
        http_reply_error(r, 400, "bad_request", "the form cannot be read: %s", e.msg);
        return NULL;
    }
    if (!twilio_signed(secret, url_of(c, r), f, http_header(r, "X-Twilio-Signature"),
                       http_arena(r))) {
        http_reply_error(r, 401, "unauthorized", "this is not signed by Twilio");
        return NULL;
    }
    return f;
}

void post_twilio(void *ctx, struct http_request *r)
{
    static const struct console_form xml = {.type = XML, .answer = twilio_answer};
    const struct console *c = ctx;
    const struct form *f = twilio_form(c, r);
    struct called call = {.acts = false};

    if (!f)
        return;
    call.acts = slice_is(field(f, "Digits"), "1");
    call.who = field(f, "To"); /* it was us who called */
    if (token_good(c, r, slice_of(http_param(r, "token")), &call.grant))
        console_answer_as(c, r, &xml, &call);
}

/* ---- what became of a message ---- */

static const struct {
    const char *word;
    enum report_state state;
} statuses[] = {
    {"accepted", REPORT_UNDER_WAY}, {"scheduled", REPORT_UNDER_WAY}, {"queued", REPORT_UNDER_WAY},
    {"sending", REPORT_UNDER_WAY},  {"initiated", REPORT_UNDER_WAY}, {"ringing", REPORT_UNDER_WAY},
    {"sent", REPORT_SENT},          {"in-progress", REPORT_SENT},    {"delivered", REPORT_ARRIVED},
    {"read", REPORT_ARRIVED},       {"completed", REPORT_ARRIVED},   {"undelivered", REPORT_LOST},
    {"failed", REPORT_LOST},        {"canceled", REPORT_LOST},       {"busy", REPORT_LOST},
    {"no-answer", REPORT_LOST}, /* a call that nobody heard */
};

/* At most nine digits; -1: it is none. */
static int32_t number_of(struct slice s)
{
    int32_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i == 9)
            return -1;
        n = n * 10 + (s.p[i] - '0');
    }
    return s.len > 0 ? n : -1;
}

/* "undelivered, error 30003" */
static const char *words_of(const char *word, const struct form *f, struct arena *a)
{
    const int32_t code = number_of(field(f, "ErrorCode")),
                  sip = number_of(field(f, "SipResponseCode"));

    if (code > 0)
        return arena_printf(a, "%s, error %d", word, (int)code);
    return sip >= 300 ? arena_printf(a, "%s, SIP %d", word, (int)sip) : word;
}

/* False: a word that says nothing to us. */
static bool read_status(const struct form *f, struct arena *a, struct report *ret)
{
    const struct slice message = field(f, "MessageStatus"),
                       status = message.len > 0 ? message : field(f, "CallStatus");
    const char *words = NULL;

    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        if (!slice_is(status, statuses[i].word))
            continue;
        ret->state = statuses[i].state;
        words = words_of(statuses[i].word, f, a);
    }
    ret->words = slice_of(words);
    return words != NULL;
}

static int status_answer(struct visit *v, void *arg, struct err *e)
{
    const char *tenant = http_query(v->http, "tenant");

    v->status = 204;
    return report_store(v->pg, v->a, tenant ? slice_of(tenant) : v->tenant, arg, e);
}

void post_twilio_status(void *ctx, struct http_request *r)
{
    static const struct console_form nothing = {.type = "text/plain", .answer = status_answer};
    const struct console *c = ctx;
    const struct form *f = twilio_form(c, r);
    struct report report = {.attempt = number_of(slice_of(http_param(r, "attempt")))};

    if (!f)
        return;
    if (!uuid_parse(slice_of(http_param(r, "id")), &report.notification) || report.attempt < 1)
        http_reply_error(r, 404, "not_found", "there is no such notification");
    else if (read_status(f, http_arena(r), &report))
        console_answer_as(c, r, &nothing, &report);
    else
        http_reply(r, 204, "text/plain", "", 0);
}
