/*
 * From Kafka to the committer. One thread reads and decodes the next batch while the other commits
 * the last; a short queue lies between. A worker starts each partition from the offset in Postgres,
 * and gives up what it has not committed when the partition leaves. A Kafka that is away is waited
 * for, at the start as later.
 *
 * A record that kills the process must not do so for ever: starts without a commit are counted in
 * the offsets row. After `crash_limit` of them records go one by one, and one that does it again
 * goes to `dead` unread.
 */
#pragma once

#include "common/rules.h"
#include "common/source.h"

struct consume_options {
    const struct settings *settings;
    const struct source_entries *sources;
    const struct route *routes;
    const struct rules *rules;
    void (*due)(void *ctx); /* a commit left a timer due */
    void *due_ctx;
};

#define PROCESSOR_GROUP "processor"

struct consume;
int consume_start(const struct consume_options *o, struct consume **ret, struct err *e) MUST_CHECK;
/* The cluster id, for whoever reads the offsets rows; "" until a broker has told it. From any
 * thread. */
const char *consume_cluster(const struct consume *c);
/* Read no more, commit what is read, leave the group. */
void consume_drain(struct consume *c);
/* End now; NULL is a no-op. */
void consume_stop(struct consume *c);
