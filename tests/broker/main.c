/*
 * tocsin-mock-broker [--port N] [--partitions P] [--control] [TOPIC...]
 *
 * librdkafka's mock cluster of one broker as a program. When it can be reached it prints one line,
 *     {"brokers":"127.0.0.1:N"}
 * and it lives until SIGTERM or SIGINT. Without --port (or with 0) the port is any free one.
 *
 * What it is not: a Kafka. Everything is in memory and at most 5 MiB or 100,000 message sets a
 * partition; what is older is dropped. It has no administration: TOPICs named here get P partitions
 * (default 4), any other topic comes to be, with 4 partitions, when a client asks about it.
 *
 * With --control it takes orders on stdin, a line each, and answers each with one line of JSON:
 *
 *     fault REQUEST COUNT FAULT   the next COUNT requests of this kind fail
 *     left REQUEST                {"left":N,"seen":M}: of that COUNT, and of this kind since the
 * start ends                        {"TOPIC":[end of each partition,...],...} of the TOPICs named
 * here
 *
 * REQUEST is Produce, Fetch, Metadata, OffsetCommit, FindCoordinator, JoinGroup, Heartbeat or
 * SyncGroup. FAULT is the name of a Kafka error (NOT_LEADER_FOR_PARTITION), `closed` for a
 * connection that closes, or `late MS` for an answer that is right and late. A late Metadata is one
 * where every answer is late, as long as it lasts. {"error":"..."} answers what makes no sense.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"

#define TICK_MS 20

static in_port_t wanted; /* network order; 0: any */

/*
 * The mock cluster binds to any free port and offers no other way. A program's own bind() comes
 * before the C library's, so this one names the port. (The label instead of the name: glibc
 * declares bind() with a type that standard C cannot spell.)
 */
int bind_wanted(int fd, const struct sockaddr *address, socklen_t len) __asm__("bind");

int bind_wanted(int fd, const struct sockaddr *address, socklen_t len)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    *(void **)&next = dlsym(RTLD_NEXT, "bind");
    struct sockaddr_in in;
    if (address->sa_family != AF_INET || len != sizeof in)
        return next(fd, address, len);
    memcpy(&in, address, sizeof in);
    in.sin_port = wanted;
    int rc = next(fd, (const struct sockaddr *)&in, len);
    if (rc) { /* librdkafka would end in an assertion */
        fprintf(stderr, "tocsin-mock-broker: port %u: %s\n", ntohs(wanted), strerror(errno));
        exit(1);
    }
    return rc;
}

static int usage(void)
{
    fputs("usage: tocsin-mock-broker [--port N] [--partitions P] [--control] [TOPIC...]\n", stderr);
    return 2;
}

static int number(const char *s, long max, long *ret)
{
    char *end = NULL;
    errno = 0;
    long n = s ? strtol(s, &end, 10) : -1;
    if (!s || end == s || *end || errno || n < 0 || n > max)
        return -1;
    *ret = n;
    return 0;
}

static bool create(struct control *c)
{
    for (char **topic = c->topics; *topic; topic++) {
        rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(c->cluster, *topic, c->partitions, 1);
        if (code) {
            fprintf(stderr, "tocsin-mock-broker: %s: %s\n", *topic, rd_kafka_err2str(code));
            return false;
        }
    }
    return true;
}

/* What came on stdin, line by line; the rest of a line stays for the next call. False at its end.
 */
static bool obey(struct control *c)
{
    static char text[4096];
    static size_t len;
    char *newline;
    const ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (n <= 0)
        return false;
    len += (size_t)n;
    text[len] = '\0';
    while ((newline = strchr(text, '\n'))) {
        *newline = '\0';
        control_line(c, text);
        len -= (size_t)(newline + 1 - text);
        memmove(text, newline + 1, len + 1);
    }
    return true;
}

static void live(struct control *c, int signals, bool controlled)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = controlled ? STDIN_FILENO : -1, .events = POLLIN}};
    while (!(fds[0].revents & POLLIN)) {
        if (poll(fds, 2, control_tick(c) ? TICK_MS : -1) > 0 && fds[1].revents && !obey(c))
            fds[1].fd = -1;
    }
}

static int serve(struct control *c, int signals, bool controlled)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* The handle that hosts the cluster has no brokers itself and would complain. */
    rd_kafka_conf_set(conf, "log_level", "3", why, sizeof why);
    if (controlled)
        control_watch(conf);
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    c->cluster = host ? rd_kafka_mock_cluster_new(host, 1) : NULL;
    if (!c->cluster) {
        fprintf(stderr, "tocsin-mock-broker: librdkafka gives no cluster\n");
        return 1;
    }
    if (!create(c))
        return 1;
    printf("{\"brokers\":\"%s\"}\n", rd_kafka_mock_cluster_bootstraps(c->cluster));
    fflush(stdout);
    live(c, signals, controlled);
    if (c->client)
        rd_kafka_destroy(c->client);
    rd_kafka_mock_cluster_destroy(c->cluster);
    rd_kafka_destroy(host);
    return 0;
}

int main(int argc, char **argv)
{
    long port = 0, partitions = 4;
    bool controlled = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        long *out = strcmp(argv[i], "--port") == 0         ? &port
                    : strcmp(argv[i], "--partitions") == 0 ? &partitions
                                                           : NULL;
        if (!out && strcmp(argv[i], "--control") == 0)
            controlled = true;
        else if (!out || number(argv[++i], 65535, out))
            return usage();
    }
    if (partitions == 0)
        return usage();
    wanted = htons((in_port_t)port);

    /* Before librdkafka starts its threads, so that only signalfd sees them. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    const int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0) {
        perror("tocsin-mock-broker: signalfd");
        return 1;
    }
    struct control c = {.topics = argv + i, .partitions = (int)partitions};
    return serve(&c, signals, controlled);
}
