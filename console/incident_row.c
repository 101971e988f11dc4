#include "console/incident_row.h"

#include <errno.h>

#include "common/digest.h"
#include "common/frequency.h"
#include "common/proposal.h"
#include "common/tier.h"
#include "console/rows.h"

enum {
    ID,
    TENANT,
    TITLE,
    STATUS,
    RESOLVED_BY,
    SEVERITY,
    SERVICE,
    NAMESPACE,
    ENVIRONMENT,
    SOURCE,
    ALERT_NAME,
    ERROR_TYPE,
    ANOMALY_KEY,
    OPENED_AT,
    UPDATED_AT,
    RESOLVED_AT,
    FIRING,
    TOTAL,
    OCCURRENCES,
    WINDOW_START,
    LINK,
    LEVEL,
    FREQUENCY,
    FIRST_SEEN,
    LAST_SEEN
};
_Static_assert((int)ID == (int)INCIDENT_ID && (int)OPENED_AT == (int)INCIDENT_OPENED_AT,
               "as INCIDENT_COLUMNS says");

/* ---- around ---- */

/* Parameters: $1 tenant, $2 keys, $3 alert names, $4 services; parallel to the rows. */
static struct pg_args *keys_of(struct visit *v, const PGresult *rows, int n)
{
    struct slice *text = arena_array(v->a, 3 * (size_t)n + 1, struct slice);
    struct pg_args *p = pg_args(v->a);
    const size_t count = (size_t)n;

    if (!text)
        return NULL;
    for (int i = 0; i < n; i++) {
        text[i] = pg_get_text(rows, i, ANOMALY_KEY);
        text[count + (size_t)i] = pg_get_text(rows, i, ALERT_NAME);
        text[2 * count + (size_t)i] = pg_get_text(rows, i, SERVICE);
    }
    pg_text(p, v->tenant);
    pg_byteas(p, text, count);
    pg_texts(p, text + count, count);
    pg_texts(p, text + 2 * count, count);
    return p;
}

#define KEYS                                                                                       \
    "unnest($2::bytea[], $3::text[], $4::text[]) WITH ORDINALITY k(key, alert, service, i) "

int around_load(struct visit *v, const PGresult *rows, int n, struct around *ret, struct err *e)
{
    struct around x = {.rows = rows};
    struct pg_args *stats = keys_of(v, rows, n), *history = keys_of(v, rows, n),
                   *playbooks = keys_of(v, rows, n);

    if (!stats || !history || !playbooks)
        return err_set(e, -ENOMEM, "out of memory");
    pg_int(history, v->console->settings->learner.history);
    int rc =
        rows_load(v,
                  "SELECT k.i, s.action, s.attempts, s.successes, s.last_at FROM " KEYS
                  "JOIN repair_stats s ON s.tenant = $1 AND s.anomaly_key = k.key ORDER BY k.i",
                  stats, &x.stats, e);
    if (rc == 0)
        rc = rows_load(v,
                       "SELECT k.i, r.at, r.action, r.outcome, r.note, r.actor FROM " KEYS
                       "CROSS JOIN LATERAL (SELECT * FROM repairs r WHERE r.tenant = $1 AND "
                       "r.anomaly_key = k.key ORDER BY r.at DESC LIMIT $5) r "
                       "ORDER BY k.i, r.at DESC, r.id DESC",
                       history, &x.history, e);
    if (rc == 0)
        rc = rows_load(v,
                       "SELECT DISTINCT ON (k.i) k.i, p.id, p.version, p.steps->0->>'action', "
                       "(p.steps->0->>'successes')::int8, (p.steps->0->>'attempts')::int8, "
                       "(p.steps->0->>'last_used')::int8, p.steps->0->>'text' FROM " KEYS
                       "CROSS JOIN LATERAL (VALUES (1, 'anomaly:' || encode(k.key, 'hex')), "
                       "(2, 'alert:' || k.alert), (3, 'service:' || k.service), (4, 'global')) "
                       "c(rank, id) JOIN playbooks p ON p.tenant = $1 AND p.id = c.id "
                       "WHERE jsonb_array_length(p.steps) > 0 ORDER BY k.i, c.rank",
                       playbooks, &x.playbooks, e);
    if (rc == 0)
        *ret = x;
    return rc;
}

