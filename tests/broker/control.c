#include "control.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    BROKER = 1,
    FDS = 1024,
    ANSWER_MS = 5000,
    COUNT_MAX = 1000,
    LATE_MAX = 60 * 1000,
    METADATA = 3,
};

static const struct {
    const char *name;
    int16_t key;
} requests[] = {
    {"Produce", 0},          {"Fetch", 1},      {"Metadata", METADATA}, {"OffsetCommit", 8},
    {"FindCoordinator", 10}, {"JoinGroup", 11}, {"Heartbeat", 12},      {"SyncGroup", 14},
};
#define REQUESTS (sizeof requests / sizeof *requests)

static atomic_uint seen[REQUESTS];

/* The one fault that is not the mock's own. */
static struct {
    unsigned until; /* of seen[] */
    bool active;
} metadata;
static atomic_uint cuts; /* Metadata requests that still lose their connection */

/* ---- in the mock's thread ---- */

/* What the mock itself does to a request that gets a transport error. */
static void cut_peer(const char *line)
{
    const char *port = strrchr(line, ':');
    for (int fd = 3; port && fd < FDS; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == sizeof peer &&
            peer.sin_family == AF_INET && ntohs(peer.sin_port) == strtoul(port + 1, NULL, 10))
            (void)shutdown(fd, SHUT_RDWR);
    }
}

static void arrived(const char *request, const char *line)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        const size_t n = strlen(requests[i].name);
        if (strncmp(request, requests[i].name, n) != 0 ||
            strncmp(request + n, "Request", strlen("Request")) != 0)
            continue;
        unsigned left = atomic_load(&cuts);
        if (requests[i].key == METADATA && left > 0) {
            atomic_store(&cuts, left - 1);
            cut_peer(line);
        }
        atomic_fetch_add(&seen[i], 1);
    }
}

/* "Broker 1: Received ProduceRequestV7 from 127.0.0.1:40000" */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    static const char word[] = ": Received ";
    const char *request = strstr(text, word);
    (void)rk;
    if (request && strcmp(facility, "MOCK") == 0)
        arrived(request + strlen(word), text);
    if (level <= 3)
        fprintf(stderr, "tocsin-mock-broker: %s\n", text);
}

void control_watch(rd_kafka_conf_t *conf)
{
    char why[256];
    rd_kafka_conf_set(conf, "debug", "mock", why, sizeof why);
    rd_kafka_conf_set_log_cb(conf, on_log);
}

/* ---- faults ---- */

static bool refuse(const char *why)
{
    printf("{\"error\":\"%s\"}\n", why);
    return false;
}

static int number(const char *s, long max)
{
    char *end = NULL;
    const long n = s ? strtol(s, &end, 10) : -1;
    return !s || end == s || *end || n < 0 || n > max ? -1 : (int)n;
}

static bool find_request(const char *name, size_t *ret)
{
    for (*ret = 0; name && *ret < REQUESTS; ++*ret)
        if (strcmp(requests[*ret].name, name) == 0)
            return true;
    return refuse("no such request");
}

static bool find_code(const char *name, rd_kafka_resp_err_t *ret)
{
    for (int code = 1; name && code < RD_KAFKA_RESP_ERR_END_ALL; code++) {
        const char *known = rd_kafka_err2name((rd_kafka_resp_err_t)code);
        if (strcmp(known, name) == 0) {
            *ret = (rd_kafka_resp_err_t)code;
            return true;
        }
    }
    return refuse("no such fault");
}

static void set_topic_errors(const struct control *c, rd_kafka_resp_err_t code)
{
    for (char **topic = c->topics; *topic; topic++)
        rd_kafka_mock_topic_set_error(c->cluster, *topic, code);
}

/*
 * The mock asks its stack of errors for every request but this one (librdkafka 2.0.2). A code goes
 * to every topic of the answer, a connection is cut from outside, and only all answers together can
 * be late.
 */
static void fail_metadata(const struct control *c, size_t i, int count, rd_kafka_resp_err_t code,
                          int late)
{
    metadata.until = atomic_load(&seen[i]) + (unsigned)count;
    metadata.active = true;
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT)
        atomic_store(&cuts, (unsigned)count);
    else if (code)
        set_topic_errors(c, code);
    else
        (void)rd_kafka_mock_broker_set_rtt(c->cluster, BROKER, late);
}

