#include <errno.h>

#include "common/clock.h"
#include "common/log.h"
#include "console/console.h"

#define ANSWER_MAX ((size_t)32 << 20)
#define MEMORY ((size_t)64 << 20)

static const struct failure {
    int code;
    unsigned status;
    const char *slug;
} failures[] = {
    {-ENOENT, 404, "not_found"},
    {-EINVAL, 400, "bad_request"},
    {-EPERM, 409, "conflict"},
    {-ENOTCONN, 503, "database_unavailable"},
    {-EBUSY, 503, "database_busy"},
    {-EAGAIN, 503, "database_busy"},
    {-EOVERFLOW, 500, "answer_too_long"},
};

static const struct failure *failure_of(int rc)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++)
        if (failures[i].code == rc)
            return &failures[i];
    return NULL;
}

static void refuse(struct visit *v, const struct console_form *form, void *arg, int rc,
                   const struct err *e)
{
    const struct failure *f = failure_of(rc);

    v->status = f ? f->status : 500;
    if (!f) /* The words are for the log: they may tell more of the database than one should know */
        log_error(EV("answer_failed"), KV("path", http_path(v->http)), KV("reason", e->msg));
    if (v->status == 503)
        http_reply_header(v->http, "Retry-After", "5");
    if (form->refuse) {
        buf_reset(&v->out);
        form->refuse(v, arg, rc);
        http_reply(v->http, v->status, form->type, buf_str(&v->out), v->out.len);
    } else if (f) {
        http_reply_error(v->http, f->status, f->slug, "%s", e->msg);
    } else {
        http_reply_error(v->http, 500, "internal",
                         "this cannot be answered now; the log of the console says why");
    }
}

static int attempt(struct visit *v, int (*answer)(struct visit *v, void *arg, struct err *e),
                   void *arg, struct err *e)
{
    int rc = pool_take(v->console->pool, &v->pg, e);

    if (rc < 0)
        return rc;
    buf_reset(&v->out);
    arena_reset(v->a);
    v->status = 200;
    rc = answer(v, arg, e);
    pool_give(v->console->pool, v->pg);
    return rc == 0 && v->out.failed ? err_set(e, -EOVERFLOW, "the answer is too long: ask for less")
                                    : rc;
}

void console_answer_as(const struct console *c, struct http_request *r,
                       const struct console_form *form, void *arg)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    struct visit v = {.console = c,
                      .http = r,
                      .a = a,
                      .tenant = slice_of(c->settings->tenant),
                      .now_ms = clock_now_ms(),
                      .out = BUF_INIT(ANSWER_MAX)};
    struct err e = {0};

    int rc = a ? attempt(&v, form->answer, arg, &e) : err_set(&e, -EBUSY, "out of memory");
    if (rc == -ENOTCONN) /* the server was restarted since the connection was last used */
        rc = attempt(&v, form->answer, arg, &e);
    http_reply_header(r, "Cache-Control", "no-store");
    if (rc < 0)
        refuse(&v, form, arg, rc, &e);
    else
        http_reply(r, v.status, form->type, buf_str(&v.out), v.out.len);
    buf_release(&v.out);
}

void console_answer(const struct console *c, struct http_request *r,
                    int (*answer)(struct visit *v, void *arg, struct err *e), void *arg)
{
    const struct console_form json = {.answer = answer};

    console_answer_as(c, r, &json, arg);
}
