/*
 * The runner of timers: "look at this subject from then on". Any processor may run any timer: it
 * claims those that are due with SKIP LOCKED, all of one subject together, takes the subject's
 * lock, derives what is due, writes it, and arms the subject again. All of that is one transaction,
 * so a runner that dies leaves the timers where they were. A spurious timer does nothing.
 *
 * A subject whose data Postgres or our own code will never take does not stop the others: it is
 * found by halving and parked, which is a timer that is due later each time and says why. One whose
 * rows somebody else holds is found in the same way, and put off for some seconds.
 *
 * Due is what Postgres's clock says, so that the clocks of several hosts need not agree. The same
 * thread drains the outbox.
 */
#pragma once

#include "common/kafka.h"
#include "common/receivers.h"
#include "common/rules.h"
#include "processor/outbox.h"

struct silence; /* processor/work.h */

struct timers_options {
    const struct settings *settings;
    const struct route *routes; /* NULL: nobody is told anything */
    const struct rules *rules;
    const struct receivers *receivers;
    struct kafka_producer *producer; /* its reports go to outbox_report() */
    struct outbox *outbox;
    /* Alerts that may have ended by silence; inside the claiming transaction. It arms again what it
     * does not end. */
    int (*expire)(void *ctx, struct pg *pg, const struct silence *v, size_t n, struct err *e);
    void *expire_ctx;
    void (*fail)(const struct err *why); /* the runner cannot go on: service_fail() */
};

struct timers;
int timers_new(const struct timers_options *o, struct timers **ret, struct err *e) MUST_CHECK;
/* Run on a thread of its own. A Postgres that is away is waited for. */
int timers_start(struct timers *t, struct err *e) MUST_CHECK;
/* A timer that is due was committed: look now. From any thread. */
void timers_kick(struct timers *t);
/* Finish the transaction at hand and end the thread; nothing to do is fine. */
void timers_stop(struct timers *t);
void timers_free(struct timers *t);
CLEANUP_DEFINE(struct timers *, timers_free);

/*
 * One claim of each kind, in the caller's thread (not while the runner's own runs), on its
 * connection. *ret_ran counts the timers. -EAGAIN, -EBUSY: try one of the kinds again, the others
 * were done; -ENOTCONN: all of them; anything else is a bug or a schema that is not ours.
 */
int timers_pass(struct timers *t, size_t *ret_ran, struct err *e) MUST_CHECK;
