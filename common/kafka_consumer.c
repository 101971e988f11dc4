/*
 * The high-level consumer with eager rebalancing: partitions come and go all at once, and where to
 * start is asked of the caller each time, so librdkafka's own stored offsets never count.
 */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_internal.h"
#include "common/log.h"

enum {
    REJOIN_MS = 1000,       /* after assigned() refused */
    REQUEST_MS = 10 * 1000, /* for a seek to take effect */
    FETCH_BYTES = 64 << 10,
    QUIET_MS = 500,
    READ_AHEAD_KB = 4096,
    LEAVE_MS = 3000, /* to tell the group good-bye */
    MAX_POLL_MS =
        300 *
        1000, /* between polls before the group goes on without us: far above the worst batch */
};

struct kafka_consumer {
    rd_kafka_t *rk;
    char *prefix;
    size_t poll_bytes;
    rd_kafka_topic_partition_list_t *topics;
    int (*assigned)(void *ctx, struct kafka_partition *p, size_t n, struct err *e);
    void (*revoked)(void *ctx, const struct kafka_partition *p, size_t n, bool lost);
    void *ctx;

    bool owns;          /* assigned() took the partitions */
    bool refused, left; /* it did not; the group was left because of it */
    int64_t rejoin_at;  /* monotonic ms, while `left` */
    unsigned rebalances;
    struct err error; /* for the next kafka_poll() that has no messages; code 0: none */
};

/* ---- partitions come and go ---- */

static struct kafka_partition *partitions_of(const struct kafka_consumer *c,
                                             const rd_kafka_topic_partition_list_t *list)
{
    struct kafka_partition *p = calloc((size_t)list->cnt + 1, sizeof *p);
    for (int i = 0; p && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *in = &list->elems[i];
        snprintf(p[i].topic, sizeof p[i].topic, "%s", kafka_short_name(c->prefix, in->topic));
        p[i].partition = in->partition;
        p[i].offset = -1;
    }
    return p;
}

static int64_t start_offset(int64_t offset)
{
    return offset < 0 ? RD_KAFKA_OFFSET_BEGINNING : offset;
}

static int take(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    if (list->cnt == 0)
        return 0;
    CLEANUP(free) struct kafka_partition *p = partitions_of(c, list);
    if (!p)
        return err_set(e, -ENOMEM, "kafka: out of memory");
    int rc = c->assigned(c->ctx, p, (size_t)list->cnt, e);
    if (rc)
        return rc;
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = start_offset(p[i].offset);
    c->owns = true;
    return 0;
}

static void give_back(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *list,
                      bool lost)
{
    if (!c->owns)
        return;
    c->owns = false;
    CLEANUP(free) struct kafka_partition *p = partitions_of(c, list);
    c->revoked(c->ctx, p, p ? (size_t)list->cnt : 0, lost);
}

static void on_assign(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    struct err e = {0};
    if (!c->left && take(c, list, &e) == 0) {
        rd_kafka_assign(c->rk, list);
        return;
    }
    if (!c->left) {
        c->refused = true;
        c->error = e;
        if (!c->error.code)
            err_set(&c->error, -EAGAIN, "kafka: the partitions were refused");
    }
    /* Nothing, but not NULL, which librdkafka takes for no answer to an assignment. */
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);
    rd_kafka_assign(c->rk, nothing);
}

static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                      rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;
    c->rebalances++;
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assign(c, list);
        return;
    }
    bool lost = what != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS || rd_kafka_assignment_lost(rk);
    give_back(c, list, lost);
    rd_kafka_assign(rk, NULL);
}

/* ---- life ---- */

