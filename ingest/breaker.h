/*
 * Is it worth waiting for Kafka? Closed: yes. The first miss opens it: records go straight to the
 * spool, until a probe is acknowledged. Plain values; the caller brings the time and the lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct breaker {
    bool open;
    int64_t since;      /* ms: of the last change */
    int64_t next_probe; /* ms */
    int64_t wait;       /* between probes: doubles up to BREAKER_WAIT_MAX */
};

#define BREAKER_WAIT_MIN 100
#define BREAKER_WAIT_MAX 1000

/* A record was not acknowledged in time, or a probe failed. True when this opened it. */
bool breaker_miss(struct breaker *b, int64_t now);
/* A probe, or any record, was acknowledged. True when this closed it. */
bool breaker_success(struct breaker *b, int64_t now);
/* May a probe go now? Then the next one may only after `wait`. */
bool breaker_probe(struct breaker *b, int64_t now);
