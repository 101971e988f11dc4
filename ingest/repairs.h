/* POST /api/v1/repairs: what somebody did about an incident, and what came of it. Pure. */
#pragma once

#include "common/settings.h"
#include "common/uuid7.h"
#include "ingest/spool.h"

/* One authentic request. */
struct repair_post {
    struct slice body;
    const char *encoding; /* Content-Encoding; NULL: none */
    bool may_verify;
    int64_t now_ms;
    struct uuid id; /* becomes the request id */
};

enum repair_token { REPAIR_TOKEN_NONE = 1, REPAIR_TOKEN_REPORTS, REPAIR_TOKEN_VERIFIES };

/* What the Authorization header may do. Constant time for each token. */
enum repair_token repair_token(const struct repairs_settings *s, const char *authorization);

/*
 * The record for the topic `repairs`: the report, checked and in one form, keyed by the incident.
 * `verified` stays only when the token may say so. -EBADMSG with a reason, -E2BIG; -EOPNOTSUPP as
 * door_unpacked().
 */
int repair_record(const struct repair_post *post, const struct settings *s, struct arena *a,
                  struct spool_record *ret, struct err *e) MUST_CHECK;
