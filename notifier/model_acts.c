/* Addresses of ours that a message carries: by which a reader acts on the incident, while it is one
 * to act on, and by which a vendor says what became of the message. */
#include <string.h>

#include "common/act.h"
#include "notifier/channel.h"
#include "notifier/model_internal.h"

/* In the reader's language. */
static const char *act_name(const struct model *m, enum act_verb verb)
{
    const char *const names[ACT_VERBS] = {
        [ACT_ACKNOWLEDGE] = m->w->act_acknowledge,
        [ACT_CLAIM] = m->w->act_claim,
        [ACT_SILENCE] = words_fill(m->a, m->w->act_silence, model_duration(m, m->s->silence_ms),
                                   NULL, NULL, NULL),
        [ACT_RESOLVE] = m->w->act_resolve,
    };

    return names[verb];
}

static const char *token_of(const struct model *m, enum act_verb verb)
{
    struct act_grant g = {.verb = verb,
                          .tenant = slice_of(get_str(m->row, "tenant")),
                          .receiver = slice_of(get_str(m->row, "receiver")),
                          .expires_ms = m->s->now_ms + m->s->link_ttl_ms};

    return uuid_parse(slice_of(get_str(m->incident, "id")), &g.incident)
               ? act_token(&g, &m->s->secrets, m->a)
               : NULL;
}

static size_t url_len(const char *url)
{
    size_t len = strlen(url);

    while (len > 0 && url[len - 1] == '/')
        len--;
    return len;
}

static json_t *act_of(const struct model *m, enum act_verb verb, const char *token)
{
    const char *base = m->s->external_url;
    json_t *one = json_object();

    put_str(one, "verb", act_verb_name(verb));
    put_str(one, "name", act_name(m, verb));
    put_str(one, "token", token);
    put_str(one, "url", arena_printf(m->a, "%.*s/act/%s", (int)url_len(base), base, token));
    return one;
}

/* What is left to do: nobody acknowledges twice, but anybody may take it over. */
static bool offered(const struct model *m, enum act_verb verb)
{
    return verb != ACT_ACKNOWLEDGE || get_int(m->incident, "status") == INCIDENT_OPEN;
}

void model_report(struct model *m)
{
    CLEANUP(buf_release) struct buf tenant = BUF_INIT((size_t)8 << 10);
    const char *base = m->s->external_url;

    if (!m->s->asks_twilio)
        return;
    url_encode(&tenant, slice_of(get_str(m->row, "tenant")));
    put_str(m->root, "twilio_status_url",
            arena_printf(m->a, "%.*s/callback/twilio/status/%s/%lld?tenant=%s", (int)url_len(base),
                         base, get_str(m->row, "id"), (long long)get_int(m->row, "attempts") + 1,
                         buf_str(&tenant)));
}

void model_acts(struct model *m)
{
    const int64_t status = get_int(m->incident, "status");
    json_t *buttons = json_array(), *links = json_array();

    for (enum act_verb v = ACT_ACKNOWLEDGE; v < ACT_VERBS; v++) {
        if (!*m->s->external_url || m->resolved || !status || status == INCIDENT_RESOLVED ||
            !offered(m, v))
            continue;
        const char *token = token_of(m, v);
        if (!token)
            continue;
        json_t *one = act_of(m, v, token);
        (void)json_array_append_new(buttons, one);
        put_str(m->root, arena_printf(m->a, "%s_url", act_verb_name(v)), get_str(one, "url"));
        if (v == ACT_ACKNOWLEDGE && m->s->answers_calls)
            put_str(m->root, "acknowledge_call_url",
                    arena_printf(m->a, "%.*s/callback/twilio/%s", (int)url_len(m->s->external_url),
                                 m->s->external_url, token));
        if (v == ACT_CLAIM)
            continue;
        json_t *link = json_copy(one);
        put_str(link, "sep", json_array_size(links) > 0 ? " · " : NULL);
        (void)json_array_append_new(links, link);
    }
    put_flag(m->root, "has_acts", json_array_size(links) > 0);
    (void)json_object_set_new(m->root, "acts", links);
    (void)json_object_set_new(m->root, "buttons", buttons);
}
