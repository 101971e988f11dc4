/* Rows of incidents, and what is known around each: frequency, repairs, the proposed step. */
#pragma once

#include "console/console.h"

/* Every query for incident_row_write() selects these, from incidents i and anomalies a. */
#define INCIDENT_COLUMNS                                                                           \
    "i.id, i.tenant, i.title, i.status, i.resolved_by, i.severity, i.service, i.namespace, "       \
    "i.environment, i.source, i.alert_name, i.error_type, i.anomaly_key, i.opened_at, "            \
    "i.updated_at, i.resolved_at, i.alerts_firing, i.alerts_total, i.occurrences, "                \
    "i.window_start, i.link, i.level, a.frequency, a.first_seen, a.last_seen"
#define INCIDENT_ANOMALY "JOIN anomalies a ON a.tenant = i.tenant AND a.key = i.anomaly_key"
enum { INCIDENT_ID = 0, INCIDENT_OPENED_AT = 13 };

/* Of the first n rows; results live with the visit. */
struct around {
    const PGresult *rows, *stats, *history, *playbooks;
};
int around_load(struct visit *v, const PGresult *rows, int n, struct around *ret,
                struct err *e) MUST_CHECK;

/* The members of row `i`, in the object that is open. -EBADMSG: its counts are damaged. */
int incident_row_write(struct visit *v, const struct around *x, int i, struct err *e) MUST_CHECK;
