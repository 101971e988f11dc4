/* Ingest, all of it, with something at ingest.console_url that answers as it is told to. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "ingest/ingest.h"
#include "slow_name.h"

#define ID "0000000a-0000-000b-019b-7b9c0d400007"
#define KEY "Authorization: GenieKey k\r\n"

/* ---- the console ---- */

static struct {
    struct MHD_Daemon *daemon;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* no answer until it is not */
    unsigned asked, at_work;
    char path[256]; /* what was asked last */
    bool with_key, with_query;
    struct saying {
        unsigned status;
        const char *type, *body;
    } says;
} console = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void hold(bool held)
{
    (void)pthread_mutex_lock(&console.lock);
    console.held = held;
    (void)pthread_cond_broadcast(&console.changed);
    (void)pthread_mutex_unlock(&console.lock);
}

static unsigned asked(void)
{
    (void)pthread_mutex_lock(&console.lock);
    const unsigned n = console.asked;
    (void)pthread_mutex_unlock(&console.lock);
    return n;
}

static void wait_until_asked(void)
{
    (void)pthread_mutex_lock(&console.lock);
    while (console.asked == 0)
        (void)pthread_cond_wait(&console.changed, &console.lock);
    (void)pthread_mutex_unlock(&console.lock);
}

static void let_say(unsigned status, const char *body)
{
    (void)pthread_mutex_lock(&console.lock);
    console.says = (struct saying){status, "text/x-own", body};
    (void)pthread_mutex_unlock(&console.lock);
}

static void assert_asked(const char *path)
{
    (void)pthread_mutex_lock(&console.lock);
    assert_string_equal(console.path, path);
    assert_false(console.with_key); /* the console asks for none */
    assert_false(console.with_query);
    (void)pthread_mutex_unlock(&console.lock);
}

static struct saying note(struct MHD_Connection *c, const char *method, const char *url)
{
    (void)pthread_mutex_lock(&console.lock);
    (void)snprintf(console.path, sizeof(console.path), "%s %s", method, url);
    console.with_key = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    console.with_query = MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0;
    console.asked++;
    console.at_work++;
    (void)pthread_cond_broadcast(&console.changed);
    while (console.held)
        (void)pthread_cond_wait(&console.changed, &console.lock);
    console.at_work--;
    const struct saying s = console.says;
    (void)pthread_cond_broadcast(&console.changed);
    (void)pthread_mutex_unlock(&console.lock);
    return s;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are MHD's */
static enum MHD_Result answer(void *ctx, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **request)
{
    (void)ctx, (void)version, (void)upload, (void)upload_len, (void)request;
    const struct saying s = note(c, method, url);
    struct MHD_Response *r = MHD_create_response_from_buffer(
        strlen(s.body), (void *)(uintptr_t)s.body, MHD_RESPMEM_MUST_COPY);
    (void)MHD_add_response_header(r, "Content-Type", s.type);
    (void)MHD_add_response_header(r, "Location", "/elsewhere");
    const enum MHD_Result rc = MHD_queue_response(c, s.status, r);
    MHD_destroy_response(r);
    return rc;
}

/* ---- ingest ---- */

static const char *const topics[] = {"raw.generic", "beat", NULL};
static struct broker broker;

struct fixture {
    struct conf *conf;
    struct settings settings;
    void *self;
    struct httpd *httpd;
    struct err e;
};

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s", f->e.msg);                                                              \
    } while (0)

/* One thread serves: what blocks it blocks everybody. `more`: further settings of ingest. */
static void start_at(struct fixture *f, const char *url, const char *more)
{
    struct httpd_options o;
    char text[1024];
    int64_t drain;
    void *own = NULL;

    *f = (struct fixture){0};
    (void)snprintf(text, sizeof(text),
                   "kafka: {brokers: '%s', topic_prefix: unit, ack_timeout: 30s}\n"
                   "ingest: {listen: '127.0.0.1:0', threads: 1, request_deadline: 60s, "
                   "console_url: '%s', %s}\n"
                   "sources: {opsgenie: {bearer_token: k}}\n",
                   broker.settings.brokers, url, more);
    OK(conf_parse("t.yml", text, NULL, &f->conf, &f->e));
    OK(settings_load(f->conf, &f->settings, &f->e));
    OK(ingest_service.configure(&f->settings, &own, &f->e));
    OK(ingest_service.start(&f->settings, own, &f->self, &f->e));
    ingest_service.listen(&f->settings, &o, &drain);
    OK(httpd_start(&o, ingest_service.own_routes(f->self), f->self, NULL, NULL, &f->httpd, &f->e));
}

static void start(struct fixture *f, const char *more)
{
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", console.port);
    start_at(f, url, more);
}

static void end(struct fixture *f)
{
    httpd_quiesce(f->httpd);
    assert_true(httpd_finish(f->httpd, 30000));
    ingest_service.stop(f->self);
    httpd_stop(f->httpd);
    conf_free(f->conf);
}

/* ---- who asks ---- */

static int send_to(const struct fixture *f, const char *method, const char *path,
                   const char *headers, const char *body)
{
    char text[1024];
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(httpd_port(f->httpd)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int n = snprintf(text, sizeof(text),
                           "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s"
                           "Content-Length: %zu\r\n\r\n%s",
                           method, path, headers, strlen(body), body);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(fd, text, (size_t)n), n);
    return fd;
}

static char heard[1 << 18]; /* the last answer */

static int hear(int fd)
{
    size_t len = 0;
    ssize_t got;
    int status = 0;
    while ((got = read(fd, heard + len, sizeof(heard) - 1 - len)) > 0)
        len += (size_t)got;
    heard[len] = '\0';
    (void)close(fd);
    assert_int_equal(sscanf(heard, "HTTP/1.1 %d", &status), 1); /* NOLINT(cert-err34-c): ours */
    return status;
}

static int ask(const struct fixture *f, const char *path)
{
    return hear(send_to(f, "GET", path, KEY, ""));
}

static void assert_heard(const char *words)
{
    if (!strstr(heard, words))
        fail_msg("no %s in %s", words, heard);
}

/* ---- tests ---- */

static void test_the_answer_as_it_is(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, "");
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID "?identifierType=id"), 200);
    assert_heard("Content-Type: text/x-own\r\n");
    assert_heard("\r\n\r\n{\"data\":{}}");
    assert_asked("GET /v2/alerts/requests/" ID);
    let_say(404, "not yet");
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 404);
    assert_heard("\r\n\r\nnot yet");
    let_say(500, "");
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 500);
    assert_int_equal(asked(), 3);
    end(&f);
}

