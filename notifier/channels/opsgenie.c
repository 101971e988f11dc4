/*
 * Opsgenie's alert API. A group is one alert there, by its alias. Each request is only taken (202);
 * what became of it is asked for afterwards, and again by the next attempt where it is not known
 * yet.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/program.h"

#define MESSAGE_MAX 130
#define DESCRIPTION_MAX 15000
#define NOTE_MAX 25000
#define SOURCE_MAX 100
#define ENTITY_MAX 512
#define DETAILS_MAX 8000
#define TAGS_MAX 20
#define TAG_MAX 50
#define ACTS_MAX 4
#define ASK_AGAIN (2 * MS_SECOND)
/* Taken, but nobody can say what became of it: then it has arrived as far as we can know. */
#define PATIENCE (2 * MS_MINUTE)
#define SLOW_DOWN MS_MINUTE

struct opsgenie_cfg {
    const char *api_url, *api_key, *priority, *source, *entity, *tags, *note;
    bool update_alerts;
    json_t *details, *responders;
};

#define T struct opsgenie_cfg
static const struct conf_key keys[] = {
    CONF(T, api_key, CONF_STR, NULL, CONF_SECRET, "default: global.opsgenie_api_key"),
    CONF(T, api_url, CONF_STR, NULL, 0, "default: global.opsgenie_api_url, then the vendor's"),
    CONF(T, priority, CONF_STR, NULL, 0, "P1 to P5; default: by severity"),
    CONF(T, source, CONF_STR, "Tocsin", 0, "who says it"),
    CONF(T, entity, CONF_STR, NULL, 0, "what it is about; default: the service"),
    CONF(T, tags, CONF_STR, NULL, 0, "with commas between"),
    CONF(T, note, CONF_STR, NULL, 0, "of an alert that begins"),
    CONF(T, update_alerts, CONF_BOOL, "false", 0, "news changes message and description too"),
    CONF_END,
};
#undef T

static const char *const foreign[] = {"message", "description", "actions", "http_config", NULL};
static const char *const trees[] = {"details", "responders", NULL};

static bool given(const char *s)
{
    return s && *s;
}

static int check_texts(struct opsgenie_cfg *o, const struct check_input *in, struct err *e)
{
    struct {
        const char *name, **value;
    } texts[] = {
        {"priority", &o->priority}, {"source", &o->source}, {"entity", &o->entity},
        {"tags", &o->tags},         {"note", &o->note},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts) && r == 0; i++)
        r = program_plain(in, texts[i].name, texts[i].value, e);
    if (r == 0 && (r = program_tree(in, "details", false, &o->details, e)) == 0)
        r = program_tree(in, "responders", false, &o->responders, e);
    return r;
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct opsgenie_cfg *o = cfg;
    int r = check_texts(o, in, e);

    if (r < 0)
        return r;
    if (!given(o->api_key))
        o->api_key = in->global->opsgenie_api_key;
    if (!given(o->api_key))
        return err_set(e, -EINVAL, "opsgenie: api_key is missing, and global.opsgenie_api_key too");
    if (!given(o->api_url))
        o->api_url = given(in->global->opsgenie_api_url) ? in->global->opsgenie_api_url
                                                         : "https://api.opsgenie.com/";
    if (!given(o->source))
        o->source = "Tocsin";
    if (given(o->priority) &&
        (o->priority[0] != 'P' || !strchr("12345", o->priority[1]) || o->priority[2]))
        return err_set(e, -EINVAL, "opsgenie: priority %s is none of P1 to P5", o->priority);
    if ((o->details && !json_is_object(o->details)) ||
        (o->responders && !json_is_array(o->responders)))
        return err_set(e, -EINVAL, "opsgenie: details are a map, responders are a list");
    return check_http_url("opsgenie: api_url", o->api_url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct opsgenie_cfg *o = cfg;

    canonical_url(o->api_url, out);
    buf_printf(out, " %s", o->api_key);
}

static void place(const void *cfg, struct buf *out)
{
    const struct opsgenie_cfg *o = cfg;

    host_of_url(o->api_url, out);
}

/* What is to be said, in order; each is one request, and a look at what became of it. */
struct talk {
    const char *acts[ACTS_MAX];
    size_t n, at;
    const char *request; /* taken, and what became of it is not known; NULL: none */
    int64_t since;       /* when it was taken */
    bool done;
    struct outcome outcome;
};

static void say(struct talk *talk, const char *act)
{
    talk->acts[talk->n++] = act;
}

/* As with PagerDuty: what was never told is told with its end. */
static struct talk begin(const struct step_input *in)
{
    const struct opsgenie_cfg *o = in->cfg;
    const struct notification *n = in->notification;
    bool taken = program_taken(n), over = program_over(n);
    const char *of = json_string_value(json_object_get(in->reference, "of"));
    const char *act = json_string_value(json_object_get(in->reference, "act"));
    struct talk talk = {.outcome.verdict = VERDICT_DELIVERED};

