#include "console/ledger_row.h"

#include <errno.h>

#include "common/alert.h"
#include "common/clock.h"
#include "common/report.h"
#include "console/rows.h"

#define ATTEMPTS_MAX 50  /* the newest of a notification; `attempts` says how many there were */
#define INCIDENTS_MAX 50 /* of a digest */

enum {
    ID,
    CREATED_AT,
    ENDED_AT,
    GROUP,
    GROUP_LABELS,
    INCIDENT,
    RECEIVER,
    INTEGRATION,
    CHANNEL,
    DESTINATION,
    KIND,
    SEQ,
    SEVERITY,
    STATE,
    REASON,
    DUPLICATE,
    ATTEMPTS,
    NOT_BEFORE,
    MERGED_INTO,
    SUPERSEDED_BY,
    OTHER_ID,
    OTHER_CREATED_AT,
    OTHER_ENDED_AT,
    OTHER_KIND,
    OTHER_SEQ,
    OTHER_STATE,
    OTHER_REASON,
    OTHER_DUPLICATE,
    OTHER_DESTINATION,
    RULE
};
_Static_assert((int)ID == (int)LEDGER_ID && (int)CREATED_AT == (int)LEDGER_CREATED_AT,
               "as LEDGER_COLUMNS says");

/* ---- around ---- */

/*
 * Attempts, first those of the row (place 2i + 1), then those of what told it instead (2i + 2).
 * They lie in partitions by time: within a day around the row's life, hosts' clocks being what they
 * are.
 */
static int load_attempts(struct visit *v, const PGresult *rows, int n, const PGresult **ret,
                         struct err *e)
{
    static const unsigned char nobody[16];
    const size_t count = 2 * (size_t)n;
    unsigned char *ids = arena_alloc(v->a, count + 1, 16);
    int64_t *from = arena_array(v->a, count + 1, int64_t);
    int64_t *to = arena_array(v->a, count + 1, int64_t);
    struct pg_args *p = pg_args(v->a);

    if (!ids || !from || !to)
        return err_set(e, -ENOMEM, "out of memory");
    for (int i = 0; i < 2 * n; i++) {
        const int at = i % 2 ? OTHER_ID : ID, since = i % 2 ? OTHER_CREATED_AT : CREATED_AT,
                  until = i % 2 ? OTHER_ENDED_AT : ENDED_AT;
        const unsigned char *id = pg_get_uuid(rows, i / 2, at);
        memcpy(ids + (size_t)i * 16, id ? id : nobody, 16);
        from[i] = pg_get_int(rows, i / 2, since) - MS_DAY;
        to[i] =
            (pg_is_null(rows, i / 2, until) ? v->now_ms : pg_get_int(rows, i / 2, until)) + MS_DAY;
    }
    pg_text(p, v->tenant);
    pg_uuids(p, ids, count);
    pg_ints(p, from, count);
    pg_ints(p, to, count);
    pg_int(p, ATTEMPTS_MAX);
    return rows_load(
        v,
        "SELECT k.i, d.attempt, d.at, d.duration_ms, d.outcome, d.status, d.answer, q.state, q.at, "
        "q.words FROM "
        "unnest($2::uuid[], $3::int8[], $4::int8[]) WITH ORDINALITY k(id, a, b, i) "
        "CROSS JOIN LATERAL (SELECT * FROM deliveries d WHERE d.tenant = $1 AND "
        "d.notification_id = k.id AND d.at BETWEEN k.a AND k.b "
        "ORDER BY d.attempt DESC, d.at DESC LIMIT $5) d LEFT JOIN delivery_reports q ON "
        "q.tenant = $1 AND q.notification_id = k.id AND q.attempt = d.attempt "
        "ORDER BY k.i, d.attempt, d.at",
        p, ret, e);
}

/* A merge speaks of what its members speak of. */
static int load_incidents(struct visit *v, const PGresult *rows, int n, const PGresult **ret,
                          struct err *e)
{
    unsigned char *ids = arena_alloc(v->a, (size_t)n + 1, 16);
    struct pg_args *p = pg_args(v->a);

    if (!ids)
        return err_set(e, -ENOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        memcpy(ids + (size_t)i * 16, pg_get_uuid(rows, i, ID), 16);
    pg_text(p, v->tenant);
    pg_uuids(p, ids, (size_t)n);
    pg_int(p, INCIDENTS_MAX);
    return rows_load(v,
                     "SELECT k.i, s.incident_id, i.title FROM unnest($2::uuid[]) WITH ORDINALITY "
                     "k(id, i) CROSS JOIN LATERAL ((SELECT incident_id FROM notification_incidents "
                     "WHERE tenant = $1 AND notification_id = k.id LIMIT $3) UNION "
                     "(SELECT t.incident_id FROM notifications m JOIN notification_incidents t ON "
                     "t.tenant = m.tenant AND t.notification_id = m.id WHERE m.tenant = $1 AND "
                     "m.merged_into = k.id LIMIT $3)) s LEFT JOIN LATERAL (SELECT title FROM "
                     "incidents WHERE tenant = $1 AND id = s.incident_id LIMIT 1) i ON true "
                     "ORDER BY k.i, i.title, s.incident_id",
                     p, ret, e);
}

int ledger_around_load(struct visit *v, const PGresult *rows, int n, struct ledger_around *ret,
                       struct err *e)
{
    struct ledger_around x = {.rows = rows};
    int rc = load_attempts(v, rows, n, &x.attempts, e);

