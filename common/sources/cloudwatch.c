/*
 * CloudWatch alarms as Amazon SNS posts them, and whatever else is published to the topic.
 *
 * An alarm is one alert, by its ARN. Its state without data is an alert of its own beside it: it
 * says neither that the alarm is over nor that it is not, so ALARM goes on firing behind it, and
 * OK ends both. What is no alarm is an event: an occurrence by its MessageId of (topic, subject),
 * without an end.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "common/alarm_event.h"
#include "common/json.h"
#include "common/sns.h"
#include "common/source_decode.h"

#define TEXT_FIELD "text" /* of what is posted raw and is no JSON */

struct cloudwatch_cfg {
    struct source_common common;
    struct conf_strs hosts, topics;
    int64_t tolerance;
    bool raw_delivery;
};

static const struct conf_key keys[] = {
    SOURCE_COMMON_KEYS,
    CONF(struct cloudwatch_cfg, hosts, CONF_STRS, "sns.*.amazonaws.com,sns.*.amazonaws.com.cn", 0,
         "where certificates and confirmations may be; a star is three characters or more of one "
         "part of the name"),
    CONF(struct cloudwatch_cfg, topics, CONF_STRS, NULL, 0,
         "ARNs that may be heard and subscribed; a star is one part or a piece of it; empty: all"),
    CONF(struct cloudwatch_cfg, tolerance, CONF_DURATION, "1d", 0,
         "how far the signed time may be from ours; what is older than aggregation.delivery_id_ttl "
         "could be told again"),
    CONF(struct cloudwatch_cfg, raw_delivery, CONF_BOOL, "false", 0,
         "take what is not signed, as raw message delivery is not, on the entry's secret alone"),
    CONF_END,
};

static const char *const keep_headers[] = {"x-amz-sns-message-id", "x-amz-sns-topic-arn", NULL};

/* ---- the door ---- */

static struct sns_trust trust_of(const struct cloudwatch_cfg *c)
{
    return (struct sns_trust){c->hosts, c->topics, c->tolerance};
}

static bool is_set(const char *s)
{
    return s && *s;
}

static int check(const void *cfg, struct err *e)
{
    const struct cloudwatch_cfg *c = cfg;
    const struct sns_trust t = trust_of(c);
    const struct source_common *own = &c->common;
    if (c->raw_delivery && !is_set(own->bearer_token) && !is_set(own->path_token) &&
        !is_set(own->password))
        return err_set(e, -EINVAL,
                       "raw_delivery: raw messages are not signed; the entry needs a path_token, a "
                       "bearer_token or a password");
    return sns_trust_check(&t, e);
}

/* A subscription wants a signature even so: it makes us ask for what it says. */
static bool is_taken_unsigned(const struct cloudwatch_cfg *c, const struct hook *h)
{
    const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct sns_message m;
    struct err ignored;
    if (!c->raw_delivery)
        return false;
    if (json_scan(h->body, &any, &ignored) < 0)
        return true;
    sns_read(h->body, h->a, &m);
    return m.kind == SNS_BARE || m.kind == SNS_NOTIFICATION;
}

static enum auth wants(const void *cfg, const struct hook *h, int64_t now_ms, struct fetch *ret)
{
    const struct cloudwatch_cfg *c = cfg;
    const struct sns_trust t = trust_of(c);
    const enum auth auth = source_verify_common(&c->common, h);
    if (auth != AUTH_OK || is_taken_unsigned(c, h))
        return auth;
    return sns_certificate(&t, h->body, now_ms, h->a, ret);
}

static enum auth verify(const void *cfg, const struct hook *h, int64_t now_ms)
{
    const struct cloudwatch_cfg *c = cfg;
    const struct sns_trust t = trust_of(c);
    const enum auth auth = source_verify_common(&c->common, h);
    if (auth != AUTH_OK || is_taken_unsigned(c, h))
        return auth;
    return sns_verify(&t, h->body, now_ms, h->a, h->fetched);
}

/* ---- both ---- */

enum state { UNKNOWN, ALARM, OK, NO_DATA };

