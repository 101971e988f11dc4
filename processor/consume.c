#include "processor/consume_internal.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/service.h"

#define POLL_BYTES ((size_t)1 << 20) /* so that large bodies do not overfill a batch */
#define TRIM_BYTES ((size_t)4 << 20)
#define CURRENT_LAG_MS (10 * MS_SECOND)
#define CURRENT_WORD_MS (5 * MS_SECOND)
#define BROKER_TIMEOUT_MS 5000

const char *consume_cluster(const struct consume *c)
{
    return atomic_load(&c->knows_cluster) ? c->cluster : "";
}

/* ---- the committing thread ---- */

static void remember_committed(struct consume *c, const struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct kafka_message *m = &b->v[i].message;
        partitions_committed(c->partitions, m->topic, m->partition, m->offset + 1,
                             b->v[i].fate == FATE_BEAT ? b->v[i].beat.at
                                                       : b->v[i].record.received_at);
    }
}

static void *write_batches(void *ctx)
{
    struct consume *c = ctx;

    for (struct batch *b = queue_take(c->queue); b; b = queue_take(c->queue)) {
        struct err e = {0};
        int rc = 0;
        if (b->epoch == partitions_epoch(c->partitions))
            rc = committer_run(c->committer, b, &e);
        else
            rc = -ECANCELED; /* read under an assignment that is over; whoever owns it now reads it
                                again */
        if (rc == 0) {
            remember_committed(c, b);
        } else if (rc == -ESTALE) {
            log_warn(EV("partition_lost"), KV("reason", e.msg));
            partitions_bump(c->partitions);
            atomic_store(&c->reset, true);
        } else if (rc != -ECANCELED) {
            (void)err_wrap(&e, "commit");
            service_fail(&e);
            atomic_store(&c->stop, true);
        }
        batch_free(b);
    }
    return NULL;
}

/* ---- offsets ---- */

struct offset_group consume_group(const struct consume *c)
{
    return (struct offset_group){PROCESSOR_GROUP, c->cluster};
}

/* What the rows said that a person must know of: records expired unread, a topic made anew, another
 * cluster. */
static void report(struct consume *c, const struct offset_row *r)
{
    if (r->lost_from >= 0) {
        log_error(EV("offset_outside_topic"), KV("topic", r->topic), KV("partition", r->partition),
                  KV("stored", r->lost_from), KV("low", r->low), KV("high", r->high),
                  KV("from", r->next));
        counter_add(c->jumps, 1);
    }
    if (r->new_cluster)
        log_error(EV("new_cluster"), KV("topic", r->topic), KV("partition", r->partition),
                  KV("cluster", c->cluster), KV("from", r->next));
}

static int know_cluster(struct consume *c, int64_t timeout_ms, struct err *e)
{
    if (atomic_load(&c->knows_cluster))
        return 0;
    const int rc = kafka_cluster_id(c->kafka, timeout_ms, c->cluster, e);
    if (rc == 0)
        atomic_store(&c->knows_cluster, true);
    return rc;
}

static int load_offsets(struct consume *c, struct kafka_partition *p, size_t n, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)16 << 20);
    struct offset_row *rows = a ? arena_array(a, n + 1, struct offset_row) : NULL;
    const struct offset_group g = consume_group(c);

    if (!rows)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = know_cluster(c, BROKER_TIMEOUT_MS, e);

    if (rc == 0)
        rc = pg_connect(c->pg, e);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct offset_row){.topic = p[i].topic, .partition = p[i].partition};
    if (rc == 0)
        rc = offsets_seen(c->pg, a, &g, rows, n, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = kafka_query_watermarks(c->kafka, p[i].topic, p[i].partition, BROKER_TIMEOUT_MS,
                                    &rows[i].low, &rows[i].high, e);
    }
    if (rc == 0)
        rc = offsets_load(c->pg, a, &g, rows, n, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        report(c, &rows[i]);
        p[i].offset = rows[i].next;
    }
    return partitions_assign(c->partitions, rows, n) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static int assigned(void *ctx, struct kafka_partition *p, size_t n, struct err *e)
{
    const int rc = load_offsets(ctx, p, n, e);

    if (rc == 0)
        log_info(EV("assigned"), KV("partitions", (int64_t)n));
    return rc;
}

/*
 * Batches that were announced and end without a commit, while the process lives: nobody died of
 * them. Else a few rebalances in a row would make a healthy record look deadly.
 */
static void withdraw(struct consume *c)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)4 << 20);
    const struct offset_group g = consume_group(c);
    struct partition *v;
    struct err e = {0};
    size_t announced = 0;

    const size_t n = a ? partitions_all(c->partitions, a, &v) : 0;
    struct offset_row *rows = n ? arena_array(a, n, struct offset_row) : NULL;
    for (size_t i = 0; rows && i < n; i++)
        if (v[i].announced)
            rows[announced++] =
                (struct offset_row){.topic = v[i].topic, .partition = v[i].partition};
    if (announced == 0)
        return;
    if (pg_connect(c->pg, &e) < 0 || offsets_withdraw(c->pg, a, &g, rows, announced, &e) < 0)
        log_warn(EV("starts_not_withdrawn"), KV("reason", e.msg));
}

