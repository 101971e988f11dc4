/* Any program that takes Alertmanager's webhook, version 4; what only we know stands under one key
 * of our own, `tocsin`. Or one that takes something else: then the body is the user's own template,
 * and where that gives no JSON for once, the usual payload, because something must be said. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "notifier/channel.h"
#include "notifier/http_auth.h"
#include "notifier/model.h"

#define JSON_TYPE "application/json"
#define SAMPLE_MEMORY ((size_t)1 << 20)

struct webhook_cfg {
    const char *url;
    uint32_t max_alerts;
    const char *body, *content_type;
    struct http_auth auth;
    struct template *own; /* of body; NULL: the usual payload */
    bool is_json;
};

#define T struct webhook_cfg
static const struct conf_key keys[] = {
    CONF(T, url, CONF_STR, NULL, CONF_SECRET, "where to post"),
    CONF(T, max_alerts, CONF_U32, "0", 0, "alerts in one message; 0: limits.message_alerts alone"),
    CONF(T, body, CONF_STR, NULL, CONF_SECRET,
         "Mustache text of the body, docs/templates.md; default: Alertmanager's payload"),
    CONF(T, content_type, CONF_STR, JSON_TYPE, 0, "of such a body"),
    CONF_END,
};
#undef T

static const char *const trees[] = {"http_config", NULL};
static const char *const foreign[] = {"timeout", "payload", NULL};
static bool given(const char *s)
{
    return s && *s;
}

static enum escape escape_of(const struct webhook_cfg *w)
{
    if (w->is_json)
        return ESCAPE_JSON;
    return strstr(w->content_type, "xml") || strstr(w->content_type, "html") ? ESCAPE_HTML
                                                                             : ESCAPE_NONE;
}

static struct slice own_body(const struct webhook_cfg *w, const json_t *data, struct arena *a,
                             struct err *e)
{
    static const struct json_limits limits = {.max_depth = 32};
    struct slice body = {0};

    body.p = template_render(w->own, data, escape_of(w), a, &body.len);
    if (!body.p)
        (void)err_set(e, -ENOMEM, "it is too long");
    else if (body.len == 0)
        (void)err_set(e, -EINVAL, "it is empty");
    else if (!w->is_json || json_scan(body, &limits, e) == 0)
        return body;
    return (struct slice){0};
}

/* A message as they come, with signs in it that a template must not let through as they are. */
static json_t *sample(bool resolved, const struct zone *zone, struct arena *a)
{
    static const char quoted[] = "a \"quoted\" title, C:\\ and\ntwo lines";
    const char *status = resolved ? "resolved" : "firing";
    json_t *alert =
        json_pack("{s:s, s:i, s:i, s:{s:s, s:s}, s:{s:s}, s:s, s:s, s:I}", "fingerprint",
                  "00000000000000a1", "status", resolved ? 2 : 1, "severity", 4, "labels",
                  "alertname", "Sample", "instance", quoted, "annotations", "summary", quoted,
                  "title", quoted, "source", "alertmanager", "starts_at", (json_int_t)1);
    json_t *incident =
        json_pack("{s:s, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i}",
                  "id", "018f0000-0000-7000-8000-000000000001", "status", resolved ? 4 : 1,
                  "severity", 4, "episode", 1, "title", quoted, "description", quoted, "source",
                  "alertmanager", "service", quoted, "environment", "production", "namespace",
                  "shop", "opened_at", (json_int_t)1, "last_seen", (json_int_t)2, "resolved_at",
                  (json_int_t)(resolved ? 3 : 0), "occurrences", 1, "alerts_total", 1);
    json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:I, s:{s:{s:s, s:i}, s:s, s:{}}}",
                            "id", "018f0000-0000-7000-8000-000000000002", "group_id",
                            "018f0000-0000-7000-8000-000000000003", "receiver", "sample", "seq", 1,
                            "kind", resolved ? "resolved" : "opened", "severity", 4, "created_at",
                            (json_int_t)2, "about", "state", "status", status, "severity", 4,
                            "group_key", "{}", "group_labels");
    const json_t *facts = json_owned(
        json_pack("{s:o, s:o, s:[o]}", "notification", row, "incident", incident, "alerts", alert),
        a);
    const struct style style = {.words = words_at(0),
                                .zone = zone,
                                .external_url = "https://tocsin.example.com",
                                .now_ms = 2,
                                .send_resolved = true,
                                .max_alerts = 20};

    return facts ? model_build(facts, &style, a) : NULL;
}

