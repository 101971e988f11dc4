/*
 * Opsgenie's alert API, served: create an alert, and close, acknowledge, snooze, assign or note it
 * by id, alias or tiny id. Every answer is Opsgenie's 202 with a requestId, and errors are in its
 * words.
 *
 * An alias is an alert until it is closed. Its id and tiny id are the fingerprint in other writing,
 * so that any of the three finds it without a look at what is stored (opsgenie_id.h). Reports have
 * no start, since a further create of an open alias is the same alert.
 *
 * A create is stored as it came. What an address says of an alert is stored around the body:
 * {"opsgenie":{"action":"close","alert":"FINGERPRINT"},"request":BODY}.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/json.h"
#include "common/opsgenie_id.h"
#include "common/source_decode.h"

struct opsgenie_cfg {
    struct source_common common;
};

static const struct conf_key keys[] = {SOURCE_COMMON_KEYS, CONF_END};

/* How an act is stored; what the timeline says of it, before the field that it is about. */
static const struct {
    const char *name, *words, *field;
} acts[OPSGENIE_ACTS] = {
    [OPSGENIE_CLOSE] = {"close", "closed", NULL},
    [OPSGENIE_DELETE] = {"delete", "deleted", NULL},
    [OPSGENIE_ACKNOWLEDGE] = {"acknowledge", "acknowledged", NULL},
    [OPSGENIE_UNACKNOWLEDGE] = {"unacknowledge", "unacknowledged", NULL},
    [OPSGENIE_ESCALATE] = {"escalate", "escalated to", "escalation"},
    [OPSGENIE_SNOOZE] = {"snooze", "snoozed until", "endTime"},
    [OPSGENIE_ASSIGN] = {"assign", "assigned to", "owner"},
    [OPSGENIE_NOTE] = {"notes", "", NULL},
    [OPSGENIE_TAGS] = {"tags", "tags added:", "tags"},
    [OPSGENIE_DETAILS] = {"details", "details added:", "details"},
    [OPSGENIE_RESPONDER] = {"responders", "responder added:", "responder"},
    [OPSGENIE_MESSAGE] = {"message", "message is now:", "message"},
    [OPSGENIE_DESCRIPTION] = {"description", "description is now:", "description"},
    [OPSGENIE_PRIORITY] = {"priority", "priority is now", "priority"},
};

static const struct source_route routes[] = {
    {"POST", "/v2/alerts", OPSGENIE_CREATE},
    {"DELETE", "/v2/alerts/{identifier}", OPSGENIE_DELETE},
    {"POST", "/v2/alerts/{identifier}/close", OPSGENIE_CLOSE},
    {"POST", "/v2/alerts/{identifier}/acknowledge", OPSGENIE_ACKNOWLEDGE},
    {"POST", "/v2/alerts/{identifier}/unacknowledge", OPSGENIE_UNACKNOWLEDGE},
    {"POST", "/v2/alerts/{identifier}/escalate", OPSGENIE_ESCALATE},
    {"POST", "/v2/alerts/{identifier}/snooze", OPSGENIE_SNOOZE},
    {"POST", "/v2/alerts/{identifier}/assign", OPSGENIE_ASSIGN},
    {"POST", "/v2/alerts/{identifier}/notes", OPSGENIE_NOTE},
    {"POST", "/v2/alerts/{identifier}/tags", OPSGENIE_TAGS},
    {"POST", "/v2/alerts/{identifier}/details", OPSGENIE_DETAILS},
    {"POST", "/v2/alerts/{identifier}/responders", OPSGENIE_RESPONDER},
    {"PUT", "/v2/alerts/{identifier}/message", OPSGENIE_MESSAGE},
    {"PUT", "/v2/alerts/{identifier}/description", OPSGENIE_DESCRIPTION},
    {"PUT", "/v2/alerts/{identifier}/priority", OPSGENIE_PRIORITY},
    {0},
};

static bool is_request(struct slice id)
{
    struct opsgenie_request q;
    return opsgenie_request_parse(id, &q);
}

static const struct source_read reads[] = {{"/v2/alerts/requests/{id}", is_request}, {0}};

