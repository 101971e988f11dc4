#include "learner/ranking.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/digest.h"
#include "common/json.h"
#include "common/proposal.h"

#define PLAYBOOK_MAX ((size_t)1 << 20)

struct scope { /* one playbook to bring up to date */
    struct slice tenant, id;
    struct slice anomaly_key, alert_name, service; /* key: only of an anomaly's playbook */
};

struct steps {
    struct step *v;
    size_t n, cap;
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "playbooks: out of memory");
}

/* ---- which playbooks ---- */

static bool add_scope(struct learner *l, struct scope *out, size_t *n, struct scope s,
                      const char *prefix, struct slice name)
{
    const char *id = arena_printf(l->a, "%s%.*s", prefix, SLICE_FMT(name));

    if (!id)
        return false;
    s.id = slice_of(id);
    out[(*n)++] = s;
    return true;
}

static bool add_scopes(struct learner *l, const struct repair *r, struct scope *out, size_t *n)
{
    const struct scope wide = {
        .tenant = r->tenant, .alert_name = r->alert_name, .service = r->service};
    struct scope own = wide;
    char *hex = arena_alloc(l->a, 2 * r->anomaly_key.len + 1, 1);

    own.anomaly_key = r->anomaly_key;
    return hex &&
           add_scope(l, out, n, own,
                     "anomaly:", slice_of(hex_encode(r->anomaly_key.p, r->anomaly_key.len, hex))) &&
           (r->alert_name.len == 0 || add_scope(l, out, n, wide, "alert:", r->alert_name)) &&
           (r->service.len == 0 || add_scope(l, out, n, wide, "service:", r->service)) &&
           add_scope(l, out, n, wide, "global", SLICE_LIT(""));
}

static int by_id(const void *pa, const void *pb)
{
    const struct scope *a = pa, *b = pb;
    const int c = slice_cmp(a->tenant, b->tenant);

    return c ? c : slice_cmp(a->id, b->id);
}

static size_t distinct(struct scope *v, size_t n)
{
    size_t out = 0;

    qsort(v, n, sizeof(*v), by_id);
    for (size_t i = 0; i < n; i++)
        if (out == 0 || by_id(&v[out - 1], &v[i]) != 0)
            v[out++] = v[i];
    return out;
}

/* Does this attempt count for that playbook? */
static bool is_evidence(const struct repair *r, const struct scope *s)
{
    static const struct slice alert = {"alert:", 6}, service = {"service:", 8};

    if (!slice_eq(r->tenant, s->tenant) || !r->known || r->decision.outcome == OUTCOME_PENDING)
        return false;
    if (slice_is(s->id, "global"))
        return true;
    if (s->id.len > alert.len && memcmp(s->id.p, alert.p, alert.len) == 0)
        return slice_eq(r->alert_name, (struct slice){s->id.p + alert.len, s->id.len - alert.len});
    if (s->id.len > service.len && memcmp(s->id.p, service.p, service.len) == 0)
        return slice_eq(r->service, (struct slice){s->id.p + service.len, s->id.len - service.len});
    return false; /* an anomaly's playbook reads its counts from repair_stats */
}

/* ---- the steps of one ---- */

static struct step *step_of(struct learner *l, struct steps *s, struct slice action)
{
    for (size_t i = 0; i < s->n; i++)
        if (slice_eq(s->v[i].action, action))
            return &s->v[i];
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 16;
        struct step *v = arena_array(l->a, cap, struct step);
        if (!v)
            return NULL;
        if (s->n > 0)
            memcpy(v, s->v, s->n * sizeof(*v));
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n] = (struct step){.action = action, .text = SLICE_LIT("")};
    return &s->v[s->n++];
}

static void clear_result(void *r)
{
    PQclear(r);
}

static int steps_of_anomaly(struct learner *l, const struct scope *s, struct steps *out,
                            struct err *e)
{
    PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);

    pg_text(p, s->tenant);
    pg_bytea(p, s->anomaly_key);
    int rc = pg_query(l->pg,
                      "SELECT action, successes, failures, last_at FROM repair_stats "
                      "WHERE tenant = $1 AND anomaly_key = $2",
                      p, &res, e);
    if (rc < 0)
        return rc;
    if (arena_defer(l->a, clear_result, res) < 0)
        return no_memory(e);
    for (int i = 0; i < PQntuples(res); i++) {
        struct step *one = step_of(l, out, pg_get_text(res, i, 0));
        if (!one)
            return no_memory(e);
        one->successes = (uint64_t)pg_get_int(res, i, 1);
        one->failures = (uint64_t)pg_get_int(res, i, 2);
        one->last_used = pg_get_int(res, i, 3);
    }
    return 0;
}

/* A wider playbook keeps its counts in its own steps: summing the statistics of every anomaly of a
 * service for each outcome would grow with them. */
