/*
 * Datadog, whose webhook sends the payload that its user wrote, as JSON or as a form: that of
 * docs/sources.md, one that calls the same variables otherwise, or Datadog's own, which says in its
 * title what became of which group, and in a link of its text of which monitor. The variables are
 * all text; one that Datadog has no value for stands there as it was written, or as "null".
 *
 * One group of one monitor is one alert: of (alert_id, scope). Where there is no scope, the keys by
 * which Datadog links events take its place; where there is no monitor, its name. Reports have no
 * start: `date` is that of the report, and comes by another clock; the first after an end begins an
 * occurrence. A warning and missing data are an alert of their own beside the one that they may
 * become: an alert that fires does not get more severe, so the worse would hide behind the better.
 * Recovered ends both.
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
    return s.p && s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
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

/* ---- the names of the fields ---- */

#define NAMES_MAX 4

/* Ours, and what else payloads call the same variable. */
static const char *const fields[][NAMES_MAX + 1] = {
    {"alert_id", "monitor_id"},
    {"cycle_key", "alert_cycle_key"},
    {"date", "last_updated"},
    {"event_id", "id"},
    {"link", "url", "alert_url"},
    {"message", "text_only_msg", "event_msg", "body"},
    {"metric", "alert_metric"},
    {"org", "org_name"},
    {"priority", "alert_priority", "severity"},
    {"query", "alert_query"},
    {"scope", "alert_scope", "scopes"},
    {"status", "alert_status"},
    {"title", "event_title", "alert_title"},
    {"transition", "alert_transition"},
    {"type", "alert_type"},
};

static const char *const *names_of(const char *const key[2])
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcmp(fields[i][0], key[0]) == 0)
            return fields[i];
    return key;
}

/* ---- what Datadog's own payload says in words ---- */

/* "[P1] [Triggered on {host:x}] CPU is high" */
struct headline {
    struct slice priority, word, scope, rest; /* empty where it is not there */
};

/* "Triggered on {host:x}", if it is a transition. */
static bool read_transition(struct slice text, struct headline *ret)
{
    static const char mark[] = " on {";
    struct slice word = {0};
    for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
        const struct slice head = {text.p, strlen(transitions[i].word)};
        if (text.len >= head.len && is_word(head, transitions[i].word) &&
            (text.len == head.len || text.p[head.len] == ' '))
            word = head;
    }
    if (word.len == 0)
        return false;
    ret->word = word;
    const char *on = memmem(text.p, text.len, mark, sizeof(mark) - 1);
    const char *scope = on ? on + sizeof(mark) - 1 : NULL;
    const char *end = on ? memrchr(scope, '}', (size_t)(text.p + text.len - scope)) : NULL;
    if (end)
        ret->scope = (struct slice){scope, (size_t)(end - scope)};
    return true;
}

static bool read_priority(struct slice s, struct headline *ret)
{
    if (s.len != 2 || s.p[0] != 'P' || s.p[1] < '1' || s.p[1] > '5')
        return false;
    ret->priority = s;
    return true;
}

/* The bracket that closes the first: a scope may have some of its own. */
static const char *closing(struct slice s)
{
    size_t depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        depth += s.p[i] == '[';
        if (s.p[i] == ']' && --depth == 0)
            return s.p + i;
    }
    return NULL;
}

static struct headline read_title(struct slice title)
{
    struct headline h = {.rest = decode_line(title)};
    while (h.rest.len > 2 && h.rest.p[0] == '[') {
        const char *end = closing(h.rest);
        const struct slice in = {h.rest.p + 1, end ? (size_t)(end - h.rest.p - 1) : 0};
        if (!end || !(read_priority(in, &h) || read_transition(in, &h)))
            break;
        h.rest = decode_line((struct slice){end + 1, h.rest.len - in.len - 2});
    }
    return h;
}

#define MONITORS "/monitors"

static bool ends_link(char c)
{
    return isspace((unsigned char)c) || strchr("()[]<>\"", c); /* NUL, too */
}

/* The number behind a "/monitors" at `at`. */
static struct slice number_behind(const char *at, const char *end)
{
    const char *id = at + sizeof(MONITORS), *stop = id;
    while (stop < end && isdigit((unsigned char)*stop))
        stop++;
    if (id >= end || (id[-1] != '/' && id[-1] != '#'))
        return (struct slice){0};
    return (struct slice){id, (size_t)(stop - id)};
}

/* Of "https://app.datadoghq.com/monitors/NUMBER...": the last number, since Datadog's own links
 * stand below what people wrote, and the first link to it. */