static int configure(const struct kafka_settings *s, const struct kafka_consumer_options *o,
                     rd_kafka_conf_t *conf, struct err *e)
{
    char group_id[KAFKA_NAME_MAX];
    int rc = kafka_name(s->group_prefix, o->group, group_id, e);
    const struct kafka_property properties[] = {
        {.name = "group.id", .value = group_id},
        {.name = "enable.auto.commit", .value = "false"},
        {.name = "enable.auto.offset.store", .value = "false"},
        /* Only where the offset that we name does not exist any more; the other default would skip.
         */
        {.name = "auto.offset.reset", .value = "earliest"},
        {.name = "partition.assignment.strategy", .value = "roundrobin"},
        {.name = "session.timeout.ms", .number = s->session_timeout},
        {.name = "heartbeat.interval.ms", .number = s->session_timeout / 4},
        {.name = "max.poll.interval.ms", .number = MAX_POLL_MS},
        {.name = "fetch.wait.max.ms", .number = o->gather ? s->fetch_wait : QUIET_MS},
        {.name = "fetch.min.bytes", .number = o->gather ? FETCH_BYTES : 1},
        /* Read ahead, per partition: librdkafka's 64 MiB times the partitions is a machine. */
        {.name = "queued.max.messages.kbytes", .number = READ_AHEAD_KB},
        {0},
    };
    return rc ? rc : kafka_conf_set(conf, properties, e);
}

static int list_topics(struct kafka_consumer *c, const char *const *topics, struct err *e)
{
    c->topics = rd_kafka_topic_partition_list_new(4);
    for (; *topics; topics++) {
        char name[KAFKA_NAME_MAX];
        int rc = kafka_name(c->prefix, *topics, name, e);
        if (rc)
            return rc;
        rd_kafka_topic_partition_list_add(c->topics, name, RD_KAFKA_PARTITION_UA);
    }
    return 0;
}

static int subscribe(struct kafka_consumer *c, struct err *e)
{
    rd_kafka_resp_err_t code = rd_kafka_subscribe(c->rk, c->topics);
    return code ? kafka_err(e, code, "subscribe") : 0;
}

static int join(struct kafka_consumer *c, const struct kafka_settings *s,
                const struct kafka_consumer_options *o, struct err *e)
{
    CLEANUP(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = NULL;
    int rc = kafka_conf(s, &conf, e);
    if (rc == 0)
        rc = configure(s, o, conf, e);
    if (rc == 0)
        rc = list_topics(c, o->topics, e);
    if (rc)
        return rc;
    rd_kafka_conf_set_rebalance_cb(conf, rebalance);
    rd_kafka_conf_set_opaque(conf, c);
    rc = kafka_handle(RD_KAFKA_CONSUMER, conf, &c->rk, e);
    return rc ? rc : subscribe(c, e);
}

int kafka_consumer_new(const struct kafka_settings *s, const struct kafka_consumer_options *o,
                       struct kafka_consumer **ret, struct err *e)
{
    struct kafka_consumer *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, -ENOMEM, "kafka: out of memory");
    c->assigned = o->assigned;
    c->revoked = o->revoked;
    c->ctx = o->ctx;
    c->poll_bytes = o->poll_bytes;
    c->prefix = strdup(s->topic_prefix ? s->topic_prefix : "");
    int rc = c->prefix ? join(c, s, o, e) : err_set(e, -ENOMEM, "kafka: out of memory");
    if (rc) {
        kafka_consumer_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

/*
 * rd_kafka_consumer_close() waits for commits that are on their way, for minutes when the broker is
 * away. Past the deadline the group finds out by the session timeout.
 */
static bool closed(rd_kafka_t *rk)
{
    CLEANUP(rd_kafka_queue_destroy) rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    CLEANUP(rd_kafka_error_destroy)
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(rk, queue);
    int64_t deadline = clock_monotonic_ms() + LEAVE_MS;
    while (!error && !rd_kafka_consumer_closed(rk) && clock_monotonic_ms() < deadline) {
        /* revoked() runs in here. Not rd_kafka_queue_poll_callback(), which aborts the process when
         * it meets what was read ahead. */
        rd_kafka_message_t *unread = rd_kafka_consume_queue(queue, 50);
        if (unread)
            rd_kafka_message_destroy(unread);
    }
    return rd_kafka_consumer_closed(rk);
}

void kafka_consumer_free(struct kafka_consumer *c)
{
    if (!c)
        return;
    if (c->rk)
        rd_kafka_destroy_flags(c->rk, closed(c->rk) ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (c->topics)
        rd_kafka_topic_partition_list_destroy(c->topics);
    free(c->prefix);
    free(c);
}

/* ---- polling ---- */

/* What librdkafka heals by itself is only logged; what it cannot is for a person. */
static void note_error(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped = 0;
    switch ((int)m->err) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__FATAL:
        kafka_err(&c->error, m->err, m->rkt ? rd_kafka_topic_name(m->rkt) : "consumer");
        break;
    default:
        if (log_allow(&limit, &dropped))
            log_warn(EV("kafka_consumer_error"), KV("error", rd_kafka_err2name(m->err)),
                     KV("message", rd_kafka_message_errstr(m)), KV("dropped", dropped));
    }
}

static void fill(const struct kafka_consumer *c, rd_kafka_message_t *m, struct kafka_message *out)
{
    *out = (struct kafka_message){
        .topic = kafka_short_name(c->prefix, rd_kafka_topic_name(m->rkt)),
        .partition = m->partition,
        .offset = m->offset,
        .timestamp = rd_kafka_message_timestamp(m, NULL),
        .key = {m->key, m->key_len},
        .value = {m->payload, m->len},
        .own = m,
    };
}

static void free_messages(struct kafka_message *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kafka_message_free(&m[i]);
}

/*
 * Every rebalance starts again from the offsets of assigned(), so what this call had read before
 * one is void: it belongs to others, or comes again.
 */
static size_t read_messages(struct kafka_consumer *c, struct kafka_message *out, size_t max,
                            int64_t wait_ms)
{
    size_t n = 0, bytes = 0;
    while (n < max && (c->poll_bytes == 0 || bytes < c->poll_bytes)) {
        unsigned before = c->rebalances;
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, n ? 0 : kafka_ms(wait_ms));
        if (c->rebalances != before) {
            free_messages(out, n);
            n = bytes = 0;
        }
        if (!m)
            break;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            bytes += m->len;
            fill(c, m, &out[n++]);
            continue;
        }
        note_error(c, m);
        rd_kafka_message_destroy(m);
        break;
    }
    return n;
}

