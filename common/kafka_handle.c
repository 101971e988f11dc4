#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/kafka_internal.h"
#include "common/log.h"

/*
 * librdkafka repeats itself several times a second while brokers are away. Each of its facilities
 * ("FAIL", "ERROR", "REQTMOUT" ...) has an allowance of its own, so that a flood of one does not
 * hide the first line of another.
 */
static bool may_log(const char *facility, uint32_t *ret_dropped)
{
    enum { LIMITS = 16 };
#define LIMIT                                                                                      \
    {                                                                                              \
        .per_minute = 6                                                                            \
    }
    static struct log_limit limits[LIMITS] = {LIMIT, LIMIT, LIMIT, LIMIT, LIMIT, LIMIT,
                                              LIMIT, LIMIT, LIMIT, LIMIT, LIMIT, LIMIT,
                                              LIMIT, LIMIT, LIMIT, LIMIT};
#undef LIMIT
    unsigned hash = 5381;
    for (const char *c = facility; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    return log_allow(&limits[hash % LIMITS], ret_dropped);
}

static void log_line(const rd_kafka_t *rk, int syslog_level, const char *facility, const char *text)
{
    uint32_t dropped = 0;
    if (!may_log(facility, &dropped))
        return;
    enum log_level level = syslog_level <= 3   ? LVL_ERROR
                           : syslog_level == 4 ? LVL_WARN
                           : syslog_level <= 6 ? LVL_INFO
                                               : LVL_DEBUG;
    log_write(level, (const struct kv[]){EV("kafka_client"),
                                         KV("client", rd_kafka_name(rk)),
                                         KV("facility", facility),
                                         KV("message", text),
                                         KV("dropped", dropped),
                                         {0}});
}

int kafka_conf_set(rd_kafka_conf_t *c, const struct kafka_property *p, struct err *e)
{
    for (; p->name; p++) {
        char number[24], why[256];
        snprintf(number, sizeof number, "%lld", (long long)p->number);
        const char *value = p->value ? p->value : number;
        if (rd_kafka_conf_set(c, p->name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
            return err_set(e, -EINVAL, "kafka: %s", why);
    }
    return 0;
}

/* An empty setting leaves librdkafka's default. librdkafka's words would quote the value, so they
 * are not used. */
static int set_if_given(rd_kafka_conf_t *c, const char *name, const char *value, struct err *e)
{
    if (!value || !*value)
        return 0;
    if (rd_kafka_conf_set(c, name, value, NULL, 0) != RD_KAFKA_CONF_OK)
        return err_set(e, -EINVAL, "kafka: librdkafka refuses the value of %s", name);
    return 0;
}

int kafka_conf(const struct kafka_settings *s, rd_kafka_conf_t **ret, struct err *e)
{
    CLEANUP(rd_kafka_conf_destroy) rd_kafka_conf_t *c = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(c, log_line);
    const struct kafka_property always[] = {
        {.name = "log.queue", .value = "true"},
        {.name = "reconnect.backoff.ms", .number = 100},
        {.name = "reconnect.backoff.max.ms", .number = 500},
        {.name = "socket.keepalive.enable", .value = "true"},
        {.name = "socket.nagle.disable", .value = "true"},
        /* New topics and moved leaders are found without a restart. */
        {.name = "topic.metadata.refresh.interval.ms", .number = 30000},
        {0},
    };
    int rc = kafka_conf_set(c, always, e);

    const struct {
        const char *name, *value;
    } given[] = {
        {"bootstrap.servers", s->brokers},           {"client.id", s->client_id},
        {"security.protocol", s->security_protocol}, {"sasl.mechanism", s->sasl_mechanism},
        {"sasl.username", s->sasl_username},         {"sasl.password", s->sasl_password},
        {"ssl.ca.location", s->ssl_ca_location},
    };
    for (size_t i = 0; rc == 0 && i < sizeof given / sizeof *given; i++)
        rc = set_if_given(c, given[i].name, given[i].value, e);
    if (rc == 0)
        *ret = TAKE(c);
    return rc;
}

int kafka_handle(rd_kafka_type_t type, const rd_kafka_conf_t *c, rd_kafka_t **ret, struct err *e)
{
    char why[256];
    rd_kafka_conf_t *own = rd_kafka_conf_dup(c);
    rd_kafka_t *rk = rd_kafka_new(type, own, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(own);
        return err_set(e, -EINVAL, "kafka: %s", why);
    }
    if (type == RD_KAFKA_CONSUMER)
        rd_kafka_poll_set_consumer(rk);
    /* To the main queue, which whoever owns the handle polls. */
    rd_kafka_set_log_queue(rk, NULL);
    *ret = rk;
    return 0;
}

int kafka_name(const char *prefix, const char *name, char out[KAFKA_NAME_MAX], struct err *e)
{
    const bool some = prefix && prefix[0];
    int n = snprintf(out, KAFKA_NAME_MAX, "%s%s%s", some ? prefix : "", some ? "." : "", name);
    if (n < 0 || n >= KAFKA_NAME_MAX)
        return err_set(e, -ENAMETOOLONG, "kafka: the name %.60s... is too long", name);
    return 0;
}

const char *kafka_short_name(const char *prefix, const char *full)
{
    size_t n = prefix ? strlen(prefix) : 0;
    return n && strncmp(full, prefix, n) == 0 && full[n] == '.' ? full + n + 1 : full;
}

int kafka_errno(rd_kafka_resp_err_t code)
{
    static const struct {
        rd_kafka_resp_err_t code;
        int number;
    } map[] = {
        {RD_KAFKA_RESP_ERR_NO_ERROR, 0},
        {RD_KAFKA_RESP_ERR__QUEUE_FULL, -EAGAIN},
        {RD_KAFKA_RESP_ERR__FATAL, -EAGAIN}, /* the producer is being rebuilt */
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, -EMSGSIZE},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, -ENOENT},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, -ENOENT},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, -ENOENT},
        {RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, -EEXIST},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, -ETIMEDOUT},
        {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, -ETIMEDOUT},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, -ETIMEDOUT},
        {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, -ETIMEDOUT},
        {RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, -ETIMEDOUT},
        {RD_KAFKA_RESP_ERR__TRANSPORT, -ENOTCONN},
        {RD_KAFKA_RESP_ERR__RESOLVE, -ENOTCONN},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, -ENOTCONN},
        /* The broker says try later: it starts, or the partition moves. */
        {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, -EBUSY},
        {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, -EBUSY},
        {RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, -EBUSY},
        {RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, -EBUSY},
        {RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, -EBUSY},
        {RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH, -EBUSY},
        {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, -EBUSY},
        {RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, -EBUSY},
        {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, -EBUSY},
        {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, -EBUSY},
        {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, -EBUSY},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, -EBUSY},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, -EACCES},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, -EACCES},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, -EACCES},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, -EACCES},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, -EACCES},
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, -ECANCELED},
        {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, -ECANCELED},
    };
    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        if (map[i].code == code)
            return map[i].number;
    }
    return -EIO;
}

int kafka_err(struct err *e, rd_kafka_resp_err_t code, const char *what)
{
    return err_set(e, kafka_errno(code), "kafka: %s: %s", what, rd_kafka_err2str(code));
}
