/*
 * Zabbix, by our media type (deploy/examples/zabbix-media-type.yml) or by its own for Grafana
 * OnCall. Both are scripts that post what macros stand for: all of it text, and a macro without a
 * value stands there as it was written, or as "*UNKNOWN*".
 *
 * One problem is one alert, by the id of its event, which its updates and its recovery share. A
 * trigger may have several problems at a time that end one by one, so its own id is but a label.
 * Reports have no start: Zabbix 6 tells times in the zone of whom it writes to.
 *
 * A problem whose severity somebody raised is an alert of its own beside that of its trigger's
 * severity: an alert that fires does not get more severe. The recovery ends them all.
 */
#include <ctype.h>
#include <errno.h>

#include "common/json.h"
#include "common/source_decode.h"

struct zabbix_cfg {
    struct source_common common;
    const char *base_url;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct zabbix_cfg, base_url, CONF_STR, NULL, 0,
         "address of Zabbix's frontend, for links where its macro {$ZABBIX.URL} is not set"),
    CONF_END,
};

/* Of {EVENT.SOURCE}. What was found or registered itself is an event, the rest are states. */
static bool is_discovery(struct slice source)
{
    return slice_is(source, "1") || slice_is(source, "2");
}

/* Not a macro without a value. */
static bool is_given(struct slice s)
{
    return s.len > 0 && !slice_is(s, "*UNKNOWN*") &&
           !(s.p[0] == '{' && s.len > 2 && s.p[s.len - 1] == '}' &&
             (s.p[1] == '$' || isupper((unsigned char)s.p[1])));
}

/* By the script of Grafana OnCall. */
static bool is_over_in_oncall(struct slice state)
{
    return state.len == 2 && tolower((unsigned char)state.p[0]) == 'o' &&
           tolower((unsigned char)state.p[1]) == 'k';
}

/* "Not classified" is what nobody thought about. */
static enum severity severity_of(struct slice number, enum severity def)
{
    static const enum severity of[] = {SEVERITY_WARNING, SEVERITY_INFO,  SEVERITY_WARNING,
                                       SEVERITY_WARNING, SEVERITY_ERROR, SEVERITY_CRITICAL};
    if (number.len != 1 || number.p[0] < '0' || number.p[0] > '5')
        return def;
    return of[number.p[0] - '0'];
}

/* ---- the door ---- */

static struct slice raw_text(struct slice body, const char *key, struct arena *a)
{
    struct slice s = json_text(json_at(body, key), a);
    return is_given(s) ? s : (struct slice){0};
}

/* How many alerts a problem may be: of its trigger's severity, and of each above it. */
static size_t ranks_from(enum severity s)
{
    return (size_t)(SEVERITY_CRITICAL - s) + 1;
}

/* By the problem, so that its reports stay in order. The script of Grafana OnCall takes a 200 and
 * nothing else. What is refused, Zabbix tries again and again: nothing well-formed is. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice id = raw_text(h->body, "event_id", a);
    struct filing f = {.alerts = 1, .status = 200, .default_reply = true};
    if (id.len == 0) {
        id = raw_text(h->body, "alert_uid", a);
        f.resolved = id.len > 0 && is_over_in_oncall(raw_text(h->body, "state", a));
    } else if (slice_is(raw_text(h->body, "event_value", a), "0") &&
               !is_discovery(raw_text(h->body, "event_source", a))) {
        const struct slice first = raw_text(h->body, "trigger_severity", a);
        f.alerts = f.resolved = ranks_from(severity_of(first, SEVERITY_WARNING));
    }
    if (id.len > 0)
        f.partition_key = id;
    *ret = f;
    return 0;
}

/* ---- the core ---- */

#define EVENTS_MAX 4

/* One report at work. */
struct report_of {
    struct decoder d;
    const struct zabbix_cfg *cfg;
    const struct record *r;
    const json_t *body;
    struct slice id;          /* of the event */
    enum severity first, now; /* its trigger's, and what people made of it */
};

static struct slice field(struct report_of *w, const char *key)
{
    struct slice s = decode_str(&w->d, w->body, key);
    return is_given(s) ? s : (struct slice){"", 0};
}

static struct slice either(struct slice a, struct slice b)
{
    return a.len > 0 ? a : b;
}

/* The alert of its trigger's severity, or of a higher one. */
static uint64_t fingerprint_of(struct report_of *w, enum severity raised_to)
{
    struct pairs p = {0};
    pairs_add(&p, "source", w->r->source);
    pairs_add(&p, "zabbix_event", w->id);
    if (raised_to > w->first)
        pairs_add(&p, "raised_to", slice_of(severity_name(raised_to)));
    return labels_fingerprint(decode_pairs(&w->d, &p, w->d.lim->label_value));
}