/* Outside the callback, where librdkafka is in the middle of the very rebalance. */
static void leave_and_return(struct kafka_consumer *c)
{
    if (c->refused) {
        c->refused = false;
        c->left = true;
        c->rejoin_at = clock_monotonic_ms() + REJOIN_MS;
        rd_kafka_unsubscribe(c->rk);
    } else if (c->left && clock_monotonic_ms() >= c->rejoin_at) {
        c->left = subscribe(c, &c->error) != 0;
        c->rejoin_at = clock_monotonic_ms() + REJOIN_MS;
    }
}

int kafka_poll(struct kafka_consumer *c, struct kafka_message *out, size_t max, int64_t wait_ms,
               struct err *e)
{
    leave_and_return(c);
    if (c->left && wait_ms > REJOIN_MS)
        wait_ms = REJOIN_MS;
    size_t n = read_messages(c, out, max > INT32_MAX ? INT32_MAX : max, wait_ms);
    leave_and_return(c);
    if (n > 0 || !c->error.code)
        return (int)n;
    struct err error = c->error;
    c->error.code = 0;
    return err_set(e, error.code, "%s", error.msg);
}

/* ---- messages ---- */

void kafka_message_free(struct kafka_message *m)
{
    if (m->own)
        rd_kafka_message_destroy(m->own);
    m->own = NULL;
}

struct slice kafka_message_header(const struct kafka_message *m, const char *name)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    if (rd_kafka_message_headers(m->own, &headers) ||
        rd_kafka_header_get_last(headers, name, &value, &len))
        return (struct slice){NULL, 0};
    return (struct slice){value, len};
}

