/* Messages into batches, and whose record goes alone. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "processor/consume_internal.h"

#define DECODED_MEMORY ((size_t)512 << 20)
#define POSITIONS 1024
#define POLL_MESSAGES 64

/* Announce the first batch of a partition before its first record is even decoded. */
static int announce(struct consume *c, struct partition *p, bool *ret_bury, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    const struct offset_row row = {.topic = p->topic, .partition = p->partition};
    const uint32_t limit = c->o.settings->processor.crash_limit;
    const struct offset_group g = consume_group(c);
    int rc = a ? pg_connect(c->pg, e) : err_set(e, -ENOMEM, "out of memory");

    if (rc == 0)
        rc = offsets_starts(c->pg, a, &g, &row, 1, e);
    if (rc < 0)
        return rc;
    p->started = true;
    partitions_announced(c->partitions, p->topic, p->partition);
    if (p->deaths >= limit) {
        p->probation = c->o.settings->processor.batch_records;
        *ret_bury = p->deaths > limit;
        log_error(EV("probation"), KV("topic", p->topic), KV("partition", p->partition),
                  KV("deaths", p->deaths), KV("buried", *ret_bury));
    }
    return 0;
}

int consume_wait_for_database(struct consume *c, struct err *e)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped;

    if (log_allow(&limit, &dropped))
        log_warn(EV("database_away"), KV("reason", e->msg), KV("dropped", dropped));
    const struct timespec ts = {.tv_nsec = 200L * 1000 * 1000};
    (void)nanosleep(&ts, NULL);
    return atomic_load(&c->stop) || atomic_load(&c->draining) ? -ECANCELED : 0;
}

static struct batch_position *batch_position(struct batch *b, const struct partition *p)
{
    for (size_t i = 0; i < b->position_n; i++)
        if (b->positions[i].partition == p->partition &&
            strcmp(b->positions[i].topic, p->topic) == 0)
            return &b->positions[i];
    if (b->position_n == POSITIONS)
        return NULL;
    struct batch_position *bp = &b->positions[b->position_n++];
    *bp = (struct batch_position){.partition = p->partition, .expected = p->position};
    memcpy(bp->topic, p->topic, sizeof(bp->topic));
    return bp;
}

/* May its next record be the one that kills the process? Then it goes alone, or others are blamed.
 */
static bool is_suspect(const struct consume *c, const struct partition *p)
{
    return p->probation > 0 || (!p->started && p->deaths >= c->o.settings->processor.crash_limit);
}

void consume_wait_for_committer(struct consume *c)
{
    while (!queue_room(c->queue, 0, 100) && !atomic_load(&c->stop))
        continue;
}

/* Take one message into the batch. True when the batch must be closed after it. A message that is
 * not ours any more is given back. */
static bool take(struct consume *c, struct batch *b, struct kafka_message *m)
{
    struct partition p;
    struct err e = {0};
    bool bury = false;

    if (!partitions_get(c->partitions, m->topic, m->partition, &p) || m->offset < p.position) {
        kafka_message_free(m);
        return false;
    }
    const bool alone = is_suspect(c, &p);
    if (alone && b->n > 0) {
        c->held = *m;
        atomic_store(&c->reset, true);
        return true;
    }
    if (alone)
        consume_wait_for_committer(c);
    while (!p.started && announce(c, &p, &bury, &e) < 0) {
        if (consume_wait_for_database(c, &e) < 0) {
            kafka_message_free(m);
            return true;
        }
    }
    if (!batch_position(b, &p)) { /* in the next batch: it has to be read again */
        kafka_message_free(m);
        atomic_store(&c->reset, true);
        return true;
    }
    p.position = m->offset + 1;
    if (alone)
        p.probation--;
    b->alone = alone;
    partitions_put(c->partitions, &p);
    if (bury)
        batch_add_dead(b, m, "process", "this record ended the process again and again");
    else
        batch_add(b, m, c->o.settings, c->o.sources);
    return alone;
}

/* The record that was held for this batch, if it is still the next of its partition. */
static bool take_held(struct consume *c, struct batch *b)
{
    struct kafka_message m = c->held;
    struct partition p;

    c->held.own = NULL;
    if (partitions_get(c->partitions, m.topic, m.partition, &p) && m.offset == p.position)
        return take(c, b, &m);
    kafka_message_free(&m);
    return false;
}

/* How long to wait for the next message; 0: close the batch. When its time is up but nobody waits
 * for it, it grows with the backlog. */
static int64_t patience(struct consume *c, const struct batch *b, int64_t until)
{
    if (b->n == 0)
        return 100;
    const int64_t left = until - clock_monotonic_ms();
    if (left > 0)
        return left;
    return queue_room(c->queue, 0, 0) ? 0 : 2;
}

/* True when the batch must be closed: a record that goes alone. What came with it is read again. */
static bool take_all(struct consume *c, struct batch *b, struct kafka_message *m, int n,
                     size_t *bytes)
{
    for (int i = 0; i < n; i++) {
        *bytes += m[i].value.len;
        if (!take(c, b, &m[i]))
            continue;
        for (int j = i + 1; j < n; j++)
            kafka_message_free(&m[j]);
        if (i + 1 < n)
            atomic_store(&c->reset, true);
        return true;
    }
    return false;
}

/* Fill one batch: until it is full, or `batch_wait` after its first record when the committer is
 * idle by then. NULL: out of memory. */
struct batch *consume_read_batch(struct consume *c)
{
    const struct processor_settings *s = &c->o.settings->processor;
    CLEANUP(batch_free) struct batch *b = batch_new(s->batch_records, POSITIONS, DECODED_MEMORY);
    struct kafka_message m[POLL_MESSAGES];
    int64_t until = 0, wait;
    size_t bytes = 0;

    if (b && c->held.own) {
        b->epoch = partitions_epoch(c->partitions);
        if (take_held(c, b))
            return TAKE(b);
    }
    while (b && b->n < b->cap && (wait = patience(c, b, until)) > 0 && !atomic_load(&c->stop) &&
           !atomic_load(&c->draining)) {
        struct err e = {0};
        const size_t room = b->cap - b->n;
        const int got =
            kafka_poll(c->kafka, m, room < POLL_MESSAGES ? room : POLL_MESSAGES, wait, &e);
        if (got < 0)
            log_warn(EV("kafka_poll"), KV("reason", e.msg));
        if (b->n == 0) {
            until = clock_monotonic_ms() + s->batch_wait;
            b->epoch = partitions_epoch(c->partitions);
        }
        const bool close = take_all(c, b, m, got, &bytes);
        if (close || b->n == 0 || bytes >= s->batch_bytes ||
            b->epoch != partitions_epoch(c->partitions))
            break;
    }
    c->untrimmed += bytes;
    return TAKE(b);
}
