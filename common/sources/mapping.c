/*
 * Any other JSON body, by what its entry under `sources:` says of it: picks (pick.h) for each field
 * of an alert, and the array to loop over.
 *
 *   each: /alerts
 *   alert: {id, event_id, status, starts_at, ends_at, severity, title, description, link,
 *           labels: {...}, labels_from: /object, annotations: {...}, annotations_from: /object}
 *
 * What makes an alert (its name, status and ids, as far as they are configured) must be found, or
 * the record is dead with the reason; what only describes it may be missing.
 */
#include <errno.h>

#include "common/digest.h"
#include "common/pick.h"

#define SIGNATURES_MAX 8
#define NAMED_MAX (PAIRS_MAX - PAIRS_OWN)

struct named {
    const char *name;
    const struct pick *pick;
};
/* Labels or annotations: those of an object of the body, and over them our own. */
struct named_set {
    const struct pick_pointer *from; /* may be NULL */
    const struct named *v;
    size_t n;
};

struct mapping_cfg {
    struct source_common common;
    const char *hmac_secret, *hmac_header, *hmac_prefix;
    const char *entry; /* its name */
    const struct pick_pointer *each;
    const struct pick *id, *event_id, *status, *starts_at, *ends_at;
    const struct pick *severity, *title, *description, *link;
    struct named_set labels, annotations;
    bool tells_ends;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct mapping_cfg, hmac_secret, CONF_STR, NULL, CONF_SECRET,
         "require an HMAC-SHA256 of the body with this secret"),
    CONF(struct mapping_cfg, hmac_header, CONF_STR, "X-Hub-Signature-256", 0,
         "header of that, in hex; several may stand there, with commas between"),
    CONF(struct mapping_cfg, hmac_prefix, CONF_STR, "sha256=", 0, "what may stand before each"),
    CONF_END,
};
static const char *const trees[] = {"each", "alert", NULL};

/* ---- the configuration ---- */

static bool is_status(struct slice s)
{
    return slice_is(s, "firing") || slice_is(s, "resolved") || slice_is(s, "ignore");
}

static bool is_severity(struct slice s)
{
    return severity_parse(s, SEVERITY_INFO) == severity_parse(s, SEVERITY_CRITICAL);
}

static const struct {
    const char *name;
    size_t offset;
    bool (*known)(struct slice word);
    const char *expected;
} fields[] = {
#define FIELD(name, known, expected)                                                               \
    {                                                                                              \
#name, offsetof(struct mapping_cfg, name), (known), (expected)                             \
    }
    FIELD(id, NULL, NULL),
    FIELD(event_id, NULL, NULL),
    FIELD(status, is_status, "firing, resolved or ignore"),
    FIELD(starts_at, NULL, NULL),
    FIELD(ends_at, NULL, NULL),
    FIELD(severity, is_severity, "critical, error, warning or info"),
    FIELD(title, NULL, NULL),
    FIELD(description, NULL, NULL),
    FIELD(link, NULL, NULL),
#undef FIELD
};

static int out_of_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "the configuration is too large");
}

static int load_fields(struct conf *c, const struct yaml *alert, struct mapping_cfg *cfg,
                       struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && rc == 0; i++) {
        const struct yaml *node = yaml_get(alert, fields[i].name);
        const struct pick *pick = NULL;
        if (!node)
            continue;
        rc = pick_load(c, node, &pick, e);
        if (rc == 0 && fields[i].known)
            rc = pick_words(pick, fields[i].known, fields[i].expected, e);
        *(const struct pick **)(void *)((char *)cfg + fields[i].offset) = pick;
    }
    return rc;
}

static int load_pointer(struct conf *c, const struct yaml *node, const struct pick_pointer **ret,
                        struct err *e)
{
    if (!node)
        return 0;
    struct pick_pointer *p = conf_alloc(c, 1, sizeof(*p));
    *ret = p;
    return p ? pick_pointer_load(c, node, p, e) : out_of_memory(e);
}

static int load_set(struct settings *s, const struct yaml *node, uint32_t max,
                    struct named_set *ret, struct err *e)
{
    const size_t n = yaml_count(node);
    if (node && yaml_kind(node) != YAML_MAP)
        return yaml_err(node, e, "a map of names to pointers or texts is expected");
    if (n > NAMED_MAX || n > max)
        return yaml_err(node, e, "at most %u names", NAMED_MAX < max ? NAMED_MAX : max);
    struct named *v = conf_alloc(s->conf, n + 1, sizeof(*v));
    if (!v)
        return out_of_memory(e);
    for (size_t i = 0; i < n; i++) {
        v[i].name = yaml_key(node, i);
        if (!*v[i].name || strlen(v[i].name) > s->limits.label_name)
            return yaml_err(yaml_at(node, i), e, "a name has 1 to %u bytes", s->limits.label_name);
        int rc = pick_load(s->conf, yaml_at(node, i), &v[i].pick, e);
        if (rc < 0)
            return rc;
    }
    ret->v = v;
    ret->n = n;
    return 0;
}

