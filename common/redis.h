/*
 * Redis as a cache: every call may fail, none may matter. After a failure calls return -ENOTCONN at
 * once until a back-off passes, so that a Redis that hangs costs nobody more than one timeout.
 * hiredis writes with write(2), so the process must ignore SIGPIPE.
 */
#pragma once

#include <hiredis/hiredis.h>
#include <stdint.h>

#include "common/settings.h"
#include "common/slice.h"

__attribute__((unused)) static inline void redis_reply_free(redisReply *r)
{
    freeReplyObject(r);
}
CLEANUP_DEFINE(redisReply *, redis_reply_free);

struct redis;

/* Connects lazily. url: redis://[[user]:password@]host[:port][/db] (%XX undone) or unix:///path.
 * Empty: every call gives -ENOTCONN. Not thread-safe. */
int redis_open(const struct redis_settings *s, struct redis **ret, struct err *e) MUST_CHECK;
void redis_close(struct redis *r);
CLEANUP_DEFINE(struct redis *, redis_close);
/* One command. *ret may be NULL to discard. -EPROTO when Redis answers an error. */
int redis_command(struct redis *r, size_t argc, const struct slice *argv, redisReply **ret,
                  struct err *e) MUST_CHECK;
/* Pipeline: append any number, then flush and discard the replies; the first error is returned. */
int redis_append(struct redis *r, size_t argc, const struct slice *argv, struct err *e) MUST_CHECK;
int redis_flush(struct redis *r, struct err *e) MUST_CHECK;
/* Read next appended reply instead of discarding. */
int redis_reply(struct redis *r, redisReply **ret, struct err *e) MUST_CHECK;
int redis_ping(const struct redis_settings *s, struct err *e) MUST_CHECK;