/* Rather no start than a body that nobody can read, found at three in the morning. */
static int try_body(const struct webhook_cfg *w, struct err *e)
{
    CLEANUP(zone_free) struct zone *zone = NULL;
    int r = zone_open("UTC", &zone, e);

    if (r < 0)
        return err_wrap(e, "webhook");
    for (int resolved = 0; resolved < 2; resolved++) {
        CLEANUP(arena_free) struct arena *a = arena_new(SAMPLE_MEMORY);
        const json_t *data = a ? sample(resolved, zone, a) : NULL;
        struct err why = {0};
        if (!data)
            return err_set(e, -ENOMEM, "webhook: out of memory");
        if (!own_body(w, data, a, &why).p)
            return err_set(e, -EINVAL, "webhook: body: for a message %s: %s",
                           resolved ? "of an end" : "that something fires", why.msg);
    }
    return 0;
}

static void free_template(void *t)
{
    template_free(t);
}

static int load_body(struct webhook_cfg *w, const struct check_input *in, struct err *e)
{
    w->own = NULL;
    w->is_json = strstr(w->content_type, "json") != NULL;
    for (const char *p = w->content_type; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return err_set(e, -EINVAL, "webhook: content_type: this is none");
    if (!given(w->body))
        return 0;
    w->own = template_compile(w->body, e);
    if (!w->own)
        return err_wrap(e, "webhook: body");
    if (conf_defer(in->conf, free_template, w->own) < 0)
        return err_set(e, -ENOMEM, "webhook: out of memory");
    return try_body(w, e);
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct webhook_cfg *w = cfg;
    int r = http_auth_load(&w->auth, in, e);

    if (r < 0)
        return r;
    if (!given(w->url))
        return err_set(e, -EINVAL, "webhook: url is missing");
    if ((r = load_body(w, in, e)) < 0)
        return r;
    return check_http_url("webhook: url", w->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct webhook_cfg *w = cfg;

    canonical_url(w->url, out);
    http_auth_identity(&w->auth, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct webhook_cfg *w = cfg;

    host_of_url(w->url, out);
}

static void set(json_t *doc, const char *key, const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);

    (void)json_object_set_new(doc, key, value ? json_incref(value) : json_string(""));
}

/* `over` ends an alert that fires, not before it began: see message_status(). */
static json_t *one_alert(const json_t *alert, const char *over)
{
    static const char *const maps[] = {"labels", "annotations", NULL};
    const char *since = json_string_value(json_object_get(alert, "starts_at"));
    json_t *out = json_object();

    set(out, "status", alert, "status");
    for (size_t i = 0; maps[i]; i++) {
        json_t *map = json_object_get(alert, maps[i]);
        (void)json_object_set_new(out, maps[i], map ? json_incref(map) : json_object());
    }
    set(out, "startsAt", alert, "starts_at");
    set(out, "endsAt", alert, "ends_at");
    set(out, "generatorURL", alert, "generator_url");
    set(out, "fingerprint", alert, "fingerprint");
    if (over && json_is_true(json_object_get(alert, "firing"))) {
        (void)json_object_set_new(out, "status", json_string("resolved"));
        (void)json_object_set_new(out, "endsAt",
                                  json_string(since && strcmp(since, over) > 0 ? since : over));
    }
    return out;
}

/*
 * In this payload a message is resolved exactly when all its alerts are, and receivers check or use
 * either. An alert may be over by the time its late firing is told; what a person resolved may go
 * on firing; and by the time a late end is told all may fire again, which the next message says.
 * What is true now stands in tocsin.incident.
 */
static const char *message_status(const struct notification *n, char *buffer, const char **ret_over)
{
    const json_t *data = n->data, *incident = json_object_get(data, "incident");
    const char *status = json_string_value(json_object_get(data, "status"));
    json_t *alerts = json_object_get(data, "alerts"), *alert;
    bool fires = json_integer_value(json_object_get(data, "truncated_alerts")) > 0;
    size_t i;

    *ret_over = NULL;
    if (status && strcmp(status, "resolved") == 0) {
        json_int_t at = json_integer_value(json_object_get(incident, "resolved_at"));
        *ret_over = incident ? rfc3339_format(at ? at : n->created_at, buffer) : NULL;
        return status;
    }
    json_array_foreach (alerts, i, alert)
        fires = fires || json_is_true(json_object_get(alert, "firing"));
    return fires ? status : "resolved";
}

/* What Alertmanager's payload has no place for. */
static json_t *own_members(const json_t *data)
{
    static const char *const names[] = {
        "reason",  "severity", "frequency", "repair", "incident",           "sequence",
        "late_ms", "lines",    "more_n",    "notes",  "possible_duplicate", "firing_since",
        NULL};
    json_t *out = json_object();

    set(out, "notification_id", data, "id");
    for (size_t i = 0; names[i]; i++) {
        json_t *value = json_object_get(data, names[i]);
        const char *name = strcmp(names[i], "frequency") == 0 ? "frequency_stats"
                           : strcmp(names[i], "repair") == 0  ? "repair_stats"
                                                              : names[i];
        if (value)
            (void)json_object_set(out, name, value);
    }
    return out;
}

static json_t *payload(const struct webhook_cfg *w, const struct notification *n)
{
    static const char *const maps[][2] = {{"groupLabels", NULL},
                                          {"commonLabels", "common_labels"},
                                          {"commonAnnotations", "common_annotations"}};
    json_t *doc = json_object(), *alerts = json_array(), *alert;
    const json_t *group = json_object_get(n->data, "group");
    json_int_t cut = json_integer_value(json_object_get(n->data, "truncated_alerts"));
    char buffer[RFC3339_MAX];
    const char *over, *status = message_status(n, buffer, &over);
    size_t i;

    json_array_foreach (json_object_get(n->data, "alerts"), i, alert) {
        if (w->max_alerts && i >= w->max_alerts)
            cut++;
        else
            (void)json_array_append_new(alerts, one_alert(alert, over));
    }
    set(doc, "receiver", n->data, "receiver");
    (void)json_object_set_new(doc, "status", json_string(status ? status : ""));
    (void)json_object_set_new(doc, "alerts", alerts);
    for (i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
        json_t *map =
            maps[i][1] ? json_object_get(n->data, maps[i][1]) : json_object_get(group, "labels");
        (void)json_object_set_new(doc, maps[i][0], map ? json_incref(map) : json_object());
    }
    set(doc, "externalURL", n->data, "external_url");
    (void)json_object_set_new(doc, "version", json_string("4"));
    set(doc, "groupKey", group, "key");
    (void)json_object_set_new(doc, "truncatedAlerts", json_integer(cut));
    (void)json_object_set_new(doc, "tocsin", own_members(n->data));
    return doc;
}

static bool templated(const void *cfg)
{
    const struct webhook_cfg *w = cfg;

    return w->own != NULL;
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    const struct webhook_cfg *w = cfg;
    bool auth = http_auth_given(&w->auth);
    struct header *headers = arena_array(a, 3, struct header);
    const char *value = auth ? http_auth_value(&w->auth, a) : "";

    *ret = (struct request){
        .url = w->url, .method = "POST", .headers = headers, .header_n = auth ? 3 : 2};
    struct err why = {0};
    if (w->own)
        ret->body = own_body(w, n->data, a, &why);
    const bool own = ret->body.p != NULL;
    if (w->own && !own && !(ret->fault = arena_strndup(a, why.msg, strlen(why.msg))))
        headers = NULL;
    if (!own)
        ret->body = json_bytes(payload(w, n), a);
    if (!headers || !value || !ret->body.len)
        return err_set(e, -ENOMEM, "webhook: the message does not fit in its memory");
    headers[0] = (struct header){"Content-Type", own ? w->content_type : JSON_TYPE};
    headers[1] = (struct header){"Idempotency-Key", n->id};
    headers[2] = (struct header){"Authorization", value};
    return 0;
}

const struct channel channel_webhook = {
    .name = "webhook",
    .summary = "HTTP POST of Alertmanager's webhook payload, version 4, or of your own",
    .cfg_size = sizeof(struct webhook_cfg),
    .keys = keys,
    .foreign = foreign,
    .trees = trees,
    .for_programs = true,
    .send_resolved = true,
    .check = check,
    .destination = destination,
    .place = place,
    .templated = templated,
    .render = render,
};