static int load_alert(struct settings *s, const struct yaml *alert, struct mapping_cfg *c,
                      struct err *e)
{
    static const char *const known[] = {"id",
                                        "event_id",
                                        "status",
                                        "starts_at",
                                        "ends_at",
                                        "severity",
                                        "title",
                                        "link",
                                        "labels",
                                        "labels_from",
                                        "annotations",
                                        "description",
                                        "annotations_from",
                                        NULL};
    const struct yaml *labels = yaml_get(alert, "labels");
    int rc = yaml_only(alert, known, e);
    if (rc == 0)
        rc = load_fields(s->conf, alert, c, e);
    if (rc == 0)
        rc = load_set(s, labels, s->limits.labels, &c->labels, e);
    if (rc == 0)
        rc = load_set(s, yaml_get(alert, "annotations"), s->limits.annotations, &c->annotations, e);
    if (rc == 0)
        rc = load_pointer(s->conf, yaml_get(alert, "labels_from"), &c->labels.from, e);
    if (rc == 0)
        rc = load_pointer(s->conf, yaml_get(alert, "annotations_from"), &c->annotations.from, e);
    if (rc == 0 && !c->labels.from && !yaml_get(labels, "alertname"))
        rc = yaml_err(labels ? labels : alert, e, "an alert needs labels: {alertname: ...}");
    return rc;
}

static int load(struct settings *s, const char *name, const struct yaml *node, void *cfg,
                struct err *e)
{
    struct mapping_cfg *c = cfg;
    const struct yaml *alert = yaml_get(node, "alert");
    if (yaml_kind(alert) != YAML_MAP)
        return yaml_err(alert ? alert : node, e,
                        "a source of type mapping says what an alert is: "
                        "alert: {labels: {alertname: ...}}");
    int rc = load_pointer(s->conf, yaml_get(node, "each"), &c->each, e);
    if (rc == 0)
        rc = load_alert(s, alert, c, e);
    if (rc < 0)
        return rc;
    c->entry = conf_strdup(s->conf, name);
    c->tells_ends = (c->status && !pick_is_constant(c->status)) || (!c->status && c->ends_at);
    return c->entry ? 0 : out_of_memory(e);
}

/* ---- who sends ---- */

static bool is_signature(const struct mapping_cfg *c, struct slice given, struct slice body)
{
    const size_t prefix = strlen(c->hmac_prefix);
    char hex[2 * SHA256_LEN + 1] = "";
    if (given.len >= prefix && memcmp(given.p, c->hmac_prefix, prefix) == 0)
        given = (struct slice){given.p + prefix, given.len - prefix};
    if (given.len != sizeof(hex) - 1)
        return false;
    memcpy(hex, given.p, given.len);
    return source_hmac_hex_eq(hex, c->hmac_secret, &body, 1);
}

/* A sender whose secret is being changed signs with the old one and the new one. */
static enum auth verify(const void *cfg, const struct hook *h, int64_t now_ms)
{
    const struct mapping_cfg *c = cfg;
    (void)now_ms;
    if (!c->hmac_secret || !*c->hmac_secret)
        return source_verify_common(&c->common, h);
    const char *given = h->header(h, c->hmac_header);
    if (!given)
        return AUTH_MISSING;
    for (int i = 0; i < SIGNATURES_MAX && *given; i++) {
        given += strspn(given, ", ");
        const size_t len = strcspn(given, ", ");
        if (is_signature(c, (struct slice){given, len}, h->body))
            return AUTH_OK;
        given += len;
    }
    return AUTH_BAD;
}

/* ---- one alert ---- */

struct at_work {
    struct decoder d;
    const struct mapping_cfg *c;
    struct pick_scope at;
    struct err *e;
};

static struct slice pick(struct at_work *w, const struct pick *p)
{
    return p ? pick_text(&w->d, p, &w->at) : (struct slice){"", 0};
}

/* What must be there, and is not. */
static int missing(struct at_work *w, const char *field, const struct pick *p)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(sizeof(w->e->msg));
    if (p)
        pick_explain(p, &w->at, &b);
    else if (w->c->labels.from) {
        buf_printf(&b, "%s has none in ", w->c->labels.from->text);
        pick_place(&w->at, w->c->labels.from->of_element, &b);
    }
    if (b.len == 0)
        buf_puts(&b, "it is empty");
    return err_set(w->e, -EBADMSG, "mapping: %s: %s", field, buf_str(&b));
}

