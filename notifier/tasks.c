#include "notifier/tasks.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "notifier/job.h"
#include "notifier/model.h"
#include "notifier/sample.h"
#include "notifier/wire.h"

#define MEMORY ((size_t)32 << 20)
#define HIDDEN "…"

static int fail(const struct err *e)
{
    (void)fprintf(stderr, "%s\n", e->msg);
    return 1;
}

/* ---- a message ---- */

/* The data model as it was given, with the words of the reader's language. */
static json_t *given_model(json_t *doc, const struct outlet *o, struct arena *a)
{
    json_t *words = json_object();

#define X(name) (void)json_object_set_new(words, #name, json_string(o->words->name));
    WORDS(X)
#undef X
    (void)json_object_set_new(doc, "word", words);
    return json_owned(json_incref(doc), a) ? doc : NULL;
}

static json_t *model_of(const struct settings *s, const struct outlet *o, json_t *doc,
                        int64_t now_ms, struct arena *a)
{
    /* Links to act by are over as they are shown: a message on a screen is for nobody's hands. */
    struct style style = {
        .words = o->words,
        .zone = o->zone,
        .external_url = s->external_url ? s->external_url : "",
        .now_ms = now_ms,
        .send_resolved = true,
        .max_alerts = s->limits.message_alerts,
        .secrets = {.now = slice_of(s->console.link_secret)},
        .link_ttl_ms = s->console.link_ttl,
        .silence_ms = s->console.silence_for,
    };

    if (json_object_get(doc, "headline"))
        return given_model(doc, o, a);
    const json_t *facts =
        json_owned(sample_facts(doc, o->receiver ? o->receiver->name : "", now_ms), a);
    return facts ? model_build(facts, &style, a) : NULL;
}

static int message_of(const struct settings *s, const struct outlet *o, json_t *doc,
                      struct arena *a, struct notification *ret, struct err *e)
{
    const size_t max = o->channel->max_text;
    struct layout layout = {
        .channel = o->channel,
        .max_text = max && max < s->limits.payload ? max : s->limits.payload,
        .own = o->own,
        .words = o->words,
    };
    *ret = (struct notification){.id = "00000000-0000-8000-8000-000000000000",
                                 .group = "00000000-0000-8000-8000-000000000000",
                                 .created_at = clock_now_ms(),
                                 .now = clock_now_ms()};
    json_t *model = model_of(s, o, doc, ret->now, a);

    if (!model)
        return err_set(e, -ENOMEM, "the message does not fit in its memory");
    return message_render(o->messages, &layout, model, a, ret, e);
}

/* ---- a request without its secrets ---- */

/* `s` with each of the channel's secrets in it hidden. */
static const char *hidden(const struct outlet *o, const char *s, struct arena *a)
{
    for (const struct conf_key *k = o->channel->keys; k->name && s; k++) {
        const char *secret = NULL, *at;

        if (!(k->flags & CONF_SECRET) || k->type != CONF_STR)
            continue;
        memcpy(&secret, (const char *)o->cfg + k->offset, sizeof(secret));
        while (s && secret && *secret && (at = strstr(s, secret)))
            s = arena_printf(a, "%.*s" HIDDEN "%s", (int)(at - s), s, at + strlen(secret));
    }
    return s ? s : "";
}

static bool is_open(const char *header)
{
    return strcasecmp(header, "Content-Type") == 0 || strcasecmp(header, "Idempotency-Key") == 0;
}

static void show_request(const struct outlet *o, const struct request *r, struct arena *a)
{
    json_t *doc = json_loadb(r->body.p, r->body.len, 0, NULL);
    char *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    const char *body = text ? text : arena_strndup(a, r->body.p, r->body.len);

    (void)printf("%s %s\n", r->method ? r->method : "MAIL", o->place);
    for (size_t i = 0; i < r->header_n; i++)
        (void)printf("%s: %s\n", r->headers[i].name,
                     is_open(r->headers[i].name) ? r->headers[i].value : HIDDEN);
    for (size_t i = 0; i < r->mail_to_n; i++)
        (void)printf("To: %s\n", r->mail_to[i]);
    (void)printf("\n%s\n", body ? hidden(o, body, a) : "");
    free(text);
    json_decref(doc);
}

static void say_fault(const char *what, const char *fault)
{
    if (fault)
        (void)fprintf(stderr, "warning: the receiver's own %s gives nothing here: %s\n", what,
                      fault);
}

static int show(const struct settings *s, const struct outlet *o, json_t *doc, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    struct notification n = {0};
    struct step step = {.done = true};
    int r = a ? message_of(s, o, doc, a, &n, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0)
        return r;
    say_fault("template", n.fault);
    (void)printf("%s\n", n.text ? n.text : "");
    if (n.news)
        (void)printf("--- who has the first message\n%s\n", n.news);
    struct step_input in = {.cfg = o->cfg, .notification = &n};
    if (o->cfg && (r = channel_step(o->channel, &in, a, &step, e)) < 0)
        return r;
    say_fault("body", step.request.fault);
    if (!o->cfg)
        (void)printf("--- no receiver has this channel, so there is no request to show\n");
    else if (step.done)
        (void)printf("--- nothing is sent\n");
    else
        (void)printf("--- %s, to %s\n", o->receiver->name, o->place);
    if (!step.done)
        show_request(o, &step.request, a);
    return 0;
}

