#include "common/source_decode.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "common/json.h"

#define TITLE_MAX 256 /* bytes of labels, where they must do */

static const struct slice none = {"", 0};

struct slice decode_cut(struct decoder *d, struct slice s)
{
    if (s.len == 0)
        return none;
    s = source_cut(s, d->lim->annotation_value, d->a, &d->truncated);
    d->failed |= !s.p;
    return s.p ? s : none;
}

struct slice decode_str(struct decoder *d, const json_t *object, const char *key)
{
    struct slice s = json_str(object, key, d->a);
    if (s.len == 0 && json_is_number(json_object_get(object, key)))
        d->failed = true;
    return decode_cut(d, s);
}

struct slice decode_first(struct decoder *d, const json_t *object, const char *const *keys)
{
    for (; *keys; keys++) {
        struct slice s = decode_str(d, object, *keys);
        if (s.len > 0)
            return s;
    }
    return none;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice decode_line(struct slice s)
{
    while (s.len > 0 && is_space(s.p[0])) {
        s.p++;
        s.len--;
    }
    const char *end = s.len > 0 ? memchr(s.p, '\n', s.len) : NULL;
    if (end)
        s.len = (size_t)(end - s.p);
    while (s.len > 0 && is_space(s.p[s.len - 1]))
        s.len--;
    return s;
}

struct slice decode_bare(struct slice title)
{
    const struct slice line = decode_line(title);
    if (line.len < 9 || (memcmp(line.p, "[FIRING", 7) != 0 && memcmp(line.p, "[RESOLV", 7) != 0))
        return line;
    const char *end = memchr(line.p, ']', line.len);
    const struct slice rest =
        end ? decode_line((struct slice){end + 1, line.len - (size_t)(end + 1 - line.p)}) : line;
    return rest.len > 0 ? rest : line;
}

bool decode_is_page(struct slice url)
{
    return (url.len > 7 && strncasecmp(url.p, "http://", 7) == 0) ||
           (url.len > 8 && strncasecmp(url.p, "https://", 8) == 0);
}

#define ID_MAX 128

struct slice decode_id(struct decoder *d, struct slice id)
{
    unsigned char hash[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    bool fit = id.len <= ID_MAX;
    for (size_t i = 0; i < id.len && fit; i++)
        fit = id.p[i] > ' ' && id.p[i] < 0x7f;
    if (fit)
        return id;
    sha256(id.p, id.len, hash);
    return decode_format(d, "sha256:%s", hex_encode(hash, sizeof(hash), hex));
}

struct slice decode_key(struct decoder *d, const char *name)
{
    const struct slice raw = json_at(d->r->body, name), s = json_text(raw, d->a);
    d->failed |= !s.p && raw.len > 0 && raw.p[0] == '"';
    return s.p ? s : none;
}

int64_t decode_count(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (json_is_integer(v))
        return json_integer_value(v) > 0 ? json_integer_value(v) : 0;
    const char *text = json_string_value(v);
    if (!text || *text < '0' || *text > '9')
        return 0;
    char *end = NULL;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' ? n : 0;
}

struct slice decode_format(struct decoder *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *s = arena_vprintf(d->a, fmt, ap);
    va_end(ap);
    d->failed |= !s;
    return s ? slice_of(s) : none;
}

void pairs_add(struct pairs *p, const char *name, struct slice value)
{
    if (value.len > 0 && p->n < PAIRS_MAX)
        p->v[p->n++] = (struct label){slice_of(name), value};
}

struct slice pairs_get(const struct pairs *p, const char *name)
{
    for (size_t i = p->n; i-- > 0;)
        if (slice_is(p->v[i].name, name))
            return p->v[i].value;
    return (struct slice){0};
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_space(s.p[0])) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.p[s.len - 1]))
        s.len--;
    return s;
}

static void add_tag(struct decoder *d, struct slice tag, struct pairs *p)
{
    size_t n = 0;
    while (n < tag.len && tag.p[n] != ':' && tag.p[n] != '=')
        n++;
    if (n == tag.len)
        return;
    struct slice name = trim((struct slice){tag.p, n});
    const struct slice value = trim((struct slice){tag.p + n + 1, tag.len - n - 1});
    if (name.len == 0 || value.len == 0)
        return;
    if (p->n >= PAIRS_MAX - PAIRS_OWN || p->n >= d->lim->labels) {
        d->truncated = true;
        return;
    }
    name = source_cut(name, d->lim->label_name, d->a, &d->truncated);
    d->failed |= !name.p;
    if (name.p)
        p->v[p->n++] = (struct label){name, value};
}