static int64_t number_ms(struct slice s)
{
    int64_t n = 0, thousandths = 0, unit = 100;
    size_t i = 0;
    for (; i < s.len && i < 18 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        n = n * 10 + (s.p[i] - '0');
    if (i == 0 || (i < s.len && s.p[i] != '.'))
        return 0;
    for (i++; i < s.len; i++, unit /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        thousandths += unit * (s.p[i] - '0');
    }
    if (n < INT64_C(100000000000)) /* seconds until the year 5138; milliseconds since 1973 */
        return n * 1000 + thousandths;
    return n < INT64_C(100000000000000) ? n : 0;
}

/* RFC 3339, or seconds or milliseconds since 1970; 0: none. */
static int64_t pick_time(struct at_work *w, const struct pick *p)
{
    const struct slice s = pick(w, p);
    int64_t ms = 0;
    return rfc3339_parse(s, &ms) ? ms : number_ms(s);
}

static struct labels of_object(struct at_work *w, const struct named_set *set, size_t own,
                               bool are_labels)
{
    struct labels ret = {0};
    struct limits_settings left = *w->d.lim;
    if (!set->from)
        return ret;
    const json_t *object = pick_pointer_get(set->from, &w->at);
    left.labels = left.labels > own ? left.labels - (uint32_t)own : 0;
    int rc = are_labels ? source_labels(object, &left, w->d.a, &ret, &w->d.truncated)
                        : source_annotations(object, &left, w->d.a, &ret, &w->d.truncated);
    w->d.failed |= rc < 0;
    return ret;
}

static struct labels set_of(struct at_work *w, const struct named_set *set, bool are_labels)
{
    const struct limits_settings *lim = w->d.lim;
    struct pairs own = {0};
    for (size_t i = 0; i < set->n; i++)
        pairs_add(&own, set->v[i].name, pick(w, set->v[i].pick));
    const struct labels under = of_object(w, set, own.n, are_labels);
    const struct labels over =
        decode_pairs(&w->d, &own, are_labels ? lim->label_value : lim->annotation_value);
    return decode_over(&w->d, under, over);
}

static const struct pick *named_pick(const struct named_set *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->v[i].name, name) == 0)
            return set->v[i].pick;
    return NULL;
}

static int pick_labels(struct at_work *w, struct labels *ret)
{
    const struct named_set *set = &w->c->labels;
    struct pairs source = {0};
    *ret = set_of(w, set, true);
    if (decode_line(labels_get(*ret, "alertname")).len == 0)
        return missing(w, "labels.alertname", named_pick(set, "alertname"));
    pairs_add(&source, "source", w->d.r->source);
    *ret = decode_merge(&w->d, *ret, &source, w->d.lim->label_value);
    return 0;
}

/* What `status` says, else whether the end has come. *ret 0: nothing to report. */
static int pick_kind(struct at_work *w, int64_t ends_at, enum report_kind *ret)
{
    const struct mapping_cfg *c = w->c;
    const enum report_kind begun = c->event_id ? REPORT_OCCURRED : REPORT_FIRING;
    const struct slice status = pick(w, c->status);
    *ret = 0;
    if (slice_is(status, "ignore"))
        return 0;
    if (slice_is(status, "resolved"))
        *ret = REPORT_RESOLVED;
    else if (slice_is(status, "firing"))
        *ret = begun;
    else if (status.len > 0)
        return err_set(w->e, -EBADMSG,
                       "mapping: status: \"%.*s\" is neither firing nor resolved nor ignore: "
                       "`values` or `default` says which",
                       (int)(status.len < 40 ? status.len : 40), status.p);
    else if (c->status)
        return missing(w, "status", c->status);
    else if (c->ends_at)
        *ret = ends_at > 0 && ends_at <= w->d.received_at ? REPORT_RESOLVED : begun;
    else
        *ret = REPORT_OCCURRED;
    return 0;
}

/* `id`, or all labels. An event has its own besides. */
static int pick_identity(struct at_work *w, struct alert_event *ev)
{
    const struct mapping_cfg *c = w->c;
    const struct slice id = pick(w, c->id), event = pick(w, c->event_id);
    if (c->id && id.len == 0)
        return missing(w, "id", c->id);
    if (c->event_id && event.len == 0 && ev->kind == REPORT_OCCURRED)
        return missing(w, "event_id", c->event_id);
    ev->fingerprint =
        c->id ? decode_identity(&w->d, w->d.r, "id", id) : labels_fingerprint(ev->labels);
    if (ev->kind == REPORT_OCCURRED && event.len > 0)
        ev->event_id = decode_id(&w->d, event);
    return 0;
}

