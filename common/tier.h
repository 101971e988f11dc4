/*
 * Which kind of repair an incident wants: 1 restart, 2 mitigate, 3 root cause, 4 architecture.
 * Pure. 4 when a permanent fix was applied and it fails again; 3 at PERMANENT_FIX; 2 at ESCALATE or
 * after two restarts (restart_pod and restart_container together); else 1.
 */
#pragma once

#include "common/incident.h"

struct tier_facts {
    enum escalation_level level;
    uint64_t restarts;         /* attempts of restart_pod and restart_container */
    bool permanent_fix_failed; /* action permanent_fix succeeded before this incident began */
};
int recommended_tier(const struct tier_facts *f);
