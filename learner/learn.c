#include "learner/learn.h"

#include <errno.h>
#include <stdio.h>

#include "common/dead.h"
#include "common/log.h"
#include "learner/attempts.h"
#include "learner/ranking.h"

#define TRIES 5
#define REASON_MAX 400

struct batch {
    struct learn_batch in;
    int64_t now_ms;
    const char *refused; /* the only record of this batch goes to `dead` for this reason */
};

void learner_init(struct learner *l)
{
    static const char *const labels[] = {
        [OUTCOME_PENDING] = "outcome=\"pending\"",
        [OUTCOME_SUCCESS] = "outcome=\"success\"",
        [OUTCOME_FAILURE] = "outcome=\"failure\"",
        [OUTCOME_UNKNOWN] = "outcome=\"unknown\"",
    };

    for (int o = OUTCOME_PENDING; o <= OUTCOME_UNKNOWN; o++)
        l->decided[o] =
            counter_new("tocsin_repairs_total", "Looks at repair attempts, by outcome.", labels[o]);
    l->dead = counter_new("tocsin_learner_dead_total", "Records that were no reports.", "");
}

/* ---- deciding ---- */

/* Judge, write, rank; under the anomalies' locks. */
static int settle(struct learner *l, struct repair *r, size_t n, int64_t now_ms, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        if ((rc = attempts_judge(l, &r[i], now_ms, e)) == 0)
            rc = attempts_settle(l, &r[i], now_ms, e);
    return rc < 0 ? rc : ranking_update(l, r, n, now_ms, e);
}

static void count(struct learner *l, const struct repair *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        counter_add(l->decided[r[i].decision.outcome], 1);
}

/* ---- records ---- */

static int store_dead(struct learner *l, const struct inbound *in, const char *reason,
                      struct err *e)
{
    const struct dead d = {.topic = in->topic,
                           .partition = in->partition,
                           .offset = in->offset,
                           .key = in->key,
                           .value = in->value,
                           .headers = in->headers,
                           .header_n = in->header_n,
                           .stage = "learner",
                           .reason = reason};
    const int rc = dead_store(l->pg, l->a, &d, e);

    if (rc == 0) {
        counter_add(l->dead, 1);
        log_warn(EV("record_dead"), KV("topic", in->topic), KV("partition", in->partition),
                 KV("offset", in->offset), KV("reason", reason));
    }
    return rc;
}

static struct repair repair_of(const struct report *t)
{
    return (struct repair){
        .id = t->id,
        .incident_id = t->incident_id,
        .tenant = t->tenant,
        .action = t->action,
        .actor = t->by,
        .note = t->note,
        .attempt = t->attempt,
        .attempt_number = t->attempt_number,
    };
}

/* Reports of the batch, and for what is none why. */
static int parse(struct learner *l, const struct batch *b, struct repair *r, size_t *ret_n,
                 const char **reasons, struct err *e)
{
    size_t n = 0;

    for (size_t i = 0; i < b->in.n; i++) {
        struct report t;
        struct err why;
        int rc = b->refused ? err_set(&why, -EBADMSG, "%s", b->refused)
                            : report_parse(&b->in.records[i], l->a, &t, &why);
        if (rc == 0) {
            r[n++] = repair_of(&t);
            continue;
        }
        if (rc == -ENOMEM)
            return err_set(e, rc, "%s", why.msg);
        reasons[i] = arena_printf(l->a, "%.*s", REASON_MAX, why.msg);
        if (!reasons[i])
            return err_set(e, -ENOMEM, "learner: out of memory");
    }
    *ret_n = n;
    return 0;
}

static size_t only_fresh(struct repair *r, size_t n)
{
    size_t fresh = 0;

    for (size_t i = 0; i < n; i++)
        if (r[i].fresh)
            r[fresh++] = r[i];
    return fresh;
}

static int store_batch(struct learner *l, const struct batch *b, struct repair *r, size_t *n,
                       const char *const *reasons, struct err *e)
{
    int rc = offsets_advance(l->pg, l->a, b->in.group, b->in.moves, b->in.move_n, e);

    if (rc == 0)
        rc = attempts_lock(l, r, *n, e);
    if (rc == 0)
        rc = attempts_insert(l, r, *n, e);
    if (rc < 0)
        return rc;
    *n = only_fresh(r, *n);
    rc = settle(l, r, *n, b->now_ms, e);
    for (size_t i = 0; i < b->in.n && rc == 0; i++)
        if (reasons[i])
            rc = store_dead(l, &b->in.records[i], reasons[i], e);
    return rc;
}

static int run_batch(struct learner *l, const struct batch *b, struct err *e)
{
    arena_reset(l->a);
    struct repair *r = arena_array(l->a, b->in.n + 1, struct repair);
    const char **reasons = arena_array(l->a, b->in.n + 1, const char *);
    size_t n = 0;

    if (!r || !reasons)
        return err_set(e, -ENOMEM, "learner: out of memory");
    int rc = parse(l, b, r, &n, reasons, e);
    if (rc < 0 || (rc = attempts_find(l, r, n, e)) < 0 || (rc = pg_begin(l->pg, e)) < 0)
        return rc;
    rc = store_batch(l, b, r, &n, reasons, e);
    if (rc == 0)
        rc = pg_commit(l->pg, e);
    if (rc < 0)
        pg_rollback(l->pg);
    else
        count(l, r, n);
    return rc;
}

