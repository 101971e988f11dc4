/*
 * ServiceNow, Table API. A group is one record of the table, which bears the group's name as its
 * correlation_id: it is looked for by that before one is made, so that an answer that was lost
 * makes no second record. A sleeping instance answers 200 with a page, or sends elsewhere.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/http_auth.h"
#include "notifier/layout.h"
#include "notifier/program.h"

#define SHORT_MAX 160
#define TEXT_MAX 4000
#define ID_LEN 32
#define SLEEP MS_MINUTE

struct servicenow_cfg {
    const char *url, *table, *username, *password;
    const char *caller_id, *assignment_group, *close_code;
    bool resolve;
    json_t *fields;
    struct http_auth auth;
};

#define T struct servicenow_cfg
static const struct conf_key keys[] = {
    CONF(T, url, CONF_STR, NULL, CONF_REQUIRED, "of the instance: https://NAME.service-now.com"),
    CONF(T, table, CONF_STR, "incident", 0, "where records are made"),
    CONF(T, username, CONF_STR, NULL, 0, "with the role itil; or http_config"),
    CONF(T, password, CONF_STR, NULL, CONF_SECRET, "its password"),
    CONF(T, caller_id, CONF_STR, NULL, 0, "who reports: user name or sys_id"),
    CONF(T, assignment_group, CONF_STR, NULL, 0, "who is to work on it: name or sys_id"),
    CONF(T, resolve, CONF_BOOL, "true", 0, "an end resolves the record; else it is a work note"),
    CONF(T, close_code, CONF_STR, "Solution provided", 0, "of a record that is resolved"),
    CONF_END,
};
#undef T

static const char *const trees[] = {"fields", "http_config", NULL};

static bool given(const char *s)
{
    return s && *s;
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct servicenow_cfg *s = cfg;
    int r;

    if ((r = http_auth_load(&s->auth, in, e)) < 0 ||
        (r = program_tree(in, "fields", false, &s->fields, e)) < 0)
        return r;
    if (given(s->username) && http_auth_given(&s->auth))
        return err_set(e, -EINVAL, "servicenow: username and http_config exclude each other");
    if (given(s->username)) {
        s->auth.username = s->username;
        s->auth.password = s->password;
    }
    if (!http_auth_given(&s->auth))
        return err_set(e, -EINVAL, "servicenow: username or http_config is needed");
    if (!given(s->table) ||
        strspn(s->table, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(s->table))
        return err_set(e, -EINVAL, "servicenow: this is no table");
    if (s->fields && !json_is_object(s->fields))
        return err_set(e, -EINVAL, "servicenow: fields are a map");
    return check_http_url("servicenow: url", s->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct servicenow_cfg *s = cfg;

    canonical_url(s->url, out);
    buf_printf(out, " %s", s->table);
    http_auth_identity(&s->auth, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct servicenow_cfg *s = cfg;

    host_of_url(s->url, out);
}

/* How far the conversation is. */
enum act { ACT_SEARCH = 1, ACT_CREATE, ACT_CHANGE, ACT_END, ACT_DONE };
struct talk {
    enum act act;
    const char *id, *number; /* of the record; NULL: none yet */
    bool anew;               /* it was resolved, and begins again */
    struct outcome outcome;
};

static bool is_id(const char *s)
{
    return s && strlen(s) == ID_LEN && strspn(s, "0123456789abcdef") == ID_LEN;
}

/* ---- requests ---- */

static void put(json_t *doc, const char *name, const char *value)
{
    if (given(value))
        (void)json_object_set_new(doc, name, json_string(value));
}

/* 1 high, 2 medium, 3 low; the instance makes the priority of both. */
static void put_weight(json_t *doc, const struct notification *n)
{
    static const char *const weights[][3] = {
        {"critical", "1", "1"}, {"error", "2", "2"}, {"warning", "2", "3"}};
    const char *severity = program_text(n, "severity");
    const char *urgency = "3", *impact = "3";

    for (size_t i = 0; i < sizeof(weights) / sizeof(*weights); i++)
        if (strcmp(severity, weights[i][0]) == 0) {
            urgency = weights[i][1];
            impact = weights[i][2];
        }
    put(doc, "urgency", urgency);
    put(doc, "impact", impact);
}

