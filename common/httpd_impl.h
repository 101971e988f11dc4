/* What the files of the HTTP server share: httpd.c (the server), http_conn.c (connections and their
 * deadlines), http_request.c (routes, accessors, answers), http_shape.c. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/httpd.h"
#include "common/metrics.h"

/* A refused request's body is read and dropped up to here, so that its sender reads our answer and
 * not a reset. */
#define HTTP_DRAIN_MAX ((uint64_t)16 << 20)
#define HTTP_SEGMENTS_MAX 32
#define HTTP_PARAMS_MAX 8
#define HTTP_QUERY_MAX 64

struct http_pair {
    const char *name, *value;
    size_t name_len;
};

/*
 * One TCP connection. `cut_at` is the monotonic ms at which the reaper ends it, doubled, plus one
 * when it is ended without a word; 0: not now; CONN_CUT: it was. One atomic, so that a deadline and
 * the request's progress cannot miss each other.
 */
#define CONN_CUT INT64_C(-1)
struct conn {
    int fd;
    _Atomic int64_t cut_at;
    struct http_request *request; /* under httpd.lock */
    struct conn *prev, *next;
};

struct httpd {
    struct MHD_Daemon *daemon;
    struct {
        const struct http_route *routes;
        void *ctx;
    } tables[2];
    int64_t deadline_ms, idle_ms;
    size_t max_body, max_buffered;
    uint16_t port;
    int listen_fd; /* ours again after httpd_quiesce() */

    pthread_rwlock_t gate; /* read: a handler runs; write: httpd_finish() */
    _Atomic bool closing;
    _Atomic size_t buffered;

    pthread_mutex_t lock;
    pthread_cond_t wake; /* the reaper, and httpd_finish() */
    struct conn *conns;
    struct http_request *pool;
    size_t pooled, active;
    bool stopping;
    pthread_t reaper;

    struct counter *answers[6]; /* by first digit of the status */
    struct gauge *connections;
    struct histogram *seconds;
};

struct http_request {
    struct httpd *h;
    struct conn *conn;
    struct MHD_Connection *mc;
    struct arena *arena;
    struct buf body;
    size_t charged; /* to httpd.buffered */
    int64_t since;  /* monotonic ms of the request line */

    const char *raw_uri, *uri; /* MHD's own bytes, and our copy from before MHD cut it */
    const char *method, *path;
    const struct http_route *route;
    void *route_ctx;
    struct http_pair params[HTTP_PARAMS_MAX], *query;
    size_t param_n, query_n;

    size_t max_body;
    uint64_t drained;
    bool begun, handled, queued;
    bool close_now; /* the framing cannot be trusted, or there is too much to drain */
    void *data;

    _Atomic bool deferred, answered;
    unsigned status;
    struct MHD_Response *response; /* valid once answered */
    struct http_reply_header {
        const char *name, *value;
        struct http_reply_header *next;
    } * reply_headers;
    struct http_request *next; /* in the pool */
};

/* False: the reaper has cut it. `ms` 0: no deadline; `quiet`: without a 408. */
bool conn_deadline(struct conn *c, int64_t ms, bool quiet);
void conn_notify(void *httpd, struct MHD_Connection *mc, void **socket_context,
                 enum MHD_ConnectionNotificationCode code);
void *conn_reaper(void *httpd); /* a thread; until httpd.stopping */
/* The monotonic moment `ms` from now. */
struct timespec in_ms(int64_t ms);

/* NULL when the headers are sound, else what is wrong with them. Fills *ret_length: -1 chunked, 0
 * without a body. `uri`: a copy from before the library cut `raw_uri`; NULL: there was no room. */
const char *http_shape_check(struct MHD_Connection *mc, const char *method, const char *raw_uri,
                             const char *uri, const char *version, int64_t *ret_length) MUST_CHECK;

/* Path, query and route from r->uri; answers 400, 404 or 405 itself. */
void http_route_find(struct http_request *r);
