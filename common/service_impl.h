/* What service.c and service_http.c share: the routes that every service has. */
#pragma once

#include "common/service.h"

struct probes;

/* `name`, `checks` and `self` must outlive it. NULL when out of memory. */
struct probes *probes_new(const char *name, const struct health_check *checks, void *self);
void probes_free(struct probes *p);
/* From now on /readyz says 503. */
void probes_drain(struct probes *p);
extern const struct http_route probe_routes[]; /* their ctx is the struct probes */

CLEANUP_DEFINE(struct probes *, probes_free);