static json_t *record(const struct servicenow_cfg *s, const struct notification *n, struct arena *a)
{
    const char *title = program_title(n, SHORT_MAX, a);
    json_t *doc = json_object();

    put_weight(doc, n);
    put(doc, "description", n->text);
    put(doc, "caller_id", s->caller_id);
    put(doc, "assignment_group", s->assignment_group);
    program_merge(doc, s->fields);
    put(doc, "short_description", title);
    put(doc, "correlation_id", program_key(n));
    put(doc, "correlation_display", "Tocsin");
    if (title)
        return doc;
    json_decref(doc);
    return NULL;
}

/* News, and with the end that it is resolved; with a new beginning that it is not any more. */
static json_t *change(const struct talk *talk, const struct servicenow_cfg *s,
                      const struct notification *n)
{
    const char *said = n->news ? n->news : n->text;
    json_t *doc = json_object();

    if (talk->act == ACT_CHANGE)
        put(doc, "work_notes", said);
    if (program_over(n) && s->resolve) {
        put(doc, "state", "6");
        put(doc, "close_code", s->close_code);
        put(doc, "close_notes", program_text(n, "headline"));
    } else if (talk->anew) {
        put(doc, "state", "2");
    }
    return doc;
}

static const char *search_path(const struct servicenow_cfg *s, const struct notification *n,
                               struct arena *a)
{
    return arena_printf(a,
                        "/api/now/table/%s?sysparm_query=correlation_id%%3D%s%%5Eactive%%3Dtrue"
                        "%%5EORDERBYDESCsys_created_on&sysparm_fields=sys_id,number,state,"
                        "correlation_id&sysparm_limit=2",
                        s->table, program_key(n));
}

static int ask(const struct talk *talk, const struct step_input *in, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct servicenow_cfg *s = in->cfg;
    const struct notification *n = in->notification;
    bool search = talk->act == ACT_SEARCH, create = talk->act == ACT_CREATE;
    const char *fields = "sysparm_fields=sys_id,number,state";
    const char *path = search ? search_path(s, n, a)
                       : create
                           ? arena_printf(a, "/api/now/table/%s?%s", s->table, fields)
                           : arena_printf(a, "/api/now/table/%s/%s?%s", s->table, talk->id, fields);
    struct ask asks = {.channel = "servicenow",
                       .method = search   ? "GET"
                                 : create ? "POST"
                                          : "PATCH",
                       .url = program_url(a, s->url, path),
                       .authorization = http_auth_value(&s->auth, a)};
    json_t *doc = search ? NULL : create ? record(s, n, a) : change(talk, s, n);

    if (!asks.authorization || (!search && !doc)) {
        json_decref(doc);
        return err_set(e, -ENOMEM, "servicenow: the message does not fit in its memory");
    }
    return program_ask(&asks, doc, a, ret, e);
}

/* ---- answers ---- */

static const char *member(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "";
}

/* A sleeping instance, or somebody else's: it may be itself again later. */
static void asleep(struct talk *talk)
{
    talk->act = ACT_DONE;
    talk->outcome.verdict = VERDICT_RETRY;
    if (talk->outcome.wait_ms < SLEEP)
        talk->outcome.wait_ms = SLEEP;
}

static void finish(struct talk *talk, const char *words)
{
    talk->act = ACT_DONE;
    talk->outcome.verdict = VERDICT_DELIVERED;
    if (words)
        talk->outcome.words = words;
}

static void take(struct talk *talk, const struct step_input *in, const json_t *found,
                 struct arena *a)
{
    const struct servicenow_cfg *s = in->cfg;
    const struct notification *n = in->notification;
    bool again = json_is_true(json_object_get(n->data, "possible_duplicate"));
    bool resolved = strcmp(member(found, "state"), "6") == 0;

