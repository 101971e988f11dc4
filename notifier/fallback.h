/* Who is told what a receiver did not take. Pure. */
#pragma once

#include "notifier/job.h"

/* The message has failed: the first of its receiver's fallbacks that it is not about; NULL: nobody.
 * `member`: of a merge, that one of its messages. */
const struct receiver *fallback_of(const struct job *j, const json_t *member);

/* `about.fallback` of a message that a fallback is told; NULL for any other. */
const json_t *fallback_origin(const struct job *j, const json_t *member);

/* The group whose news the message tells, and the integration there: a fallback tells another's.
 * False: the row names none. */
bool fallback_group(const struct job *j, const json_t *member, struct uuid *ret_group,
                    int64_t *ret_integration);

/* Says in the job's reason who is told instead. */
void fallback_note(struct job *j);
