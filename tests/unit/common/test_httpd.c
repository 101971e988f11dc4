#include "testing.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/httpd.h"

#define BODY_MAX 1000

/* --- a service: it echoes, refuses, and answers late from a thread of its own --- */

struct late {
    struct http_request *r;
    struct late *next;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct late *queue;
    bool stop, hold;
    pthread_t thread;
    atomic_uint handled;
} app = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void *answer_late(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&app.lock);
    for (;;) {
        struct late *l = app.hold ? NULL : app.queue;

        if (!l && app.stop)
            break;
        if (!l) {
            (void)pthread_cond_wait(&app.wake, &app.lock);
            continue;
        }
        app.queue = l->next;
        (void)pthread_mutex_unlock(&app.lock);
        http_reply_header(l->r, "X-Late", "yes");
        http_reply(l->r, 202, "text/plain", "late", 4);
        free(l);
        (void)pthread_mutex_lock(&app.lock);
    }
    (void)pthread_mutex_unlock(&app.lock);
    return NULL;
}

static void hold(bool on)
{
    (void)pthread_mutex_lock(&app.lock);
    app.hold = on;
    (void)pthread_cond_signal(&app.wake);
    (void)pthread_mutex_unlock(&app.lock);
}

static void on_late(void *ctx, struct http_request *r)
{
    struct late *l = malloc(sizeof(*l));

    (void)ctx;
    atomic_fetch_add(&app.handled, 1);
    http_defer(r);
    (void)pthread_mutex_lock(&app.lock);
    if (l) {
        *l = (struct late){r, app.queue};
        app.queue = l;
    }
    (void)pthread_cond_signal(&app.wake);
    (void)pthread_mutex_unlock(&app.lock);
}

static void on_echo(void *ctx, struct http_request *r)
{
    const struct slice body = http_body(r);

    (void)ctx;
    atomic_fetch_add(&app.handled, 1);
    http_reply(r, 200, "text/plain", body.p, body.len);
}

static void on_show(void *ctx, struct http_request *r)
{
    const char *q = http_query(r, "q"), *none = http_query(r, "none"),
               *x = http_header(r, "x-test");
    const struct slice raw = http_query_string(r);
    const char *text = arena_printf(
        http_arena(r), "%s %s a=%s b=%s q=%s none=%s x=%s ctx=%s raw=%.*s", http_method(r),
        http_path(r), http_param(r, "a"), http_param(r, "b") ? http_param(r, "b") : "-",
        q ? q : "-", none ? none : "-", x ? x : "-", (const char *)ctx, SLICE_FMT(raw));

    http_reply(r, 200, "text/plain", text, strlen(text));
}

static void on_rest(void *ctx, struct http_request *r)
{
    const char *rest = http_param(r, "*");

    (void)ctx;
    http_reply(r, 200, "text/plain", rest, strlen(rest));
}

static void on_nothing(void *ctx, struct http_request *r)
{
    (void)ctx;
    (void)r;
}

static void admit_small(void *ctx, struct http_request *r)
{
    static char data[] = "from admit";

    (void)ctx;
    http_set_max_body(r, 10);
    http_set_data(r, data);
}

static void on_data(void *ctx, struct http_request *r)
{
    const char *data = http_data(r);

    (void)ctx;
    http_reply(r, 200, "text/plain", data, strlen(data));
}

static void admit_never(void *ctx, struct http_request *r)
{
    (void)ctx;
    http_reply_error(r, 401, "unauthorized", "say \"%s\"", "please");
}

static const struct http_route routes[] = {
    {"POST", "/echo", NULL, on_echo},         {"POST", "/late", NULL, on_late},
    {"GET", "/show/{a}", NULL, on_show},      {"GET", "/show/{a}/{b}", NULL, on_show},
    {"PUT", "/show/{a}", NULL, on_show},      {"GET", "/files/*", NULL, on_rest},
    {"POST", "/small", admit_small, on_data}, {"POST", "/never", admit_never, on_echo},
    {"GET", "/nothing", NULL, on_nothing},    {NULL, NULL, NULL, NULL},
};

