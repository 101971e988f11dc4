/*
 * A record that cannot be taken: it goes to the topic `dead` through the outbox, in the transaction
 * that steps over it. With its own headers, so that whoever writes it to its topic again has the
 * same record; and behind them, of equal names instead of them, what became of it.
 */
#pragma once

#include "common/kafka.h"
#include "common/pg.h"

struct dead {
    const char *topic; /* without prefix */
    int32_t partition;
    int64_t offset;
    struct slice key, value;
    const struct kafka_header *headers;
    size_t header_n;
    const char *stage, *reason;
};

int dead_store(struct pg *pg, struct arena *a, const struct dead *d, struct err *e) MUST_CHECK;
