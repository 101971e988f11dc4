/*
 * What a run of reports changes about one alert. Pure.
 *
 * Each report is added to the facts in order and the state before and after is compared: the alert
 * began, ended, began again. The facts are pruned after each, so where a batch was cut does not
 * matter. Which of the named occurrences are new to the world is for the table to say (it is a
 * set); `counted` is filled by the caller from its answer.
 */
#pragma once

#include "processor/merge.h"

enum change_kind {
    CHANGE_BEGAN = 1, /* not firing → firing */
    CHANGE_AGAIN,     /* firing already: a further occurrence */
    CHANGE_ENDED,     /* firing → not firing */
};

struct change {
    enum change_kind kind;
    struct order order;      /* of the report that made it */
    int64_t at;              /* record time */
    struct slice occurrence; /* BEGAN, AGAIN: identity that this may count; p NULL: none (a flap) */
    bool by_silence;         /* ENDED */
    bool past;     /* BEGAN and its ENDED: begun and over before this was known; nothing unless
                      `counted` */
    bool again;    /* BEGAN, AGAIN: not the alert's first occurrence ever: severity_again holds */
    size_t report; /* index of the report: title, severity, annotations of that moment */
    bool counted;  /* by the caller: the identity was new */
};

/* An identity that turned out to be part of another. With `into` the same occurrence has a new
 * name, and nothing is counted; without, there is one less. */
struct gone {
    struct slice identity, into;
};

struct change_list {
    struct change *v;
    size_t n;
    struct gone *gone;
    size_t gone_n;
    struct alert_state state; /* in the end */
};

/* `reports` ascending by order. *facts is advanced and pruned. `ever` says that the alert had an
 * occurrence before. In the arena; -ENOMEM past its cap. */
int change_run(struct facts *facts, const struct report *reports, size_t n, bool ever,
               const struct merge_limits *lim, struct arena *a, struct change_list *ret) MUST_CHECK;
/* The same for an end by silence at `at_ms`. */
int change_silence(struct facts *facts, int64_t at_ms, const struct merge_limits *lim,
                   struct arena *a, struct change_list *ret) MUST_CHECK;