static const struct http_route more[] = {
    {"GET", "/more/{a}", NULL, on_show},
    {NULL, NULL, NULL, NULL},
};

static struct httpd *serve(int64_t deadline_ms, uint32_t connections)
{
    const struct httpd_options o = {.listen = "127.0.0.1:0",
                                    .threads = 4,
                                    .connections = connections,
                                    .max_body = BODY_MAX,
                                    .request_deadline_ms = deadline_ms};
    static char first[] = "first", second[] = "second";
    struct httpd *h = NULL;
    struct err e = {0};

    if (httpd_start(&o, routes, first, more, second, &h, &e) < 0)
        fail_msg("%s", e.msg);
    return h;
}

/* --- a client that writes raw bytes --- */

static int dial(const struct httpd *h)
{
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(httpd_port(h))};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void say_bytes(int fd, const char *p, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        assert_true(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* All bytes until the server closes. */
static void hear_all(int fd, struct buf *b)
{
    char chunk[4096];
    ssize_t n;

    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        buf_add(b, chunk, (size_t)n);
}

struct answer {
    unsigned status;
    char head[2048], body[2048];
};

/* One answer of a kept-alive connection; status 0 when the server closed instead. */
static struct answer hear(int fd)
{
    struct answer a = {0};
    size_t n = 0, len = 0;
    const char *length;

    while (n < sizeof(a.head) - 1 && !strstr(a.head, "\r\n\r\n")) {
        if (recv(fd, a.head + n, 1, 0) != 1)
            return (struct answer){0};
        n++;
    }
    a.status = (unsigned)strtoul(a.head + strlen("HTTP/1.1 "), NULL, 10);
    length = strstr(a.head, "Content-Length: ");
    if (length)
        len = strtoul(length + strlen("Content-Length: "), NULL, 10);
    assert_true(len < sizeof(a.body));
    if (len > 0)
        assert_int_equal(recv(fd, a.body, len, MSG_WAITALL), len);
    return a;
}

static struct answer ask(const struct httpd *h, const char *request)
{
    const int fd = dial(h);
    struct answer a;

    say(fd, request);
    a = hear(fd);
    (void)close(fd);
    return a;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nX-Test: t\r\n\r\n"
#define POST(path, len, body)                                                                      \
    "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Length: " len "\r\n\r\n" body

/* --- tests --- */

static int start_app(void **state)
{
    (void)state;
    app.stop = app.hold = false;
    atomic_store(&app.handled, 0);
    return pthread_create(&app.thread, NULL, answer_late, NULL);
}

static int stop_app(void **state)
{
    (void)state;
    (void)pthread_mutex_lock(&app.lock);
    app.stop = true;
    app.hold = false;
    (void)pthread_cond_signal(&app.wake);
    (void)pthread_mutex_unlock(&app.lock);
    return pthread_join(app.thread, NULL);
}

static void routing(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
        const char *body; /* NULL: any */
    } cases[] = {
        {GET("/show/one?q=a%20b+c&x=1"), 200,
         "GET /show/one a=one b=- q=a b c none=- x=t ctx=first raw=q=a%20b+c&x=1"},
        {GET("/show/%E4%BD%A0/b%2Fc"), 200,
         "GET /show/\xe4\xbd\xa0/b/c a=\xe4\xbd\xa0 b=b/c q=- none=- x=t ctx=first raw="},
        {GET("/more/m?q="), 200, "GET /more/m a=m b=- q= none=- x=t ctx=second raw=q="},
        {GET("/more/%2541"), 200, "GET /more/%41 a=%41 b=- q=- none=- x=t ctx=second raw="},
        {GET("/files/a/b%20c.js"), 200, "a/b c.js"},
        {GET("/files/"), 200, ""},
        {GET("/files/../secret"), 400, NULL},
        {GET("/files/%2e%2e/secret"), 400, NULL},
        {GET("/show/a%00b"), 400, NULL},
        {GET("/show/a%0db"), 400, NULL},
        {GET("/show/a%2"), 400, NULL},
        {GET("/show/a%zz"), 400, NULL},
        {GET("/show/a?q=%00"), 400, NULL},
        {GET("/show/"), 404, NULL},
        {GET("/show/a/b/c"), 404, NULL},
        {GET("/shows/a"), 404,
         "{\"error\":{\"code\":\"not_found\",\"message\":\"there is nothing at /shows/a\"}}\n"},
        {GET("http://x/show/a"), 400, NULL},
        {GET("/nothing"), 500,
         "{\"error\":{\"code\":\"internal\",\"message\":\"the request got no answer\"}}\n"},
    };
    struct httpd *h = serve(10000, 64);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct answer a = ask(h, cases[i].request);

        assert_int_equal(a.status, cases[i].status);
        if (cases[i].body)
            assert_string_equal(a.body, cases[i].body);
    }
    httpd_stop(h);
}

static void wrong_method_names_the_right_ones(void **state)
{
    struct httpd *h = serve(10000, 64);
    const struct answer a = ask(h, "DELETE /show/a HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_int_equal(a.status, 405);
    assert_non_null(strstr(a.head, "\r\nAllow: GET, HEAD, PUT\r\n"));
    assert_non_null(strstr(a.body, "\"method_not_allowed\""));
    assert_non_null(strstr(a.body, "DELETE is not possible here; GET, HEAD, PUT are"));
    httpd_stop(h);
}

static void head_has_no_body(void **state)
{
    struct httpd *h = serve(10000, 64);
    const int fd = dial(h);
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);

    (void)state;
    say(fd, "HEAD /files/abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    hear_all(fd, &b);
    assert_non_null(strstr(buf_str(&b), "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(buf_str(&b), "Content-Length: 3\r\n"));
    assert_string_equal(strstr(buf_str(&b), "\r\n\r\n"), "\r\n\r\n");
    (void)close(fd);
    httpd_stop(h);
}

static void keep_alive_and_pipelining(void **state)
{
    struct httpd *h = serve(10000, 64);
    const int fd = dial(h);
    struct answer a;

    (void)state;
    for (int i = 0; i < 100; i++) {
        say(fd, POST("/echo", "3", "abc"));
        a = hear(fd);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "abc");
    }
    say(fd,
        POST("/echo", "1", "1") POST("/late", "1", "2") GET("/files/3") POST("/echo", "1", "4"));
    assert_string_equal(hear(fd).body, "1");
    a = hear(fd);
    assert_int_equal(a.status, 202);
    assert_string_equal(a.body, "late");
    assert_non_null(strstr(a.head, "\r\nX-Late: yes\r\n"));
    assert_string_equal(hear(fd).body, "3");
    assert_string_equal(hear(fd).body, "4");
    (void)close(fd);
    httpd_stop(h);
}

/* What another server might read differently is refused, and the connection with it. */
static void smuggling_shapes(void **state)
{
#define SHAPE(bytes) bytes, sizeof(bytes) - 1
    static const struct {
        const char *p;
        size_t len;
    } cases[] = {
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
               "chunked\r\n\r\n0\r\n\r\n")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: "
               "4\r\n\r\nabcd")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: "
               "3\r\n\r\nabc")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length:\t 3\r\nX :y\r\n\r\nabc")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, "
               "chunked\r\n\r\n0\r\n\r\n")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")},
        {SHAPE("POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX-Test: a\0b\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX-Test: a\0b\r\nX-Other: c\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX-Te\0st: a\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\n\0Content-Length: 3\r\n\r\n")},
        {SHAPE("GET /files/a\0b HTTP/1.1\r\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\0x\r\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX-Test: a\r\n b\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX-Test: a\r\n\tContent-Length: 3\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX-Test: a\rb\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\nHost: x\n\n")},
        {SHAPE("GET /files/a HTTP/1.1\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\n\n")},
        {SHAPE("POST /echo HTTP/1.1\r\nHost: x\r\nX-Test: a\nContent-Length: 3\r\n\r\nabc")},
        {SHAPE("GET /files/a?b=\001 HTTP/1.1\r\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1\r\nHost: x\r\nX(Test: a\r\n\r\n")},
        {SHAPE("GET  /files/a HTTP/1.1\r\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a b HTTP/1.1\r\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.1 \r\nHost: x\r\n\r\n")},
        {SHAPE("GET /files/a HTTP/1.7\r\nHost: x\r\n\r\n")},
        {SHAPE("GE(T /files/a HTTP/1.1\r\nHost: x\r\n\r\n")},
    };
