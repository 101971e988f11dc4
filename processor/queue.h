/*
 * The short queue of batches between the thread that reads and the one that commits. A batch at the
 * committer counts as waiting until it asks for the next.
 */
#pragma once

#include <stdatomic.h>

#include "processor/batch.h"

#define QUEUE_DEPTH 2

struct queue;
/* `stop` set ends every wait at once. */
struct queue *queue_new(const atomic_bool *stop) MUST_CHECK;
/* Frees what nobody took. NULL is a no-op. */
void queue_free(struct queue *q);
/* Are at most `max` batches waiting or at work? Waits at most `ms` for it. */
bool queue_room(struct queue *q, size_t max, int64_t ms);
/* Takes the batch over; waits while more than QUEUE_DEPTH wait. */
void queue_put(struct queue *q, struct batch *b);
/* The next batch, which is the caller's; NULL when the queue is closed and empty. */
struct batch *queue_take(struct queue *q);
void queue_close(struct queue *q);
