#include "learner/report.h"

#include <errno.h>

#include "common/json.h"

#define NOTE_MAX ((size_t)2000)
#define BY_MAX ((size_t)128)

bool action_valid(struct slice action)
{
    if (action.len == 0 || action.len > ACTION_MAX)
        return false;
    for (size_t i = 0; i < action.len; i++)
        if ((unsigned char)action.p[i] < 0x20 || action.p[i] == 0x7f)
            return false;
    return true;
}

static struct slice header(const struct inbound *in, const char *name)
{
    for (size_t i = 0; i < in->header_n; i++)
        if (strcmp(in->headers[i].name, name) == 0)
            return in->headers[i].value;
    return (struct slice){NULL, 0};
}

static bool to_ms(struct slice s, int64_t *ret)
{
    int64_t v = 0;

    if (s.len == 0 || s.len > 15)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *ret = v;
    return v > 0;
}

static int parse_headers(const struct inbound *in, struct report *r, struct err *e)
{
    r->tenant = header(in, "tenant");
    if (r->tenant.len == 0)
        return err_set(e, -EBADMSG, "no header tenant");
    if (!uuid_parse(header(in, "request_id"), &r->id))
        return err_set(e, -EBADMSG, "header request_id is no UUID");
    if (!to_ms(header(in, "received_at"), &r->attempt.at))
        return err_set(e, -EBADMSG, "header received_at is no time in ms");
    return 0;
}

/* Whole characters, at most `max` bytes; "" when the member is absent. */
static struct slice words(const json_t *o, const char *name, size_t max, struct arena *a)
{
    struct slice s = json_str(o, name, a);

    if (s.len <= max)
        return s.p ? s : SLICE_LIT("");
    s.len = max;
    while (s.len > 0 && ((unsigned char)s.p[s.len] & 0xc0) == 0x80)
        s.len--;
    return s;
}

static int parse_body(const json_t *o, struct arena *a, struct report *r, struct err *e)
{
    const json_t *n = json_object_get(o, "attempt");

    if (!uuid_parse(json_str(o, "incident_id", a), &r->incident_id))
        return err_set(e, -EBADMSG, "incident_id is no UUID");
    r->action = json_str(o, "action", a);
    if (!action_valid(r->action))
        return err_set(e, -EBADMSG, "action must be 1 to %zu bytes without control characters",
                       ACTION_MAX);
    if (!outcome_parse(json_str(o, "outcome", a), &r->attempt.claim) ||
        r->attempt.claim == OUTCOME_PENDING)
        return err_set(e, -EBADMSG, "outcome is none of success, failure, unknown");
    if (n && (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > 1000000))
        return err_set(e, -EBADMSG, "attempt is no number from 1 on");
    r->attempt_number = n ? (int32_t)json_integer_value(n) : 1;
    r->attempt.verified = json_is_true(json_object_get(o, "verified"));
    r->by = words(o, "by", BY_MAX, a);
    r->note = words(o, "note", NOTE_MAX, a);
    return 0;
}

int report_parse(const struct inbound *in, struct arena *a, struct report *ret, struct err *e)
{
    static const struct json_limits limits = {.max_depth = 32};
    struct report r = {0};
    struct err why;

    int rc = parse_headers(in, &r, e);
    if (rc < 0)
        return rc;
    if (json_scan(in->value, &limits, &why) < 0)
        return err_set(e, -EBADMSG, "%s", why.msg);
    const json_t *o = json_tree(in->value, a, &why);
    if (!o)
        return err_set(e, why.code == -ENOMEM ? -ENOMEM : -EBADMSG, "%s", why.msg);
    if (!json_is_object(o))
        return err_set(e, -EBADMSG, "not an object");
    rc = parse_body(o, a, &r, e);
    if (rc == 0)
        *ret = r;
    return rc;
}
