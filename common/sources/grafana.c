/* Grafana alerting, webhook version 1. */
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
    return 0;
}

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
    if (ret->kind == REPORT_FIRING)
        ret->ends_at = 0;
    ret->ends_announced = true;
    ret->truncated = d->truncated;
    decode_append(d, values, ret);
    decode_append(d, decode_cut_off(d, body, "the contact point's limit"), ret);
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
        return err_set(e, -EBADMSG, "grafana: no array `alerts`; a custom payload?");
    struct alert_list list = {0};
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
