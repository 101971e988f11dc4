/*
 * The ids of Opsgenie's API that we give out. All of them tell the alert's fingerprint, so that
 * whoever is asked about one needs no table: the source that takes requests, and the console, which
 * says what became of them.
 */
#pragma once

#include "common/uuid7.h"

enum opsgenie_act {
    OPSGENIE_CREATE,
    OPSGENIE_CLOSE,
    OPSGENIE_DELETE,
    OPSGENIE_ACKNOWLEDGE,
    OPSGENIE_UNACKNOWLEDGE,
    OPSGENIE_ESCALATE,
    OPSGENIE_SNOOZE,
    OPSGENIE_ASSIGN,
    OPSGENIE_NOTE,
    OPSGENIE_TAGS,
    OPSGENIE_DETAILS,
    OPSGENIE_RESPONDER,
    OPSGENIE_MESSAGE,
    OPSGENIE_DESCRIPTION,
    OPSGENIE_PRIORITY,
    OPSGENIE_ACTS
};

struct opsgenie_request {
    uint64_t alert;
    int64_t at; /* ms */
    enum opsgenie_act act;
};

/* `salt`: any byte, against two of the same millisecond. */
const char *opsgenie_request_id(const struct opsgenie_request *r, unsigned char salt,
                                char out[UUID_STR]);
bool opsgenie_request_parse(struct slice s, struct opsgenie_request *ret);

const char *opsgenie_alert_id(uint64_t alert, char out[UUID_STR]);
bool opsgenie_alert_parse(struct slice s, uint64_t *ret);
