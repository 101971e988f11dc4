#include "console/alerts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/digest.h"
#include "common/incident.h"
#include "console/page.h"

#define SCAN_MAX 10000 /* as for incidents */

enum {
    FINGERPRINT,
    STATUS,
    SEVERITY,
    STARTS_AT,
    ENDED_AT,
    LABELS,
    ANNOTATIONS,
    LINK,
    OCCURRENCES,
    INCIDENT,
    FIRST_SEEN
};

bool alert_id_parse(const char *text, int64_t *ret)
{
    unsigned char b[8];
    uint64_t v = 0;

    if (!hex_decode(slice_of(text), b, sizeof(b)))
        return false;
    for (size_t i = 0; i < sizeof(b); i++)
        v = v << 8 | b[i];
    *ret = (int64_t)v;
    return true;
}

void alert_row_write(struct buf *b, const PGresult *r, int i)
{
    const bool firing = pg_get_int(r, i, STATUS) == ALERT_FIRING;
    char id[17];

    (void)snprintf(id, sizeof(id), "%016" PRIx64, (uint64_t)pg_get_int(r, i, FINGERPRINT));
    out_open(b, NULL, '{');
    out_word(b, "id", id);
    out_word(b, "status", firing ? "firing" : "resolved");
    out_word(b, "severity", severity_name((enum severity)pg_get_int(r, i, SEVERITY)));
    out_time(b, "starts_at",
             pg_get_int(r, i, pg_is_null(r, i, STARTS_AT) ? FIRST_SEEN : STARTS_AT));
    out_time(b, "ends_at", firing ? 0 : pg_get_int(r, i, ENDED_AT));
    out_raw(b, "labels", pg_get_text(r, i, LABELS));
    out_raw(b, "annotations", pg_get_text(r, i, ANNOTATIONS));
    out_text_or_null(b, "link", pg_get_text(r, i, LINK));
    out_int(b, "count", pg_get_int(r, i, OCCURRENCES));
    out_uuid(b, "incident_id", pg_get_uuid(r, i, INCIDENT));
    out_close(b, '}');
}

/* ---- the list ---- */

struct filters {
    struct page page;
    int32_t status; /* enum alert_status; 0: any */
    int32_t severity;
    struct uuid incident;
    bool has_incident;
};

static int read_filters(const struct visit *v, struct filters *f, struct err *e)
{
    static const char *const names[] = {"status", "severity", "incident", NULL};
    const char *status = http_query(v->http, "status"), *severity = http_query(v->http, "severity");

    *f = (struct filters){.status = 0};
    if (status && (strcmp(status, "active") == 0 || strcmp(status, "firing") == 0))
        f->status = ALERT_FIRING;
    else if (status && strcmp(status, "resolved") == 0)
        f->status = ALERT_RESOLVED;
    else if (status)
        return err_set(e, -EINVAL, "status must be active, firing or resolved");
    for (int s = SEVERITY_INFO; severity && s <= SEVERITY_CRITICAL; s++)
        if (strcmp(severity, severity_name((enum severity)s)) == 0)
            f->severity = s;
    if (severity && f->severity == 0)
        return err_set(e, -EINVAL, "severity must be critical, error, warning or info");
    int rc = page_read_incident(v->http, &f->incident, &f->has_incident, e);
    return rc < 0 ? rc
                  : page_read(v->http, names, v->console->settings->console.page_max, &f->page, e);
}

/* A list of alerts is by first report; the fingerprint stands in the last 8 bytes of the key. */
static int64_t key_number(const struct uuid *key)
{
    uint64_t v = 0;

    for (int i = 8; i < 16; i++)
        v = v << 8 | key->b[i];
    return (int64_t)(v ^ UINT64_C(1) << 63); /* bytes in order are signed numbers in order */
}

static struct uuid key_of(int64_t number)
{
    const uint64_t v = (uint64_t)number ^ UINT64_C(1) << 63;
    struct uuid key = {{0}};

    for (int i = 0; i < 8; i++)
        key.b[8 + i] = (unsigned char)(v >> (56 - 8 * i));
    return key;
}

#define SCAN(columns, from, tail)                                                                  \
    "SELECT " columns " FROM " from " WHERE tenant = $1 AND (first_seen, fingerprint) < ($2, $3) " \
    "AND first_seen >= $4 " tail
#define NEWEST "ORDER BY first_seen DESC, fingerprint DESC "
#define WANTED "WHERE status > 0 AND ($7 = 0 OR status = $7) AND ($8 = 0 OR severity = $8) "
#define LIST(from, where)                                                                          \
    "SELECT " ALERT_COLUMNS                                                                        \
    " FROM (" SCAN("*", from, where NEWEST "LIMIT $5") ") a " WANTED NEWEST "LIMIT $9"
#define EDGE(from, where)                                                                          \
    SCAN("first_seen, fingerprint", from, where NEWEST "OFFSET $5 - 1 LIMIT 1")
/* Those that fire and those that ended, each in the order of alerts_of_incident and of nothing
 * else: whatever the planner believes it goes by that. */
