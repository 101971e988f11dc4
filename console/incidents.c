#include "console/incidents.h"

#include <errno.h>

#include "common/incident.h"
#include "console/incident_row.h"
#include "console/page.h"

#define SCAN_MAX 10000 /* rows looked at for one page; then the page ends early, with a cursor */
#define WORDS_MAX 200
#define STATUS_ANY 0
#define STATUS_ACTIVE (-1)

struct filters {
    struct page page;
    int32_t status; /* enum incident_status, or one of the two above */
    int32_t severity;
    struct slice service, words;
};

/* ---- parameters ---- */

static int read_status(const char *text, int32_t *ret, struct err *e)
{
    enum incident_status s;

    if (!text) {
        *ret = STATUS_ANY;
    } else if (strcmp(text, "active") == 0) {
        *ret = STATUS_ACTIVE;
    } else if (incident_status_parse(slice_of(text), &s)) {
        *ret = (int32_t)s;
    } else {
        return err_set(e, -EINVAL,
                       "status must be active, open, acknowledged, investigating or resolved");
    }
    return 0;
}

static int read_severity(const char *text, int32_t *ret, struct err *e)
{
    *ret = 0;
    for (int s = SEVERITY_INFO; text && s <= SEVERITY_CRITICAL; s++)
        if (strcmp(text, severity_name((enum severity)s)) == 0)
            *ret = s;
    if (text && *ret == 0)
        return err_set(e, -EINVAL, "severity must be critical, error, warning or info");
    return 0;
}

static int read_text(const struct http_request *r, const char *name, struct slice *ret,
                     struct err *e)
{
    const char *text = http_query(r, name);

    *ret = slice_of(text ? text : "");
    if (ret->len > WORDS_MAX)
        return err_set(e, -EINVAL, "%s must have at most %d bytes", name, WORDS_MAX);
    return 0;
}

static int read_filters(const struct visit *v, struct filters *f, struct err *e)
{
    static const char *const names[] = {"status", "severity", "service", "q", NULL};
    const struct http_request *r = v->http;
    int rc = page_read(r, names, v->console->settings->console.page_max, &f->page, e);

    if (rc < 0 || (rc = read_status(http_query(r, "status"), &f->status, e)) < 0 ||
        (rc = read_severity(http_query(r, "severity"), &f->severity, e)) < 0 ||
        (rc = read_text(r, "service", &f->service, e)) < 0)
        return rc;
    return read_text(r, "q", &f->words, e);
}

/* ---- the list ---- */

/*
 * Rows are read in the order of an index, at most $6 of them, and the other filters look at those:
 * words that match nothing must not read the whole table. `where` picks the index.
 */
#define SCAN(columns, where, tail)                                                                 \
    "SELECT " columns " FROM incidents WHERE tenant = $1 AND (opened_at, id) < ($2, $3) AND "      \
    "opened_at >= $4 " where " ORDER BY opened_at DESC, id DESC " tail
#define LIST(where)                                                                                \
    "SELECT " INCIDENT_COLUMNS " FROM (" SCAN(                                                     \
        "*", where,                                                                                \
        "LIMIT $6") ") i " INCIDENT_ANOMALY                                                        \
                    " WHERE ($5 = '' OR i.service = $5) AND ($7 = 0 OR i.status = $7 OR "          \
                    "$7 = -1 AND i.status <> 4) AND ($8 = 0 OR i.severity = $8) AND ($9 = '' OR "  \
                    "strpos(lower(concat_ws(E'\\n', i.title, i.alert_name, i.service, "            \
                    "i.error_type)), "                                                             \
                    "lower($9)) > 0) ORDER BY i.opened_at DESC, i.id DESC LIMIT $10"
/* The last of the rows that were looked at, when there were as many as allowed. */
#define EDGE(where) SCAN("opened_at, id", where, "OFFSET $6 - 1 LIMIT 1")
#define BY_OPENING ""
#define BY_OPEN "AND status <> 4"
#define BY_SERVICE "AND service = $5"

static const struct base {
    const char *list, *edge;
} by_opening = {LIST(BY_OPENING), EDGE(BY_OPENING)}, by_open = {LIST(BY_OPEN), EDGE(BY_OPEN)},
  by_service = {LIST(BY_SERVICE), EDGE(BY_SERVICE)};

static const struct base *base_of(const struct filters *f)
{
    if (f->status != STATUS_ANY && f->status != INCIDENT_RESOLVED)
        return &by_open;
    return f->service.len > 0 ? &by_service : &by_opening;
}

/* Do the rows need to be looked at one by one? */
static bool is_picky(const struct filters *f, const struct base *base)
{
    return f->severity != 0 || f->words.len > 0 ||
           (f->status != STATUS_ANY && !(f->status == STATUS_ACTIVE && base == &by_open)) ||
           (f->service.len > 0 && base != &by_service);
}

