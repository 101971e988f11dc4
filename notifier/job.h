/* One claimed notification on its way through this process. The desk owns it; while a transfer is
 * under way only the wire touches it. */
#pragma once

#include "common/uuid7.h"
#include "notifier/life.h"
#include "notifier/outlets.h"
#include "notifier/wire.h"

#define EXCHANGES_MAX 8

struct job {
    struct arena *a; /* holds everything below */
    struct job *next;
    struct outlet *outlet; /* NULL: the configuration has no such integration any more */
    struct slice tenant;
    struct uuid id, group;
    char id_text[UUID_STR], group_text[UUID_STR];
    const char *kind;
    bool merge, digest, by_edit; /* by_edit: it is worth an edit of what was told, and no more */
    int64_t now_ms;              /* Postgres's, when the facts were read */
    int64_t seq, severity, created_at, integration, attempts, first_try;
    json_t *facts;       /* notifier/model.h, and what the decisions need beside */
    const json_t *state; /* about.state */
    struct notification message;
    const char *token; /* at hand when the conversation began; NULL: none */
    struct exchange past[EXCHANGES_MAX];
    size_t past_n;
    struct step step;
    struct transfer transfer;
    int64_t loaded_at, lease_ends; /* monotonic */

    /* How it ended, or LIFE_RELEASE. */
    enum life_event end; /* 0: not yet */
    const char *reason;
    int64_t wait_ms;  /* RELEASE */
    int64_t ended_at; /* of the attempt, by Postgres's clock as near as we know it */
    bool attempted;   /* a delivery row is due */
    bool unanswered;  /* may have arrived: possible duplicate from now on */
    bool limited;     /* nothing to this destination for wait_ms */
    bool ill, well;   /* it did not answer, or with an error of its own; it did answer */
    bool silenced;    /* SUPPRESS, WITHHOLD: the group is to be told when the silence is over */
    bool shrinks;     /* SUPPRESS: its group of alerts goes on without the ends that it tells */
    bool gone;        /* nothing to this destination any more */
    bool awaited;     /* ACCEPT: its vendor says later whether it arrived */
    bool rendered;
    const char *fault; /* why the user's template gave nothing for it; NULL: it did, or is none */
    int status;
    int64_t duration_ms;
    const char *answer;
    const json_t *keep; /* reference to remember */
};

void job_free(struct job *j);
void job_free_list(struct job *list);
/* What Postgres said about one notification. */
struct job_input {
    struct slice tenant, head, others; /* JSON objects that together are the facts */
    struct slice frequency;            /* packed, may be empty */
    int64_t now_ms;
};
/* NULL with a reason. */
struct job *job_new(const struct job_input *in, const struct outlets *o, struct err *e) MUST_CHECK;
const json_t *job_about(const struct job *j);
/* Did something fire before this message, and nobody was told? Fills facts.missed; see model.h. */
void job_missed(struct job *j);
/* Members of a merge that are still news, one per group: facts.members is replaced. The number
 * left. */
size_t job_members(struct job *j);
