#include "common/httpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/httpd_impl.h"
#include "common/listen.h"

#define IDLE_DEFAULT_MS (75 * MS_SECOND)
#define BUFFERED_DEFAULT ((size_t)256 << 20)
#define POOL_MAX 256                 /* idle request structs kept */
#define BODY_KEEP ((size_t)64 << 10) /* a larger body buffer is not kept with them */
#define MHD_CONNECTION_MEMORY ((size_t)32 << 10)

/* --- requests --- */

static void request_release(struct http_request *r)
{
    arena_free(r->arena);
    buf_release(&r->body);
    free(r);
}

static struct http_request *request_alloc(struct httpd *h)
{
    struct http_request *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->arena = arena_new(4 * h->max_body + ((size_t)256 << 10));
    if (!r->arena) {
        free(r);
        return NULL;
    }
    return r;
}

static struct http_request *request_new(struct httpd *h, struct conn *c)
{
    struct http_request *r;

    (void)pthread_mutex_lock(&h->lock);
    r = h->pool;
    if (r) {
        h->pool = r->next;
        h->pooled--;
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (!r)
        r = request_alloc(h);
    if (!r)
        return NULL;

    *r = (struct http_request){.h = h, .conn = c, .arena = r->arena, .body = r->body};
    (void)pthread_mutex_lock(&h->lock);
    c->request = r;
    h->active++;
    (void)pthread_mutex_unlock(&h->lock);
    return r;
}

static void request_free(struct http_request *r)
{
    struct httpd *h = r->h;
    bool keep;

    if (http_answered(r) && r->response)
        MHD_destroy_response(r->response);
    atomic_fetch_sub(&h->buffered, r->charged);
    arena_reset(r->arena);
    if (r->body.size > BODY_KEEP)
        buf_release(&r->body);
    buf_reset(&r->body);

    (void)pthread_mutex_lock(&h->lock);
    r->conn->request = NULL;
    keep = h->pooled < POOL_MAX;
    if (keep) {
        r->next = h->pool;
        h->pool = r;
        h->pooled++;
    }
    if (--h->active == 0)
        (void)pthread_cond_broadcast(&h->wake);
    (void)pthread_mutex_unlock(&h->lock);
    if (!keep)
        request_release(r);
}

static enum MHD_Result queue(struct http_request *r)
{
    const unsigned class = r->status / 100;
    enum MHD_Result ret = MHD_NO;

    r->queued = true;
    if (!conn_deadline(r->conn, clock_monotonic_ms() + r->h->deadline_ms, true))
        return MHD_NO;
    if (r->response)
        ret = MHD_queue_response(r->mc, r->status, r->response);
    counter_add(r->h->answers[class < 6 ? class : 0], 1);
    histogram_observe(r->h->seconds, (double)(clock_monotonic_ms() - r->since) / 1000);
    return ret;
}

/* Our code runs between these; httpd_finish() waits at the gate for its end. */
static bool gate_enter(struct http_request *r)
{
    if (!atomic_load(&r->h->closing)) {
        (void)pthread_rwlock_rdlock(&r->h->gate);
        if (!atomic_load(&r->h->closing))
            return true;
        (void)pthread_rwlock_unlock(&r->h->gate);
    }
    r->close_now = true;
    http_reply_error(r, 503, "stopping", "the service is stopping");
    return false;
}

static void gate_leave(struct http_request *r)
{
    (void)pthread_rwlock_unlock(&r->h->gate);
}

static void refuse_length(struct http_request *r)
{
    http_reply_error(r, 413, "too_large", "the body is larger than %zu bytes", r->max_body);
}

static bool expects_continue(const struct http_request *r)
{
    const char *expect = http_header(r, "Expect");

    return expect && strcasecmp(expect, "100-continue") == 0;
}

/* The headers are there, the body is not. */
static enum MHD_Result begin(struct http_request *r, const char *method, const char *version)
{
    const char *wrong;
    int64_t length;

    r->begun = true;
    r->method = method;
    r->max_body = r->h->max_body;
    wrong = http_shape_check(r->mc, method, r->raw_uri, r->uri, version, &length);
    if (wrong) {
        r->close_now = true;
        http_reply_error(r, 400, "bad_request", "%s", wrong);
        return queue(r);
    }
    http_route_find(r);
    if (!http_answered(r) && gate_enter(r)) {
        if (r->route->admit)
            r->route->admit(r->route_ctx, r);
        gate_leave(r);
    }
    if (!http_answered(r) && length > 0 && (uint64_t)length > r->max_body)
        refuse_length(r);
    if (http_answered(r) && length != 0 &&
        (expects_continue(r) || (length > 0 && (uint64_t)length > HTTP_DRAIN_MAX)))
        r->close_now = true;
    return http_answered(r) && r->close_now ? queue(r) : MHD_YES;
}

static enum MHD_Result take_body(struct http_request *r, const char *p, size_t len)
{
    struct httpd *h = r->h;