/* [{tag, value}, ...], itself or as text. */
static void add_tags(struct report_of *w, struct pairs *l)
{
    const json_t *tags = json_object_get(w->body, "tags");
    if (json_is_string(tags)) {
        decode_tags(&w->d, field(w, "tags"), ",", l);
        return;
    }
    for (size_t i = 0; i < json_array_size(tags); i++) {
        struct slice name = decode_str(&w->d, json_array_get(tags, i), "tag");
        struct slice value = decode_str(&w->d, json_array_get(tags, i), "value");
        if (name.len > 0 && value.len > 0)
            decode_tags(&w->d, decode_format(&w->d, "%.*s=%.*s", SLICE_FMT(name), SLICE_FMT(value)),
                        "", l);
    }
}

/* {$ZABBIX.URL} may stand in front of the rest, unset. */
static struct slice link_of(struct report_of *w, struct slice given, struct slice trigger)
{
    if ((given.len > 8 && memcmp(given.p, "https://", 8) == 0) ||
        (given.len > 7 && memcmp(given.p, "http://", 7) == 0))
        return given;
    if (trigger.len == 0)
        return (struct slice){"", 0};
    const struct slice tail =
        decode_format(&w->d, "&eventid=%.*s", SLICE_FMT(decode_id(&w->d, w->id)));
    return decode_page(&w->d, w->cfg->base_url, "/tr_events.php?triggerid=", trigger,
                       tail.len > 0 ? tail.p : "");
}

static struct labels labels_of(struct report_of *w, struct slice name)
{
    struct pairs l = {0};
    struct slice host = field(w, "host");
    add_tags(w, &l);
    struct slice service = pairs_get(&l, "service");
    pairs_add(&l, "alertname", decode_line(name));
    pairs_add(&l, "service", service.len > 0 ? service : host);
    pairs_add(&l, "source", w->r->source);
    pairs_add(&l, "environment", pairs_get(&l, "env"));
    pairs_add(&l, "host", host);
    pairs_add(&l, "zabbix_event", w->id);
    pairs_add(&l, "zabbix_trigger", field(w, "trigger_id"));
    if (w->now > w->first)
        pairs_add(&l, "raised_to", slice_of(severity_name(w->now)));
    return decode_pairs(&w->d, &l, w->d.lim->label_value);
}

static struct labels annotations_of(struct report_of *w)
{
    static const char *const kept[] = {"opdata", "host_ip", "started", "trigger_url", NULL};
    struct pairs notes = {0};
    for (const char *const *key = kept; *key; key++)
        pairs_add(&notes, *key, field(w, *key));
    return decode_pairs(&w->d, &notes, w->d.lim->annotation_value);
}

/* The name with its macros as written stays the same from problem to problem; what a person reads
 * has them filled in. */
static void describe(struct report_of *w, struct alert_event *ev)
{
    struct slice title = decode_line(either(field(w, "name"), field(w, "subject")));
    struct slice name = either(field(w, "trigger_name"), title);
    if (title.len == 0)
        title = decode_line(either(name, SLICE_LIT("Zabbix event")));
    ev->severity = ev->severity_again = w->now;
    ev->fingerprint = fingerprint_of(w, w->now);
    ev->labels = labels_of(w, either(name, title));
    ev->annotations = annotations_of(w);
    ev->title = title;
    ev->description = either(field(w, "description"), field(w, "message"));
    decode_append(&w->d, field(w, "opdata"), ev);
    ev->link = link_of(w, field(w, "link"), field(w, "trigger_id"));
}

/* "acknowledged, commented in Zabbix: on it" */
static struct slice note_of(struct report_of *w)
{
    struct slice what = either(field(w, "update_action"), SLICE_LIT("updated"));
    struct slice text = decode_line(field(w, "update_message"));
    struct slice note = decode_format(&w->d, "%.*s in Zabbix%s%.*s", SLICE_FMT(what),
                                      text.len > 0 ? ": " : "", SLICE_FMT(text));
    if (note.len > 0)
        note = source_cut(note, w->d.lim->annotation_value, w->d.a, &w->d.truncated);
    w->d.failed |= !note.p;
    return note.p ? note : SLICE_LIT("");
}

/* What a person did there, beside what it says: the problem is still there. */
static size_t update(struct report_of *w, struct alert_event *v)
{
    v[1] = v[0];
    v[1].kind = REPORT_NOTE;
    v[1].note = note_of(w);
    v[1].actor = decode_line(field(w, "user"));
    v[1].fingerprint = fingerprint_of(w, w->first);
    return 2;
}

static size_t end(struct report_of *w, struct alert_event *v)
{
    size_t n = 0;
    v[0].kind = REPORT_RESOLVED;
    for (enum severity s = w->first; s <= SEVERITY_CRITICAL; s++, n++) {
        v[n] = v[0];
        v[n].fingerprint = fingerprint_of(w, s);
    }
    return n;
}

/* Of what nobody says that it is over: alike are one. */
static size_t discovered(struct report_of *w, struct alert_event *ev)
{
    ev->kind = REPORT_OCCURRED;
    ev->event_id = decode_id(&w->d, w->id);
    ev->fingerprint = decode_identity(&w->d, w->r, "zabbix_discovery", ev->title);
    ev->severity = ev->severity_again = severity_of(field(w, "severity"), SEVERITY_INFO);
    return 1;
}

