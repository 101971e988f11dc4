/* What a decoder made of a body, as JSON for people to read: --try-source, and the golden tests. */
#pragma once

#include <jansson.h>

#include "common/alert.h"

/* {kind, fingerprint, anomaly, labels, annotations, severity, times, and what else there is}; NULL
 * when out of memory. The caller's. */
json_t *alert_event_json(const struct alert_event *ev, struct slice tenant);
