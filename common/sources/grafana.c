/*
 * Grafana alerting, webhook version 1; and the alerting of dashboards before it (to Grafana 10),
 * whose notification is one rule:
 *
 *   {ruleId, ruleName, ruleUrl, state: alerting|no_data|ok, title, message, imageUrl, orgId,
 *    evalMatches: [{metric, value, tags{}}], tags{}}
 *
 * A rule is one alert, by all but what it measured: when it is over, nothing matches.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/source_decode.h"

struct grafana_cfg {
    struct source_common common;
    const char *hmac_secret, *hmac_header, *hmac_timestamp_header;
    int64_t hmac_tolerance;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct grafana_cfg, hmac_secret, CONF_STR, NULL, CONF_SECRET,
         "require an HMAC-SHA256 signature with this secret"),
    CONF(struct grafana_cfg, hmac_header, CONF_STR, "X-Grafana-Alerting-Signature", 0,
         "header of the signature"),
    CONF(struct grafana_cfg, hmac_timestamp_header, CONF_STR, NULL, 0,
         "header of the signed time, when the contact point has one"),
    CONF(struct grafana_cfg, hmac_tolerance, CONF_DURATION, "5m", 0,
         "how far the signed time may be from ours"),
    CONF_END,
};

static bool in_time(const char *seconds, int64_t now_ms, int64_t tolerance)
{
    char *end = NULL;
    errno = 0;
    long long t = strtoll(seconds, &end, 10);
    if (errno != 0 || end == seconds || *end != '\0' || t < 0 || t > INT64_MAX / 1000)
        return false;
    int64_t off = t * 1000 - now_ms;
    return off <= tolerance && off >= -tolerance;
}

static enum auth verify(const void *cfg, const struct hook *h, int64_t now_ms)
{
    const struct grafana_cfg *c = cfg;
    if (!c->hmac_secret || !*c->hmac_secret)
        return source_verify_common(&c->common, h);
    const char *signature = h->header(h, c->hmac_header);
    if (!signature)
        return AUTH_MISSING;
    if (!c->hmac_timestamp_header || !*c->hmac_timestamp_header)
        return source_hmac_hex_eq(signature, c->hmac_secret, &h->body, 1) ? AUTH_OK : AUTH_BAD;
    const char *at = h->header(h, c->hmac_timestamp_header);
    if (!at)
        return AUTH_MISSING;
    const struct slice text[] = {slice_of(at), SLICE_LIT(":"), h->body};
    bool ok = source_hmac_hex_eq(signature, c->hmac_secret, text, 3);
    return ok && in_time(at, now_ms, c->hmac_tolerance) ? AUTH_OK : AUTH_BAD;
}

/* Grafana never tries again: nothing well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice group = json_text(json_at(h->body, "groupKey"), a);
    *ret = file_alerts(h->body, group);
    if (json_at(h->body, "alerts").len > 0 || json_at(h->body, "ruleId").len == 0)
        return 0;
    const struct slice rule = json_text(json_at(h->body, "ruleId"), a);
    ret->partition_key = rule.len > 0 ? rule : (struct slice){0};
    ret->alerts = 1;
    ret->resolved = slice_is(json_at(h->body, "state"), "\"ok\"");
    return 0;
}

/* ---- a group of alerts ---- */

/* values{} as "A=95.2, B=1": what a person reads first. */
static struct slice values_text(struct decoder *d, const json_t *alert)
{
    struct labels values;
    bool cut = false;
    if (source_annotations(json_object_get(alert, "values"), d->lim, d->a, &values, &cut) < 0) {
        d->failed = true;
        return (struct slice){"", 0};
    }
    CLEANUP(buf_release) struct buf b = BUF_INIT(d->lim->annotation_value);
    for (size_t i = 0; i < values.n && !b.failed; i++)
        buf_printf(&b, "%s%.*s=%.*s", i > 0 ? ", " : "", SLICE_FMT(values.v[i].name),
                   SLICE_FMT(values.v[i].value));
    if (b.len == 0)
        return decode_str(d, alert, "valueString");
    struct slice text = arena_slice(d->a, (struct slice){b.p, b.len});
    d->failed |= !text.p;
    return text;
}

/* The rule's own summary speaks of what it watches, and not of there being no data. */
static void word(struct decoder *d, struct alert_event *ev)
{
    static const struct {
        const char *name, *words;
    } states[] = {{"DatasourceNoData", "No data for"}, {"DatasourceError", "Cannot evaluate"}};
    const struct slice name = labels_get(ev->labels, "alertname");
    const struct slice rule = decode_line(labels_get(ev->labels, "rulename"));
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]) && rule.len > 0; i++) {
        if (!slice_is(name, states[i].name))
            continue;
        if (ev->description.len == 0)
            ev->description = labels_get(ev->annotations, "summary");
        ev->title = decode_format(d, "%s %.*s", states[i].words, SLICE_FMT(rule));
    }
}

/* By the button of a contact point: nobody takes it back. */
static bool is_test(struct labels l)
{
    return slice_is(labels_get(l, "alertname"), "TestAlert") &&
           slice_is(labels_get(l, "instance"), "Grafana");
}