void decode_tags(struct decoder *d, struct slice tags, const char *separators, struct pairs *p)
{
    size_t from = 0;
    if (tags.len == 0)
        return;
    for (size_t i = 0; i <= tags.len; i++) {
        if (i < tags.len && (!tags.p[i] || !strchr(separators, tags.p[i])))
            continue;
        add_tag(d, (struct slice){tags.p + from, i - from}, p);
        from = i + 1;
    }
}

uint64_t decode_identity(struct decoder *d, const struct record *r, const char *name,
                         struct slice id)
{
    struct pairs p = {0};
    pairs_add(&p, "source", r->source);
    pairs_add(&p, name, id);
    return labels_fingerprint(decode_pairs(d, &p, d->lim->label_value));
}

struct slice decode_page(struct decoder *d, const char *base, const char *path, struct slice id,
                         const char *tail)
{
    size_t n = base ? strlen(base) : 0;
    while (n > 0 && base[n - 1] == '/')
        n--;
    for (size_t i = 0; i < id.len; i++)
        if (id.p[i] <= ' ' || id.p[i] >= 0x7f || strchr("/?#%", id.p[i]))
            return none;
    if (n == 0 || id.len == 0 ||
        n + strlen(path) + id.len + strlen(tail) > d->lim->annotation_value)
        return none;
    return decode_format(d, "%.*s%s%.*s%s", (int)n, base, path, SLICE_FMT(id), tail);
}

struct labels decode_merge(struct decoder *d, struct labels base, const struct pairs *p, size_t max)
{
    struct labels ret = {0};
    struct label *v = arena_array(d->a, base.n + p->n + 1, struct label);
    if (!v) {
        d->failed = true;
        return ret;
    }
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        v[n] = (struct label){p->v[i].name, source_cut(p->v[i].value, max, d->a, &d->truncated)};
        d->failed |= !v[n].value.p;
        n++;
    }
    for (size_t i = 0; i < base.n; i++) /* of equal names the last wins */
        v[n++] = base.v[i];
    if (labels_make(d->a, v, n, &ret) < 0)
        d->failed = true;
    return ret;
}

struct labels decode_pairs(struct decoder *d, const struct pairs *p, size_t max)
{
    return decode_merge(d, (struct labels){0}, p, max);
}

struct labels decode_over(struct decoder *d, struct labels under, struct labels over)
{
    struct labels ret = {0};
    struct label *all = arena_array(d->a, under.n + over.n + 1, struct label);
    if (!all) {
        d->failed = true;
        return ret;
    }
    if (under.n > 0)
        memcpy(all, under.v, under.n * sizeof(*all));
    if (over.n > 0)
        memcpy(all + under.n, over.v, over.n * sizeof(*all));
    d->failed |= labels_make(d->a, all, under.n + over.n, &ret) < 0;
    return ret;
}

static struct slice first_label(struct labels l, const char *const *names)
{
    for (; *names; names++) {
        struct slice s = labels_get(l, *names);
        if (s.len > 0)
            return s;
    }
    return none;
}

static enum report_kind kind_of(const struct decoder *d, struct slice status, int64_t ends_at)
{
    if (slice_is(status, "resolved"))
        return REPORT_RESOLVED;
    if (status.len > 0)
        return REPORT_FIRING;
    return ends_at > 0 && ends_at <= d->received_at ? REPORT_RESOLVED : REPORT_FIRING;
}

/* How many of `alerts` are RESOLVED by their `status`. */
static size_t count_resolved(struct slice body)
{
    const struct slice all = json_at(body, "alerts"), group = json_at(body, "status");
    size_t pos = 0, n = 0;
    struct slice alert;

    while (json_next(all, &pos, &alert)) {
        const struct slice own = json_at(alert, "status");
        n += slice_is(own.len > 0 ? own : group, "\"resolved\"");
    }
    return n;
}

struct filing file_alerts(struct slice body, struct slice key)
{
    return (struct filing){.partition_key = key.len > 0 ? key : (struct slice){0},
                           .alerts = json_count(body, "alerts"),
                           .resolved = count_resolved(body),
                           .status = 200,
                           .default_reply = true};
}

struct slice file_anomaly(const struct source_common *c, struct labels l, struct arena *a)
{
    struct anomaly an;
    char hex[2 * ANOMALY_KEY_LEN + 1];
    anomaly_of(slice_of(c->tenant), l, &an);
    return arena_slice(a, slice_of(hex_encode(an.key, sizeof(an.key), hex)));
}