#undef SHAPE
    struct httpd *h = serve(10000, 64);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(buf_release) struct buf b = BUF_INIT(8192);
        const int fd = dial(h);

        say_bytes(fd, cases[i].p, cases[i].len);
        say(fd, GET("/files/smuggled"));
        hear_all(fd, &b); /* ends only because the server closes */
        if (b.len > 0 && !strstr(buf_str(&b), " 400 ") && !strstr(buf_str(&b), " 505 "))
            fail_msg("shape %zu got: %s", i, buf_str(&b));
        assert_null(strstr(buf_str(&b), "smuggled"));
        (void)close(fd);
    }
    assert_int_equal(atomic_load(&app.handled), 0);
    assert_int_equal(ask(h, GET("/files/a")).status, 200);
    httpd_stop(h);
}

static void sound_shapes(void **state)
{
    static const char chunked[] =
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
        "1\r\na\r\n2\r\nbc\r\n0\r\nX-Trailer: t\r\n\r\n";
    static const char *const good[] = {
        "POST /echo HTTP/1.1\r\nHost:x\r\nContent-Length:3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nContent-Length: \t 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nX-T: a b \r\n\r\nabc",
        "POST /echo?a=b&c HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=d\r\nContent-Length: 3\r\n\r\nabc",
        chunked,
    };
    struct httpd *h = serve(10000, 64);

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        const struct answer a = ask(h, good[i]);

        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "abc");
    }
    httpd_stop(h);
}

