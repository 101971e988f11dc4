/*
 * groups.told: per integration what was said last and what was delivered last. Pure.
 *
 *     {"0": {"last": STATE, "delivered": STATE, "withheld": STATE}}, STATE being `about.state` of a
 *     notification
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Sequence of the newest delivered message; -1: none. */
int64_t told_delivered_seq(const json_t *told, int64_t integration);
/* Was the newest delivered message a firing one? */
bool told_firing(const json_t *told, int64_t integration);
/* Did it call the incident by the same word as `state`: open, acknowledged ...? */
bool told_same_word(const json_t *told, int64_t integration, const json_t *state);
/* Is this alert, which a message of its group says is over, one that was never told as firing? Of
 * whom a fallback tells nothing is known but what `about` says. `told` NULL: no group. */
bool told_untold(const json_t *told, int64_t integration, const json_t *about, const char *fp);
/* Of those that the message itself lists: is any? */
bool told_any_untold(const json_t *told, int64_t integration, const json_t *about);
/* Is all that fires by this state known from what was delivered? */
bool told_all_firing(const json_t *told, int64_t integration, const json_t *state);
/* `state` was delivered. False when a newer one was, and then nothing changes. */
bool told_deliver(json_t *told, int64_t integration, json_t *state);
/* The message with `seq` failed. True when it was the newest that was said: `last` is then what was
 * delivered, and the group has to be looked at again. */
bool told_fail(json_t *told, int64_t integration, int64_t seq);
/* The message with `seq` counted as delivered and was lost: `before` was delivered last (NULL:
 * nothing). True as told_fail(). */
bool told_refute(json_t *told, int64_t integration, int64_t seq, json_t *before);
/* The message with this state was not sent, since it tells ends alone and nobody wants them. What
 * was delivered keeps its place and its time, so that it is repeated when it would have been, and
 * says from now on what is left of it. True when that is what was said last: the group has to be
 * looked at again. */
bool told_shrink(json_t *told, int64_t integration, json_t *state);
/* A silence kept the message with this state from being sent: it counts as not said, but neither is
 * it to be withheld once more. */
void told_withhold(json_t *told, int64_t integration, json_t *state);
/* What was delivered is newer than what counts as said last: a message after it failed while it
 * waited. It is then what was said last. True when it was so: the group has to be looked at again.
 */
bool told_catch_up(json_t *told, int64_t integration);
