#include "common/alarm_event.h"

#include "common/buf.h"
#include "common/json.h"

#define EVENT "\"CloudWatch Alarm State Change\""

/* ,"name":value as it stands there. */
static void copy(struct buf *b, const char *name, struct slice value)
{
    if (value.len > 0)
        buf_printf(b, ",\"%s\":%.*s", name, SLICE_FMT(value));
}

/* The first metric that is one, of an expression's. */
static struct slice metric_of(struct slice event)
{
    const struct slice all = json_at(event, "detail.configuration.metrics");
    struct slice one, stat = {0};
    size_t pos = 0;
    while (stat.len == 0 && json_next(all, &pos, &one))
        stat = json_at(one, "metricStat");
    return stat;
}

/* {"InstanceId":"i-1"} as [{"name":"InstanceId","value":"i-1"}] */
static void add_dimensions(struct buf *b, struct slice dimensions)
{
    struct slice name, value;
    size_t pos = 0, n = 0;
    buf_puts(b, ",\"Dimensions\":[");
    while (json_next_member(dimensions, &pos, &name, &value))
        buf_printf(b, "%s{\"name\":%.*s,\"value\":%.*s}", n++ > 0 ? "," : "", SLICE_FMT(name),
                   SLICE_FMT(value));
    buf_puts(b, "]");
}

static void add_trigger(struct buf *b, struct slice event)
{
    const struct slice stat = metric_of(event);
    if (stat.len == 0)
        return;
    const struct slice period = json_at(stat, "period");
    buf_printf(b, ",\"Trigger\":{\"Period\":%.*s", (int)(period.len > 0 ? period.len : 4),
               period.len > 0 ? period.p : "null");
    copy(b, "MetricName", json_at(stat, "metric.name"));
    copy(b, "Namespace", json_at(stat, "metric.namespace"));
    copy(b, "Statistic", json_at(stat, "stat"));
    add_dimensions(b, json_at(stat, "metric.dimensions"));
    buf_puts(b, "}");
}

struct slice alarm_of_event(struct slice text, struct arena *a, bool *failed)
{
    static const char *const fields[][2] = {
        {"AlarmDescription", "detail.configuration.description"},
        {"AlarmRule", "detail.configuration.alarmRule"},
        {"AWSAccountId", "account"},
        {"NewStateValue", "detail.state.value"},
        {"NewStateReason", "detail.state.reason"},
        {"StateChangeTime", "detail.state.timestamp"},
        {"OldStateValue", "detail.previousState.value"}};
    const struct slice event = json_at(text, ""), name = json_at(event, "detail.alarmName");
    struct slice arn = {0};
    size_t pos = 0;
    if (!slice_is(json_at(event, "detail-type"), EVENT) || name.len == 0)
        return (struct slice){0};
    CLEANUP(buf_release) struct buf b = BUF_INIT(8 * text.len + 1024);
    /* A rule tells every change, so its end, too. */
    buf_printf(&b, "{\"OKActions\":[\"events\"],\"AlarmName\":%.*s", SLICE_FMT(name));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        copy(&b, fields[i][0], json_at(event, fields[i][1]));
    if (json_next(json_at(event, "resources"), &pos, &arn))
        copy(&b, "AlarmArn", arn);
    add_trigger(&b, event);
    buf_puts(&b, "}");
    const struct slice ret =
        b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
    *failed |= !ret.p;
    return ret;
}