#define OF_INCIDENT                                                                                \
    "(SELECT o.* FROM (VALUES (1), (2)) s (v) CROSS JOIN LATERAL (SELECT * FROM alerts WHERE "     \
    "tenant = $1 AND incident_id = $6 AND status >= v AND "                                        \
    "(status, first_seen, fingerprint) < (v, $2, $3) AND first_seen >= $4 "                        \
    "ORDER BY status DESC, first_seen DESC, fingerprint DESC LIMIT $5) o) i"

static const struct base {
    const char *list, *edge;
} by_time = {LIST("alerts", ""), EDGE("alerts", "")},
  by_firing = {LIST("alerts", "AND status = 1 "), EDGE("alerts", "AND status = 1 ")},
  by_incident = {LIST(OF_INCIDENT, ""), EDGE(OF_INCIDENT, "")};

static const struct base *base_of(const struct filters *f)
{
    if (f->has_incident)
        return &by_incident;
    return f->status == ALERT_FIRING ? &by_firing : &by_time;
}

/* Do the rows need to be looked at one by one? */
static bool is_picky(const struct filters *f)
{
    return !f->has_incident || f->status != 0 || f->severity != 0;
}

static struct pg_args *scan_args(struct visit *v, const struct filters *f, int64_t scan)
{
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_int(p, f->page.before.at);
    pg_int(p, key_number(&f->page.before.key));
    pg_int(p, f->page.since);
    pg_int(p, scan);
    pg_uuid(p, f->incident.b);
    return p;
}

static int write_next(struct visit *v, const struct filters *f, const PGresult *rows, struct err *e)
{
    CLEANUP(PQclear) PGresult *edge = NULL;
    struct cursor next = cursor_newest();
    char text[CURSOR_STR];
    bool more = PQntuples(rows) > (int)f->page.limit;
    int rc = 0;

    if (more) {
        const int last = (int)f->page.limit - 1;
        next = (struct cursor){pg_get_int(rows, last, FIRST_SEEN),
                               key_of(pg_get_int(rows, last, FINGERPRINT))};
    } else if (is_picky(f)) {
        rc = pg_query(v->pg, base_of(f)->edge, scan_args(v, f, SCAN_MAX), &edge, e);
        more = rc == 0 && PQntuples(edge) > 0;
        if (more)
            next = (struct cursor){pg_get_int(edge, 0, 0), key_of(pg_get_int(edge, 0, 1))};
    }
    out_word(&v->out, "next_cursor", more ? cursor_format(&next, text) : NULL);
    return rc;
}

static int list(struct visit *v, void *arg, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct filters f;
    int rc = read_filters(v, &f, e);

    (void)arg;
    if (rc < 0)
        return rc;
    const int64_t wanted = (int64_t)f.page.limit + 1;
    struct pg_args *p = scan_args(v, &f, is_picky(&f) ? SCAN_MAX : wanted);
    pg_int4(p, f.status);
    pg_int4(p, f.severity);
    pg_int(p, wanted);
    rc = pg_query(v->pg, base_of(&f)->list, p, &rows, e);
    if (rc < 0)
        return rc;
    out_open(&v->out, NULL, '{');
    out_open(&v->out, "alerts", '[');
    for (int i = 0; i < PQntuples(rows) && i < (int)f.page.limit; i++)
        alert_row_write(&v->out, rows, i);
    out_close(&v->out, ']');
    rc = write_next(v, &f, rows, e);
    out_close(&v->out, '}');
    return rc;
}

void get_alerts(void *ctx, struct http_request *r)
{
    console_answer(ctx, r, list, NULL);
}

/* ---- one ---- */

static struct pg_args *one_args(struct visit *v, int64_t fingerprint)
{
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_int(p, fingerprint);
    return p;
}

int alert_write(struct visit *v, int64_t fingerprint, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = pg_query(v->pg,
                      "SELECT " ALERT_COLUMNS " FROM alerts WHERE tenant = $1 AND "
                      "fingerprint = $2 AND status > 0",
                      one_args(v, fingerprint), &r, e);

    if (rc < 0)
        return rc;
    if (PQntuples(r) == 0)
        return err_set(e, -ENOENT, "there is no such alert");
    alert_row_write(&v->out, r, 0);
    return 0;
}

int alert_incident(struct visit *v, int64_t fingerprint, struct uuid *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = pg_query(v->pg,
                      "SELECT incident_id FROM alerts WHERE tenant = $1 AND fingerprint = $2 AND "
                      "status > 0",
                      one_args(v, fingerprint), &r, e);

    if (rc < 0)
        return rc;
    if (PQntuples(r) == 0)
        return err_set(e, -ENOENT, "there is no such alert");
    if (pg_is_null(r, 0, 0))
        return err_set(e, -EPERM, "the alert is part of no incident");
    memcpy(ret->b, pg_get_uuid(r, 0, 0), sizeof(ret->b));
    return 0;
}

static int one(struct visit *v, void *arg, struct err *e)
{
    return alert_write(v, *(const int64_t *)arg, e);
}

void get_alert(void *ctx, struct http_request *r)
{
    int64_t fingerprint = 0;

    if (!alert_id_parse(http_param(r, "id"), &fingerprint)) {
        http_reply_error(r, 404, "not_found", "there is no such alert");
        return;
    }
    console_answer(ctx, r, one, &fingerprint);
}
