/*
 * The canonical form of what a source says about one alert. Pure values; memory is the arena's.
 * Words: an alert fires and resolves; an occurrence is one time that it began; an anomaly is what
 * frequency and learning are about.
 */
#pragma once

#include <stdint.h>

#include "common/digest.h"
#include "common/labels.h"

enum severity { SEVERITY_INFO = 1, SEVERITY_WARNING, SEVERITY_ERROR, SEVERITY_CRITICAL };
const char *severity_name(enum severity s); /* "info" ... */
/* Of a label or field in anybody's words: critical|fatal|page|emergency|p1, error|high|p2,
 * warning|warn|p3, info|low|... ; `def` when unknown or empty. Any case. */
enum severity severity_parse(struct slice s, enum severity def);

/* What one report says. State sources report FIRING and RESOLVED; event sources report OPENED,
 * OCCURRED and RESOLVED. */
enum report_kind {
    REPORT_FIRING = 1, /* firing since starts_at (0: since this record), promised until ends_at (0:
                          no promise) */
    REPORT_RESOLVED, /* over: what began at or before ends_at (0: the receive time) and was reported
                        before */
    REPORT_OPENED,   /* event source: the problem exists; counts only while no OCCURRED has counted
                        since the last end */
    REPORT_OCCURRED, /* event source: one event; its event_id, or without one each record, is an
                        occurrence */
    REPORT_NOTE,     /* a line on the timeline, and with `acknowledges` an act */
};

struct alert_event {
    enum report_kind kind;
    struct labels labels, annotations;
    uint64_t fingerprint; /* of labels, or of a subset that is stable where the vendor's labels are
                             not (SigNoz, Sentry) */
    int64_t starts_at, ends_at; /* ms; 0: absent */
    struct slice words; /* the fingerprint that the sender gave it, one word a line; may be empty */
    struct slice event_id;  /* OCCURRED: the vendor's id of the event, same for every report of it;
                               may be empty */
    enum severity severity; /* of its first occurrence ever */
    enum severity severity_again; /* of later ones (Sentry: warning); equal to severity elsewhere */
    struct slice title;           /* one line for people */
    struct slice description;     /* may be empty */
    struct slice link;            /* back to the sender, may be empty */
    struct slice note;            /* NOTE, RESOLVED: for the timeline ("assigned to Ann") */
    struct slice actor;           /* who did it, may be empty */
    int64_t impact_users, impact_events; /* what the sender counted; 0: unknown */
    bool ends_announced; /* this source says when an alert ends: silence never ends it
                            (resolve_after does not apply) */
    bool acknowledges;   /* NOTE: while the alert fires, its incident is acknowledged by `actor` */
    bool truncated;      /* a cap cut one of its values */
};

struct alert_list {
    struct alert_event *v;
    size_t n;
    struct slice delivery_id; /* the sender's own id of this delivery (Sentry Request-ID, SNS
                                 MessageId); empty: none. Seen within 24 h: skipped */
};

/* A copy that lives as long as `a`; {NULL, 0} and "" stay what they are. -ENOMEM past its cap. */
int alert_list_copy(const struct alert_list *list, struct arena *a,
                    struct alert_list *ret) MUST_CHECK;

/*
 * The signature of an anomaly: alert name, service (label job, else service), namespace, error type
 * (label reason, else error_type). Its key is the first 16 bytes of SHA-256 over tenant and the
 * four, each ended by a NUL.
 */
#define ANOMALY_KEY_LEN 16
struct anomaly {
    unsigned char key[ANOMALY_KEY_LEN];
    struct slice alert_name, service, namespace, error_type;
};
void anomaly_of(struct slice tenant, struct labels labels, struct anomaly *ret);
/* The four alone, without the key. */
void anomaly_parts(struct labels labels, struct anomaly *ret);
