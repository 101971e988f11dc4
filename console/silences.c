#include "console/silences.h"

#include <errno.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/silence.h"
#include "console/page.h"

#define TEXT_MAX 4000
#define LASTS_MAX (3660 * MS_DAY)

/* ---- showing ---- */

#define COLUMNS                                                                                    \
    "s.id, s.matchers::text, s.starts_at, s.ends_at, s.created_by, s.comment, s.created_at"
enum { ID, MATCHERS, STARTS_AT, ENDS_AT, CREATED_BY, COMMENT, CREATED_AT };

static const char *const states[] = {"active", "pending", "expired", NULL};
enum state { ANY = -1, ACTIVE, PENDING, EXPIRED };

static enum state state_of(const PGresult *r, int i, int64_t now_ms)
{
    if (pg_get_int(r, i, ENDS_AT) <= now_ms)
        return EXPIRED;
    return pg_get_int(r, i, STARTS_AT) <= now_ms ? ACTIVE : PENDING;
}

static void write_row(struct visit *v, const PGresult *r, int i)
{
    struct buf *b = &v->out;

    out_open(b, NULL, '{');
    out_uuid(b, "id", pg_get_uuid(r, i, ID));
    out_word(b, "status", states[state_of(r, i, v->now_ms)]);
    out_raw(b, "matchers", pg_get_text(r, i, MATCHERS));
    out_time(b, "starts_at", pg_get_int(r, i, STARTS_AT));
    out_time(b, "ends_at", pg_get_int(r, i, ENDS_AT));
    out_text(b, "created_by", pg_get_text(r, i, CREATED_BY));
    out_text(b, "comment", pg_get_text(r, i, COMMENT));
    out_time(b, "created_at", pg_get_int(r, i, CREATED_AT));
    out_close(b, '}');
}

static int read_state(const struct http_request *r, enum state *ret, struct err *e)
{
    const char *asked = http_query(r, "status");

    *ret = ANY;
    for (int i = 0; asked && states[i]; i++)
        if (strcmp(asked, states[i]) == 0)
            *ret = (enum state)i;
    return !asked || *ret != ANY ? 0
                                 : err_set(e, -EINVAL, "status must be active, pending or expired");
}

static int list(struct visit *v, void *arg, struct err *e)
{
    static const char *const filters[] = {"status", NULL};
    CLEANUP(PQclear) PGresult *r = NULL;
    struct page page;
    enum state state;
    char text[CURSOR_STR];
    int rc = page_read(v->http, filters, v->console->settings->console.page_max, &page, e);

    (void)arg;
    if (rc < 0 || (rc = read_state(v->http, &state, e)) < 0)
        return rc;
    struct pg_args *p = pg_args(v->a);
    pg_text(p, v->tenant);
    pg_int(p, page.before.at);
    pg_uuid(p, &page.before.key);
    pg_int(p, page.since);
    pg_int4(p, (int)state);
    pg_int(p, v->now_ms);
    pg_int(p, (int64_t)page.limit + 1);
    rc = pg_query(v->pg,
                  "SELECT " COLUMNS " FROM silences s WHERE s.tenant = $1 AND "
                  "(s.created_at, s.id) < ($2, $3) AND s.created_at >= $4 AND CASE $5 "
                  "WHEN 0 THEN s.ends_at > $6 AND s.starts_at <= $6 "
                  "WHEN 1 THEN s.ends_at > $6 AND s.starts_at > $6 "
                  "WHEN 2 THEN s.ends_at <= $6 ELSE true END "
                  "ORDER BY s.created_at DESC, s.id DESC LIMIT $7",
                  p, &r, e);
    if (rc < 0)
        return rc;
    const int n = PQntuples(r) > (int)page.limit ? (int)page.limit : PQntuples(r);
    struct cursor next = cursor_newest();
    out_open(&v->out, NULL, '{');
    out_open(&v->out, "silences", '[');
    for (int i = 0; i < n; i++)
        write_row(v, r, i);
    out_close(&v->out, ']');
    if (n > 0) {
        next.at = pg_get_int(r, n - 1, CREATED_AT);
        memcpy(next.key.b, pg_get_uuid(r, n - 1, ID), sizeof(next.key.b));
    }
    out_word(&v->out, "next_cursor", PQntuples(r) > n && n > 0 ? cursor_format(&next, text) : NULL);
    out_close(&v->out, '}');
    return 0;
}

void get_silences(void *ctx, struct http_request *r)
{
    console_answer(ctx, r, list, NULL);
}

static int one(struct visit *v, const struct uuid *id, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(v->a);

    pg_text(p, v->tenant);
    pg_uuid(p, id);
    int rc = pg_query(v->pg, "SELECT " COLUMNS " FROM silences s WHERE s.tenant = $1 AND s.id = $2",
                      p, &r, e);
    if (rc < 0)
        return rc;
    if (PQntuples(r) == 0)
        return err_set(e, -ENOENT, "there is no such silence");
    write_row(v, r, 0);
    return 0;
}

static int show(struct visit *v, void *arg, struct err *e)
{
    return one(v, arg, e);
}