static enum state state_of(struct slice s)
{
    if (slice_is(s, "ALARM"))
        return ALARM;
    if (slice_is(s, "OK"))
        return OK;
    return slice_is(s, "INSUFFICIENT_DATA") ? NO_DATA : UNKNOWN;
}

/* A message out of its envelope. */
struct parcel {
    struct sns_message sns; /* its text is what was published */
    struct slice alarm;     /* the text where it is the JSON of an alarm; else empty */
    enum state state, before;
};

static struct slice text_at(struct slice object, const char *key, struct arena *a, bool *failed)
{
    const struct slice raw = json_at(object, key);
    struct slice s = raw.len > 0 && raw.p[0] == '"' ? json_text(raw, a) : (struct slice){"", 0};
    *failed |= !s.p;
    return s;
}

/* Is it JSON that begins with one of these? */
static bool begins_json(struct slice text, const char *brackets)
{
    const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct err ignored;
    return json_scan(text, &any, &ignored) == 0 && strchr(brackets, json_at(text, "").p[0]);
}

static void open_parcel(struct slice body, struct arena *a, struct parcel *ret)
{
    *ret = (struct parcel){0};
    sns_read(body, a, &ret->sns);
    bool *failed = &ret->sns.failed;
    if (ret->sns.kind == SNS_BARE) {
        const struct slice text = text_at(body, TEXT_FIELD, a, failed);
        ret->sns.text = text.len > 0 ? text : json_at(body, "");
    }
    if (!begins_json(ret->sns.text, "{"))
        return;
    const struct slice told = alarm_of_event(ret->sns.text, a, failed);
    ret->sns.text = told.len > 0 ? told : ret->sns.text;
    if (text_at(ret->sns.text, "AlarmName", a, failed).len == 0 ||
        text_at(ret->sns.text, "NewStateValue", a, failed).len == 0)
        return;
    ret->alarm = ret->sns.text;
    ret->state = state_of(text_at(ret->alarm, "NewStateValue", a, failed));
    ret->before = state_of(text_at(ret->alarm, "OldStateValue", a, failed));
}

/* ---- the door, again ---- */

static struct slice key_of(const struct parcel *p, const struct hook *h, struct arena *a)
{
    static const char *const ids[] = {"AlarmArn", "AlarmName", NULL};
    bool failed = false;
    for (const char *const *id = ids; *id && p->alarm.len > 0; id++) {
        struct slice s = text_at(p->alarm, *id, a, &failed);
        if (s.len > 0)
            return s;
    }
    struct slice topic = p->sns.topic;
    if (topic.len == 0)
        topic = slice_of(h->header(h, "x-amz-sns-topic-arn"));
    return topic.len > 0 ? topic : (struct slice){0};
}

static int accept(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e)
{
    const struct sns_trust t = trust_of(cfg);
    struct parcel p;
    (void)lim;
    (void)now_ms;
    open_parcel(h->body, a, &p);
    if (p.sns.failed)
        return err_set(e, -E2BIG, "the request needs more memory than one may");
    *ret = (struct filing){.status = 200, .default_reply = true};
    ret->partition_key = key_of(&p, h, a);
    if (p.sns.kind == SNS_SUBSCRIPTION || p.sns.kind == SNS_UNSUBSCRIPTION) {
        if (p.sns.kind == SNS_UNSUBSCRIPTION)
            return 0;
        if (!sns_is_ours(&t, p.sns.subscribe_url))
            return err_set(e, -EBADMSG, "SubscribeURL is not at one of the entry's `hosts`");
        ret->act.url = arena_strndup(a, p.sns.subscribe_url.p, p.sns.subscribe_url.len);
        return ret->act.url ? 0 : err_set(e, -E2BIG, "the request needs more memory than one may");
    }
    const bool both = p.state == OK || (p.state == ALARM && p.before == NO_DATA);
    ret->alerts = both ? 2 : 1;
    ret->resolved = p.state == OK ? 2 : both ? 1 : 0;
    return 0;
}

/* ---- the core ---- */

/* One message at work. */
struct message {
    struct decoder d;
    struct parcel p;
    const json_t *body; /* of the alarm, or of another object; NULL: text */
    struct slice topic;
};

