/*
 * Sentry: the integration platform's webhooks (issue, event_alert, error, metric_alert, comment,
 * installation) and the legacy plugin.
 *
 * One issue is one alert, whichever resource speaks of it. Its fingerprint is of (source, issue)
 * alone: an issue's id is unique in its Sentry, while events name their project by number, by slug
 * or only inside a URL. The exception's type is the alert's name and its error type, the project
 * its service.
 *
 * A metric alert is one by its incident's id, and its warning another: an alert that fires does not
 * get more severe, so the critical would hide behind the warning. Resolved ends both.
 */
#include <errno.h>

#include "common/json.h"
#include "common/sentry_mark.h"
#include "common/source_decode.h"

struct sentry_cfg {
    struct source_common common;
    const char *client_secret, *integration;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct sentry_cfg, client_secret, CONF_STR, NULL, CONF_SECRET,
         "require the integration's signature; the legacy plugin has none"),
    CONF(struct sentry_cfg, integration, CONF_STR, NULL, 0,
         "id or name of our own integration in Sentry, whose acts are not obeyed; without it those "
         "of no integration are"),
    CONF_END,
};

static const char *const keep_headers[] = {"Request-ID", "Sentry-Hook-Resource",
                                           "Sentry-Hook-Timestamp", NULL};

/* The signed text is the body alone, so an old request stays valid for ever; the merge makes
 * repeats harmless. */
static enum auth verify(const void *cfg, const struct hook *h, int64_t now_ms)
{
    (void)now_ms;
    const struct sentry_cfg *c = cfg;
    if (!c->client_secret || !*c->client_secret)
        return source_verify_common(&c->common, h);
    const char *signature = h->header(h, "Sentry-Hook-Signature");
    if (!signature)
        return AUTH_MISSING;
    return source_hmac_hex_eq(signature, c->client_secret, &h->body, 1) ? AUTH_OK : AUTH_BAD;
}

/* What stands behind `mark`, up to the next slash. */
static struct slice part_behind(struct slice url, const char *mark)
{
    const size_t n = strlen(mark);
    const char *at = url.len > 0 ? memmem(url.p, url.len, mark, n) : NULL;
    if (!at)
        return (struct slice){0};
    const char *part = at + n, *end = url.p + url.len;
    const char *slash = memchr(part, '/', (size_t)(end - part));
    return (struct slice){part, (size_t)((slash ? slash : end) - part)};
}

/* Sentry gives one second and may never try again: nothing well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    static const char *const paths[] = {"data.issue.id",
                                        "data.event.issue_id",
                                        "data.error.issue_id",
                                        "data.issue_id",
                                        "data.metric_alert.id",
                                        "id",
                                        NULL};
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice id = {0};
    for (const char *const *path = paths; *path && id.len == 0; path++)
        id = json_text(json_at(h->body, *path), a);
    if (id.len == 0) /* before 2022 */
        id = part_behind(json_text(json_at(h->body, "data.event.issue_url"), a), "/issues/");
    const bool over = slice_is(json_at(h->body, "action"), "\"resolved\"");
    const size_t n = over && json_at(h->body, "data.metric_alert").len > 0 ? 2 : 1;
    *ret = (struct filing){.partition_key = id.len > 0 ? id : (struct slice){0},
                           .alerts = n,
                           .resolved = over ? n : 0,
                           .status = 200,
                           .default_reply = true};
    return 0;
}

/* ---- what the resources have in common ---- */

/* One delivery at work. */
struct delivery {
    struct decoder d;
    const struct record *r;
    const json_t *body, *data;
    struct slice action, actor;
    bool is_echo; /* of what our own integration did there */
};

/* The project's slug inside ".../projects/ORG/SLUG/...". */
static struct slice slug_in_url(struct slice url)
{
    const struct slice org = part_behind(url, "/projects/");
    if (!org.p)
        return (struct slice){0};
    const char *rest = org.p + org.len, *end = url.p + url.len;
    return part_behind((struct slice){rest, (size_t)(end - rest)}, "/");
}

static struct slice project_of(struct decoder *d, const json_t *thing)
{
    static const char *const names[] = {"slug", "name", "id", NULL};
    static const char *const flat[] = {"project_slug", "project_name", "project", NULL};
    const json_t *project = json_object_get(thing, "project");
    if (json_is_object(project))
        return decode_first(d, project, names);
    struct slice slug = slug_in_url(decode_str(d, thing, "url"));
    return slug.len > 0 ? slug : decode_first(d, thing, flat);
}

