/*
 * The edge that fetches, against a real https server in this process. tls/: ca.pem signed
 * server.pem for localhost and 127.0.0.1, with other.pem it has nothing to do.
 */
#include "ingest/fetch.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "slow_name.h"
#include "testing.h"

#define TLS SOURCE_DIR "/tests/unit/ingest/tls/"

/* ---- the server ---- */

static struct {
    struct MHD_Daemon *daemon;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* no answer until it is not */
    unsigned asked, at_once, most_at_once;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void hold(bool held)
{
    (void)pthread_mutex_lock(&server.lock);
    server.held = held;
    (void)pthread_cond_broadcast(&server.changed);
    (void)pthread_mutex_unlock(&server.lock);
}

static unsigned asked(void)
{
    (void)pthread_mutex_lock(&server.lock);
    const unsigned n = server.asked;
    (void)pthread_mutex_unlock(&server.lock);
    return n;
}

static void wait_until_asked(unsigned n)
{
    (void)pthread_mutex_lock(&server.lock);
    while (server.asked < n)
        (void)pthread_cond_wait(&server.changed, &server.lock);
    (void)pthread_mutex_unlock(&server.lock);
}

static void enter_and_leave(void)
{
    (void)pthread_mutex_lock(&server.lock);
    server.asked++;
    server.at_once++;
    if (server.at_once > server.most_at_once)
        server.most_at_once = server.at_once;
    (void)pthread_cond_broadcast(&server.changed);
    while (server.held)
        (void)pthread_cond_wait(&server.changed, &server.lock);
    server.at_once--;
    (void)pthread_cond_broadcast(&server.changed);
    (void)pthread_mutex_unlock(&server.lock);
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are MHD's */
static enum MHD_Result answer(void *ctx, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **request)
{
    static char big[100000];
    const bool is_big = strncmp(url, "/big", 4) == 0;
    const unsigned status = strncmp(url, "/missing", 8) == 0 ? 404
                            : strncmp(url, "/moved", 6) == 0 ? 302
                            : strncmp(url, "/done", 5) == 0  ? 204
                                                             : 200;
    (void)ctx, (void)method, (void)version, (void)upload, (void)upload_len, (void)request;
    enter_and_leave();
    struct MHD_Response *r = MHD_create_response_from_buffer(
        is_big ? sizeof(big) : strlen(url), is_big ? (void *)big : (void *)(uintptr_t)url,
        MHD_RESPMEM_MUST_COPY);
    (void)MHD_add_response_header(r, "Location", "/good");
    const enum MHD_Result rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rc;
}

static char *read_file(const char *path)
{
    char *text = calloc(1, 8192);
    FILE *f = fopen(path, "re");
    assert_non_null(text);
    assert_non_null(f);
    assert_true(fread(text, 1, 8191, f) > 0);
    (void)fclose(f);
    return text;
}

static int serve(void **state)
{
    char *key = read_file(TLS "server.key"), *cert = read_file(TLS "server.pem");
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_ANY)}};
    (void)state;
    server.daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0, NULL,
        NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, &any, MHD_OPTION_HTTPS_MEM_KEY, key,
        MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_END);
    assert_non_null(server.daemon);
    server.port = MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    free(key);
    free(cert);
    return 0;
}

static int unserve(void **state)
{
    (void)state;
    hold(false);
    MHD_stop_daemon(server.daemon);
    return 0;
}

static int afresh(void **state)
{
    (void)state;
    hold(false);
    (void)pthread_mutex_lock(&server.lock);
    while (server.at_once > 0) /* who was left hanging by the test before */
        (void)pthread_cond_wait(&server.changed, &server.lock);
    server.asked = server.most_at_once = 0;
    (void)pthread_mutex_unlock(&server.lock);
    return 0;
}

/* ---- the fetcher ---- */

static const char *const loopback[] = {"127.0.0.0/8"};

static struct settings settings_of(void)
{
    struct settings s = {.limits.allow_private_addresses = {loopback, 1}};
    s.ingest = (struct ingest_settings){.fetch_ca_file = TLS "ca.pem",
                                        .fetch_timeout = 60000,
                                        .fetch_keep = 3600000,
                                        .fetch_concurrency = 4,
                                        .fetch_waiting = 8,
                                        .fetch_kept = 8};
    return s;
}

static struct fetcher *fetcher_of(const struct settings *s)
{
    struct fetcher *f = NULL;
    struct err e = {0};
    if (fetcher_new(s, &f, &e) < 0)
        fail_msg("%s", e.msg);
    return f;
}