static bool is_closing(enum opsgenie_act act)
{
    return act == OPSGENIE_CLOSE || act == OPSGENIE_DELETE;
}

/* ---- identity ---- */

#define ALIAS_MAX 512

/* Of an alias within its source. False: past the arena. */
static bool fingerprint_of(struct slice source, struct slice alias, struct arena *a, uint64_t *ret)
{
    struct labels l = {0};
    struct label v[] = {{SLICE_LIT("opsgenie_alias"), alias}, {SLICE_LIT("source"), source}};
    if (labels_make(a, v, 2, &l) < 0)
        return false;
    *ret = labels_fingerprint(l);
    return true;
}

static bool read_tiny(struct slice s, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(*ret, UINT64_C(10), ret) ||
            __builtin_add_overflow(*ret, (uint64_t)(s.p[i] - '0'), ret))
            return false;
    }
    return s.len > 0;
}

/* ---- the door ---- */

static bool is_object(struct slice raw)
{
    return raw.len > 0 && raw.p[0] == '{';
}

static struct slice text_of(struct slice raw, struct arena *a)
{
    return raw.len >= 2 && raw.p[0] == '"' ? json_text(raw, a) : (struct slice){0};
}

static void answer(struct filing *f, unsigned status, struct arena *a, const char *message,
                   const char *field, const char *why)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    f->status = status;
    buf_puts(&b, "{\"message\":");
    buf_json(&b, slice_of(message));
    if (field) {
        buf_printf(&b, ",\"errors\":{\"%s\":", field);
        buf_json(&b, slice_of(why));
        buf_putc(&b, '}');
    }
    buf_puts(&b, ",\"took\":0.0}");
    f->reply = b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
    f->content_type = SLICE_LIT("application/json");
}

static bool refuse(unsigned status, const char *why, struct arena *a, struct filing *ret)
{
    answer(ret, status, a, status == 401 ? "Could not authenticate" : why, NULL, NULL);
    return ret->reply.p != NULL;
}

static int unprocessable(struct filing *f, struct arena *a, const char *field, const char *why,
                         struct err *e)
{
    answer(f, 422, a, "Request body is not processable. Please check the errors.", field, why);
    return err_set(e, -EBADMSG, "%s: %s", field, why);
}

static bool is_priority(struct slice s)
{
    return s.len == 2 && s.p[0] == 'P' && s.p[1] >= '1' && s.p[1] <= '5';
}

static int check_priority(struct slice raw, struct arena *a, struct filing *ret, struct err *e)
{
    if (raw.p && !slice_is(raw, "null") && !is_priority(text_of(raw, a)))
        return unprocessable(ret, a, "priority", "should be one of [ P1, P2, P3, P4, P5 ]", e);
    return 0;
}

static int create(const struct hook *h, struct arena *a, struct filing *ret, uint64_t *ret_alert,
                  struct err *e)
{
    static const char *const names[] = {"message", "alias", "priority", "opsgenie"};
    struct slice v[4] = {0};
    char id[UUID_STR];
    json_members(json_at(h->body, ""), names, v, 4);
    if (decode_line(text_of(v[0], a)).len == 0)
        return unprocessable(ret, a, "message", "Message can not be empty.", e);
    if (v[3].p)
        return unprocessable(ret, a, "opsgenie", "There is no such field.", e);
    struct slice alias = json_text(v[1], a);
    if (alias.len > ALIAS_MAX)
        return unprocessable(ret, a, "alias", "Alias can not be longer than 512 characters.", e);
    if (alias.len == 0)
        alias = slice_of(uuid_format(&h->id, id));
    if (!fingerprint_of(slice_of(h->entry), alias, a, ret_alert))
        return err_set(e, -E2BIG, "the request needs more memory than one may");
    return check_priority(v[2], a, ret, e);
}

