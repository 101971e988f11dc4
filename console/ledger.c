#include "console/ledger.h"

#include <errno.h>

#include "common/notification.h"
#include "common/receivers.h"
#include "console/ledger_row.h"
#include "console/page.h"

#define SCAN_MAX 10000 /* as for incidents */
#define EMBEDDED_MAX 500
#define TEXT_MAX 200

struct filters {
    struct page page;
    struct slice state, channel, receiver, kind; /* empty: any */
    struct uuid incident, id;
    bool has_incident, has_id;
};
#define ANY SLICE_LIT("")
#define UNFILTERED .state = ANY, .channel = ANY, .receiver = ANY, .kind = ANY

/* ---- parameters ---- */

static const char *state_at(size_t i)
{
#define X(name, word) word,
    static const char *const all[] = {NOTIFICATION_STATES(X)};

    return i < sizeof(all) / sizeof(*all) ? all[i] : NULL;
}

static const char *kind_at(size_t i)
{
    static const char *const all[] = {NOTIFICATION_KINDS(X) NOTIFICATION_MERGE};
#undef X

    return i < sizeof(all) / sizeof(*all) ? all[i] : NULL;
}

/* One word of a known list; any other is refused with all of them. */
static int read_word(const struct http_request *r, const char *name, const char *(*at)(size_t),
                     struct slice *ret, struct err *e)
{
    const char *text = http_query(r, name);
    CLEANUP(buf_release) struct buf known = BUF_INIT(sizeof(e->msg));

    *ret = slice_of(text ? text : "");
    for (size_t i = 0; at(i); i++) {
        if (!text || strcmp(at(i), text) == 0)
            return 0;
        buf_printf(&known, "%s%s", i == 0 ? "" : at(i + 1) ? ", " : " or ", at(i));
    }
    return err_set(e, -EINVAL, "%s must be %s", name, buf_str(&known));
}

/* Without `incident` where the address names one. */
static int read_filters(const struct visit *v, struct filters *f, struct err *e)
{
    static const char *const names[] = {"incident", "state", "channel", "receiver", "kind", NULL};
    const struct http_request *r = v->http;
    const char *receiver = http_query(r, "receiver");
    int rc = page_read(r, f->has_incident ? names + 1 : names,
                       v->console->settings->console.page_max, &f->page, e);

    if (rc < 0 || (rc = read_word(r, "state", state_at, &f->state, e)) < 0 ||
        (rc = read_word(r, "channel", channel_name_at, &f->channel, e)) < 0 ||
        (rc = read_word(r, "kind", kind_at, &f->kind, e)) < 0)
        return rc;
    f->receiver = slice_of(receiver ? receiver : "");
    if (f->receiver.len > TEXT_MAX)
        return err_set(e, -EINVAL, "receiver must have at most %d bytes", TEXT_MAX);
    return 0;
}

/* ---- the query ---- */

/*
 * As for incidents: at most $7 rows are read in the order of an index, and the other filters look
 * at those. The look-ups by id are lateral and limited, so that whatever the planner believes they
 * go by the key.
 */
#define PAGE(id) "WHERE tenant = $1 AND (created_at, " id ") < ($2, $3) AND created_at >= $4 "
#define NEWEST(id) "ORDER BY created_at DESC, " id " DESC "
#define TIME "notifications " PAGE("id")
/* The index is of those that are not delivered. */
#define STATE "notifications " PAGE("id") "AND state <> 'delivered' AND state = $5 "
#define INCIDENT "notification_incidents " PAGE("notification_id") "AND incident_id = $6 "
#define BY_ID "(SELECT * FROM notifications m WHERE m.tenant = $1 AND m.id = k.id LIMIT 1)"