/* A request that asks for something. */
struct asker {
    struct arena *a;
    struct slice body;
    unsigned told;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static void on_done(void *ctx, struct slice body)
{
    struct asker *k = ctx;
    (void)pthread_mutex_lock(&k->lock);
    k->body = body;
    k->told++;
    (void)pthread_cond_broadcast(&k->cond);
    (void)pthread_mutex_unlock(&k->lock);
}

static bool fit(struct slice body)
{
    return body.len > 0 && !memmem(body.p, body.len, "unfit", 5);
}

static struct asker *ask_url(struct fetcher *f, const char *url, bool is_act)
{
    struct asker *k = calloc(1, sizeof(*k));
    const struct fetch what = {url, is_act ? NULL : fit};
    assert_non_null(k);
    k->a = arena_new(1 << 20);
    assert_non_null(k->a);
    (void)pthread_mutex_init(&k->lock, NULL);
    (void)pthread_cond_init(&k->cond, NULL);
    fetcher_get(f, &what, k->a, on_done, k);
    return k;
}

static struct asker *ask(struct fetcher *f, const char *path)
{
    char url[256];
    (void)snprintf(url, sizeof(url), "https://localhost:%u%s", server.port, path);
    return ask_url(f, url, false);
}

/* Waits for the end; true: `path` was got. Frees it. */
static bool got(struct asker *k, const char *body)
{
    (void)pthread_mutex_lock(&k->lock);
    while (k->told == 0)
        (void)pthread_cond_wait(&k->cond, &k->lock);
    (void)pthread_mutex_unlock(&k->lock);
    const bool is = k->body.p && slice_is(k->body, body);
    assert_true(is || !k->body.p);
    assert_int_equal(k->told, 1);
    arena_free(k->a);
    (void)pthread_mutex_destroy(&k->lock);
    (void)pthread_cond_destroy(&k->cond);
    free(k);
    return is;
}

static bool fetches(struct fetcher *f, const char *path)
{
    return got(ask(f, path), path);
}

static void sleep_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* ---- tests ---- */

static void test_what_is_fit_is_kept(void **state)
{
    const struct settings s = settings_of();
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    (void)state;
    assert_true(fetches(f, "/good"));
    assert_true(fetches(f, "/good"));
    assert_int_equal(asked(), 1);
    assert_true(fetches(f, "/other"));
    assert_int_equal(asked(), 2);
}

static void test_what_is_kept_expires(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_keep = 1;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    assert_true(fetches(f, "/good"));
    sleep_ms(5);
    assert_true(fetches(f, "/good"));
    assert_int_equal(asked(), 2);
}

static void test_many_wait_for_one(void **state)
{
    const struct settings s = settings_of();
    struct asker *k[5];
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    (void)state;
    hold(true);
    for (size_t i = 0; i < 5; i++)
        k[i] = ask(f, "/good");
    wait_until_asked(1);
    hold(false);
    for (size_t i = 0; i < 5; i++)
        assert_true(got(k[i], "/good"));
    assert_int_equal(asked(), 1);
}

/* Nothing of it is kept, and it is left alone for a moment. */
static void test_what_cannot_be_had(void **state)
{
    static const char *const paths[] = {"/missing", "/unfit", "/big", "/moved", "/done"};
    const struct settings s = settings_of();
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        assert_false(fetches(f, paths[i]));
        assert_false(fetches(f, paths[i]));
        assert_int_equal(asked(), i + 1);
    }
}

static void test_addresses_that_are_not_asked(void **state)
{
    static const char *const urls[] = {"http://localhost", "https://127.0.0.2",
                                       "ftp://localhost",  "file:///etc",
                                       "https://",         "https://no-such-host.invalid"};
    char url[256];
    struct settings s = settings_of();
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        (void)snprintf(url, sizeof(url), "%s:%u/good", urls[i], server.port);
        assert_false(got(ask_url(f, url, false), "/good"));
    }
    assert_int_equal(asked(), 0);
    /* A private one, although its name is that of the certificate. */
    s.limits.allow_private_addresses.n = 0;
    CLEANUP(fetcher_free) struct fetcher *guarded = fetcher_of(&s);
    assert_false(fetches(guarded, "/good"));
    assert_int_equal(asked(), 0);
}

static void test_a_server_that_nobody_vouches_for(void **state)
{
    static const char *const files[] = {TLS "other.pem", "", "/no/such/file.pem"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct settings s = settings_of();
        s.ingest.fetch_ca_file = files[i];
        CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
        assert_false(fetches(f, "/good"));
    }
    assert_int_equal(asked(), 0);
}

/* What hangs costs those who wait for it, and them only for a while. */
static void test_a_server_that_hangs(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_timeout = 500;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    while (!fetches(f, "/good")) /* on a machine that is slower than that */
        sleep_ms(500);
    hold(true);
    struct asker *k = ask(f, "/hangs");
    assert_true(fetches(f, "/good")); /* kept: at once */
    assert_false(got(k, "/hangs"));
}

static void test_a_name_that_nobody_answers_for(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_timeout = 300;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    name_hold();
    assert_false(got(ask_url(f, "https://" SLOW_NAME "/a", false), "/a"));
    assert_false(got(ask_url(f, "https://" SLOW_NAME "/b", false), "/b"));
    fetcher_free(TAKE(f));
    name_let_go();
}