/* Which alert an address is about. */
static int address(const struct hook *h, struct arena *a, struct filing *ret, uint64_t *ret_alert,
                   struct err *e)
{
    const struct slice identifier = slice_of(h->param(h, "identifier"));
    const struct slice type = slice_of(h->query(h, "identifierType"));
    bool found = true;
    if (type.len == 0 || slice_is(type, "id"))
        found = opsgenie_alert_parse(identifier, ret_alert);
    else if (slice_is(type, "tiny"))
        found = read_tiny(identifier, ret_alert);
    else if (!slice_is(type, "alias"))
        return unprocessable(ret, a, "identifierType", "should be one of [ id, alias, tiny ]", e);
    else if (!fingerprint_of(slice_of(h->entry), identifier, a, ret_alert))
        return err_set(e, -E2BIG, "the request needs more memory than one may");
    if (found)
        return 0;
    answer(ret, 404, a, "Alert not found: its id is none that was given out here", NULL, NULL);
    return err_set(e, -EBADMSG, "there is no alert of this %s",
                   slice_is(type, "tiny") ? "tiny id" : "id");
}

static int check_act(enum opsgenie_act act, struct slice body, struct arena *a, struct filing *ret,
                     struct err *e)
{
    if (act == OPSGENIE_NOTE && decode_line(text_of(json_at(body, "note"), a)).len == 0)
        return unprocessable(ret, a, "note", "Note can not be empty.", e);
    if (act == OPSGENIE_MESSAGE && decode_line(text_of(json_at(body, "message"), a)).len == 0)
        return unprocessable(ret, a, "message", "Message can not be empty.", e);
    return act == OPSGENIE_PRIORITY ? check_priority(json_at(body, "priority"), a, ret, e) : 0;
}

static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    const enum opsgenie_act act = h->route ? (enum opsgenie_act)h->route->id : OPSGENIE_CREATE;
    char hex[FINGERPRINT_STR], id[UUID_STR];
    uint64_t alert = 0;
    *ret = (struct filing){0};
    if (!is_object(json_at(h->body, "")))
        return unprocessable(ret, a, "body", "Expected an object.", e);
    int rc = act == OPSGENIE_CREATE ? create(h, a, ret, &alert, e) : address(h, a, ret, &alert, e);
    if (rc == 0)
        rc = check_act(act, h->body, a, ret, e);
    if (rc < 0)
        return rc;
    const struct opsgenie_request as = {.alert = alert, .at = now_ms, .act = act};
    fingerprint_format(alert, hex);
    const char *reply = arena_printf(
        a, "{\"result\":\"Request will be processed\",\"took\":0.0,\"requestId\":\"%s\"}",
        opsgenie_request_id(&as, h->id.b[15], id));
    *ret = (struct filing){.partition_key = arena_slice(a, slice_of(hex)),
                           .alerts = 1,
                           .resolved = is_closing(act),
                           .status = 202,
                           .content_type = SLICE_LIT("application/json"),
                           .reply = slice_of(reply)};
    if (act != OPSGENIE_CREATE)
        ret->body = slice_of(
            arena_printf(a, "{\"opsgenie\":{\"action\":\"%s\",\"alert\":\"%s\"},\"request\":%.*s}",
                         acts[act].name, hex, SLICE_FMT(h->body)));
    if (!reply || !ret->partition_key.p || (act != OPSGENIE_CREATE && !ret->body.p))
        return err_set(e, -E2BIG, "the request needs more memory than one may");
    return 0;
}

/* ---- the core ---- */

/* One request at work. */
struct request {
    struct decoder d;
    const struct record *r;
    const json_t *body;
};

/* An object by its name, or whatever tells it from others. */
static struct slice name_of(struct request *w, const json_t *o)
{
    static const char *const names[] = {"name", "username", "id", NULL};
    if (json_is_string(o))
        return decode_line((struct slice){json_string_value(o), json_string_length(o)});
    const struct slice type = decode_str(&w->d, o, "type"), name = decode_first(&w->d, o, names);
    if (name.len == 0 || type.len == 0)
        return name;
    return decode_format(&w->d, "%.*s %.*s", SLICE_FMT(type), SLICE_FMT(name));
}

static void add_word(struct request *w, struct buf *b, struct slice word)
{
    if (word.len == 0)
        return;
    if (b->len + word.len + 2 > b->max)
        w->d.truncated = true;
    else
        buf_printf(b, "%s%.*s", b->len > 0 ? ", " : "", SLICE_FMT(word));
}

