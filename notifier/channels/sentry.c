/*
 * Sentry, written back to: what happened to an incident is commented on the issues that it is
 * about, and an end that Sentry does not know resolves them there, if that is wanted. Each comment
 * ends in a mark by which our own source knows its echo.
 */
#include <errno.h>
#include <string.h>

#include "common/sentry_mark.h"
#include "notifier/channel.h"
#include "notifier/http_auth.h"
#include "notifier/program.h"

#define ISSUES_MAX 4
#define TEXT_MAX 8000
#define ID_MAX 20
#define ORGANIZATION_MAX 64
#define LABEL "sentry_issue"
#define NOTE "※ "

struct sentry_cfg {
    const char *url, *organization, *auth_token;
    bool resolve;
};

#define T struct sentry_cfg
static const struct conf_key keys[] = {
    CONF(T, url, CONF_STR, "https://sentry.io", 0, "of the Sentry server"),
    CONF(T, organization, CONF_STR, NULL, CONF_REQUIRED, "the organization's slug"),
    CONF(T, auth_token, CONF_STR, NULL, CONF_SECRET | CONF_REQUIRED, "with the scope event:write"),
    CONF(T, resolve, CONF_BOOL, "false", 0, "what ends here is resolved there"),
    CONF_END,
};
#undef T

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    const struct sentry_cfg *s = cfg;
    size_t len = strlen(s->organization);

    (void)in;
    if (!len || len > ORGANIZATION_MAX ||
        strspn(s->organization, "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
        return err_set(e, -EINVAL, "sentry: organization is a slug");
    if (!*s->auth_token)
        return err_set(e, -EINVAL, "sentry: auth_token is empty");
    return check_http_url("sentry: url", s->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct sentry_cfg *s = cfg;

    canonical_url(s->url, out);
    buf_printf(out, " %s %s", s->organization, s->auth_token);
}

static void place(const void *cfg, struct buf *out)
{
    const struct sentry_cfg *s = cfg;

    buf_printf(out, "%s at ", s->organization);
    host_of_url(s->url, out);
}

/* The issues that the message is about, each once. */
struct issues {
    const char *v[ISSUES_MAX];
    size_t n, more;
};

static bool is_number(const char *s)
{
    size_t len = s ? strlen(s) : 0;

    return len > 0 && len <= ID_MAX && strspn(s, "0123456789") == len;
}

static struct issues issues_of(const struct notification *n)
{
    const json_t *alerts = json_object_get(n->data, "alerts"), *alert;
    struct issues all = {.n = 0};
    size_t i;

    json_array_foreach (alerts, i, alert) {
        const char *id =
            json_string_value(json_object_get(json_object_get(alert, "labels"), LABEL));
        bool known = !is_number(id);
        for (size_t k = 0; k < all.n && !known; k++)
            known = strcmp(all.v[k], id) == 0;
        if (known)
            continue;
        if (all.n < ISSUES_MAX)
            all.v[all.n++] = id;
        else
            all.more++;
    }
    return all;
}

/* What ended there is known there, in more detail than we could say. */
static bool ends_there(const struct sentry_cfg *s, const struct notification *n)
{
    const char *by = program_incident(n, "resolved_by");

    return s->resolve && program_over(n) && *by && strcmp(by, "alerts") != 0;
}

/* `text` without the line of a note. */
static const char *without(const char *text, const char *note, struct arena *a)
{
    const char *line = note ? arena_printf(a, NOTE "%s\n", note) : NULL;
    const char *at = line ? strstr(text, line) : NULL;

    return at ? arena_printf(a, "%.*s%s", (int)(at - text), text, at + strlen(line)) : text;
}

/* The same words for each attempt, since Sentry refuses what it has by its words: how late it is,
 * and that it may have arrived, are the last notes and left out. */
static const char *stable_text(const struct notification *n, struct arena *a)
{
    const json_t *notes = json_object_get(n->data, "notes");
    size_t all = json_array_size(notes), moving = 0;
    const char *text = n->text;

    moving += json_object_get(n->data, "late") != NULL;
    moving += json_object_get(n->data, "possible_duplicate") != NULL;
    for (size_t i = all > moving ? all - moving : 0; i < all && text; i++)
        text = without(text, json_string_value(json_array_get(notes, i)), a);
    return text;
}

static json_t *comment(const struct notification *n, struct arena *a)
{
    const char *said = stable_text(n, a);
    size_t len = said ? strlen(said) : 0;

    while (len > 0 && said[len - 1] == '\n')
        len--;
    const char *text = said ? arena_printf(a, "%.*s\n\n%s", (int)len, said, SENTRY_MARK) : NULL;
    return text ? json_pack("{s:s}", "text", text) : NULL;
}

/* Requests go by pairs where issues are to be resolved, too. */
static int ask(const struct step_input *in, const struct issues *all, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct sentry_cfg *s = in->cfg;
    size_t each = ends_there(s, in->notification) ? 2 : 1;
    bool ends = each == 2 && in->past_n % 2 == 1;
    const char *rest = arena_printf(a, "/api/0/organizations/%s/issues/%s/%s", s->organization,
                                    all->v[in->past_n / each], ends ? "" : "comments/");
    struct ask asks = {.channel = "sentry",
                       .method = ends ? "PUT" : "POST",
                       .url = program_url(a, s->url, rest),
                       .authorization = arena_printf(a, "Bearer %s", s->auth_token),
                       .wait_header = "X-Sentry-Rate-Limit-Reset"};
    json_t *doc = ends ? json_pack("{s:s}", "status", "resolved") : comment(in->notification, a);

    if (!asks.authorization || !doc) {
        json_decref(doc);
        return err_set(e, -ENOMEM, "sentry: the message does not fit in its memory");
    }
    return program_ask(&asks, doc, a, ret, e);
}

/* The same words by the same user within an hour: an earlier attempt arrived. */
static bool is_said(const struct response *r, struct arena *a)
{
    const char *detail = json_string_value(json_object_get(answer_json(r, a), "detail"));

    return r->status == 400 && detail && strstr(detail, "already posted");
}

static struct outcome judge(const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);

    if (is_said(r, a))
        out.verdict = VERDICT_DELIVERED;
    else if (out.verdict == VERDICT_DELIVERED && (r->body.len == 0 || *r->body.p != '{'))
        out.verdict = VERDICT_RETRY; /* somebody else's answer */
    return out;
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    struct issues all = issues_of(in->notification);
    size_t each = ends_there(in->cfg, in->notification) ? 2 : 1;

    *ret = (struct step){.outcome.verdict = VERDICT_DELIVERED};
    if (all.n == 0)
        return err_set(e, -EINVAL, "sentry: no alert of this message is an issue of Sentry");
    for (size_t i = 0; i < in->past_n && ret->outcome.verdict == VERDICT_DELIVERED; i++)
        ret->outcome = judge(&in->past[i].response, a);
    ret->done = ret->outcome.verdict != VERDICT_DELIVERED || in->past_n >= all.n * each;
    if (!ret->done)
        return ask(in, &all, a, &ret->request, e);
    if (all.more > 0 && ret->outcome.verdict == VERDICT_DELIVERED)
        ret->outcome.refused = arena_printf(a, "%zu more issues", all.more);
    return 0;
}

/* What is here and not there: nothing of the issue, and nothing that moves while it is tried. */
static const char layout[] = "{{headline}}\n"
                             "{{#notes}}\n" NOTE "{{.}}\n"
                             "{{/notes}}\n"
                             "{{#link}}\n"
                             "{{word.details}}{{word.colon}}{{{link}}}\n"
                             "{{/link}}\n";

const struct channel channel_sentry = {
    .name = "sentry",
    .summary = "Sentry: comments on its issues, and resolves them",
    .cfg_size = sizeof(struct sentry_cfg),
    .keys = keys,
    .for_programs = true,
    .send_resolved = true,
    .layout = layout,
    .max_text = TEXT_MAX,
    .unit = UNIT_UTF16,
    .check = check,
    .destination = destination,
    .place = place,
    .step = step,
};