static size_t of_media_type(struct report_of *w, struct alert_event *v)
{
    w->first = severity_of(field(w, "trigger_severity"), SEVERITY_WARNING);
    w->now = severity_of(field(w, "severity"), w->first);
    const bool raised = w->now > w->first, over = slice_is(field(w, "event_value"), "0");
    if (over && raised) /* the one that everybody knows */
        w->now = w->first;
    describe(w, &v[0]);
    if (is_discovery(field(w, "event_source")))
        return discovered(w, v);
    v[0].ends_announced = true;
    if (over)
        return end(w, v);
    v[0].kind = REPORT_FIRING;
    return slice_is(field(w, "update_status"), "1") ? update(w, v) : 1;
}

/* ---- Grafana OnCall's media type ---- */

/* "High" of the line "Severity: High" of the message that Zabbix ships with it. */
static struct slice line_of(struct slice text, const char *name)
{
    const size_t n = strlen(name);
    while (text.len > 0) {
        const char *end = memchr(text.p, '\n', text.len);
        const size_t len = end ? (size_t)(end - text.p) : text.len;
        if (len > n && memcmp(text.p, name, n) == 0)
            return decode_line((struct slice){text.p + n, len - n});
        text.p += len + (end ? 1 : 0);
        text.len -= len + (end ? 1 : 0);
    }
    return (struct slice){"", 0};
}

static enum severity severity_by_name(struct slice name)
{
    static const char *const names[] = {"Not classified", "Information", "Warning",
                                        "Average",        "High",        "Disaster"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_is(name, names[i]))
            return severity_of((struct slice){&"012345"[i], 1}, SEVERITY_WARNING);
    return SEVERITY_WARNING;
}

/* {alert_uid, title, state: alerting|ok, message, link_to_upstream_details}: with the host and the
 * severity inside the message only, and an update told as one more `alerting`. */
static size_t of_oncall(struct report_of *w, struct alert_event *ev)
{
    struct pairs l = {0};
    struct slice message = field(w, "message"), title = decode_line(field(w, "title"));
    struct slice host = line_of(message, "Host: "), severity = line_of(message, "Severity: ");
    if (title.len == 0)
        title = SLICE_LIT("Zabbix event");
    pairs_add(&l, "alertname", title);
    pairs_add(&l, "service", host);
    pairs_add(&l, "source", w->r->source);
    pairs_add(&l, "host", host);
    pairs_add(&l, "zabbix_event", w->id);
    w->first = w->now = severity_by_name(severity);
    ev->labels = decode_pairs(&w->d, &l, w->d.lim->label_value);
    ev->fingerprint = fingerprint_of(w, w->now);
    ev->severity = ev->severity_again = w->now;
    ev->title = title;
    ev->description = message;
    ev->link = link_of(w, field(w, "link_to_upstream_details"), (struct slice){0});
    ev->ends_announced = true;
    ev->kind = is_over_in_oncall(field(w, "state")) ? REPORT_RESOLVED : REPORT_FIRING;
    return 1;
}

/* ---- both ---- */

static int decode_report(struct report_of *w, struct alert_event *v, size_t *ret_n, struct err *e)
{
    if (!json_is_object(w->body))
        return err_set(e, -EBADMSG, "zabbix: expected an object");
    w->id = field(w, "event_id");
    const bool ours = w->id.len > 0;
    if (!ours)
        w->id = field(w, "alert_uid");
    if (w->id.len == 0)
        return err_set(e, -EBADMSG,
                       "zabbix: neither `event_id` nor `alert_uid`: is it the media type of "
                       "docs/sources.md?");
    const struct slice value = field(w, "event_value");
    if (ours && !is_discovery(field(w, "event_source")) && !slice_is(value, "0") &&
        !slice_is(value, "1"))
        return err_set(e, -EBADMSG, "zabbix: event_value is 0 or 1, and not \"%.*s\"",
                       (int)(value.len < 40 ? value.len : 40), value.p);
    *ret_n = ours ? of_media_type(w, v) : of_oncall(w, v);
    return 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct report_of w = {.cfg = cfg, .r = r};
    w.body = decode_body(cfg, r, lim, a, &w.d, e);
    if (!w.body)
        return e->code;
    struct alert_event *v = arena_array(a, EVENTS_MAX, struct alert_event);
    if (!v)
        return err_set(e, -ENOMEM, "zabbix: out of memory");
    struct alert_list list = {.v = v};
    int rc = decode_report(&w, v, &list.n, e);
    for (size_t i = 0; i < list.n; i++)
        v[i].truncated |= w.d.truncated;
    return decode_end(&w.d, rc, &list, ret, e);
}

const struct source source_zabbix = {
    .name = "zabbix",
    .summary = "Zabbix, by our media type or that of Grafana OnCall",
    .title = "Zabbix",
    .cfg_size = sizeof(struct zabbix_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .accept = accept,
    .decode = decode,
};
