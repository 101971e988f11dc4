/*
 * What one alert's reports add up to. Pure: facts and reports in, state out; no clock, no order of
 * arrival.
 *
 * The facts of an alert are a set: its starts (each with its first and last firing report), its
 * ends, and the marks of reports without a start. Adding a report again changes nothing, and the
 * state is derived from the set, so batches, repeats and permutations agree. What was over for more
 * than one window is forgotten, but never what says what the alert is now.
 *
 * The rules:
 *  - A start is over when an end at or after it was reported later than its last firing report.
 *    Anything else fires: a firing received after an end that is not before its start re-opens it
 *    at once.
 *  - Each start covers [start, last firing report]. Covers that overlap, or lie at most one window
 *    apart with no end between, are one occurrence, known by its earliest start. An end that a
 *    later firing overruled is none.
 *  - Without starts, the first mark and the first after any end of the marks before begin an
 *    occurrence. (An end of what began before them, told late, ends none of them.)
 *  - Event sources: OPENED counts only while no event counted since the last end; each event is an
 *    occurrence by its own id (the caller's table).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/alert.h"
#include "common/incident.h"
#include "common/uuid7.h"

/* The order of everything: (received_at, request id, index of the alert in the body). */
struct order {
    int64_t at;
    struct uuid request;
    uint32_t index;
};
int order_cmp(const struct order *a, const struct order *b);

struct report {
    struct order order;
    enum report_kind kind;
    int64_t starts_at, ends_at; /* ms; 0: absent */
    struct slice event_id;
};

struct fact_start {
    int64_t start;
    struct order first, last; /* firing reports of it */
};
struct fact_end {
    int64_t end;              /* what began at or before this is over ... */
    struct order first, last; /* ... and was reported before that */
    bool silence;
    bool undone; /* an end by silence: by then it had been promised to fire for longer */
};
struct fact_mark {
    struct order order;
    enum report_kind kind; /* FIRING without a start, OPENED, OCCURRED */
};

#define MERGE_MAX 64
struct facts {
    struct fact_start starts[MERGE_MAX]; /* ascending by start */
    struct fact_end ends[MERGE_MAX];     /* ascending by end */
    struct fact_mark marks[MERGE_MAX];   /* ascending by order */
    uint32_t start_n, end_n, mark_n;
    int64_t promise;     /* latest ends_at of a firing report; 0: none */
    struct order newest; /* newest report */
};

struct merge_limits {
    int64_t window_ms;
    uint32_t starts, marks; /* 8 to MERGE_MAX each; ends share `starts` */
};

/* One time that the alert began, as derived from the facts. Events are not here: each is its own.
 */
struct occurrence {
    enum { BY_START = 1, BY_MARK } by;
    int64_t start;      /* BY_START: the earliest start; else the mark's receive time */
    struct order order; /* its first report */
};

struct alert_state {
    bool firing;
    int64_t starts_at; /* of what fires now, or fired last; 0: never fired */
    int64_t ended_at;  /* when the last end was reported (receive time); 0 while firing */
    bool by_silence;   /* the end that ended it was one by silence */
    int64_t promise;   /* silence before it says nothing; 0: none, or newer reports outlived it */
};

/* All that the facts say. Large: one at a time. */
struct derived {
    struct alert_state state;
    uint32_t occurrence_n;
    struct occurrence occurrences[2 * MERGE_MAX]; /* by start, then by mark */
};

void facts_init(struct facts *f);
/* Add one report (NOTE adds nothing). Idempotent. */
void facts_add(struct facts *f, const struct report *r, const struct merge_limits *lim);
/* An end by silence: nothing was heard after the newest report, and `at_ms` is when that became an
 * end. A longer promise undoes it when it was received until then and only comes to light; who
 * speaks after that fires anew. */
void facts_add_silence(struct facts *f, int64_t at_ms, const struct merge_limits *lim);
void facts_derive(const struct facts *f, const struct merge_limits *lim, struct derived *ret);
/* Forget what is older than a window and says nothing about now, and what is over the caps; below
 * them nothing changes but that past occurrences are not known any more. True when something was
 * forgotten: states from before must not be compared with those after. */
bool facts_prune(struct facts *f, const struct merge_limits *lim);
/* The second half of it alone: one more report fits in. facts_add() does it, too. */
bool facts_make_room(struct facts *f, const struct merge_limits *lim);

bool occurrence_same(const struct occurrence *x, const struct occurrence *y);
bool occurrence_among(const struct derived *d, const struct occurrence *o);
/* "s:<ms>", "r:<at>:<request>:<index>", "e:<event id>": the key of the occurrences table. In the
 * arena. */
struct slice occurrence_identity(const struct occurrence *o, struct arena *a);
/* Of an OCCURRED report. */
struct slice event_identity(const struct report *r, struct arena *a);

/* For the `facts` column. In the arena; {NULL,0} past its cap. */
struct slice facts_pack(const struct facts *f, struct arena *a);
/* Empty bytes give empty facts. -EBADMSG, and then *ret is empty, too. */
int facts_unpack(struct slice bytes, struct facts *ret, struct err *e) MUST_CHECK;
/* When they cannot be unpacked: what the row's other columns say of its last occurrence. Repeats of
 * what fires change nothing by it, and ends end it; anything else may be counted anew. */
struct remains {
    bool firing;
    int64_t starts_at, ended_at, last_seen; /* 0: none */
};
void facts_recover(const struct remains *row, struct facts *ret);
