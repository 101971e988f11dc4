/*
 * A flush looks at groups: what was said, what is, and writes the difference as notification rows.
 *
 * It runs inside the transaction that claimed the groups' timers. The group is locked first; what
 * it is about is read after that, without a lock: a batch that changes it later inserts another
 * timer, and so another flush sees it. Nothing is rendered here; a row says what it is about.
 *
 * A group whose route has left the configuration says what is left to say (an end, the rest of a
 * digest). One whose receiver has left, or has no channel, cannot: it gets rows that ended as
 * suppressed, with that reason.
 */
#pragma once

#include "common/kafka.h"
#include "common/pg.h"
#include "common/rules.h"
#include "common/uuid7.h"
#include "processor/group.h"

struct flush_settings {
    const struct route *routes; /* NULL: none */
    const struct receivers *receivers;
    const char *time_zone; /* of receivers that name none */
    const struct rules *rules;
};

struct flush_subject {
    struct slice tenant;
    struct uuid group;
};

struct flush_subjects {
    const struct flush_subject *v; /* repeats are harmless */
    size_t n;
    int64_t now_ms;
};

/* A row that waits for its notifier. */
struct wakeup {
    struct slice tenant;
    struct uuid id;
    const char *channel;
    char key[17]; /* 16 hex: stands for the destination, whose address and credential are secrets */
};

struct flushed {
    struct wakeup *wakeups;
    size_t wakeup_n;
    size_t created[DUE_KINDS]; /* notification rows by enum due_kind */
};

/* Memory of *ret is the arena's. Errors as of pg_query(). */
int flush_groups(const struct flush_settings *s, struct pg *pg, struct arena *a,
                 const struct flush_subjects *v, struct flushed *ret, struct err *e) MUST_CHECK;

/* After the commit: tell the notifiers. What Kafka does not take now, their sweeper finds. Returns
 * how many were taken. */
size_t flush_publish(struct kafka_producer *p, const struct flushed *f);

/* Every time zone that a receiver names must be known to Postgres, which tells the time of day of
 * digests. -EINVAL naming the receiver. */
int flush_check_zones(const struct flush_settings *s, struct pg *pg, struct arena *a,
                      struct err *e) MUST_CHECK;
