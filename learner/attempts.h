/* Attempts as rows: inserted, claimed, judged, settled. Inside a transaction of the caller. */
#pragma once

#include "common/uuid7.h"
#include "learner/learn.h"

struct repair {
    struct uuid id, incident_id;
    struct slice tenant, action, actor, note;
    struct slice anomaly_key, alert_name, service; /* empty while !known */
    bool known;                                    /* the incident exists */
    bool fresh;                                    /* inserted by this transaction */
    struct attempt attempt;
    int32_t attempt_number;
    struct decision decision;
};

/* Name the incidents' anomalies. Unlocked: they never change. */
int attempts_find(struct learner *l, struct repair *r, size_t n, struct err *e) MUST_CHECK;
/* Rows for those that have none; sets `fresh`. */
int attempts_insert(struct learner *l, struct repair *r, size_t n, struct err *e) MUST_CHECK;
/* Pending ones whose time has come and that nobody else holds, at most a batch, into the arena. */
int attempts_claim(struct learner *l, int64_t now_ms, struct repair **ret, size_t *ret_n,
                   struct err *e) MUST_CHECK;
/* Lock the anomalies of all of them. */
int attempts_lock(struct learner *l, const struct repair *r, size_t n, struct err *e) MUST_CHECK;
/* Set `decision`. Under the lock. */
int attempts_judge(struct learner *l, struct repair *r, int64_t now_ms, struct err *e) MUST_CHECK;
/* Write the decision: row, counts, timeline. */
int attempts_settle(struct learner *l, const struct repair *r, int64_t now_ms,
                    struct err *e) MUST_CHECK;
