/*
 * PagerDuty's Events API, served: v2 (POST /v2/enqueue), its change events, and v1. The answers are
 * PagerDuty's: exactly 202 (v1: 200) with the dedup key, or 400 with what is wrong.
 *
 * A key that is triggered is an alert until it is resolved; another routing key is another space of
 * keys. Reports have no start, since a further trigger of an open key is the same alert. A trigger
 * without a key gets one, the request's id, and is told it.
 *
 * The routing key is a secret: what is stored has zeros in its place where it opened the entry,
 * else a hash.
 */
#include <ctype.h>
#include <errno.h>

#include "common/json.h"
#include "common/source_decode.h"

struct pagerduty_cfg {
    struct source_common common;
    const char *routing_key;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct pagerduty_cfg, routing_key, CONF_STR, NULL, CONF_SECRET,
         "expected routing_key (service_key of v1): 32 letters and digits, at your choice"),
    CONF_END,
};

enum { V2 = 1, CHANGE, V1 };
static const struct source_route routes[] = {
    {"POST", "/v2/enqueue", V2},
    {"POST", "/v2/change/enqueue", CHANGE},
    {"POST", "/generic/2010-04-15/create_event.json", V1},
    {0},
};

#define ROUTING_KEY_LEN 32
#define DEDUP_KEY_MAX 255
#define CLIENT_SHOWN 64
static const char zeros[] = "00000000000000000000000000000000";

static bool is_alphanumeric(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.p[i]))
            return false;
    return true;
}

static int check(const void *cfg, struct err *e)
{
    const struct slice key = slice_of(((const struct pagerduty_cfg *)cfg)->routing_key);
    if (key.len > 0 && (key.len != ROUTING_KEY_LEN || !is_alphanumeric(key)))
        return err_set(e, -EINVAL, "routing_key: %d letters and digits, as PagerDuty's are",
                       ROUTING_KEY_LEN);
    return 0;
}

/* ---- the door ---- */

/* What is looked at before anything is stored; raw. */
struct posted {
    int api;
    struct slice key, action, dedup, payload, description;
    bool two_keys; /* then whoever reads it later could not know which version it is */
};

static struct posted look(const struct hook *h)
{
    static const char *const names[] = {"routing_key",  "event_action", "dedup_key",
                                        "payload",      "service_key",  "event_type",
                                        "incident_key", "description"};
    enum { KEY, ACTION, DEDUP, PAYLOAD, KEY1, ACTION1, DEDUP1, DESCRIPTION };
    struct slice v[8] = {0};
    if (h->body.len > 0)
        json_members(json_at(h->body, ""), names, v, 8);
    struct posted p = {.api = V2, .two_keys = v[KEY].p && v[KEY1].p, .payload = v[PAYLOAD]};
    if (h->route)
        p.api = h->route->id;
    else if (!v[KEY].p && v[KEY1].p)
        p.api = V1;
    p.key = v[p.api == V1 ? KEY1 : KEY];
    p.action = v[p.api == V1 ? ACTION1 : ACTION];
    p.dedup = v[p.api == V1 ? DEDUP1 : DEDUP];
    p.description = v[DESCRIPTION];
    return p;
}

static bool is_string(struct slice raw)
{
    return raw.len >= 2 && raw.p[0] == '"';
}

static bool is_object(struct slice raw)
{
    return raw.len > 0 && raw.p[0] == '{';
}

/* Not the text of numbers: no routing key and no word is one. */
static struct slice text_of(struct slice raw, struct arena *a)
{
    return is_string(raw) ? json_text(raw, a) : (struct slice){0};
}

static bool is_key_of(const struct pagerduty_cfg *c, struct slice given)
{
    return c->routing_key && *c->routing_key && secret_eq(given, slice_of(c->routing_key));
}

