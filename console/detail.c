/* What one incident has besides its row: timeline, alerts, notifications. */
#include "console/alerts.h"
#include "console/incident_row.h"
#include "console/incidents.h"
#include "console/ledger.h"

#define ENTRIES_MAX 1000 /* of each; an incident that flaps for a month has more */

static struct pg_args *args_of(struct visit *v, const struct uuid *id)
{
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_uuid(p, id->b);
    pg_int(p, ENTRIES_MAX + 1);
    return p;
}

static int shown(const PGresult *r)
{
    return PQntuples(r) > ENTRIES_MAX ? ENTRIES_MAX : PQntuples(r);
}

static int write_timeline(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = pg_query(v->pg,
                      "SELECT at, kind, actor, body FROM timeline WHERE tenant = $1 "
                      "AND incident_id = $2 ORDER BY at DESC, cause DESC LIMIT $3",
                      args_of(v, id), &r, e);

    if (rc < 0)
        return rc;
    out_bool(&v->out, "timeline_more", PQntuples(r) > ENTRIES_MAX);
    out_open(&v->out, "timeline", '[');
    for (int i = shown(r) - 1; i >= 0; i--) {
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
    out_bool(&v->out, "alerts_more", PQntuples(r) > ENTRIES_MAX);
    out_open(&v->out, "alerts", '[');
    for (int i = 0; i < shown(r); i++)
        alert_row_write(&v->out, r, i);
    out_close(&v->out, ']');
    return 0;
}

int incident_write_detail(struct visit *v, const struct uuid *id, struct err *e)
{
    int rc = write_timeline(v, id, e);

    if (rc == 0)
        rc = write_alerts(v, id, e);
    return rc < 0 ? rc : ledger_write_incident(v, id, e);
}