/* Part `i` of "arn:partition:service:region:account:rest", where it can be part of an address. */
static struct slice arn_part(struct slice arn, size_t i)
{
    const char *at = arn.p, *end = arn.p + arn.len;
    for (; at && i > 0; i--) {
        at = memchr(at, ':', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    const char *stop = at ? memchr(at, ':', (size_t)(end - at)) : NULL;
    struct slice s = {at, stop ? (size_t)(stop - at) : 0};
    for (size_t k = 0; k < s.len; k++)
        if (!isalnum((unsigned char)s.p[k]) && s.p[k] != '-')
            return (struct slice){"", 0};
    return s;
}

/* An address of the alarm's part, region and account: before 2020 alarms did not say their own, and
 * a topic is in the region of those that tell it. */
static struct slice place_of(struct message *m)
{
    const struct slice arn = decode_str(&m->d, m->body, "AlarmArn");
    return arn.len > 0 ? arn : m->topic;
}

/* What is behind the last colon. */
static struct slice arn_name(struct slice arn)
{
    const char *colon = arn.len > 0 ? memrchr(arn.p, ':', arn.len) : NULL;
    return colon ? (struct slice){colon + 1, arn.len - (size_t)(colon + 1 - arn.p)} : arn;
}

/* ---- of an alarm ---- */

/* Of several metrics (an expression) the first that is one; NULL: a composite alarm. */
static const json_t *metric_of(const json_t *trigger)
{
    const json_t *all = json_object_get(trigger, "Metrics");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *stat = json_object_get(json_array_get(all, i), "MetricStat");
        if (json_is_object(json_object_get(stat, "Metric")))
            return json_object_get(stat, "Metric");
    }
    return trigger;
}

static void add_dimensions(struct message *m, const json_t *metric, struct pairs *l)
{
    const json_t *all = json_object_get(metric, "Dimensions");
    for (size_t i = 0; i < json_array_size(all); i++) {
        struct slice name = decode_line(decode_str(&m->d, json_array_get(all, i), "name"));
        struct slice value = decode_line(decode_str(&m->d, json_array_get(all, i), "value"));
        if (name.len > 0 && value.len > 0)
            decode_tags(&m->d, decode_format(&m->d, "%.*s=%.*s", SLICE_FMT(name), SLICE_FMT(value)),
                        "\n", l);
    }
}

/* "name=value" among the words of the description, so that alarms can say what CloudWatch has no
 * field for. */
static void add_words(struct message *m, struct slice text, struct pairs *l)
{
    for (size_t i = 0; i < text.len;) {
        size_t end = i, name = i;
        while (end < text.len && !isspace((unsigned char)text.p[end]) && text.p[end] != ',')
            end++;
        while (name < end && (isalnum((unsigned char)text.p[name]) || text.p[name] == '_'))
            name++;
        if (name > i && name < end && text.p[name] == '=')
            decode_tags(&m->d, (struct slice){text.p + i, end - i}, "\n", l);
        i = end + 1;
    }
}

static struct slice service_of(const struct pairs *l)
{
    static const char *const named[] = {
        "service",   "ServiceName",    "FunctionName", "QueueName", "DBInstanceIdentifier",
        "TableName", "CacheClusterId", "ClusterName",  "ApiName",   "DBClusterIdentifier",
        NULL};
    struct slice s = {0};
    for (const char *const *name = named; *name && s.len == 0; name++)
        s = pairs_get(l, *name);
    return s;
}

/* "2026-01-02T03:04:05.678+0000": without the colon that RFC 3339 has there. */
static int64_t time_at(struct message *m, const char *key)
{
    const struct slice s = decode_str(&m->d, m->body, key);
    int64_t ms = 0;
    if (rfc3339_parse(s, &ms) || s.len < 5)
        return ms;
    const struct slice with =
        decode_format(&m->d, "%.*s:%.*s", (int)s.len - 2, s.p, 2, s.p + s.len - 2);
    return rfc3339_parse(with, &ms) ? ms : 0;
}

/* The alarm's page in the console of its part of AWS. */
static struct slice page_of(struct message *m, struct slice arn, struct slice name)
{
    static const struct {
        const char *partition, *host;
    } consoles[] = {{"aws", "console.aws.amazon.com"},
                    {"aws-cn", "console.amazonaws.cn"},
                    {"aws-us-gov", "console.amazonaws-us-gov.com"}};
    const struct slice region = arn_part(arn, 3);
    CLEANUP(buf_release) struct buf b = BUF_INIT(m->d.lim->annotation_value);
    for (size_t i = 0; i < sizeof(consoles) / sizeof(consoles[0]); i++)
        if (region.len > 0 && slice_is(arn_part(arn, 1), consoles[i].partition))
            buf_printf(&b, "https://%.*s.%s/cloudwatch/home?region=%.*s#alarmsV2:alarm/",
                       SLICE_FMT(region), consoles[i].host, SLICE_FMT(region));
    if (b.len == 0)
        return (struct slice){"", 0};
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char c = (unsigned char)name.p[i];
        if (isalnum(c) || (c && strchr("-_.~", c)))
            buf_putc(&b, (char)c);
        else
            buf_printf(&b, "%%%02X", c);
    }
    if (b.failed) /* longer than a link may be */
        return (struct slice){"", 0};
    const struct slice link = arena_slice(m->d.a, (struct slice){b.p, b.len});
    m->d.failed |= !link.p;
    return link.p ? link : (struct slice){"", 0};
}