    if (rc == 0)
        rc = load_incidents(v, rows, n, &x.incidents, e);
    if (rc == 0)
        *ret = x;
    return rc;
}

/* ---- writing ---- */

/* What the vendor said of it later. */
static void write_report(struct buf *b, const PGresult *r, int i)
{
    enum { REPORT = 7, REPORTED_AT, REPORT_WORDS };

    if (pg_is_null(r, i, REPORT)) {
        out_word(b, "report", NULL);
        return;
    }
    out_open(b, "report", '{');
    out_word(b, "state", report_state_name((enum report_state)pg_get_int(r, i, REPORT)));
    out_time(b, "at", pg_get_int(r, i, REPORTED_AT));
    out_text(b, "words", pg_get_text(r, i, REPORT_WORDS));
    out_close(b, '}');
}

static void write_attempts(struct buf *b, const PGresult *r, int64_t place)
{
    enum { ATTEMPT = 1, AT, DURATION, OUTCOME, HTTP_STATUS, ANSWER };

    out_open(b, "deliveries", '[');
    for (int i = rows_first(r, place); rows_of(r, i, place); i++) {
        out_open(b, NULL, '{');
        out_int(b, "attempt", pg_get_int(r, i, ATTEMPT));
        out_time(b, "at", pg_get_int(r, i, AT));
        out_int(b, "duration_ms", pg_get_int(r, i, DURATION));
        out_text(b, "outcome", pg_get_text(r, i, OUTCOME));
        out_int(b, "http_status", pg_get_int(r, i, HTTP_STATUS));
        out_text(b, "answer", pg_get_text(r, i, ANSWER));
        write_report(b, r, i);
        out_close(b, '}');
    }
    out_close(b, ']');
}

static void write_incidents(struct buf *b, const PGresult *r, int64_t place)
{
    out_open(b, "incidents", '[');
    for (int i = rows_first(r, place); rows_of(r, i, place); i++) {
        out_open(b, NULL, '{');
        out_uuid(b, "id", pg_get_uuid(r, i, 1));
        out_text_or_null(b, "title", pg_get_text(r, i, 2));
        out_close(b, '}');
    }
    out_close(b, ']');
}

static void write_group(struct buf *b, const PGresult *r, int i)
{
    out_open(b, "group", '{');
    out_uuid(b, "id", pg_get_uuid(r, i, GROUP));
    out_raw(b, "labels", pg_get_text(r, i, GROUP_LABELS));
    out_close(b, '}');
}

/* The merge or the newer message: with its own end, which is the end of this one's news. */
static void write_instead(struct buf *b, const struct ledger_around *x, int i)
{
    const PGresult *r = x->rows;

    if (pg_is_null(r, i, OTHER_ID)) {
        out_word(b, "told_instead", NULL);
        return;
    }
    out_open(b, "told_instead", '{');
    out_uuid(b, "id", pg_get_uuid(r, i, OTHER_ID));
    out_text(b, "kind", pg_get_text(r, i, OTHER_KIND));
    out_int(b, "sequence", pg_get_int(r, i, OTHER_SEQ));
    out_text_or_null(b, "destination", pg_get_text(r, i, OTHER_DESTINATION));
    out_text(b, "state", pg_get_text(r, i, OTHER_STATE));
    out_text(b, "reason", pg_get_text(r, i, OTHER_REASON));
    out_bool(b, "possible_duplicate", pg_get_bool(r, i, OTHER_DUPLICATE));
    out_time(b, "ended_at", pg_get_int(r, i, OTHER_ENDED_AT));
    write_attempts(b, x->attempts, 2 * (int64_t)i + 2);
    out_close(b, '}');
}

void ledger_row_write(struct visit *v, const struct ledger_around *x, int i)
{
    const PGresult *r = x->rows;
    struct buf *b = &v->out;
    const bool waits = slice_is(pg_get_text(r, i, STATE), "pending");

    out_open(b, NULL, '{');
    out_uuid(b, "id", pg_get_uuid(r, i, ID));
    out_uuid(b, "incident_id", pg_get_uuid(r, i, INCIDENT));
    write_incidents(b, x->incidents, (int64_t)i + 1);
    write_group(b, r, i);
    out_text_or_null(b, "rule", pg_get_text(r, i, RULE));
    out_text(b, "receiver", pg_get_text(r, i, RECEIVER));
    out_int(b, "integration", pg_get_int(r, i, INTEGRATION));
    out_text(b, "channel", pg_get_text(r, i, CHANNEL));
    out_text_or_null(b, "destination", pg_get_text(r, i, DESTINATION));
    out_text(b, "kind", pg_get_text(r, i, KIND));
    out_int(b, "sequence", pg_get_int(r, i, SEQ));
    out_word(b, "severity", severity_name((enum severity)pg_get_int(r, i, SEVERITY)));
    out_text(b, "state", pg_get_text(r, i, STATE));
    out_text(b, "reason", pg_get_text(r, i, REASON));
    out_bool(b, "possible_duplicate", pg_get_bool(r, i, DUPLICATE));
    out_time(b, "created_at", pg_get_int(r, i, CREATED_AT));
    out_time(b, "ended_at", pg_get_int(r, i, ENDED_AT));
    out_time(b, "next_attempt_at", waits ? pg_get_int(r, i, NOT_BEFORE) : 0);
    out_int(b, "attempts", pg_get_int(r, i, ATTEMPTS));
    write_attempts(b, x->attempts, 2 * (int64_t)i + 1);
    out_uuid(b, "merged_into", pg_get_uuid(r, i, MERGED_INTO));
    out_uuid(b, "superseded_by", pg_get_uuid(r, i, SUPERSEDED_BY));
    write_instead(b, x, i);
    out_close(b, '}');
}
