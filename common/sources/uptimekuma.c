/*
 * Uptime Kuma's webhook: {heartbeat, monitor, msg} as JSON, as a form with that JSON in the field
 * `data`, or in the query of a GET.
 *
 * One monitor is one alert, by its id. It says DOWN again at every resend, with the time of that
 * and not of the start: so its reports have no start of their own, and the first after an end
 * begins an occurrence. What comes without a monitor is a warning of an expiry, which nobody will
 * take back, or a test.
 */
#include <errno.h>

#include "common/json.h"
#include "common/source_decode.h"

struct uptimekuma_cfg {
    struct source_common common;
    const char *base_url;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct uptimekuma_cfg, base_url, CONF_STR, NULL, 0,
         "address of the Uptime Kuma that sends, for links to its monitors"),
    CONF_END,
};

static const char *const form_json[] = {"data", "heartbeat", "monitor", NULL};

/* Uptime Kuma never tries again: nothing well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice body = json_at(h->body, "data");
    if (body.len == 0 || body.p[0] != '{')
        body = json_at(h->body, "");
    struct slice id = json_text(json_at(body, "heartbeat.monitorID"), a);
    if (id.len == 0)
        id = json_text(json_at(body, "monitor.id"), a);
    *ret =
        (struct filing){.partition_key = id.len > 0 ? id : (struct slice){0},
                        .alerts = 1,
                        .resolved = slice_is(json_text(json_at(body, "heartbeat.status"), a), "1"),
                        .status = 200,
                        .default_reply = true};
    return 0;
}

/* One message at work. */
struct message {
    struct decoder d;
    const struct uptimekuma_cfg *cfg;
    const struct record *r;
    const json_t *heartbeat, *monitor;
    struct slice id, name, text; /* of the monitor; msg */
};

/* ---- of a monitor ---- */

/* [{name, value}, ...]: a label each where it has a value. */
static void add_tags(struct message *m, struct pairs *p)
{
    const json_t *tags = json_object_get(m->monitor, "tags");
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        struct slice name = decode_line(decode_str(&m->d, tag, "name"));
        struct slice value = decode_line(decode_str(&m->d, tag, "value"));
        if (name.len > 0 && value.len > 0)
            decode_tags(&m->d, decode_format(&m->d, "%.*s=%.*s", SLICE_FMT(name), SLICE_FMT(value)),
                        "\n", p);
    }
}

/* "https://" alone stands in monitors that ask for no page. */
static struct slice url_of(struct message *m)
{
    struct slice url = decode_str(&m->d, m->monitor, "url");
    bool is_page = (url.len > 7 && memcmp(url.p, "http://", 7) == 0) ||
                   (url.len > 8 && memcmp(url.p, "https://", 8) == 0);
    return is_page ? url : (struct slice){"", 0};
}

static struct labels labels_of(struct message *m, struct pairs *l)
{
    struct slice service = pairs_get(l, "service");
    pairs_add(l, "alertname", m->name);
    pairs_add(l, "service", service.len > 0 ? service : m->name);
    pairs_add(l, "source", m->r->source);
    pairs_add(l, "environment", pairs_get(l, "env"));
    pairs_add(l, "kuma_monitor", m->id);
    pairs_add(l, "monitor_type", decode_str(&m->d, m->monitor, "type"));
    pairs_add(l, "url", url_of(m));
    pairs_add(l, "hostname", decode_str(&m->d, m->monitor, "hostname"));
    return decode_pairs(&m->d, l, m->d.lim->label_value);
}

static struct labels annotations_of(struct message *m)
{
    struct pairs notes = {0};
    pairs_add(&notes, "time", decode_str(&m->d, m->heartbeat, "time"));
    pairs_add(&notes, "ping", decode_str(&m->d, m->heartbeat, "ping"));
    pairs_add(&notes, "retries", decode_str(&m->d, m->heartbeat, "retries"));
    pairs_add(&notes, "last_down_time", decode_str(&m->d, m->heartbeat, "lastDownTime"));
    pairs_add(&notes, "monitor", decode_str(&m->d, m->monitor, "description"));
    return decode_pairs(&m->d, &notes, m->d.lim->annotation_value);
}

static void of_monitor(struct message *m, char status, struct alert_event *ev)
{
    struct decoder *d = &m->d;
    struct pairs l = {0};
    if (m->name.len == 0) {
        const struct slice id = decode_id(d, m->id);
        m->name = decode_format(d, "monitor %.*s", SLICE_FMT(id));
    }
    add_tags(m, &l);
    ev->severity = severity_parse(pairs_get(&l, "severity"), SEVERITY_CRITICAL);
    ev->severity_again = ev->severity;
    ev->fingerprint = decode_identity(d, m->r, "kuma_monitor", m->id);
    ev->labels = labels_of(m, &l);
    ev->annotations = annotations_of(m);
    ev->title = decode_format(d, "%.*s is down", SLICE_FMT(m->name));
    ev->description = decode_str(d, m->heartbeat, "msg");
    if (ev->description.len == 0)
        ev->description = m->text;
    ev->link = decode_page(d, m->cfg->base_url, "/dashboard/", m->id, "");
    if (ev->link.len == 0)
        ev->link = url_of(m);
    ev->ends_announced = false; /* none is told of what comes up again in a maintenance */
    ev->kind = status == '0' ? REPORT_FIRING : status == '1' ? REPORT_RESOLVED : REPORT_NOTE;
    if (ev->kind == REPORT_NOTE)
        ev->note = status == '2' ? SLICE_LIT("pending in Uptime Kuma")
                                 : SLICE_LIT("in maintenance in Uptime Kuma");
}