/* "ValueError" of {metadata: {type}}, of the exception that was raised last, or of "ValueError: no
 * such user". */
static struct slice type_of(struct decoder *d, const json_t *thing)
{
    struct slice type = decode_str(d, json_object_get(thing, "metadata"), "type");
    if (type.len > 0)
        return decode_line(type);
    const json_t *values = json_object_get(json_object_get(thing, "exception"), "values");
    if (json_array_size(values) > 0)
        type = decode_str(d, json_array_get(values, json_array_size(values) - 1), "type");
    if (type.len > 0)
        return decode_line(type);
    struct slice title = decode_line(decode_str(d, thing, "title"));
    const char *colon = title.len > 0 ? memmem(title.p, title.len, ": ", 2) : NULL;
    if (colon && colon > title.p)
        title.len = (size_t)(colon - title.p);
    return title;
}

/* A tag among [[key, value], ...] or [{key, value}, ...]. */
static struct slice tag_of(struct decoder *d, const json_t *thing, const char *name)
{
    const json_t *tags = json_object_get(thing, "tags");
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        const char *key = json_string_value(json_array_get(tag, 0));
        const char *value = json_string_value(json_array_get(tag, 1));
        if (json_is_object(tag)) {
            key = json_string_value(json_object_get(tag, "key"));
            value = json_string_value(json_object_get(tag, "value"));
        }
        if (key && value && strcmp(key, name) == 0)
            return slice_of(value);
    }
    return decode_str(d, thing, name);
}

/* Issues about slowness, by the old category, the new ones, or the number of an occurrence's type
 * (1000 to 1999). */
static bool is_performance(struct decoder *d, const json_t *thing)
{
    static const char *const categories[] = {"performance", "db_query", "http_client",
                                             "frontend",    "mobile",   NULL};
    struct slice category = decode_str(d, thing, "issueCategory");
    for (const char *const *c = categories; *c; c++)
        if (slice_is(category, *c))
            return true;
    struct slice type = decode_str(d, thing, "issueType");
    if (type.len >= 11 && memcmp(type.p, "performance", 11) == 0)
        return true;
    int64_t occurrence = decode_count(json_object_get(thing, "occurrence"), "type");
    return (occurrence >= 1000 && occurrence < 2000) ||
           slice_is(decode_str(d, thing, "type"), "transaction");
}

/* The fingerprint that the application, or a rule of the project, gave the event, one word a line.
 * "{{ default }}" stands for Sentry's own grouping, which has no words. */
static struct slice words_of(struct decoder *d, const json_t *thing)
{
    const json_t *list = json_object_get(thing, "fingerprint");
    CLEANUP(buf_release) struct buf b = BUF_INIT(d->lim->label_value + (size_t)1);
    for (size_t i = 0, n = 0; i < json_array_size(list) && n < d->lim->fingerprint_words; i++) {
        const json_t *word = json_array_get(list, i);
        const char *p = json_string_value(word);
        if (json_string_length(word) == 0 || (p[0] == '{' && p[1] == '{'))
            continue;
        if (b.len + json_string_length(word) + 1 > d->lim->label_value)
            break;
        if (n++ > 0)
            buf_putc(&b, '\n');
        for (; *p; p++)
            buf_putc(&b, (unsigned char)*p < ' ' ? ' ' : *p);
    }
    if (b.len == 0)
        return (struct slice){0};
    struct slice words = arena_slice(d->a, (struct slice){b.p, b.len});
    d->failed |= !words.p;
    return words;
}

/* Of an event, which the plugin tells in seconds only. */
static int64_t time_of(const json_t *event)
{
    const int64_t at = source_time(event, "datetime");
    const double seconds = json_number_value(json_object_get(event, "timestamp"));
    if (at > 0 || !(seconds > 0 && seconds < 253402300800.0)) /* the year 10000 */
        return at;
    return (int64_t)(seconds * 1000);
}

