/*
 * One unit of work on alerts: what was reported (a batch of records) or not reported any more (ends
 * by silence), and everything that follows from it in one transaction. The steps, in order:
 *
 *   work_sort     reports by alert, alerts by key                      pure
 *   work_guess    which anomalies will change                          unlocked read, before BEGIN
 *   work_lock     anomalies, incidents, alerts, in the lock order
 *   work_merge    reports → changes → incidents → news                 one visit to `occurrences`
 *   work_store    rows, timeline, groups, digest items, timers         one round trip
 *
 * The last three answer -EAGAIN when the guess was too small, or somebody else wrote an alert that
 * had no row to lock: roll back and do it again.
 *
 * All memory is the arena's; a failed unit is done again from its inputs in a fresh one.
 */
#pragma once

#include "common/arena.h"
#include "common/pg.h"
#include "common/record.h"
#include "common/route.h"
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
    bool known;               /* there is a row: at the guess, then under the lock */
    bool touched;             /* by the guess: something begins or ends; its anomaly is locked */
    bool silent; /* no reports: an end by silence, if under the lock the row still says `silence_at`
                  */
    int64_t silence_at;

    /* from the locked row */
    struct slice packed; /* facts; after work_merge() the new ones */
    struct remains remains;
    bool recovered; /* nobody could read them */
    struct slice source, labels_json;
    struct uuid incident_id; /* row.incident's, when it has one */
    bool has_incident, ever;
    int64_t quiet_at;
    enum severity severity;

    struct change_list changes;
    const struct input **said; /* inputs without NOTEs: what a change's `report` points to */
    size_t said_n;
    const struct input
        *newest; /* the last of them that fires: words and annotations of now; NULL: none */
    int64_t occurrences_added, last_seen;
};

struct work {
    const struct settings *settings;
    const struct route *routes; /* NULL: nobody is told anything */
    struct arena *a;
    int64_t now_ms; /* wall clock of the worker, for timers only */

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
    bool due_now; /* work_store() inserted a timer that is due: kick the runner */
};

int work_sort(struct work *w, const struct input *inputs, size_t n, struct err *e) MUST_CHECK;
int work_sort_silences(struct work *w, const struct silence *s, size_t n, struct err *e) MUST_CHECK;
int work_guess(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
int work_lock(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
int work_merge(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
int work_store(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;

/* Part of work_store(): rows of alerts, and when silence would end them. The new ones are all ours
 * if as many were inserted as there are. */
struct fresh_alerts {
    PGresult *r; /* of the insert, once the pipeline ended; NULL: there are none. The caller's */
    size_t n;
};
int alerts_store(struct work *w, struct pg *pg, struct fresh_alerts *ret, struct err *e) MUST_CHECK;
/* Part of work_store(): groups, members, digest items and timers for the news. */
int reach_store(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;
/* Part of work_store(): entries for the news and the notes. */
int timeline_store(struct work *w, struct pg *pg, struct err *e) MUST_CHECK;

struct merge_limits work_limits(const struct work *w);
/* Alerts whose column `facts` nobody could read. */
struct counter *work_recovered(void);