/* ---- of none ---- */

#define EXPIRES " will expire in "
#define EXPIRY_DAYS_MAX 3650

/* "[site][https://x] server certificate x will expire in 14 days": how many, and *ret what does. 0:
 * it is about something else. */
static int64_t expiry_of(struct slice text, struct slice *ret)
{
    const char *at = text.len > 0 ? memmem(text.p, text.len, EXPIRES, sizeof(EXPIRES) - 1) : NULL;
    if (!at)
        return 0;
    int64_t days = 0;
    const char *end = text.p + text.len;
    const char *digit = at + sizeof(EXPIRES) - 1;
    for (; digit < end && *digit >= '0' && *digit <= '9' && days < EXPIRY_DAYS_MAX; digit++)
        days = days * 10 + (*digit - '0');
    if (end - digit < 4 || memcmp(digit, " day", 4) != 0)
        return 0;
    *ret = (struct slice){text.p, (size_t)(at - text.p)};
    if (days < 1)
        return 1;
    return days < EXPIRY_DAYS_MAX ? days : EXPIRY_DAYS_MAX;
}

/* The name in the first brackets. */
static struct slice bracketed(struct slice text)
{
    const char *end = text.len > 1 && text.p[0] == '[' ? memchr(text.p, ']', text.len) : NULL;
    return end ? decode_line((struct slice){text.p + 1, (size_t)(end - text.p - 1)})
               : (struct slice){0};
}

/* It fires for as long as it speaks of: Uptime Kuma does not say that somebody has renewed it. */
static void of_none(struct message *m, struct alert_event *ev)
{
    struct decoder *d = &m->d;
    struct pairs l = {0};
    struct slice what = m->text;
    int64_t days = expiry_of(m->text, &what);
    struct slice service = bracketed(m->text);
    pairs_add(&l, "alertname",
              days > 0 ? SLICE_LIT("Expires soon") : SLICE_LIT("Message of Uptime Kuma"));
    pairs_add(&l, "service", service.len > 0 ? service : m->name);
    pairs_add(&l, "source", m->r->source);
    pairs_add(&l, "kuma_message", what);
    ev->labels = decode_pairs(d, &l, d->lim->label_value);
    ev->fingerprint = decode_identity(d, m->r, "kuma_message", what);
    ev->severity = ev->severity_again = SEVERITY_WARNING;
    ev->title = m->text;
    ev->kind = REPORT_FIRING;
    ev->ends_at = m->r->received_at + (days > 0 ? days * MS_DAY : TEST_LASTS);
    ev->ends_announced = true;
}

/* ---- both ---- */

static int decode_message(struct message *m, const json_t *body, struct alert_event *ev,
                          struct err *e)
{
    struct decoder *d = &m->d;
    m->heartbeat = json_object_get(body, "heartbeat");
    m->monitor = json_object_get(body, "monitor");
    m->id = decode_str(d, m->heartbeat, "monitorID");
    if (m->id.len == 0)
        m->id = decode_str(d, m->monitor, "id");
    m->name = decode_line(decode_str(d, m->monitor, "name"));
    m->text = decode_line(decode_str(d, body, "msg"));
    if (!json_is_object(m->heartbeat)) {
        if (m->text.len == 0)
            return err_set(e, -EBADMSG,
                           "uptimekuma: neither `heartbeat` nor `msg`: a body of one's own?");
        of_none(m, ev);
        return 0;
    }
    struct slice status = decode_str(d, m->heartbeat, "status");
    if (m->id.len == 0)
        return err_set(e, -EBADMSG, "uptimekuma: a heartbeat without `monitorID`");
    if (status.len != 1 || status.p[0] < '0' || status.p[0] > '3')
        return err_set(e, -EBADMSG, "uptimekuma: heartbeat.status is 0 to 3, and not \"%.*s\"",
                       (int)(status.len < 40 ? status.len : 40), status.p);
    of_monitor(m, status.p[0], ev);
    return 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct message m = {.cfg = cfg, .r = r};
    const json_t *body = decode_body(cfg, r, lim, a, &m.d, e);
    if (!body)
        return e->code;
    const json_t *data = json_object_get(body, "data"); /* of a form */
    struct alert_event *ev = arena_new_of(a, struct alert_event);
    if (!ev)
        return err_set(e, -ENOMEM, "uptimekuma: out of memory");
    int rc = decode_message(&m, json_is_object(data) ? data : body, ev, e);
    ev->truncated = m.d.truncated;
    const struct alert_list list = {.v = ev, .n = 1};
    return decode_end(&m.d, rc, &list, ret, e);
}

const struct source source_uptimekuma = {
    .name = "uptimekuma",
    .summary = "Uptime Kuma webhook: JSON, form or GET",
    .title = "Uptime Kuma",
    .cfg_size = sizeof(struct uptimekuma_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .takes_forms = true,
    .takes_gets = true,
    .form_json = form_json,
    .accept = accept,
    .decode = decode,
};
