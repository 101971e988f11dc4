/*
 * The rows of groups to be, each with the timer that looks at it. Whoever finds that somebody is to
 * be told by a group writes it, whether it is there or not.
 */
#pragma once

#include "common/pg.h"
#include "processor/group.h"

struct group_row {
    struct slice tenant;
    struct group_identity is;
    const struct route *route;
    const struct receiver *receiver;
    struct uuid incident;
    struct labels routed_by;
    int64_t since_ms;
    int64_t due_ms; /* the first look; of a digest, the next */
    bool wake;      /* look now, should it be there */
};

/* Who tells the group, which becomes another where that is not the route's receiver: that a
 * receiver takes nothing is told by its fallback, in a group of the fallback's own. Nobody: false,
 * unless a row shall say so. */
bool group_teller(const struct route *route, struct labels labels, struct group_identity *id,
                  const struct receiver **ret);

/* The statement and its parameters; NULL when they do not fit. */
extern const char group_rows_sql[];
struct pg_args *group_rows_args(struct arena *a, const struct group_row *v, size_t n,
                                int64_t now_ms);
