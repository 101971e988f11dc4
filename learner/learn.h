/*
 * What is tried on incidents becomes statistics and ranked playbooks. The only writer of the tables
 * repairs, repair_stats and playbooks.
 *
 * Reports become rows that wait for their outcome (decide.h); whoever's time has come is decided;
 * counts, timeline and playbooks follow in the same transaction. Decisions hold the anomaly's lock,
 * so that the incident they look at stands still.
 */
#pragma once

#include "common/metrics.h"
#include "common/offsets.h"
#include "common/pg.h"
#include "learner/playbooks.h"
#include "learner/report.h"

struct learner {
    const struct settings *settings;
    const struct playbooks *playbooks;
    const struct policy *policy;
    struct pg *pg;   /* connected */
    struct arena *a; /* reset by learn_*() */
    struct counter *decided[OUTCOME_UNKNOWN + 1], *dead;
};

/* Metrics; fields above them are the caller's. */
void learner_init(struct learner *l);

struct learn_batch {
    const struct offset_group *group;
    const struct offset_move *moves; /* the positions that the records end at */
    size_t move_n;
    const struct inbound *records;
    size_t n;
    const char *refused; /* why the only record goes to `dead` unread; NULL: it is read */
};

/*
 * Records of the topic `repairs` and their positions, in one transaction. A record that
 * is no report, or that Postgres will never take, goes to `dead` with a reason. A report that was
 * seen before changes nothing. Errors as pg_query()'s, and -ESTALE: the partition is another's.
 */
int learn_records(struct learner *l, const struct learn_batch *b, int64_t now_ms,
                  struct err *e) MUST_CHECK;

/* Decide what is due, at most one batch; *ret_n says how many were looked at. */
int learn_due(struct learner *l, int64_t now_ms, size_t *ret_n, struct err *e) MUST_CHECK;

/* Bring playbooks in line with the authors' ones: at start. Those of the default tenant. */
int learn_authors(struct learner *l, int64_t now_ms, struct err *e) MUST_CHECK;
