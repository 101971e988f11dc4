#include "common/proposal.h"

#include <inttypes.h>
#include <math.h>

#include "common/clock.h"

double wilson_lower(uint64_t successes, uint64_t attempts)
{
    const double z = 1.959963984540054;

    if (attempts == 0)
        return 0;
    const double n = (double)attempts, p = (double)successes / n, zz = z * z / n;
    const double low = (p + zz / 2 - z * sqrt(p * (1 - p) / n + zz / (4 * n))) / (1 + zz);
    return low > 0 ? low : 0;
}

static const char *age_text(struct arena *a, int64_t age)
{
    static const struct {
        int64_t ms;
        const char *one;
    } units[] = {{MS_DAY, "day"}, {MS_HOUR, "hour"}, {MS_MINUTE, "minute"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        const int64_t n = age / units[i].ms;
        if (n > 0)
            return arena_printf(a, "%" PRId64 " %s%s ago", n, units[i].one, n == 1 ? "" : "s");
    }
    return "just now";
}

/* What the numbers are about: those of a wider playbook were not earned here. */
static const char *subject(struct slice playbook_id)
{
    static const struct {
        const char *prefix, *words;
    } known[] = {
        {"anomaly:", "this"}, {"alert:", "alerts of this name"}, {"service:", "this service"}};

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (playbook_id.len >= strlen(known[i].prefix) &&
            memcmp(playbook_id.p, known[i].prefix, strlen(known[i].prefix)) == 0)
            return known[i].words;
    return "problems of any kind";
}

const char *proposal_text(struct arena *a, const struct proposal *p, int64_t now_ms)
{
    const char *sep = p->text.len > 0 ? ": " : "";

    if (p->attempts == 0)
        return arena_printf(a, "%.*s%s%.*s has no known outcome yet", SLICE_FMT(p->text), sep,
                            SLICE_FMT(p->action));
    const char *age = age_text(a, now_ms - p->last_used);
    return age ? arena_printf(a,
                              "%.*s%s%.*s fixed %s %" PRIu64 " of %" PRIu64
                              " times (Wilson lower bound %.0f %%), last used %s",
                              SLICE_FMT(p->text), sep, SLICE_FMT(p->action),
                              subject(p->playbook_id), p->successes, p->attempts,
                              100 * wilson_lower(p->successes, p->attempts), age)
               : NULL;
}
