#include "processor/commit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/dead.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rate.h"
#include "processor/copies.h"
#include "processor/room.h"

#define TRANSACTION_MEMORY ((size_t)1 << 30)
#define RETRY_BASE_MS 50
#define RETRY_CAP_MS 5000
#define BEGIN_PART "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'"
#define HELD_UP_WHOLE 2 /* times, before it is halved */

struct committer {
    struct committer_options o;
    struct pg *pg;
    struct copies *copies;
    struct rooms *rooms;
    struct arena *a;    /* of one attempt */
    unsigned parted_by; /* halves within halves, as somebody holds rows */
    struct counter *batches, *records, *dead, *retries, *alerts;
    struct histogram *seconds, *latency;
};

int committer_new(const struct committer_options *o, struct committer **ret, struct err *e)
{
    struct committer *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return err_set(e, -ENOMEM, "out of memory");
    c->o = *o;
    c->a = arena_new(TRANSACTION_MEMORY);
    c->rooms = rooms_new(o->settings->limits.open_incidents);
    rc = c->a && c->rooms ? pg_open(&o->settings->postgres, "tocsin-processor", &c->pg, e)
                          : err_set(e, -ENOMEM, "out of memory");
    if (rc < 0 || (rc = copies_new(&o->settings->redis, &c->copies, e)) < 0) {
        committer_free(c);
        return rc;
    }
    c->batches = counter_new("tocsin_batches_total", "Batches committed.", "");
    c->records = counter_new("tocsin_records_total", "Records committed.", "");
    c->alerts = counter_new("tocsin_alert_reports_total", "Alert reports merged.", "");
    c->dead = counter_new("tocsin_dead_total",
                          "Records that could not be taken and went to the topic dead.", "");
    c->retries = counter_new("tocsin_batch_retries_total", "Transactions tried again.", "");
    (void)work_recovered(); /* at 0 from the start */
    c->seconds = histogram_new("tocsin_batch_seconds",
                               "Time of one batch from its first statement to its commit.", "",
                               latency_bounds, latency_bound_n);
    c->latency = histogram_new("tocsin_commit_latency_seconds",
                               "From the receipt of a record to its commit, oldest of each batch.",
                               "", latency_bounds, latency_bound_n);
    *ret = c;
    return 0;
}

void committer_free(struct committer *c)
{
    if (!c)
        return;
    copies_free(c->copies);
    rooms_free(c->rooms);
    pg_close(c->pg);
    arena_free(c->a);
    free(c);
}

/* ---- what belongs to records rather than alerts ---- */

struct moves {
    struct offset_move *v;
    size_t n;
};

static int advance(struct committer *c, const struct batch *b, size_t from, size_t to,
                   struct moves *ret, struct err *e)
{
    struct batch_position *v = NULL;
    size_t n = 0;

    if (batch_positions(b, from, to, c->a, &v) < 0)
        return err_set(e, -EIO, "batch: a record of a partition that is not in it");
    struct offset_move *steps = arena_array(c->a, b->position_n + 1, struct offset_move);
    if (!steps)
        return err_set(e, -ENOMEM, "batch: too large for its memory");
    for (size_t i = 0; i < b->position_n; i++)
        if (v[i].next != v[i].expected)
            steps[n++] = (struct offset_move){v[i].topic, v[i].partition, v[i].expected, v[i].next};
    *ret = (struct moves){steps, n};
    return 0;
}

static int by_delivery(const void *x, const void *y)
{
    const struct batch_record *a = *(struct batch_record *const *)x,
                              *b = *(struct batch_record *const *)y;
    int c = slice_cmp(a->record.tenant, b->record.tenant);

    if (c == 0)
        c = slice_cmp(a->record.source, b->record.source);
    if (c == 0)
        c = slice_cmp(a->delivery_id, b->delivery_id);
    if (c == 0)
        c = uuid_cmp(&a->record.request_id, &b->record.request_id);
    return c;
}

static bool same_delivery(const struct batch_record *a, const struct batch_record *b)
{
    return slice_eq(a->record.tenant, b->record.tenant) &&
           slice_eq(a->record.source, b->record.source) && slice_eq(a->delivery_id, b->delivery_id);
}

static void skip(struct batch_record *r, bool yes)
{
    for (size_t i = 0; i < r->input_n; i++)
        r->inputs[i].skip = yes;
}

/* A delivery that was processed within the last day is skipped: remember the ids, and see which
 * were known. */
