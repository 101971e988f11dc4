/*
 * Records as they came from Kafka, decoded once, however often their transaction is tried. Filled
 * by the consuming thread, committed by the other one.
 */
#pragma once

#include "common/kafka.h"
#include "common/source.h"
#include "processor/work.h"

enum fate {
    FATE_ALERTS = 1, /* decoded: `inputs` */
    FATE_BEAT,       /* an ingest is alive */
    FATE_DEAD,       /* cannot be taken: `reason`, at `stage` */
};

struct beat {
    struct slice ingest;
    int64_t at, oldest_spooled;
    bool farewell;
};

struct batch_record {
    struct kafka_message message; /* owned */
    enum fate fate;
    const struct kafka_header *headers; /* as they came, whatever they are */
    size_t header_n;
    struct record record;
    struct slice delivery_id;
    const struct source_entry *source;
    struct input *inputs;
    size_t input_n;
    struct beat beat;
    const char *stage, *reason;
};

/* A partition's way through a batch. */
struct batch_position {
    char topic[128];
    int32_t partition;
    int64_t expected, next;
    bool current; /* its end is near the end of the partition */
};

struct batch {
    struct arena *a, *scratch; /* decoded values; what one record's decoder needed for it */
    struct batch_record *v;
    size_t n, cap;
    struct batch_position *positions;
    size_t position_n;
    uint64_t epoch; /* of the assignment it was read under */
    bool alone;     /* one record that may be deadly: nothing is read while it is under way */
};

struct batch *batch_new(size_t cap, size_t position_cap, size_t memory) MUST_CHECK;
void batch_free(struct batch *b); /* gives the messages back */
CLEANUP_DEFINE(struct batch *, batch_free);

/* Take a message over and decode it; never fails: what cannot be decoded is FATE_DEAD. */
void batch_add(struct batch *b, struct kafka_message *m, const struct settings *s,
               const struct source_entries *sources);
/* The same for headers at hand, which live as long as the batch. */
void batch_add_with(struct batch *b, struct kafka_message *m, const struct kafka_header *headers,
                    size_t n, const struct settings *s, const struct source_entries *sources);
/* Mark a record as one that must not be touched: it killed the process before. */
void batch_add_dead(struct batch *b, struct kafka_message *m, const char *stage,
                    const char *reason);
/* Where each partition stands after records [from, to) of the batch, in *ret (position_n entries;
 * next == expected: untouched). */
int batch_positions(const struct batch *b, size_t from, size_t to, struct arena *a,
                    struct batch_position **ret) MUST_CHECK;