/* Whatever a field holds, in a line: text, "a, b" of a list, "k=v" of a map, the name of a thing.
 */
static struct slice text_at(struct request *w, const json_t *object, const char *key)
{
    struct decoder *d = &w->d;
    CLEANUP(buf_release) struct buf b = BUF_INIT(d->lim->annotation_value);
    const json_t *v = json_object_get(object, key);
    if (!json_is_array(v) && !json_is_object(v))
        return decode_str(d, object, key);
    for (size_t i = 0; i < json_array_size(v); i++)
        add_word(w, &b, name_of(w, json_array_get(v, i)));
    if (json_is_object(v))
        add_word(w, &b, name_of(w, v));
    struct labels map = {0};
    if (b.len == 0 && source_annotations(v, d->lim, d->a, &map, &d->truncated) < 0)
        d->failed = true;
    for (size_t i = 0; i < map.n; i++)
        add_word(
            w, &b,
            decode_format(d, "%.*s=%.*s", SLICE_FMT(map.v[i].name), SLICE_FMT(map.v[i].value)));
    if (b.len == 0)
        return (struct slice){"", 0};
    const struct slice ret = arena_slice(d->a, (struct slice){b.p, b.len});
    d->failed |= b.failed || !ret.p;
    return ret.p ? ret : (struct slice){"", 0};
}

static struct labels labels_of(struct request *w, struct slice name)
{
    static const char *const places[] = {"service",  "job",    "namespace",  "environment",
                                         "hostname", "reason", "error_type", NULL};
    struct decoder *d = &w->d;
    struct pairs l = {0};
    const json_t *tags = json_object_get(w->body, "tags");
    const json_t *details = json_object_get(w->body, "details");
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        if (json_is_string(tag))
            decode_tags(d, (struct slice){json_string_value(tag), json_string_length(tag)}, "", &l);
    }
    for (const char *const *place = places; *place; place++)
        pairs_add(&l, *place, decode_str(d, details, *place));
    pairs_add(&l, "alertname", name);
    pairs_add(&l, "source", w->r->source);
    pairs_add(&l, "entity", decode_line(decode_str(d, w->body, "entity")));
    return decode_pairs(d, &l, d->lim->label_value);
}

static struct labels annotations_of(struct request *w, struct slice alias)
{
    static const char *const kept[] = {"tags",    "responders", "teams", "visibleTo",
                                       "actions", "priority",   "user",  NULL};
    struct decoder *d = &w->d;
    struct labels details = {0};
    struct pairs notes = {0};
    const json_t *map = json_object_get(w->body, "details");
    if (source_annotations(map, d->lim, d->a, &details, &d->truncated) < 0)
        d->failed = true;
    for (const char *const *key = kept; *key; key++)
        pairs_add(&notes, *key, text_at(w, w->body, *key));
    pairs_add(&notes, "sent_by", decode_str(d, w->body, "source"));
    pairs_add(&notes, "alias", alias);
    return decode_merge(d, details, &notes, d->lim->annotation_value);
}

static struct slice actor_of(struct request *w)
{
    static const char *const names[] = {"user", "source", NULL};
    return decode_line(decode_first(&w->d, w->body, names));
}

/* A create, and its note, which is a line on the timeline. */
static void created(struct request *w, struct alert_list *list)
{
    struct decoder *d = &w->d;
    struct alert_event *ev = &list->v[0];
    char id[UUID_STR];
    struct slice alias = decode_key(d, "alias");
    if (alias.len == 0)
        alias = decode_format(d, "%s", uuid_format(&w->r->request_id, id));
    d->failed |= !fingerprint_of(w->r->source, alias, d->a, &ev->fingerprint);
    ev->title = decode_bare(decode_str(d, w->body, "message"));
    if (ev->title.len == 0)
        ev->title = SLICE_LIT("Opsgenie alert");
    ev->severity = severity_parse(decode_str(d, w->body, "priority"), SEVERITY_WARNING);
    ev->severity_again = ev->severity;
    ev->labels = labels_of(w, ev->title);
    ev->annotations = annotations_of(w, alias);
    ev->description = decode_str(d, w->body, "description");
    ev->link = decode_line(decode_str(d, w->body, "source"));
    if (!decode_is_page(ev->link))
        ev->link = (struct slice){"", 0};
    ev->kind = REPORT_FIRING;
    list->n = 1;
    const struct slice note = decode_str(d, w->body, "note");
    ev->truncated = d->truncated;
    if (note.len == 0)
        return;
    list->v[1] = *ev;
    list->v[1].kind = REPORT_NOTE;
    list->v[1].note = note;
    list->v[1].actor = actor_of(w);
    list->n = 2;
}

