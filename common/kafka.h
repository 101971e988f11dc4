/*
 * Kafka through librdkafka: one producer per process, and consumers whose offsets live in Postgres.
 * Neither makes a topic by asking for it; that is what kafka_create_topics() is for. Topic names
 * here are without the configured prefix ("raw.sentry"); the adapter adds it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/settings.h"

/* Bytes of the largest record, for our producers and the topics that we create. */
#define KAFKA_MESSAGE_MAX (16LL << 20)
/* ... and of a body in it: the rest is for the key and the headers. */
#define KAFKA_BODY_MAX (15LL << 20)

/* ... of what goes together: a record that is larger goes alone, and what the broker says of it is
 * said of no other. */
#define KAFKA_BATCH_MAX 1000000

struct kafka_header {
    const char *name;
    struct slice value;
};

/* ---- producer: acks=all, idempotent, lz4, bounded queue ---- */

struct kafka_producer;

/* The broker's word on one record: err_code 0 is safe. Anything else says nothing about whether it
 * was written: it may have been. Called on the producer's own poll thread; must not block. */
typedef void kafka_report_fn(void *ctx, void *record, int err_code, const char *err_text);

/* After any fork(). Starts a poll thread. A fatal idempotence error rebuilds the handle inside. */
int kafka_producer_new(const struct kafka_settings *s, kafka_report_fn *report, void *ctx,
                       struct kafka_producer **ret, struct err *e) MUST_CHECK;
/* Records will go to this topic: look its leaders up now. librdkafka may take a second for the
 * first record of a topic that it does not know. Does not wait. */
int kafka_expect(struct kafka_producer *p, const char *topic, struct err *e) MUST_CHECK;
/* Copies key and value; `record` comes back in the report exactly once, on every path but a
 * negative return. key.p NULL: no key. -EAGAIN: the queue is at 80 % or more of `queue_messages`.
 */
int kafka_produce(struct kafka_producer *p, const char *topic, struct slice key, struct slice value,
                  const struct kafka_header *headers, size_t header_n, void *record,
                  struct err *e) MUST_CHECK;
/* Produce and wait for the report, at most timeout_ms: for outbox drains and tools. */
int kafka_produce_wait(struct kafka_producer *p, const char *topic, struct slice key,
                       struct slice value, const struct kafka_header *headers, size_t header_n,
                       int64_t timeout_ms, struct err *e) MUST_CHECK;
/* Wait until every record has its report, at most timeout_ms. Number still out. */
size_t kafka_flush(struct kafka_producer *p, int64_t timeout_ms);
/* flush(0) → purge → reports of what was purged → destroy. NULL is a no-op. */
void kafka_producer_free(struct kafka_producer *p);
/* Records without a report yet. */
size_t kafka_pending(const struct kafka_producer *p);

/* ---- consumer: dynamic membership, no auto commit, offsets from the caller ---- */

struct kafka_consumer;
struct kafka_message {
    const char *topic; /* without prefix */
    int32_t partition;
    int64_t offset;
    int64_t timestamp; /* the broker's or producer's, ms */
    struct slice key, value;
    void *own; /* the librdkafka message */
};
struct kafka_partition {
    char topic[128]; /* without prefix */
    int32_t partition;
    int64_t offset; /* next to read */
};

struct kafka_consumer_options {
    const char *group;         /* without prefix */
    const char *const *topics; /* NULL-terminated */
    size_t poll_bytes;         /* of values: one kafka_poll() ends past it; 0: no bound */
    /* What comes within fetch_wait comes as one answer: for a stream of small records, on which a
     * broker that is asked for the first byte spends more than on the records. Without it the
     * first record is answered at once, and a quiet topic costs two requests a second. */
    bool gather;
    /* Called inside kafka_poll() when partitions come or go. assigned() must set the offset to
     * start from in each entry (>= 0; -1: the earliest); returning non-zero refuses: the consumer
     * leaves and joins again later. revoked(): `lost` says that others may already own them. */
    int (*assigned)(void *ctx, struct kafka_partition *p, size_t n, struct err *e);
    void (*revoked)(void *ctx, const struct kafka_partition *p, size_t n, bool lost);
    void *ctx;
};

int kafka_consumer_new(const struct kafka_settings *s, const struct kafka_consumer_options *o,
                       struct kafka_consumer **ret, struct err *e) MUST_CHECK;
/* Up to `max` messages into out[], waiting at most wait_ms for the first; the count, or negative
 * with a reason for errors that a person must see. Rebalance callbacks run here. Each message must
 * be given back by kafka_message_free(). */
int kafka_poll(struct kafka_consumer *c, struct kafka_message *out, size_t max, int64_t wait_ms,
               struct err *e) MUST_CHECK;
void kafka_message_free(struct kafka_message *m);
/* The value of a header, {NULL,0} when absent; lives with the message. */
struct slice kafka_message_header(const struct kafka_message *m, const char *name);
size_t kafka_message_headers(const struct kafka_message *m, struct arena *a,
                             struct kafka_header **ret);
int kafka_seek(struct kafka_consumer *c, const char *topic, int32_t partition, int64_t offset,
               struct err *e) MUST_CHECK;
int kafka_pause(struct kafka_consumer *c, const struct kafka_partition *p, size_t n, bool pause,
                struct err *e) MUST_CHECK;
/* For lag and autoscaling only; asynchronous, failures are ignored. */
void kafka_commit_hint(struct kafka_consumer *c, const struct kafka_partition *p, size_t n);
/* From the client's cache of the last fetch (no request): -1 when unknown. */
void kafka_watermarks(struct kafka_consumer *c, const char *topic, int32_t partition,
                      int64_t *ret_low, int64_t *ret_high);
/* Asks the broker. */
int kafka_query_watermarks(struct kafka_consumer *c, const char *topic, int32_t partition,
                           int64_t timeout_ms, int64_t *ret_low, int64_t *ret_high,
                           struct err *e) MUST_CHECK;
/* Leaves the group and frees. Call from the polling thread. */
void kafka_consumer_free(struct kafka_consumer *c);

/* The cluster's id into out; -ETIMEDOUT. Timeout 0: as far as a broker has told it already, which
 * it has before anything is assigned. */
int kafka_cluster_id(struct kafka_consumer *c, int64_t timeout_ms, char out[64],
                     struct err *e) MUST_CHECK;

/* ---- administration and health ---- */
struct kafka_topic {
    const char *name; /* without prefix */
    int64_t retention_ms;
    bool compacted;
};
/* Create what is missing with the configured partitions and replication; existing topics are left
 * alone. *ret_created counts. */
int kafka_create_topics(const struct kafka_settings *s, const struct kafka_topic *t, size_t n,
                        size_t *ret_created, struct err *e) MUST_CHECK;
/* Metadata of the cluster within timeout, on a handle kept by the caller's process. */
int kafka_ping(const struct kafka_settings *s, int64_t timeout_ms, struct err *e) MUST_CHECK;