static int steps_stored(struct learner *l, struct slice json, struct steps *out, struct err *e)
{
    const json_t *list = json_tree(json, l->a, e), *row;
    size_t i;

    if (!list)
        return -EIO;
    json_array_foreach (list, i, row) {
        struct step *one = step_of(l, out, json_str(row, "action", l->a));
        if (!one)
            return no_memory(e);
        const json_int_t successes = json_integer_value(json_object_get(row, "successes"));
        const json_int_t attempts = json_integer_value(json_object_get(row, "attempts"));
        one->successes = (uint64_t)successes;
        one->failures = (uint64_t)(attempts - successes);
        one->last_used = json_integer_value(json_object_get(row, "last_used"));
    }
    return 0;
}

static int add_evidence(struct learner *l, const struct scope *s, const struct repair *r, size_t n,
                        struct steps *out, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_evidence(&r[i], s))
            continue;
        struct step *one = step_of(l, out, r[i].action);
        if (!one)
            return no_memory(e);
        one->successes += r[i].decision.outcome == OUTCOME_SUCCESS;
        one->failures += r[i].decision.outcome == OUTCOME_FAILURE;
        if (r[i].attempt.at > one->last_used)
            one->last_used = r[i].attempt.at;
    }
    return 0;
}

static int add_authors(struct learner *l, const struct scope *s, struct steps *out, struct err *e)
{
    const struct playbook *p = s->anomaly_key.len > 0
                                   ? playbooks_for(l->playbooks, s->alert_name, s->service)
                                   : playbooks_find(l->playbooks, s->id);
    size_t kept = 0;

    for (size_t i = 0; p && i < p->n; i++) {
        struct step *one = step_of(l, out, p->steps[i].action);
        if (!one)
            return no_memory(e);
        one->author_rank = p->steps[i].author_rank;
        one->text = p->steps[i].text;
    }
    /* What was never tried and is no longer written by anybody is no step. */
    for (size_t i = 0; i < out->n; i++)
        if (out->v[i].author_rank > 0 || out->v[i].last_used > 0)
            out->v[kept++] = out->v[i];
    out->n = kept;
    return 0;
}

static void write_steps(struct buf *b, const struct steps *s)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < s->n; i++) {
        const struct step *one = &s->v[i];
        const uint64_t attempts = one->successes + one->failures;
        const double rate = attempts ? (double)one->successes / (double)attempts : 0;
        buf_puts(b, i ? ",{\"action\":" : "{\"action\":");
        buf_json(b, one->action);
        buf_printf(
            b,
            ",\"successes\":%" PRIu64 ",\"attempts\":%" PRIu64
            ",\"success_rate\":%.4f,\"wilson_lower\":%.4f,\"last_used\":%" PRId64 ",\"text\":",
            one->successes, attempts, rate, wilson_lower(one->successes, attempts), one->last_used);
        buf_json(b, one->text);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

/* ---- the row ---- */

static int lock_row(struct learner *l, const struct scope *s, int64_t now_ms, struct slice *ret,
                    struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);
    struct pg_args *q = pg_args(l->a);

    pg_text(p, s->tenant);
    pg_text(p, s->id);
    pg_int(p, now_ms);
    int rc = pg_query(l->pg,
                      "INSERT INTO playbooks (tenant, id, version, steps, updated_at) "
                      "VALUES ($1, $2, 0, '[]', $3) ON CONFLICT DO NOTHING",
                      p, NULL, e);
    if (rc < 0)
        return rc;
    pg_text(q, s->tenant);
    pg_text(q, s->id);
    rc = pg_query(l->pg,
                  "SELECT steps::text FROM playbooks WHERE tenant = $1 AND id = $2 "
                  "FOR NO KEY UPDATE",
                  q, &res, e);
    if (rc < 0)
        return rc;
    *ret = PQntuples(res) == 1 ? arena_slice(l->a, pg_get_text(res, 0, 0)) : SLICE_LIT("[]");
    return ret->p ? 0 : no_memory(e);
}

static int publish(struct learner *l, const struct scope *s, int64_t version, struct slice steps,
                   int64_t now_ms, struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(PLAYBOOK_MAX + 4096);
    CLEANUP(buf_release) struct buf h = BUF_INIT(4096);
    struct pg_args *p = pg_args(l->a);
    const char *key = arena_printf(l->a, "%.*s/%.*s", SLICE_FMT(s->tenant), SLICE_FMT(s->id));

    buf_puts(&b, "{\"tenant\":");
    buf_json(&b, s->tenant);
    buf_puts(&b, ",\"id\":");
    buf_json(&b, s->id);
    buf_printf(&b,
               ",\"version\":%" PRId64 ",\"updated_at\":%" PRId64 ",\"policy\":\"%s\",\"steps\":",
               version, now_ms, l->policy->name);
    buf_add(&b, steps.p, steps.len);
    buf_putc(&b, '}');
    buf_puts(&h, "{\"v\":\"1\",\"tenant\":");
    buf_json(&h, s->tenant);
    buf_putc(&h, '}');
    if (b.failed || h.failed || !key)
        return no_memory(e);
    pg_bytea(p, slice_of(key));
    pg_bytea(p, (struct slice){b.p, b.len});
    pg_text(p, (struct slice){h.p, h.len});
    return pg_query(l->pg,
                    "INSERT INTO outbox (topic, key, value, headers) "
                    "VALUES ('playbooks', $1, $2, $3::text::jsonb)",
                    p, NULL, e);
}