static enum opsgenie_act act_of(struct slice name)
{
    for (enum opsgenie_act i = OPSGENIE_CLOSE; i < OPSGENIE_ACTS; i++)
        if (slice_is(name, acts[i].name))
            return i;
    return OPSGENIE_CREATE;
}

/* "snoozed until 2026-01-02T03:04:05Z: after the deploy" */
static struct slice said(struct request *w, enum opsgenie_act act)
{
    struct decoder *d = &w->d;
    const struct slice note = decode_str(d, w->body, "note");
    const struct slice what =
        acts[act].field ? decode_line(text_at(w, w->body, acts[act].field)) : (struct slice){"", 0};
    if (!*acts[act].words)
        return note;
    const struct slice words =
        decode_format(d, "%s%s%.*s%s%.*s", acts[act].words, what.len > 0 ? " " : "",
                      SLICE_FMT(what), note.len > 0 ? ": " : "", SLICE_FMT(note));
    const struct slice ret = source_cut(words, d->lim->annotation_value, d->a, &d->truncated);
    d->failed |= !ret.p;
    return ret.p ? ret : (struct slice){"", 0};
}

static int acted(struct request *w, const json_t *of, struct alert_list *list, struct err *e)
{
    struct decoder *d = &w->d;
    struct alert_event *ev = &list->v[0];
    struct pairs l = {0};
    const enum opsgenie_act act = act_of(decode_str(d, of, "action"));
    if (act == OPSGENIE_CREATE || !fingerprint_parse(decode_str(d, of, "alert"), &ev->fingerprint))
        return err_set(e, -EBADMSG, "opsgenie: neither an alert nor what was done to one");
    ev->title = SLICE_LIT("Opsgenie alert");
    ev->severity = ev->severity_again = SEVERITY_WARNING;
    pairs_add(&l, "alertname", ev->title);
    pairs_add(&l, "source", w->r->source);
    ev->labels = decode_pairs(d, &l, d->lim->label_value);
    ev->kind = is_closing(act) ? REPORT_RESOLVED : REPORT_NOTE;
    ev->note = said(w, act);
    if (ev->note.len == 0)
        ev->note = slice_of(acts[act].name);
    ev->actor = actor_of(w);
    ev->acknowledges = act == OPSGENIE_ACKNOWLEDGE;
    if (ev->acknowledges && ev->actor.len == 0)
        ev->actor = w->r->source;
    ev->truncated = d->truncated;
    list->n = 1;
    return 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct request w = {.r = r};
    const json_t *body = decode_body(cfg, r, lim, a, &w.d, e);
    if (!body)
        return e->code;
    struct alert_list list = {.v = arena_array(a, 2, struct alert_event)};
    const json_t *of = json_object_get(body, "opsgenie");
    int rc = 0;
    w.body = of ? json_object_get(body, "request") : body;
    if (!list.v)
        rc = err_set(e, -ENOMEM, "opsgenie: out of memory");
    else if (of)
        rc = acted(&w, of, &list, e);
    else if (json_is_object(body))
        created(&w, &list);
    else
        rc = err_set(e, -EBADMSG, "opsgenie: expected an object");
    return decode_end(&w.d, rc, &list, ret, e);
}

const struct source source_opsgenie = {
    .name = "opsgenie",
    .summary = "clients of Opsgenie's alert API",
    .title = "Opsgenie",
    .cfg_size = sizeof(struct opsgenie_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .routes = routes,
    .reads = reads,
    .accept = accept,
    .refuse = refuse,
    .decode = decode,
};