/* Headers so long that the server's buffer grows under them. */
static void long_headers(void **state)
{
    struct httpd *h = serve(10000, 64);
    CLEANUP(buf_release) struct buf b = BUF_INIT(65536);
    const int fd = dial(h);
    struct answer a;

    (void)state;
    buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n");
    for (int i = 0; i < 18; i++)
        buf_printf(&b, "X-Long-%d: %01000d\r\n", i, i);
    buf_puts(&b, "\r\nok");
    say_bytes(fd, b.p, 9000);
    (void)poll(NULL, 0, 20);
    say_bytes(fd, b.p + 9000, b.len - 9000);
    a = hear(fd);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "ok");
    (void)close(fd);
    httpd_stop(h);
}

static void say_many(int fd, size_t len)
{
    static const char zeros[4096];

    for (; len > 0; len -= len < sizeof(zeros) ? len : sizeof(zeros))
        say_bytes(fd, zeros, len < sizeof(zeros) ? len : sizeof(zeros));
}

static void too_large(void **state)
{
    struct httpd *h = serve(10000, 64);
    int fd = dial(h);
    struct answer a;

    (void)state;
    /* The whole body is sent before anybody reads: it is drained, the answer arrives, the
     * connection lives. */
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    say_many(fd, 3000000);
    a = hear(fd);
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.body, "\"too_large\""));
    say(fd, POST("/echo", "3", "abc"));
    assert_int_equal(hear(fd).status, 200);
    (void)close(fd);

    /* Announced beyond what we would drain, or asking first: answered at once. */
    a = ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.head, "\r\nConnection: close\r\n"));
    a = ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
               "2000\r\n\r\n");
    assert_int_equal(a.status, 413);

    fd = dial(h);
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1F4000\r\n");
    say_many(fd, 0x1f4000);
    say(fd, "\r\n0\r\n\r\n");
    assert_int_equal(hear(fd).status, 413);
    (void)close(fd);
    assert_int_equal(atomic_load(&app.handled), 1);
    httpd_stop(h);
}

