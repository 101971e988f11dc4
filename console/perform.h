/* What a token of common/act.h allows, done: from a link, a button or a key of a telephone. */
#pragma once

#include "common/act.h"
#include "common/incident.h"
#include "console/console.h"

/* Every way in asks here whose token it is. */
enum act_check grant_read(const struct console *c, struct slice token, int64_t now_ms,
                          struct arena *a, struct act_grant *ret);

/* `who`: what the person says of himself, or the vendor of him; may be empty, and any bytes. The
 * timeline names him and the receiver that was given the token. -ENOENT, -EPERM: not possible in
 * the incident's state. */
int perform(struct visit *v, const struct act_grant *g, struct slice who,
            struct incident_silenced *ret, struct err *e) MUST_CHECK;