/* Alarms of one name in two accounts or regions are two problems. */
static struct slice namespace_of(struct message *m, const struct pairs *l, struct slice region)
{
    const struct slice named = pairs_get(l, "namespace");
    const struct slice account = decode_str(&m->d, m->body, "AWSAccountId");
    if (named.len > 0 || account.len == 0 || region.len == 0)
        return named;
    return decode_format(&m->d, "%.*s/%.*s", SLICE_FMT(account), SLICE_FMT(region));
}

static struct labels labels_of(struct message *m, struct slice name, struct pairs *l)
{
    struct decoder *d = &m->d;
    const struct slice region = arn_part(place_of(m), 3);
    const json_t *metric = metric_of(json_object_get(m->body, "Trigger"));
    pairs_add(l, "service", service_of(l));
    pairs_add(l, "namespace", namespace_of(m, l, region));
    pairs_add(l, "alertname", name);
    pairs_add(l, "source", d->r->source);
    pairs_add(l, "environment", pairs_get(l, "env"));
    pairs_add(l, "aws_account", decode_str(d, m->body, "AWSAccountId"));
    pairs_add(l, "aws_region", region);
    pairs_add(l, "metric", decode_str(d, metric, "MetricName"));
    pairs_add(l, "metric_namespace", decode_str(d, metric, "Namespace"));
    if (m->p.state == NO_DATA)
        pairs_add(l, "level", SLICE_LIT("no data"));
    return decode_pairs(d, l, d->lim->label_value);
}

static struct labels annotations_of(struct message *m)
{
    struct decoder *d = &m->d;
    const json_t *trigger = json_object_get(m->body, "Trigger");
    struct pairs notes = {0};
    pairs_add(&notes, "reason", decode_str(d, m->body, "NewStateReason"));
    pairs_add(&notes, "old_state", decode_str(d, m->body, "OldStateValue"));
    pairs_add(&notes, "alarm_rule", decode_str(d, m->body, "AlarmRule"));
    pairs_add(&notes, "comparison", decode_str(d, trigger, "ComparisonOperator"));
    pairs_add(&notes, "threshold", decode_str(d, trigger, "Threshold"));
    pairs_add(&notes, "period", decode_str(d, trigger, "Period"));
    pairs_add(&notes, "topic", decode_cut(d, m->topic));
    return decode_pairs(d, &notes, d->lim->annotation_value);
}

/* Of the alarm, or of its want of data. */
static uint64_t fingerprint_of(struct message *m, struct slice name, bool no_data)
{
    struct decoder *d = &m->d;
    const struct slice arn = decode_str(d, m->body, "AlarmArn");
    struct pairs p = {0};
    pairs_add(&p, "source", d->r->source);
    pairs_add(&p, "cloudwatch_alarm", arn.len > 0 ? arn : name);
    if (arn.len == 0) {
        pairs_add(&p, "aws_account", decode_str(d, m->body, "AWSAccountId"));
        pairs_add(&p, "aws_region", decode_str(d, m->body, "Region"));
    }
    if (no_data)
        pairs_add(&p, "level", SLICE_LIT("no data"));
    return labels_fingerprint(decode_pairs(d, &p, d->lim->label_value));
}

