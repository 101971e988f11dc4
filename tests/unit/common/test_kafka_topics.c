/*
 * A producer makes no topic by asking for it: what a broker would read in its requests for
 * metadata. (A consumer of librdkafka never does.) librdkafka's mock cluster speaks versions of
 * them that cannot say so; hence a listener here that speaks as much Kafka as it takes to be asked.
 */
#include "testing.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/listen.h"

enum { METADATA = 3, API_VERSIONS = 18, METADATA_VERSION = 4, CLIENTS = 16 };

static struct {
    int fd;
    pthread_t thread;
    atomic_bool stop;
    atomic_int refused, allowed; /* requests about topics, by what they say of creating them */
} broker;

static int16_t int16_at(const unsigned char *p)
{
    return (int16_t)(p[0] << 8 | p[1]);
}

static void put_int(unsigned char **p, uint32_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *(*p)++ = (unsigned char)(v >> (8 * i));
}

/* Whatever version was asked for: an error (35) makes the client ask again with the first. */
static void answer_versions(int fd, const unsigned char *request)
{
    unsigned char out[64], *p = out + 4;
    const bool first = int16_at(request + 2) == 0;

    memcpy(p, request + 4, 4); /* whose answer it is */
    p += 4;
    put_int(&p, first ? 0 : 35, 2);
    put_int(&p, 2, 4);
    put_int(&p, API_VERSIONS, 2);
    put_int(&p, 0, 2);
    put_int(&p, 0, 2);
    put_int(&p, METADATA, 2);
    put_int(&p, 0, 2);
    put_int(&p, METADATA_VERSION, 2);
    const size_t n = (size_t)(p - out);
    p = out;
    put_int(&p, (uint32_t)n - 4, 4);
    (void)!write(fd, out, n);
}

/* Header: key, version, correlation, client; then the topics, and at the very end whether they may
 * be made. */
static void read_metadata(const unsigned char *request, size_t n)
{
    const size_t topics = 10 + (size_t)int16_at(request + 8);

    if (int16_at(request + 2) != METADATA_VERSION || n < topics + 5)
        return;
    const uint32_t count = (uint32_t)request[topics + 2] << 8 | request[topics + 3];
    if (count == 0 || count == 0xffff)
        return;
    atomic_fetch_add(request[n - 1] ? &broker.allowed : &broker.refused, 1);
}

/* False when the client has gone. */
static bool serve(int fd)
{
    unsigned char size[4], request[4096];

    if (recv(fd, size, 4, MSG_WAITALL) != 4)
        return false;
    const size_t n = (size_t)size[2] << 8 | size[3];
    if (n > sizeof(request) || recv(fd, request, n, MSG_WAITALL) != (ssize_t)n)
        return false;
    if (int16_at(request) == API_VERSIONS)
        answer_versions(fd, request);
    else if (int16_at(request) == METADATA)
        read_metadata(request, n);
    return true;
}

static void *run(void *arg)
{
    struct pollfd fds[CLIENTS] = {{.fd = broker.fd, .events = POLLIN}};
    nfds_t n = 1;

    while (!atomic_load(&broker.stop)) {
        (void)poll(fds, n, 20);
        if (fds[0].revents && n < CLIENTS)
            fds[n++] = (struct pollfd){.fd = accept(broker.fd, NULL, NULL), .events = POLLIN};
        for (nfds_t i = 1; i < n; i++) {
            if (fds[i].fd >= 0 && fds[i].revents && !serve(fds[i].fd)) {
                (void)close(fds[i].fd);
                fds[i--] = fds[--n];
            }
        }
    }
    while (n > 1)
        (void)close(fds[--n].fd);
    return arg;
}

static struct kafka_settings settings(void)
{
    static char address[32];
    struct err e = {0};
    uint16_t port;

    atomic_store(&broker.stop, false);
    atomic_store(&broker.refused, 0);
    atomic_store(&broker.allowed, 0);
    if (listen_open("127.0.0.1:0", &broker.fd, &port, &e) < 0)
        fail_msg("%s", e.msg);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    assert_int_equal(pthread_create(&broker.thread, NULL, run, NULL), 0);
    return (struct kafka_settings){.brokers = address,
                                   .topic_prefix = "unit",
                                   .group_prefix = "unit",
                                   .client_id = "test",
                                   .session_timeout = 6000,
                                   .linger = 1,
                                   .fetch_wait = 10,
                                   .queue_messages = 1000};
}

static void wait_for_requests(void)
{
    const int64_t deadline = clock_monotonic_ms() + 60 * MS_SECOND;

    while (atomic_load(&broker.refused) + atomic_load(&broker.allowed) == 0) {
        if (clock_monotonic_ms() > deadline)
            fail_msg("no request for metadata of topics came");
        (void)usleep(10000);
    }
    assert_int_equal(atomic_load(&broker.allowed), 0);
}

static void stop(void)
{
    atomic_store(&broker.stop, true);
    (void)pthread_join(broker.thread, NULL);
    (void)close(broker.fd);
}

static void no_report(void *ctx, void *record, int err_code, const char *err_text)
{
    (void)ctx;
    (void)record;
    (void)err_code;
    (void)err_text;
}

static void a_producer_that_expects_a_topic_makes_none(void **state)
{
    const struct kafka_settings s = settings();
    struct kafka_producer *p = NULL;
    struct err e = {0};

    (void)state;
    assert_int_equal(kafka_producer_new(&s, no_report, NULL, &p, &e), 0);
    assert_int_equal(kafka_expect(p, "notify.slack", &e), 0);
    wait_for_requests();
    kafka_producer_free(p);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_that_expects_a_topic_makes_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
