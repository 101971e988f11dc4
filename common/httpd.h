/*
 * HTTP server on libmicrohttpd: a pool of poll(2) threads (its epoll mode stalls at 128 busy
 * connections).
 *
 * Requests are refused early: method and route, header shapes that smuggle (two lengths, a length
 * with Transfer-Encoding, two Hosts, NUL, bare LF, space before the colon), Content-Length against
 * the cap: all before the body is buffered. A request has a wall-clock deadline from its first
 * byte, so a slow sender cannot hold a connection for ever. Answers may come later and from any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/slice.h"

struct httpd;
struct http_request;

/*
 * `admit` runs when the headers are there and the body is not: it may answer (refuse) or set the
 * body's cap. NULL: the server's cap. `handle` runs with the whole body. Each must either answer
 * with one of http_reply*(), or (handle only) call http_defer() and have somebody answer later.
 * Both run on server threads, many at once.
 */
struct http_route {
    const char *method; /* "GET" also serves HEAD; NULL ends a table */
    /* "/webhook/{source}/{token}", or a prefix "/assets/" and a star: the rest is parameter "*" */
    const char *pattern;
    void (*admit)(void *ctx, struct http_request *r);
    void (*handle)(void *ctx, struct http_request *r);
};

struct httpd_options {
    const char *listen; /* "127.0.0.1:9000", "[::1]:9000", ":9000" for all addresses */
    uint32_t threads, connections;
    size_t max_body;
    int64_t request_deadline_ms;
    int64_t idle_ms;     /* a kept-alive connection without request; 0: 75 s */
    size_t max_buffered; /* bytes of all bodies at a time, 503 past it; 0: 256 MiB */
};

/* Tables are tried in order; `routes` and the second table (may be NULL) must outlive the server.
 * -EADDRINUSE says who, as far as can be told. */
int httpd_start(const struct httpd_options *o, const struct http_route *routes, void *ctx,
                const struct http_route *more, void *more_ctx, struct httpd **ret,
                struct err *e) MUST_CHECK;
/* Stop accepting; connections at work go on. */
void httpd_quiesce(struct httpd *h);
/* Answer new requests with 503 and run no handler from now on; returns when none runs, and when
 * every request at work was answered and written or `timeout_ms` has passed. False: some are left.
 * After it what the handlers used may be freed. */
bool httpd_finish(struct httpd *h, int64_t timeout_ms);
/* Waits for nothing; a deferred request that is left gets 503, so nobody may answer any more. NULL
 * is a no-op. */
void httpd_stop(struct httpd *h);
uint16_t httpd_port(const struct httpd *h); /* the real one when listen said port 0 */

/* Everything returned lives until the request is answered. */
struct arena *
http_arena(struct http_request *r); /* bounded; for the handler's use on its own thread */
const char *http_method(const struct http_request *r);
const struct http_route *http_matched(const struct http_request *r); /* the table's own */
const char *http_path(const struct http_request *r);                 /* percent-decoded once */
const char *http_param(const struct http_request *r,
                       const char *name); /* of the pattern; NULL when it has none */
const char *http_query(const struct http_request *r,
                       const char *name);                     /* decoded; NULL when absent */
struct slice http_query_string(const struct http_request *r); /* raw, without the question mark */
/* The first name in the query that is none of `known`, a NULL-terminated list; {NULL, 0}: there is
 * none. */
struct slice http_query_other(const struct http_request *r, const char *const *known);
const char *http_header(const struct http_request *r,
                        const char *name); /* any case; NULL when absent */
struct slice http_body(const struct http_request *r);
void http_set_max_body(struct http_request *r, size_t max); /* from admit() */
/* A pointer of the handler's own, e.g. from admit() to handle(). */
void http_set_data(struct http_request *r, void *data);
void *http_data(const struct http_request *r);

/* Exactly one answer per request; from any thread after http_defer(). The body is copied.
 * content_type NULL: application/json. */
void http_reply(struct http_request *r, unsigned status, const char *content_type, const void *body,
                size_t len);
/* {"error":{"code":CODE,"message":...}} */
void http_reply_error(struct http_request *r, unsigned status, const char *code, const char *fmt,
                      ...) PRINTF_LIKE(4, 5);
/* Before the answer; both are copied. */
void http_reply_header(struct http_request *r, const char *name, const char *value);
/* Suspend: the answer comes later. Must be the handler's last touch of the request before somebody
 * else may answer it: call it BEFORE handing the request to another thread. */
void http_defer(struct http_request *r);
bool http_answered(const struct http_request *r);