static void exactly_the_cap(void **state)
{
    struct httpd *h = serve(10000, 64);
    char text[BODY_MAX + 200];
    int n = snprintf(text, sizeof(text), POST("/echo", "1000", ""));

    (void)state;
    memset(text + n, 'x', BODY_MAX);
    text[n + BODY_MAX] = '\0';
    assert_int_equal(ask(h, text).status, 200);
    httpd_stop(h);
}

static void admission(void **state)
{
    struct httpd *h = serve(10000, 64);
    struct answer a = ask(h, POST("/small", "10", "0123456789"));

    (void)state;
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "from admit");
    assert_int_equal(ask(h, POST("/small", "11", "0123456789a")).status, 413);
    a = ask(h, POST("/never", "3", "abc"));
    assert_int_equal(a.status, 401);
    assert_string_equal(
        a.body, "{\"error\":{\"code\":\"unauthorized\",\"message\":\"say \\\"please\\\"\"}}\n");
    assert_int_equal(atomic_load(&app.handled), 0);
    httpd_stop(h);
}

/* One byte now and then keeps no connection: neither in the headers nor in the body nor in the
 * request line. */
static void slow_senders_are_cut(void **state)
{
    static const char *const starts[] = {
        "",
        "POST /ec",
        "POST /echo HTTP/1.1\r\nHost: x\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n",
        "POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n",
    };
    struct httpd *h = serve(200, 64);

    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        const int fd = dial(h);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        CLEANUP(buf_release) struct buf b = BUF_INIT(4096);

        say(fd, starts[i]);
        while (poll(&p, 1, 20) == 0)
            if (starts[i][0] && send(fd, "x", 1, MSG_NOSIGNAL) < 0)
                break;
        hear_all(fd, &b);
        if (i >= 2 && b.len > 0)
            assert_non_null(strstr(buf_str(&b), "HTTP/1.1 408 "));
        (void)close(fd);
    }
    assert_int_equal(atomic_load(&app.handled), 0);
    struct answer a;
    do
        a = ask(h, POST("/echo", "3", "abc"));
    while (a.status == 0 || a.status == 408); /* the deadline is for this one, too */
    assert_int_equal(a.status, 200);
    httpd_stop(h);
}

/* The deadline is for senders; an answer may take longer than it. */
static void late_answers_are_not_cut(void **state)
{
    struct httpd *h = serve(1000, 64);
    const int fd = dial(h);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)state;
    hold(true);
    say(fd, POST("/late", "3", "abc"));
    assert_int_equal(poll(&p, 1, 2500), 0);
    hold(false);
    assert_int_equal(hear(fd).status, 202);
    (void)close(fd);
    httpd_stop(h);
}

static void wait_handled(unsigned n)
{
    while (atomic_load(&app.handled) < n)
        (void)poll(NULL, 0, 5);
}

static void disconnects_while_suspended(void **state)
{
    struct httpd *h = serve(10000, 256);

    (void)state;
    hold(true);
    for (int i = 0; i < 100; i++) {
        const int fd = dial(h);
        const struct linger reset = {1, 0};

        say(fd, POST("/late", "3", "abc"));
        if (i % 2)
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        wait_handled((unsigned)i + 1);
        (void)close(fd);
    }
    hold(false);
    assert_int_equal(ask(h, POST("/late", "3", "abc")).status, 202);
    assert_true(httpd_finish(h, 10000));
    httpd_stop(h);
}

/* A stop with suspended requests neither hangs nor aborts. */
static void stop_answers_what_is_left(void **state)
{
    struct httpd *h = serve(10000, 64);
    const int fd = dial(h);
    struct late *left;

    (void)state;
    hold(true);
    say(fd, POST("/late", "3", "abc"));
    wait_handled(1);
    assert_false(httpd_finish(h, 50));
    (void)pthread_mutex_lock(&app.lock);
    left = app.queue;
    app.queue = NULL;
    (void)pthread_mutex_unlock(&app.lock);
    free(left);
    httpd_stop(h);
    (void)close(fd);
}