/* A body that is no JSON is let in to be refused for that. */
static enum auth verify(const void *cfg, const struct hook *h, int64_t now_ms)
{
    (void)now_ms;
    const struct pagerduty_cfg *c = cfg;
    const struct json_limits limits = {.max_depth = JSON_DEPTH_MAX};
    if (!c->routing_key || !*c->routing_key)
        return source_verify_common(&c->common, h);
    if (source_common_guarded(&c->common) && source_verify_common(&c->common, h) == AUTH_OK)
        return AUTH_OK;
    if (json_scan(h->body, &limits, &(struct err){0}) < 0)
        return AUTH_OK;
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    const struct slice given = a ? text_of(look(h).key, a) : (struct slice){0};
    if (given.len == 0)
        return AUTH_MISSING;
    return is_key_of(c, given) ? AUTH_OK : AUTH_BAD;
}

/* As PagerDuty says it, with everything that is wrong. */
static bool answer(const char *status, const char *message, struct slice errors, struct arena *a,
                   struct filing *ret)
{
    const char *reply = arena_printf(a, "{\"status\":\"%s\",\"message\":\"%s\",\"errors\":[%.*s]}",
                                     status, message, SLICE_FMT(errors));
    ret->reply = slice_of(reply);
    ret->content_type = SLICE_LIT("application/json");
    return reply != NULL;
}

static bool refuse(unsigned status, const char *why, struct arena *a, struct filing *ret)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    buf_json(&b, slice_of(status == 401 ? "Invalid routing key" : why));
    if (status == 401)
        ret->status = 400; /* PagerDuty knows no other */
    return !b.failed &&
           answer("invalid event", "Event object is invalid", (struct slice){b.p, b.len}, a, ret);
}

struct complaints {
    struct buf all; /* JSON strings */
    struct err *first;
};

static void complain(struct complaints *c, const char *what)
{
    if (c->all.len == 0)
        (void)err_set(c->first, -EBADMSG, "%s", what);
    else
        buf_putc(&c->all, ',');
    buf_json(&c->all, slice_of(what));
}

static void check_key(const struct posted *p, struct arena *a, struct complaints *c)
{
    const struct slice key = text_of(p->key, a);
    if (p->two_keys)
        complain(c, "'routing_key' and 'service_key' are of different versions of the API");
    if (p->api == V1) {
        if (key.len == 0)
            complain(c, "Service key can't be blank");
        else if (key.len != ROUTING_KEY_LEN)
            complain(c, "Service key is the wrong length (should be 32 characters)");
        return;
    }
    if (key.len == 0)
        complain(c, "'routing_key' is missing or blank");
    else if (key.len != ROUTING_KEY_LEN)
        complain(c, "Length of 'routing_key' is incorrect (should be 32 characters)");
    if (!is_alphanumeric(key))
        complain(c, "'routing_key' cannot contain non-alphanumeric characters.");
}

static void check_payload(const struct posted *p, struct arena *a, struct complaints *c)
{
    static const char *const names[] = {"summary", "source", "severity"};
    struct slice v[3] = {0};
    if (!is_object(p->payload)) {
        complain(c, "'payload' is missing or blank");
        return;
    }
    json_members(p->payload, names, v, 3);
    if (decode_line(text_of(v[0], a)).len == 0)
        complain(c, "'payload.summary' is missing or blank");
    if (p->api == CHANGE) {
        if (p->action.p)
            complain(c, "'event_action' is not a change event's");
        return;
    }
    if (decode_line(text_of(v[1], a)).len == 0)
        complain(c, "'payload.source' is missing or blank");
    const struct slice severity = text_of(v[2], a);
    if (severity.len == 0)
        complain(c, "'payload.severity' is missing or blank");
    else if (!slice_is(severity, "critical") && !slice_is(severity, "error") &&
             !slice_is(severity, "warning") && !slice_is(severity, "info"))
        complain(c, "'payload.severity' is invalid (must be one of the following: 'critical', "
                    "'warning', 'error' or 'info')");
}