static void test_no_more_than_some_at_a_time(void **state)
{
    struct settings s = settings_of();
    struct asker *k[4];
    (void)state;
    s.ingest.fetch_concurrency = 2;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    hold(true);
    for (size_t i = 0; i < 4; i++) {
        char path[] = "/0";
        path[1] = (char)('0' + i);
        k[i] = ask(f, path);
    }
    wait_until_asked(2);
    sleep_ms(50); /* for a third, if there were one */
    hold(false);
    assert_true(got(k[0], "/0"));
    assert_true(got(k[1], "/1"));
    assert_true(got(k[2], "/2"));
    assert_true(got(k[3], "/3"));
    assert_int_equal(server.most_at_once, 2);
}

/* In the queue behind what hangs, one does not wait for longer. */
static void test_the_queue_has_the_same_deadline(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_concurrency = 1;
    s.ingest.fetch_timeout = 200;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    hold(true);
    struct asker *first = ask(f, "/first"), *second = ask(f, "/second");
    assert_false(got(first, "/first"));
    assert_false(got(second, "/second"));
}

static void test_too_many_are_told_at_once(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_waiting = 2;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    hold(true);
    struct asker *first = ask(f, "/first"), *second = ask(f, "/first");
    assert_false(fetches(f, "/first")); /* while both still wait */
    assert_false(fetches(f, "/second"));
    hold(false);
    assert_true(got(first, "/first"));
    assert_true(got(second, "/first"));
    assert_true(fetches(f, "/third"));
}

/* Asking for what is not there pushes nothing out that is. */
static void test_what_is_kept_is_bounded(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_kept = 3;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    assert_true(fetches(f, "/a"));
    assert_true(fetches(f, "/b"));
    for (unsigned i = 0; i < 8; i++) {
        char path[] = "/missing0";
        path[8] = (char)('0' + i);
        assert_false(fetches(f, path));
    }
    assert_int_equal(asked(), 10);
    assert_true(fetches(f, "/a") && fetches(f, "/b"));
    assert_int_equal(asked(), 10);
    assert_true(fetches(f, "/c"));
    assert_true(fetches(f, "/a"));
    assert_true(fetches(f, "/d")); /* pushes out /b, unused for longest */
    assert_int_equal(asked(), 12);
    assert_true(fetches(f, "/a"));
    assert_int_equal(asked(), 12);
    assert_true(fetches(f, "/b"));
    assert_int_equal(asked(), 13);
}

static void test_an_act_is_done_each_time(void **state)
{
    char good[128], missing[128];
    const struct settings s = settings_of();
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    (void)state;
    (void)snprintf(good, sizeof(good), "https://localhost:%u/done", server.port);
    (void)snprintf(missing, sizeof(missing), "https://localhost:%u/missing", server.port);
    for (int i = 0; i < 2; i++) {
        assert_true(got(ask_url(f, good, true), ""));
        assert_false(got(ask_url(f, missing, true), ""));
    }
    assert_int_equal(asked(), 4);
}

static void test_at_the_end_everybody_is_told(void **state)
{
    struct settings s = settings_of();
    (void)state;
    s.ingest.fetch_concurrency = 1;
    struct fetcher *f = fetcher_of(&s);
    hold(true);
    struct asker *first = ask(f, "/first"), *second = ask(f, "/second");
    wait_until_asked(1);
    fetcher_free(f);
    assert_false(got(first, "/first"));
    assert_false(got(second, "/second"));
}

/* Threads that ask for the same few things while some of them fail and others are pushed out. */
struct crowd {
    pthread_t thread;
    struct fetcher *f;
    unsigned seed, good;
};

static void *jostle(void *ctx)
{
    struct crowd *c = ctx;
    for (unsigned i = 0; i < 60; i++) {
        static const char *const paths[] = {"/a", "/b", "/c", "/d", "/missing"};
        const char *path = paths[(i * 7 + c->seed) % 5];
        c->good += fetches(c->f, path);
    }
    return NULL;
}

static void test_a_crowd(void **state)
{
    struct settings s = settings_of();
    struct crowd crowd[4];
    unsigned good = 0;
    (void)state;
    s.ingest.fetch_kept = 2;
    CLEANUP(fetcher_free) struct fetcher *f = fetcher_of(&s);
    for (unsigned i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){.f = f, .seed = i};
        assert_int_equal(pthread_create(&crowd[i].thread, NULL, jostle, &crowd[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(crowd[i].thread, NULL);
        good += crowd[i].good;
    }
    assert_int_equal(good, 4 * 60 * 4 / 5);
}

#define TEST(name) cmocka_unit_test_setup(name, afresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_fit_is_kept),
        TEST(test_what_is_kept_expires),
        TEST(test_many_wait_for_one),
        TEST(test_what_cannot_be_had),
        TEST(test_addresses_that_are_not_asked),
        TEST(test_a_server_that_nobody_vouches_for),
        TEST(test_a_server_that_hangs),
        TEST(test_a_name_that_nobody_answers_for),
        TEST(test_no_more_than_some_at_a_time),
        TEST(test_the_queue_has_the_same_deadline),
        TEST(test_too_many_are_told_at_once),
        TEST(test_what_is_kept_is_bounded),
        TEST(test_an_act_is_done_each_time),
        TEST(test_at_the_end_everybody_is_told),
        TEST(test_a_crowd),
    };
    return cmocka_run_group_tests(tests, serve, unserve);
}
