/*
 * What the laws are tried on: generated histories of what was said about a handful of alerts, in
 * the order in which the workers hear it. Every history is made from one number, and is plain
 * enough to be cut down record by record and printed when it breaks a law.
 */
#pragma once

#include <stdio.h>

#include "processor/change.h"

#define BASE INT64_C(1767322800000) /* 2026-01-02 03:00:00 UTC */
#define SECOND INT64_C(1000)
#define WINDOW (600 * SECOND)
#define ALERTS 6
#define ANOMALIES 3
#define HISTORY_MAX 120

enum input_kind {
    SAID = 1, /* a record */
    SILENCE,  /* the alert ends by silence at report.order.at */
    BY_HAND,  /* a person resolves the incident of the alert's anomaly, at report.order.at */
};

struct said {
    enum input_kind input;
    struct report report;
    uint32_t alert, partition;
    bool earlier; /* part of the prelude: long over when the rest begins */
    bool cut;     /* a batch ends behind it */
};

struct history {
    struct said v[HISTORY_MAX];
    size_t n;
    struct merge_limits limits;
    int64_t open_limit; /* of incidents; 0: none */
};

uint32_t anomaly_index(uint32_t alert);
enum severity severity_first(uint32_t alert);
enum severity severity_later(uint32_t alert);

/* ---- dice ---- */

struct dice {
    uint64_t state;
};
uint64_t roll(struct dice *d);
uint32_t below(struct dice *d, uint32_t n); /* [0, n) */
bool one_in(struct dice *d, uint32_t n);

/* ---- making ---- */

enum arrival {
    IN_ORDER, /* as received */
    LAGGING,  /* one partition is behind the other, by less than a window */
    ANY_ORDER,
};

struct profile {
    int64_t span; /* receive times lie in [BASE, BASE + span] */
    enum arrival arrival;
    uint32_t alerts, motifs; /* at most */
    bool prelude, copies, silences, by_hand, storms;
    struct merge_limits limits;
    int64_t open_limit; /* at most; 0: none */
};
void history_make(struct dice *d, const struct profile *p, struct history *ret);

int said_cmp(const struct said *a, const struct said *b); /* by order */
/* The same records once each, in order, prelude first; cuts where they were. */
void history_sorted(const struct history *h, struct history *ret);
/* Below the caps of facts, and without what they cannot hold. */
bool history_is_bounded(const struct history *h);
void history_print(const struct history *h, FILE *to);

/* ---- the awkward cases ---- */

enum awkward {
    HA_PAIR,
    REFIRE_EQUAL_START,
    STARTLESS_TTRT,
    RESOLVE_ARRIVES_FIRST,
    FUTURE_START,
    ENDS_AT_WITHOUT_STARTS,
    PARTITION_LAGS,
    RESOLVE_OF_UNKNOWN,
    EVENT_TOLD_TWICE,
    EVENT_WITHOUT_ID,
    OPENED_THEN_EVENT,
    MARK_CAP,
    START_CAP,
    COVERS_TOUCH,
    COVERS_JUST_APART,
    EQUAL_TIMES,
    TWICE_IN_ONE_BODY,
    END_EQUALS_START,
    SAME_END_AGAIN,
    COPY_OF_A_RECORD,
    PROMISED_UNTIL,
    AWKWARDS
};
const char *awkward_name(enum awkward c);
/* Which of them are in the history, by looking at it: bit c. */
uint32_t awkward_in(const struct history *h);
