/*
 * Azure Monitor: an action group's webhook with the common alert schema.
 *
 *   {schemaId: "azureMonitorCommonAlertSchema", data: {essentials: {alertId, alertRule, severity:
 *    Sev0 .. Sev4, signalType, monitorCondition: Fired | Resolved, monitoringService,
 *    alertTargetIDs: [...], configurationItems: [...], firedDateTime, resolvedDateTime,
 * description, investigationLink}, alertContext: {...}, customProperties: {...}}}
 *
 * An alert has an `alertId` from Fired to Resolved; when its rule fires again, that is another one.
 * What its rule watches makes the anomaly. Rules that are stateless never resolve: `resolve_after`.
 */
#include <errno.h>
#include <strings.h>

#include "common/json.h"
#include "common/source_decode.h"

struct azure_cfg {
    struct source_common common;
};

static const struct conf_key keys[] = {SOURCE_COMMON_KEYS, CONF_END};

/* Azure tries thrice, and again later after some answers: nothing well-formed is refused. */
static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    (void)cfg;
    (void)lim;
    (void)now_ms;
    (void)e;
    struct slice id = json_text(json_at(h->body, "data.essentials.alertId"), a);
    struct slice now = json_text(json_at(h->body, "data.essentials.monitorCondition"), a);
    *ret = (struct filing){.partition_key = id.len > 0 ? id : (struct slice){0},
                           .alerts = 1,
                           .resolved = slice_is(now, "Resolved"),
                           .status = 200,
                           .default_reply = true};
    return 0;
}

static enum severity severity_of(struct slice sev)
{
    static const enum severity by_number[] = {SEVERITY_CRITICAL, SEVERITY_ERROR, SEVERITY_WARNING,
                                              SEVERITY_INFO, SEVERITY_INFO};
    if (sev.len == 4 && memcmp(sev.p, "Sev", 3) == 0 && sev.p[3] >= '0' && sev.p[3] <= '4')
        return by_number[sev.p[3] - '0'];
    return SEVERITY_WARNING;
}

/* "/subscriptions/S/resourceGroups/G/providers/P/T/NAME": what stands behind the part `name`, in
 * any case; its last part for NULL. */
static struct slice part_of(struct slice resource, const char *name)
{
    struct slice last = {"", 0};
    for (size_t at = 0; at < resource.len;) {
        const char *p = resource.p + at, *slash = memchr(p, '/', resource.len - at);
        const struct slice part = {p, slash ? (size_t)(slash - p) : resource.len - at};
        if (name && last.len == strlen(name) && strncasecmp(last.p, name, last.len) == 0)
            return part;
        if (part.len > 0)
            last = part;
        at += part.len + 1;
    }
    return name ? (struct slice){"", 0} : last;
}

/* The first criterion of an alert on a metric or a query: what was compared with what. */
static const json_t *criterion(const json_t *context)
{
    return json_array_get(json_object_get(json_object_get(context, "condition"), "allOf"), 0);
}

static void add_label(struct decoder *d, const char *name, struct slice value, struct pairs *l)
{
    if (!name || !*name || strlen(name) > d->lim->label_name)
        return;
    if (l->n < d->lim->labels && l->n + PAIRS_OWN < PAIRS_MAX)
        pairs_add(l, name, value);
    else
        d->truncated = true;
}

/* What the rule does not say for itself. */
static void add_place(struct pairs *l, const char *name, struct slice value)
{
    if (pairs_get(l, name).len == 0)
        pairs_add(l, name, value);
}

/* What its series is told apart by, and what it is about; a rule of Prometheus has labels. */
static struct labels labels_of(struct decoder *d, const json_t *essentials, const json_t *context)
{
    struct slice target =
        json_value_text(json_array_get(json_object_get(essentials, "alertTargetIDs"), 0), d->a);
    json_t *series = json_object_get(context, "labels");
    struct pairs l = {0};
    const json_t *one;
    const char *name;
    size_t i;

    json_array_foreach (json_object_get(criterion(context), "dimensions"), i, one)
        add_label(d, json_string_value(json_object_get(one, "name")), decode_str(d, one, "value"),
                  &l);
    json_object_foreach (series, name, one)
        add_label(d, name, decode_str(d, series, name), &l);
    pairs_add(&l, "alertname", decode_line(decode_str(d, essentials, "alertRule")));
    if (slice_is(decode_str(d, essentials, "monitoringService"), "ServiceHealth"))
        add_place(&l, "service",
                  decode_line(decode_str(d, json_object_get(context, "properties"), "service")));
    add_place(&l, "service", part_of(target, NULL));
    add_place(&l, "namespace", part_of(target, "resourceGroups"));
    pairs_add(&l, "source", d->r->source);
    pairs_add(&l, "azure_resource", target);
    pairs_add(&l, "azure_service", decode_str(d, essentials, "monitoringService"));
    return decode_pairs(d, &l, d->lim->label_value);
}

/* Its rule's own, over what its alert's kind adds. */
static struct labels annotations_of(struct decoder *d, const json_t *data, const json_t *essentials)
{
    const json_t *context = json_object_get(data, "alertContext");
    const json_t *const maps[] = {json_object_get(context, "properties"),
                                  json_object_get(context, "annotations"),
                                  json_object_get(data, "customProperties")};
    struct pairs notes = {0};
    struct labels ret = {0};

    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        struct labels own = {0};
        if (source_annotations(maps[i], d->lim, d->a, &own, &d->truncated) < 0)
            d->failed = true;
        ret = decode_over(d, ret, own);
    }
    pairs_add(&notes, "azure_alert", decode_str(d, essentials, "alertId"));
    pairs_add(&notes, "azure_signal", decode_str(d, essentials, "signalType"));
    pairs_add(&notes, "caller", decode_str(d, context, "caller"));
    return decode_over(d, ret, decode_pairs(d, &notes, d->lim->annotation_value));
}

