#include "ingest/repairs.h"

#include <errno.h>

#include "common/buf.h"
#include "common/digest.h"
#include "common/json.h"
#include "common/record.h"
#include "ingest/door.h"

#define ACTION_MAX 200
#define BY_MAX 200
#define NOTE_MAX 4096
#define ATTEMPT_MAX 1000000

static bool is_one_of(struct slice token, const struct conf_strs *all)
{
    bool found = false;
    for (size_t i = 0; i < all->n; i++)
        found |= secret_eq(token, slice_of(all->v[i]));
    return found;
}

enum repair_token repair_token(const struct repairs_settings *s, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (!authorization || strncmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return REPAIR_TOKEN_NONE;
    struct slice token = slice_of(authorization + sizeof(scheme) - 1);
    bool verifies = is_one_of(token, &s->verified_tokens);
    bool reports = is_one_of(token, &s->tokens);
    if (verifies)
        return REPAIR_TOKEN_VERIFIES;
    return reports ? REPAIR_TOKEN_REPORTS : REPAIR_TOKEN_NONE;
}

struct report {
    struct uuid incident;
    struct slice action, outcome, by, note;
    int64_t attempt;
    bool verified;
};

/* A string at a key: NULL and absent are the same, anything else than a string is an error. */
static int text_at(const json_t *body, const char *key, size_t max, struct slice *ret,
                   struct err *e)
{
    const json_t *v = json_object_get(body, key);
    *ret = (struct slice){"", 0};
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return err_set(e, -EBADMSG, "%s is not a string", key);
    if (json_string_length(v) > max)
        return err_set(e, -EBADMSG, "%s is longer than %zu bytes", key, max);
    *ret = (struct slice){json_string_value(v), json_string_length(v)};
    return 0;
}

static int check_outcome(struct slice outcome, struct err *e)
{
    if (slice_is(outcome, "success") || slice_is(outcome, "failure") ||
        slice_is(outcome, "unknown"))
        return 0;
    return err_set(e, -EBADMSG, "outcome is success, failure or unknown");
}

static int read_rest(const json_t *body, struct report *ret, struct err *e)
{
    const json_t *attempt = json_object_get(body, "attempt");
    const json_t *verified = json_object_get(body, "verified");
    if (attempt && !json_is_null(attempt)) {
        ret->attempt = json_integer_value(attempt);
        if (!json_is_integer(attempt) || ret->attempt < 1 || ret->attempt > ATTEMPT_MAX)
            return err_set(e, -EBADMSG, "attempt is a number from 1 on");
    }
    if (verified && !json_is_null(verified) && !json_is_boolean(verified))
        return err_set(e, -EBADMSG, "verified is true or false");
    ret->verified = json_is_true(verified);
    return 0;
}

static int read_report(const json_t *body, struct report *ret, struct err *e)
{
    struct slice incident;
    if (!json_is_object(body))
        return err_set(e, -EBADMSG, "expected an object");
    int rc = text_at(body, "incident_id", UUID_STR, &incident, e);
    if (rc == 0 && !uuid_parse(incident, &ret->incident))
        rc = err_set(e, -EBADMSG, "incident_id is not the id of an incident");
    if (rc == 0)
        rc = text_at(body, "action", ACTION_MAX, &ret->action, e);
    if (rc == 0 && ret->action.len == 0)
        rc = err_set(e, -EBADMSG, "action is missing");
    if (rc == 0)
        rc = text_at(body, "outcome", 16, &ret->outcome, e);
    if (rc == 0)
        rc = check_outcome(ret->outcome, e);
    if (rc == 0)
        rc = text_at(body, "by", BY_MAX, &ret->by, e);
    if (rc == 0)
        rc = text_at(body, "note", NOTE_MAX, &ret->note, e);
    return rc == 0 ? read_rest(body, ret, e) : rc;
}

static void member(struct buf *b, const char *key, struct slice value)
{
    buf_printf(b, ",\"%s\":", key);
    buf_json(b, value);
}

static struct slice report_json(const struct report *r, const char *incident, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(65536);
    buf_printf(&b, "{\"incident_id\":\"%s\"", incident);
    member(&b, "action", r->action);
    member(&b, "outcome", r->outcome);
    member(&b, "by", r->by);
    member(&b, "note", r->note);
    if (r->attempt > 0)
        buf_printf(&b, ",\"attempt\":%lld", (long long)r->attempt);
    buf_printf(&b, ",\"verified\":%s}", r->verified ? "true" : "false");
    return b.failed ? (struct slice){0} : arena_slice(a, (struct slice){b.p, b.len});
}

int repair_record(const struct repair_post *post, const struct settings *s, struct arena *a,
                  struct spool_record *ret, struct err *e)
{
    const struct json_limits depth = {.max_depth = s->ingest.max_depth};
    int rc = door_unpacked(post->encoding, e);
    if (rc == 0)
        rc = json_scan(post->body, &depth, e);
    if (rc < 0)
        return rc;
    const json_t *tree = json_tree(post->body, a, e);
    if (!tree)
        return e->code;
    struct report report = {0};
    rc = read_report(tree, &report, e);
    if (rc < 0)
        return rc;
    report.verified = report.verified && post->may_verify;

    char *incident = arena_alloc(a, 1, UUID_STR);
    const struct record r = {.tenant = slice_of(s->tenant),
                             .source = SLICE_LIT("repairs"),
                             .content_type = SLICE_LIT("application/json"),
                             .request_id = post->id,
                             .received_at = post->now_ms};
    struct spool_record out = {.topic = SLICE_LIT("repairs"), .at = post->now_ms};
    if (!incident || record_headers(&r, a, &out.headers, &out.header_n) < 0)
        return err_set(e, -E2BIG, "the report needs more memory than one may");
    out.key = slice_of(uuid_format(&report.incident, incident));
    out.value = report_json(&report, incident, a);
    if (!out.value.p)
        return err_set(e, -E2BIG, "the report needs more memory than one may");
    *ret = out;
    return 0;
}
