/*
 * What a vendor says of a message some time after it took it: that it arrived, or that it never
 * will. Kept by whoever is called back; the notifier ends the ledger's row by it
 * (notifier/store_report.c).
 */
#pragma once

#include "common/pg.h"
#include "common/uuid7.h"

enum report_state {
    REPORT_UNDER_WAY = 1,
    REPORT_SENT,
    REPORT_ARRIVED,
    REPORT_LOST /* for good, as ARRIVED is: whichever of the two is said first stands */
};
const char *report_state_name(enum report_state s); /* "under way" ...: as the API says it */

struct report {
    struct uuid notification;
    int32_t attempt; /* of it, from 1: one that another followed decides nothing */
    enum report_state state;
    struct slice words; /* the vendor's own, valid UTF-8; never NULL */
};

/* Reports come out of order and twice: what says no more than is known changes nothing. -ENOENT: no
 * such notification. One statement; locks nothing else. */
int report_store(struct pg *pg, struct arena *a, struct slice tenant, const struct report *r,
                 struct err *e) MUST_CHECK;
