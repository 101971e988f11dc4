/*
 * One record of the topic `repairs`: what was tried on an incident, and what its reporter says came
 * of it. Pure.
 *
 *   {"incident_id":"<uuid>","action":"restart_pod","outcome":"success|failure|unknown",
 *    "by":"...","note":"...","attempt":1,"verified":false}      headers tenant, request_id,
 * received_at
 *
 * `verified` stands only where ingest let it through: the token was one that may say so. Unknown
 * members are ignored.
 */
#pragma once

#include "common/arena.h"
#include "common/kafka.h"
#include "common/uuid7.h"
#include "learner/decide.h"

#define ACTION_MAX ((size_t)128)

struct inbound { /* a Kafka record, however it came */
    const char *topic;
    int32_t partition;
    int64_t offset;
    struct slice key, value;
    const struct kafka_header *headers;
    size_t header_n;
};

struct report {
    struct uuid id, incident_id; /* id: the request's, so that a record read twice is one report */
    struct slice tenant, action, by, note; /* by and note may be empty, never NULL */
    int32_t attempt_number;
    struct attempt attempt;
};

/* A name that may stand in a playbook: 1 to ACTION_MAX bytes, no control characters. */
bool action_valid(struct slice action);

/* Into the arena. -EBADMSG with a reason for `dead`; -ENOMEM. */
int report_parse(const struct inbound *in, struct arena *a, struct report *ret,
                 struct err *e) MUST_CHECK;