static void decode_one(struct decoder *d, const json_t *body, const json_t *alert,
                       struct alert_event *ret)
{
    struct pairs extra = {0};
    decode_alert(d, alert, decode_str(d, body, "status"), ret);
    d->truncated = ret->truncated;
    struct slice values = values_text(d, alert);
    pairs_add(&extra, "values", values);
    pairs_add(&extra, "dashboard", decode_str(d, alert, "dashboardURL"));
    pairs_add(&extra, "panel", decode_str(d, alert, "panelURL"));
    pairs_add(&extra, "silence", decode_str(d, alert, "silenceURL"));
    pairs_add(&extra, "image", decode_str(d, alert, "imageURL"));
    ret->annotations = decode_merge(d, ret->annotations, &extra, d->lim->annotation_value);
    static const char *const links[] = {"panelURL", "dashboardURL", NULL};
    if (ret->link.len == 0)
        ret->link = decode_first(d, alert, links);
    if (ret->link.len == 0)
        ret->link = decode_str(d, body, "externalURL");
    const bool test = is_test(ret->labels);
    if (ret->kind == REPORT_FIRING)
        ret->ends_at = test ? d->received_at + TEST_LASTS : 0;
    ret->ends_announced = !test;
    word(d, ret);
    ret->truncated = d->truncated;
    decode_append(d, values, ret);
    decode_append(d, decode_cut_off(d, body, "the contact point's limit"), ret);
}

/* ---- a rule of a dashboard ---- */

/* "requests=122, errors=3" */
static struct slice matches_text(struct decoder *d, const json_t *body)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(d->lim->annotation_value);
    const json_t *match;
    size_t i;
    json_array_foreach (json_object_get(body, "evalMatches"), i, match) {
        const struct slice metric = decode_line(decode_str(d, match, "metric"));
        const struct slice value = decode_str(d, match, "value");
        if (metric.len + value.len == 0)
            continue;
        if (b.len + metric.len + value.len + 4 > b.max) {
            d->truncated = true;
            break;
        }
        buf_printf(&b, "%s%.*s=%.*s", b.len > 0 ? ", " : "", SLICE_FMT(metric), SLICE_FMT(value));
    }
    if (b.len == 0)
        return (struct slice){"", 0};
    const struct slice text = arena_slice(d->a, (struct slice){b.p, b.len});
    d->failed |= !text.p;
    return text.p ? text : (struct slice){"", 0};
}

static struct labels rule_labels(struct decoder *d, const json_t *body, struct slice name)
{
    struct labels tags = {0};
    struct pairs own = {0};
    if (source_labels(json_object_get(body, "tags"), d->lim, d->a, &tags, &d->truncated) < 0)
        d->failed = true;
    pairs_add(&own, "alertname", name);
    pairs_add(&own, "grafana_org", decode_str(d, body, "orgId"));
    pairs_add(&own, "grafana_rule", decode_str(d, body, "ruleId"));
    return decode_over(d, tags, decode_pairs(d, &own, d->lim->label_value));
}

static void of_rule(struct decoder *d, const json_t *body, struct alert_event *ev)
{
    static const char *const names[] = {"ruleName", "title", NULL};
    const struct slice state = decode_str(d, body, "state"), page = decode_str(d, body, "ruleUrl");
    const struct slice matches = matches_text(d, body);
    struct slice name = decode_line(decode_first(d, body, names));
    struct pairs notes = {0};
    if (name.len == 0)
        name = SLICE_LIT("Grafana alert");
    ev->labels = rule_labels(d, body, name);
    ev->fingerprint = labels_fingerprint(ev->labels);
    ev->severity = severity_parse(labels_get(ev->labels, "severity"), SEVERITY_WARNING);
    ev->severity_again = ev->severity;
    pairs_add(&notes, "image", decode_str(d, body, "imageUrl"));
    pairs_add(&notes, "values", matches);
    ev->annotations = decode_pairs(d, &notes, d->lim->annotation_value);
    ev->title =
        slice_is(state, "no_data") ? decode_format(d, "No data for %.*s", SLICE_FMT(name)) : name;
    ev->description = decode_str(d, body, "message");
    ev->link = decode_is_page(page) ? page : (struct slice){"", 0};
    ev->kind = slice_is(state, "ok") ? REPORT_RESOLVED : REPORT_FIRING;
    const bool test = slice_is(name, "Test notification"); /* of the button */
    if (test && ev->kind == REPORT_FIRING)
        ev->ends_at = d->received_at + TEST_LASTS;
    ev->ends_announced = !test;
    if (slice_is(state, "paused") || slice_is(state, "pending")) {
        ev->kind = REPORT_NOTE;
        ev->note = decode_format(d, "%.*s in Grafana", SLICE_FMT(state));
    }
    ev->truncated = d->truncated;
    decode_append(d, matches, ev);
}

/* ---- both ---- */

static bool is_rule(const json_t *body)
{
    return json_object_get(body, "ruleId") && json_is_string(json_object_get(body, "state")) &&
           !json_object_get(body, "alerts");
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct decoder d;
    json_t *body = decode_body(cfg, r, lim, a, &d, e);
    if (!body)
        return e->code;
    struct alert_list list = {0};
    if (is_rule(body)) {
        list = (struct alert_list){.v = arena_new_of(a, struct alert_event), .n = 1};
        if (!list.v)
            return err_set(e, -ENOMEM, "grafana: out of memory");
        of_rule(&d, body, list.v);
        return decode_end(&d, 0, &list, ret, e);
    }
    const json_t *alerts = json_object_get(body, "alerts");
    if (!json_is_array(alerts))
        return err_set(e, -EBADMSG, "grafana: no array `alerts`; a custom payload?");
    int rc = decode_each(&d, body, alerts, decode_one, &list, e);
    return decode_end(&d, rc, &list, ret, e);
}

const struct source source_grafana = {
    .name = "grafana",
    .summary = "Grafana alerting webhook",
    .title = "Grafana",
    .cfg_size = sizeof(struct grafana_cfg),
    .keys = keys,
    .stateful = true,
    .verify = verify,
    .accept = accept,
    .decode = decode,
};