static void check_event(const struct posted *p, struct arena *a, struct complaints *c)
{
    const struct slice action = text_of(p->action, a), dedup = json_text(p->dedup, a);
    const bool v1 = p->api == V1, is_trigger = slice_is(action, "trigger");
    if (action.len == 0)
        complain(c, v1 ? "'event_type' is missing or blank" : "'event_action' is missing or blank");
    else if (!is_trigger && !slice_is(action, "acknowledge") && !slice_is(action, "resolve"))
        complain(c, v1 ? "'event_type' is invalid (must be one of the following: 'trigger', "
                         "'acknowledge' or 'resolve')"
                       : "'event_action' is invalid (must be one of the following: 'trigger', "
                         "'acknowledge' or 'resolve')");
    if (dedup.len == 0 && !is_trigger && action.len > 0)
        complain(c, v1 ? "Incident key can't be blank" : "'dedup_key' is missing or blank");
    if (dedup.len > DEDUP_KEY_MAX)
        complain(c, v1 ? "Incident key is too long (maximum is 255 characters)"
                       : "'dedup_key' is too long (maximum is 255 characters)");
    if (is_trigger && v1 && decode_line(text_of(p->description, a)).len == 0)
        complain(c, "Description can't be blank");
    if (is_trigger && !v1)
        check_payload(p, a, c);
}

static int check_posted(const struct posted *p, struct arena *a, struct filing *ret, struct err *e)
{
    struct complaints c = {.all = BUF_INIT(4096), .first = e};
    check_key(p, a, &c);
    if (p->api == CHANGE)
        check_payload(p, a, &c);
    else
        check_event(p, a, &c);
    int rc = 0;
    if (c.all.len > 0) {
        rc = -EBADMSG;
        ret->status = 400;
        (void)answer("invalid event", "Event object is invalid", (struct slice){c.all.p, c.all.len},
                     a, ret);
    }
    buf_release(&c.all);
    return rc;
}

/* What tells one space of keys from another: nothing where the entry does. */
static void space_of(const struct pagerduty_cfg *c, struct slice key, char ret[ROUTING_KEY_LEN + 1])
{
    unsigned char hash[SHA256_LEN];
    memcpy(ret, zeros, sizeof(zeros));
    if (is_key_of(c, key) || slice_is(key, zeros))
        return;
    sha256(key.p, key.len, hash);
    (void)hex_encode(hash, ROUTING_KEY_LEN / 2, ret);
}

/* Wherever it stands: the first of two routing keys is as secret as the one that is meant. */
static struct slice without_key(struct slice body, const char *name, const char *space,
                                struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(64 + 4 * body.len);
    size_t pos = 0, from = 0;
    struct slice key, value;
    while (json_next_member(body, &pos, &key, &value)) {
        const struct slice text = json_text(key, a);
        if (!text.p)
            return text;
        if (!slice_is(text, name))
            continue;
        buf_add(&b, body.p + from, (size_t)(value.p - body.p) - from);
        buf_printf(&b, "\"%s\"", space);
        from = (size_t)(value.p - body.p) + value.len;
    }
    buf_add(&b, body.p + from, body.len - from);
    return b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
}

/* The same key, the same partition: a trigger stays before its end. */
static struct slice partition_key(const char *space, struct slice dedup, struct arena *a)
{
    unsigned char hash[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    const struct slice text[] = {slice_of(space), SLICE_LIT("/"), dedup};
    sha256_v(text, 3, hash);
    return arena_slice(a, (struct slice){hex_encode(hash, sizeof(hash), hex), 32});
}

static void success(const struct posted *p, struct slice dedup, struct arena *a, struct filing *ret)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    if (p->api == CHANGE) {
        ret->reply = SLICE_LIT("{\"status\":\"success\",\"message\":\"Change event processed\"}");
    } else {
        buf_puts(&b, "{\"status\":\"success\",\"message\":\"Event processed\",");
        buf_puts(&b, p->api == V1 ? "\"incident_key\":" : "\"dedup_key\":");
        buf_json(&b, dedup);
        buf_putc(&b, '}');
        ret->reply = b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
    }
    ret->content_type = SLICE_LIT("application/json");
    ret->status = p->api == V1 ? 200 : 202;
}

static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)lim;
    (void)now_ms;
    char space[ROUTING_KEY_LEN + 1], id[UUID_STR];
    const struct posted p = look(h);
    *ret = (struct filing){0};
    int rc = check_posted(&p, a, ret, e);
    if (rc < 0)
        return rc;
    struct slice dedup = json_text(p.dedup, a);
    if (dedup.len == 0)
        dedup = slice_of(uuid_format(&h->id, id));
    space_of(cfg, text_of(p.key, a), space);
    success(&p, dedup, a, ret);
    ret->alerts = p.api != CHANGE;
    ret->resolved = p.api != CHANGE && slice_is(text_of(p.action, a), "resolve");
    ret->partition_key = partition_key(space, dedup, a);
    ret->body = without_key(h->body, p.api == V1 ? "service_key" : "routing_key", space, a);
    if (!ret->reply.p || !ret->partition_key.p || !ret->body.p)
        return err_set(e, -E2BIG, "the event needs more memory than one may");
    return 0;
}

