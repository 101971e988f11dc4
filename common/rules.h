/*
 * `rules:` of the configuration: tried in order before what `route` says is done, and the first one
 * that matches decides; the others are not asked.
 *
 *   rules:
 *     - name: redis is down
 *       match:
 *         fingerprint: [redis, connection_failed]  # globs over words; a last `*` takes all the
 * rest level: critical                          # one or several category: infrastructure # label
 * `category`, else by the kind of source matchers: ['env="prod"']                 # as of a route
 *         rate: "> 10 per hour"                    # of the anomaly; `>` or `>=`, up to 30 days
 *       action: immediate                          # hourly_summary, daily_digest, as_routed
 *       channels: [weixin, email]                  # of the receiver; `dashboard` alone: nobody
 *       receiver: dba                              # instead of the route's
 *
 * A rule changes the routes that an alert takes; what it does not name stays as the route says. A
 * rule with a rate matches an incident from the occurrence on that exceeds it, until the incident
 * ends. Pure after loading; owned by the configuration.
 */
#pragma once

#include "common/frequency.h"
#include "common/route.h"
#include "common/source.h"

#define RULE_NAME_MAX 100  /* bytes: it stands in keys of groups */
#define RULES_RATED_MAX 64 /* a bit for each of an incident */

struct rule_rate {
    uint64_t least; /* occurrences; 0: the rule has no rate */
    int64_t window_ms;
    const char *text; /* as it was written */
    uint32_t bit;     /* by order of the rules that have one */
};

struct rule {
    const char *name;
    struct conf_strs fingerprint; /* globs */
    bool takes_rest;              /* the last one is `*`: all further words, and none */
    uint32_t levels;              /* bits by enum severity; 0: any */
    struct conf_strs categories;
    const struct matchers *matchers;
    struct rule_rate rate;
    enum rule_action { RULE_AS_ROUTED, RULE_IMMEDIATE, RULE_HOURLY, RULE_DAILY } action;
    struct conf_strs channels; /* canonical names; none: all of the receiver's */
    bool page_only;
    const struct receiver *receiver; /* NULL: the route's */
};

struct rules {
    const struct rule *v;
    size_t n;
    const struct rule *rated[RULES_RATED_MAX];
    size_t rated_n;
    const struct source_entries *sources;
};

/* *ret NULL: there are none. Without a route there may be none. */
int rules_load(struct settings *s, const struct source_entries *sources,
               const struct receivers *receivers, const struct route *root,
               const struct rules **ret, struct err *e) MUST_CHECK;

/* What an incident is judged by. */
struct rule_facts {
    struct labels labels; /* as route_labels() makes them */
    enum severity severity;
    struct slice source;      /* the entry under `sources:` */
    struct slice fingerprint; /* the sender's own words, one a line; none: service and error type,
                                 else alert name */
    uint64_t crossed;         /* rates that were exceeded since it began */
};

/* NULL: none matches. */
const struct rule *rules_match(const struct rules *r, const struct rule_facts *f);

/* The rates that would decide if they were exceeded, whatever was: bits. */
uint64_t rules_rated(const struct rules *r, const struct rule_facts *f);
/* The first of these rules that comes before those that decide already and whose rate is exceeded
 * now; NULL: none. *ret_count: by how many occurrences. */
const struct rule *rules_cross(const struct rules *r, uint64_t rated, uint64_t crossed,
                               const struct frequency *f, int64_t now_ms, uint64_t *ret_count);
/* Crossed rates as a row keeps them: names of rules, one a line. Names that are no rule's are
 * forgotten. */
struct slice rules_crossed_text(const struct rules *r, uint64_t crossed, struct arena *a);
uint64_t rules_crossed_parse(const struct rules *r, struct slice text);

/* The routes that take it, each as the rule that matches says; those may be the arena's. `out` has
 * room for root->most. -ENOMEM. */
int rules_route(const struct rules *r, const struct route *root, const struct rule_facts *f,
                struct arena *a, const struct route **out, size_t *ret_n) MUST_CHECK;
/* How a group's row names its route, and that route again; *ret NULL when the configuration no
 * longer has it. */
struct slice rules_route_key(const struct route *route, struct arena *a);
int rules_route_find(const struct rules *r, const struct route *root, struct slice key,
                     struct arena *a, const struct route **ret) MUST_CHECK;
