/* What a person does to an incident. */
#pragma once

#include "console/console.h"

/* PUT /api/v1/incidents/{id}/status, PUT /api/v1/alerts/{id}/status */
void put_incident_status(void *ctx, struct http_request *r);
void put_alert_status(void *ctx, struct http_request *r);
