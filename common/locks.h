/*
 * The one lock order of everybody who writes: offsets, anomalies, incidents, alerts, groups,
 * notifications, destinations, and within a kind by key. `SELECT ... ORDER BY key FOR NO KEY
 * UPDATE`, because UPDATE ... FROM promises no order. Decide only on rows read here; what is
 * decided on others is written by compare-and-set (offsets, alerts that repeat themselves).
 *
 * Inside a transaction. Kinds with n 0 are not touched, *ret stays NULL there. Rows that do not
 * exist are not locked and not returned: insert them before (ON CONFLICT DO NOTHING), or see by the
 * count of a later insert whether somebody else was first. Keys need not
 * be sorted; repeats are harmless.
 */
#pragma once

#include "common/pg.h"

struct lock_keys {
    const struct slice *tenants; /* parallel to the keys */
    const struct slice *keys;    /* anomalies: key; */
    const unsigned char *uuids;  /* incidents, groups, notifications: n * 16 bytes */
    const int64_t *numbers;      /* alerts: fingerprints */
    size_t n;
};

/* Column numbers of the results. */
enum {
    AN_TENANT,
    AN_KEY,
    AN_FIRST_SEEN,
    AN_LAST_SEEN,
    AN_OCCURRENCES,
    AN_FREQUENCY,
    AN_INCIDENT,
    AN_VERSION
};
enum {
    IN_TENANT,
    IN_ID,
    IN_ANOMALY,
    IN_STATUS,
    IN_RESOLVED_BY,
    IN_SEVERITY,
    IN_LEVEL,
    IN_OPENED_LEVEL,
    IN_EPISODE,
    IN_TITLE,
    IN_DESCRIPTION,
    IN_SOURCE,
    IN_ENVIRONMENT,
    IN_LINK,
    IN_IMPACT_USERS,
    IN_IMPACT_EVENTS,
    IN_OPENED_AT,
    IN_EPISODE_AT,
    IN_UPDATED_AT,
    IN_RESOLVED_AT,
    IN_WINDOW_START,
    IN_LAST_SEEN,
    IN_OCCURRENCES,
    IN_FIRING,
    IN_TOTAL,
    IN_OWNER,
    IN_SERVICE,
    IN_NAMESPACE,
    IN_ALERT_NAME,
    IN_ERROR_TYPE,
    IN_WORDS,
    IN_RULES
};
enum {
    AL_TENANT,
    AL_FINGERPRINT,
    AL_ANOMALY,
    AL_INCIDENT,
    AL_STATUS,
    AL_SEVERITY,
    AL_OCCURRENCES,
    AL_FACTS,
    AL_QUIET_AT,
    AL_FED_BY,
    AL_SOURCE,
    AL_LABELS,
    AL_TITLE,
    AL_STARTS_AT,
    AL_ENDED_AT,
    AL_LAST_SEEN
};
enum {
    GR_TENANT,
    GR_ID,
    GR_KIND,
    GR_RECEIVER,
    GR_ROUTE,
    GR_LABELS,
    GR_INCIDENT,
    GR_ROUTED_BY,
    GR_SINCE,
    GR_FLUSHED_AT,
    GR_SEQ,
    GR_TOLD
};

int lock_anomalies(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                   struct err *e) MUST_CHECK;
int lock_incidents(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                   struct err *e) MUST_CHECK;
int lock_alerts(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                struct err *e) MUST_CHECK;
int lock_groups(struct pg *pg, struct arena *a, const struct lock_keys *k, PGresult **ret,
                struct err *e) MUST_CHECK;