/* An issue or event as an alert of issue `id`; kind and note are the caller's. */
static void describe(struct delivery *w, const json_t *thing, struct slice id,
                     struct alert_event *ev)
{
    static const char *const links[] = {"web_url", "permalink", "url", NULL};
    struct decoder *d = &w->d;
    struct pairs l = {0}, notes = {0};
    struct slice type = type_of(d, thing), project = project_of(d, thing);
    pairs_add(&l, "alertname", type);
    pairs_add(&l, "error_type", type);
    pairs_add(&l, "service", project);
    pairs_add(&l, "source", w->r->source);
    pairs_add(&l, "sentry_project", project);
    pairs_add(&l, "sentry_issue", id);
    pairs_add(&l, "environment", tag_of(d, thing, "environment"));
    pairs_add(&l, "level", decode_str(d, thing, "level"));
    ev->labels = decode_pairs(d, &l, d->lim->label_value);
    ev->fingerprint = decode_identity(&w->d, w->r, "sentry_issue", id);

    pairs_add(&notes, "culprit", decode_str(d, thing, "culprit"));
    pairs_add(&notes, "short_id", decode_str(d, thing, "shortId"));
    pairs_add(&notes, "release", tag_of(d, thing, "release"));
    pairs_add(&notes, "substatus", decode_str(d, thing, "substatus"));
    pairs_add(&notes, "rule", decode_str(d, w->data, "triggered_rule"));
    ev->annotations = decode_pairs(d, &notes, d->lim->annotation_value);

    bool slow = is_performance(d, thing);
    ev->severity = slow ? SEVERITY_INFO : SEVERITY_CRITICAL;
    ev->severity_again = slow ? SEVERITY_INFO : SEVERITY_WARNING;
    ev->words = words_of(d, thing);
    ev->title = decode_line(decode_str(d, thing, "title"));
    if (ev->title.len == 0)
        ev->title = type.len > 0 ? type : SLICE_LIT("Sentry issue");
    ev->description = decode_str(d, json_object_get(thing, "metadata"), "value");
    ev->link = decode_first(d, thing, links);
    ev->impact_users = decode_count(thing, "userCount");
    ev->impact_events = decode_count(thing, "count"); /* a string, in Sentry's words */
    ev->actor = w->actor;
}

/* ---- resources ---- */

static struct slice name_or(struct decoder *d, const json_t *who, const char *otherwise)
{
    static const char *const names[] = {"name", "email", "id", NULL};
    struct slice s = decode_first(d, who, names);
    return s.len > 0 ? s : slice_of(otherwise);
}

static void resolved(struct delivery *w, const json_t *issue, struct alert_event *ev)
{
    struct slice how = decode_str(&w->d, w->data, "resolution_type");
    if (how.len == 0)
        how = decode_str(&w->d, json_object_get(issue, "statusDetails"), "type");
    ev->kind = REPORT_RESOLVED;
    ev->note = how.len > 0 ? decode_format(&w->d, "resolved in Sentry (%.*s)", SLICE_FMT(how))
                           : SLICE_LIT("resolved in Sentry");
}

static int issue(struct delivery *w, struct alert_event *ev, struct err *e)
{
    const json_t *issue = json_object_get(w->data, "issue");
    struct slice id = decode_str(&w->d, issue, "id");
    if (id.len == 0)
        return err_set(e, -EBADMSG, "sentry: issue without data.issue.id");
    describe(w, issue, id, ev);
    if (slice_is(w->action, "created")) {
        ev->kind = REPORT_OPENED;
        ev->starts_at = source_time(issue, "firstSeen");
    } else if (slice_is(w->action, "unresolved")) {
        ev->kind = REPORT_OPENED;
        ev->note = SLICE_LIT("unresolved in Sentry");
    } else if (slice_is(w->action, "resolved")) {
        resolved(w, issue, ev);
    } else if (slice_is(w->action, "assigned")) {
        const json_t *to = json_object_get(w->data, "assignee");
        if (!to)
            to = json_object_get(issue, "assignedTo");
        ev->note = decode_format(&w->d, "assigned to %.*s in Sentry",
                                 SLICE_FMT(name_or(&w->d, to, "nobody")));
    } else if (slice_is(w->action, "archived") || slice_is(w->action, "ignored")) {
        ev->note = SLICE_LIT("archived in Sentry");
    } else {
        ev->note = decode_format(&w->d, "%.*s in Sentry", SLICE_FMT(w->action));
    }
    /* Told and not obeyed: our own write-back would come round. */
    if (w->is_echo && ev->kind != REPORT_NOTE) {
        ev->kind = REPORT_NOTE;
        ev->starts_at = 0;
        if (ev->note.len == 0)
            ev->note = SLICE_LIT("created in Sentry");
    }
    return 0;
}