    if ((!taken && !over) || (taken && program_first(n)) || (over && program_missed(n)))
        say(&talk, "create");
    if (!taken && !over && o->update_alerts && !program_first(n)) {
        say(&talk, "message");
        say(&talk, "description");
    }
    if (taken || over)
        say(&talk, over ? "close" : "acknowledge");
    for (size_t i = 0; of && act && strcmp(of, n->id) == 0 && i < talk.n; i++)
        if (strcmp(talk.acts[i], act) == 0) {
            talk.at = i;
            talk.request = json_string_value(json_object_get(in->reference, "request"));
            talk.since = json_integer_value(json_object_get(in->reference, "since"));
        }
    return talk;
}

static const char *priority(const struct opsgenie_cfg *o, const struct notification *n)
{
    static const char *const by_severity[][2] = {
        {"critical", "P1"}, {"error", "P2"}, {"warning", "P3"}, {"info", "P5"}};
    const char *severity = program_text(n, "severity");

    if (given(o->priority))
        return o->priority;
    for (size_t i = 0; i < sizeof(by_severity) / sizeof(*by_severity); i++)
        if (strcmp(severity, by_severity[i][0]) == 0)
            return by_severity[i][1];
    return "P3";
}

/* The tags between the commas, as many and as long as it takes. */
static json_t *tags(const char *p)
{
    json_t *list = json_array();

    while (p && *p && json_array_size(list) < TAGS_MAX) {
        size_t len = strcspn(p, ",");
        const char *next = p + len + (p[len] == ',');
        for (; len > 0 && *p == ' '; p++)
            len--;
        while (len > 0 && p[len - 1] == ' ')
            len--;
        len = utf8_chars((struct slice){p, len}, TAG_MAX);
        if (len > 0)
            (void)json_array_append_new(list, json_stringn(p, len));
        p = next;
    }
    return list;
}

static void detail(json_t *out, size_t *left, const char *name, const char *value)
{
    size_t len = strlen(name) + (value ? strlen(value) : 0);

    if (!given(value) || len > *left || json_object_get(out, name))
        return;
    *left -= len;
    (void)json_object_set_new(out, name, json_string(value));
}

/* The operator's first, then ours, then the labels, while there is room. */
static json_t *details(const struct opsgenie_cfg *o, const struct notification *n)
{
    static const char *const names[] = {"environment", "service", "namespace",
                                        "error_type",  "link",    "source_link"};
    json_t *out = json_object(), *value;
    size_t left = DETAILS_MAX;
    const char *name;

    json_object_foreach (o->details, name, value)
        detail(out, &left, name, json_string_value(value));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        detail(out, &left, names[i], program_text(n, names[i]));
    json_object_foreach (json_object_get(n->data, "common_labels"), name, value)
        detail(out, &left, name, json_string_value(value));
    return out;
}

static void put(json_t *doc, const char *name, const char *value, size_t max, struct arena *a)
{
    const char *cut = given(value) ? text_cut(a, slice_of(value), max, UNIT_UTF16, "…") : NULL;

    if (cut)
        (void)json_object_set_new(doc, name, json_string(cut));
}

static json_t *alert(const struct opsgenie_cfg *o, const struct notification *n, struct arena *a)
{
    const char *message = program_title(n, MESSAGE_MAX, a);
    const char *service = program_text(n, "service");
    json_t *doc =
        json_pack("{s:s, s:s, s:s, s:o, s:o}", "message", message, "alias", program_key(n),
                  "priority", priority(o, n), "tags", tags(o->tags), "details", details(o, n));

    if (!doc)
        return NULL;
    put(doc, "description", n->text, DESCRIPTION_MAX, a);
    put(doc, "source", o->source, SOURCE_MAX, a);
    put(doc, "entity",
        given(o->entity) ? o->entity
        : *service       ? service
                         : program_label(n, "service"),
        ENTITY_MAX, a);
    put(doc, "note", o->note, NOTE_MAX, a);
    if (o->responders)
        (void)json_object_set_new(doc, "responders", json_deep_copy(o->responders));
    return doc;
}

static json_t *payload(const char *act, const struct opsgenie_cfg *o, const struct notification *n,
                       struct arena *a)
{
    json_t *doc;

    if (strcmp(act, "create") == 0)
        return alert(o, n, a);
    doc = json_object();
    if (strcmp(act, "message") == 0) {
        put(doc, "message", program_title(n, MESSAGE_MAX, a), MESSAGE_MAX, a);
    } else if (strcmp(act, "description") == 0) {
        put(doc, "description", n->text, DESCRIPTION_MAX, a);
    } else {
        put(doc, "user", program_incident(n, "owner"), SOURCE_MAX, a);
        put(doc, "source", o->source, SOURCE_MAX, a);
        put(doc, "note", n->text, NOTE_MAX, a);
    }
    return doc;
}

