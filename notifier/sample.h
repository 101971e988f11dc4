/* The facts of a message (model.h) out of what the API says of an incident, for trying layouts and
 * channels without a database. Pure. */
#pragma once

#include <jansson.h>
#include <stdint.h>

/* `api`: as GET /api/v1/incidents/{id} gives it; what is missing is left out. A new reference; NULL
 * when out of memory. */
json_t *sample_facts(const json_t *api, const char *receiver, int64_t now_ms);
/* What --send-test tells, as the API would give it. */
json_t *sample_incident(void);
