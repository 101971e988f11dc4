/*
 * The `route` tree, as in Alertmanager: matchers, group_by, group_wait, group_interval,
 * repeat_interval, continue, receiver; same meaning, same inheritance, same defaults (30s, 5m, 4h;
 * matching walks depth first, a node matches when its matchers do, its first matching child takes
 * the alert unless that child says `continue`). Ours in addition:
 *
 *   group_by: [incident]      one message per incident; may stand with labels, '...' may not stand
 * with it digest: 15m | 1h | 1d     news gather, and one message tells them at the next multiple of
 * the period (UTC) digest: "09:00"           ... or daily at that time in `time_zone` (of the
 * receiver, else the global one)
 *
 * match, match_re, matchers (strings) are read; mute_time_intervals and active_time_intervals are
 * accepted with a warning that they have no effect yet. Pure after loading; owned by the
 * configuration.
 */
#pragma once

#include "common/alert.h"
#include "common/matcher.h"
#include "common/receivers.h"

struct digest_when {
    int64_t period_ms; /* 0: no digest */
    int32_t at_minute; /* with period of a day: minute of the day; -1: multiples of the period */
};

struct route {
    const struct receiver *receiver;
    const struct matchers *matchers;
    const char *const *group_by; /* label names, sorted, without `incident` and '...' */
    size_t group_by_n;
    bool by_incident, by_all;
    int64_t group_wait_ms, group_interval_ms, repeat_interval_ms;
    struct digest_when digest;
    bool goes_on;     /* continue */
    const char *path; /* "{}/{severity=\"critical\"}": Alertmanager's key of a route, for people and
                         for groupKey */
    unsigned char
        id[16]; /* hash of receiver, path and grouping (not of timing): a reload keeps a group */
    const struct route *children;
    size_t child_n;
    size_t most; /* nodes, of it and those below it, that take one alert */

    /* As a rule says (common/rules.h): what it is made of, and its name; NULL: as the tree has it.
     */
    const struct route *base;
    const char *rule;
    uint64_t entries; /* of the receiver's integrations only these: bits; 0: all */
    bool page_only;   /* nobody is sent anything */
};

/* `route:` of the configuration; absent: an error unless there is exactly one receiver or none.
 * *ret NULL: there are no receivers and nothing is told. */
int route_load(struct settings *s, const struct receivers *receivers, const struct route **ret,
               struct err *e) MUST_CHECK;

/* The nodes that take an alert with these labels, at least one; `out` has room for root->most. */
size_t route_match(const struct route *root, struct labels labels, const struct route **out);
/* Every node, to find one again by its id (hex) and receiver; NULL when the configuration no longer
 * has it. */
const struct route *route_find(const struct route *root, const unsigned char id[16]);

/* Fills `id`. -ENOMEM. */
int route_name(struct route *r) MUST_CHECK;
/* `matchers:`, a list of texts, or one; owned by the configuration. */
int route_load_matchers(struct conf *c, const struct yaml *texts, const struct matchers **ret,
                        struct err *e) MUST_CHECK;

/* What an alert is routed by: its labels, `severity` as Tocsin judges it, and `source` (the entry
 * under sources:) unless it has one. -ENOMEM. */
int route_labels(struct arena *a, struct labels labels, enum severity severity, struct slice source,
                 struct labels *ret) MUST_CHECK;
