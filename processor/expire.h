/*
 * Ends by silence. An alert whose promise ran out is over only when nobody can have said otherwise
 * unheard: every partition that feeds it has been read to its end, and an ingest has beaten without
 * a gap, for `absence_grace`. An outage of ours resolves nobody's alerts.
 */
#pragma once

#include "common/offsets.h"
#include "common/rules.h"
#include "processor/work.h"

struct expiry {
    const struct settings *settings;
    const struct route *routes;
    const struct rules *rules;
    struct offset_group group;
};

/* The runner's callback: in its transaction, after it claimed timers of these alerts. What is not
 * due yet, or must not be judged yet, is armed again. */
int expire_run(void *expiry, struct pg *pg, const struct silence *v, size_t n,
               struct err *e) MUST_CHECK;
