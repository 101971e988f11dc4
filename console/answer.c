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

static void refuse(struct http_request *r, int rc, const struct err *e)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        if (failures[i].code != rc)
            continue;
        if (failures[i].status == 503)
            http_reply_header(r, "Retry-After", "5");
        http_reply_error(r, failures[i].status, failures[i].slug, "%s", e->msg);
        return;
    }
    /* The words are for the log: they may tell more of the database than a stranger should know. */
    log_error(EV("answer_failed"), KV("path", http_path(r)), KV("reason", e->msg));
    http_reply_error(r, 500, "internal",
                     "this cannot be answered now; the log of the console says why");
}

static int attempt(struct visit *v, int (*answer)(struct visit *v, void *arg, struct err *e),
                   void *arg, struct err *e)
{
    int rc = pool_take(v->console->pool, &v->pg, e);

    if (rc < 0)
        return rc;
    buf_reset(&v->out);
    arena_reset(v->a);
    rc = answer(v, arg, e);
    pool_give(v->console->pool, v->pg);
    return rc == 0 && v->out.failed ? err_set(e, -EOVERFLOW, "the answer is too long: ask for less")
                                    : rc;
}

void console_answer(const struct console *c, struct http_request *r,
                    int (*answer)(struct visit *v, void *arg, struct err *e), void *arg)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    struct visit v = {.console = c,
                      .http = r,
                      .a = a,
                      .tenant = slice_of(c->settings->tenant),
                      .now_ms = clock_now_ms(),
                      .out = BUF_INIT(ANSWER_MAX)};
    struct err e = {0};

    int rc = a ? attempt(&v, answer, arg, &e) : err_set(&e, -EBUSY, "out of memory");
    if (rc == -ENOTCONN) /* the server was restarted since the connection was last used */
        rc = attempt(&v, answer, arg, &e);
    http_reply_header(r, "Cache-Control", "no-store");
    if (rc < 0)
        refuse(r, rc, &e);
    else
        http_reply(r, 200, NULL, buf_str(&v.out), v.out.len);
    buf_release(&v.out);
}