#define LIST(rows)                                                                                 \
    "SELECT " LEDGER_COLUMNS " FROM (SELECT * FROM (" rows ") k WHERE ($5 = '' OR state = $5) "    \
    "AND ($8 = '' OR channel = $8) AND ($9 = '' OR receiver = $9) AND ($10 = '' OR kind = $10) "   \
    "ORDER BY created_at DESC, id DESC LIMIT $11) n " LEDGER_INSTEAD                               \
    " ORDER BY n.created_at DESC, n.id DESC"
/* The last of the rows that were looked at, when there were as many as allowed. */
#define EDGE(from, id) "SELECT created_at, " id " FROM " from NEWEST(id) "OFFSET $7 - 1 LIMIT 1"

static const struct base {
    const char *list, *edge;
} by_time = {LIST("SELECT * FROM " TIME NEWEST("id") "LIMIT $7"), EDGE(TIME, "id")},
  by_state = {LIST("SELECT * FROM " STATE NEWEST("id") "LIMIT $7"), EDGE(STATE, "id")},
  by_incident = {LIST("SELECT n.* FROM (SELECT notification_id AS id FROM " INCIDENT NEWEST(
                     "notification_id") "LIMIT $7) k CROSS JOIN LATERAL " BY_ID " n"),
                 EDGE(INCIDENT, "notification_id")},
  by_id = {LIST("SELECT n.* FROM (VALUES ($6)) k (id) CROSS JOIN LATERAL " BY_ID " n LIMIT $7"),
           NULL};

static const struct base *base_of(const struct filters *f)
{
    if (f->has_id)
        return &by_id;
    if (f->has_incident)
        return &by_incident;
    return f->state.len > 0 && !slice_is(f->state, "delivered") ? &by_state : &by_time;
}

/* Do the rows need to be looked at one by one? */
static bool is_picky(const struct filters *f)
{
    return f->channel.len > 0 || f->receiver.len > 0 || f->kind.len > 0 ||
           (f->state.len > 0 && base_of(f) != &by_state);
}

static struct pg_args *scan_args(struct visit *v, const struct filters *f, int64_t scan)
{
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_int(p, f->page.before.at);
    pg_uuid(p, f->page.before.key.b);
    pg_int(p, f->page.since);
    pg_text(p, f->state);
    pg_uuid(p, f->has_id ? f->id.b : f->incident.b);
    pg_int(p, scan);
    return p;
}

static int query(struct visit *v, const struct filters *f, int64_t wanted, PGresult **ret,
                 struct err *e)
{
    struct pg_args *p = scan_args(v, f, is_picky(f) ? SCAN_MAX : wanted);

    pg_text(p, f->channel);
    pg_text(p, f->receiver);
    pg_text(p, f->kind);
    pg_int(p, wanted);
    return pg_query(v->pg, base_of(f)->list, p, ret, e);
}

/* ---- the list ---- */

static struct cursor cursor_of(const PGresult *r, int row, int at, int id)
{
    struct cursor c = {.at = pg_get_int(r, row, at)};

    memcpy(c.key.b, pg_get_uuid(r, row, id), sizeof(c.key.b));
    return c;
}

static int write_next(struct visit *v, const struct filters *f, const PGresult *rows, struct err *e)
{
    CLEANUP(PQclear) PGresult *edge = NULL;
    struct cursor next = cursor_newest();
    char text[CURSOR_STR];
    bool more = PQntuples(rows) > (int)f->page.limit;

    if (more) {
        next = cursor_of(rows, (int)f->page.limit - 1, LEDGER_CREATED_AT, LEDGER_ID);
    } else if (is_picky(f)) {
        int rc = pg_query(v->pg, base_of(f)->edge, scan_args(v, f, SCAN_MAX), &edge, e);
        if (rc < 0)
            return rc;
        more = PQntuples(edge) > 0;
        if (more)
            next = cursor_of(edge, 0, 0, 1);
    }
    out_word(&v->out, "next_cursor", more ? cursor_format(&next, text) : NULL);
    return 0;
}

