/*
 * Our own form, for whoever has none: POST /api/v1/alerts, one object or an array of
 *
 *   {title, source, severity, description, tags[], metadata{}, labels{}, annotations{}, status,
 * starts_at, ends_at, id, link}
 *
 * With an id (or dedup_key) or with labels an alert has an identity and a state. Without, each post
 * is one occurrence of the problem that its title, source and place name.
 */
#include <errno.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/source_decode.h"

struct generic_cfg {
    struct source_common common;
};

static const struct conf_key keys[] = {SOURCE_COMMON_KEYS, CONF_END};

static const struct source_route routes[] = {{"POST", "/api/v1/alerts", 0}, {0}};

static const char *const id_keys[] = {"id", "dedup_key", NULL};
static const char *const link_keys[] = {"link", "url", NULL};
/* Fields of the post, and of its metadata, that are labels of their own. */
static const char *const place_keys[] = {"service",  "job",    "namespace",  "environment",
                                         "instance", "reason", "error_type", NULL};

/* ---- what a post must have ---- */

static int check_time(const json_t *post, const char *key, size_t i, struct err *e)
{
    const json_t *v = json_object_get(post, key);
    int64_t ms = 0;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v) ||
        !rfc3339_parse((struct slice){json_string_value(v), json_string_length(v)}, &ms))
        return err_set(e, -EBADMSG, "alert %zu: %s is not an RFC 3339 time", i, key);
    return 0;
}

static int check_map(const json_t *post, const char *key, size_t i, struct err *e)
{
    const json_t *v = json_object_get(post, key);
    if (v && !json_is_null(v) && !json_is_object(v))
        return err_set(e, -EBADMSG, "alert %zu: %s is not an object", i, key);
    return 0;
}

static int check_post(struct decoder *d, const json_t *post, size_t i, struct err *e)
{
    if (!json_is_object(post))
        return err_set(e, -EBADMSG, "alert %zu: expected an object", i);
    if (decode_line(decode_str(d, post, "title")).len == 0)
        return err_set(e, -EBADMSG, "alert %zu: title is missing", i);
    struct slice status = decode_str(d, post, "status");
    if (status.len > 0 && !slice_is(status, "firing") && !slice_is(status, "resolved"))
        return err_set(e, -EBADMSG, "alert %zu: status is firing or resolved", i);
    const json_t *tags = json_object_get(post, "tags");
    if (tags && !json_is_null(tags) && !json_is_array(tags))
        return err_set(e, -EBADMSG, "alert %zu: tags is not an array", i);
    int rc = check_map(post, "labels", i, e);
    if (rc == 0)
        rc = check_map(post, "annotations", i, e);
    if (rc == 0)
        rc = check_map(post, "metadata", i, e);
    if (rc == 0)
        rc = check_time(post, "starts_at", i, e);
    if (rc == 0)
        rc = check_time(post, "ends_at", i, e);
    return rc;
}

/* ---- what it says ---- */

static struct slice tags_text(struct decoder *d, const json_t *post)
{
    const json_t *tags = json_object_get(post, "tags");
    CLEANUP(buf_release) struct buf b = BUF_INIT(d->lim->label_value * (size_t)4);
    for (size_t i = 0; i < json_array_size(tags) && !b.failed; i++) {
        const json_t *tag = json_array_get(tags, i);
        if (json_string_length(tag) == 0)
            continue;
        if (b.len > 0)
            buf_putc(&b, ',');
        buf_add(&b, json_string_value(tag), json_string_length(tag));
    }
    d->truncated |= b.failed;
    if (b.len == 0)
        return (struct slice){"", 0};
    struct slice text = arena_slice(d->a, (struct slice){b.p, b.len});
    d->failed |= !text.p;
    return text;
}

/* What the post says of itself beside its labels. `identity`: only what may tell one problem from
 * another. */
static void own_labels(struct decoder *d, const json_t *post, bool identity, struct pairs *p)
{
    const json_t *metadata = json_object_get(post, "metadata");
    pairs_add(p, "alertname", decode_line(decode_str(d, post, "title")));
    pairs_add(p, "source", decode_str(d, post, "source"));
    for (const char *const *key = place_keys; *key; key++) {
        struct slice v = decode_str(d, post, *key);
        pairs_add(p, *key, v.len > 0 ? v : decode_str(d, metadata, *key));
    }
    if (identity)
        return;
    pairs_add(p, "severity", decode_str(d, post, "severity"));
    pairs_add(p, "tags", tags_text(d, post));
}

/* The identity: the id within its source, else the labels, else what the post says of the problem.
 * *ret_state: it is a thing with a state. */
static uint64_t identity(struct decoder *d, const json_t *post, struct labels given,
                         bool *ret_state)
{
    struct pairs p = {0};
    struct slice id = decode_first(d, post, id_keys);
    *ret_state = id.len > 0 || given.n > 0;
    if (id.len > 0) {
        pairs_add(&p, "source", decode_str(d, post, "source"));
        pairs_add(&p, "id", id);
        return labels_fingerprint(decode_pairs(d, &p, d->lim->label_value));
    }
    if (given.n > 0)
        return labels_fingerprint(given);
    own_labels(d, post, true, &p);
    return labels_fingerprint(decode_pairs(d, &p, d->lim->label_value));
}