static int remember_deliveries(struct committer *c, struct batch *b, size_t from, size_t to,
                               struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct batch_record **v = arena_array(c->a, to - from + 1, struct batch_record *);
    struct slice *text = arena_array(c->a, 3 * (to - from) + 1, struct slice);
    int64_t *at = arena_array(c->a, to - from + 1, int64_t);
    struct pg_args *p = pg_args(c->a);
    size_t n = 0, unique = 0;

    if (!v || !text || !at)
        return err_set(e, -ENOMEM, "batch: too large for its memory");
    for (size_t i = from; i < to; i++) {
        skip(&b->v[i], false);
        if (b->v[i].fate == FATE_ALERTS && b->v[i].delivery_id.len > 0)
            v[n++] = &b->v[i];
    }
    if (n == 0)
        return 0;
    qsort(v, n, sizeof(struct batch_record *), by_delivery);
    for (size_t i = 0; i < n; i++) {
        skip(v[i], true);
        if (i > 0 && same_delivery(v[i - 1], v[i]))
            continue;
        text[unique] = v[i]->record.tenant;
        text[n + unique] = v[i]->record.source;
        text[2 * n + unique] = v[i]->delivery_id;
        at[unique] = v[i]->record.received_at;
        v[unique++] = v[i];
    }
    pg_texts(p, text, unique);
    pg_texts(p, text + n, unique);
    pg_texts(p, text + 2 * n, unique);
    pg_ints(p, at, unique);
    const int rc = pg_query(
        c->pg,
        "WITH k AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[]) WITH "
        "ORDINALITY k(t, s, i, at, n)), "
        "fresh AS (INSERT INTO delivery_ids (tenant, source, id, at) SELECT t, s, i, at FROM k "
        "ORDER BY 1, 2, 3 "
        "ON CONFLICT DO NOTHING RETURNING tenant, source, id) "
        "SELECT k.n FROM k JOIN fresh f ON f.tenant = k.t AND f.source = k.s AND f.id = k.i",
        p, &r, e);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++)
        skip(v[pg_get_int(r, i, 0) - 1], false);
    return rc;
}