/* What is read but not committed belongs to the next owner. The batch at hand may end: its
 * compare-and-set decides. */
static void revoked(void *ctx, const struct kafka_partition *p, size_t n, bool lost)
{
    struct consume *c = ctx;

    if (!lost)
        (void)queue_room(c->queue, 0, 5 * MS_SECOND);
    withdraw(c);
    partitions_revoke(c->partitions, p, n);
    log_info(EV("revoked"), KV("partitions", (int64_t)n), KV("lost", lost));
}

/* After a lost compare: where does each partition stand now? */
static int read_offsets_again(struct consume *c, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)4 << 20);
    struct partition *v;
    int rc = 0;

    if (!a)
        return err_set(e, -ENOMEM, "out of memory");
    const size_t n = partitions_all(c->partitions, a, &v);
    struct kafka_partition *p = arena_array(a, n + 1, struct kafka_partition);
    if (!p)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        memcpy(p[i].topic, v[i].topic, sizeof(p[i].topic));
        p[i].partition = v[i].partition;
    }
    withdraw(c);
    if ((rc = load_offsets(c, p, n, e)) < 0)
        return rc;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = kafka_seek(c->kafka, p[i].topic, p[i].partition, p[i].offset, e);
    counter_add(c->resets, 1);
    return rc;
}

/* ---- the reading thread ---- */

/* Since when each partition has been less than 10 s behind; the ends by silence hang on it. */
static void say_current(struct consume *c)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    const struct offset_group g = consume_group(c);
    const int64_t now = clock_now_ms();
    struct partition *v;
    struct err e = {0};
    int64_t lag = 0;

    if (now - c->said_current_at < CURRENT_WORD_MS)
        return;
    c->said_current_at = now;
    a = arena_new((size_t)4 << 20);
    const size_t n = a ? partitions_all(c->partitions, a, &v) : 0;
    struct offset_current *words = n ? arena_array(a, n, struct offset_current) : NULL;
    struct kafka_partition *hints = n ? arena_array(a, n, struct kafka_partition) : NULL;
    if (!words || !hints)
        return;
    for (size_t i = 0; i < n; i++) {
        int64_t low, high;
        kafka_watermarks(c->kafka, v[i].topic, v[i].partition, &low, &high);
        const bool current =
            high >= 0 && (v[i].committed >= high || now - v[i].newest_at < CURRENT_LAG_MS);
        v[i].current_since = !current ? 0 : v[i].current_since ? v[i].current_since : now;
        partitions_put(c->partitions, &v[i]);
        words[i] =
            (struct offset_current){v[i].topic, v[i].partition, v[i].committed, v[i].current_since};
        hints[i] = (struct kafka_partition){.partition = v[i].partition, .offset = v[i].committed};
        memcpy(hints[i].topic, v[i].topic, sizeof(hints[i].topic));
        if (high > v[i].committed)
            lag += high - v[i].committed;
    }
    gauge_set(c->lag, lag);
    kafka_commit_hint(c->kafka, hints, n);
    if (pg_connect(c->pg, &e) < 0 || offsets_current(c->pg, a, &g, words, n, now, &e) < 0)
        log_debug(EV("current_unsaid"),
                  KV("reason", e.msg)); /* void in 30 s, which is what it means */
}

/* A batch is made in one thread and freed in the other, in the middle of what librdkafka keeps:
 * malloc would hold on to the largest burst for ever. */
static void give_memory_back(struct consume *c)
{
    if (c->untrimmed < TRIM_BYTES || !queue_room(c->queue, 0, 0))
        return;
    c->untrimmed = 0;
    (void)malloc_trim(0);
}

/* No room: keep in the group without reading more. */
static void hold_until_room(struct consume *c)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct kafka_partition *p;
    struct partition *v;
    struct err e = {0};

    if (queue_room(c->queue, QUEUE_DEPTH, MS_SECOND))
        return;
    a = arena_new((size_t)4 << 20);
    const size_t n = a ? partitions_all(c->partitions, a, &v) : 0;
    p = n ? arena_array(a, n, struct kafka_partition) : NULL;
    for (size_t i = 0; p && i < n; i++) {
        memcpy(p[i].topic, v[i].topic, sizeof(p[i].topic));
        p[i].partition = v[i].partition;
    }
    if (!p || kafka_pause(c->kafka, p, n, true, &e) < 0)
        return; /* then the batch after this one waits in consume_read_batch() */
    while (!queue_room(c->queue, QUEUE_DEPTH - 1, 100) && !atomic_load(&c->stop)) {
        struct kafka_message m;
        if (kafka_poll(c->kafka, &m, 1, 1, &e) > 0) {
            /* It was on its way when the pause came: read it again afterwards. */
            kafka_message_free(&m);
            atomic_store(&c->reset, true);
        }
    }
    if (kafka_pause(c->kafka, p, n, false, &e) < 0)
        atomic_store(&c->reset, true); /* a seek starts the partitions again */
}

