/*
 * The console: what happened and what is open, for people and their tools, from Postgres.
 *
 * A handler answers in three steps: read the parameters (refuse with 400), run its queries on a
 * pooled connection, write JSON. Reads hold no locks; acts go through common/incident.h.
 */
#pragma once

#include "common/httpd.h"
#include "common/settings.h"
#include "console/out.h"
#include "console/pool.h"

struct console {
    const struct settings *settings;
    struct pool *pool;
};

extern const struct http_route console_routes[]; /* ctx of each handler: struct console */

/* One request at work. */
struct visit {
    const struct console *console;
    struct http_request *http;
    struct arena *a; /* bounded, gone after the answer */
    struct pg *pg;
    struct slice tenant;
    int64_t now_ms;
    struct buf out;
    unsigned status; /* 200 unless the answer says otherwise */
};

/*
 * Run `answer` on a connection and send what it wrote as 200; a lost connection is tried once
 * more, from the start. Negative results become an error answer: -ENOENT 404, -EINVAL 400, -EPERM
 * 409 (not possible in this state), -ENOTCONN and -EBUSY 503, others 500 and a log line.
 */
void console_answer(const struct console *c, struct http_request *r,
                    int (*answer)(struct visit *v, void *arg, struct err *e), void *arg);

/* An answer that is not JSON. */
struct console_form {
    const char *type; /* Content-Type of what `answer` writes */
    int (*answer)(struct visit *v, void *arg, struct err *e);
    /* The same of a failure, which has its status already; the connection may be lost. */
    void (*refuse)(struct visit *v, void *arg, int rc);
};
void console_answer_as(const struct console *c, struct http_request *r,
                       const struct console_form *form, void *arg);
