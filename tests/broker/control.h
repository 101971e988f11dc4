/* Faults of the mock cluster, ordered line by line; main.c says what a line may be. */
#pragma once

#include <stdbool.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

struct control {
    rd_kafka_mock_cluster_t *cluster;
    char **topics; /* NULL-terminated */
    int partitions;
    rd_kafka_t *client; /* of our own, for `ends`; made when it is first asked for */
};

/* For the handle that hosts the cluster: count the requests that arrive. */
void control_watch(rd_kafka_conf_t *conf);
/* Obeys one line and prints its answer. */
void control_line(struct control *c, char *line);
/* Ends the fault that ends by being hit often enough. True while there is one: come again soon. */
bool control_tick(struct control *c);
