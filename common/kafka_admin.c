#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/kafka_internal.h"

enum { REQUEST_MS = 15 * 1000, WHY_MAX = 256 };

CLEANUP_DEFINE(const struct rd_kafka_metadata *, rd_kafka_metadata_destroy);
CLEANUP_DEFINE(rd_kafka_AdminOptions_t *, rd_kafka_AdminOptions_destroy);

static int admin_handle(const struct kafka_settings *s, rd_kafka_t **ret, struct err *e)
{
    CLEANUP(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = NULL;
    int rc = kafka_conf(s, &conf, e);
    return rc ? rc : kafka_handle(RD_KAFKA_PRODUCER, conf, ret, e);
}

/* ---- topics ---- */

static int set_config(rd_kafka_NewTopic_t *topic, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return rd_kafka_NewTopic_set_config(topic, name, text) ? -EINVAL : 0;
}

static int new_topic(const struct kafka_settings *s, const struct kafka_topic *t,
                     rd_kafka_NewTopic_t **ret, struct err *e)
{
    char name[KAFKA_NAME_MAX], why[WHY_MAX];
    int rc = kafka_name(s->topic_prefix, t->name, name, e);
    if (rc)
        return rc;
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, (int)s->partitions,
                                                       (int)s->replication_factor, why, sizeof why);
    if (!topic)
        return err_set(e, -EINVAL, "kafka: topic %s: %s", t->name, why);
    rc = set_config(topic, "min.insync.replicas", s->min_insync_replicas);
    if (rc == 0)
        rc = set_config(topic, "max.message.bytes", KAFKA_MESSAGE_MAX);
    if (rc == 0 && t->compacted)
        rc = rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact") ? -EINVAL : 0;
    else if (rc == 0)
        rc = set_config(topic, "retention.ms", t->retention_ms);
    if (rc) {
        rd_kafka_NewTopic_destroy(topic);
        return err_set(e, rc, "kafka: topic %s: librdkafka refuses its configuration", t->name);
    }
    *ret = topic;
    return 0;
}

static bool exists(const struct rd_kafka_metadata *md, const char *name)
{
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, name) == 0 && md->topics[i].err == 0)
            return true;
    }
    return false;
}

/* librdkafka's mock cluster, of which the embedded broker is made. */
static bool is_embedded(rd_kafka_t *rk)
{
    char *id = rd_kafka_clusterid(rk, 0);
    bool is = id && strncmp(id, "mockCluster", strlen("mockCluster")) == 0;
    if (id)
        rd_kafka_mem_free(rk, id);
    return is;
}

/*
 * The embedded broker knows no administration: there a topic comes to be when a client asks about
 * it, with the number of partitions that the broker likes.
 */
static int ask_for(rd_kafka_t *rk, const char *name, struct err *e)
{
    CLEANUP(rd_kafka_topic_destroy) rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    if (!topic)
        return kafka_err(e, rd_kafka_last_error(), name);
    CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, topic, &md, REQUEST_MS);
    if (code == 0 && !exists(md, name))
        code = RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
    return code ? kafka_err(e, code, name) : 0;
}

static rd_kafka_event_t *request(rd_kafka_t *rk, rd_kafka_NewTopic_t *topic)
{
    CLEANUP(rd_kafka_queue_destroy) rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    CLEANUP(rd_kafka_AdminOptions_destroy)
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    char why[WHY_MAX];
    /* Both are well inside librdkafka's bounds; the second makes the controller answer when the
     * topic can be used. */
    (void)rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_MS, why, sizeof why);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, REQUEST_MS, why, sizeof why);
    rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
    return rd_kafka_queue_poll(queue, 2 * REQUEST_MS);
}

