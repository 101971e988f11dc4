/*
 * The partitions this worker owns: where it reads, what is committed, since when each has been
 * current, and whether it is on probation. Shared by the two threads of consume.c; every call takes
 * the lock inside.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/kafka.h"
#include "common/offsets.h"

struct partition {
    char topic[128];
    int32_t partition;
    int64_t position;      /* next to read */
    int64_t committed;     /* next_offset in Postgres */
    int64_t newest_at;     /* receive time of the newest committed record; 0: none yet */
    int64_t current_since; /* 0: behind */
    uint32_t deaths;       /* starts without a commit before this one */
    bool started;          /* its first batch was announced in the offsets row */
    bool announced;        /* ... and none was committed since */
    uint32_t probation;    /* records still to go one by one */
};

struct partitions;
struct partitions *partitions_new(void) MUST_CHECK;
void partitions_free(struct partitions *p);

/* A new assignment replaces or adds; the epoch rises, so that batches read under an older one are
 * dropped. -ENOMEM. */
int partitions_assign(struct partitions *p, const struct offset_row *v, size_t n) MUST_CHECK;
void partitions_revoke(struct partitions *p, const struct kafka_partition *v, size_t n);
uint64_t partitions_epoch(struct partitions *p);
/* Nothing read before now may be committed any more. */
void partitions_bump(struct partitions *p);
/* A copy; false when it is not ours. */
bool partitions_get(struct partitions *p, const char *topic, int32_t partition,
                    struct partition *ret);
void partitions_put(
    struct partitions *p,
    const struct partition *v); /* replaces the entry of the same name, if it is still there */
/* Its first batch begins; until partitions_committed() it may be the end of the process. */
void partitions_announced(struct partitions *p, const char *topic, int32_t partition);
void partitions_committed(struct partitions *p, const char *topic, int32_t partition, int64_t next,
                          int64_t newest_at);
/* All of them, in the arena; the count. */
size_t partitions_all(struct partitions *p, struct arena *a, struct partition **ret);
