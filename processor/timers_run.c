/* What the runner does: claim what is due, and do it by kind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "processor/timers_internal.h"
#include "processor/work.h"

#define PASS_MEMORY ((size_t)256 << 20)
#define CLAIM_MEMORY ((size_t)64 << 20)
#define PURGE_BATCH 2000
#define BEATS_KEPT_MS MS_DAY
#define SILENCED_KEPT_MS MS_HOUR /* clocks differ, and a flush may take its time */
#define PARTITIONS_AHEAD 3
/* How long others' rows are waited for: by all that is due; by a part of it, to see whose they are,
 * and by all for a while after that; and how long that may go on. */
#define BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = "
#define BEGIN_ALL BEGIN "'5s'"
#define BEGIN_PART BEGIN "'500ms'"
#define SEARCH_MS (10 * MS_SECOND)
#define HASTE_MS MS_MINUTE

/* ---- kinds ---- */

static int run_groups(struct timers *t, const struct claim *c, struct arena *a, struct flushed *ret,
                      struct err *e)
{
    struct flush_subject *v = arena_array(a, c->n, struct flush_subject);
    size_t n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "timers: too many at once");
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i].key.len != sizeof(v[n].group.b))
            continue; /* no group has such a name: nothing to look at */
        v[n].tenant = c->v[i].tenant;
        memcpy(v[n++].group.b, c->v[i].key.p, sizeof(v->group.b));
    }
    const struct flush_subjects subjects = {.v = v, .n = n, .now_ms = c->now_ms};
    return flush_groups(&t->flush, t->pg, a, &subjects, ret, e);
}

static int run_alerts(struct timers *t, const struct claim *c, struct err *e)
{
    struct silence *v = arena_array(c->a, c->n, struct silence);
    size_t n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "timers: too many at once");
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i].key.len != sizeof(v->fingerprint))
            continue;
        v[n].tenant = c->v[i].tenant;
        for (size_t b = 0; b < sizeof(v->fingerprint); b++)
            v[n].fingerprint = v[n].fingerprint << 8 | (unsigned char)c->v[i].key.p[b];
        n++;
    }
    return t->o.expire(t->o.expire_ctx, t->pg, v, n, e);
}

static int arm_housekeeping(struct timers *t, struct arena *a, int64_t in_ms, struct err *e)
{
    struct pg_args *p = pg_args(a);

    pg_int(p, in_ms);
    return pg_query(t->pg,
                    "INSERT INTO timers (due_at, kind, tenant, subject) SELECT " NOW_MS
                    " + $1, 3, '', '' WHERE NOT EXISTS (SELECT FROM timers WHERE tenant = '' AND "
                    "subject = '' AND kind = 3 AND due_at <= " NOW_MS " + $1)",
                    p, NULL, e);
}

static int run_housekeeping(struct timers *t, const struct claim *c, struct err *e)
{
    struct pg_args *p = pg_args(c->a);

    pg_int4(p, PARTITIONS_AHEAD);
    int rc = pg_query(t->pg, "SELECT partitions_ahead($1)", p, NULL, e);
    return rc < 0 ? rc : arm_housekeeping(t, c->a, MS_HOUR, e);
}

/* In small statements, each a transaction of its own, so that nobody waits for them. What is left
 * when we end is left for the next hour. */
static int purge(struct timers *t, struct arena *a, const char *sql, int64_t older_ms,
                 struct err *e)
{
    int64_t gone = PURGE_BATCH;

    while (gone == PURGE_BATCH && !timers_stopping(t)) {
        CLEANUP(PQclear) PGresult *r = NULL;
        struct pg_args *p = pg_args(a);

        pg_int(p, older_ms);
        pg_int(p, PURGE_BATCH);
        int rc = pg_query(t->pg, sql, p, &r, e);
        if (rc < 0)
            return rc;
        gone = pg_affected(r);
    }
    return 0;
}

/* The table is read by whoever ends a silence, and needed no longer than there is one to end: a
 * group looks again by itself when a silence is over. A silence goes when nothing names it. */
static int purge_silences(struct timers *t, struct arena *a, struct err *e)
{
    int rc = purge(t, a,
                   "DELETE FROM silenced_groups WHERE ctid = ANY(ARRAY(SELECT g.ctid FROM "
                   "silenced_groups g LEFT JOIN silences s ON s.tenant = g.tenant AND s.id = "
                   "g.silence_id WHERE s.id IS NULL OR s.ends_at < " NOW_MS
                   " - $1 LIMIT $2 FOR UPDATE OF g SKIP LOCKED))",
                   SILENCED_KEPT_MS, e);
    if (rc < 0)
        return rc;
    return purge(t, a,
                 "DELETE FROM silences WHERE ctid = ANY(ARRAY(SELECT s.ctid FROM silences s WHERE "
                 "s.ends_at < " NOW_MS " - $1 AND NOT EXISTS (SELECT FROM silenced_groups g WHERE "
                 "g.tenant = s.tenant AND g.silence_id = s.id) LIMIT $2 FOR UPDATE SKIP LOCKED))",
                 t->o.settings->processor.silences_kept, e);
}

