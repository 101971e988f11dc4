/*
 * How many more incidents a tenant may open. Past limits.open_incidents what would open one joins
 * the tenant's one overflow incident instead: visible, and nothing vanishes. The count is read
 * without a lock and some seconds old, so the limit is one of scale, not exact.
 */
#pragma once

#include "common/pg.h"
#include "processor/aggregate.h"

struct rooms;
struct rooms *rooms_new(uint32_t limit) MUST_CHECK; /* limit 0: none */
void rooms_free(struct rooms *r);

/* What is left for each of the tenants in v. Before BEGIN. */
int rooms_ask(struct rooms *r, struct pg *pg, struct arena *a, struct room *v, size_t n,
              struct err *e) MUST_CHECK;
/* After the commit: what is left now. */
void rooms_took(struct rooms *r, const struct room *v, size_t n);
