/* The pure half of the desk: what becomes of a job before and after its send. No Postgres, no wire.
 */
#pragma once

#include "notifier/job.h"

/* Not wanted any more, or nobody to send it to: sets the end and returns true. */
bool judge_wanted(struct job *j);
/* Build and render the message and its first request. A merge or digest that does not fit tells
 * fewer members, or items; *ret_split then. Negative: the end is set; 1: too, since the channel
 * asks nobody. */
int judge_render(struct job *j, const struct settings *s, bool *ret_split);
/* An answer came: true when another request (j->step.request) follows, else the end is set.
 * `now_ms`: monotonic. */
bool judge_answer(struct job *j, const struct settings *s, int64_t now_ms, uint64_t random);
/* It was claimed and will not be sent now. */
void judge_release(struct job *j);