static struct slice description_of(struct message *m, struct slice own)
{
    const struct slice reason = decode_str(&m->d, m->body, "NewStateReason");
    if (own.len == 0 || reason.len == 0)
        return own.len > 0 ? own : reason;
    return decode_cut(&m->d, decode_format(&m->d, "%.*s\n%.*s", SLICE_FMT(own), SLICE_FMT(reason)));
}

static void describe(struct message *m, struct slice name, struct alert_event *ev)
{
    struct decoder *d = &m->d;
    const struct slice own = decode_str(d, m->body, "AlarmDescription");
    struct pairs l = {0};
    add_dimensions(m, metric_of(json_object_get(m->body, "Trigger")), &l);
    add_words(m, own, &l);
    ev->severity = m->p.state == NO_DATA
                       ? SEVERITY_WARNING
                       : severity_parse(pairs_get(&l, "severity"), SEVERITY_ERROR);
    ev->severity_again = ev->severity;
    ev->labels = labels_of(m, name, &l);
    ev->annotations = annotations_of(m);
    ev->title = m->p.state == NO_DATA
                    ? decode_cut(d, decode_format(d, "No data for %.*s", SLICE_FMT(name)))
                    : name;
    ev->description = description_of(m, own);
    ev->link = page_of(m, place_of(m), name);
    /* It says so only where the alarm has something to do when it is over. */
    ev->ends_announced = json_array_size(json_object_get(m->body, "OKActions")) > 0;
}

/* ALARM ends what began for want of data; OK ends both. */
static int of_alarm(struct message *m, struct alert_event *v, size_t *ret_n, struct err *e)
{
    const struct slice name = decode_line(decode_str(&m->d, m->body, "AlarmName"));
    const int64_t at = time_at(m, "StateChangeTime");
    if (m->p.state == UNKNOWN || name.len == 0)
        return err_set(e, -EBADMSG,
                       "cloudwatch: an alarm has a name, and is ALARM, OK or INSUFFICIENT_DATA");
    describe(m, name, &v[0]);
    v[0].fingerprint = fingerprint_of(m, name, m->p.state == NO_DATA);
    v[0].kind = m->p.state == OK ? REPORT_RESOLVED : REPORT_FIRING;
    if (m->p.state == OK)
        v[0].ends_at = at;
    else
        v[0].starts_at = at;
    *ret_n = 1;
    if (m->p.state == NO_DATA || (m->p.state == ALARM && m->p.before != NO_DATA))
        return 0;
    v[1] = v[0];
    v[1].fingerprint = fingerprint_of(m, name, true);
    v[1].kind = REPORT_RESOLVED;
    v[1].starts_at = 0;
    v[1].ends_at = at;
    *ret_n = 2;
    return 0;
}

/* ---- of no alarm ---- */

/* JSON in one writing, since of what is posted raw the white space is no part of it. */
static struct slice text_of(struct message *m)
{
    char *dump = m->body ? json_dumps(m->body, JSON_INDENT(2)) : NULL;
    const struct slice copy = dump ? arena_slice(m->d.a, slice_of(dump)) : m->p.sns.text;
    free(dump);
    m->d.failed |= !copy.p;
    return decode_cut(&m->d, copy);
}

/* What other services of AWS call their messages. */
static struct slice title_of(struct message *m)
{
    static const char *const titles[] = {"detail-type", "Event Message", "title", "summary", NULL};
    return m->body ? decode_line(decode_first(&m->d, m->body, titles))
                   : decode_line(decode_cut(&m->d, m->p.sns.text));
}

