/*
 * Datadog, whose webhook sends the payload that its user wrote: that of docs/sources.md, as JSON or
 * as a form. Its variables are all text; one that Datadog has no value for stands there as it was
 * written, or as "null".
 *
 * One group of one monitor is one alert: of (alert_id, scope). Where there is no scope, the keys by
 * which Datadog links events take its place. Reports have no start: `date` is that of the report,
 * and comes by another clock; the first after an end begins an occurrence. A warning and missing
 * data are an alert of their own beside the one that they may become: an alert that fires does not
 * get more severe, so the worse would hide behind the better. Recovered ends both.
 */
#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "common/json.h"
#include "common/source_decode.h"

struct datadog_cfg {
    struct source_common common;
};

static const struct conf_key keys[] = {SOURCE_COMMON_KEYS, CONF_END};

/* ---- transitions ---- */

enum state { UNKNOWN, ALERT, WARN, NO_DATA, RENOTIFY, RECOVERED };

static const struct {
    const char *word;
    enum state state;
} transitions[] = {
    {"Triggered", ALERT}, {"Re-Triggered", ALERT}, {"Warn", WARN},         {"Re-Warn", WARN},
    {"No Data", NO_DATA}, {"Re-No Data", NO_DATA}, {"Renotify", RENOTIFY}, {"Recovered", RECOVERED},
};

static bool is_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static enum state transition_of(struct slice s)
{
    for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++)
        if (is_word(s, transitions[i].word))
            return transitions[i].state;
    return UNKNOWN;
}

static bool is_lesser(enum state s)
{
    return s == WARN || s == NO_DATA;
}

/* A word that is new to us is not an end, unless the type says so. */
static enum state state_of(struct slice transition, struct slice type)
{
    enum state s = transition_of(transition);
    if (s == UNKNOWN && is_word(type, "success"))
        return RECOVERED;
    if ((s == UNKNOWN || s == RENOTIFY) && is_word(type, "warning"))
        return WARN;
    if (s == RENOTIFY || (s == UNKNOWN && (transition.len > 0 || is_word(type, "error"))))
        return ALERT;
    return s;
}

/* Not a variable without a value. */
static bool is_given(struct slice s)
{
    return s.len > 0 && !is_word(s, "null") &&
           !(s.p[0] == '$' && s.len > 1 && isupper((unsigned char)s.p[1]));
}

/* ---- the door ---- */

static struct slice raw_text(struct slice body, const char *key, struct arena *a)
{
    struct slice s = json_text(json_at(body, key), a);
    return is_given(s) ? s : (struct slice){0};
}

/* By monitor, so that a group's reports stay in order. Datadog drops what gets a 4xx: nothing
 * well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice monitor = raw_text(h->body, "alert_id", a);
    bool over = monitor.len > 0 && state_of(raw_text(h->body, "transition", a),
                                            raw_text(h->body, "type", a)) == RECOVERED;
    *ret = (struct filing){.partition_key = monitor,
                           .alerts = over ? 2 : 1,
                           .resolved = over ? 2 : 0,
                           .status = 200,
                           .default_reply = true};
    return 0;
}

/* ---- the core ---- */

/* One report at work. */
struct report_of {
    struct decoder d;
    const struct record *r;
    const json_t *body;
    struct slice monitor; /* empty: an event that no monitor sent */
    enum state state;
};

static struct slice field(struct report_of *w, const char *key)
{
    struct slice s = decode_str(&w->d, w->body, key);
    return is_given(s) ? s : (struct slice){"", 0};
}

/* "[P1] [Triggered on {host:x}] CPU is high" without what changes from report to report. */
static struct slice bare_title(struct slice title)
{
    static const char *const words[] = {"Triggered", "Re-Triggered", "Recovered", "Warn", "Re-Warn",
                                        "No data",   "Re-No data",   "Renotify",  NULL};
    title = decode_line(title);
    while (title.len > 2 && title.p[0] == '[') {
        const char *end = memchr(title.p, ']', title.len);
        const struct slice rest = {title.p + 1, title.len - 1};
        bool known = rest.p[0] == 'P' && rest.p[1] >= '1' && rest.p[1] <= '5';
        for (const char *const *word = words; *word && !known; word++)
            known = rest.len > strlen(*word) && strncasecmp(rest.p, *word, strlen(*word)) == 0;
        if (!end || !known)
            break;
        title = decode_line((struct slice){end + 1, title.len - (size_t)(end + 1 - title.p)});
    }
    return title;
}

static struct slice name_of(struct report_of *w)
{
    struct slice name = bare_title(field(w, "title"));
    if (name.len > 0)
        return name;
    name = decode_line(field(w, "title"));
    if (name.len > 0)
        return name;
    if (w->monitor.len == 0)
        return SLICE_LIT("Datadog event");
    const struct slice id = decode_id(&w->d, w->monitor);
    return decode_format(&w->d, "Datadog monitor %.*s", SLICE_FMT(id));
}

/* By priority, else by what it is. */
static enum severity severity_of(struct report_of *w, const struct pairs *l)
{
    struct slice type = field(w, "type");
    enum severity s = is_word(type, "error") ? SEVERITY_ERROR : SEVERITY_WARNING;
    if (w->monitor.len > 0)
        s = w->state == ALERT ? SEVERITY_ERROR : SEVERITY_WARNING;
    else if (is_word(type, "info") || is_word(type, "success"))
        s = SEVERITY_INFO;
    s = severity_parse(pairs_get(l, "severity"), s);
    return severity_parse(field(w, "priority"), s);
}

