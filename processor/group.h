/*
 * Groups and what is due to be said about them. Pure.
 *
 * A group is (receiver, route content, values of group_by). Its row remembers per integration what
 * was last said; a flush compares that with what is, and says the difference. A timer only says
 * "look".
 *
 * `about` of a notification row (JSON, never secrets):
 *   {"reason": KIND, "state": STATE, "group_key": "{}/{..}:{..}", "group_labels": {..},
 * "route_labels": {}, "due_at": ms, "incident": "<uuid>",                               kind
 * incident "items": [{"incident","occurrences","first_at","last_at"}]}       kind digest STATE:
 * {"seq","status":"firing|resolved","episode","level","severity","word":"open|acknowledged|investigating|resolved","owner","at",
 *         "alerts":["<fp>"...], "resolved_alerts":[...]}               the lists: kind alerts only
 * Of kind alerts also "missed": ["<fp>"...], those of resolved_alerts that were over before anybody
 * looked: this integration was never told that they fire; and "ends_only": true when what fires is
 * no news and no repeat is due.
 */
#pragma once

#include "common/incident.h"
#include "common/route.h"

struct group_identity {
    struct uuid id;
    enum group_kind kind;
    struct labels labels; /* values of group_by */
};
/* Which group an alert belongs to under this route. `incident`: its incident; its id is the value
 * of the label `incident`. A digest gathers all incidents, so it has no such label. -ENOMEM. */
int group_of(struct arena *a, const struct route *r, struct slice tenant,
             struct labels routing_labels, const struct uuid *incident,
             struct group_identity *ret) MUST_CHECK;
/* Alertmanager's groupKey: route path ":" group labels. In the arena; NULL past its cap. */
const char *group_key(struct arena *a, const struct route *r, struct labels group_labels);

/* What was said. seq 0: nothing yet. */
struct said {
    int64_t seq, at;
    bool resolved;
    int32_t episode;
    enum escalation_level level;
    enum severity severity;
    enum incident_status word;
    struct slice owner; /* kind incident; NULL: told before owners were remembered */
    int64_t silent_ms;  /* until then, by a silence that `silent_by` made from a message; 0: not */
    struct slice silent_by;
    const uint64_t *firing, *ended; /* kind alerts: fingerprints, ascending */
    size_t firing_n, ended_n;
};

/* What is, read under the group's lock. */
struct standing {
    enum group_kind kind;
    bool moved; /* kind incident: with the incident's severity, `routed_by` no longer leads to this
                   route */
    int64_t since_ms, flushed_ms; /* flushed 0: never */
    /* kind incident */
    enum incident_status status;
    int32_t episode;
    int64_t episode_ms, resolved_ms; /* record time */
    enum escalation_level level, opened_level;
    enum severity severity;
    struct slice owner; /* "": nobody's */
    int64_t silent_ms;  /* as of `said` */
    struct slice silent_by;
    /* kind alerts; ended: those that this integration was told as firing and that fire no more, and
     * `missed_n` that lasted() and were over before anybody looked */
    const uint64_t *firing, *ended, *missed;
    size_t firing_n, ended_n, missed_n;
    /* kind digest */
    size_t item_n;
};

enum due_kind {
    DUE_OPENED = 1,
    DUE_REOPENED,
    DUE_CROSSING,
    DUE_SEVERITY,
    DUE_STATUS,
    DUE_RESOLVED,
    DUE_REPEAT,
    DUE_ALERTS,
    DUE_DIGEST,
    DUE_SILENCE,
    DUE_KINDS /* one more than the last */
};
const char *due_name(enum due_kind k); /* the `kind` of a notification row */

#define DUE_MAX 8
struct due {
    enum due_kind kind;
    struct said state;      /* what will have been said; seq is the caller's to fill */
    int64_t at_ms;          /* record time: when it was due, had we looked in time */
    const uint64_t *missed; /* kind alerts: of state.ended, those of `standing` */
    size_t missed_n;
    bool ends_only; /* kind alerts: all that fires was said before, and need not be repeated yet */
};

/* Record times: would a look in time have seen it firing? The first one comes group_wait after
 * `since`, further ones every group_interval. */
bool lasted(const struct route *r, const struct standing *is, bool told, int64_t from_ms,
            int64_t until_ms);
/*
 * What one integration shall be told now, in order, at most DUE_MAX; and when to look again (0:
 * only on news).
 *
 * Kind incident: opening (after group_wait since `since`; a problem that was over before that was
 * never worth a message, but one that was over only because we looked late is told with its end),
 * each level crossed beyond opened_level (one message each), raised
 * severity without crossing, re-opening, a person's act (status word, owner), the end when
 * something was said or is still waiting to be, and repeat_interval while open (acknowledged stops
 * repeats). `moved`: only the end. Between messages: group_interval. Kind alerts: Alertmanager's
 * rule (notify/dedup: new firing member; a resolved member that was told as firing;
 * repeat_interval). Kind digest: all items at `digest_ms`, the next flush time after the earliest
 * of them.
 */
size_t group_due(const struct route *r, const struct standing *now_is, const struct said *last,
                 int64_t now_ms, int64_t digest_ms, struct due out[DUE_MAX],
                 int64_t *ret_look_again_ms);
/* Kind incident: is it news that a person silenced it from a message, or that this is over? For
 * those alone who have the newest message (`last` has arrived), since it is shown by editing that
 * one. False also when group_interval is not over; then *ret_look_again_ms says when it is. */
bool group_silence_due(const struct route *r, const struct standing *is, const struct said *last,
                       int64_t now_ms, struct due *ret, int64_t *ret_look_again_ms);
/* The next flush time of a digest at or after `from_ms`, as clocks stand that are never changed. */
int64_t digest_next(const struct digest_when *d, int64_t from_ms, int32_t utc_offset_minutes);
/* Clocks somewhere: minutes east of UTC at that time. 0, or an error. */
struct clocks {
    int (*offset)(void *ctx, int64_t ms, int32_t *ret_minutes, struct err *e);
    void *ctx;
};
/* The same by such clocks, which may be changed between `from_ms` and then. A time of day that they
 * leave out comes as much later as they leave out; one that they show twice comes twice. Errors of
 * `offset`. */
int digest_next_by(const struct digest_when *d, int64_t from_ms, const struct clocks *c,
                   int64_t *ret, struct err *e) MUST_CHECK;

/* A comma and the member; nothing when the list is empty. */
void fingerprints_to_json(struct buf *b, const char *name, const uint64_t *v, size_t n);
int said_to_json(struct buf *b, const struct said *s);
/* From groups.told[integration].last; absent: seq 0. */
int said_from_json(struct arena *a, struct slice json, struct said *ret, struct err *e) MUST_CHECK;
