#include "notifier/plan.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/rate.h"

#define SILENT_MAX 3

enum life_event plan_wanted(const struct wanted_input *in, const char **ret_reason)
{
    if (!in->own_end && in->delivered_seq > in->seq) {
        *ret_reason = "a newer message was delivered";
        return LIFE_SUPERSEDE;
    }
    if (in->resolved && !in->send_resolved && !in->untold) {
        *ret_reason = "send_resolved is false";
        return LIFE_SUPPRESS;
    }
    if (in->ends_only && !in->send_resolved && !in->untold) {
        *ret_reason = "send_resolved is false, and all that still fires was told";
        return LIFE_SUPPRESS;
    }
    if (in->rings && in->by_person) {
        *ret_reason = "nobody is called for what a person did";
        return LIFE_SUPPRESS;
    }
    if (in->by_edit && !in->edits) {
        *ret_reason = "a silence is shown by an edit, and there is no message to edit";
        return LIFE_SUPPRESS;
    }
    *ret_reason = "";
    return 0;
}

static int by_turn(const void *one, const void *two)
{
    const struct waiting *a = one, *b = two;

    if (a->merge != b->merge)
        return a->merge ? -1 : 1;
    if (a->severity != b->severity)
        return a->severity > b->severity ? -1 : 1;
    return (a->created_at > b->created_at) - (a->created_at < b->created_at);
}

/*
 * GCRA lets burst + minute/interval through in the worst minute. One is left out of the sum,
 * because requests do not arrive as evenly as they leave.
 */
int64_t plan_interval(uint32_t per_minute, uint32_t burst)
{
    int64_t steady = burst < per_minute ? per_minute - burst : 1;

    return (MS_MINUTE + steady - 1) / steady;
}

void plan_grants(struct waiting *v, size_t n, struct rate *r, int64_t now_ms)
{
    int64_t interval = r->per_minute ? plan_interval(r->per_minute, r->burst) : 0;

    if (n > 1)
        qsort(v, n, sizeof(*v), by_turn);
    for (size_t i = 0; i < n; i++) {
        v[i].wait_ms = 0;
        v[i].grant = GRANT_RATE;
        if (r->blocked_until > now_ms) {
            v[i].wait_ms = r->blocked_until - now_ms;
        } else if (r->room == 0) {
            v[i].grant = GRANT_ROOM;
        } else if (interval == 0 ||
                   gcra_take(&r->tat, now_ms, interval, r->burst, 1, &v[i].wait_ms)) {
            v[i].grant = GRANT_GO;
            r->room--;
        }
    }
}

bool plan_merges(bool for_people, size_t held, bool open)
{
    return for_people && (held > 1 || (held == 1 && open));
}

uint32_t plan_room(uint32_t per_destination, uint32_t under_way, uint32_t silent)
{
    uint32_t most = silent >= SILENT_MAX ? 1 : per_destination;

    return most > under_way ? most - under_way : 0;
}