/* What is left to call an alert that has neither a summary nor a name: as many as fit. */
static struct slice all_labels(struct decoder *d, struct labels l)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TITLE_MAX);

    for (size_t i = 0; i < l.n && !b.failed; i++)
        buf_printf(&b, "%s%.*s=\"%.*s\"", i > 0 ? ", " : "", SLICE_FMT(l.v[i].name),
                   SLICE_FMT(l.v[i].value));
    if (b.len == 0)
        return SLICE_LIT("alert without a name");
    struct slice text = arena_slice(d->a, decode_line((struct slice){b.p, b.len}));
    d->failed |= !text.p;
    return text;
}

void decode_alert(struct decoder *d, const json_t *alert, struct slice group_status,
                  struct alert_event *ret)
{
    static const char *const titles[] = {"summary", "title", "message", NULL};
    static const char *const texts[] = {"description", "message", NULL};
    struct alert_event ev = {.starts_at = source_time(alert, "startsAt"),
                             .ends_at = source_time(alert, "endsAt")};
    d->truncated = false;
    if (source_labels(json_object_get(alert, "labels"), d->lim, d->a, &ev.labels, &d->truncated) <
            0 ||
        source_annotations(json_object_get(alert, "annotations"), d->lim, d->a, &ev.annotations,
                           &d->truncated) < 0)
        d->failed = true;
    ev.fingerprint = labels_fingerprint(ev.labels);
    ev.severity = severity_parse(labels_get(ev.labels, "severity"), SEVERITY_WARNING);
    ev.severity_again = ev.severity;
    ev.title = decode_line(first_label(ev.annotations, titles));
    if (ev.title.len == 0)
        ev.title = decode_line(labels_get(ev.labels, "alertname"));
    if (ev.title.len == 0)
        ev.title = all_labels(d, ev.labels);
    ev.description = first_label(ev.annotations, texts);
    const struct slice page = decode_str(d, alert, "generatorURL");
    ev.link = decode_is_page(page) ? page : none; /* "/graph?..." leads nowhere */
    struct slice status = decode_str(d, alert, "status");
    ev.kind = kind_of(d, status.len > 0 ? status : group_status, ev.ends_at);
    ev.truncated = d->truncated;
    *ret = ev;
}

void decode_append(struct decoder *d, struct slice more, struct alert_event *ev)
{
    if (more.len == 0 || more.len + 1 >= d->lim->annotation_value)
        return;
    struct slice text = ev->description;
    if (text.len > 0) {
        text = source_cut(text, d->lim->annotation_value - more.len - 1, d->a, &ev->truncated);
        d->failed |= !text.p;
        more = decode_format(d, "%.*s\n%.*s", SLICE_FMT(text), SLICE_FMT(more));
    }
    ev->description = more;
}

struct slice decode_cut_off(struct decoder *d, const json_t *group, const char *by)
{
    int64_t missing = decode_count(group, "truncatedAlerts");
    if (missing == 0)
        return none;
    return decode_format(d, "%lld more alerts of this group were cut off by %s", (long long)missing,
                         by);
}

json_t *decode_body(const void *cfg, const struct record *r, const struct limits_settings *lim,
                    struct arena *a, struct decoder *ret, struct err *e)
{
    /* A record may have come from elsewhere than our door: look again before building a tree. */
    const struct json_limits limits = {.max_depth = JSON_DEPTH_MAX};
    if (json_scan(r->body, &limits, e) < 0)
        return NULL;
    *ret =
        (struct decoder){.common = cfg, .r = r, .lim = lim, .a = a, .received_at = r->received_at};
    return json_lent(r->body, a, e);
}

int decode_each(struct decoder *d, const json_t *body, const json_t *alerts, decode_one_fn *one,
                struct alert_list *ret, struct err *e)
{
    const size_t n = json_array_size(alerts);
    struct alert_event *v = arena_array(d->a, n + 1, struct alert_event);
    if (!v)
        return err_set(e, -ENOMEM, "%s: %zu alerts are too many", d->common->type, n);
    for (size_t i = 0; i < n; i++) {
        one(d, body, json_array_get(alerts, i), &v[i]);
        if (v[i].labels.n == 0)
            return err_set(e, -EBADMSG, "%s: alerts[%zu] has no labels", d->common->type, i);
    }
    *ret = (struct alert_list){.v = v, .n = n};
    return 0;
}

int decode_end(const struct decoder *d, int rc, const struct alert_list *list,
               struct alert_list *ret, struct err *e)
{
    if (d->failed)
        return err_set(e, -ENOMEM, "the record needs more memory than one may");
    if (rc == 0)
        *ret = *list;
    return rc;
}