static enum report_kind kind_of(const struct decoder *d, const json_t *post, bool state,
                                int64_t ends_at)
{
    struct slice status = json_str(post, "status", d->a);
    if (slice_is(status, "resolved"))
        return REPORT_RESOLVED;
    if (status.len == 0 && ends_at > 0 && ends_at <= d->received_at)
        return REPORT_RESOLVED;
    return state ? REPORT_FIRING : REPORT_OCCURRED;
}

static void decode_one(struct decoder *d, const json_t *post, struct alert_event *ret)
{
    struct alert_event ev = {.starts_at = source_time(post, "starts_at"),
                             .ends_at = source_time(post, "ends_at")};
    struct labels given = {0};
    struct pairs own = {0};
    bool state = false;
    d->truncated = false;
    if (source_labels(json_object_get(post, "labels"), d->lim, d->a, &given, &d->truncated) < 0 ||
        source_annotations(json_object_get(post, "annotations"), d->lim, d->a, &ev.annotations,
                           &d->truncated) < 0)
        d->failed = true;
    own_labels(d, post, false, &own);
    ev.fingerprint = identity(d, post, given, &state);
    ev.labels = decode_merge(d, given, &own, d->lim->label_value);
    ev.kind = kind_of(d, post, state, ev.ends_at);
    ev.severity = severity_parse(labels_get(ev.labels, "severity"), SEVERITY_WARNING);
    ev.severity_again = ev.severity;
    ev.title = decode_line(decode_str(d, post, "title"));
    ev.description = decode_str(d, post, "description");
    ev.link = decode_first(d, post, link_keys);

    /* Metadata is for people: beside the annotations, which win. */
    struct labels metadata = {0};
    if (source_annotations(json_object_get(post, "metadata"), d->lim, d->a, &metadata,
                           &d->truncated) < 0)
        d->failed = true;
    ev.annotations = decode_over(d, metadata, ev.annotations);
    ev.truncated = d->truncated;
    *ret = ev;
}

static int decode_posts(struct decoder *d, const json_t *body, struct alert_list *ret,
                        struct err *e)
{
    bool many = json_is_array(body);
    size_t n = many ? json_array_size(body) : 1;
    struct alert_event *v = arena_array(d->a, n + 1, struct alert_event);
    if (!v)
        return err_set(e, -ENOMEM, "generic: %zu alerts are too many", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *post = many ? json_array_get(body, i) : body;
        int rc = check_post(d, post, i, e);
        if (rc < 0)
            return rc;
        decode_one(d, post, &v[i]);
    }
    *ret = (struct alert_list){.v = v, .n = n};
    return 0;
}

/* Both the answer and the core call this, so that they agree on every fingerprint. */
static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct decoder d;
    json_t *body = decode_body(cfg, r, lim, a, &d, e);
    if (!body)
        return e->code;
    struct alert_list list = {0};
    int rc = decode_posts(&d, body, &list, e);
    return decode_end(&d, rc, &list, ret, e);
}

/* ---- the answer ---- */

static struct slice reply_members(const struct alert_list *list, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(list->n * 24 + 128);
    char hex[FINGERPRINT_STR];
    buf_puts(&b, "\"alerts\":[");
    for (size_t i = 0; i < list->n; i++)
        buf_printf(&b, "%s\"%s\"", i > 0 ? "," : "",
                   fingerprint_format(list->v[i].fingerprint, hex));
    buf_puts(&b, "],\"status_url\":\"/api/v1/alerts");
    if (list->n == 1)
        buf_printf(&b, "/%s", fingerprint_format(list->v[0].fingerprint, hex));
    buf_puts(&b, "\"");
    return b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
}

/* One alert alone goes by its anomaly; with an id by its identity, since its title, and so its
 * anomaly, may change between firing and end. */
static struct slice partition_key(const struct generic_cfg *c, struct slice body,
                                  const struct alert_event *ev, struct arena *a)
{
    struct slice post = json_at(body, "");
    size_t pos = 0;
    if (post.len > 0 && post.p[0] == '[')
        (void)json_next(post, &pos, &post);
    if (json_at(post, "id").p || json_at(post, "dedup_key").p) {
        char hex[FINGERPRINT_STR];
        return arena_slice(a, slice_of(fingerprint_format(ev->fingerprint, hex)));
    }
    return file_anomaly(&c->common, ev->labels, a);
}

static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    const struct generic_cfg *c = cfg;
    const struct record as_stored = {.body = h->body, .received_at = now_ms};
    struct alert_list list = {0};
    int rc = decode(cfg, &as_stored, lim, a, &list, e);
    if (rc < 0)
        return rc == -ENOMEM ? err_set(e, -E2BIG, "the post needs more memory than one may") : rc;
    size_t resolved = 0;
    for (size_t i = 0; i < list.n; i++)
        resolved += list.v[i].kind == REPORT_RESOLVED;
    *ret = (struct filing){.alerts = list.n,
                           .resolved = resolved,
                           .status = 202,
                           .default_reply = true,
                           .id_name = "id",
                           .members = reply_members(&list, a)};
    if (!ret->members.p)
        return err_set(e, -E2BIG, "the post needs more memory than one may");
    if (list.n == 1)
        ret->partition_key = partition_key(c, h->body, &list.v[0], a);
    return 0;
}

const struct source source_generic = {
    .name = "generic",
    .summary = "our own POST /api/v1/alerts, for everything else",
    .cfg_size = sizeof(struct generic_cfg),
    .keys = keys,
    .own_identity = true,
    .routes = routes,
    .accept = accept,
    .decode = decode,
};