static void test_what_is_no_answer(void **state)
{
    static char big[100000];
    struct fixture f;
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    start(&f, "");
    let_say(302, "");
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    assert_heard("console_unavailable");
    assert_int_equal(asked(), 1); /* and nothing elsewhere */
    let_say(200, big);
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    end(&f);
}

static void test_a_console_that_is_away(void **state)
{
    struct fixture f;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    char url[64];
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* takes no connection */
    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(at.sin_port));
    start_at(&f, url, "");
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    assert_heard("the console could not be asked");
    end(&f);
    (void)close(fd);
}

static void test_without_its_address(void **state)
{
    struct fixture f;
    (void)state;
    start_at(&f, "", "");
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 404);
    assert_heard("set ingest.console_url");
    end(&f);
}

static void test_a_console_that_hangs(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, "fetch_timeout: 300ms");
    hold(true);
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    end(&f);
}

static void test_a_console_whose_name_nobody_answers_for(void **state)
{
    struct fixture f;
    (void)state;
    start_at(&f, "http://" SLOW_NAME, "fetch_timeout: 300ms");
    name_hold();
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    end(&f);
    name_let_go();
}

static void test_nobody_who_reports_waits_for_it(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, "fetch_timeout: 50s");
    hold(true);
    const int fd = send_to(&f, "GET", "/v2/alerts/requests/" ID, KEY, "");
    wait_until_asked();
    assert_int_equal(hear(send_to(&f, "POST", "/webhook/generic", "", "{\"title\":\"t\"}")), 202);
    hold(false);
    assert_int_equal(hear(fd), 200);
    end(&f);
}

static void test_too_many_are_told_at_once(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, "fetch_timeout: 50s, fetch_waiting: 1");
    hold(true);
    const int fd = send_to(&f, "GET", "/v2/alerts/requests/" ID, KEY, "");
    wait_until_asked();
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 503);
    assert_heard("too many");
    hold(false);
    assert_int_equal(hear(fd), 200);
    assert_int_equal(ask(&f, "/v2/alerts/requests/" ID), 200);
    assert_int_equal(asked(), 2);
    end(&f);
}