static void *read_records(void *ctx)
{
    struct consume *c = ctx;

    while (!atomic_load(&c->stop) && !atomic_load(&c->draining)) {
        struct err e = {0};
        (void)know_cluster(c, 0, &e); /* also where no partition comes to us */
        hold_until_room(c);
        if (atomic_exchange(&c->reset, false)) {
            (void)queue_room(c->queue, 0, 60 * MS_SECOND);
            if (read_offsets_again(c, &e) < 0) {
                atomic_store(&c->reset, true);
                if (consume_wait_for_database(c, &e) < 0)
                    break;
                continue;
            }
        }
        struct batch *b = consume_read_batch(c);
        if (b && b->n > 0) {
            const bool alone = b->alone;
            queue_put(c->queue, b);
            if (alone)
                consume_wait_for_committer(c);
        } else {
            batch_free(b);
            give_memory_back(c);
        }
        say_current(c);
    }
    queue_close(c->queue);
    return NULL;
}

/* ---- life ---- */

static const char **topics_of_registry(struct arena *a)
{
    size_t n = 0;

    while (source_at(n))
        n++;
    const char **v = arena_array(a, n + 2, const char *);
    for (size_t i = 0; v && i < n; i++) {
        v[i] = arena_printf(a, "raw.%s", source_at(i)->name);
        if (!v[i])
            return NULL;
    }
    if (v)
        v[n] = "beat";
    return v;
}

static int open_all(struct consume *c, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    const char **topics = a ? topics_of_registry(a) : NULL;
    int rc;

    if (!topics || !(c->partitions = partitions_new()))
        return err_set(e, -ENOMEM, "out of memory");
    if ((rc = pg_open(&c->o.settings->postgres, "tocsin-processor-offsets", &c->pg, e)) < 0)
        return rc;
    const struct kafka_consumer_options k = {.group = PROCESSOR_GROUP,
                                             .topics = topics,
                                             .poll_bytes = POLL_BYTES,
                                             .gather = true,
                                             .assigned = assigned,
                                             .revoked = revoked,
                                             .ctx = c};
    if ((rc = kafka_consumer_new(&c->o.settings->kafka, &k, &c->kafka, e)) < 0)
        return rc;
    const struct committer_options co = {.settings = c->o.settings,
                                         .routes = c->o.routes,
                                         .rules = c->o.rules,
                                         .group = consume_group(c),
                                         .due = c->o.due,
                                         .due_ctx = c->o.due_ctx,
                                         .stop = &c->stop};
    return committer_new(&co, &c->committer, e);
}

int consume_start(const struct consume_options *o, struct consume **ret, struct err *e)
{
    struct consume *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return err_set(e, -ENOMEM, "out of memory");
    c->o = *o;
    c->queue = queue_new(&c->stop);
    if (!c->queue) {
        free(c);
        return err_set(e, -ENOMEM, "out of memory");
    }
    c->resets = counter_new("tocsin_offset_reads_total",
                            "Times the offsets were read again after a lost compare.", "");
    c->jumps = counter_new("tocsin_offset_jumps_total",
                           "Stored offsets that the topic does not hold any more.", "");
    c->lag = gauge_new("tocsin_lag_records",
                       "Records of our partitions that are not committed yet.", "");
    if ((rc = open_all(c, e)) < 0) {
        consume_stop(c);
        return rc;
    }
    c->reader_runs = pthread_create(&c->reader, NULL, read_records, c) == 0;
    c->writer_runs = c->reader_runs && pthread_create(&c->writer, NULL, write_batches, c) == 0;
    if (!c->writer_runs) {
        consume_stop(c);
        return err_set(e, -EAGAIN, "cannot start a thread");
    }
    *ret = c;
    return 0;
}

static void join_threads(struct consume *c)
{
    if (c->reader_runs)
        (void)pthread_join(c->reader, NULL);
    queue_close(c->queue);
    if (c->writer_runs)
        (void)pthread_join(c->writer, NULL);
    c->reader_runs = c->writer_runs = false;
}

void consume_drain(struct consume *c)
{
    atomic_store(&c->draining, true);
    join_threads(c);
}

void consume_stop(struct consume *c)
{
    if (!c)
        return;
    atomic_store(&c->stop, true);
    join_threads(c);
    committer_free(c->committer);
    kafka_message_free(&c->held);
    kafka_consumer_free(c->kafka);
    partitions_free(c->partitions);
    pg_close(c->pg);
    queue_free(c->queue);
    free(c);
}