static void finish_refuses_and_quiesce_closes_the_door(void **state)
{
    struct httpd *h = serve(10000, 64);
    const int fd = dial(h);
    int refused;
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(httpd_port(h))};

    (void)state;
    say(fd, POST("/echo", "3", "abc"));
    assert_int_equal(hear(fd).status, 200);
    httpd_quiesce(h);
    say(fd, POST("/echo", "3", "abc"));
    assert_int_equal(hear(fd).status, 200);
    assert_true(httpd_finish(h, 10000));
    say(fd, POST("/echo", "3", "abc"));
    assert_int_equal(hear(fd).status, 503);
    (void)close(fd);
    httpd_stop(h);
    refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(refused, (const struct sockaddr *)&a, sizeof(a)), -1);
    (void)close(refused);
}

/* The numbers at which an epoll server stalls. */
static void many_keep_alive_connections(void **state)
{
    static const int counts[] = {127, 128, 129, 256, 512};
    struct httpd *h = serve(60000, 1024);
    int fds[512];

    (void)state;
    for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
        for (int i = 0; i < counts[c]; i++)
            fds[i] = dial(h);
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < counts[c]; i++)
                say(fds[i], i % 2 ? POST("/late", "3", "abc") : POST("/echo", "3", "abc"));
            for (int i = 0; i < counts[c]; i++)
                assert_int_equal(hear(fds[i]).status, i % 2 ? 202 : 200);
        }
        for (int i = 0; i < counts[c]; i++)
            (void)close(fds[i]);
    }
    httpd_stop(h);
}

static void port_taken(void **state)
{
    struct httpd *h = serve(1000, 64), *second = NULL;
    char address[32];
    struct httpd_options o = {.listen = address, .threads = 1, .connections = 1, .max_body = 1};
    struct err e = {0};

    (void)state;
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", httpd_port(h));
    assert_int_equal(httpd_start(&o, routes, NULL, NULL, NULL, &second, &e), -EADDRINUSE);
    assert_non_null(strstr(e.msg, "the port is taken by "));
    httpd_stop(h);
    httpd_stop(NULL);
}

/* Bodies of all requests together have a cap too. */
static void overload(void **state)
{
    const struct httpd_options o = {.listen = "127.0.0.1:0",
                                    .threads = 1,
                                    .connections = 8,
                                    .max_body = BODY_MAX,
                                    .request_deadline_ms = 10000,
                                    .max_buffered = 1500};
    struct httpd *h = NULL;
    struct err e = {0};
    char text[BODY_MAX + 200];
    int n, first, second;
    unsigned status;

    (void)state;
    assert_int_equal(httpd_start(&o, routes, NULL, NULL, NULL, &h, &e), 0);
    n = snprintf(text, sizeof(text), POST("/late", "1000", ""));
    memset(text + n, 'x', BODY_MAX);
    hold(true);
    first = dial(h);
    say_bytes(first, text, (size_t)n + BODY_MAX);
    wait_handled(1);
    second = dial(h);
    say_bytes(second, text, (size_t)n + BODY_MAX);
    assert_int_equal(hear(second).status, 503);
    hold(false);
    assert_int_equal(hear(first).status, 202);
    do { /* the first's bytes are given back a moment after its answer */
        say_bytes(second, text, (size_t)n + BODY_MAX);
        status = hear(second).status;
    } while (status == 503);
    assert_int_equal(status, 202);
    (void)close(first);
    (void)close(second);
    httpd_stop(h);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start_app, stop_app)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(routing),
        TEST(wrong_method_names_the_right_ones),
        TEST(head_has_no_body),
        TEST(keep_alive_and_pipelining),
        TEST(smuggling_shapes),
        TEST(sound_shapes),
        TEST(long_headers),
        TEST(too_large),
        TEST(exactly_the_cap),
        TEST(admission),
        TEST(slow_senders_are_cut),
        TEST(late_answers_are_not_cut),
        TEST(disconnects_while_suspended),
        TEST(stop_answers_what_is_left),
        TEST(finish_refuses_and_quiesce_closes_the_door),
        TEST(many_keep_alive_connections),
        TEST(port_taken),
        TEST(overload),
    };
    struct rlimit files;

    /* Both ends of 512 connections are ours. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