static int end(struct visit *v, void *arg, struct err *e)
{
    int rc = silence_end(v->pg, v->tenant, arg, v->now_ms, e);

    return rc < 0 ? rc : one(v, arg, e);
}

static void on_one(const struct console *c, struct http_request *r,
                   int (*answer)(struct visit *v, void *arg, struct err *e))
{
    struct uuid id;

    if (uuid_parse(slice_of(http_param(r, "id")), &id))
        console_answer(c, r, answer, &id);
    else
        http_reply_error(r, 404, "not_found", "there is no such silence");
}

void get_silence(void *ctx, struct http_request *r)
{
    on_one(ctx, r, show);
}

void delete_silence(void *ctx, struct http_request *r)
{
    on_one(ctx, r, end);
}

/* ---- making ---- */

static int read_text(const json_t *o, const char *name, const char *def, struct slice *ret,
                     struct err *e)
{
    const json_t *v = json_object_get(o, name);

    if (v && !json_is_string(v))
        return err_set(e, -EINVAL, "%s must be a string", name);
    *ret = v ? (struct slice){json_string_value(v), json_string_length(v)} : slice_of(def);
    return ret->len <= TEXT_MAX
               ? 0
               : err_set(e, -EINVAL, "%s must have at most %d bytes", name, TEXT_MAX);
}

static int read_moment(const json_t *o, const char *name, int64_t *ret, struct err *e)
{
    struct slice text = {NULL, 0};
    int rc = read_text(o, name, "", &text, e);

    if (rc == 0 && text.len > 0 && !rfc3339_parse(text, ret))
        return err_set(e, -EINVAL, "%s must be a time such as 2026-01-02T03:04:05Z", name);
    return rc;
}

/* `ends_at`, or `duration` from the start. */
static int read_times(const json_t *o, int64_t now_ms, struct silence_new *s, struct err *e)
{
    struct slice duration = {NULL, 0};
    int64_t lasts = 0;
    int rc;

    s->starts_ms = now_ms;
    if ((rc = read_moment(o, "starts_at", &s->starts_ms, e)) < 0 ||
        (rc = read_moment(o, "ends_at", &s->ends_ms, e)) < 0 ||
        (rc = read_text(o, "duration", "", &duration, e)) < 0)
        return rc;
    if ((s->ends_ms != 0) == (duration.len > 0))
        return err_set(e, -EINVAL, "either ends_at or duration must be given");
    if (duration.len > 0) {
        if (!duration_parse(duration, &lasts) || lasts <= 0)
            return err_set(e, -EINVAL, "duration must be a time such as 90m");
        s->ends_ms = s->starts_ms + lasts;
    }
    if (s->ends_ms <= s->starts_ms || s->ends_ms <= now_ms)
        return err_set(e, -EINVAL, "a silence must end after it starts, and after now");
    return s->ends_ms - now_ms <= LASTS_MAX
               ? 0
               : err_set(e, -EINVAL, "a silence must end within ten years");
}

static int read_new(struct visit *v, struct silence_new *ret, struct err *e)
{
    static const struct json_limits limits = {.max_depth = 8};
    static const char *const known[] = {"matchers", "starts_at",  "ends_at",
                                        "duration", "created_by", "comment"};
    const struct slice body = http_body(v->http);
    struct err why;
    const char *name;
    json_t *value;
    int rc;

    if (json_scan(body, &limits, &why) < 0)
        return err_set(e, -EINVAL, "the body is not JSON: %s", why.msg);
    json_t *o = json_tree(body, v->a, &why);
    if (!json_is_object(o))
        return err_set(e, -EINVAL, "the body must be an object");
    json_object_foreach (o, name, value) {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
            found = found || strcmp(name, known[i]) == 0;
        if (!found)
            return err_set(e, -EINVAL,
                           "unknown member \"%.60s\": known are matchers, starts_at, ends_at, "
                           "duration, created_by and comment",
                           name);
    }
    if ((rc = silence_matchers_read(json_object_get(o, "matchers"), &ret->matchers, e)) < 0 ||
        (rc = read_times(o, v->now_ms, ret, e)) < 0 ||
        (rc = read_text(o, "created_by", "console", &ret->created_by, e)) < 0)
        return rc;
    return read_text(o, "comment", "", &ret->comment, e);
}

static int make(struct visit *v, void *arg, struct err *e)
{
    struct silence_new s = {.id = *(const struct uuid *)arg};
    int rc = read_new(v, &s, e);

    if (rc < 0 || (rc = pg_begin(v->pg, e)) < 0)
        return rc;
    rc = silence_insert(v->pg, v->a, v->tenant, &s, v->now_ms, e);
    if (rc == 0)
        rc = pg_commit(v->pg, e);
    if (rc < 0) {
        pg_rollback(v->pg);
        return rc;
    }
    v->status = 201;
    return one(v, &s.id, e);
}

void post_silence(void *ctx, struct http_request *r)
{
    struct uuid id = uuid7_new(clock_now_ms()); /* one, however often it is tried */

    console_answer(ctx, r, make, &id);
}