static struct slice compared(struct decoder *d, struct slice what, struct slice relation,
                             struct slice limit, struct slice value)
{
    if (what.len == 0 || (limit.len == 0 && value.len == 0))
        return what;
    return decode_format(d, "%.*s%s%.*s%s%.*s%s%.*s", SLICE_FMT(what), limit.len > 0 ? " " : "",
                         SLICE_FMT(relation), limit.len > 0 ? " " : "", SLICE_FMT(limit),
                         value.len > 0 ? ": " : "", SLICE_FMT(value));
}

/* "Percentage CPU GreaterThan 25: 31.2"; a query stands for its metric. What else the context of an
 * alert is, by what it has. */
static struct slice measured(struct decoder *d, const json_t *context)
{
    static const char *const what[] = {"metricName", "metricMeasureColumn", "searchQuery", NULL};
    static const char *const words[] = {"DetectionSummary", "SearchQuery", "expression",
                                        "operationName", NULL};
    const json_t *one = criterion(context), *properties = json_object_get(context, "properties");
    const struct slice metric = decode_line(decode_first(d, one, what)),
                       limit = decode_str(d, one, "threshold"), none = {"", 0};

    if (metric.len > 0 && limit.len > 0)
        return compared(d, metric, decode_str(d, one, "operator"), limit,
                        decode_str(d, one, "metricValue"));
    const struct slice title = decode_line(decode_str(d, properties, "title"));
    if (title.len > 0)
        return title;
    const struct slice text = decode_line(decode_first(d, context, words));
    if (json_object_get(context, "expression"))
        return compared(d, text, none, none, decode_str(d, context, "expressionValue"));
    if (json_object_get(context, "SearchQuery"))
        return compared(d, text, decode_str(d, context, "Operator"),
                        decode_str(d, context, "Threshold"), decode_str(d, context, "ResultCount"));
    return compared(d, text, none, none, decode_str(d, context, "status"));
}

/* Of older alerts on logs there are only the pages of their results. */
static struct slice page_of(struct decoder *d, const json_t *essentials, const json_t *context)
{
    static const char *const criteria[] = {"linkToFilteredSearchResultsUI", "linkToSearchResultsUI",
                                           NULL},
                             *const first[] = {"LinkToFilteredSearchResultsUI",
                                               "LinkToSearchResults", NULL};
    const struct slice pages[] = {decode_str(d, essentials, "investigationLink"),
                                  decode_first(d, criterion(context), criteria),
                                  decode_first(d, context, first)};

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (decode_is_page(pages[i]))
            return pages[i];
    return (struct slice){"", 0};
}

static void describe(struct decoder *d, const json_t *data, struct slice id, bool over,
                     struct alert_event *ev)
{
    const json_t *essentials = json_object_get(data, "essentials"),
                 *context = json_object_get(data, "alertContext");
    static const char *const texts[] = {"description", "summary", NULL};

    ev->severity = severity_of(decode_str(d, essentials, "severity"));
    ev->severity_again = ev->severity;
    ev->fingerprint = decode_identity(d, d->r, "azure_alert", id);
    ev->labels = labels_of(d, essentials, context);
    ev->annotations = annotations_of(d, data, essentials);
    ev->title = decode_line(decode_str(d, essentials, "alertRule"));
    ev->description = decode_str(d, essentials, "description");
    if (ev->description.len == 0)
        ev->description = decode_first(d, json_object_get(context, "annotations"), texts);
    decode_append(d, measured(d, context), ev);
    ev->link = page_of(d, essentials, context);
    ev->kind = over ? REPORT_RESOLVED : REPORT_FIRING;
    ev->starts_at = over ? 0 : source_time(essentials, "firedDateTime");
    ev->ends_at = over ? source_time(essentials, "resolvedDateTime") : 0;
    ev->truncated = d->truncated;
}

static int decode_report(struct decoder *d, const json_t *body, struct alert_event *ev,
                         struct err *e)
{
    const json_t *data = json_object_get(body, "data"),
                 *essentials = json_object_get(data, "essentials");
    struct slice id = decode_str(d, essentials, "alertId"),
                 now = decode_str(d, essentials, "monitorCondition");

    if (id.len == 0)
        return err_set(e, -EBADMSG,
                       "azure: no data.essentials.alertId: the action group's webhook wants the "
                       "common alert schema enabled");
    if (!slice_is(now, "Fired") && !slice_is(now, "Resolved"))
        return err_set(e, -EBADMSG, "azure: monitorCondition is Fired or Resolved, not \"%.*s\"",
                       (int)(now.len < 40 ? now.len : 40), now.p);
    if (decode_line(decode_str(d, essentials, "alertRule")).len == 0)
        return err_set(e, -EBADMSG, "azure: no data.essentials.alertRule");
    describe(d, data, id, slice_is(now, "Resolved"), ev);
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
        return err_set(e, -ENOMEM, "azure: out of memory");
    int rc = decode_report(&d, body, ev, e);
    const struct alert_list list = {.v = ev, .n = 1};
    return decode_end(&d, rc, &list, ret, e);
}

const struct source source_azure = {
    .name = "azure",
    .summary = "Azure Monitor action group, common alert schema",
    .title = "Azure Monitor",
    .cfg_size = sizeof(struct azure_cfg),
    .keys = keys,
    .stateful = true,
    .own_identity = true,
    .accept = accept,
    .decode = decode,
};