/* ---- writing ---- */

static int write_frequency(struct visit *v, const struct around *x, int i, struct err *e)
{
    struct frequency *f = arena_new_of(v->a, struct frequency);
    struct buf *b = &v->out;

    if (!f)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = frequency_unpack(pg_get_text(x->rows, i, FREQUENCY), f, e);
    if (rc < 0)
        return rc;
    const struct frequency_counts n = frequency_count(f, v->now_ms);
    out_open(b, "frequency_stats", '{');
    out_int(b, "count_1h", (int64_t)n.h1);
    out_int(b, "count_24h", (int64_t)n.h24);
    out_int(b, "count_7d", (int64_t)n.d7);
    out_int(b, "count_30d", (int64_t)n.d30);
    out_time(b, "first_seen", pg_get_int(x->rows, i, FIRST_SEEN));
    out_time(b, "last_seen", pg_get_int(x->rows, i, LAST_SEEN));
    out_word(b, "escalation_level",
             escalation_level_name((enum escalation_level)pg_get_int(x->rows, i, LEVEL)));
    out_close(b, '}');
    return 0;
}

struct sums {
    int64_t attempts, successes;
    struct tier_facts tier;
};

static struct sums sum_of(const struct around *x, int i)
{
    struct sums s = {.tier.level = (enum escalation_level)pg_get_int(x->rows, i, LEVEL)};

    for (int row = rows_first(x->stats, i + 1); rows_of(x->stats, row, i + 1); row++) {
        const struct slice action = pg_get_text(x->stats, row, 1);
        const int64_t attempts = pg_get_int(x->stats, row, 2);
        const int64_t successes = pg_get_int(x->stats, row, 3);
        s.attempts += attempts;
        s.successes += successes;
        if (slice_is(action, "restart_pod") || slice_is(action, "restart_container"))
            s.tier.restarts += (uint64_t)attempts;
        if (slice_is(action, "permanent_fix") && successes > 0 &&
            pg_get_int(x->stats, row, 4) < pg_get_int(x->rows, i, OPENED_AT))
            s.tier.permanent_fix_failed = true;
    }
    return s;
}

static void write_repairs(struct visit *v, const struct around *x, int i)
{
    const struct sums s = sum_of(x, i);
    const int newest = rows_first(x->history, i + 1);
    struct buf *b = &v->out;

    out_open(b, "repair_stats", '{');
    out_int(b, "total_attempts", s.attempts);
    out_int(b, "successful_attempts", s.successes);
    out_text_or_null(b, "last_repair_action",
                     newest < 0 ? SLICE_LIT("") : pg_get_text(x->history, newest, 2));
    out_time(b, "last_repair_time", newest < 0 ? 0 : pg_get_int(x->history, newest, 1));
    out_open(b, "repair_history", '[');
    for (int row = newest; rows_of(x->history, row, i + 1); row++) {
        out_open(b, NULL, '{');
        out_time(b, "at", pg_get_int(x->history, row, 1));
        out_text(b, "action", pg_get_text(x->history, row, 2));
        out_text(b, "outcome", pg_get_text(x->history, row, 3));
        out_text(b, "note", pg_get_text(x->history, row, 4));
        out_text(b, "by", pg_get_text(x->history, row, 5));
        out_close(b, '}');
    }
    out_close(b, ']');
    out_int(b, "recommended_tier", recommended_tier(&s.tier));
    out_close(b, '}');
}

