/* What the files of consume share; nobody else includes it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/kafka.h"
#include "common/metrics.h"
#include "processor/commit.h"
#include "processor/consume.h"
#include "processor/partitions.h"
#include "processor/queue.h"

struct consume {
    struct consume_options o;
    struct kafka_consumer *kafka;
    struct committer *committer;
    struct partitions *partitions;
    struct pg *pg; /* the reading thread's: offsets and starts */
    pthread_t reader, writer;
    bool reader_runs, writer_runs;
    atomic_bool draining, stop,
        reset; /* reset: the committer lost a compare; read the offsets again */

    struct queue *queue;

    char cluster[64]; /* written once, by the reading thread, before it says so */
    atomic_bool knows_cluster;

    /* A record that must go alone and met others: the first of the next batch. The offsets are read
     * again before that, so it may be dropped at any time. */
    struct kafka_message held;

    int64_t said_current_at;
    size_t untrimmed; /* bytes read since freed memory was last given back */
    struct counter *resets, *jumps;
    struct gauge *lag;
};

struct offset_group consume_group(const struct consume *c);

/* The next batch; NULL: out of memory. */
struct batch *consume_read_batch(struct consume *c);
/* -ECANCELED when we shall end instead. */
int consume_wait_for_database(struct consume *c, struct err *e) MUST_CHECK;
/* Until no batch is under way. */
void consume_wait_for_committer(struct consume *c);