static int purge_all(struct timers *t, struct arena *a, struct err *e)
{
    int rc = purge(t, a,
                   "DELETE FROM delivery_ids WHERE ctid = ANY(ARRAY(SELECT ctid FROM delivery_ids "
                   "WHERE at < " NOW_MS " - $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))",
                   t->o.settings->aggregation.delivery_id_ttl, e);
    if (rc < 0)
        return rc;
    rc = purge(
        t, a,
        "DELETE FROM beats WHERE ctid = ANY(ARRAY(SELECT ctid FROM beats WHERE last_at < " NOW_MS
        " - $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        BEATS_KEPT_MS + t->o.settings->aggregation.absence_cap, e);
    return rc < 0 ? rc : purge_silences(t, a, e);
}

static int dispatch(struct timers *t, const struct claim *c, struct arena *a,
                    struct flushed *flushed, struct err *e)
{
    switch (c->kind) {
    case TIMER_GROUP:
        return run_groups(t, c, a, flushed, e);
    case TIMER_ALERT:
        return run_alerts(t, c, e);
    case TIMER_HOUSEKEEPING:
        return run_housekeeping(t, c, e);
    }
    return 0;
}

/* What may be said only when it is true. */
static void committed(struct timers *t, const struct claim *c, const struct flushed *f)
{
    counter_add(t->run[c->kind], c->timers);
    for (int k = DUE_OPENED; k < DUE_KINDS; k++)
        counter_add(t->created[k], f->created[k]);
    if (f->wakeup_n == 0)
        return;
    const size_t taken = flush_publish(t->o.producer, f);
    counter_add(t->wakeups, taken);
    counter_add(t->wakeups_failed, f->wakeup_n - taken);
}

static int attempt(struct timers *t, struct claim *c, const struct subjects *only, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(PASS_MEMORY);
    struct flushed flushed = {0};
    const bool haste = only || clock_monotonic_ms() < t->haste_until;
    int rc = a ? pg_exec(t->pg, haste ? BEGIN_PART : BEGIN_ALL, e)
               : err_set(e, -ENOMEM, "timers: out of memory");

    if (rc == 0)
        rc = timers_claim(t, c, only, e);
    if (rc == 0 && c->n > 0)
        rc = dispatch(t, c, a, &flushed, e);
    if (rc == 0)
        rc = pg_commit(t->pg, e);
    if (rc < 0) {
        pg_rollback(t->pg);
        return rc;
    }
    committed(t, c, &flushed);
    return 0;
}

/* ---- subjects that cannot be worked on ---- */

/* The data will never fit; 23505 is a race once, and data the second time. */
static bool never_fits(int rc)
{
    return rc == -ERANGE || rc == -E2BIG || rc == -EBADMSG || rc == -ENOMEM || rc == -EEXIST;
}

static void print_subject(struct buf *out, const struct claim *c)
{
    for (size_t i = 0; i < c->v->key.len; i++)
        buf_printf(out, "%02x", (unsigned char)c->v->key.p[i]);
}

static void tell_parked(struct timers *t, const struct claim *c, uint32_t failures,
                        const char *reason)
{
    CLEANUP(buf_release) struct buf hex = BUF_INIT(256);

    counter_add(t->failed[c->kind], 1);
    if (failures > 1)
        return;
    print_subject(&hex, c);
    log_error(EV("timer_parked"), KV("kind", timer_kind_name(c->kind)), KV("tenant", c->v->tenant),
              KV("subject", buf_str(&hex)), KV("reason", reason));
}

static void tell_put_off(struct timers *t, const struct claim *c, const char *reason)
{
    static struct log_limit limit = {.per_minute = 6};
    CLEANUP(buf_release) struct buf hex = BUF_INIT(256);
    uint32_t dropped;

    t->haste_until = clock_monotonic_ms() + HASTE_MS;
    counter_add(t->held[c->kind], 1);
    if (!log_allow(&limit, &dropped))
        return;
    print_subject(&hex, c);
    log_warn(EV("timer_put_off"), KV("kind", timer_kind_name(c->kind)), KV("tenant", c->v->tenant),
             KV("subject", buf_str(&hex)), KV("reason", reason), KV("dropped", dropped));
}

static int set_aside(struct timers *t, struct claim *c, const struct subjects *one, bool held,
                     struct err *e)
{
    const struct err why = *e;
    uint32_t failures = 0;
    int rc = pg_exec(t->pg, BEGIN_PART, e);

    if (rc == 0)
        rc = timers_claim(t, c, one, e);
    if (rc == 0 && c->n > 0)
        rc = held ? timers_put_off(t, c, why.msg, e) : timers_park(t, c, why.msg, &failures, e);
    if (rc == 0)
        rc = pg_commit(t->pg, e);
    if (rc < 0) {
        pg_rollback(t->pg);
        return rc;
    }
    if (c->n > 0 && held)
        tell_put_off(t, c, why.msg);
    else if (c->n > 0)
        tell_parked(t, c, failures, why.msg);
    return 0;
}

static int run(struct timers *t, struct claim *c, const struct subjects *only, struct err *e);

static bool searched_enough(struct timers *t, const struct claim *c)
{
    return c->search_until > 0 && (clock_monotonic_ms() > c->search_until || timers_stopping(t));
}

/* One subject must not stop the others: find it by halving, each half a transaction of its own.
 * When that took long enough, the rest is the next pass's, after the other kinds. */
static int halve(struct timers *t, struct claim *c, bool held, struct err *e)
{
    const struct subjects all = {c->v, c->n};
    const size_t mid = all.n / 2;
    size_t timers;

    if (all.n == 1)
        return set_aside(t, c, &all, held, e);
    const struct subjects low = {all.v, mid}, high = {all.v + mid, all.n - mid};
    int rc = run(t, c, &low, e);
    timers = c->timers;
    if (rc == 0 && searched_enough(t, c))
        c->timers = high.n; /* so that there is another pass */
    else if (rc == 0)
        rc = run(t, c, &high, e);
    c->timers += timers;
    return rc;
}

/* c->timers counts what was claimed, whatever became of it. */
static int run(struct timers *t, struct claim *c, const struct subjects *only, struct err *e)
{
    int rc = attempt(t, c, only, e);

    if (rc == -EEXIST) {
        const struct subjects same = {c->v, c->n};
        rc = attempt(t, c, &same, e);
    }
    /* somebody holds a row of theirs, or they are too many for one statement */
    const bool held = rc == -EBUSY && pg_held_up(t->pg);
    if (c->n == 0 || !(held || never_fits(rc)))
        return rc;
    if (held && c->search_until == 0)
        c->search_until = clock_monotonic_ms() + SEARCH_MS;
    return halve(t, c, held, e);
}

static int run_kind(struct timers *t, enum timer_kind kind, size_t *ran, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(CLAIM_MEMORY);
    struct claim c = {.a = a, .kind = kind};

    if (!a)
        return err_set(e, -ENOMEM, "timers: out of memory");
    const int rc = run(t, &c, NULL, e);
    if (rc < 0)
        return rc;
    *ran += c.timers;
    return kind == TIMER_HOUSEKEEPING && c.timers > 0 ? purge_all(t, a, e) : 0;
}

static int prepare(struct timers *t, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    int rc = pg_connect(t->pg, e);

    if (rc < 0 || t->prepared)
        return rc;
    if (!a)
        return err_set(e, -ENOMEM, "timers: out of memory");
    if ((rc = flush_check_zones(&t->flush, t->pg, a, e)) < 0 ||
        (rc = arm_housekeeping(t, a, MS_HOUR, e)) < 0)
        return rc;
    t->prepared = true;
    return 0;
}

bool timers_may_go_on(int rc)
{
    return rc == -EAGAIN || rc == -EBUSY;
}

int timers_pass(struct timers *t, size_t *ret_ran, struct err *e)
{
    /* Ends of alerts make work for groups. */
    static const enum timer_kind order[] = {TIMER_ALERT, TIMER_GROUP, TIMER_HOUSEKEEPING};
    struct err first = {0};
    size_t ran = 0;
    int rc = prepare(t, e);

    for (size_t i = 0; rc == 0 && i < sizeof(order) / sizeof(*order); i++) {
        rc = run_kind(t, order[i], &ran, e);
        if (!timers_may_go_on(rc))
            continue;
        if (first.code == 0) {
            first = *e;
            first.code = rc;
        }
        rc = 0;
    }
    if (rc == 0 && first.code < 0) {
        *e = first;
        return first.code;
    }
    if (rc == 0)
        *ret_ran = ran;
    return rc;
}
