/*
 * Names and numbers of an incident's life, shared by everyone who reads or writes the tables.
 *
 *     open → acknowledged → investigating → resolved; any earlier state may resolve, resolved may
 * re-open.
 */
#pragma once

#include <stdint.h>

#include "common/alert.h"
#include "common/err.h"
#include "common/pg.h"
#include "common/uuid7.h"

enum incident_status {
    INCIDENT_OPEN = 1,
    INCIDENT_ACKNOWLEDGED,
    INCIDENT_INVESTIGATING,
    INCIDENT_RESOLVED
};
enum resolved_by { RESOLVED_BY_ALERTS = 1, RESOLVED_BY_PERSON, RESOLVED_BY_SILENCE };
enum alert_status { ALERT_NEVER = 0, ALERT_FIRING, ALERT_RESOLVED };
enum escalation_level { LEVEL_NONE = 0, LEVEL_REPEAT, LEVEL_ESCALATE, LEVEL_PERMANENT_FIX };
enum group_kind { GROUP_INCIDENT = 1, GROUP_ALERTS, GROUP_DIGEST };
enum timer_kind { TIMER_GROUP = 1, TIMER_ALERT, TIMER_HOUSEKEEPING };

const char *incident_status_name(enum incident_status s); /* "open" ... */
bool incident_status_parse(struct slice s, enum incident_status *ret);
const char *resolved_by_name(enum resolved_by r);           /* "alerts", "manual", "expired" */
const char *escalation_level_name(enum escalation_level l); /* "none", "REPEAT" ... */
/* Is this change allowed? -EINVAL with a reason a person understands. To the same status: allowed,
 * changes nothing. */
int incident_may_become(enum incident_status from, enum incident_status to,
                        struct err *e) MUST_CHECK;

struct person_act {
    enum incident_status to;
    struct slice actor, note; /* may be empty */
    int64_t at_ms;
    int64_t silence_ms; /* of incident_silence(): how long */
    bool least;         /* what is further along, but not over, is so, too */
    bool take;          /* it is the actor's from now on, whoever had it */
};

/*
 * A person's act: under the locks of anomaly and incident, set the status, write the timeline and
 * wake every group of the incident by a timer. One transaction of its own on `pg`. -ENOENT: no such
 * incident. -EINVAL: not allowed.
 */
int incident_set_status(struct pg *pg, struct slice tenant, const struct uuid *id,
                        const struct person_act *act, struct err *e) MUST_CHECK;
/* The same; *ret_changed: it was not so before. */
int incident_act(struct pg *pg, struct slice tenant, const struct uuid *id,
                 const struct person_act *act, bool *ret_changed, struct err *e) MUST_CHECK;

struct incident_silenced {
    bool changed; /* it was not so before */
    int64_t ends_ms;
};
/*
 * A person wants to hear nothing of this anomaly for a while: a silence by the labels that make it
 * (common/silence.h), and an entry of the timeline; its groups are woken, so that the messages that
 * can be edited say so. `to` and `take` do not matter. When one by
 * the same labels is in force, nothing changes. -EINVAL: no alert is part of it.
 */
int incident_silence(struct pg *pg, struct slice tenant, const struct uuid *id,
                     const struct person_act *act, struct incident_silenced *ret,
                     struct err *e) MUST_CHECK;
