/*
 * What became of one repair attempt. Pure.
 *
 * What is reported is a claim. Success needs the incident resolved within the settle window and
 * quiet for the stability window; failure is that it did not; unknown is what nobody can tell, and
 * changes no count. A report made after the incident was over stands for an attempt before it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"

enum outcome { OUTCOME_PENDING = 1, OUTCOME_SUCCESS, OUTCOME_FAILURE, OUTCOME_UNKNOWN };
const char *outcome_name(enum outcome o); /* "pending", "success" ... */
bool outcome_parse(struct slice s, enum outcome *ret);

struct attempt {
    int64_t at;
    enum outcome claim;
    bool verified; /* the reporter may say so, and did: the claim is the outcome */
};

enum event_kind {
    EVENT_RESOLVED = 1,    /* by its alerts, or by a person who said why */
    EVENT_RESOLVED_MUTELY, /* by a person without a word */
    EVENT_EXPIRED,         /* nobody reported any more */
    EVENT_REOPENED
};

struct event {
    int64_t at;
    enum event_kind kind;
};

struct history {
    bool known;                 /* the incident exists */
    int64_t resolved_at;        /* as it stands now; 0: not resolved */
    const struct event *events; /* ascending, from settle before the attempt on */
    size_t event_n;
    int64_t other_at; /* the first attempt of anything on this incident after this one; 0: none */
    struct slice other_action;
    const int64_t *occurrences; /* of the anomaly, ascending: the newest ones */
    size_t occurrence_n;
    int64_t forgotten; /* newest occurrence that is not among them; 0: none */
};

struct windows {
    int64_t settle, stability;
    int64_t lag; /* what happened this long ago has surely been processed */
};

struct decision {
    enum outcome outcome;
    int64_t look_at; /* pending: not before then */
    char reason[160];
};

struct decision decide(const struct attempt *a, const struct history *h, const struct windows *w,
                       int64_t now_ms);
