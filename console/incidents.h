/* Incidents as the API shows them. Inside console_answer(). */
#pragma once

#include "common/uuid7.h"
#include "console/console.h"

/* GET /api/v1/incidents */
void get_incidents(void *ctx, struct http_request *r);
/* GET /api/v1/incidents/{id} */
void get_incident(void *ctx, struct http_request *r);

/* One incident into the answer, as an element; `detail`: with timeline, alerts and notifications.
 * -ENOENT. */
int incident_write(struct visit *v, const struct uuid *id, bool detail, struct err *e) MUST_CHECK;
/* Timeline, alerts and notifications as members of the object that is open, and for each whether
 * there is more of it than is shown. */
int incident_write_detail(struct visit *v, const struct uuid *id, struct err *e) MUST_CHECK;