static int write_list(struct visit *v, const struct filters *f, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    struct ledger_around x;
    int rc = query(v, f, (int64_t)f->page.limit + 1, &rows, e);

    if (rc < 0)
        return rc;
    const int n = PQntuples(rows) > (int)f->page.limit ? (int)f->page.limit : PQntuples(rows);
    if ((rc = ledger_around_load(v, rows, n, &x, e)) < 0)
        return rc;
    out_open(&v->out, NULL, '{');
    out_open(&v->out, "notifications", '[');
    for (int i = 0; i < n; i++)
        ledger_row_write(v, &x, i);
    out_close(&v->out, ']');
    rc = write_next(v, f, rows, e);
    out_close(&v->out, '}');
    return rc;
}

static int list(struct visit *v, void *arg, struct err *e)
{
    struct filters f = {.has_id = false};
    int rc = read_filters(v, &f, e);

    (void)arg;
    if (rc == 0)
        rc = page_read_incident(v->http, &f.incident, &f.has_incident, e);
    return rc < 0 ? rc : write_list(v, &f, e);
}

void get_notifications(void *ctx, struct http_request *r)
{
    console_answer(ctx, r, list, NULL);
}

/* ---- of an incident ---- */

static int check_incident(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_uuid(p, id->b);
    int rc = pg_query(v->pg, "SELECT 1 FROM incidents WHERE tenant = $1 AND id = $2", p, &r, e);
    return rc == 0 && PQntuples(r) == 0 ? err_set(e, -ENOENT, "there is no such incident") : rc;
}

static int of_incident(struct visit *v, void *arg, struct err *e)
{
    struct filters f = {.has_incident = true, .incident = *(const struct uuid *)arg};
    int rc = read_filters(v, &f, e);

    if (rc == 0)
        rc = check_incident(v, &f.incident, e);
    return rc < 0 ? rc : write_list(v, &f, e);
}

void get_incident_notifications(void *ctx, struct http_request *r)
{
    struct uuid id;

    if (!uuid_parse(slice_of(http_param(r, "id")), &id)) {
        http_reply_error(r, 404, "not_found", "there is no such incident");
        return;
    }
    console_answer(ctx, r, of_incident, &id);
}

int ledger_write_incident(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    const struct filters f = {UNFILTERED, .page = {.before = cursor_newest()}, .has_incident = true,
                              .incident = *id};
    struct ledger_around x;
    int rc = query(v, &f, EMBEDDED_MAX + 1, &rows, e);

    if (rc < 0)
        return rc;
    const int n = PQntuples(rows) > EMBEDDED_MAX ? EMBEDDED_MAX : PQntuples(rows);
    if ((rc = ledger_around_load(v, rows, n, &x, e)) < 0)
        return rc;
    out_bool(&v->out, "notifications_more", PQntuples(rows) > n);
    out_open(&v->out, "notifications", '[');
    for (int i = n - 1; i >= 0; i--)
        ledger_row_write(v, &x, i);
    out_close(&v->out, ']');
    return 0;
}

/* ---- one ---- */

static int one(struct visit *v, void *arg, struct err *e)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    const struct filters f = {UNFILTERED, .has_id = true, .id = *(const struct uuid *)arg};
    struct ledger_around x;
    int rc = query(v, &f, 1, &rows, e);

    if (rc < 0)
        return rc;
    if (PQntuples(rows) == 0)
        return err_set(e, -ENOENT, "there is no such notification");
    if ((rc = ledger_around_load(v, rows, 1, &x, e)) < 0)
        return rc;
    ledger_row_write(v, &x, 0);
    return 0;
}

void get_notification(void *ctx, struct http_request *r)
{
    struct uuid id;

    if (!uuid_parse(slice_of(http_param(r, "id")), &id)) {
        http_reply_error(r, 404, "not_found", "there is no such notification");
        return;
    }
    console_answer(ctx, r, one, &id);
}
