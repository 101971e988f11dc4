/* Playbooks as rows: re-ranked, versioned, exported. Inside a transaction of the caller. */
#pragma once

#include "learner/attempts.h"

/*
 * After attempts_settle(): the playbooks that the decided attempts are evidence for, of the
 * anomaly, its alert name, its service, and everything. Rows are locked in the order of (tenant,
 * id), after all other locks. A playbook that does not change keeps its version.
 */
int ranking_update(struct learner *l, const struct repair *r, size_t n, int64_t now_ms,
                   struct err *e) MUST_CHECK;

/* The same for one playbook without new evidence, when its author may have changed it. */
int ranking_refresh(struct learner *l, struct slice tenant, struct slice id, int64_t now_ms,
                    struct err *e) MUST_CHECK;
