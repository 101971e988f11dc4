/*
 * What becomes of claimed notifications before the send: which are still wanted, which may go now,
 * which are told together. Pure: the desk brings rows, rates and the time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "notifier/life.h"

/* Is it still wanted? */
struct wanted_input {
    bool own_end; /* a merge or digest: no newer message says the same */
    bool resolved, send_resolved;
    bool untold;           /* of what is over, some was never told as firing */
    bool ends_only;        /* it tells ends; all that fires was told */
    bool rings, by_person; /* somebody is called; it tells what a person did */
    bool by_edit, edits;   /* it is worth an edit alone; there is a message that can be edited */
    int64_t seq, delivered_seq;
};
/* LIFE_SUPERSEDE, LIFE_SUPPRESS or 0: send it. *ret_reason for the ledger. */
enum life_event plan_wanted(const struct wanted_input *in, const char **ret_reason);

/* One message that waits for a destination. */
enum grant {
    GRANT_GO = 1,
    GRANT_RATE, /* the rate is used up until wait_ms have passed */
    GRANT_ROOM, /* too many requests are under way there */
};
struct waiting {
    bool merge; /* told together already: waits longest, goes first */
    int64_t severity, created_at;
    void *own;        /* the caller's */
    enum grant grant; /* out */
    int64_t wait_ms;  /* out, GRANT_RATE */
};

struct rate {
    uint32_t per_minute, burst; /* 0: no limit */
    uint32_t room;              /* requests that may begin */
    int64_t tat, blocked_until; /* of the destination's row */
};
/* The time between two messages once the burst is gone: no minute sees more than per_minute. */
int64_t plan_interval(uint32_t per_minute, uint32_t burst);
/* Sorts v: merges, then severe before mild, old before new; grants from the front; advances r->tat.
 */
void plan_grants(struct waiting *v, size_t n, struct rate *r, int64_t now_ms);

/* Should messages that the rate held back be told in one? `held` of them, `open` one is waiting to
 * be joined. */
bool plan_merges(bool for_people, size_t held, bool open);

/* How many requests may begin at a destination: one probe while it does not answer. */
uint32_t plan_room(uint32_t per_destination, uint32_t under_way, uint32_t silent);
