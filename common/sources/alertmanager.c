/* Alertmanager's webhook, versions 3 and 4. */
#include <errno.h>

#include "common/json.h"
#include "common/source_decode.h"

struct alertmanager_cfg {
    struct source_common common;
};

static const struct conf_key keys[] = {SOURCE_COMMON_KEYS, CONF_END};

/* Nothing well-formed is refused: a 4xx would make Alertmanager drop the group, a stored record can
 * be looked at. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice group = json_text(json_at(h->body, "groupKey"), a); /* version 3: a number */
    *ret = file_alerts(h->body, group);
    return 0;
}

static void decode_one(struct decoder *d, const json_t *body, const json_t *alert,
                       struct alert_event *ret)
{
    decode_alert(d, alert, decode_str(d, body, "status"), ret);
    if (ret->link.len == 0)
        ret->link = decode_str(d, body, "externalURL");
    if (ret->kind == REPORT_FIRING)
        ret->ends_at =
            0; /* Alertmanager will say when it is over; what stands here promises nothing */
    ret->ends_announced = true;
}

/* Who was told earlier finds it on the timeline. */
static void note(struct slice text, const struct alert_event *of, struct alert_event *ret)
{
    *ret = *of;
    ret->kind = REPORT_NOTE;
    ret->note = text;
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
        return err_set(e, -EBADMSG, "alertmanager: no array `alerts`; a templated payload?");
    struct slice cut_off = decode_cut_off(&d, body, "Alertmanager's max_alerts");
    struct alert_list list = {0};
    int rc = decode_each(&d, body, alerts, decode_one, &list, e);
    for (size_t i = 0; i < list.n; i++)
        decode_append(&d, cut_off, &list.v[i]);
    if (cut_off.len > 0 && list.n > 0) {
        note(cut_off, &list.v[0], &list.v[list.n]);
        list.n++;
    }
    return decode_end(&d, rc, &list, ret, e);
}

const struct source source_alertmanager = {
    .name = "alertmanager",
    .summary = "Alertmanager webhook, versions 3 and 4",
    .title = "Alertmanager",
    .cfg_size = sizeof(struct alertmanager_cfg),
    .keys = keys,
    .stateful = true,
    .accept = accept,
    .decode = decode,
};