    if (!http_answered(r) && len > r->max_body - r->body.len)
        refuse_length(r);
    if (!http_answered(r)) {
        r->charged += len;
        if (atomic_fetch_add(&h->buffered, len) + len > h->max_buffered)
            http_reply_error(r, 503, "overloaded", "too many bytes are waiting");
    }
    if (http_answered(r)) {
        r->drained += len;
        return r->drained > HTTP_DRAIN_MAX ? MHD_NO : MHD_YES;
    }
    r->body.max = r->max_body;
    buf_add(&r->body, p, len);
    if (r->body.failed)
        http_reply_error(r, 503, "overloaded", "out of memory");
    return MHD_YES;
}

/* The whole request is there; comes again after a deferred answer. */
static enum MHD_Result finish(struct http_request *r)
{
    if (r->queued)
        return MHD_YES;
    if (!r->handled && !http_answered(r)) {
        r->handled = true;
        if (!conn_deadline(r->conn, 0, false)) /* the handler takes the time it takes */
            return MHD_NO;
        if (gate_enter(r)) {
            r->route->handle(r->route_ctx, r);
            gate_leave(r);
        }
        if (atomic_load_explicit(&r->deferred, memory_order_relaxed))
            return MHD_YES; /* perhaps answered by now, on another thread: hands off */
        if (!http_answered(r))
            http_reply_error(r, 500, "internal", "the request got no answer");
    }
    return http_answered(r) ? queue(r) : MHD_NO;
}

/* NOLINTNEXTLINE(readability-function-size): the library wants eight parameters */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mc, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **con_cls)
{
    struct http_request *r = *con_cls;
    const size_t len = *upload_size;

    (void)cls;
    (void)mc;
    (void)url;
    if (!r)
        return MHD_NO;
    if (!r->begun)
        return begin(r, method, version);
    if (len == 0)
        return finish(r);
    *upload_size = 0;
    return take_body(r, upload, len);
}

/* Called with the raw request line, before the server decodes and cuts it. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mc)
{
    struct httpd *h = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mc, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *c = info ? info->socket_context : NULL;
    struct http_request *r = c ? request_new(h, c) : NULL;

    if (!r)
        return NULL;
    r->mc = mc;
    r->since = clock_monotonic_ms();
    r->raw_uri = uri;
    r->uri = uri ? arena_strndup(r->arena, uri, strlen(uri)) : NULL;
    (void)conn_deadline(c, r->since + h->deadline_ms, false);
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *mc, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct httpd *h = cls;
    struct http_request *r = *con_cls;

    (void)mc;
    (void)code;
    if (!r)
        return;
    (void)conn_deadline(r->conn, clock_monotonic_ms() + h->idle_ms, true);
    *con_cls = NULL;
    request_free(r);
}

/* Paths and queries are ours to decode, once. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mc, char *s)
{
    (void)cls;
    (void)mc;
    return strlen(s);
}

/* --- the server --- */

static void metrics_open(struct httpd *h)
{
    static const char *const labels[] = {"code=\"other\"", "code=\"1xx\"", "code=\"2xx\"",
                                         "code=\"3xx\"",   "code=\"4xx\"", "code=\"5xx\""};

    for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++)
        h->answers[i] = counter_new("tocsin_http_requests_total",
                                    "HTTP requests answered, by class of status.", labels[i]);
    h->connections = gauge_new("tocsin_http_connections", "Open HTTP connections.", "");
    h->seconds =
        histogram_new("tocsin_http_request_seconds", "From the request line to the answer.", "",
                      latency_bounds, latency_bound_n);
}

static int threads_open(struct httpd *h, struct err *e)
{
    pthread_rwlockattr_t writer_first;
    pthread_condattr_t monotonic;
    int r;

    (void)pthread_rwlockattr_init(&writer_first);
    (void)pthread_rwlockattr_setkind_np(&writer_first,
                                        PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&h->gate, &writer_first);
    (void)pthread_rwlockattr_destroy(&writer_first);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&h->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&h->lock, NULL);
    r = pthread_create(&h->reaper, NULL, conn_reaper, h);
    return r ? err_set(e, -r, "cannot start a thread: %s", strerror(r)) : 0;
}

