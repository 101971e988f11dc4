/* Alerts as the API shows them. */
#pragma once

#include "common/uuid7.h"
#include "console/console.h"

/* GET /api/v1/alerts, GET /api/v1/alerts/{id} */
void get_alerts(void *ctx, struct http_request *r);
void get_alert(void *ctx, struct http_request *r);

/* Every query for alert_row_write() selects these. */
#define ALERT_COLUMNS                                                                              \
    "fingerprint, status, severity, starts_at, ended_at, labels::text, annotations::text, link, "  \
    "occurrences, incident_id, first_seen"
/* Row `i` as an element of the array that is open. */
void alert_row_write(struct buf *b, const PGresult *r, int i);

/* An id of the API: 16 hex digits. */
bool alert_id_parse(const char *text, int64_t *ret);
/* Into the answer; -ENOENT. */
int alert_write(struct visit *v, int64_t fingerprint, struct err *e) MUST_CHECK;
/* The incident it is part of; -ENOENT, -EPERM: it is part of none. */
int alert_incident(struct visit *v, int64_t fingerprint, struct uuid *ret,
                   struct err *e) MUST_CHECK;