/* A first unique violation may be another worker's row, seen by the next try. */
static bool again(int rc)
{
    return rc == -EAGAIN || rc == -EEXIST;
}

static int try_batch(struct learner *l, const struct batch *b, struct err *e)
{
    int rc = run_batch(l, b, e);

    for (int i = 1; again(rc) && i < TRIES; i++)
        rc = run_batch(l, b, e);
    return rc;
}

/* The positions that record `i` alone moves: its own partition's, to behind it. */
static int single(struct learner *l, const struct batch *b, size_t i, struct err *e)
{
    const struct inbound *in = &b->in.records[i];
    struct offset_move move = {in->topic, in->partition, -1, in->offset + 1};
    char words[REASON_MAX];

    for (size_t j = 0; j < b->in.move_n; j++)
        if (b->in.moves[j].partition == in->partition &&
            strcmp(b->in.moves[j].topic, in->topic) == 0)
            move.expected = b->in.moves[j].expected;
    for (size_t j = 0; j < i; j++)
        if (b->in.records[j].partition == in->partition &&
            strcmp(b->in.records[j].topic, in->topic) == 0)
            move.expected = b->in.records[j].offset + 1;
    struct batch one = {
        .in = {.group = b->in.group, .moves = &move, .move_n = 1, .records = in, .n = 1},
        .now_ms = b->now_ms,
    };
    int rc = try_batch(l, &one, e);
    if (rc != -ERANGE)
        return rc;
    (void)snprintf(words, sizeof(words), "%s", e->msg);
    one.refused = words;
    return try_batch(l, &one, e);
}

int learn_records(struct learner *l, const struct learn_batch *batch, int64_t now_ms, struct err *e)
{
    const struct batch b = {.in = *batch, .now_ms = now_ms, .refused = batch->refused};
    int rc = try_batch(l, &b, e);

    if (rc != -ERANGE)
        return rc;
    rc = 0;
    for (size_t i = 0; i < batch->n && rc == 0; i++)
        rc = single(l, &b, i, e);
    return rc;
}

/* ---- what is due ---- */

static int run_due(struct learner *l, int64_t now_ms, size_t *ret_n, struct err *e)
{
    struct repair *r = NULL;
    size_t n = 0;

    arena_reset(l->a);
    int rc = pg_begin(l->pg, e);
    if (rc < 0)
        return rc;
    if ((rc = attempts_claim(l, now_ms, &r, &n, e)) == 0 && (rc = attempts_lock(l, r, n, e)) == 0 &&
        (rc = settle(l, r, n, now_ms, e)) == 0)
        rc = pg_commit(l->pg, e);
    if (rc < 0) {
        pg_rollback(l->pg);
        return rc;
    }
    count(l, r, n);
    *ret_n = n;
    return 0;
}

int learn_due(struct learner *l, int64_t now_ms, size_t *ret_n, struct err *e)
{
    int rc = run_due(l, now_ms, ret_n, e);

    for (int i = 1; again(rc) && i < TRIES; i++)
        rc = run_due(l, now_ms, ret_n, e);
    return rc;
}

/* ---- the authors' playbooks ---- */

/* Those that are configured, and those with a step that only an author can have written. */
static int authored(struct learner *l, PGresult **ret, struct err *e)
{
    struct pg_args *p = pg_args(l->a);
    struct slice *ids = arena_array(l->a, l->playbooks->n + 1, struct slice);

    if (!ids)
        return err_set(e, -ENOMEM, "learner: out of memory");
    for (size_t i = 0; i < l->playbooks->n; i++)
        ids[i] = slice_of(l->playbooks->v[i].id);
    pg_text(p, slice_of(l->settings->tenant));
    pg_texts(p, ids, l->playbooks->n);
    return pg_query(l->pg,
                    "SELECT id FROM unnest($2::text[]) id UNION SELECT id FROM playbooks "
                    "WHERE tenant = $1 AND jsonb_path_exists(steps, '$[*] ? (@.last_used == 0)') "
                    "ORDER BY 1",
                    p, ret, e);
}

static int refresh_one(struct learner *l, struct slice id, int64_t now_ms, struct err *e)
{
    int rc = -EAGAIN;

    for (int i = 0; again(rc) && i < TRIES; i++) {
        arena_reset(l->a);
        if ((rc = pg_begin(l->pg, e)) < 0)
            return rc;
        rc = ranking_refresh(l, slice_of(l->settings->tenant), id, now_ms, e);
        if (rc == 0)
            rc = pg_commit(l->pg, e);
        if (rc < 0)
            pg_rollback(l->pg);
    }
    return rc;
}

int learn_authors(struct learner *l, int64_t now_ms, struct err *e)
{
    CLEANUP(PQclear) PGresult *ids = NULL;

    arena_reset(l->a);
    int rc = authored(l, &ids, e);
    for (int i = 0; rc == 0 && i < PQntuples(ids); i++)
        rc = refresh_one(l, pg_get_text(ids, i, 0), now_ms, e);
    return rc;
}
