/*
 * PagerDuty, Events API v2, or v1 with a service_key. A group is one alert there, by its dedup_key:
 * what fires triggers it, a person who takes it on acknowledges it, its end resolves it. Version 2
 * says 202 and nothing else when it has taken an event.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/program.h"

#define SUMMARY_MAX 1024
#define KEY_LEN 32
#define BODY_MAX 512000
#define SLOW_DOWN MS_MINUTE /* it names no time */
#define URL_V2 "https://events.pagerduty.com/v2/enqueue"
#define URL_V1 "https://events.pagerduty.com/generic/2010-04-15/create_event.json"

struct pagerduty_cfg {
    const char *url, *routing_key, *service_key;
    const char *client, *client_url, *severity, *class, *component, *group, *source;
    json_t *details, *links, *images;
};

#define T struct pagerduty_cfg
static const struct conf_key keys[] = {
    CONF(T, routing_key, CONF_STR, NULL, CONF_SECRET, "integration key of Events API v2"),
    CONF(T, service_key, CONF_STR, NULL, CONF_SECRET, "integration key of Events API v1"),
    CONF(T, url, CONF_STR, NULL, 0, "where to post; default: global.pagerduty_url"),
    CONF(T, client, CONF_STR, "Tocsin", 0, "who monitors"),
    CONF(T, client_url, CONF_STR, NULL, 0, "default: the incident's page"),
    CONF(T, severity, CONF_STR, NULL, 0, "critical, error, warning or info; default: as it is"),
    CONF(T, class, CONF_STR, NULL, 0, "default: the error's type, or the alert's name"),
    CONF(T, component, CONF_STR, NULL, 0, "default: the service"),
    CONF(T, group, CONF_STR, NULL, 0, "default: the namespace, or the environment"),
    CONF(T, source, CONF_STR, NULL, 0, "default: the instance, or the service"),
    CONF_END,
};
#undef T

static const char *const foreign[] = {"description", "timeout", "http_config", NULL};
static const char *const trees[] = {"details", "links", "images", NULL};

static bool given(const char *s)
{
    return s && *s;
}

static bool is_severity(const char *s)
{
    static const char *const all[] = {"critical", "error", "warning", "info", NULL};

    for (size_t i = 0; all[i]; i++)
        if (strcmp(s, all[i]) == 0)
            return true;
    return false;
}

static int check_texts(struct pagerduty_cfg *p, const struct check_input *in, struct err *e)
{
    struct {
        const char *name, **value;
    } texts[] = {
        {"client", &p->client}, {"client_url", &p->client_url}, {"severity", &p->severity},
        {"class", &p->class},   {"component", &p->component},   {"group", &p->group},
        {"source", &p->source},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts) && r == 0; i++)
        r = program_plain(in, texts[i].name, texts[i].value, e);
    if (r == 0 && (r = program_tree(in, "details", false, &p->details, e)) == 0 &&
        (r = program_tree(in, "links", false, &p->links, e)) == 0)
        r = program_tree(in, "images", false, &p->images, e);
    return r;
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct pagerduty_cfg *p = cfg;
    int r = check_texts(p, in, e);

    if (r < 0)
        return r;
    if (given(p->routing_key) == given(p->service_key))
        return err_set(e, -EINVAL, "pagerduty: either routing_key or service_key is needed");
    if ((p->details && !json_is_object(p->details)) || (p->links && !json_is_array(p->links)) ||
        (p->images && !json_is_array(p->images)))
        return err_set(e, -EINVAL, "pagerduty: details are a map, links and images are lists");
    if (given(p->routing_key) && strlen(p->routing_key) != KEY_LEN)
        return err_set(e, -EINVAL, "pagerduty: a routing_key has %d characters", KEY_LEN);
    if (given(p->severity) && !is_severity(p->severity))
        return err_set(e, -EINVAL,
                       "pagerduty: severity %s is none of critical, error, warning, info",
                       p->severity);
    if (!given(p->client))
        p->client = "Tocsin";
    /* As in Alertmanager, the global address is that of version 2. */
    if (!given(p->url))
        p->url = given(p->service_key)              ? URL_V1
                 : given(in->global->pagerduty_url) ? in->global->pagerduty_url
                                                    : URL_V2;
    return check_http_url("pagerduty: url", p->url, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct pagerduty_cfg *p = cfg;

    canonical_url(p->url, out);
    buf_printf(out, " %s", given(p->routing_key) ? p->routing_key : p->service_key);
}

static void place(const void *cfg, struct buf *out)
{
    const struct pagerduty_cfg *p = cfg;

    host_of_url(p->url, out);
}

/* What is to be said, in order. What was never told is told with its end, so that it stands in the
 * log there; nobody takes on or ends what is not there. */
static size_t plan(const struct notification *n, const char *ret[2])
{
    bool taken = program_taken(n), over = program_over(n);
    size_t count = 0;

    if ((!taken && !over) || (taken && program_first(n)) || (over && program_missed(n)))
        ret[count++] = "trigger";
    if (taken || over)
        ret[count++] = over ? "resolve" : "acknowledge";
    return count;
}

static const char *first_of(const char *a, const char *b, const char *c)
{
    return given(a) ? a : given(b) ? b : c;
}

static void put(json_t *o, const char *name, const char *value)
{
    if (given(value))
        (void)json_object_set_new(o, name, json_string(value));
}