static int event(struct delivery *w, const json_t *event, struct alert_event *ev, struct err *e)
{
    static const char *const ids[] = {"issue_id", "groupID", "group_id", NULL};
    struct slice id = decode_first(&w->d, event, ids);
    if (id.len == 0)
        id = part_behind(decode_str(&w->d, event, "issue_url"), "/issues/");
    if (id.len == 0)
        return err_set(e, -EBADMSG, "sentry: event without issue_id");
    describe(w, event, id, ev);
    ev->kind = REPORT_OCCURRED;
    ev->event_id = decode_id(&w->d, decode_str(&w->d, event, "event_id"));
    ev->starts_at = time_of(event);
    return 0;
}

/* What we wrote there ourselves is on the timeline already. */
static int comment(struct delivery *w, struct alert_event *ev, size_t *ret_n, struct err *e)
{
    struct slice id = decode_str(&w->d, w->data, "issue_id");
    if (id.len == 0)
        return err_set(e, -EBADMSG, "sentry: comment without data.issue_id");
    const char *whole = json_string_value(json_object_get(w->data, "comment"));
    if (whole && sentry_is_ours(slice_of(whole))) {
        *ret_n = 0;
        return 0;
    }
    describe(w, w->data, id, ev);
    struct slice text = decode_line(decode_str(&w->d, w->data, "comment"));
    bool deleted = slice_is(w->action, "deleted");
    ev->note =
        decode_format(&w->d, "comment %s in Sentry%s%.*s", deleted ? "deleted" : "written",
                      deleted || text.len == 0 ? "" : ": ", deleted ? 0 : (int)text.len, text.p);
    return 0;
}

static struct slice metric_project(struct decoder *d, const json_t *alert)
{
    const json_t *projects = json_object_get(alert, "projects");
    const json_t *first = json_array_get(projects, 0);
    return json_is_string(first) ? slice_of(json_string_value(first))
                                 : decode_str(d, first, "slug");
}

static uint64_t lesser_fingerprint(struct delivery *w, struct slice id)
{
    struct pairs p = {0};
    pairs_add(&p, "source", w->r->source);
    pairs_add(&p, "sentry_metric_alert", id);
    pairs_add(&p, "level", SLICE_LIT("lesser"));
    return labels_fingerprint(decode_pairs(&w->d, &p, w->d.lim->label_value));
}

static struct labels metric_labels(struct delivery *w, const json_t *alert, struct slice id,
                                   struct slice name)
{
    struct pairs l = {0};
    struct slice project = metric_project(&w->d, alert);
    pairs_add(&l, "alertname", decode_line(name));
    pairs_add(&l, "service", project);
    pairs_add(&l, "source", w->r->source);
    pairs_add(&l, "sentry_project", project);
    pairs_add(&l, "sentry_metric_alert", id);
    if (!slice_is(w->action, "resolved") && !slice_is(w->action, "critical"))
        pairs_add(&l, "level", w->action);
    return decode_pairs(&w->d, &l, w->d.lim->label_value);
}

/* A metric alert has a state of its own: one incident of it, by id, fires once and resolves. */
static void describe_metric(struct delivery *w, const json_t *alert, struct slice id,
                            struct alert_event *ev)
{
    const json_t *rule = json_object_get(alert, "alert_rule");
    struct decoder *d = &w->d;
    struct pairs notes = {0};
    struct slice name = decode_str(d, rule, "name");
    if (name.len == 0)
        name = decode_str(d, alert, "title");
    bool over = slice_is(w->action, "resolved");
    bool lesser = !over && !slice_is(w->action, "critical");
    ev->labels = metric_labels(w, alert, id, name);
    ev->fingerprint =
        lesser ? lesser_fingerprint(w, id) : decode_identity(d, w->r, "sentry_metric_alert", id);
    pairs_add(&notes, "query", decode_str(d, rule, "query"));
    pairs_add(&notes, "aggregate", decode_str(d, rule, "aggregate"));
    ev->annotations = decode_pairs(d, &notes, d->lim->annotation_value);

