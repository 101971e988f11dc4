/* Who is told what a receiver did not take. Pure. */
#pragma once

#include "notifier/job.h"

/* The message has failed: the first of its receiver's fallbacks that it is not about; NULL: nobody.
 * `member`: of a merge, that one of its messages. */
const struct receiver *fallback_of(const struct job *j, const json_t *member);

/* Whose news the message tells that has a group of its own: `about.fallback` of what a fallback is
 * told, `about.continues` of what a digest had no room for; NULL for any other. */
const json_t *fallback_origin(const struct job *j, const json_t *member);

/* The group whose news the message tells, and the integration there: a fallback tells another's,
 * and so does what continues a digest. False: the row names none. */
bool fallback_group(const struct job *j, const json_t *member, struct uuid *ret_group,
                    int64_t *ret_integration);

/* Says in the job's reason who is told instead. */
void fallback_note(struct job *j);
