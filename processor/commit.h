/*
 * One batch, one transaction: offsets by compare-and-set, alerts, incidents, timeline, counts,
 * groups and timers commit together or not at all.
 *
 * What fails for a moment is tried again from memory; a commit whose answer was lost is looked up
 * in the offsets; a record that the database will never take is found by halving and goes to the
 * topic `dead` through the outbox.
 */
#pragma once

#include <stdatomic.h>

#include "common/offsets.h"
#include "processor/batch.h"

struct committer_options {
    const struct settings *settings;
    const struct route *routes;
    const struct rules *rules;
    struct offset_group group;
    void (*due)(void *ctx); /* after a commit that left a timer due: the runner's kick */
    void *due_ctx;
    const atomic_bool *stop; /* give up waiting for a database that is away */
};

struct committer;
int committer_new(const struct committer_options *o, struct committer **ret,
                  struct err *e) MUST_CHECK;
void committer_free(struct committer *c);
CLEANUP_DEFINE(struct committer *, committer_free);

/*
 * 0: committed, whole. -ESTALE: a partition moved to somebody else; nothing of the rest was done,
 * read the offsets again. -ECANCELED: told to stop while the database was away. -EIO: a bug of ours
 * or a broken schema: the process must not go on.
 */
int committer_run(struct committer *c, struct batch *b, struct err *e) MUST_CHECK;
