/*
 * Healthchecks (healthchecks.io and self-hosted), whose webhook sends what its user wrote into it:
 * the fields of docs/sources.md as JSON, as a form, or in the address of a GET; or the whole check,
 * $JSON.
 *
 *   {code, status: up|down, now, name, slug, tags, exitstatus, body, severity, service}
 *
 * One check is one alert, by its code. $NOW is the time at which it changed, the same for every try
 * to say so: the start of an occurrence, and its end.
 */
#include <errno.h>

#include "common/json.h"
#include "common/source_decode.h"

struct healthchecks_cfg {
    struct source_common common;
    const char *base_url;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct healthchecks_cfg, base_url, CONF_STR, "https://healthchecks.io", 0,
         "address of the Healthchecks that sends, for links to its checks"),
    CONF_END,
};

/* Where a check's own words stand: beside those of the template, or alone. */
static const char *const form_json[] = {"check", NULL};

static bool is_up(struct slice status)
{
    return slice_is(status, "up");
}

/* Healthchecks tries three times at once and then gives up: nothing well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    static const char *const paths[] = {"code", "check.update_url", "update_url", "slug", NULL};
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice key = {0}, status = json_text(json_at(h->body, "status"), a);
    for (const char *const *path = paths; *path && key.len == 0; path++)
        key = json_text(json_at(h->body, *path), a);
    if (status.len == 0)
        status = json_text(json_at(h->body, "check.status"), a);
    *ret = (struct filing){.partition_key = key.len > 0 ? key : (struct slice){0},
                           .alerts = 1,
                           .resolved = is_up(status),
                           .status = 200,
                           .default_reply = true};
    return 0;
}

/* The template's word, else the check's own. */
static struct slice say(struct decoder *d, const json_t *body, const char *key)
{
    struct slice s = decode_str(d, body, key);
    return s.len > 0 ? s : decode_str(d, json_object_get(body, "check"), key);
}

/* The last part of .../api/v3/checks/CODE, or of the address that is pinged. */
static struct slice code_of(struct decoder *d, const json_t *body)
{
    static const char *const urls[] = {"update_url", "ping_url", NULL};
    struct slice code = decode_str(d, body, "code");
    if (code.len > 0)
        return code;
    const json_t *check = json_object_get(body, "check");
    struct slice url = decode_first(d, check ? check : body, urls);
    if (url.len == 0)
        return say(d, body, "unique_key");
    const char *slash = memrchr(url.p, '/', url.len);
    if (!slash)
        return url;
    return (struct slice){slash + 1, url.len - (size_t)(slash + 1 - url.p)};
}

static enum severity severity_of(struct decoder *d, const json_t *body, const struct pairs *tags)
{
    enum severity s = severity_parse(pairs_get(tags, "severity"), SEVERITY_ERROR);
    return severity_parse(decode_str(d, body, "severity"), s);
}

static struct labels labels_of(struct decoder *d, const struct record *r, const json_t *body,
                               struct slice name, struct slice code, struct pairs *l)
{
    struct slice service = decode_str(d, body, "service");
    if (service.len == 0)
        service = pairs_get(l, "service");
    if (service.len == 0)
        service = say(d, body, "slug");
    pairs_add(l, "alertname", name);
    pairs_add(l, "service", service);
    pairs_add(l, "source", r->source);
    pairs_add(l, "environment", pairs_get(l, "env"));
    pairs_add(l, "healthchecks_check", code);
    return decode_pairs(d, l, d->lim->label_value);
}

static struct labels annotations_of(struct decoder *d, const json_t *body)
{
    struct pairs notes = {0};
    pairs_add(&notes, "tags", say(d, body, "tags"));
    pairs_add(&notes, "exit_status", decode_str(d, body, "exitstatus"));
    pairs_add(&notes, "last_ping", say(d, body, "last_ping"));
    pairs_add(&notes, "pings", say(d, body, "n_pings"));
    return decode_pairs(d, &notes, d->lim->annotation_value);
}

static void describe(struct decoder *d, const struct healthchecks_cfg *c, const struct record *r,
                     const json_t *body, struct slice code, bool up, struct alert_event *ev)
{
    static const char *const texts[] = {"body", "desc", NULL};
    struct pairs l = {0};
    struct slice name = decode_line(say(d, body, "name"));
    bool test = slice_is(name, "TEST"); /* of the button: of a check that is nowhere */
    if (name.len == 0) {
        const struct slice id = decode_id(d, code);
        name = decode_format(d, "check %.*s", SLICE_FMT(id));
    }
    decode_tags(d, say(d, body, "tags"), " ", &l);
    ev->severity = severity_of(d, body, &l);
    ev->severity_again = ev->severity;
    ev->fingerprint = decode_identity(d, r, "healthchecks_check", code);
    ev->labels = labels_of(d, r, body, name, code, &l);
    ev->annotations = annotations_of(d, body);
    ev->title = decode_format(d, "%.*s is down", SLICE_FMT(name));
    ev->description = decode_first(d, body, texts);
    if (ev->description.len == 0)
        ev->description = say(d, body, "desc");
    ev->link = decode_page(d, c->base_url, "/checks/", code, "/details/");
    ev->kind = up ? REPORT_RESOLVED : REPORT_FIRING;
    *(up ? &ev->ends_at : &ev->starts_at) = source_time(body, "now");
    ev->ends_announced = !test;
    if (test && !up)
        ev->ends_at = r->received_at + TEST_LASTS;
}

static int decode_report(struct decoder *d, const json_t *body, struct alert_event *ev,
                         struct err *e)
{
    struct slice status = say(d, body, "status"), code = code_of(d, body);
    if (code.len == 0)
        return err_set(e, -EBADMSG,
                       "healthchecks: no `code`: is the body that of docs/sources.md?");
    if (!is_up(status) && !slice_is(status, "down"))
        return err_set(e, -EBADMSG, "healthchecks: status is up or down, and not \"%.*s\"",
                       (int)(status.len < 40 ? status.len : 40), status.p);
    describe(d, (const void *)d->common, d->r, body, code, is_up(status), ev);
    ev->truncated = d->truncated;
    return 0;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct decoder d;
    json_t *body = decode_body(cfg, r, lim, a, &d, e);
    if (!body)
        return e->code;
    struct alert_event *ev = arena_new_of(a, struct alert_event);
    if (!ev)
        return err_set(e, -ENOMEM, "healthchecks: out of memory");
    int rc = decode_report(&d, body, ev, e);
    const struct alert_list list = {.v = ev, .n = 1};
    return decode_end(&d, rc, &list, ret, e);
}

const struct source source_healthchecks = {
    .name = "healthchecks",
    .summary = "Healthchecks webhook: JSON, form or GET",
    .title = "Healthchecks",
    .cfg_size = sizeof(struct healthchecks_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .takes_forms = true,
    .takes_gets = true,
    .form_json = form_json,
    .accept = accept,
    .decode = decode,
};