static int of_text(struct message *m, struct alert_event *ev, struct err *e)
{
    struct decoder *d = &m->d;
    const struct slice subject = decode_line(decode_cut(d, m->p.sns.subject));
    struct slice title = title_of(m);
    struct pairs l = {0}, id = {0};
    if (decode_line(m->p.sns.text).len == 0)
        return err_set(e, -EBADMSG, "cloudwatch: a message without text");
    if (title.len == 0)
        title = SLICE_LIT("Message of Amazon SNS");
    pairs_add(&l, "alertname", subject.len > 0 ? subject : SLICE_LIT("Message of Amazon SNS"));
    pairs_add(&l, "service", arn_name(m->topic));
    pairs_add(&l, "source", d->r->source);
    pairs_add(&l, "sns_topic", m->topic);
    ev->labels = decode_pairs(d, &l, d->lim->label_value);
    pairs_add(&id, "source", d->r->source);
    pairs_add(&id, "sns_topic", m->topic);
    pairs_add(&id, "subject", subject);
    ev->fingerprint = labels_fingerprint(decode_pairs(d, &id, d->lim->label_value));
    ev->severity = ev->severity_again = SEVERITY_WARNING;
    ev->title = subject.len > 0 ? subject : title;
    ev->description = text_of(m);
    ev->kind = REPORT_OCCURRED;
    ev->event_id = decode_id(d, m->p.sns.id);
    if (!rfc3339_parse(m->p.sns.time, &ev->starts_at))
        ev->starts_at = 0;
    return 0;
}

/* ---- both ---- */

static struct slice or_header(const struct record *r, struct slice s, const char *name)
{
    if (s.len == 0)
        s = record_header(r, name);
    return s.p ? s : (struct slice){"", 0};
}

/* As it stands in the message; a header may be any bytes, where an ARN is plain ones. */
static struct slice topic_of(const struct record *r, struct slice in_message)
{
    const struct slice s = or_header(r, in_message, "x-amz-sns-topic-arn");
    for (size_t i = 0; i < s.len && in_message.len == 0; i++)
        if (!isgraph((unsigned char)s.p[i]))
            return (struct slice){"", 0};
    return s;
}

/* The tree of what was published; of a text none. */
static int load(struct message *m, struct err *e)
{
    struct err why = {0};
    m->body = begins_json(m->p.sns.text, "{[") ? json_tree(m->p.sns.text, m->d.a, &why) : NULL;
    if (why.code != 0 && (m->p.alarm.len > 0 || why.code == -ENOMEM))
        return err_set(e, why.code, "cloudwatch: Message: %s", why.msg);
    return 0;
}

static int decode_message(struct message *m, struct alert_event *v, size_t *ret_n, struct err *e)
{
    const struct record *r = m->d.r;
    open_parcel(r->body, m->d.a, &m->p);
    m->p.sns.id = or_header(r, m->p.sns.id, "x-amz-sns-message-id");
    m->topic = topic_of(r, m->p.sns.topic);
    if (m->p.sns.failed)
        m->d.failed = true;
    if (m->p.sns.kind == SNS_SUBSCRIPTION || m->p.sns.kind == SNS_UNSUBSCRIPTION || m->d.failed)
        return 0;
    int rc = load(m, e);
    if (rc < 0)
        return rc;
    if (m->p.alarm.len > 0)
        return of_alarm(m, v, ret_n, e);
    *ret_n = 1;
    return of_text(m, v, e);
}

static int decode(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e)
{
    struct message m = {0};
    if (!decode_body(cfg, r, lim, a, &m.d, e)) /* no key twice: what was signed is what is read */
        return e->code;
    struct alert_event *v = arena_array(a, 2, struct alert_event);
    if (!v)
        return err_set(e, -ENOMEM, "cloudwatch: out of memory");
    struct alert_list list = {.v = v};
    int rc = decode_message(&m, v, &list.n, e);
    for (size_t i = 0; i < list.n; i++)
        v[i].truncated = m.d.truncated;
    list.delivery_id = decode_id(&m.d, m.p.sns.id);
    return decode_end(&m.d, rc, &list, ret, e);
}

const struct source source_cloudwatch = {
    .name = "cloudwatch",
    .summary = "CloudWatch alarms, and any text, through Amazon SNS",
    .title = "CloudWatch",
    .cfg_size = sizeof(struct cloudwatch_cfg),
    .keys = keys,
    .keep_headers = keep_headers,
    .stateful = true,
    .own_identity = true,
    .text_field = TEXT_FIELD,
    .check = check,
    .wants = wants,
    .verify = verify,
    .accept = accept,
    .decode = decode,
};