static void test_who_may_ask(void **state)
{
    static const char *const wrong[] = {"", "Authorization: GenieKey other\r\n",
                                        "Authorization: Basic azo=\r\n"};
    struct fixture f;
    (void)state;
    start(&f, "");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hear(send_to(&f, "GET", "/v2/alerts/requests/" ID, wrong[i], "")), 401);
        assert_heard("Could not authenticate");
    }
    assert_int_equal(asked(), 0);
    end(&f);
}

static void test_what_is_not_passed_on(void **state)
{
    static const char *const paths[] = {
        "/v2/alerts/requests/",
        "/v2/alerts/requests/nothing",
        "/v2/alerts/requests/..",
        "/v2/alerts/requests/../../../api/v1/alerts",
        "/v2/alerts/requests/%2e%2e%2f%2e%2e%2f%2e%2e%2fapi%2fv1%2falerts",
        "/v2/alerts/requests/" ID "/../../../api/v1/alerts",
        "/v2/alerts/requests/" ID "%2f..%2f..",
        "/v2/alerts/requests/" ID "%3fx=1",
        "/v2/alerts/requests/" ID "%23",
        "/v2/alerts/requests/" ID "/",
        "/v2/alerts/requests/@127.0.0.1",
        ("/v2/alerts/" ID), /* clang takes it for a forgotten comma */
        "/api/v1/incidents",
        "/healthz",
        "/act/token",
    };
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH"};
    struct fixture f;
    (void)state;
    start(&f, "");
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const int status = ask(&f, paths[i]);
        if (status != 404 && status != 405 && status != 400)
            fail_msg("%s: %d", paths[i], status);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(hear(send_to(&f, methods[i], "/v2/alerts/requests/" ID, KEY, "")), 405);
    assert_int_equal(asked(), 0);
    end(&f);
}

static void on_told(void *ctx, const struct relayed *a)
{
    assert_true(a->status == 0 && a->why);
    ++*(unsigned *)ctx;
}

static void test_at_the_end_everybody_is_told(void **state)
{
    char url[64];
    const struct ingest_settings s = {
        .console_url = url, .fetch_ca_file = "", .fetch_timeout = 50000, .fetch_waiting = 8};
    struct relay *r = NULL;
    struct err e = {0};
    unsigned told = 0;
    (void)state;
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", console.port);
    assert_int_equal(relay_new(&s, &r, &e), 0);
    hold(true);
    relay_get(r, "/a", on_told, &told);
    wait_until_asked();
    relay_get(r, "/b", on_told, &told);
    relay_free(r);
    assert_int_equal(told, 2);
}

/* ---- around them ---- */

static int serve(void **state)
{
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    (void)state;
    broker_open(&broker, topics);
    console.daemon =
        MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL,
                         NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_END);
    assert_non_null(console.daemon);
    console.port = MHD_get_daemon_info(console.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return 0;
}

static int unserve(void **state)
{
    (void)state;
    MHD_stop_daemon(console.daemon);
    broker_close(&broker);
    return 0;
}

static int afresh(void **state)
{
    (void)state;
    hold(false);
    (void)pthread_mutex_lock(&console.lock);
    while (console.at_work > 0) /* whom the test before left hanging */
        (void)pthread_cond_wait(&console.changed, &console.lock);
    console.asked = 0;
    (void)pthread_mutex_unlock(&console.lock);
    let_say(200, "{\"data\":{}}");
    return 0;
}

static int let_go(void **state)
{
    (void)state;
    hold(false);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, afresh, let_go)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_answer_as_it_is),
        TEST(test_what_is_no_answer),
        TEST(test_a_console_that_is_away),
        TEST(test_without_its_address),
        TEST(test_a_console_that_hangs),
        TEST(test_a_console_whose_name_nobody_answers_for),
        TEST(test_nobody_who_reports_waits_for_it),
        TEST(test_too_many_are_told_at_once),
        TEST(test_who_may_ask),
        TEST(test_what_is_not_passed_on),
        TEST(test_at_the_end_everybody_is_told),
    };
    return cmocka_run_group_tests(tests, serve, unserve);
}