static struct slice monitor_in(struct slice text, struct slice *ret_link)
{
    struct slice ret = {0};
    if (text.len == 0)
        return ret;
    const char *end = text.p + text.len, *at = text.p;
    while ((at = memmem(at, (size_t)(end - at), MONITORS, sizeof(MONITORS) - 1))) {
        const struct slice number = number_behind(at, end);
        const char *from = at, *stop = at + sizeof(MONITORS) - 1;
        at = stop;
        if (number.len == 0 || slice_eq(number, ret))
            continue;
        ret = number;
        while (from > text.p && !ends_link(from[-1]))
            from--;
        while (stop < end && !ends_link(*stop))
            stop++;
        *ret_link = (struct slice){from, (size_t)(stop - from)};
    }
    return ret;
}

/* ---- the door ---- */

static struct slice raw_text(struct slice body, const char *key, struct arena *a)
{
    const char *const own[] = {key, NULL};
    for (const char *const *name = names_of(own); *name; name++) {
        struct slice s = json_text(json_at(body, *name), a);
        if (is_given(s))
            return s;
    }
    return (struct slice){0};
}

/* By monitor, so that a group's reports stay in order; by its name where it has no number. */
static struct slice key_of(struct slice body, struct slice title, bool spoken, struct arena *a)
{
    static const char *const linked[] = {"link", "message", NULL};
    struct slice key = raw_text(body, "alert_id", a), link = {0};
    for (const char *const *name = linked; *name && spoken && key.len == 0; name++)
        key = monitor_in(raw_text(body, *name, a), &link);
    return key.len > 0 || !spoken ? key : title;
}

/* Datadog drops what gets a 4xx: nothing well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    const struct headline said = read_title(raw_text(h->body, "title", a));
    struct slice transition = raw_text(h->body, "transition", a);
    if (transition.len == 0)
        transition = said.word;
    const struct slice key = key_of(h->body, said.rest, transition_of(transition) != UNKNOWN, a);
    const bool over =
        key.len > 0 && state_of(transition, raw_text(h->body, "type", a)) == RECOVERED;
    *ret = (struct filing){.partition_key = key.len > 0 ? key : (struct slice){0},
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
    struct headline said;
    struct slice monitor, link; /* its number, and its page where the text names it */
    bool is_event;              /* that no monitor sent */
    enum state state;
};

static struct slice field(struct report_of *w, const char *key)
{
    const char *const own[] = {key, NULL};
    for (const char *const *name = names_of(own); *name; name++) {
        struct slice s = decode_str(&w->d, w->body, *name);
        if (is_given(s))
            return s;
    }
    return (struct slice){"", 0};
}

/* However long it is: what stands at its end must not be lost. */
static struct slice whole(struct report_of *w, const char *key)
{
    const char *const own[] = {key, NULL};
    for (const char *const *name = names_of(own); *name; name++) {
        struct slice s = json_str(w->body, *name, w->d.a);
        if (is_given(s))
            return s;
    }
    return (struct slice){0};
}

static struct slice scope_of(struct report_of *w)
{
    const struct slice s = field(w, "scope");
    return s.len > 0 ? s : w->said.scope;
}

/* Datadog's own payload has Markdown between percent signs. */
static struct slice message_of(struct report_of *w)
{
    static const char fence[] = "%%%";
    struct slice s = field(w, "message");
    if (s.len < 6 || memcmp(s.p, fence, 3) != 0)
        return s;
    s = (struct slice){s.p + 3, s.len - 3};
    while (s.len > 0 && isspace((unsigned char)s.p[s.len - 1]))
        s.len--;
    if (s.len >= 3 && memcmp(s.p + s.len - 3, fence, 3) == 0)
        s.len -= 3;
    while (s.len > 0 && isspace((unsigned char)s.p[0]))
        s = (struct slice){s.p + 1, s.len - 1};
    while (s.len > 0 && isspace((unsigned char)s.p[s.len - 1]))
        s.len--;
    return s;
}

/* Without what changes from report to report. */
static struct slice name_of(struct report_of *w)
{
    if (w->said.rest.len > 0)
        return decode_cut(&w->d, w->said.rest);
    const struct slice name = decode_line(field(w, "title"));
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
    if (!w->is_event)
        s = w->state == ALERT ? SEVERITY_ERROR : SEVERITY_WARNING;
    else if (is_word(type, "info") || is_word(type, "success"))
        s = SEVERITY_INFO;
    if (field(w, "transition").len == 0) /* Datadog's own payload has no other priority */
        s = severity_parse(w->said.priority, s);
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
    pairs_add(l, "datadog_scope", scope_of(w));
    pairs_add(l, "hostname", field(w, "hostname"));
    if (is_lesser(w->state))
        pairs_add(l, "level", w->state == WARN ? SLICE_LIT("warn") : SLICE_LIT("no data"));
    return decode_pairs(&w->d, l, w->d.lim->label_value);
}

