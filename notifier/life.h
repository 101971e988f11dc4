/*
 * The life of a notification row, in one table. Every UPDATE of notifications.state takes its
 * states from here. Pure.
 *
 *     pending → sending → delivered | failed | superseded | suppressed | merged, or back to pending
 *     merged → suppressed, while its merge waits
 *     delivered → failed, when the vendor reports so
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum life_state {
    LIFE_PENDING = 1,
    LIFE_SENDING,
    LIFE_DELIVERED,
    LIFE_FAILED,
    LIFE_SUPPRESSED,
    LIFE_SUPERSEDED,
    LIFE_MERGED, /* shares the end of the row that it was merged into */
};

enum life_event {
    LIFE_CLAIM = 1, /* a worker takes it */
    LIFE_RECLAIM,   /* its lease ran out: another worker takes it, it may double */
    LIFE_RELEASE,   /* not now: retry, rate, no room, drain */
    LIFE_ACCEPT,    /* the channel took it */
    LIFE_GIVE_UP,   /* the channel refused it, or time is up */
    LIFE_SUPPRESS,  /* nobody wants it */
    LIFE_SUPERSEDE, /* a newer one of the same group was delivered */
    LIFE_MERGE,     /* the rate is used up: told in a digest */
    LIFE_WITHHOLD,  /* a silence keeps it from the digest that would tell it */
    LIFE_REFUTE,    /* the channel had taken it, and says now that it was lost */
    LIFE_EVENTS
};

/* "pending" ...: as stored. */
const char *life_state_name(enum life_state s);
enum life_state life_state_parse(const char *name, size_t len); /* 0: none */
bool life_ended(enum life_state s);

/* The state after `event`; 0 when it cannot happen in `from`. */
enum life_state life_next(enum life_state from, enum life_event event);
/* Names of the states in which `event` can happen: fills at most 7, returns how many. */
size_t life_from(enum life_event event, const char *ret[7]);
enum life_state life_to(enum life_event event);