static json_t *details(const struct pagerduty_cfg *p, const struct notification *n)
{
    static const char *const texts[] = {"environment", "service", "namespace", "error_type", NULL};
    static const char *const trees_of[] = {"common_labels", "firing_n", "resolved_n", "impact",
                                           NULL};
    json_t *out = json_object();

    put(out, "text", n->text);
    for (size_t i = 0; texts[i]; i++)
        put(out, texts[i], program_text(n, texts[i]));
    for (size_t i = 0; trees_of[i]; i++) {
        json_t *value = json_object_get(n->data, trees_of[i]);
        if (value)
            (void)json_object_set(out, trees_of[i], value);
    }
    program_merge(out, p->details);
    return out;
}

static json_t *payload(const struct pagerduty_cfg *p, const struct notification *n, struct arena *a)
{
    const char *service = first_of(program_text(n, "service"), program_label(n, "service"), "");
    const char *summary = program_title(n, SUMMARY_MAX, a);
    char at[RFC3339_MAX];
    json_t *out = json_object();

    put(out, "summary", summary);
    put(out, "source",
        first_of(p->source, program_label(n, "instance"), first_of(service, NULL, "Tocsin")));
    put(out, "severity", first_of(p->severity, program_text(n, "severity"), "critical"));
    put(out, "timestamp", rfc3339_format(n->created_at, at));
    put(out, "component", first_of(p->component, service, NULL));
    put(out, "group",
        first_of(p->group, program_text(n, "namespace"), program_text(n, "environment")));
    put(out, "class",
        first_of(p->class, program_text(n, "error_type"), program_label(n, "alertname")));
    (void)json_object_set_new(out, "custom_details", details(p, n));
    if (summary)
        return out;
    json_decref(out);
    return NULL;
}

static json_t *links(const struct pagerduty_cfg *p, const struct notification *n)
{
    const char *link = program_text(n, "source_link");
    json_t *out = p->links ? json_deep_copy(p->links) : json_array();

    if (*link)
        (void)json_array_append_new(
            out, json_pack("{s:s, s:s*}", "href", link, "text", program_text(n, "source")));
    return out;
}

static void put_page(const struct pagerduty_cfg *p, const struct notification *n, json_t *doc)
{
    put(doc, "client", p->client);
    put(doc, "client_url", first_of(p->client_url, program_text(n, "link"), NULL));
}

static json_t *event_v2(const struct pagerduty_cfg *p, const struct notification *n,
                        const char *act, struct arena *a)
{
    json_t *doc = json_pack("{s:s, s:s, s:s}", "routing_key", p->routing_key, "event_action", act,
                            "dedup_key", program_key(n));

    if (strcmp(act, "trigger") != 0)
        return doc;
    json_t *body = payload(p, n, a);
    if (!body || json_object_set_new(doc, "payload", body) < 0) {
        json_decref(doc);
        return NULL;
    }
    put_page(p, n, doc);
    (void)json_object_set_new(doc, "links", links(p, n));
    if (p->images)
        (void)json_object_set_new(doc, "images", json_deep_copy(p->images));
    /* More is refused: then what it is about without the rest. */
    if (json_dumpb(doc, NULL, 0, JSON_COMPACT) > BODY_MAX)
        (void)json_object_set_new(body, "custom_details", json_object());
    return doc;
}

static json_t *event_v1(const struct pagerduty_cfg *p, const struct notification *n,
                        const char *act, struct arena *a)
{
    const char *summary = program_title(n, SUMMARY_MAX, a);
    json_t *doc = json_pack("{s:s, s:s, s:s, s:s}", "service_key", p->service_key, "event_type",
                            act, "incident_key", program_key(n), "description", summary);

    if (!doc)
        return NULL;
    put_page(p, n, doc);
    (void)json_object_set_new(doc, "details", details(p, n));
    return doc;
}

static struct outcome judge(const struct pagerduty_cfg *p, const struct response *r,
                            struct arena *a)
{
    bool v1 = given(p->service_key);
    struct outcome out = classify_http(r, a);

    if (v1 && r->status == 403) {
        out.verdict = VERDICT_RETRY;
        out.limited = true;
    }
    if (out.limited && out.wait_ms == 0)
        out.wait_ms = SLOW_DOWN;
    if (!v1 && out.verdict == VERDICT_DELIVERED && r->status != 202)
        out.verdict = VERDICT_RETRY; /* somebody else's answer */
    return out;
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    const struct pagerduty_cfg *p = in->cfg;
    const char *acts[2];
    size_t n = plan(in->notification, acts);

    *ret = (struct step){.outcome.verdict = VERDICT_DELIVERED};
    for (size_t i = 0; i < in->past_n && ret->outcome.verdict == VERDICT_DELIVERED; i++)
        ret->outcome = judge(p, &in->past[i].response, a);
    ret->done = ret->outcome.verdict != VERDICT_DELIVERED || in->past_n >= n;
    if (ret->done)
        return 0;
    const char *act = acts[in->past_n];
    json_t *doc = given(p->service_key) ? event_v1(p, in->notification, act, a)
                                        : event_v2(p, in->notification, act, a);
    return post_json("pagerduty", p->url, doc, a, &ret->request, e);
}

const struct channel channel_pagerduty = {
    .name = "pagerduty",
    .summary = "PagerDuty, Events API v2 (or v1)",
    .cfg_size = sizeof(struct pagerduty_cfg),
    .keys = keys,
    .foreign = foreign,
    .trees = trees,
    .for_programs = true,
    .send_resolved = true,
    .max_text = 60000,
    .max_per_minute = 120,
    .burst = 60,
    .check = check,
    .destination = destination,
    .place = place,
    .step = step,
};