int task_render(const struct settings *s, const struct outlets *all, const char *const *args)
{
    struct outlet bare = {.channel = channel_find(args[0]),
                          .words = words_find(s->locale && *s->locale ? s->locale : "en"),
                          .messages = all->messages};
    const struct outlet *o = NULL;
    struct err e = {0};
    json_error_t bad;

    if (!bare.channel)
        return err_set(&e, -EINVAL, "there is no channel %s", args[0]), fail(&e);
    for (size_t i = 0; i < all->n && !o; i++)
        o = all->v[i].channel == bare.channel ? &all->v[i] : NULL;
    CLEANUP(zone_free) struct zone *zone = NULL;
    if (!o && zone_open(s->time_zone && *s->time_zone ? s->time_zone : "UTC", &zone, &e) < 0)
        return fail(&e);
    bare.zone = zone;
    json_t *doc = json_load_file(args[1], 0, &bad);
    if (!json_is_object(doc)) {
        json_decref(doc);
        return err_set(&e, -EINVAL, "%s:%d: %s", args[1], doc ? 1 : bad.line,
                       doc ? "an object is expected" : bad.text),
               fail(&e);
    }
    int r = show(s, o ? o : &bare, doc, &e);
    json_decref(doc);
    return r < 0 ? fail(&e) : 0;
}

/* ---- a test ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
};

static void answered(void *ctx, struct transfer *t)
{
    struct waiter *w = ctx;

    (void)t;
    (void)pthread_mutex_lock(&w->lock);
    w->done = true;
    (void)pthread_cond_signal(&w->told);
    (void)pthread_mutex_unlock(&w->lock);
}

static void send_and_wait(struct wire *wire, struct waiter *w, struct transfer *t)
{
    w->done = false;
    wire_send(wire, t);
    (void)pthread_mutex_lock(&w->lock);
    while (!w->done)
        (void)pthread_cond_wait(&w->told, &w->lock);
    (void)pthread_mutex_unlock(&w->lock);
}

static int converse(const struct outlet *o, const struct notification *n, struct wire *wire,
                    struct waiter *w, struct arena *a, struct outcome *ret, struct err *e)
{
    struct exchange past[EXCHANGES_MAX];
    struct step_input in = {.cfg = o->cfg, .notification = n, .past = past};
    struct step step;
    int r;

    while ((r = channel_step(o->channel, &in, a, &step, e)) == 0 && !step.done) {
        struct transfer t = {.request = &step.request, .a = a};
        if (in.past_n == EXCHANGES_MAX)
            return err_set(e, -EIO, "it wants to be asked again and again");
        send_and_wait(wire, w, &t);
        past[in.past_n++] = (struct exchange){step.request, t.response};
    }
    *ret = step.outcome;
    return r;
}

static bool test_one(const struct settings *s, const struct outlet *o, struct wire *wire,
                     struct waiter *w)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    json_t *doc = sample_incident();
    struct notification n = {0};
    struct outcome out = {0};
    struct err e = {0};
    int r = a && doc ? message_of(s, o, doc, a, &n, &e) : err_set(&e, -ENOMEM, "out of memory");

    if (r == 0)
        r = converse(o, &n, wire, w, a, &out, &e);
    const char *verdict = r < 0                              ? "not sent"
                          : out.verdict == VERDICT_DELIVERED ? "delivered"
                          : out.verdict == VERDICT_RETRY     ? "not now"
                                                             : "refused";
    (void)printf("%s, %s: %s: %s\n", o->channel->name, o->place, verdict,
                 r < 0       ? e.msg
                 : out.words ? hidden(o, out.words, a)
                             : "");
    json_decref(doc);
    return r == 0 && out.verdict == VERDICT_DELIVERED;
}

int task_send_test(const struct settings *s, const struct outlets *all, const char *const *args)
{
    struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    struct guard guard;
    struct wire *wire = NULL;
    struct err e = {0};
    size_t n = 0, bad = 0;

    if (!receiver_find(&all->receivers, slice_of(args[0])))
        return err_set(&e, -EINVAL, "there is no receiver %s", args[0]), fail(&e);
    if (guard_init(&guard, &s->limits.allow_private_addresses, &e) < 0)
        return fail(&e);
    if (wire_new(&s->notifier, &guard, answered, &w, &wire, &e) < 0) {
        guard_release(&guard);
        return fail(&e);
    }
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->v[i].receiver->name, args[0]) == 0) {
            n++;
            bad += !test_one(s, &all->v[i], wire, &w);
        }
    wire_free(wire);
    guard_release(&guard);
    if (n == 0)
        return err_set(&e, -EINVAL, "receiver %s has no channel", args[0]), fail(&e);
    return bad ? 1 : 0;
}
