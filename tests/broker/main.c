/*
 * tocsin-mock-broker [--port N] [--partitions P] [TOPIC...]
 *
 * librdkafka's mock cluster of one broker as a program. When it can be reached it prints one line,
 *     {"brokers":"127.0.0.1:N"}
 * and it lives until SIGTERM or SIGINT. Without --port (or with 0) the port is any free one.
 *
 * What it is not: a Kafka. Everything is in memory and at most 5 MiB or 100,000 message sets a
 * partition; what is older is dropped. It has no administration: TOPICs named here get P partitions
 * (default 4), any other topic comes to be, with 4 partitions, when a client asks about it.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

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
    fputs("usage: tocsin-mock-broker [--port N] [--partitions P] [TOPIC...]\n", stderr);
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

static int serve(char **topics, long partitions)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* The handle that hosts the cluster has no brokers itself and would complain. */
    rd_kafka_conf_set(conf, "log_level", "3", why, sizeof why);
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    rd_kafka_mock_cluster_t *cluster = host ? rd_kafka_mock_cluster_new(host, 1) : NULL;
    if (!cluster) {
        fprintf(stderr, "tocsin-mock-broker: librdkafka gives no cluster\n");
        return 1;
    }
    for (; *topics; topics++) {
        rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(cluster, *topics, (int)partitions, 1);
        if (code) {
            fprintf(stderr, "tocsin-mock-broker: %s: %s\n", *topics, rd_kafka_err2str(code));
            return 1;
        }
    }
    printf("{\"brokers\":\"%s\"}\n", rd_kafka_mock_cluster_bootstraps(cluster));
    fflush(stdout);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int got;
    sigwait(&set, &got);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
    return 0;
}

int main(int argc, char **argv)
{
    long port = 0, partitions = 4;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i += 2) {
        long *out = strcmp(argv[i], "--port") == 0         ? &port
                    : strcmp(argv[i], "--partitions") == 0 ? &partitions
                                                           : NULL;
        if (!out || number(argv[i + 1], 65535, out))
            return usage();
    }
    if (partitions == 0)
        return usage();
    wanted = htons((in_port_t)port);

    /* Before librdkafka starts its threads, so that only sigwait() sees them. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return serve(argv + i, partitions);
}