size_t kafka_message_headers(const struct kafka_message *m, struct arena *a,
                             struct kafka_header **ret)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(m->own, &headers))
        return 0;
    size_t n = rd_kafka_header_cnt(headers);
    struct kafka_header *out = arena_array(a, n, struct kafka_header);
    if (!out)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const void *value = NULL;
        rd_kafka_header_get_all(headers, i, &out[i].name, &value, &out[i].value.len);
        out[i].value.p = value;
    }
    *ret = out;
    return n;
}

/* ---- positions ---- */

static rd_kafka_topic_partition_list_t *full_list(const struct kafka_consumer *c,
                                                  const struct kafka_partition *p, size_t n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++) {
        char name[KAFKA_NAME_MAX];
        if (kafka_name(c->prefix, p[i].topic, name, NULL) == 0)
            rd_kafka_topic_partition_list_add(list, name, p[i].partition)->offset =
                start_offset(p[i].offset);
    }
    return list;
}

static int first_error(const rd_kafka_topic_partition_list_t *list, const char *what, struct err *e)
{
    for (int i = 0; i < list->cnt; i++) {
        if (list->elems[i].err)
            return kafka_err(e, list->elems[i].err, what);
    }
    return 0;
}

int kafka_seek(struct kafka_consumer *c, const char *topic, int32_t partition, int64_t offset,
               struct err *e)
{
    struct kafka_partition p = {.partition = partition, .offset = offset};
    snprintf(p.topic, sizeof p.topic, "%s", topic);
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = full_list(c, &p, 1);
    CLEANUP(rd_kafka_error_destroy)
    rd_kafka_error_t *error = rd_kafka_seek_partitions(c->rk, list, REQUEST_MS);
    if (error)
        return kafka_err(e, rd_kafka_error_code(error), "seek");
    return first_error(list, "seek", e);
}

int kafka_pause(struct kafka_consumer *c, const struct kafka_partition *p, size_t n, bool pause,
                struct err *e)
{
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = full_list(c, p, n);
    rd_kafka_resp_err_t code =
        pause ? rd_kafka_pause_partitions(c->rk, list) : rd_kafka_resume_partitions(c->rk, list);
    const char *what = pause ? "pause" : "resume";
    return code ? kafka_err(e, code, what) : first_error(list, what, e);
}

void kafka_commit_hint(struct kafka_consumer *c, const struct kafka_partition *p, size_t n)
{
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = full_list(c, p, n);
    (void)rd_kafka_commit(c->rk, list, 1);
}

/* librdkafka's marks for "unknown" are negative and many. */
static int64_t known(int64_t offset)
{
    return offset < 0 ? -1 : offset;
}

void kafka_watermarks(struct kafka_consumer *c, const char *topic, int32_t partition,
                      int64_t *ret_low, int64_t *ret_high)
{
    char name[KAFKA_NAME_MAX];
    int64_t low = -1, high = -1;
    if (kafka_name(c->prefix, topic, name, NULL) == 0)
        (void)rd_kafka_get_watermark_offsets(c->rk, name, partition, &low, &high);
    *ret_low = known(low);
    *ret_high = known(high);
}

int kafka_query_watermarks(struct kafka_consumer *c, const char *topic, int32_t partition,
                           int64_t timeout_ms, int64_t *ret_low, int64_t *ret_high, struct err *e)
{
    char name[KAFKA_NAME_MAX];
    int rc = kafka_name(c->prefix, topic, name, e);
    if (rc)
        return rc;
    int64_t low = -1, high = -1;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(c->rk, name, partition, &low, &high, kafka_ms(timeout_ms));
    if (code)
        return kafka_err(e, code, "watermarks");
    *ret_low = known(low);
    *ret_high = known(high);
    return 0;
}

int kafka_cluster_id(struct kafka_consumer *c, int64_t timeout_ms, char out[64], struct err *e)
{
    char *id = rd_kafka_clusterid(c->rk, kafka_ms(timeout_ms));
    if (!id)
        return err_set(e, -ETIMEDOUT, "kafka: no broker told the cluster id within %lld ms",
                       (long long)timeout_ms);
    snprintf(out, 64, "%s", id);
    rd_kafka_mem_free(c->rk, id);
    return 0;
}
