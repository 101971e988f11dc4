/*
 * A worker and its database without a database: facts in their stored form, the table of
 * occurrences as a set, anomalies and incidents as rows. It drives the pure core as work_merge.c
 * does, batch by batch, and looks after each whether the rows still agree with one another.
 */
#pragma once

#include "history.h"
#include "processor/aggregate.h"

#define INCIDENTS_MAX 64
#define WORLD_NAMES (2 * HISTORY_MAX)

struct world_name {
    struct slice name;
    int64_t at;
};

struct world_alert {
    struct alert_row row;
    struct slice packed; /* facts */
    struct alert_state state;
    struct world_name names[WORLD_NAMES];
    size_t name_n;
};

struct world {
    struct arena *a;
    struct merge_limits limits;
    int64_t open_limit;
    struct world_alert alerts[ALERTS];
    struct anomaly_state anomalies[ANOMALIES + 1]; /* the last is the overflow's */
    struct incident *incidents[INCIDENTS_MAX];
    size_t incident_n;
    struct news_list news; /* of the last batch */
    bool took_back;        /* an occurrence that had been counted turned out to be none */
    bool acted;            /* a person resolved something */
    const char *broken;    /* the first thing that did not agree; NULL: all well */
};

void world_init(struct world *w, const struct history *h, struct arena *a);
/* One batch. Ends by silence and acts of persons come alone. */
void world_batch(struct world *w, const struct said *v, size_t n);
/* All of it, cut where the history says, or (`whole`) only where it must be. */
void world_run(struct world *w, const struct history *h, bool whole);
/* What it looks after, one report at a time, came. */
void world_tried(void);
/* What differs between two worlds as far as the laws care: alerts, occurrences, incidents. NULL:
 * nothing. `exactly`: what was told in the meantime must be the same, too. */
const char *world_differs(struct world *one, struct world *other, bool exactly);
