#include "common/tier.h"

int recommended_tier(const struct tier_facts *f)
{
    if (f->permanent_fix_failed)
        return 4;
    if (f->level >= LEVEL_PERMANENT_FIX)
        return 3;
    return f->level >= LEVEL_ESCALATE || f->restarts >= 2 ? 2 : 1;
}