static int store(struct learner *l, const struct scope *s, const struct steps *steps,
                 int64_t now_ms, struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(PLAYBOOK_MAX);
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);

    write_steps(&b, steps);
    if (b.failed)
        return no_memory(e);
    pg_text(p, s->tenant);
    pg_text(p, s->id);
    pg_text(p, (struct slice){b.p, b.len});
    pg_int(p, now_ms);
    int rc = pg_query(l->pg,
                      "UPDATE playbooks SET steps = $3::text::jsonb, version = version + 1, "
                      "updated_at = $4 WHERE tenant = $1 AND id = $2 AND "
                      "steps <> $3::text::jsonb RETURNING version",
                      p, &res, e);
    if (rc < 0 || PQntuples(res) == 0)
        return rc;
    return publish(l, s, pg_get_int(res, 0, 0), (struct slice){b.p, b.len}, now_ms, e);
}

static int update(struct learner *l, const struct scope *s, const struct repair *r, size_t n,
                  int64_t now_ms, struct err *e)
{
    struct steps steps = {0};
    struct slice stored = {NULL, 0};
    int rc = lock_row(l, s, now_ms, &stored, e);

    if (rc < 0)
        return rc;
    rc = s->anomaly_key.len > 0 ? steps_of_anomaly(l, s, &steps, e)
                                : steps_stored(l, stored, &steps, e);
    if (rc < 0 || (rc = add_evidence(l, s, r, n, &steps, e)) < 0 ||
        (rc = add_authors(l, s, &steps, e)) < 0)
        return rc;
    l->policy->rank(steps.v, steps.n);
    if (steps.n > l->settings->learner.steps)
        steps.n = l->settings->learner.steps;
    return store(l, s, &steps, now_ms, e);
}

int ranking_update(struct learner *l, const struct repair *r, size_t n, int64_t now_ms,
                   struct err *e)
{
    struct scope *scopes = arena_array(l->a, 4 * n + 1, struct scope);
    size_t scope_n = 0;
    int rc = 0;

    if (!scopes)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        if (r[i].known && r[i].decision.outcome != OUTCOME_PENDING &&
            !add_scopes(l, &r[i], scopes, &scope_n))
            return no_memory(e);
    scope_n = distinct(scopes, scope_n);
    for (size_t i = 0; i < scope_n && rc == 0; i++)
        rc = update(l, &scopes[i], r, n, now_ms, e);
    return rc;
}

/* The anomaly of a playbook "anomaly:<hex>", for its names. */
static int name_anomaly(struct learner *l, struct scope *s, struct err *e)
{
    const size_t prefix = strlen("anomaly:"), len = (s->id.len - prefix) / 2;
    PGresult *res = NULL;
    struct pg_args *p = pg_args(l->a);
    char *key = arena_alloc(l->a, len + 1, 1);

    if (!key)
        return no_memory(e);
    if (!hex_decode((struct slice){s->id.p + prefix, s->id.len - prefix}, key, len))
        return err_set(e, -EIO, "playbook %.*s names no anomaly", SLICE_FMT(s->id));
    s->anomaly_key = (struct slice){key, len};
    pg_text(p, s->tenant);
    pg_bytea(p, s->anomaly_key);
    int rc =
        pg_query(l->pg, "SELECT alert_name, service FROM anomalies WHERE tenant = $1 AND key = $2",
                 p, &res, e);
    if (rc < 0)
        return rc;
    if (arena_defer(l->a, clear_result, res) < 0)
        return no_memory(e);
    if (PQntuples(res) == 1) {
        s->alert_name = pg_get_text(res, 0, 0);
        s->service = pg_get_text(res, 0, 1);
    }
    return 0;
}

int ranking_refresh(struct learner *l, struct slice tenant, struct slice id, int64_t now_ms,
                    struct err *e)
{
    struct scope s = {.tenant = tenant, .id = id};
    int rc = 0;

    if (id.len > strlen("anomaly:") && memcmp(id.p, "anomaly:", strlen("anomaly:")) == 0)
        rc = name_anomaly(l, &s, e);
    return rc < 0 ? rc : update(l, &s, NULL, 0, now_ms, e);
}
