#include "common/report.h"

#include <errno.h>

const char *report_state_name(enum report_state s)
{
    static const char *const names[] = {
        [REPORT_UNDER_WAY] = "under way",
        [REPORT_SENT] = "sent",
        [REPORT_ARRIVED] = "arrived",
        [REPORT_LOST] = "lost",
    };

    return s >= REPORT_UNDER_WAY && s <= REPORT_LOST ? names[s] : "unknown";
}

int report_store(struct pg *pg, struct arena *a, struct slice tenant, const struct report *r,
                 struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct pg_args *p = pg_args(a);

    pg_text(p, tenant);
    pg_uuid(p, &r->notification);
    pg_int4(p, r->attempt);
    pg_int4(p, (int32_t)r->state);
    pg_text(p, r->words);
    int rc = pg_query(pg,
                      "WITH n AS (SELECT tenant, id FROM notifications WHERE tenant = $1 AND id = "
                      "$2), put AS (INSERT INTO delivery_reports AS r (tenant, notification_id, "
                      "attempt, at, state, words, due) SELECT tenant, id, $3, "
                      "(extract(epoch FROM now()) * 1000)::int8, $4::int4::int2, $5, $4::int4 >= 3 "
                      "FROM n ON CONFLICT (tenant, notification_id, attempt) DO UPDATE SET "
                      "at = excluded.at, state = excluded.state, words = excluded.words, "
                      "due = excluded.due WHERE least(excluded.state, 3) > least(r.state, 3)) "
                      "SELECT count(*) FROM n",
                      p, &rows, e);
    if (rc < 0)
        return rc;
    return pg_get_int(rows, 0, 0) > 0 ? 0 : err_set(e, -ENOENT, "there is no such notification");
}
