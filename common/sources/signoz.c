/*
 * SigNoz, which posts Alertmanager's webhook with labels of its own.
 *
 * A rule without data fires as another alert: renamed "[No data] X", marked `nodata`, without the
 * labels of any series. So the rule is told by its `ruleId`: its name is in no fingerprint, and the
 * alert without data bears the rule's name, which makes both one problem. They stay two alerts,
 * because SigNoz ends the one at the very moment at which the other begins, and either may be told
 * first.
 */
#include <errno.h>

#include "common/json.h"
#include "common/source_decode.h"

struct signoz_cfg {
    struct source_common common;
};

static const struct conf_key keys[] = {SOURCE_COMMON_KEYS, CONF_END};

#define NO_DATA "[No data] "

/* Nothing well-formed is refused: SigNoz drops what gets a 4xx. The rule keeps its alerts in order,
 * however they are grouped. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice rule = json_text(json_at(h->body, "commonLabels.ruleId"), a);
    if (rule.len == 0)
        rule = json_text(json_at(h->body, "groupKey"), a);
    *ret = file_alerts(h->body, rule);
    return 0;
}

/* Labels that change while the alert stays the same, and the way back. */
static bool is_passing(struct slice name)
{
    return slice_is(name, "lastSeen") || slice_is(name, "is_recovering") ||
           slice_is(name, "ruleSource");
}

static bool is_no_data(struct slice name)
{
    return name.len >= sizeof(NO_DATA) - 1 && memcmp(name.p, NO_DATA, sizeof(NO_DATA) - 1) == 0;
}

static struct slice rule_name(struct slice name)
{
    if (!is_no_data(name))
        return name;
    return (struct slice){name.p + sizeof(NO_DATA) - 1, name.len - (sizeof(NO_DATA) - 1)};
}

/* The labels that stay, under the rule's own name. */
static struct labels lasting(struct decoder *d, struct labels l)
{
    struct labels ret = {0};
    struct label *v = arena_array(d->a, l.n + 1, struct label);
    size_t n = 0;
    if (!v) {
        d->failed = true;
        return ret;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (is_passing(l.v[i].name))
            continue;
        v[n] = l.v[i];
        if (slice_is(v[n].name, "alertname"))
            v[n].value = rule_name(v[n].value);
        n++;
    }
    if (is_no_data(labels_get(l, "alertname"))) /* older ones do not mark it */
        v[n++] = (struct label){SLICE_LIT("nodata"), SLICE_LIT("true")};
    d->failed |= labels_make(d->a, v, n, &ret) < 0;
    return ret;
}

/* Without a rule: all labels, as of any alert. With one: all but its name, which people change, and
 * the SigNoz that they are of. */
static uint64_t fingerprint_of(struct decoder *d, struct labels l)
{
    if (labels_get(l, "ruleId").len == 0)
        return labels_fingerprint(l);
    struct labels own;
    if (labels_with(d->a, l, SLICE_LIT("alertname"), (struct slice){0}, &own) < 0 ||
        labels_with(d->a, own, SLICE_LIT("source"), d->r->source, &own) < 0) {
        d->failed = true;
        return 0;
    }
    return labels_fingerprint(own);
}

/* Its templates come as annotations, too; newer ones mark them by an underscore. */
static struct labels for_people(struct decoder *d, struct labels l, struct slice last_seen)
{
    struct labels ret = {0};
    struct label *v = arena_array(d->a, l.n + 1, struct label);
    size_t n = 0;
    if (!v) {
        d->failed = true;
        return ret;
    }
    for (size_t i = 0; i < l.n; i++)
        if (l.v[i].name.len > 0 && l.v[i].name.p[0] != '_' &&
            !slice_is(l.v[i].name, "title_template") && !slice_is(l.v[i].name, "body_template"))
            v[n++] = l.v[i];
    v[n++] = (struct label){SLICE_LIT("last_seen"), last_seen};
    d->failed |= labels_make(d->a, v, n, &ret) < 0;
    return ret;
}

/* The summary that SigNoz writes by itself names the threshold and not the rule. */
static void word(struct alert_event *ev, struct labels given)
{
    struct slice name = decode_line(labels_get(given, "alertname"));
    if (name.len == 0)
        return;
    if (ev->description.len == 0)
        ev->description = labels_get(ev->annotations, "summary");
    ev->title = name;
}

static void decode_one(struct decoder *d, const json_t *body, const json_t *alert,
                       struct alert_event *ret)
{
    decode_alert(d, alert, decode_str(d, body, "status"), ret);
    const struct labels given = ret->labels;
    ret->labels = lasting(d, given);
    ret->fingerprint = fingerprint_of(d, ret->labels);
    ret->annotations = for_people(d, ret->annotations, labels_get(given, "lastSeen"));
    ret->severity = severity_parse(labels_get(given, "threshold.name"), SEVERITY_WARNING);
    ret->severity = severity_parse(labels_get(given, "severity"), ret->severity);
    ret->severity_again = ret->severity;
    word(ret, given);
    if (ret->link.len == 0)
        ret->link = labels_get(given, "ruleSource");
    if (ret->link.len == 0)
        ret->link = decode_str(d, body, "externalURL");
    decode_append(d, decode_cut_off(d, body, "the channel's limit"), ret);
    bool test = slice_is(labels_get(given, "testalert"), "true");
    ret->ends_announced = !test;
    if (ret->kind == REPORT_FIRING)
        ret->ends_at = test ? d->received_at + TEST_LASTS : 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct decoder d;
    json_t *body = decode_body(cfg, r, lim, a, &d, e);
    if (!body)
        return e->code;
    const json_t *alerts = json_object_get(body, "alerts");
    if (!json_is_array(alerts))
        return err_set(e, -EBADMSG, "signoz: no array `alerts`; is this a webhook of SigNoz?");
    struct alert_list list = {0};
    int rc = decode_each(&d, body, alerts, decode_one, &list, e);
    return decode_end(&d, rc, &list, ret, e);
}

const struct source source_signoz = {
    .name = "signoz",
    .summary = "SigNoz webhook channel",
    .title = "SigNoz",
    .cfg_size = sizeof(struct signoz_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .accept = accept,
    .decode = decode,
};
