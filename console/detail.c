/* What one incident has besides its row: timeline, alerts, notifications. */
#include "console/alerts.h"
#include "console/incident_row.h"
#include "console/incidents.h"

#define ENTRIES_MAX 1000 /* the newest; an incident that flaps for a month has more */

static struct pg_args *args_of(struct visit *v, const struct uuid *id)
{
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_uuid(p, id->b);
    pg_int(p, ENTRIES_MAX);
    return p;
}

static int write_timeline(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = pg_query(v->pg,
                      "SELECT at, kind, actor, body FROM (SELECT * FROM timeline WHERE tenant = $1 "
                      "AND incident_id = $2 ORDER BY at DESC, cause DESC LIMIT $3) t "
                      "ORDER BY at, cause",
                      args_of(v, id), &r, e);

    if (rc < 0)
        return rc;
    out_open(&v->out, "timeline", '[');
    for (int i = 0; i < PQntuples(r); i++) {
        out_open(&v->out, NULL, '{');
        out_time(&v->out, "at", pg_get_int(r, i, 0));
        out_text(&v->out, "kind", pg_get_text(r, i, 1));
        out_text(&v->out, "actor", pg_get_text(r, i, 2));
        out_text(&v->out, "text", pg_get_text(r, i, 3));
        out_close(&v->out, '}');
    }
    out_close(&v->out, ']');
    return 0;
}

static int write_alerts(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = pg_query(v->pg,
                      "SELECT " ALERT_COLUMNS " FROM alerts WHERE tenant = $1 AND incident_id = $2 "
                      "AND status > 0 ORDER BY status, first_seen, fingerprint LIMIT $3",
                      args_of(v, id), &r, e);

    if (rc < 0)
        return rc;
    out_open(&v->out, "alerts", '[');
    for (int i = 0; i < PQntuples(r); i++)
        alert_row_write(&v->out, r, i);
    out_close(&v->out, ']');
    return 0;
}

/* ---- notifications, each with its attempts ---- */

enum { N_ID, RECEIVER, CHANNEL, KIND, SEQ, STATE, REASON, DUPLICATE, CREATED_AT, ENDED_AT, MERGED };
enum { D_ID, ATTEMPT, AT, DURATION, OUTCOME, HTTP_STATUS, ANSWER };

/* Attempts come in the order of the notifications; *row walks through them. */
static void write_attempts(struct buf *b, const PGresult *d, int *row, const unsigned char *id)
{
    out_open(b, "deliveries", '[');
    for (; *row < PQntuples(d) && memcmp(pg_get_uuid(d, *row, D_ID), id, 16) == 0; ++*row) {
        out_open(b, NULL, '{');
        out_int(b, "attempt", pg_get_int(d, *row, ATTEMPT));
        out_time(b, "at", pg_get_int(d, *row, AT));
        out_int(b, "duration_ms", pg_get_int(d, *row, DURATION));
        out_text(b, "outcome", pg_get_text(d, *row, OUTCOME));
        out_int(b, "http_status", pg_get_int(d, *row, HTTP_STATUS));
        out_text(b, "answer", pg_get_text(d, *row, ANSWER));
        out_close(b, '}');
    }
    out_close(b, ']');
}

static void write_notification(struct buf *b, const PGresult *r, int i, const PGresult *d, int *row)
{
    out_open(b, NULL, '{');
    out_uuid(b, "id", pg_get_uuid(r, i, N_ID));
    out_text(b, "receiver", pg_get_text(r, i, RECEIVER));
    out_text(b, "channel", pg_get_text(r, i, CHANNEL));
    out_text(b, "kind", pg_get_text(r, i, KIND));
    out_int(b, "sequence", pg_get_int(r, i, SEQ));
    out_text(b, "state", pg_get_text(r, i, STATE));
    out_text(b, "reason", pg_get_text(r, i, REASON));
    out_bool(b, "possible_duplicate", pg_get_bool(r, i, DUPLICATE));
    out_time(b, "created_at", pg_get_int(r, i, CREATED_AT));
    out_time(b, "ended_at", pg_get_int(r, i, ENDED_AT));
    out_uuid(b, "merged_into", pg_get_uuid(r, i, MERGED));
    write_attempts(b, d, row, pg_get_uuid(r, i, N_ID));
    out_close(b, '}');
}

#define NEWEST                                                                                     \
    "(SELECT * FROM notifications WHERE tenant = $1 AND incident_id = $2 "                         \
    "ORDER BY created_at DESC, id DESC LIMIT $3) n"

static int write_notifications(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    CLEANUP(PQclear) PGresult *d = NULL;
    int row = 0;
    int rc = pg_query(v->pg,
                      "SELECT id, receiver, channel, kind, seq, state, reason, possible_duplicate, "
                      "created_at, ended_at, merged_into FROM " NEWEST " ORDER BY created_at, id",
                      args_of(v, id), &r, e);
    if (rc == 0)
        rc = pg_query(v->pg,
                      "SELECT d.notification_id, d.attempt, d.at, d.duration_ms, d.outcome, "
                      "d.status, d.answer FROM " NEWEST " JOIN deliveries d ON d.tenant = $1 AND "
                      "d.notification_id = n.id ORDER BY n.created_at, n.id, d.at, d.attempt",
                      args_of(v, id), &d, e);
    if (rc < 0)
        return rc;
    out_open(&v->out, "notifications", '[');
    for (int i = 0; i < PQntuples(r); i++)
        write_notification(&v->out, r, i, d, &row);
    out_close(&v->out, ']');
    return 0;
}

int incident_write_detail(struct visit *v, const struct uuid *id, struct err *e)
{
    int rc = write_timeline(v, id, e);

    if (rc == 0)
        rc = write_alerts(v, id, e);
    return rc < 0 ? rc : write_notifications(v, id, e);
}
