/*
 * What waits in the spool goes to Kafka, oldest first, by a thread of its own. A window of records
 * is out at once and leaves the spool together when Kafka has acknowledged all of it; else all of
 * it is sent again. So nothing is lost and the order of a key holds; after a failure records may be
 * there twice, under one request id.
 *
 * What the broker refuses for its size, sent alone three times, is set aside on disk and leaves the
 * queue, which it would hold up; the next start tries it again. What cannot be set aside stays at
 * the head and is tried by itself. Records of one key leave in order but where a batch was refused
 * for its size: later ones may be taken before it is sent again in parts.
 *
 * While the breaker is open this is also who asks whether Kafka is back: with the oldest record, or
 * with a beat when nothing waits.
 */
#pragma once

#include <stddef.h>

struct publisher;
struct parcel;

/* The thread: until the publisher stops, which is what it is given. */
void *drain_run(void *publisher);
/* The broker's word on one record of a window; on librdkafka's thread. */
void drain_report(struct parcel *c, int err_code);
/* Records that still wait. */
size_t drain_left(struct publisher *p);