static void threads_close(struct httpd *h)
{
    (void)pthread_mutex_lock(&h->lock);
    h->stopping = true;
    (void)pthread_cond_broadcast(&h->wake);
    (void)pthread_mutex_unlock(&h->lock);
    (void)pthread_join(h->reaper, NULL);
}

static void httpd_free(struct httpd *h)
{
    struct http_request *next;

    for (struct http_request *r = h->pool; r; r = next) {
        next = r->next;
        request_release(r);
    }
    if (h->listen_fd >= 0)
        (void)close(h->listen_fd);
    (void)pthread_cond_destroy(&h->wake);
    (void)pthread_mutex_destroy(&h->lock);
    (void)pthread_rwlock_destroy(&h->gate);
    free(h);
}

/* Strictness towards clients is http_shape.c's: the library's refuses in HTML, or without a word.
 */
static struct MHD_Daemon *daemon_start(struct httpd *h, const struct httpd_options *o)
{
    const unsigned threads = o->threads ? o->threads : 2;
    unsigned connections = o->connections ? o->connections : 128;

    if (connections < threads)
        connections = threads;
    return MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, h->port, NULL, NULL, on_request, h,
        MHD_OPTION_LISTEN_SOCKET, h->listen_fd, MHD_OPTION_THREAD_POOL_SIZE, threads,
        MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        MHD_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_STRICT_FOR_CLIENT, 0,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, conn_notify, h,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, h,
        MHD_OPTION_END);
}

int httpd_start(const struct httpd_options *o, const struct http_route *routes, void *ctx,
                const struct http_route *more, void *more_ctx, struct httpd **ret, struct err *e)
{
    struct httpd *h = calloc(1, sizeof(*h));
    int r;

    if (!h)
        return err_set(e, -ENOMEM, "out of memory");
    h->tables[0].routes = routes;
    h->tables[0].ctx = ctx;
    h->tables[1].routes = more;
    h->tables[1].ctx = more_ctx;
    h->deadline_ms = o->request_deadline_ms > 0 ? o->request_deadline_ms : 10 * MS_SECOND;
    h->idle_ms = o->idle_ms > 0 ? o->idle_ms : IDLE_DEFAULT_MS;
    h->max_body = o->max_body;
    h->max_buffered = o->max_buffered ? o->max_buffered : BUFFERED_DEFAULT;
    h->listen_fd = -1;
    metrics_open(h);
    if ((r = listen_open(o->listen, &h->listen_fd, &h->port, e)) < 0) {
        free(h);
        return r;
    }
    if ((r = threads_open(h, e)) < 0) {
        httpd_free(h);
        return r;
    }
    h->daemon = daemon_start(h, o);
    if (!h->daemon) {
        threads_close(h);
        httpd_free(h);
        return err_set(e, -EIO, "libmicrohttpd does not start on %s", o->listen);
    }
    h->listen_fd = -1; /* the daemon's now */
    *ret = h;
    return 0;
}

uint16_t httpd_port(const struct httpd *h)
{
    return h->port;
}

void httpd_quiesce(struct httpd *h)
{
    const int fd = h->listen_fd < 0 ? MHD_quiesce_daemon(h->daemon) : -1;

    if (fd >= 0)
        h->listen_fd = fd;
}

bool httpd_finish(struct httpd *h, int64_t timeout_ms)
{
    const struct timespec until = in_ms(timeout_ms);
    bool done;

    atomic_store(&h->closing, true);
    (void)pthread_rwlock_wrlock(&h->gate);
    (void)pthread_rwlock_unlock(&h->gate);
    (void)pthread_mutex_lock(&h->lock);
    while (h->active > 0 && pthread_cond_timedwait(&h->wake, &h->lock, &until) == 0)
        continue;
    done = h->active == 0;
    (void)pthread_mutex_unlock(&h->lock);
    return done;
}

static void answer_leftovers(struct httpd *h)
{
    (void)pthread_mutex_lock(&h->lock);
    for (struct conn *c = h->conns; c; c = c->next)
        if (c->request && atomic_load_explicit(&c->request->deferred, memory_order_acquire))
            http_reply_error(c->request, 503, "stopping", "the service is stopping");
    (void)pthread_mutex_unlock(&h->lock);
}

void httpd_stop(struct httpd *h)
{
    if (!h)
        return;
    (void)httpd_finish(h, 0);
    answer_leftovers(h);
    threads_close(h);
    MHD_stop_daemon(h->daemon);
    httpd_free(h);
}