static struct pg_args *scan_args(struct visit *v, const struct filters *f, int64_t scan)
{
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_int(p, f->page.before.at);
    pg_uuid(p, f->page.before.key.b);
    pg_int(p, f->page.since);
    pg_text(p, f->service);
    pg_int(p, scan);
    return p;
}

static struct cursor cursor_of(const PGresult *r, int row, int at, int id)
{
    struct cursor c = {.at = pg_get_int(r, row, at)};

    memcpy(c.key.b, pg_get_uuid(r, row, id), sizeof(c.key.b));
    return c;
}

/* Where the next page begins; *ret_more false: there is none. */
static int next_cursor(struct visit *v, const struct filters *f, const struct base *base,
                       const PGresult *rows, struct cursor *ret, bool *ret_more, struct err *e)
{
    CLEANUP(PQclear) PGresult *edge = NULL;

    *ret_more = PQntuples(rows) > (int)f->page.limit;
    if (*ret_more)
        *ret = cursor_of(rows, (int)f->page.limit - 1, INCIDENT_OPENED_AT, INCIDENT_ID);
    if (*ret_more || !is_picky(f, base))
        return 0;
    int rc = pg_query(v->pg, base->edge, scan_args(v, f, SCAN_MAX), &edge, e);
    if (rc < 0 || PQntuples(edge) == 0)
        return rc;
    *ret_more = true;
    *ret = cursor_of(edge, 0, 0, 1);
    return 0;
}

static int write_list(struct visit *v, const struct filters *f, const struct base *base,
                      const PGresult *rows, struct err *e)
{
    const int n = PQntuples(rows) > (int)f->page.limit ? (int)f->page.limit : PQntuples(rows);
    struct cursor next = cursor_newest();
    struct around x;
    char text[CURSOR_STR];
    bool more = false;
    int rc = around_load(v, rows, n, &x, e);

    out_open(&v->out, NULL, '{');
    out_open(&v->out, "incidents", '[');
    for (int i = 0; i < n && rc == 0; i++) {
        out_open(&v->out, NULL, '{');
        rc = incident_row_write(v, &x, i, e);
        out_close(&v->out, '}');
    }
    out_close(&v->out, ']');
    if (rc < 0 || (rc = next_cursor(v, f, base, rows, &next, &more, e)) < 0)
        return rc;
    out_word(&v->out, "next_cursor", more ? cursor_format(&next, text) : NULL);
    out_close(&v->out, '}');
    return 0;
}

static int list(struct visit *v, void *arg, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct filters f;
    int rc = read_filters(v, &f, e);

    (void)arg;
    if (rc < 0)
        return rc;
    const struct base *base = base_of(&f);
    const int64_t wanted = (int64_t)f.page.limit + 1;
    struct pg_args *p = scan_args(v, &f, is_picky(&f, base) ? SCAN_MAX : wanted);
    pg_int4(p, f.status);
    pg_int4(p, f.severity);
    pg_text(p, f.words);
    pg_int(p, wanted);
    rc = pg_query(v->pg, base->list, p, &rows, e);
    return rc < 0 ? rc : write_list(v, &f, base, rows, e);
}

void get_incidents(void *ctx, struct http_request *r)
{
    console_answer(ctx, r, list, NULL);
}

/* ---- one ---- */

int incident_write(struct visit *v, const struct uuid *id, bool detail, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct around x;
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_uuid(p, id->b);
    int rc = pg_query(v->pg,
                      "SELECT " INCIDENT_COLUMNS " FROM incidents i " INCIDENT_ANOMALY
                      " WHERE i.tenant = $1 AND i.id = $2",
                      p, &rows, e);
    if (rc < 0)
        return rc;
    if (PQntuples(rows) == 0)
        return err_set(e, -ENOENT, "there is no such incident");
    if ((rc = around_load(v, rows, 1, &x, e)) < 0)
        return rc;
    out_open(&v->out, NULL, '{');
    rc = incident_row_write(v, &x, 0, e);
    if (rc == 0 && detail)
        rc = incident_write_detail(v, id, e);
    out_close(&v->out, '}');
    return rc;
}

static int one(struct visit *v, void *arg, struct err *e)
{
    return incident_write(v, arg, true, e);
}

void get_incident(void *ctx, struct http_request *r)
{
    struct uuid id;

    if (!uuid_parse(slice_of(http_param(r, "id")), &id)) {
        http_reply_error(r, 404, "not_found", "there is no such incident");
        return;
    }
    console_answer(ctx, r, one, &id);
}