static void describe(struct at_work *w, struct alert_event *ev)
{
    const struct mapping_cfg *c = w->c;
    ev->annotations = set_of(w, &c->annotations, false);
    ev->severity = severity_parse(pick(w, c->severity), SEVERITY_WARNING);
    ev->severity_again = ev->severity;
    ev->title = decode_line(pick(w, c->title));
    if (ev->title.len == 0)
        ev->title = decode_line(labels_get(ev->annotations, "summary"));
    if (ev->title.len == 0)
        ev->title = decode_line(labels_get(ev->labels, "alertname"));
    ev->description = pick(w, c->description);
    if (ev->description.len == 0 && labels_get(ev->annotations, "description").len > 0)
        ev->description = labels_get(ev->annotations, "description");
    ev->link = pick(w, c->link);
}

/* ret->kind 0: ignored. */
static int decode_alert_at(struct at_work *w, struct alert_event *ret)
{
    const struct mapping_cfg *c = w->c;
    struct alert_event ev = {.starts_at = pick_time(w, c->starts_at),
                             .ends_at = pick_time(w, c->ends_at)};
    w->d.truncated = false;
    *ret = ev;
    int rc = pick_kind(w, ev.ends_at, &ev.kind);
    if (rc < 0 || !ev.kind)
        return rc;
    if (ev.kind != REPORT_RESOLVED && ev.ends_at <= w->d.received_at)
        ev.ends_at = 0; /* it fires: what is past promises nothing */
    ev.ends_announced = c->tells_ends && c->common.resolve_after == 0;
    rc = pick_labels(w, &ev.labels);
    if (rc == 0)
        rc = pick_identity(w, &ev);
    if (rc < 0)
        return rc;
    describe(w, &ev);
    ev.truncated = w->d.truncated;
    *ret = ev;
    return 0;
}

/* ---- the body ---- */

static int decode_loop(struct at_work *w, const json_t *array, struct alert_list *ret)
{
    const size_t n = w->c->each ? json_array_size(array) : 1;
    struct alert_event *v = arena_array(w->d.a, n + 1, struct alert_event);
    size_t kept = 0;
    if (!v)
        return err_set(w->e, -ENOMEM, "mapping: %zu alerts are too many", n);
    for (w->at.index = 0; w->at.index < n; w->at.index++) {
        w->at.element = w->c->each ? json_array_get(array, w->at.index) : w->at.body;
        int rc = decode_alert_at(w, &v[kept]);
        if (rc < 0)
            return rc;
        kept += v[kept].kind != 0;
    }
    *ret = (struct alert_list){.v = v, .n = kept};
    return 0;
}

/* Both the door's count and the core call this, so that they agree on every alert. */
static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct at_work w = {.c = cfg, .e = e};
    const struct pick_pointer *each = w.c->each;
    w.at.body = w.at.element = decode_body(cfg, r, lim, a, &w.d, e);
    if (!w.at.body)
        return e->code;
    const json_t *array = each ? pick_pointer_get(each, &w.at) : NULL;
    if (each && !json_is_array(array))
        return err_set(e, -EBADMSG, "mapping: each: %s finds %s in the body, and no array",
                       each->text, array ? "something else" : "nothing");
    w.at.each = each ? each->text : NULL;
    struct alert_list list = {0};
    int rc = decode_loop(&w, array, &list);
    return decode_end(&w.d, rc, &list, ret, e);
}

/* One alert alone goes by its id, since what it is called may change until it ends; without one, by
 * its anomaly. */
static struct slice partition_key(const struct mapping_cfg *c, const struct alert_list *list,
                                  struct arena *a)
{
    char hex[FINGERPRINT_STR];
    if (list->n != 1)
        return (struct slice){0};
    if (c->id)
        return arena_slice(a, slice_of(fingerprint_format(list->v[0].fingerprint, hex)));
    return file_anomaly(&c->common, list->v[0].labels, a);
}

/* Nothing well-formed is refused: what cannot be mapped can be looked at, and written again once
 * the mapping is mended. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    const struct mapping_cfg *c = cfg;
    const struct record as_stored = {
        .body = h->body, .received_at = now_ms, .source = slice_of(c->entry)};
    struct alert_list list = {0};
    struct err why = {0};
    if (decode(cfg, &as_stored, lim, a, &list, &why) == -ENOMEM)
        return err_set(e, -E2BIG, "the body needs more memory than one may");
    *ret = (struct filing){.alerts = list.n, .status = 200, .default_reply = true};
    for (size_t i = 0; i < list.n; i++)
        ret->resolved += list.v[i].kind == REPORT_RESOLVED;
    ret->partition_key = partition_key(c, &list, a);
    return 0;
}

const struct source source_mapping = {
    .name = "mapping",
    .summary = "any JSON, by pointers of the configuration",
    .cfg_size = sizeof(struct mapping_cfg),
    .keys = keys,
    .trees = trees,
    .load = load,
    .stateful = true,
    .own_identity = true,
    .verify = verify,
    .accept = accept,
    .decode = decode,
};