    ev->kind = over ? REPORT_RESOLVED : REPORT_FIRING;
    ev->starts_at = source_time(alert, "date_started");
    ev->ends_at = over ? source_time(alert, "date_closed") : 0;
    ev->severity = severity_parse(w->action, SEVERITY_WARNING);
    ev->severity_again = ev->severity;
    ev->title = decode_line(decode_str(d, w->data, "description_title"));
    if (ev->title.len == 0)
        ev->title = decode_line(name);
    if (ev->title.len == 0)
        ev->title = SLICE_LIT("Sentry metric alert");
    ev->description = decode_str(d, w->data, "description_text");
    ev->link = decode_str(d, w->data, "web_url");
    ev->actor = w->actor;
    ev->ends_announced = true;
}

static int metric_alert(struct delivery *w, struct alert_event *v, size_t *ret_n, struct err *e)
{
    const json_t *alert = json_object_get(w->data, "metric_alert");
    struct slice id = decode_str(&w->d, alert, "id");
    if (id.len == 0)
        return err_set(e, -EBADMSG, "sentry: metric_alert without an id");
    describe_metric(w, alert, id, &v[0]);
    if (v[0].kind == REPORT_RESOLVED) {
        v[1] = v[0];
        v[1].fingerprint = lesser_fingerprint(w, id);
        *ret_n = 2;
    }
    return 0;
}

/* The rules that told the plugin to speak. */
static struct slice rules_of(struct delivery *w)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(w->d.lim->annotation_value);
    const json_t *rule;
    size_t i;
    json_array_foreach (json_object_get(w->body, "triggering_rules"), i, rule) {
        const size_t n = json_string_length(rule);
        if (n > 0 && b.len + n + 2 <= b.max)
            buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", json_string_value(rule));
    }
    if (b.len == 0)
        return (struct slice){0};
    const struct slice text = arena_slice(w->d.a, (struct slice){b.p, b.len});
    w->d.failed |= !text.p;
    return text;
}

/* What the event itself may not say. */
static void legacy_notes(struct delivery *w, struct alert_event *ev)
{
    struct pairs notes = {0};
    pairs_add(&notes, "culprit", decode_str(&w->d, w->body, "culprit"));
    pairs_add(&notes, "logger", decode_str(&w->d, w->body, "logger"));
    pairs_add(&notes, "rule", rules_of(w));
    ev->annotations = decode_merge(&w->d, ev->annotations, &notes, w->d.lim->annotation_value);
}

/* {id: the issue, project, message, event{...}}: the plugin from before there were integrations. */
static int legacy(struct delivery *w, struct alert_event *ev, struct err *e)
{
    const json_t *inner = json_object_get(w->body, "event");
    struct slice id = decode_str(&w->d, w->body, "id");
    if (id.len == 0)
        return err_set(e, -EBADMSG,
                       "sentry: neither a webhook of an integration nor of the plugin");
    describe(w, inner, id, ev);
    struct pairs l = {0};
    struct slice project = project_of(&w->d, w->body);
    pairs_add(&l, "service", project);
    pairs_add(&l, "sentry_project", project);
    pairs_add(&l, "level", decode_str(&w->d, w->body, "level"));
    if (labels_get(ev->labels, "alertname").len == 0)
        pairs_add(&l, "alertname", decode_line(decode_str(&w->d, w->body, "message")));
    /* The envelope knows the project by its slug; the event inside only by number. */
    struct pairs event_labels = {0};
    for (size_t i = 0; i < ev->labels.n && i < PAIRS_MAX; i++)
        event_labels.v[event_labels.n++] = ev->labels.v[i];
    ev->labels = decode_merge(&w->d, decode_pairs(&w->d, &l, w->d.lim->label_value), &event_labels,
                              w->d.lim->label_value);
    struct slice url = decode_str(&w->d, w->body, "url");
    if (url.len > 0)
        ev->link = url;
    const struct slice message = decode_str(&w->d, w->body, "message");
    if (ev->description.len == 0)
        ev->description = message;
    if (decode_line(decode_str(&w->d, inner, "title")).len == 0 && decode_line(message).len > 0)
        ev->title = decode_line(message);
    legacy_notes(w, ev);
    ev->kind = REPORT_OCCURRED;
    ev->event_id = decode_id(&w->d, decode_str(&w->d, inner, "event_id"));
    ev->starts_at = time_of(inner);
    return 0;
}