/* 0 when it was created now, -EEXIST when somebody else was faster. */
static int create_topic(rd_kafka_t *rk, const struct kafka_settings *s, const struct kafka_topic *t,
                        struct err *e)
{
    rd_kafka_NewTopic_t *topic = NULL;
    int rc = new_topic(s, t, &topic, e);
    if (rc)
        return rc;
    CLEANUP(rd_kafka_event_destroy) rd_kafka_event_t *event = request(rk, topic);
    rd_kafka_NewTopic_destroy(topic);
    if (!event)
        return err_set(e, -ETIMEDOUT, "kafka: topic %s: no answer", t->name);
    if (rd_kafka_event_error(event))
        return err_set(e, kafka_errno(rd_kafka_event_error(event)), "kafka: topic %s: %s", t->name,
                       rd_kafka_event_error_string(event));
    size_t n = 0;
    const rd_kafka_topic_result_t **result =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    rd_kafka_resp_err_t code = n ? rd_kafka_topic_result_error(result[0]) : RD_KAFKA_RESP_ERR__FAIL;
    if (!code)
        return 0;
    const char *why = n ? rd_kafka_topic_result_error_string(result[0]) : NULL;
    return err_set(e, kafka_errno(code), "kafka: topic %s: %s", t->name,
                   why ? why : rd_kafka_err2str(code));
}

static int create_missing(rd_kafka_t *rk, const struct kafka_settings *s,
                          const struct kafka_topic *t, size_t n, size_t *ret_created, struct err *e)
{
    CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &md, REQUEST_MS);
    if (code)
        return kafka_err(e, code, "cannot list the topics");
    size_t created = 0;
    for (size_t i = 0; i < n; i++) {
        char name[KAFKA_NAME_MAX];
        int rc = kafka_name(s->topic_prefix, t[i].name, name, e);
        if (rc == 0 && exists(md, name))
            continue;
        if (rc == 0)
            rc = is_embedded(rk) ? ask_for(rk, name, e) : create_topic(rk, s, &t[i], e);
        if (rc && rc != -EEXIST)
            return rc;
        created += rc == 0;
    }
    *ret_created = created;
    return 0;
}

int kafka_create_topics(const struct kafka_settings *s, const struct kafka_topic *t, size_t n,
                        size_t *ret_created, struct err *e)
{
    /* Kafka would accept it, and then every produce with acks=all would fail. */
    if (s->min_insync_replicas > s->replication_factor)
        return err_set(e, -EINVAL, "kafka: min_insync_replicas %u is above replication_factor %u",
                       s->min_insync_replicas, s->replication_factor);
    CLEANUP(rd_kafka_destroy) rd_kafka_t *rk = NULL;
    int rc = admin_handle(s, &rk, e);
    if (rc == 0)
        rc = create_missing(rk, s, t, n, ret_created, e);
    if (rk)
        rd_kafka_poll(rk, 0); /* its log lines */
    return rc;
}

/* ---- health ---- */

/*
 * One handle per process for health checks, made at the first: a handle is several threads and
 * connections, too much for every probe. Settings of other brokers (tests) replace it.
 */
static int ping(const struct kafka_settings *s, int64_t timeout_ms, struct err *e)
{
    static rd_kafka_t *rk;
    static char *brokers;
    if (rk && strcmp(brokers, s->brokers) != 0) {
        rd_kafka_destroy(rk);
        rk = NULL;
    }
    if (!rk) {
        free(brokers);
        brokers = strdup(s->brokers);
        if (!brokers)
            return err_set(e, -ENOMEM, "kafka: out of memory");
        int rc = admin_handle(s, &rk, e);
        if (rc)
            return rc;
    }
    CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, NULL, &md, kafka_ms(timeout_ms));
    rd_kafka_poll(rk, 0);
    return code ? err_set(e, kafka_errno(code), "Kafka does not answer: %s", rd_kafka_err2str(code))
                : 0;
}

int kafka_ping(const struct kafka_settings *s, int64_t timeout_ms, struct err *e)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    int rc = ping(s, timeout_ms, e);
    pthread_mutex_unlock(&lock);
    return rc;
}
