/*
 * The notifier's statements. Claims, grants and ends go in batches; each function is one
 * transaction on the desk's connection. Waits, leases and rates are judged by Postgres's clock.
 */
#pragma once

#include "common/pg.h"
#include "notifier/job.h"

struct store {
    struct pg *pg;
    const struct settings *s;
    struct outlets *outlets;
    const char *name; /* of this process, in lease_by */
};

struct wake {
    struct slice tenant;
    struct uuid id;
};

/* What to look for. */
struct look {
    const struct wake *wakes; /* NULL: all rows that are older than `age` */
    size_t n;
    int64_t age;
};

/* Where rows may be claimed from, and how many; a sweep looks from this created_at on. */
struct room {
    struct outlet *outlet;
    uint32_t n;
    int64_t since;
};
struct rooms {
    const struct room *v;
    size_t n;
};

/*
 * Claim what is due. One row per group and integration, the newest; at most `limit`; none while
 * another of that group is under way. *ret: list of jobs with their facts, the caller's to free.
 */
int store_claim(struct store *st, const struct rooms *rooms, const struct look *look, size_t limit,
                struct job **ret, struct err *e) MUST_CHECK;
/* Rows of these channels that wait longer than retry_for for an integration that the configuration
 * does not have. */
int store_claim_orphans(struct store *st, const struct channel *const *channels, size_t n,
                        struct job **ret, struct err *e) MUST_CHECK;

/* What vendors reported for good since the last look. Of what was lost, of these channels, *ret: to
 * end as LIFE_REFUTE. What arrived ends the alert about its receiver. */
int store_reported(struct store *st, const struct channel *const *channels, size_t n,
                   struct job **ret, struct err *e) MUST_CHECK;

/* A part of it. */
int store_arrived(struct store *st, struct err *e) MUST_CHECK;

/* Of receivers that take nothing, and of templates that give nothing: the alerts about those that
 * the configuration does not have any more end. */
int store_forget_failing(struct store *st, struct err *e) MUST_CHECK;
int store_forget_templates(struct store *st, struct err *e) MUST_CHECK;

/* Is any of them silenced by now? Those are to end as LIFE_SUPPRESS, with all that a merge would
 * tell; what is silenced of a merge is taken out of it and has ended, and what is silenced of a
 * digest waits for the next (LIFE_RELEASE: it has more, which is to be read). After a failure, what
 * was set does not matter: all have to be released. What alone is too large to be asked for is to
 * be sent. */
int store_silenced(struct store *st, struct job *list, struct err *e) MUST_CHECK;

/*
 * Just before the send: is each job still ours, may its destination take it? Debits the rates,
 * merges what has to wait and is for people, puts the rest back. `list` is consumed: *ret_go are to
 * be sent now (attempt counted, lease renewed); *ret_rest need nothing more but job_free(), or
 * store_end() where an end is set: a breaker held it for too long, and there is a fallback.
 */
int store_grant(struct store *st, struct job *list, struct job **ret_go, struct job **ret_rest,
                struct err *e) MUST_CHECK;
/* A message was too long, and goes on in another: members of a merge that are not in the job's
 * facts.members move to a merge of their own, the items of a digest in facts.left to one more
 * digest. -ESTALE: the row is not ours any more. */
int store_split(struct store *st, struct job *j, struct err *e) MUST_CHECK;

/* The items of a digest in facts.left are silenced: they wait in its group for the next digest of
 * its integration. The row keeps those in facts.items. Errors as of store_split(). */
int store_withhold_items(struct store *st, struct job *j, struct err *e) MUST_CHECK;

/* Write how each job of the list ended. Jobs that are not ours any more are skipped, but a delivery
 * that happened is written. */
int store_end(struct store *st, struct job *list, struct err *e) MUST_CHECK;