static size_t index_of_metadata(void)
{
    size_t i = 0;
    while (requests[i].key != METADATA)
        i++;
    return i;
}

static unsigned metadata_left(void)
{
    const unsigned now = atomic_load(&seen[index_of_metadata()]);
    return metadata.active && now < metadata.until ? metadata.until - now : 0;
}

bool control_tick(struct control *c)
{
    if (!metadata.active || metadata_left() > 0)
        return metadata.active;
    metadata.active = false;
    atomic_store(&cuts, 0);
    set_topic_errors(c, RD_KAFKA_RESP_ERR_NO_ERROR);
    (void)rd_kafka_mock_broker_set_rtt(c->cluster, BROKER, 0);
    return false;
}

static size_t left(const struct control *c, size_t i)
{
    size_t n = 0;
    if (requests[i].key == METADATA)
        return metadata_left();
    (void)rd_kafka_mock_broker_error_stack_cnt(c->cluster, BROKER, requests[i].key, &n);
    return n;
}

static void say_left(const struct control *c, size_t i)
{
    printf("{\"left\":%zu,\"seen\":%u}\n", left(c, i), atomic_load(&seen[i]));
}

/* CODE | closed | late MS */
static bool find_fault(char **save, rd_kafka_resp_err_t *ret_code, int *ret_late)
{
    const char *what = strtok_r(NULL, " ", save);
    *ret_code = RD_KAFKA_RESP_ERR_NO_ERROR;
    *ret_late = 0;
    if (what && strcmp(what, "late") == 0) {
        *ret_late = number(strtok_r(NULL, " ", save), LATE_MAX);
        return *ret_late > 0 || refuse("late by how many ms?");
    }
    if (what && strcmp(what, "closed") == 0) {
        *ret_code = RD_KAFKA_RESP_ERR__TRANSPORT;
        return true;
    }
    return find_code(what, ret_code);
}

/* REQUEST COUNT FAULT */
static void fault(const struct control *c, char **save)
{
    size_t i;
    rd_kafka_resp_err_t code;
    int late;
    if (!find_request(strtok_r(NULL, " ", save), &i))
        return;
    const int count = number(strtok_r(NULL, " ", save), COUNT_MAX);
    if (count <= 0) {
        (void)refuse("how many?");
        return;
    }
    if (!find_fault(save, &code, &late))
        return;
    if (requests[i].key == METADATA)
        fail_metadata(c, i, count, code, late);
    /* To the broker's stack, not the cluster's: only what is left of that one can be asked. */
    for (int n = 0; n < count && requests[i].key != METADATA; n++)
        (void)rd_kafka_mock_broker_push_request_error_rtts(c->cluster, BROKER, requests[i].key, 1,
                                                           code, late);
    say_left(c, i);
}

/* ---- ends ---- */

static bool open_client(struct control *c)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(c->cluster), why,
                      sizeof why);
    rd_kafka_conf_set(conf, "log_level", "2", why, sizeof why);
    c->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!c->client)
        rd_kafka_conf_destroy(conf);
    return c->client || refuse("librdkafka gives no client");
}

static void ends(struct control *c)
{
    if (!c->client && !open_client(c))
        return;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    rd_kafka_resp_err_t code = out ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__FAIL;
    for (char **topic = c->topics; !code && *topic; topic++) {
        fprintf(out, "%s\"%s\":[", topic == c->topics ? "" : ",", *topic);
        for (int p = 0; !code && p < c->partitions; p++) {
            int64_t low = 0, high = 0;
            code = rd_kafka_query_watermark_offsets(c->client, *topic, p, &low, &high, ANSWER_MS);
            fprintf(out, "%s%" PRId64, p ? "," : "", high);
        }
        fputs("]", out);
    }
    if (out)
        fclose(out);
    if (code)
        (void)refuse(rd_kafka_err2name(code));
    else
        printf("{%s}\n", text);
    free(text);
}

void control_line(struct control *c, char *line)
{
    char *save = NULL;
    const char *verb = strtok_r(line, " ", &save);
    size_t i;
    if (verb && strcmp(verb, "fault") == 0) {
        fault(c, &save);
    } else if (verb && strcmp(verb, "left") == 0) {
        if (find_request(strtok_r(NULL, " ", &save), &i))
            say_left(c, i);
    } else if (verb && strcmp(verb, "ends") == 0) {
        ends(c);
    } else {
        (void)refuse("fault, left or ends");
    }
    fflush(stdout);
}