static int store_beats(struct committer *c, const struct batch *b, size_t from, size_t to,
                       struct err *e)
{
    for (size_t i = from; i < to; i++) {
        const struct beat *bt = &b->v[i].beat;
        if (b->v[i].fate != FATE_BEAT)
            continue;
        struct pg_args *p = pg_args(c->a);
        pg_text(p, bt->ingest);
        pg_int(p, bt->at);
        pg_int(p, bt->oldest_spooled);
        pg_bool(p, bt->farewell);
        pg_int(p, 3 * c->o.settings->ingest.beat_interval);
        const int rc = pg_query(
            c->pg,
            "INSERT INTO beats AS b (ingest, since, last_at, oldest_spooled, farewell) VALUES ($1, "
            "$2, $2, $3, $4) "
            "ON CONFLICT (ingest) DO UPDATE SET last_at = greatest(b.last_at, excluded.last_at), "
            "since = CASE WHEN excluded.last_at - b.last_at > $5::int8 OR b.farewell THEN "
            "excluded.last_at ELSE b.since END, "
            "oldest_spooled = excluded.oldest_spooled, farewell = excluded.farewell WHERE "
            "excluded.last_at >= b.last_at",
            p, NULL, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int store_dead(struct committer *c, const struct batch_record *r, const char *stage,
                      const char *reason, struct err *e)
{
    const struct kafka_message *m = &r->message;
    const struct dead d = {.topic = m->topic,
                           .partition = m->partition,
                           .offset = m->offset,
                           .key = m->key,
                           .value = m->value,
                           .headers = r->headers,
                           .header_n = r->header_n,
                           .stage = stage,
                           .reason = reason};

    return dead_store(c->pg, c->a, &d, e);
}

/* Once it is committed. */
static void tell_dead(struct committer *c, const struct batch_record *r, const char *stage,
                      const char *reason)
{
    counter_add(c->dead, 1);
    log_warn(EV("record_dead"), KV("topic", r->message.topic),
             KV("partition", r->message.partition), KV("offset", r->message.offset),
             KV("stage", stage), KV("reason", reason));
}

static int store_records(struct committer *c, struct batch *b, size_t from, size_t to,
                         struct err *e)
{
    int rc = remember_deliveries(c, b, from, to, e);

    for (size_t i = from; i < to && rc == 0; i++)
        if (b->v[i].fate == FATE_DEAD)
            rc = store_dead(c, &b->v[i], b->v[i].stage, b->v[i].reason, e);
    return rc < 0 ? rc : store_beats(c, b, from, to, e);
}

/* ---- one transaction ---- */

static int gather(struct committer *c, const struct batch *b, size_t from, size_t to,
                  struct input **ret, size_t *ret_n, struct err *e)
{
    size_t n = 0;

    for (size_t i = from; i < to; i++)
        n += b->v[i].input_n;
    struct input *v = arena_array(c->a, n + 1, struct input);
    if (!v)
        return err_set(e, -ENOMEM, "batch: too large for its memory");
    n = 0;
    for (size_t i = from; i < to; i++) {
        if (b->v[i].input_n)
            memcpy(v + n, b->v[i].inputs, b->v[i].input_n * sizeof(*v));
        n += b->v[i].input_n;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

static int statements(struct committer *c, struct batch *b, size_t from, size_t to,
                      const struct moves *m, struct work *w, struct err *e)
{
    struct input *inputs = NULL;
    size_t n = 0;
    int rc;

    if ((rc = offsets_advance(c->pg, c->a, &c->o.group, m->v, m->n, e)) < 0 ||
        (rc = store_records(c, b, from, to, e)) < 0 ||
        (rc = gather(c, b, from, to, &inputs, &n, e)) < 0 ||
        (rc = work_sort(w, inputs, n, e)) < 0 || (rc = work_guess(w, c->pg, e)) < 0)
        return rc;
    if ((rc = work_lock(w, c->pg, e)) < 0 || (rc = work_merge(w, c->pg, e)) < 0)
        return rc;
    return work_store(w, c->pg, e);
}

/* The distinct tenants of a range, in order of first sight. */
static int ask_rooms(struct committer *c, const struct batch *b, size_t from, size_t to,
                     struct work *w, struct err *e)
{
    struct room *v = arena_array(c->a, to - from + 1, struct room);
    size_t n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "batch: too large for its memory");
    for (size_t i = from; i < to; i++) {
        size_t j = 0;
        if (b->v[i].input_n == 0)
            continue;
        while (j < n && !slice_eq(v[j].tenant, b->v[i].inputs[0].tenant))
            j++;
        if (j == n)
            v[n++].tenant = b->v[i].inputs[0].tenant;
    }
    w->rooms = v;
    w->room_n = n;
    return rooms_ask(c->rooms, c->pg, c->a, v, n, e);
}

static int transaction(struct committer *c, struct batch *b, size_t from, size_t to, struct work *w,
                       bool cautious, struct err *e)
{
    struct moves m = {0};
    int rc;

    arena_reset(c->a);
    *w = (struct work){.settings = c->o.settings,
                       .routes = c->o.routes,
                       .rules = c->o.rules,
                       .a = c->a,
                       .now_ms = clock_now_ms(),
                       .cautious = cautious};
    if ((rc = pg_connect(c->pg, e)) < 0 || (rc = advance(c, b, from, to, &m, e)) < 0 ||
        (rc = ask_rooms(c, b, from, to, w, e)) < 0)
        return rc;
    if ((rc = c->parted_by > 0 ? pg_exec(c->pg, BEGIN_PART, e) : pg_begin(c->pg, e)) < 0)
        return rc;
    if ((rc = statements(c, b, from, to, &m, w, e)) < 0) {
        pg_rollback(c->pg);
        return rc;
    }
    return pg_commit(c->pg, e);
}

/* Step over one record that the database will never take, and say why. */
static int bury(struct committer *c, struct batch *b, size_t i, const char *why, struct err *e)
{
    struct moves m = {0};
    int rc;

    arena_reset(c->a);
    if ((rc = pg_connect(c->pg, e)) < 0 || (rc = advance(c, b, i, i + 1, &m, e)) < 0 ||
        (rc = pg_begin(c->pg, e)) < 0)
        return rc;
    if ((rc = offsets_advance(c->pg, c->a, &c->o.group, m.v, m.n, e)) < 0 ||
        (rc = store_dead(c, &b->v[i], "store", why, e)) < 0) {
        pg_rollback(c->pg);
        return rc;
    }
    if ((rc = pg_commit(c->pg, e)) == 0)
        tell_dead(c, &b->v[i], "store", why);
    return rc;
}

/* ---- trying again ---- */

/* After a lost connection the row says whether the commit was: 1 yes, 0 no, -ESTALE when somebody
 * else moved it. */
static int was_committed(struct committer *c, const struct batch *b, size_t from, size_t to,
                         struct err *e)
{
    struct moves m = {0};
    int rc;

    arena_reset(c->a);
    if ((rc = pg_connect(c->pg, e)) < 0 || (rc = advance(c, b, from, to, &m, e)) < 0)
        return rc;
    return offsets_moved(c->pg, c->a, &c->o.group, m.v, m.n, e);
}

static int pause_before_retry(struct committer *c, uint32_t attempt, const struct err *why)
{
    static struct log_limit limit = {.per_minute = 6};
    const int64_t ms = 1 + backoff_full_jitter(attempt, RETRY_BASE_MS, RETRY_CAP_MS, random_u64());
    const int64_t until = clock_monotonic_ms() + ms;
    uint32_t dropped;

    counter_add(c->retries, 1);
    if (attempt > 2 && log_allow(&limit, &dropped))
        log_warn(EV("batch_retry"), KV("attempt", attempt), KV("reason", why->msg),
                 KV("dropped", dropped));
    while (clock_monotonic_ms() < until) {
        if (atomic_load(c->o.stop))
            return -ECANCELED;
        const struct timespec ts = {.tv_nsec = 10L * 1000 * 1000};
        (void)nanosleep(&ts, NULL);
    }
    return 0;
}

static void committed(struct committer *c, const struct batch *b, size_t from, size_t to,
                      const struct work *w, int64_t began)
{
    int64_t oldest = INT64_MAX;

    for (size_t i = from; i < to; i++) {
        if (b->v[i].fate == FATE_ALERTS && b->v[i].record.received_at < oldest)
            oldest = b->v[i].record.received_at;
        if (b->v[i].fate == FATE_DEAD)
            tell_dead(c, &b->v[i], b->v[i].stage, b->v[i].reason);
    }
    if (oldest != INT64_MAX)
        histogram_observe(c->latency, (double)(clock_now_ms() - oldest) / 1000.0);
    histogram_observe(c->seconds, (double)(clock_monotonic_ms() - began) / 1000.0);
    counter_add(c->batches, 1);
    counter_add(c->records, to - from);
    counter_add(c->alerts, w->input_n);
    if (w->due_now && c->o.due)
        c->o.due(c->o.due_ctx);
    rooms_took(c->rooms, w->rooms, w->room_n);
    copies_write(c->copies, w);
}

static bool is_transient(int rc, uint32_t attempt)
{
    return rc == -ENOTCONN || rc == -EBUSY || rc == -EAGAIN || (rc == -EEXIST && attempt == 0);
}

static int run_range(struct committer *c, struct batch *b, size_t from, size_t to, struct err *e);

/* The database will not take something in here: find it by halving. */
static int halve(struct committer *c, struct batch *b, size_t from, size_t to, struct err *e)
{
    struct err why = *e;

    if (to - from == 1)
        return bury(c, b, from, why.msg, e);
    const size_t mid = from + (to - from) / 2;
    const int rc = run_range(c, b, from, mid, e);
    return rc < 0 ? rc : run_range(c, b, mid, to, e);
}

/* Somebody holds a row that it needs, or it is too much for one statement. Nobody is buried for
 * that, but what comes before need not wait for it. */
static int halve_held_up(struct committer *c, struct batch *b, size_t from, size_t to,
                         uint32_t attempt, struct err *e)
{
    if (pause_before_retry(c, attempt, e) < 0)
        return -ECANCELED;
    c->parted_by++;
    const int rc = halve(c, b, from, to, e);
    c->parted_by--;
    return rc;
}

static bool never_fits(int rc, uint32_t attempt)
{
    return rc == -ERANGE || rc == -ENOMEM || rc == -EBADMSG || (rc == -EEXIST && attempt > 0);
}

/* The connection is gone and with it the answer: wait for the database, then see whether the commit
 * was. 1 it was, 0 it was not, else as was_committed(). */
static int look_up(struct committer *c, const struct batch *b, size_t from, size_t to,
                   uint32_t *attempt, struct err *e)
{
    int rc;

    do {
        if (pause_before_retry(c, (*attempt)++, e) < 0)
            return -ECANCELED;
        rc = was_committed(c, b, from, to, e);
    } while (rc == -ENOTCONN || rc == -EBUSY);
    return rc;
}

static int run_range(struct committer *c, struct batch *b, size_t from, size_t to, struct err *e)
{
    const uint32_t patience = c->parted_by > 0 ? 1 : HELD_UP_WHOLE;

    for (uint32_t attempt = 0, held = 0;; attempt++) {
        const int64_t began = clock_monotonic_ms();
        struct work w;
        int rc = transaction(c, b, from, to, &w, attempt > 0, e);
        if (rc == 0) {
            committed(c, b, from, to, &w, began);
            return 0;
        }
        if (never_fits(rc, attempt))
            rc = halve(c, b, from, to, e);
        else if (rc == -EBUSY && pg_held_up(c->pg) && ++held >= patience && to - from > 1)
            rc = halve_held_up(c, b, from, to, attempt, e);
        if (rc == 0 || !is_transient(rc, attempt))
            return rc;
        if (rc == -ENOTCONN) {
            rc = look_up(c, b, from, to, &attempt, e);
            if (rc != 0)
                return rc > 0 ? 0 : rc;
        } else if (pause_before_retry(c, attempt, e) < 0) {
            return -ECANCELED;
        }
    }
}

int committer_run(struct committer *c, struct batch *b, struct err *e)
{
    const int rc = b->n == 0 ? 0 : run_range(c, b, 0, b->n, e);

    arena_reset(c->a); /* a burst's memory is not kept until the next batch */
    return rc;
}
