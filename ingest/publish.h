/*
 * The way of one record from the door to safety: Kafka's acknowledgement, or the spool's fsync, or
 * the word that neither was possible.
 *
 * Ingest's own clock decides: at the deadline a record goes to the spool with the same headers,
 * whatever librdkafka still holds. The first miss opens the breaker and records go straight to the
 * spool, until a probe is acknowledged. Records of a key that waits in the spool queue behind it;
 * those without a key never do.
 */
#pragma once

#include "common/kafka.h"
#include "common/settings.h"
#include "ingest/spool.h"

struct publisher;

enum outcome {
    OUTCOME_ACKNOWLEDGED = 1, /* in Kafka, on all replicas that it asks for */
    OUTCOME_SPOOLED,          /* on our disk, fsynced */
    OUTCOME_REFUSED,          /* nowhere that counts: 503. It may still arrive */
    OUTCOME_UNFIT             /* by itself too large for Kafka, today and tomorrow: 413 */
};

/* Once per record, from any thread, also from within publish(). */
typedef void outcome_fn(void *ctx, enum outcome o);

/* `id` outlives it. */
int publisher_new(const struct settings *s, const char *id, struct publisher **ret,
                  struct err *e) MUST_CHECK;
/* Copies everything. */
void publish(struct publisher *p, const struct spool_record *r, outcome_fn *done, void *ctx);
/* Wait until nothing is out, at most timeout_ms. False: something is, and publisher_free() sends it
 * to the spool. */
bool publisher_drain(struct publisher *p, int64_t timeout_ms);
/* Every record gets its outcome before this returns. NULL is a no-op. */
void publisher_free(struct publisher *p);

struct publisher_state {
    bool heard; /* Kafka's word on the first beat: taken, or given up */
    bool breaker_open;
    bool has_spool;
    struct spool_state spool;
};
void publisher_state(struct publisher *p, struct publisher_state *ret);
/*
 * For a beat: for how many ms Kafka lacks what was called safe here; 0: it has all. Of what is set
 * aside the newest record counts, and only while nothing waits: it may hold back ends by silence
 * until absence_cap after it was received, and not for as long as nobody mends the broker.
 */
int64_t publisher_age(struct publisher *p, int64_t now);
/* Without waiting and without spool: signs of life. */
void publish_beat(struct publisher *p, struct slice id, struct slice value);
/* For processes that died without one, once nothing of theirs is spooled; with `ours` for this one,
 * which takes nothing any more, too, unless something of it is out, spooled or set aside. Waits a
 * moment for Kafka; whom it did not hear of, somebody says again after the next start.
 */
void publish_farewells(struct publisher *p, bool ours);

CLEANUP_DEFINE(struct publisher *, publisher_free);
