/*
 * librdkafka's mock cluster for tests that speak Kafka: real protocol over loopback, no Java. Only
 * for tests; a failure ends the test with its words.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "testing.h"

struct broker {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    struct kafka_settings settings;
};

#define BROKER_PREFIX "unit"

/* `topics` without prefix, NULL-terminated; of one partition each. */
__attribute__((unused)) static void brokers_open(struct broker *b, int brokers,
                                                 const char *const *topics)
{
    char why[256], name[128];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    /* the host has no broker itself, and says so */
    (void)rd_kafka_conf_set(conf, "log_level", "0", why, sizeof(why));
    b->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    b->cluster = rd_kafka_mock_cluster_new(b->host, brokers);
    for (; *topics; topics++) {
        (void)snprintf(name, sizeof(name), BROKER_PREFIX ".%s", *topics);
        rd_kafka_mock_topic_create(b->cluster, name, 1, 1);
    }
    b->settings = (struct kafka_settings){.brokers = rd_kafka_mock_cluster_bootstraps(b->cluster),
                                          .topic_prefix = BROKER_PREFIX,
                                          .group_prefix = BROKER_PREFIX,
                                          .client_id = "test",
                                          .partitions = 1,
                                          .replication_factor = 1,
                                          .min_insync_replicas = 1,
                                          .ack_timeout = 10000,
                                          .session_timeout = 6000,
                                          .linger = 1,
                                          .fetch_wait = 10,
                                          .queue_messages = 100000};
}

__attribute__((unused)) static void broker_open(struct broker *b, const char *const *topics)
{
    brokers_open(b, 1, topics);
}

__attribute__((unused)) static void broker_close(struct broker *b)
{
    rd_kafka_mock_cluster_destroy(b->cluster);
    rd_kafka_destroy(b->host);
}

__attribute__((unused)) static int broker_from_the_start(void *ctx, struct kafka_partition *p,
                                                         size_t n, struct err *e)
{
    (void)ctx;
    (void)e;
    for (size_t i = 0; i < n; i++)
        p[i].offset = -1;
    return 0;
}

__attribute__((unused)) static void broker_revoked(void *ctx, const struct kafka_partition *p,
                                                   size_t n, bool lost)
{
    (void)ctx;
    (void)p;
    (void)n;
    (void)lost;
}

/* Every record of the topics from the start, until there are `n`: given to `each`. */
__attribute__((unused)) static void broker_read(struct broker *b, const char *group,
                                                const char *const *topics, size_t n,
                                                void (*each)(void *, const struct kafka_message *),
                                                void *ctx)
{
    const struct kafka_consumer_options o = {.group = group,
                                             .topics = topics,
                                             .assigned = broker_from_the_start,
                                             .revoked = broker_revoked};
    const int64_t deadline = clock_monotonic_ms() + 60 * MS_SECOND;
    struct kafka_consumer *c = NULL;
    struct err e = {0};
    size_t got = 0;

    if (kafka_consumer_new(&b->settings, &o, &c, &e) < 0)
        fail_msg("%s", e.msg);
    while (got < n && clock_monotonic_ms() < deadline) {
        struct kafka_message m;
        const int rc = kafka_poll(c, &m, 1, 100, &e);

        if (rc < 0)
            fail_msg("%s", e.msg);
        if (rc == 0)
            continue;
        each(ctx, &m);
        kafka_message_free(&m);
        got++;
    }
    kafka_consumer_free(c);
    assert_int_equal(got, n);
}
