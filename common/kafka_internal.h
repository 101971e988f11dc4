/* What the producer, the consumer and the administration share: how a librdkafka handle is made,
 * and names and errors. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "common/kafka.h"

CLEANUP_DEFINE(rd_kafka_t *, rd_kafka_destroy);
CLEANUP_DEFINE(rd_kafka_error_t *, rd_kafka_error_destroy);
CLEANUP_DEFINE(rd_kafka_topic_t *, rd_kafka_topic_destroy);
CLEANUP_DEFINE(rd_kafka_queue_t *, rd_kafka_queue_destroy);
CLEANUP_DEFINE(rd_kafka_event_t *, rd_kafka_event_destroy);
CLEANUP_DEFINE(rd_kafka_conf_t *, rd_kafka_conf_destroy);
CLEANUP_DEFINE(rd_kafka_topic_partition_list_t *, rd_kafka_topic_partition_list_destroy);

#define KAFKA_NAME_MAX 250 /* the broker's limit and a NUL */

/* A configuration with what every handle needs: brokers, TLS, SASL, our logger. */
int kafka_conf(const struct kafka_settings *s, rd_kafka_conf_t **ret, struct err *e) MUST_CHECK;

struct kafka_property {
    const char *name, *value; /* `value` NULL: `number` is it */
    int64_t number;
};
/* Set all, up to the entry without a name. */
int kafka_conf_set(rd_kafka_conf_t *c, const struct kafka_property *p, struct err *e) MUST_CHECK;

/* A handle whose log lines wait in its own queue until it is polled. `c` is kept by the caller. */
int kafka_handle(rd_kafka_type_t type, const rd_kafka_conf_t *c, rd_kafka_t **ret,
                 struct err *e) MUST_CHECK;

/* prefix.name, or name when there is no prefix; -ENAMETOOLONG. */
int kafka_name(const char *prefix, const char *name, char out[KAFKA_NAME_MAX],
               struct err *e) MUST_CHECK;
/* The name again: a pointer into `full`. */
const char *kafka_short_name(const char *prefix, const char *full);

int kafka_errno(rd_kafka_resp_err_t code);
/* "kafka: <what>: <librdkafka's words>" under kafka_errno(). */
int kafka_err(struct err *e, rd_kafka_resp_err_t code, const char *what);

/* librdkafka wants an int of ms; anything longer is as good as its maximum. */
static inline int kafka_ms(int64_t ms)
{
    return ms < 0 ? 0 : ms > INT32_MAX ? INT32_MAX : (int)ms;
}
