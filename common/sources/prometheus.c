/*
 * Prometheus, which posts to Alertmanager's API: POST /api/v2/alerts. The answers are
 * Alertmanager's: 400 for what does not parse, 422 with a code for what breaks the schema, 400 for
 * alerts that make no sense while the good ones of the same post are taken.
 */
#include <errno.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/source_decode.h"

struct prometheus_cfg {
    struct source_common common;
    int64_t resolve_timeout;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct prometheus_cfg, resolve_timeout, CONF_DURATION, "5m", 0,
         "an alert without endsAt is over this long after its last report"),
    CONF_END,
};

static const struct source_route routes[] = {{"POST", "/api/v2/alerts", 0}, {0}};

/* go-openapi's codes of the two schema errors that this body can have. */
enum { CODE_INVALID_TYPE = 601, CODE_REQUIRED = 602 };

static bool refuse(unsigned status, const char *why, struct arena *a, struct filing *ret)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    buf_printf(&b, "{\"code\":%u,\"message\":", status);
    buf_json(&b, slice_of(why));
    buf_putc(&b, '}');
    ret->reply = arena_slice(a, (struct slice){b.p, b.len});
    ret->content_type = SLICE_LIT("application/json");
    return !b.failed && ret->reply.p;
}

/* What the door needs to know of one alert. */
struct posted {
    struct slice raw, labels, url;
    int64_t starts_at, ends_at;
};

static bool is_string(struct slice raw)
{
    return raw.len >= 2 && raw.p[0] == '"';
}

static bool is_absent(struct slice raw)
{
    return raw.len == 0 || slice_is(raw, "null");
}

/* An object of strings, or nothing. */
static bool is_label_map(struct slice raw)
{
    size_t pos = 0;
    struct slice key, value;
    if (is_absent(raw))
        return true;
    if (raw.p[0] != '{')
        return false;
    while (json_next_member(raw, &pos, &key, &value))
        if (!is_string(value))
            return false;
    return true;
}

static bool read_time(struct slice raw, struct arena *a, int64_t *ret)
{
    *ret = 0;
    if (is_absent(raw) || slice_is(raw, "\"\""))
        return true;
    return is_string(raw) && rfc3339_parse(json_text(raw, a), ret);
}

/* What Go's decoder refuses: 400 for the whole post. */
static int parse(struct slice raw, size_t i, struct arena *a, struct posted *ret, struct err *e)
{
    static const char *const names[] = {"labels", "annotations", "startsAt", "endsAt",
                                        "generatorURL"};
    enum { LABELS, ANNOTATIONS, STARTS_AT, ENDS_AT, URL };
    struct slice v[5];

    if (raw.p[0] != '{')
        return err_set(e, -EBADMSG, "parsing alerts body: element %zu is not an object", i);
    json_members(raw, names, v, sizeof(v) / sizeof(*v));
    *ret = (struct posted){.raw = raw, .labels = v[LABELS], .url = v[URL]};
    if (!is_label_map(ret->labels))
        return err_set(e, -EBADMSG, "parsing alerts body: %zu.labels is not a map of strings", i);
    if (!is_label_map(v[ANNOTATIONS]))
        return err_set(e, -EBADMSG, "parsing alerts body: %zu.annotations is not a map of strings",
                       i);
    if (!read_time(v[STARTS_AT], a, &ret->starts_at) || !read_time(v[ENDS_AT], a, &ret->ends_at))
        return err_set(e, -EBADMSG, "parsing alerts body: %zu has a time that is not RFC 3339", i);
    if (!is_absent(ret->url) && !is_string(ret->url))
        return err_set(e, -EBADMSG, "parsing alerts body: %zu.generatorURL is not a string", i);
    return 0;
}

/* An absolute URI or an absolute path, as Go's ParseRequestURI asks for. */
static bool is_request_uri(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    if (s.len == 0 || s.p[0] == '/')
        return true;
    const char *colon = memchr(s.p, ':', s.len);
    return colon && colon != s.p && (s.p[0] | 0x20) >= 'a' && (s.p[0] | 0x20) <= 'z';
}

/* What the schema refuses: 422 for the whole post. 0, or the code with the message in `e`. */
static unsigned schema(const struct posted *p, size_t i, struct arena *a, struct err *e)
{
    if (is_absent(p->labels)) {
        (void)err_set(e, -EBADMSG, "%zu.labels in body is required", i);
        return CODE_REQUIRED;
    }
    if (!is_absent(p->url) && !is_request_uri(json_text(p->url, a))) {
        (void)err_set(e, -EBADMSG, "%zu.generatorURL in body must be of type uri", i);
        return CODE_INVALID_TYPE;
    }
    return 0;
}

