/*
 * How changes of alerts become incidents. Pure: rows as locked, changes in order, new rows and news
 * out.
 *
 * While an incident of an anomaly is open every further occurrence joins it. Firing again within
 * the aggregation window of its end re-opens it, later opens a new one. It is over when the last of
 * its alerts is. A manual resolve holds until a new occurrence. Crossing a threshold of frequency
 * raises the severity one step.
 */
#pragma once

#include "common/frequency.h"
#include "common/rules.h"
#include "processor/change.h"

struct incident {
    struct slice tenant;
    struct uuid id;
    enum incident_status status;
    enum resolved_by resolved_by; /* 0 unless resolved */
    enum severity severity;
    enum escalation_level level, opened_level;
    int32_t episode, alerts_firing, alerts_total;
    int64_t occurrences, opened_at, episode_at, updated_at, resolved_at, window_start, last_seen;
    int64_t impact_users, impact_events;
    struct slice title, description, source, alert_name, service, namespace, environment,
        error_type, link, owner;
    struct slice words; /* of the first alert whose sender gave it a fingerprint, one a line */
    uint64_t crossed; /* common/rules.h: rates that were exceeded since it began, or began again */
    const struct anomaly_state *anomaly;
    bool is_new, dirty;
};

/* What is left of limits.open_incidents for a tenant. Without any, what would open an incident
 * joins the one of the anomaly `overflow`. */
#define OVERFLOW_ALERT "TocsinOverflow"
struct room {
    struct slice tenant;
    int64_t left;
    struct anomaly_state *overflow; /* NULL: not locked; there is room for all of this batch */
};

struct anomaly_state {
    struct slice tenant;
    struct anomaly id;
    struct frequency frequency;
    int64_t first_seen, last_seen, occurrences, version;
    struct incident *incident; /* the open one, or the last; NULL: none yet */
    struct room *room;         /* NULL: no limit */
    bool dirty;
};

/* One alert in this batch: its row as locked, and as it shall be. */
struct alert_row {
    struct slice tenant;
    uint64_t fingerprint;
    struct anomaly_state *anomaly;
    struct incident *incident; /* of the row: it is or was part of it; NULL: none */
    bool firing;               /* before the change at hand */
};

enum news_kind {
    NEWS_OPENED = 1,
    NEWS_REOPENED,
    NEWS_RECURRED, /* a further occurrence or flap while open: of interest to digests and to groups
                      of alerts */
    NEWS_CROSSED,  /* `level` was reached */
    NEWS_SEVERITY, /* raised by a more severe alert */
    NEWS_RULE,     /* `rule` decides from now on where it is told */
    NEWS_ALERT_ENDED,
    NEWS_RESOLVED,
};
const char *news_name(enum news_kind k); /* kind of the timeline entry: "opened" ... */

struct news {
    enum news_kind kind;
    struct incident *incident;
    const struct alert_row *alert;
    const struct change *change;
    enum severity
        severity; /* to route by: of the occurrence, or the incident's for CROSSED and SEVERITY */
    enum severity severity_before; /* CROSSED, SEVERITY */
    enum escalation_level level;
    uint64_t count_24h;      /* CROSSED: at that moment */
    const struct rule *rule; /* RULE; of a rate: */
    uint64_t rule_count;     /* by so many occurrences; 0: by the sender's fingerprint */
    uint64_t crossed;        /* of the incident, at that moment */
    bool counted;
};

struct news_list {
    struct news *v;
    size_t n, cap;
    struct arena *a;
    bool failed; /* arena full */
};

struct aggregate_rules {
    int64_t window_ms;
    const struct frequency_settings *frequency;
};

/* What the report that caused a change says of the incident, should it open one. */
struct incident_words {
    struct slice title, description, source, environment, link, words;
    int64_t impact_users, impact_events;
    enum severity severity, severity_again;
};

void aggregate_apply(struct alert_row *alert, const struct change *c,
                     const struct incident_words *words, const struct aggregate_rules *rules,
                     struct news_list *news);
/* At `at_ms` somebody said that he has seen it. True: the incident was open, and is acknowledged
 * now and his. What opened after that he has not seen; what does not fire any more he is too late
 * for.
 */
bool aggregate_acknowledge(struct alert_row *alert, int64_t at_ms, struct slice actor);
void news_tell(struct news_list *l, struct news n);
/* An occurrence at `at_ms` turned out to be part of another. Before the changes, so that the rest
 * crosses no threshold with it, and while the alert is in the incident that counted it. */
void aggregate_uncount(struct alert_row *alert, int64_t at_ms);