/* ---- the core ---- */

/* One event at work. */
struct event {
    struct decoder d;
    const struct record *r;
    bool v1;
    const json_t *body, *payload, *details; /* of v1 the payload is the body */
    struct slice action, key;
};

static struct slice summary_of(struct event *w)
{
    struct slice s = decode_line(decode_str(&w->d, w->payload, "summary"));
    if (s.len == 0)
        s = decode_line(decode_str(&w->d, w->body, "description"));
    return s;
}

static struct slice name_of(struct event *w)
{
    struct slice name = decode_line(decode_str(&w->d, w->payload, "class"));
    if (name.len == 0)
        name = decode_bare(summary_of(w));
    return name.len > 0 ? name : SLICE_LIT("PagerDuty event");
}

static struct labels labels_of(struct event *w)
{
    static const char *const places[] = {"service",  "job",    "namespace",  "environment",
                                         "hostname", "reason", "error_type", NULL};
    struct decoder *d = &w->d;
    struct pairs l = {0};
    const struct slice component = decode_str(d, w->payload, "component");
    pairs_add(&l, "alertname", name_of(w));
    pairs_add(&l, "source", w->r->source);
    pairs_add(&l, "component", component);
    pairs_add(&l, "group", decode_str(d, w->payload, "group"));
    pairs_add(&l, "class", decode_str(d, w->payload, "class"));
    pairs_add(&l, "instance", decode_str(d, w->payload, "source"));
    pairs_add(&l, "service", component);
    for (const char *const *place = places; *place; place++)
        pairs_add(&l, *place, decode_str(d, w->details, *place));
    return decode_pairs(d, &l, d->lim->label_value);
}

/* A line for each of an array of objects: "Runbook https://wiki/disk". */
static struct slice listed(struct event *w, const char *array, const char *word_at)
{
    static const char *const addresses[] = {"src", "href", NULL};
    struct decoder *d = &w->d;
    CLEANUP(buf_release) struct buf b = BUF_INIT(d->lim->annotation_value);
    const json_t *v = json_object_get(w->body, array);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const struct slice word = decode_line(decode_str(d, json_array_get(v, i), word_at));
        const struct slice url = decode_line(decode_first(d, json_array_get(v, i), addresses));
        if (word.len + url.len == 0)
            continue;
        if (b.len + word.len + url.len + 2 > b.max) {
            d->truncated = true;
            break;
        }
        buf_printf(&b, "%s%.*s%s%.*s", b.len > 0 ? "\n" : "", SLICE_FMT(word),
                   word.len > 0 && url.len > 0 ? " " : "", SLICE_FMT(url));
    }
    if (b.len == 0)
        return (struct slice){0};
    const struct slice ret = arena_slice(d->a, (struct slice){b.p, b.len});
    d->failed |= b.failed || !ret.p;
    return ret;
}

static const char *details_name(const struct event *w)
{
    return w->v1 ? "details" : "custom_details";
}

static struct labels annotations_of(struct event *w)
{
    struct decoder *d = &w->d;
    struct labels details = {0};
    struct pairs notes = {0};
    if (source_annotations(w->details, d->lim, d->a, &details, &d->truncated) < 0)
        d->failed = true;
    if (json_is_string(w->details))
        pairs_add(&notes, "details", decode_str(d, w->payload, details_name(w)));
    pairs_add(&notes, "dedup_key", w->key);
    pairs_add(&notes, "client", decode_str(d, w->body, "client"));
    pairs_add(&notes, "timestamp", decode_str(d, w->payload, "timestamp"));
    pairs_add(&notes, "links", listed(w, "links", "text"));
    pairs_add(&notes, "images", listed(w, "images", "alt"));
    pairs_add(&notes, "contexts", listed(w, "contexts", "text"));
    return decode_merge(d, details, &notes, d->lim->annotation_value);
}