static void write_proposal(struct visit *v, const struct around *x, int i)
{
    const int row = rows_first(x->playbooks, i + 1);
    const PGresult *r = x->playbooks;
    struct buf *b = &v->out;

    if (row < 0) {
        out_word(b, "proposed_repair", NULL);
        return;
    }
    const struct proposal p = {.playbook_id = pg_get_text(r, row, 1),
                               .action = pg_get_text(r, row, 3),
                               .successes = (uint64_t)pg_get_int(r, row, 4),
                               .attempts = (uint64_t)pg_get_int(r, row, 5),
                               .last_used = pg_get_int(r, row, 6),
                               .text = pg_get_text(r, row, 7)};
    out_open(b, "proposed_repair", '{');
    out_text(b, "action", p.action);
    out_int(b, "successes", (int64_t)p.successes);
    out_int(b, "attempts", (int64_t)p.attempts);
    out_number(b, "success_rate", p.attempts ? (double)p.successes / (double)p.attempts : 0);
    out_number(b, "wilson_lower", wilson_lower(p.successes, p.attempts));
    out_time(b, "last_used", p.last_used);
    out_int(b, "playbook_version", pg_get_int(r, row, 2));
    out_text(b, "text", slice_of(proposal_text(v->a, &p, v->now_ms)));
    out_close(b, '}');
}

static void write_names(struct buf *b, const PGresult *r, int i)
{
    static const struct {
        const char *name;
        int column;
    } texts[] = {
        {"service", SERVICE}, {"namespace", NAMESPACE},   {"environment", ENVIRONMENT},
        {"source", SOURCE},   {"alert_name", ALERT_NAME}, {"error_type", ERROR_TYPE},
    };

    for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++)
        out_text(b, texts[t].name, pg_get_text(r, i, texts[t].column));
}

int incident_row_write(struct visit *v, const struct around *x, int i, struct err *e)
{
    const PGresult *r = x->rows;
    const enum incident_status status = (enum incident_status)pg_get_int(r, i, STATUS);
    const struct slice key = pg_get_text(r, i, ANOMALY_KEY);
    const int64_t occurrences = pg_get_int(r, i, OCCURRENCES);
    char *hex = arena_alloc(v->a, 2 * key.len + 1, 1);
    struct buf *b = &v->out;

    if (!hex)
        return err_set(e, -ENOMEM, "out of memory");
    out_uuid(b, "id", pg_get_uuid(r, i, ID));
    out_text(b, "tenant", pg_get_text(r, i, TENANT));
    out_text(b, "title", pg_get_text(r, i, TITLE));
    out_word(b, "status", incident_status_name(status));
    out_word(b, "resolve_reason",
             status == INCIDENT_RESOLVED && !pg_is_null(r, i, RESOLVED_BY)
                 ? resolved_by_name((enum resolved_by)pg_get_int(r, i, RESOLVED_BY))
                 : NULL);
    out_word(b, "severity", severity_name((enum severity)pg_get_int(r, i, SEVERITY)));
    write_names(b, r, i);
    out_word(b, "anomaly_key", hex_encode(key.p, key.len, hex));
    out_time(b, "opened_at", pg_get_int(r, i, OPENED_AT));
    out_time(b, "updated_at", pg_get_int(r, i, UPDATED_AT));
    out_time(b, "resolved_at", pg_get_int(r, i, RESOLVED_AT));
    out_int(b, "alerts_firing", pg_get_int(r, i, FIRING));
    out_int(b, "alerts_total", pg_get_int(r, i, TOTAL));
    out_bool(b, "is_aggregated", occurrences > 1);
    out_int(b, "aggregated_count", occurrences);
    out_time(b, "aggregation_window_start", pg_get_int(r, i, WINDOW_START));
    out_text_or_null(b, "link", pg_get_text(r, i, LINK));
    int rc = write_frequency(v, x, i, e);
    if (rc < 0)
        return rc;
    write_repairs(v, x, i);
    write_proposal(v, x, i);
    return 0;
}
