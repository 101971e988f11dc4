/*
 * Kafka records that follow from a change in Postgres wait in the table `outbox`, written by the
 * transaction that makes the change, whoever that is. Any processor takes them from there to Kafka:
 * rows are claimed with SKIP LOCKED and deleted when the broker has acknowledged them, so that a
 * record is never lost and doubles only when we die in between.
 *
 * A record that Kafka refuses for what it is (too large, no such topic) would be in everybody's
 * way. It is put aside: it stays, with the reason, logged once and counted, and is tried again a
 * minute later.
 */
#pragma once

#include "common/kafka.h"
#include "common/pg.h"

struct outbox;

/* Make it before the producer, and free it after: the producer's reports come here. NULL when out
 * of memory. */
struct outbox *outbox_new(void) MUST_CHECK;
void outbox_free(struct outbox *o);
CLEANUP_DEFINE(struct outbox *, outbox_free);

/* The producer's report function, with the outbox as its context. Records that are none of ours
 * (wake-ups: NULL) are welcome. */
kafka_report_fn outbox_report;

struct outbox_limits {
    uint32_t records;   /* in one go */
    int64_t timeout_ms; /* for the broker's word */
};

/*
 * One go, in a transaction of its own. *ret_sent counts what was acknowledged and deleted.
 * -ETIMEDOUT with the broker's words: some were neither that nor put aside; they are tried again by
 * a later call. Otherwise errors as of pg_query().
 */
int outbox_drain(struct outbox *o, struct pg *pg, struct kafka_producer *p,
                 const struct outbox_limits *l, size_t *ret_sent, struct err *e) MUST_CHECK;
