/*
 * One unit of work on alerts: what was reported (a batch of records) or not reported any more (ends
 * by silence), and everything that follows from it in one transaction. The steps, in order:
 *
 *   work_sort     reports by alert, alerts by key                      pure
 *   work_guess    which alerts will begin or end                       unlocked read
 *   work_lock     their anomalies, incidents, rows, in the lock order
 *   work_merge    reports → changes → incidents → news                 one visit to `occurrences`
 *   work_store    rows, timeline, groups, digest items, timers         one round trip
 *
 * Most reports repeat what is known: their alerts are not locked but written if their facts still
 * are what was read, as new ones are if there still is no row. The last three steps answer -EAGAIN
 * when the guess was too small or somebody else was faster: roll back and do it again, cautiously.
 *
 * All memory is the arena's; a failed unit is done again from its inputs in a fresh one.
 */
#pragma once

#include <errno.h>

#include "common/arena.h"
#include "common/pg.h"
#include "common/record.h"
#include "common/rules.h"
#include "common/settings.h"
#include "common/source.h"
#include "processor/aggregate.h"

/* One alert event of one record. The caller's; outlives every attempt. */
struct input {
    const struct record *record;
    const struct alert_event *event;
    const struct source_entry *source;
    struct report report;
    struct slice tenant;
    bool skip; /* its delivery id was processed before */
};

/* An alert that may end by silence: its promise ran out at `quiet_at`, and whoever feeds it was
 * heard all the while. */
struct silence {
    struct slice tenant;
    uint64_t fingerprint;
    int64_t quiet_at;
};

/* One distinct alert. */
struct alert_work {
    struct alert_row row;              /* first: news point to it, and from it back here */
    const struct input *const *inputs; /* ascending by order; NOTEs among them */
    size_t input_n;
    struct anomaly signature; /* of the row, or of its first report when there is no row */
    bool known;               /* there is a row */
    bool locked;              /* ... and it is ours */
    bool touched; /* by the guess: something begins, ends or is acknowledged; its anomaly is locked
                   */
    bool acknowledges; /* one of its inputs does */
    bool silent; /* no reports: an end by silence, if under the lock the row still says `silence_at`
                  */
    int64_t silence_at;

    /* from the row */
    struct slice facts, packed; /* as read, and as they shall be */
    struct remains remains;
    bool recovered;                   /* nobody could read them */
    struct slice source, labels_json; /* locked only */
    struct uuid incident_id;          /* row.incident's, when it has one */
    bool has_incident, ever;
    int64_t quiet_at;
    enum severity severity;

    uint64_t rated[SEVERITY_CRITICAL + 1]; /* rules_rated() by severity, for these words ... */
    uint32_t rated_known;                  /* ... where this bit is set */
    const char *rated_for;

    struct change_list changes;
    const struct input **said; /* inputs without NOTEs: what a change's `report` points to */
    size_t said_n;
    const struct input
        *newest; /* the last of them that fires: words and annotations of now; NULL: none */
    int64_t occurrences_added, last_seen;
};

/* An incident that was acknowledged by a record. */
struct acknowledged {
    const struct input *input;
    const struct incident *incident;
};

struct work {
    const struct settings *settings;
    const struct route *routes; /* NULL: nobody is told anything */
    const struct rules *rules;  /* NULL: none */
    struct arena *a;
    int64_t now_ms; /* wall clock of the worker, for timers only */
    bool cautious;  /* lock what only repeats itself, too: the last attempt met somebody else */

    const struct input *inputs;
    size_t input_n;

    struct alert_work *alerts; /* by (tenant, fingerprint) */
    size_t alert_n;
    struct anomaly_state *anomalies; /* by (tenant, key): the locked ones */
    size_t anomaly_n;
    struct incident *incidents; /* as locked; new ones are the anomalies' */
    size_t incident_n;
    struct room *rooms; /* one a tenant; none: no limit */
    size_t room_n;
    struct news_list news;
    struct acknowledged *acknowledged;
    size_t acknowledged_n;
    bool due_now; /* work_store() inserted a timer that is due: kick the runner */
};

static inline int batch_too_large(struct err *e)
{
    return err_set(e, -ENOMEM, "batch: too large for its memory");
}

int work_sort(struct work *w, const struct input *inputs, size_t n, struct err *e) MUST_CHECK;
int work_sort_silences(struct work *w, const struct silence *s, size_t n, struct err *e) MUST_CHECK;
int work_guess(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
int work_lock(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
int work_merge(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
int work_store(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;

/* Part of the guess, and of the merge for what is locked since: what an alert's reports, or
 * silence, make of the facts as read. */
int alert_change(struct work *w, struct alert_work *al, struct err *e) MUST_CHECK;

/* Part of work_store(): rows of alerts, and when silence would end them. All are ours if as many
 * were written as should be. */
struct written {
    PGresult *r; /* once the pipeline ended; NULL: nothing to write. The caller's */
    size_t n;
};
struct alerts_written {
    struct written known, fresh;
};
int alerts_store(struct work *w, struct pg *pg, struct alerts_written *ret,
                 struct err *e) MUST_CHECK;
/* Labels that a change of an alert is routed by: those of its report, or of its row when nothing
 * was reported. */
int work_labels(struct work *w, const struct alert_work *al, const struct change *c,
                enum severity severity, struct labels *ret, struct err *e) MUST_CHECK;
/* Part of the merge, before anything is counted: the fingerprint that a sender gave the alert of an
 * incident that is open without one. */
int rules_learn(struct work *w, struct err *e) MUST_CHECK;
/* Part of the merge, after `c`, whose first news is at `from`: is the rate of a rule exceeded by it
 * that decides where the incident is told? That is news, too. */
int rules_count(struct work *w, struct alert_work *al, const struct change *c, size_t from,
                struct err *e) MUST_CHECK;
/* Part of work_store(): groups, members, digest items and timers for the news. */
int reach_store(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
/* Part of work_store(): entries for the news and the notes. */
int timeline_store(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;

struct merge_limits work_limits(const struct work *w);
/* Alerts whose column `facts` nobody could read. */
struct counter *work_recovered(void);
