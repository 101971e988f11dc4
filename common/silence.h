/*
 * Silences: what shall not be told for a while. One is in force from starts_at until ends_at for
 * every alert that all its matchers match, as in Alertmanager. An incident is silenced when each of
 * its alerts that fires is.
 *
 * They are judged where a message comes to be (flush) and again where it is claimed for sending.
 * A look costs what the alerts in question have of labels, however many silences there are: each is
 * found by the hash of one of its equalities, the rarest when it was made; of those that have none
 * there are at most SILENCES_LOOSE_MAX. Its memory is bounded, whatever the size of an incident,
 * and of many looks at one thing the work is done once.
 *
 * Who judges holds the silences it found FOR SHARE until its transaction ends, behind all other
 * locks, and names the groups that it withholds from; so whoever ends one finds each such group.
 */
#pragma once

#include "common/labels.h"
#include "common/matcher.h"
#include "common/pg.h"
#include "common/uuid7.h"

#define SILENCE_MATCHERS_MAX 32
#define SILENCES_LOOSE_MAX 100

/* ---- pure ---- */

struct silence_matcher {
    struct slice name, value;
    bool regex, negative;
};
struct silence_matchers {
    struct silence_matcher v[SILENCE_MATCHERS_MAX];
    size_t n;
};

/* From [{name, value, isRegex, isEqual}]. -EINVAL with a reason: none, too many, a regular
 * expression that is none, or together they match what has no labels at all. */
int silence_matchers_read(const json_t *list, struct silence_matchers *ret,
                          struct err *e) MUST_CHECK;
/* The same list. */
void silence_matchers_write(const struct silence_matchers *m, struct buf *out);
/* NULL with a reason; the caller's to free. */
struct matchers *silence_matchers_compile(const struct silence_matchers *m,
                                          struct err *e) MUST_CHECK;
/* What makes the anomaly of an alert with these labels what it is; without an alert name, all of
 * them as well. They match no other anomaly. */
void silence_matchers_of(struct labels l, struct silence_matchers *ret);
#define SILENCE_KEY_LEN 16
void silence_key(struct slice name, struct slice value, unsigned char out[SILENCE_KEY_LEN]);

/* ---- Postgres ---- */

struct silence_new {
    struct uuid id; /* uuid7_new(), once per wish */
    struct silence_matchers matchers;
    int64_t starts_ms, ends_ms;
    struct slice created_by, comment; /* never NULL */
};

/* Inside the caller's transaction. The same id again changes nothing, for whoever cannot know
 * whether his COMMIT was done. -EPERM: too many without an equality. */
int silence_insert(struct pg *pg, struct arena *a, struct slice tenant, const struct silence_new *s,
                   int64_t now_ms, struct err *e) MUST_CHECK;
/* From now on it is over; every group that it kept silent is woken. A transaction of its own. To
 * end what is over changes nothing. -ENOENT. */
int silence_end(struct pg *pg, struct slice tenant, const struct uuid *id, int64_t now_ms,
                struct err *e) MUST_CHECK;

/* Why something is not told. */
struct silencing {
    struct uuid id;
    int64_t ends_ms;
    const char *who;
    const char *reason; /* "silence <id> of <who> until <when>: <comment>" */
};
/* One alert or one incident in question; `by` is the answer, NULL: to be told. */
struct silence_look {
    struct slice tenant;
    struct uuid incident;
    uint64_t fingerprint;
    const struct silencing
        *by; /* lives as long as the arena; of an incident the one that ends first */
};
/* Is any silence in force for one of their tenants? Mostly not, and then nothing else is asked. */
int silences_any(struct pg *pg, struct arena *a, const struct silence_look *v, size_t n,
                 int64_t now_ms, bool *ret, struct err *e) MUST_CHECK;
/* Inside the caller's transaction. */
int silences_of_alerts(struct pg *pg, struct arena *a, struct silence_look *v, size_t n,
                       int64_t now_ms, struct err *e) MUST_CHECK;
int silences_of_incidents(struct pg *pg, struct arena *a, struct silence_look *v, size_t n,
                          int64_t now_ms, struct err *e) MUST_CHECK;
/* The group was kept silent by it. */
struct silenced_group {
    struct slice tenant;
    struct uuid silence, group;
};
int silenced_groups_insert(struct pg *pg, struct arena *a, const struct silenced_group *v, size_t n,
                           struct err *e) MUST_CHECK;
