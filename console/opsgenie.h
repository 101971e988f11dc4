/* Reads of Opsgenie's API, whose requests ingest takes. */
#pragma once

#include "console/console.h"

/* GET /v2/alerts/requests/{id} */
void get_opsgenie_request(void *ctx, struct http_request *r);
