#include "console/opsgenie.h"

#include "common/incident.h"
#include "common/opsgenie_id.h"

/* As Opsgenie says it of what it has done. */
static const struct {
    const char *action, *status;
} words[OPSGENIE_ACTS] = {
    [OPSGENIE_CREATE] = {"Create", "Created alert"},
    [OPSGENIE_CLOSE] = {"Close", "Closed alert"},
    [OPSGENIE_DELETE] = {"Delete", "Deleted alert"},
    [OPSGENIE_ACKNOWLEDGE] = {"Acknowledge", "Acknowledged alert"},
    [OPSGENIE_UNACKNOWLEDGE] = {"UnAcknowledge", "Unacknowledged alert"},
    [OPSGENIE_ESCALATE] = {"Escalate", "Alert escalated to next"},
    [OPSGENIE_SNOOZE] = {"Snooze", "Snoozed alert"},
    [OPSGENIE_ASSIGN] = {"Assign", "Assigned ownership"},
    [OPSGENIE_NOTE] = {"Add Note", "Added note"},
    [OPSGENIE_TAGS] = {"Add Tags", "Added tags"},
    [OPSGENIE_DETAILS] = {"Add Details", "Added details"},
    [OPSGENIE_RESPONDER] = {"Add Responder", "Added responder"},
    [OPSGENIE_MESSAGE] = {"Update Message", "Updated message"},
    [OPSGENIE_DESCRIPTION] = {"Update Description", "Updated description"},
    [OPSGENIE_PRIORITY] = {"Update Priority", "Updated priority"},
};

/* What one asks about; `id` as it was asked. */
struct asked {
    struct opsgenie_request request;
    const char *id;
};

static void not_yet(struct visit *v, const struct asked *asked)
{
    v->status = 404;
    out_word(&v->out, "message", "Request not found. It might not be processed, yet.");
    out_number(&v->out, "took", 0);
    out_word(&v->out, "requestId", asked->id);
}

/* Is what it asked for to be seen in the alert? What changes nothing there is taken for done with
 * the alert. */
static bool is_done(const struct opsgenie_request *q, const PGresult *r)
{
    const bool firing = pg_get_int(r, 0, 0) == ALERT_FIRING, seen = pg_get_int(r, 0, 1) >= q->at;
    if (q->act == OPSGENIE_CREATE)
        return firing || seen;
    return (q->act != OPSGENIE_CLOSE && q->act != OPSGENIE_DELETE) || !firing || seen;
}

static void done(struct visit *v, const struct asked *asked, const PGresult *r)
{
    char id[UUID_STR];
    struct buf *b = &v->out;
    out_open(b, "data", '{');
    out_bool(b, "success", true);
    out_word(b, "action", words[asked->request.act].action);
    out_time(b, "processedAt", pg_get_int(r, 0, 1));
    out_bool(b, "isSuccess", true);
    out_word(b, "status", words[asked->request.act].status);
    out_word(b, "alertId", opsgenie_alert_id(asked->request.alert, id));
    out_text(b, "alias", pg_get_text(r, 0, 2));
    out_close(b, '}');
    out_number(b, "took", 0);
    out_word(b, "requestId", asked->id);
}

static int answer(struct visit *v, void *arg, struct err *e)
{
    const struct asked *asked = arg;
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(v->a);
    pg_text(p, v->tenant);
    pg_int(p, (int64_t)asked->request.alert);
    int rc = pg_query(v->pg,
                      "SELECT status, last_seen, coalesce(annotations->>'alias', '') FROM alerts "
                      "WHERE tenant = $1 AND fingerprint = $2 AND status > 0",
                      p, &r, e);
    if (rc < 0)
        return rc;
    out_open(&v->out, NULL, '{');
    if (PQntuples(r) > 0 && is_done(&asked->request, r))
        done(v, asked, r);
    else
        not_yet(v, asked);
    out_close(&v->out, '}');
    return 0;
}

void get_opsgenie_request(void *ctx, struct http_request *r)
{
    struct asked asked = {.id = http_param(r, "id")};
    if (!opsgenie_request_parse(slice_of(asked.id), &asked.request)) {
        http_reply_error(r, 404, "not_found", "there is no such request");
        return;
    }
    console_answer(ctx, r, answer, &asked);
}
