/* Shared by the files that write how notifications ended; nobody else includes it. */
#pragma once

#include "common/incident.h"
#include "notifier/store.h"

/* A growing set of parallel columns; which are used depends on the statement. */
struct table {
    struct slice *tenants, *texts, *texts2;
    unsigned char *ids;
    int64_t *numbers, *numbers2;
    int32_t *ints, *ints2;
    bool *flags;
    size_t n, max;
};

struct ending {
    struct store *st;
    struct arena *a;
    struct job **jobs;
    bool *still; /* the row can end so, and ours to end */
    size_t n, member_n;
    bool *elsewhere; /* by job, its members after it: who fails is told by a sibling */
    json_t **told;   /* by row of `groups`: as changed; NULL: as it was */
    PGresult *groups;
    struct table timers, items, timeline;
};

int table_new(struct arena *a, size_t max, struct table *ret, struct err *e) MUST_CHECK;
/* Room was made for every job and every member; returns the row's place. */
size_t table_add(struct table *t, struct slice tenant, const unsigned char *id);
struct pg_args *table_args(const struct table *t, struct arena *a);

/* The rows to lock: the jobs', in their order, and after them the siblings of what a fallback was
 * told and did not take. */
int siblings_find(struct ending *x, struct table *ret, struct err *e) MUST_CHECK;
/* Under their locks: sets `elsewhere`. */
int siblings_read(struct ending *x, struct err *e) MUST_CHECK;

/* Of what was lost after it counted as delivered: `about` gets `before`, the state that its group
 * was told last before that. The groups are locked. */
int refuted_read(struct ending *x, struct err *e) MUST_CHECK;
/* Their reports were looked at. */
int refuted_write(struct ending *x, struct err *e) MUST_CHECK;

/* Sends every statement of the batch; the caller holds the locks, and begins and ends the pipeline.
 */
int ending_write(struct ending *x, struct err *e) MUST_CHECK;
/* Those of it that concern fallbacks, and the alert about a receiver that takes nothing. */
int failing_write(struct ending *x, struct err *e) MUST_CHECK;
/* And the alert about a template that gives nothing. */
int templates_write(struct ending *x, struct err *e) MUST_CHECK;
