/*
 * One case of a channel: {"config": the entry under <channel>_configs, "receiver": {locale,
 * time_zone}, "global": {...}, "external_url", "link_secret", "now", "facts": what Postgres said
 * (notifier/model.h)}. Shared by the golden and the contract tests.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "common/clock.h"
#include "notifier/model.h"
#include "notifier/outlets.h"

struct channel_case {
    json_t *doc;
    struct conf *conf;
    struct outlets *outlets;
    const struct outlet *outlet;
};

__attribute__((unused)) static void channel_case_free(struct channel_case *c)
{
    outlets_free(c->outlets);
    conf_free(c->conf);
    json_decref(c->doc);
}

/* 0, or -1 with the reason on stderr. */
__attribute__((unused)) static int channel_case_load(const char *file, const char *channel,
                                                     struct channel_case *ret)
{
    struct err e = {0};
    json_error_t bad;
    char key[64];

    *ret = (struct channel_case){.doc = json_load_file(file, 0, &bad)};
    if (!ret->doc) {
        (void)fprintf(stderr, "%s:%d: %s\n", file, bad.line, bad.text);
        return -1;
    }
    (void)snprintf(key, sizeof(key), "%s_configs", channel);
    json_t *receiver = json_deep_copy(json_object_get(ret->doc, "receiver"));
    if (!receiver)
        receiver = json_object();
    (void)json_object_set_new(receiver, "name", json_string("team"));
    (void)json_object_set_new(receiver, key, json_pack("[O]", json_object_get(ret->doc, "config")));
    json_t *file_doc = json_pack("{s:[o]}", "receivers", receiver);
    if (json_object_get(ret->doc, "global"))
        (void)json_object_set(file_doc, "global", json_object_get(ret->doc, "global"));
    char *text = json_dumps(file_doc, 0); /* JSON is YAML */
    json_decref(file_doc);
    int r = conf_parse(file, text, NULL, &ret->conf, &e);
    struct settings s = {.conf = ret->conf, .locale = "", .time_zone = "UTC"};
    if (r == 0)
        r = outlets_load(&s, &ret->outlets, &e);
    free(text);
    if (r < 0) {
        (void)fprintf(stderr, "%s\n", e.msg);
        return -1;
    }
    ret->outlet = &ret->outlets->v[0];
    return 0;
}

/* The case's message, rendered. */
__attribute__((unused)) static int channel_case_render(const struct channel_case *c,
                                                       struct arena *a, struct notification *ret,
                                                       struct err *e)
{
    const struct outlet *o = c->outlet;
    const json_t *facts = json_object_get(c->doc, "facts"),
                 *row = json_object_get(facts, "notification");
    const char *url = json_string_value(json_object_get(c->doc, "external_url"));
    struct style style = {
        .words = o->words,
        .zone = o->zone,
        .external_url = url ? url : "https://tocsin.example.com",
        .now_ms = json_integer_value(json_object_get(c->doc, "now")),
        .send_resolved = o->send_resolved,
        .max_alerts = 20,
        .secrets = {.now = slice_of(json_string_value(json_object_get(c->doc, "link_secret")))},
        .link_ttl_ms = 7 * MS_DAY,
        .silence_ms = MS_HOUR,
        .answers_calls = true,
        .asks_twilio = json_is_true(json_object_get(c->doc, "asks_twilio")),
    };
    struct layout layout = {o->channel, o->channel->max_text ? o->channel->max_text : 65536, o->own,
                            o->words};
    json_t *model = model_build(facts, &style, a);

    *ret = (struct notification){
        .id = json_string_value(json_object_get(row, "id")),
        .group = json_string_value(json_object_get(row, "group_id")),
        .created_at = json_integer_value(json_object_get(row, "created_at")),
        .now = style.now_ms,
    };
    if (!model)
        return err_set(e, -12, "the model does not fit");
    return message_render(c->outlets->messages, &layout, model, a, ret, e);
}
