/*
 * Every setting of Tocsin that is a flat table, for all services: one file configures them all, and
 * each checks all of it. The trees have readers of their own: route (common/route.h), receivers
 * (common/receivers.h), sources (common/source.h), playbooks (learner). Times are ms.
 */
#pragma once

#include "common/conf.h"

struct kafka_settings {
    const char *brokers, *topic_prefix, *client_id;
    const char *security_protocol, *sasl_mechanism, *sasl_username, *sasl_password,
        *ssl_ca_location;
    uint32_t partitions, replication_factor, min_insync_replicas;
    int64_t ack_timeout, session_timeout, linger, fetch_wait;
    uint32_t queue_messages;
    const char *group_prefix;
};

struct postgres_settings {
    const char *url; /* secret */
    const char *schema;
    int64_t connect_timeout, statement_timeout;
};

struct redis_settings {
    const char *url; /* secret; empty: no Redis */
    const char *prefix;
    int64_t timeout, key_ttl;
};

struct ingest_settings {
    const char *listen;
    uint32_t threads, connections;
    int64_t request_deadline, drain_timeout;
    size_t max_body;
    uint32_t max_depth, max_alerts;
    const char *spool_dir; /* empty: no spool, 503 while Kafka is away */
    size_t spool_max;
    int64_t beat_interval;
    const char *fetch_ca_file; /* empty: the system's authorities */
    int64_t fetch_timeout, fetch_keep;
    uint32_t fetch_concurrency, fetch_waiting, fetch_kept;
    const char *console_url; /* empty: what only the console can answer is a 404 */
};

struct processor_settings {
    const char *listen;
    uint32_t batch_records;
    size_t batch_bytes;
    int64_t batch_wait, drain_timeout, timer_idle, silences_kept;
    uint32_t timer_batch, crash_limit;
};

struct notifier_settings {
    const char *listen;
    struct conf_strs channels; /* empty: all */
    uint32_t concurrency, per_destination;
    int64_t request_timeout, connect_timeout, lease, sweep_interval, sweep_age;
    int64_t retry_base, retry_cap, retry_for, drain_timeout;
    uint32_t breaker_failures; /* 0: no breaker */
    int64_t breaker_wait;
    size_t max_response;
    uint32_t digest_items;
};

struct learner_settings {
    const char *listen;
    int64_t stability_window, settle_window, poll_interval, drain_timeout;
    uint32_t history; /* newest repairs shown */
    uint32_t steps;   /* of one playbook; the best ones stay */
    uint32_t batch, crash_limit;
};

struct console_settings {
    const char *listen;
    const char *web_dir;
    uint32_t threads, connections, page_max;
    int64_t request_deadline, drain_timeout;
    const char *link_secret, *link_secret_before; /* secret; empty: no links that act */
    int64_t link_ttl, silence_for;
    const char *slack_signing_secret, *twilio_auth_token; /* secret; empty: no such callbacks */
    const char *twilio_status;                            /* auto, always or never */
};

struct frequency_settings {
    uint32_t repeat, escalate, permanent_fix; /* occurrences in 24 h */
};

struct aggregation_settings {
    int64_t window;        /* 10 min: re-open, unite */
    int64_t absence_grace; /* 2 min */
    int64_t absence_cap;   /* 1 h: how long a silent ingest may hold back ends by silence */
    int64_t delivery_id_ttl;
};

/* Bytes of a tenant and of a label's value. Both stand side by side in one entry of an index
 * (incidents_by_service; a playbook's key is shorter), which holds 2704 bytes, 50 of them not ours.
 */
#define TENANT_MAX 128
#define LABEL_VALUE_MAX 2500

struct limits_settings {
    uint32_t labels, label_name, label_value; /* per alert; bytes */
    uint32_t annotations, annotation_value;
    uint32_t open_incidents;                  /* per tenant; past it the overflow incident */
    uint32_t starts, marks;                   /* facts kept per alert */
    struct conf_strs allow_private_addresses; /* CIDRs that we may reach */
    uint32_t message_alerts;                  /* alerts listed in one message */
    uint32_t rules;                           /* in the configuration */
    uint32_t fingerprint_words;               /* of a sender's own, per alert */
    size_t payload;                           /* bytes of one rendered message */
};

struct repairs_settings {
    struct conf_strs tokens;          /* secret; may report repairs */
    struct conf_strs verified_tokens; /* secret; may say verified: true */
};

struct settings {
    const char *external_url;       /* how people and vendors reach the console */
    const char *tenant;             /* of what comes without one */
    const char *locale, *time_zone; /* of receivers that say nothing */
    int log_level;                  /* enum log_level - 1 */
    struct kafka_settings kafka;
    struct postgres_settings postgres;
    struct redis_settings redis;
    struct ingest_settings ingest;
    struct processor_settings processor;
    struct notifier_settings notifier;
    struct learner_settings learner;
    struct console_settings console;
    struct frequency_settings frequency;
    struct aggregation_settings aggregation;
    struct limits_settings limits;
    struct repairs_settings repairs;
    struct conf *conf; /* for the trees; owns every string above */
};

/* Load every flat section. The caller then loads its trees and calls conf_finish(). */
int settings_load(struct conf *c, struct settings *ret, struct err *e) MUST_CHECK;

/* Is Twilio to tell what became of a message? Only where it could reach us: it refuses a message
 * whose StatusCallback is no public address. */
bool settings_ask_twilio(const struct settings *s);

/*
 * After the service read its own trees: the sections that only other services read are known, those
 * of Alertmanager that have no effect here give a warning, anything else is an error (conf_finish).
 */
int settings_finish(struct conf *c, struct err *e) MUST_CHECK;