/* What Alertmanager calls invalid: left out, the others are taken. NULL: good. */
static const char *complaint(const struct prometheus_cfg *c, const struct posted *p, int64_t now_ms,
                             struct arena *a, struct labels *ret)
{
    if (labels_from_json(a, p->labels, ret, NULL) < 0)
        return "labels too large";
    if (ret->n == 0)
        return "at least one label pair required";
    if (ret->v[0].name.len == 0)
        return "invalid label set: a label name is empty";
    int64_t starts = p->starts_at ? p->starts_at : p->ends_at ? p->ends_at : now_ms;
    int64_t ends = p->ends_at ? p->ends_at : now_ms + c->resolve_timeout;
    return ends < starts ? "start time must be before end time" : NULL;
}

static int parse_all(struct slice body, struct arena *a, struct posted **ret, size_t *ret_n,
                     struct err *e)
{
    struct slice array = json_at(body, ""), raw;
    if (array.len == 0 || array.p[0] != '[')
        return err_set(e, -EBADMSG, "parsing alerts body: expected an array");
    size_t n = json_count(array, ""), pos = 0;
    struct posted *v = arena_array(a, n + 1, struct posted);
    if (!v)
        return err_set(e, -E2BIG, "too many alerts");
    for (size_t i = 0; i < n && json_next(array, &pos, &raw); i++) {
        int rc = parse(raw, i, a, &v[i], e);
        if (rc < 0)
            return rc;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

/* The good alerts as an array of their own. */
static struct slice good_body(const struct posted *v, const bool *good, size_t n, struct arena *a)
{
    size_t len = 2;
    for (size_t i = 0; i < n; i++)
        len += good[i] ? v[i].raw.len + 1 : 0;
    char *out = arena_alloc(a, len + 1, 1);
    if (!out)
        return (struct slice){0};
    size_t at = 0;
    out[at++] = '[';
    for (size_t i = 0; i < n; i++) {
        if (!good[i])
            continue;
        if (at > 1)
            out[at++] = ',';
        memcpy(out + at, v[i].raw.p, v[i].raw.len);
        at += v[i].raw.len;
    }
    out[at++] = ']';
    return (struct slice){out, at};
}

/* Go's JSON answer of a string is the string, quoted. */
static struct slice quoted(const char *text, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    buf_json(&b, slice_of(text));
    return arena_slice(a, (struct slice){b.p, b.len});
}

static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)lim;
    const struct prometheus_cfg *c = cfg;
    struct posted *v = NULL;
    size_t n = 0;
    *ret = (struct filing){.status = 200};
    int rc = parse_all(h->body, a, &v, &n, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        unsigned code = schema(&v[i], i, a, e);
        if (code == 0)
            continue;
        (void)refuse(code, e->msg, a, ret);
        ret->status = 422;
        return -EBADMSG;
    }
    bool *good = arena_array(a, n + 1, bool);
    if (!good)
        return err_set(e, -E2BIG, "too many alerts");
    const char *why = NULL;
    struct labels labels = {0};
    for (size_t i = 0; i < n; i++) {
        const char *bad = complaint(c, &v[i], now_ms, a, &labels);
        good[i] = !bad;
        why = bad ? bad : why;
        ret->alerts += !bad;
        ret->resolved += !bad && v[i].ends_at > 0 && v[i].ends_at <= now_ms;
    }
    ret->invalid = n - ret->alerts;
    if (n == 1 && !why) /* a post of many has no key */
        ret->partition_key = file_anomaly(&c->common, labels, a);
    if (!why)
        return 0;
    ret->status = 400;
    ret->reply = quoted(why, a);
    if (ret->alerts == 0)
        return err_set(e, -EBADMSG, "%s", why);
    ret->body = good_body(v, good, n, a);
    return ret->body.p ? 0 : err_set(e, -E2BIG, "too many alerts");
}

/* endsAt in the future is a promise to say more before; none is a promise of resolve_timeout; past:
 * resolved. */
static void decode_one(struct decoder *d, const json_t *body, const json_t *alert,
                       struct alert_event *ret)
{
    (void)body;
    const struct prometheus_cfg *c = (const void *)d->common;
    decode_alert(d, alert, (struct slice){0}, ret);
    bool over = ret->ends_at > 0 && ret->ends_at <= d->received_at;
    ret->kind = over ? REPORT_RESOLVED : REPORT_FIRING;
    if (ret->ends_at == 0)
        ret->ends_at = d->received_at + c->resolve_timeout;
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct decoder d;
    json_t *body = decode_body(cfg, r, lim, a, &d, e);
    if (!body)
        return e->code;
    if (!json_is_array(body))
        return err_set(e, -EBADMSG, "prometheus: expected an array");
    struct alert_list list = {0};
    int rc = decode_each(&d, body, body, decode_one, &list, e);
    return decode_end(&d, rc, &list, ret, e);
}

const struct source source_prometheus = {
    .name = "prometheus",
    .summary = "Prometheus and other clients of Alertmanager's POST /api/v2/alerts",
    .title = "Prometheus",
    .cfg_size = sizeof(struct prometheus_cfg),
    .keys = keys,
    .stateful = true,
    .routes = routes,
    .accept = accept,
    .refuse = refuse,
    .decode = decode,
};