static int ask(const struct talk *talk, const struct step_input *in, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct opsgenie_cfg *o = in->cfg;
    const char *act = talk->acts[talk->at];
    bool create = strcmp(act, "create") == 0;
    bool edit = strcmp(act, "message") == 0 || strcmp(act, "description") == 0;
    const char *escaped = talk->request ? program_escape(a, talk->request) : "";
    const char *rest = !escaped        ? NULL
                       : talk->request ? arena_printf(a, "/v2/alerts/requests/%s", escaped)
                       : create        ? "/v2/alerts"
                                       : arena_printf(a, "/v2/alerts/%s/%s?identifierType=alias",
                                                      program_key(in->notification), act);
    struct ask asks = {.channel = "opsgenie",
                       .method = talk->request ? "GET"
                                 : edit        ? "PUT"
                                               : "POST",
                       .url = program_url(a, o->api_url, rest),
                       .authorization = arena_printf(a, "GenieKey %s", o->api_key),
                       .wait_header = "X-RateLimit-Period-In-Sec"};

    if (!asks.authorization)
        return err_set(e, -ENOMEM, "opsgenie: the message does not fit in its memory");
    if (talk->request)
        return program_ask(&asks, NULL, a, ret, e);
    json_t *doc = payload(act, o, in->notification, a);
    return doc ? program_ask(&asks, doc, a, ret, e)
               : err_set(e, -ENOMEM, "opsgenie: the message does not fit in its memory");
}

static struct outcome judge(const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);

    if (out.limited && out.wait_ms == 0)
        out.wait_ms = SLOW_DOWN;
    return out;
}

static void go_on(struct talk *talk)
{
    talk->request = NULL;
    talk->at++;
    talk->done = talk->at == talk->n;
}

static void hear_taken(struct talk *talk, const struct step_input *in, const struct response *r,
                       struct arena *a)
{
    talk->outcome = judge(r, a);
    if (talk->outcome.verdict == VERDICT_DELIVERED && r->status != 202)
        talk->outcome.verdict = VERDICT_RETRY; /* somebody else's answer */
    if (talk->outcome.verdict != VERDICT_DELIVERED) {
        talk->done = true;
        return;
    }
    const char *id = json_string_value(json_object_get(answer_json(r, a), "requestId"));
    if (!given(id)) {
        go_on(talk);
        return;
    }
    talk->request = id;
    talk->since = in->notification->now;
}

/* Nobody can take on or end what a person ended there meanwhile. */
static bool is_moot(const char *act, const char *status)
{
    bool first = strcmp(act, "create") == 0;

    return !first && (strstr(status, "already") || strstr(status, "not exist") ||
                      strstr(status, "not found"));
}

/* It was taken; what became of it? */
static void hear_end(struct talk *talk, const struct step_input *in, const struct response *r,
                     struct arena *a)
{
    const json_t *data = json_object_get(answer_json(r, a), "data");
    const json_t *success = json_object_get(data, "isSuccess");
    const char *status = json_string_value(json_object_get(data, "status"));
    const char *act = talk->acts[talk->at];

    talk->outcome = judge(r, a);
    if (status)
        talk->outcome.words = text_line(a, slice_of(status), 300);
    if (!talk->outcome.words)
        talk->outcome.words = "";
    if (r->status == 200 && json_is_boolean(success)) {
        talk->outcome.verdict = json_is_true(success) || is_moot(act, talk->outcome.words)
                                    ? VERDICT_DELIVERED
                                    : VERDICT_REJECT;
    } else if ((talk->outcome.verdict == VERDICT_REJECT && r->status != 404) ||
               in->notification->now - talk->since > PATIENCE) {
        /* The key may not read, or nobody knows any more. */
        talk->outcome.verdict = VERDICT_DELIVERED;
        talk->outcome.words = "taken; what became of it is not said";
    } else {
        talk->outcome.verdict = VERDICT_RETRY;
        talk->outcome.wait_ms = talk->outcome.wait_ms ? talk->outcome.wait_ms : ASK_AGAIN;
        talk->outcome.keep =
            json_owned(json_pack("{s:s, s:s, s:s, s:I}", "of", in->notification->id, "act", act,
                                 "request", talk->request, "since", (json_int_t)talk->since),
                       a);
    }
    if (talk->outcome.verdict == VERDICT_DELIVERED)
        go_on(talk);
    else
        talk->done = true;
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    struct talk talk = begin(in);

    for (size_t i = 0; i < in->past_n && !talk.done; i++) {
        if (talk.request)
            hear_end(&talk, in, &in->past[i].response, a);
        else
            hear_taken(&talk, in, &in->past[i].response, a);
    }
    *ret = (struct step){.done = talk.done, .outcome = talk.outcome};
    return talk.done ? 0 : ask(&talk, in, a, &ret->request, e);
}

const struct channel channel_opsgenie = {
    .name = "opsgenie",
    .summary = "Opsgenie, alert API v2",
    .cfg_size = sizeof(struct opsgenie_cfg),
    .keys = keys,
    .foreign = foreign,
    .trees = trees,
    .for_programs = true,
    .send_resolved = true,
    .max_text = 14000,
    .unit = UNIT_UTF16,
    .check = check,
    .destination = destination,
    .place = place,
    .step = step,
};