static struct slice link_of(struct event *w)
{
    static const char *const arrays[] = {"links", "contexts", "images", NULL};
    struct slice link = decode_str(&w->d, w->body, "client_url");
    for (const char *const *at = arrays; *at && !decode_is_page(link); at++)
        link = decode_str(&w->d, json_array_get(json_object_get(w->body, *at), 0), "href");
    return decode_is_page(link) ? link : (struct slice){"", 0};
}

static uint64_t fingerprint_of(struct event *w)
{
    struct pairs p = {0};
    const struct slice space = decode_str(&w->d, w->body, w->v1 ? "service_key" : "routing_key");
    pairs_add(&p, "source", w->r->source);
    if (!slice_is(space, zeros))
        pairs_add(&p, "pagerduty_space", space);
    pairs_add(&p, "pagerduty_key", w->key);
    return labels_fingerprint(decode_pairs(&w->d, &p, DEDUP_KEY_MAX));
}

static void acknowledged(struct event *w, struct alert_event *ev)
{
    const struct slice client = decode_line(decode_str(&w->d, w->body, "client"));
    ev->kind = REPORT_NOTE;
    ev->acknowledges = true;
    ev->note = SLICE_LIT("acknowledged");
    ev->actor =
        client.len > 0 ? (struct slice){client.p, utf8_fit(client, CLIENT_SHOWN)} : w->r->source;
}

static void describe(struct event *w, struct alert_event *ev)
{
    static const char *const texts[] = {"description", "message", "firing", NULL};
    struct slice severity = decode_str(&w->d, w->payload, "severity");
    if (severity.len == 0)
        severity = decode_str(&w->d, w->details, "severity");
    ev->severity = severity_parse(severity, w->v1 ? SEVERITY_CRITICAL : SEVERITY_ERROR);
    ev->severity_again = ev->severity;
    ev->fingerprint = fingerprint_of(w);
    ev->labels = labels_of(w);
    ev->annotations = annotations_of(w);
    ev->title = decode_bare(summary_of(w));
    if (ev->title.len == 0)
        ev->title = name_of(w);
    ev->description = decode_first(&w->d, w->details, texts);
    ev->link = link_of(w);
    ev->kind = slice_is(w->action, "resolve") ? REPORT_RESOLVED : REPORT_FIRING;
    if (slice_is(w->action, "acknowledge"))
        acknowledged(w, ev);
    ev->truncated = w->d.truncated;
}

/* An event of either version; false: a change, which is about no alert. */
static bool find(struct event *w)
{
    char id[UUID_STR];
    struct decoder *d = &w->d;
    w->v1 = json_object_get(w->body, "service_key") != NULL;
    w->payload = w->v1 ? w->body : json_object_get(w->body, "payload");
    w->details = json_object_get(w->payload, details_name(w));
    w->action = decode_str(d, w->body, w->v1 ? "event_type" : "event_action");
    w->key = decode_key(d, w->v1 ? "incident_key" : "dedup_key");
    if (w->key.len == 0)
        w->key = decode_format(d, "%s", uuid_format(&w->r->request_id, id));
    return w->action.len > 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct event w = {.r = r};
    w.body = decode_body(cfg, r, lim, a, &w.d, e);
    if (!w.body)
        return e->code;
    struct alert_list list = {.v = arena_new_of(a, struct alert_event)};
    int rc = 0;
    if (!json_is_object(w.body))
        rc = err_set(e, -EBADMSG, "pagerduty: expected an object");
    else if (!list.v)
        rc = err_set(e, -ENOMEM, "pagerduty: out of memory");
    else if (find(&w)) {
        describe(&w, list.v);
        list.n = 1;
    }
    return decode_end(&w.d, rc, &list, ret, e);
}

const struct source source_pagerduty = {
    .name = "pagerduty",
    .summary = "clients of PagerDuty's Events API v2 and v1",
    .title = "PagerDuty",
    .cfg_size = sizeof(struct pagerduty_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .routes = routes,
    .check = check,
    .verify = verify,
    .accept = accept,
    .refuse = refuse,
    .decode = decode,
};