static struct labels labels_of(struct report_of *w, struct slice name, struct pairs *l)
{
    struct slice namespace = pairs_get(l, "namespace");
    pairs_add(l, "alertname", name);
    pairs_add(l, "source", w->r->source);
    pairs_add(l, "environment", pairs_get(l, "env"));
    pairs_add(l, "namespace", namespace.len > 0 ? namespace : pairs_get(l, "kube_namespace"));
    pairs_add(l, "datadog_monitor", w->monitor);
    pairs_add(l, "datadog_scope", field(w, "scope"));
    pairs_add(l, "hostname", field(w, "hostname"));
    if (is_lesser(w->state))
        pairs_add(l, "level", w->state == WARN ? SLICE_LIT("warn") : SLICE_LIT("no data"));
    return decode_pairs(&w->d, l, w->d.lim->label_value);
}

/* Milliseconds; a few seconds' worth of digits less are seconds. */
static int64_t date_of(struct report_of *w)
{
    int64_t t = decode_count(w->body, "date");
    if (t < 100000000000)
        t *= MS_SECOND;
    return t < INT64_C(253402300800000) ? t : 0;
}

static struct labels annotations_of(struct report_of *w)
{
    static const char *const kept[] = {"status",   "metric", "query", "tags",
                                       "snapshot", "org",    NULL};
    char at[RFC3339_MAX];
    struct pairs notes = {0};
    int64_t date = date_of(w);
    for (const char *const *key = kept; *key; key++)
        pairs_add(&notes, *key, field(w, *key));
    if (date > 0)
        pairs_add(&notes, "date", decode_format(&w->d, "%s", rfc3339_format(date, at)));
    if (w->monitor.len > 0)
        pairs_add(&notes, "transition", field(w, "transition"));
    return decode_pairs(&w->d, &notes, w->d.lim->annotation_value);
}

static uint64_t fingerprint_of(struct report_of *w, struct slice name, bool lesser)
{
    static const char *const groups[] = {"scope", "aggreg_key", "cycle_key", NULL};
    struct pairs p = {0};
    pairs_add(&p, "source", w->r->source);
    if (w->monitor.len == 0) {
        pairs_add(&p, "datadog_event", name);
        pairs_add(&p, "hostname", field(w, "hostname"));
    }
    pairs_add(&p, "datadog_monitor", w->monitor);
    for (const char *const *key = groups; *key && w->monitor.len > 0; key++) {
        struct slice value = field(w, *key);
        pairs_add(&p, *key, value);
        if (value.len > 0)
            break;
    }
    pairs_add(&p, "level", lesser ? SLICE_LIT("lesser") : (struct slice){"", 0});
    return labels_fingerprint(decode_pairs(&w->d, &p, w->d.lim->label_value));
}

static void describe(struct report_of *w, struct alert_event *ev)
{
    struct decoder *d = &w->d;
    struct pairs l = {0};
    struct slice name = name_of(w);
    decode_tags(d, field(w, "tags"), ",", &l);
    ev->severity = severity_of(w, &l);
    ev->severity_again = ev->severity;
    ev->fingerprint = fingerprint_of(w, name, is_lesser(w->state));
    ev->labels = labels_of(w, name, &l);
    ev->annotations = annotations_of(w);
    ev->title = name;
    ev->description = field(w, "message");
    ev->link = field(w, "link");
    ev->truncated = d->truncated;
    if (w->monitor.len == 0) {
        ev->kind = REPORT_OCCURRED;
        ev->event_id = decode_id(d, field(w, "event_id"));
        ev->starts_at = date_of(w);
        return;
    }
    ev->kind = w->state == RECOVERED ? REPORT_RESOLVED : REPORT_FIRING;
    ev->ends_announced = true;
}

static int decode_report(struct report_of *w, struct alert_event *v, size_t *ret_n, struct err *e)
{
    if (!json_is_object(w->body))
        return err_set(e, -EBADMSG, "datadog: expected an object");
    w->monitor = field(w, "alert_id");
    w->state = state_of(field(w, "transition"), field(w, "type"));
    if (w->monitor.len == 0 && field(w, "event_id").len == 0)
        return err_set(
            e, -EBADMSG,
            "datadog: neither `alert_id` nor `event_id`: the webhook wants the payload of "
            "docs/sources.md");
    if (w->monitor.len > 0 && w->state == UNKNOWN)
        return err_set(e, -EBADMSG,
                       "datadog: neither `transition` nor `type` says what became of monitor %.*s",
                       (int)(w->monitor.len < 40 ? w->monitor.len : 40), w->monitor.p);
    describe(w, &v[0]);
    *ret_n = 1;
    if (v[0].kind == REPORT_RESOLVED) {
        v[1] = v[0];
        v[1].fingerprint = fingerprint_of(w, v[0].title, true);
        *ret_n = 2;
    }
    return 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct report_of w = {.r = r};
    w.body = decode_body(cfg, r, lim, a, &w.d, e);
    if (!w.body)
        return e->code;
    struct alert_event *v = arena_array(a, 2, struct alert_event);
    if (!v)
        return err_set(e, -ENOMEM, "datadog: out of memory");
    struct alert_list list = {.v = v};
    int rc = decode_report(&w, v, &list.n, e);
    return decode_end(&w.d, rc, &list, ret, e);
}

const struct source source_datadog = {
    .name = "datadog",
    .summary = "Datadog webhook with our payload: JSON or form",
    .title = "Datadog",
    .cfg_size = sizeof(struct datadog_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .takes_forms = true,
    .accept = accept,
    .decode = decode,
};
