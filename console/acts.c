#include "console/acts.h"

#include <errno.h>

#include "common/incident.h"
#include "common/json.h"
#include "console/alerts.h"
#include "console/incidents.h"

#define NOTE_MAX 4000
/* Until there are accounts, all that is known of who acts is where. */
#define ACTOR SLICE_LIT("console")

struct act {
    const char *note_name; /* the member that holds the note */
    enum incident_status to;
    struct slice note;
    struct uuid incident;
    int64_t fingerprint;
};

static int text_member(const json_t *o, const char *name, struct slice *ret, struct err *e)
{
    const json_t *v = json_object_get(o, name);

    if (v && !json_is_string(v))
        return err_set(e, -EINVAL, "%s must be a string", name);
    *ret = v ? (struct slice){json_string_value(v), json_string_length(v)} : SLICE_LIT("");
    return 0;
}

static int known_members(json_t *o, const struct act *act, struct err *e)
{
    const char *name;
    json_t *value;

    json_object_foreach (o, name, value)
        if (strcmp(name, "status") != 0 && strcmp(name, act->note_name) != 0)
            return err_set(e, -EINVAL, "unknown member \"%.60s\": known are status and %s", name,
                           act->note_name);
    return 0;
}

static int read_body(struct visit *v, struct act *act, struct err *e)
{
    static const struct json_limits limits = {.max_depth = 4};
    const struct slice body = http_body(v->http);
    struct slice status = {NULL, 0};
    struct err why;

    if (json_scan(body, &limits, &why) < 0)
        return err_set(e, -EINVAL, "the body is not JSON: %s", why.msg);
    json_t *o = json_tree(body, v->a, &why);
    if (!o)
        return err_set(e, -EINVAL, "the body cannot be taken: %s", why.msg);
    if (!json_is_object(o))
        return err_set(e, -EINVAL, "the body must be an object");
    int rc = known_members(o, act, e);
    if (rc < 0 || (rc = text_member(o, "status", &status, e)) < 0 ||
        (rc = text_member(o, act->note_name, &act->note, e)) < 0)
        return rc;
    if (!incident_status_parse(status, &act->to) || act->to == INCIDENT_OPEN)
        return err_set(e, -EINVAL, "status must be acknowledged, investigating or resolved");
    if (act->note.len > NOTE_MAX)
        return err_set(e, -EINVAL, "%s must have at most %d bytes", act->note_name, NOTE_MAX);
    return 0;
}

static int set_status(struct visit *v, const struct act *act, struct err *e)
{
    const struct person_act person = {
        .to = act->to, .actor = ACTOR, .note = act->note, .at_ms = v->now_ms};
    int rc = incident_set_status(v->pg, v->tenant, &act->incident, &person, e);

    /* The request is well formed; it is the incident that does not allow it. */
    return rc == -EINVAL ? err_set(e, -EPERM, "%s", e->msg) : rc;
}

static int act_on_incident(struct visit *v, void *arg, struct err *e)
{
    struct act *act = arg;
    int rc = read_body(v, act, e);

    if (rc == 0)
        rc = set_status(v, act, e);
    return rc < 0 ? rc : incident_write(v, &act->incident, false, e);
}

void put_incident_status(void *ctx, struct http_request *r)
{
    struct act act = {.note_name = "note"};

    if (!uuid_parse(slice_of(http_param(r, "id")), &act.incident)) {
        http_reply_error(r, 404, "not_found", "there is no such incident");
        return;
    }
    console_answer(ctx, r, act_on_incident, &act);
}

static int act_on_alert(struct visit *v, void *arg, struct err *e)
{
    struct act *act = arg;
    int rc = read_body(v, act, e);

    if (rc == 0)
        rc = alert_incident(v, act->fingerprint, &act->incident, e);
    if (rc == 0)
        rc = set_status(v, act, e);
    return rc < 0 ? rc : alert_write(v, act->fingerprint, e);
}

void put_alert_status(void *ctx, struct http_request *r)
{
    struct act act = {.note_name = "resolution_note"};

    if (!alert_id_parse(http_param(r, "id"), &act.fingerprint)) {
        http_reply_error(r, 404, "not_found", "there is no such alert");
        return;
    }
    console_answer(ctx, r, act_on_alert, &act);
}