/* Milliseconds; a few seconds' worth of digits less are seconds. */
static int64_t date_of(struct report_of *w)
{
    int64_t t = decode_count(w->body, "date");
    if (t == 0)
        t = decode_count(w->body, "last_updated");
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
    pairs_add(&notes, "org", decode_str(&w->d, json_object_get(w->body, "org"), "name"));
    if (!w->is_event) {
        const struct slice given = field(w, "transition");
        pairs_add(&notes, "transition", given.len > 0 ? given : w->said.word);
    }
    return decode_pairs(&w->d, &notes, w->d.lim->annotation_value);
}

static uint64_t fingerprint_of(struct report_of *w, struct slice name, bool lesser)
{
    static const char *const groups[] = {"aggreg_key", "cycle_key", NULL};
    struct pairs p = {0};
    pairs_add(&p, "source", w->r->source);
    if (w->is_event) {
        pairs_add(&p, "datadog_event", name);
        pairs_add(&p, "hostname", field(w, "hostname"));
    }
    pairs_add(&p, "datadog_monitor", w->monitor);
    if (!w->is_event && w->monitor.len == 0)
        pairs_add(&p, "datadog_name", name);
    const struct slice scope = w->is_event ? (struct slice){"", 0} : scope_of(w);
    pairs_add(&p, "scope", scope);
    for (const char *const *key = groups; *key && !w->is_event && scope.len == 0; key++) {
        struct slice value = field(w, *key);
        pairs_add(&p, *key, value);
        if (value.len > 0)
            break;
    }
    pairs_add(&p, "level", lesser ? SLICE_LIT("lesser") : (struct slice){"", 0});
    return labels_fingerprint(decode_pairs(&w->d, &p, w->d.lim->label_value));
}

/* "a:b,c:d", or an array of such; Datadog's own payload has those of the scope alone. */
static void add_tags(struct report_of *w, struct pairs *l)
{
    const json_t *tags = json_object_get(w->body, "tags"), *one;
    size_t i;
    decode_tags(&w->d, tags ? field(w, "tags") : w->said.scope, ",", l);
    json_array_foreach (tags, i, one)
        if (json_is_string(one))
            decode_tags(&w->d, (struct slice){json_string_value(one), json_string_length(one)}, ",",
                        l);
}

static void describe(struct report_of *w, struct alert_event *ev)
{
    struct decoder *d = &w->d;
    struct pairs l = {0};
    struct slice name = name_of(w);
    add_tags(w, &l);
    ev->severity = severity_of(w, &l);
    ev->severity_again = ev->severity;
    ev->fingerprint = fingerprint_of(w, name, is_lesser(w->state));
    ev->labels = labels_of(w, name, &l);
    ev->annotations = annotations_of(w);
    ev->title = name;
    ev->description = message_of(w);
    ev->link = field(w, "link");
    if (ev->link.len == 0 && decode_is_page(w->link) && w->link.len <= d->lim->annotation_value)
        ev->link = w->link;
    ev->truncated = d->truncated;
    if (w->is_event) {
        ev->kind = REPORT_OCCURRED;
        ev->event_id = decode_id(d, field(w, "event_id"));
        ev->starts_at = date_of(w);
        return;
    }
    ev->kind = w->state == RECOVERED ? REPORT_RESOLVED : REPORT_FIRING;
    ev->ends_announced = true;
}

/* What became of which monitor: in fields, else in words. */
static void look(struct report_of *w)
{
    w->said = read_title(whole(w, "title"));
    struct slice transition = field(w, "transition");
    if (transition.len == 0)
        transition = w->said.word;
    const bool spoken = transition_of(transition) != UNKNOWN;
    w->monitor = field(w, "alert_id");
    if (w->monitor.len == 0 && spoken)
        w->monitor = monitor_in(whole(w, "link"), &w->link);
    if (w->monitor.len == 0 && spoken)
        w->monitor = monitor_in(whole(w, "message"), &w->link);
    w->is_event = w->monitor.len == 0 && !spoken;
    w->state = state_of(transition, field(w, "type"));
}

static int decode_report(struct report_of *w, struct alert_event *v, size_t *ret_n, struct err *e)
{
    if (!json_is_object(w->body))
        return err_set(e, -EBADMSG, "datadog: expected an object");
    look(w);
    if (w->is_event && field(w, "event_id").len == 0)
        return err_set(
            e, -EBADMSG,
            "datadog: neither `alert_id` nor `event_id`: the webhook wants the payload of "
            "docs/sources.md");
    if (!w->is_event && w->state == UNKNOWN)
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
