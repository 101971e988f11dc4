/*
 * Where each Kafka partition stands: rows in Postgres, moved by compare-and-set in the transaction
 * of the batch they belong to. A worker that lost its partition fails the compare, rolls back and
 * changes nothing.
 *
 * Rows are locked in the order of (topic, partition), before anything else of a transaction.
 * Topics are without prefix.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/pg.h"

/* A consumer group of one Kafka cluster: offsets of another cluster mean nothing. */
struct offset_group {
    const char *name, *cluster_id;
};

struct offset_row {
    const char *topic;
    int32_t partition;
    int64_t seen;      /* in: offsets_seen(), before the watermarks were asked */
    int64_t low, high; /* in: the watermarks, asked after it; -1 when unknown */

    int64_t next;      /* out: read from here, and what the row says */
    int64_t lost_from; /* out: the row said this, outside the watermarks: a loud event; else -1 */
    bool created;      /* out: no row was there, it now stands at `low` (0 when unknown) */
    bool new_cluster;  /* out: created, and the group knows this partition from another cluster */
    int32_t starts;    /* out: assignments since the last advance, before this one */
};

/*
 * What the rows say now, without a lock; -1: no row. A row that moves on while the watermarks are
 * asked may stand behind them, and is not lost for it: others still commit.
 */
int offsets_seen(struct pg *pg, struct arena *a, const struct offset_group *g,
                 struct offset_row *rows, size_t n, struct err *e) MUST_CHECK;

/*
 * At an assignment: insert what is missing, correct what lies outside the watermarks to `low`
 * (records that are read twice change nothing, records that are skipped are lost), void
 * `current_since`, and say where to read from. A transaction of its own. Name each partition once.
 */
int offsets_load(struct pg *pg, struct arena *a, const struct offset_group *g,
                 struct offset_row *rows, size_t n, struct err *e) MUST_CHECK;

/*
 * Once per assignment, before its first batch: starts + 1, in a transaction of its own. The next
 * advance of a partition sets it back to 0; a process that dies of its batch never gets there.
 */
int offsets_starts(struct pg *pg, struct arena *a, const struct offset_group *g,
                   const struct offset_row *rows, size_t n, struct err *e) MUST_CHECK;

/* They ended otherwise than in a death: starts - 1. */
int offsets_withdraw(struct pg *pg, struct arena *a, const struct offset_group *g,
                     const struct offset_row *rows, size_t n, struct err *e) MUST_CHECK;

struct offset_move {
    const char *topic;
    int32_t partition;
    int64_t expected, next;
};

/* The first statement of the batch's transaction. -ESTALE with a reason when any row is missing or
 * says something else than `expected`: roll back, then offsets_load() again. */
int offsets_advance(struct pg *pg, struct arena *a, const struct offset_group *g,
                    const struct offset_move *moves, size_t n, struct err *e) MUST_CHECK;

/* After a commit whose answer was lost: 1 when every row says `next`, 0 when every row still says
 * `expected`, -ESTALE when others moved one. */
int offsets_moved(struct pg *pg, struct arena *a, const struct offset_group *g,
                  const struct offset_move *moves, size_t n, struct err *e) MUST_CHECK;

struct offset_current {
    const char *topic;
    int32_t partition;
    int64_t next;  /* the row is left alone when it says something else: others own it */
    int64_t since; /* less than 10 s behind since then; 0: behind */
};

/* Refresh current_since and current_at. One statement, in any transaction or none. */
int offsets_current(struct pg *pg, struct arena *a, const struct offset_group *g,
                    const struct offset_current *rows, size_t n, int64_t now_ms,
                    struct err *e) MUST_CHECK;