    talk->id = member(found, "sys_id");
    talk->number = member(found, "number");
    talk->act = ACT_CHANGE;
    talk->anew = resolved && !program_over(n);
    if (resolved && program_over(n) && s->resolve)
        finish(talk, arena_printf(a, "%s is resolved already", talk->number));
    /* An earlier attempt made it, and its answer was lost. */
    else if (again && program_first(n) && !resolved && !in->reference)
        finish(talk, arena_printf(a, "%s was made already", talk->number));
}

/* A query with a field that the table does not have finds all its records: then what we make could
 * never be found again. */
static void hear_search(struct talk *talk, const struct step_input *in, const json_t *result,
                        struct arena *a)
{
    const struct notification *n = in->notification;
    const json_t *one;
    size_t i;

    json_array_foreach (result, i, one)
        if (is_id(member(one, "sys_id")) &&
            strcmp(member(one, "correlation_id"), program_key(n)) == 0) {
            take(talk, in, one, a);
            return;
        }
    if (json_array_size(result) > 0) {
        talk->act = ACT_DONE;
        talk->outcome.verdict = VERDICT_REJECT;
        talk->outcome.words = "the table has no correlation_id, by which records are found again";
    } else if (program_over(n) && !program_missed(n)) {
        finish(talk, "there is no open record of it");
    } else {
        talk->act = ACT_CREATE;
    }
}

static void hear(struct talk *talk, const struct step_input *in, const struct response *r,
                 struct arena *a)
{
    const struct servicenow_cfg *s = in->cfg;
    const json_t *result = json_object_get(answer_json(r, a), "result");
    bool ends = program_over(in->notification) && s->resolve;

    talk->outcome = classify_http(r, a);
    if ((r->status >= 200 && r->status <= 299 && !result) ||
        (r->status >= 300 && r->status <= 399)) {
        asleep(talk);
        return;
    }
    if (talk->outcome.verdict != VERDICT_DELIVERED) {
        talk->act = ACT_DONE;
        return;
    }
    switch (talk->act) {
    case ACT_SEARCH:
        hear_search(talk, in, result, a);
        break;
    case ACT_CREATE:
        talk->id = member(result, "sys_id");
        talk->number = member(result, "number");
        talk->act = ends && is_id(talk->id) ? ACT_END : ACT_DONE;
        break;
    case ACT_CHANGE:
    case ACT_END:
    case ACT_DONE:
        talk->act = ACT_DONE;
        break;
    }
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    struct talk talk = {.act = ACT_SEARCH};

    for (size_t i = 0; i < in->past_n && talk.act != ACT_DONE; i++)
        hear(&talk, in, &in->past[i].response, a);
    *ret = (struct step){.done = talk.act == ACT_DONE};
    if (!ret->done)
        return ask(&talk, in, a, &ret->request, e);
    ret->outcome = talk.outcome;
    if (!ret->outcome.words)
        ret->outcome.words = "";
    /* Not to find it by, but to know that it was told before. */
    if (talk.outcome.verdict == VERDICT_DELIVERED && is_id(talk.id) &&
        is_replaceable(in->notification))
        ret->outcome.keep =
            json_owned(json_pack("{s:s, s:s}", "id", talk.id, "number", talk.number), a);
    return 0;
}

#define DETAILS "{{word.details}}{{word.colon}}{{{link}}}"

const struct channel channel_servicenow = {
    .name = "servicenow",
    .summary = "ServiceNow, Table API",
    .cfg_size = sizeof(struct servicenow_cfg),
    .keys = keys,
    .trees = trees,
    .for_programs = true,
    .send_resolved = true,
    .news_layout = LAYOUT_NEWS("", "", "", "※ ", "", DETAILS),
    .max_text = TEXT_MAX,
    .unit = UNIT_UTF16,
    .check = check,
    .destination = destination,
    .place = place,
    .step = step,
};
