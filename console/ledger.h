/*
 * The ledger: what was sent, to whom, when, with what answer, and if not, why not. One query reads
 * it for the list, for one row and for an incident; an incident's ledger holds every message that
 * spoke of it, digests and messages about a group of alerts too.
 */
#pragma once

#include "common/uuid7.h"
#include "console/console.h"

/* GET /api/v1/notifications */
void get_notifications(void *ctx, struct http_request *r);
/* GET /api/v1/notifications/{id} */
void get_notification(void *ctx, struct http_request *r);
/* GET /api/v1/incidents/{id}/notifications */
void get_incident_notifications(void *ctx, struct http_request *r);

/* The newest of an incident, oldest first, as member `notifications` of the object that is open,
 * and `notifications_more`: there are older ones. */
int ledger_write_incident(struct visit *v, const struct uuid *id, struct err *e) MUST_CHECK;