static struct slice resource_of(const struct delivery *w)
{
    static const char *const by_data[][2] = {
        {"issue", "issue"},     {"event", "event_alert"},
        {"error", "error"},     {"metric_alert", "metric_alert"},
        {"comment", "comment"}, {"installation", "installation"}};
    struct slice named = record_header(w->r, "Sentry-Hook-Resource");
    if (named.len > 0)
        return named;
    for (size_t i = 0; i < sizeof(by_data) / sizeof(by_data[0]); i++)
        if (json_object_get(w->data, by_data[i][0]))
            return slice_of(by_data[i][1]);
    return (struct slice){0};
}

/* Room for two; *ret_n is 0 for what is about no alert. */
static int decode_resource(struct delivery *w, struct alert_event *ev, size_t *ret_n, struct err *e)
{
    struct slice resource = resource_of(w);
    *ret_n = 1;
    ev->kind = REPORT_NOTE;
    if (slice_is(resource, "issue"))
        return issue(w, ev, e);
    if (slice_is(resource, "event_alert"))
        return event(w, json_object_get(w->data, "event"), ev, e);
    if (slice_is(resource, "error"))
        return event(w, json_object_get(w->data, "error"), ev, e);
    if (slice_is(resource, "metric_alert"))
        return metric_alert(w, ev, ret_n, e);
    if (slice_is(resource, "comment"))
        return comment(w, ev, ret_n, e);
    if (resource.len == 0)
        return legacy(w, ev, e);
    *ret_n = 0;
    if (slice_is(resource, "installation") || slice_is(resource, "seer") ||
        slice_is(resource, "preprod_artifact") || slice_is(resource, "activity_alert"))
        return 0;
    return err_set(e, -EBADMSG, "sentry: unknown resource %.*s",
                   (int)(resource.len < 40 ? resource.len : 40), resource.p);
}

/*
 * Request-ID; but archiving is told twice, as `archived` and as `ignored`, each with an id of its
 * own: one act by what it is about.
 */
static struct slice delivery_id(struct delivery *w)
{
    if (!slice_is(w->action, "archived") && !slice_is(w->action, "ignored"))
        return decode_id(&w->d, record_header(w->r, "Request-ID"));
    struct slice data = json_at(w->r->body, "data");
    return decode_format(&w->d, "archived-%016llx",
                         (unsigned long long)fnv1a(FNV1A_INIT, data.p, data.len));
}

/* An integration's acts come with its own actor: of type application, as Sentry's own are. */
static bool is_echo(struct decoder *d, const json_t *actor, const char *ours)
{
    struct slice id = decode_str(d, actor, "id");
    if (!slice_is(decode_str(d, actor, "type"), "application") || slice_is(id, "sentry"))
        return false;
    return !ours || !*ours || slice_is(id, ours) || slice_is(decode_str(d, actor, "name"), ours);
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    const struct sentry_cfg *c = cfg;
    struct delivery w = {.r = r};
    w.body = decode_body(cfg, r, lim, a, &w.d, e);
    if (!w.body)
        return e->code;
    if (!json_is_object(w.body))
        return err_set(e, -EBADMSG, "sentry: expected an object");
    const json_t *actor = json_object_get(w.body, "actor");
    w.data = json_object_get(w.body, "data");
    w.action = decode_str(&w.d, w.body, "action");
    w.actor = decode_str(&w.d, actor, "name");
    w.is_echo = is_echo(&w.d, actor, c->integration);

    struct alert_event *ev = arena_array(a, 2, struct alert_event);
    if (!ev)
        return err_set(e, -ENOMEM, "sentry: out of memory");
    size_t n = 0;
    int rc = decode_resource(&w, ev, &n, e);
    ev[0].truncated = ev[1].truncated = w.d.truncated;
    const struct alert_list list = {.v = ev, .n = n, .delivery_id = delivery_id(&w)};
    return decode_end(&w.d, rc, &list, ret, e);
}

const struct source source_sentry = {
    .name = "sentry",
    .summary = "Sentry issues, events, metric alerts and comments",
    .title = "Sentry",
    .application = true,
    .cfg_size = sizeof(struct sentry_cfg),
    .keys = keys,
    .keep_headers = keep_headers,
    .own_identity = true,
    .verify = verify,
    .accept = accept,
    .decode = decode,
};
