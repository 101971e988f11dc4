#include "common/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/guard.h"
#include "common/kafka.h"
#include "common/listen.h"
#include "common/locale.h"
#include "common/zone.h"

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

#define SECRET CONF_SECRET
#define LINK_SECRET_MIN 16

#define T struct settings
static const struct conf_key root_keys[] = {
    CONF(T, external_url, CONF_STR, "http://localhost:8000", 0, "how people and vendors reach us"),
    CONF(T, tenant, CONF_STR, "default", 0, "of what comes without one"),
    CONF(T, locale, CONF_STR, "en", 0, "language of messages, one of:" LOCALE_NAMES),
    CONF(T, time_zone, CONF_STR, "UTC", 0, "of times in messages"),
    CONF_CHOICE(T, log_level, "info", log_levels, "the least severe line that is written"),
    CONF_END,
};
#undef T

#define T struct kafka_settings
static const struct conf_key kafka_keys[] = {
    CONF(T, brokers, CONF_STR, "127.0.0.1:9092", 0, "bootstrap servers, comma separated"),
    CONF(T, topic_prefix, CONF_STR, "tocsin", 0, "begins every topic's name"),
    CONF(T, client_id, CONF_STR, "tocsin", 0, "how the brokers' logs call us"),
    CONF(T, security_protocol, CONF_STR, "plaintext", 0,
         "plaintext, ssl, sasl_plaintext, sasl_ssl"),
    CONF(T, sasl_mechanism, CONF_STR, "", 0, "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    CONF(T, sasl_username, CONF_STR, "", 0, "of SASL"),
    CONF(T, sasl_password, CONF_STR, "", SECRET, "of SASL"),
    CONF(T, ssl_ca_location, CONF_STR, "", 0, "file of the CA; empty: the system's"),
    CONF(T, partitions, CONF_U32, "6", 0, "of topics that we create"),
    CONF(T, replication_factor, CONF_U32, "1", 0, "of topics that we create"),
    CONF(T, min_insync_replicas, CONF_U32, "1", 0, "of topics that we create"),
    CONF(T, ack_timeout, CONF_DURATION, "500ms", 0, "then a record goes to the spool"),
    CONF(T, session_timeout, CONF_DURATION, "8s", 0, "a dead consumer's partitions move after it"),
    CONF(T, linger, CONF_DURATION, "5ms", 0, "how long a producer waits for company"),
    CONF(T, fetch_wait, CONF_DURATION, "20ms", 0, "how long a broker gathers alerts"),
    CONF(T, queue_messages, CONF_U32, "100000", 0, "records waiting in a producer"),
    CONF(T, group_prefix, CONF_STR, "tocsin", 0, "begins every consumer group's name"),
    CONF_END,
};
#undef T

#define T struct postgres_settings
static const struct conf_key postgres_keys[] = {
    CONF(T, url, CONF_STR, "postgresql://localhost/tocsin", SECRET, "connection string of libpq"),
    CONF(T, schema, CONF_STR, "tocsin", 0, "where our tables are"),
    CONF(T, connect_timeout, CONF_DURATION, "5s", 0, "per attempt"),
    CONF(T, statement_timeout, CONF_DURATION, "30s", 0, "a longer statement is cancelled"),
    CONF_END,
};
#undef T

#define T struct redis_settings
static const struct conf_key redis_keys[] = {
    CONF(T, url, CONF_STR, "", SECRET, "redis://[:password@]host:port[/db]; empty: no Redis"),
    CONF(T, prefix, CONF_STR, "tocsin", 0, "begins every key"),
    CONF(T, timeout, CONF_DURATION, "200ms", 0, "of one command"),
    CONF(T, key_ttl, CONF_DURATION, "35d", 0, "of a key that is not touched"),
    CONF_END,
};
#undef T

#define T struct ingest_settings
static const struct conf_key ingest_keys[] = {
    CONF(T, listen, CONF_STR, "127.0.0.1:9000", 0, "address and port"),
    CONF(T, threads, CONF_U32, "4", 0, "of the HTTP server"),
    CONF(T, connections, CONF_U32, "4096", 0, "open at a time"),
    CONF(T, request_deadline, CONF_DURATION, "10s", 0, "from a request's first byte to its last"),
    CONF(T, drain_timeout, CONF_DURATION, "20s", 0, "then the process ends all the same"),
    CONF(T, max_body, CONF_SIZE, "1m", 0, "of one request"),
    CONF(T, max_depth, CONF_U32, "32", 0, "nesting of a JSON body"),
    CONF(T, max_alerts, CONF_U32, "10000", 0, "in one request"),
    CONF(T, spool_dir, CONF_STR, "", 0, "empty: 503 while Kafka is away"),
    CONF(T, spool_max, CONF_SIZE, "1g", 0, "of the spool on disk"),
    CONF(T, beat_interval, CONF_DURATION, "10s", 0, "between signs of life"),
    CONF(T, fetch_ca_file, CONF_STR, "", 0,
         "PEM of the authorities trusted for what a source fetches; empty: the system's"),
    CONF(T, fetch_timeout, CONF_DURATION, "5s", 0, "for what a source fetches; then 503"),
    CONF(T, fetch_keep, CONF_DURATION, "1d", 0, "then it is fetched again"),
    CONF(T, fetch_concurrency, CONF_U32, "4", 0, "fetches at a time"),
    CONF(T, fetch_waiting, CONF_U32, "64", 0, "requests that wait for one; more get 503"),
    CONF(T, fetch_kept, CONF_U32, "64", 0, "fetched things that are kept"),
    CONF(T, console_url, CONF_STR, "", 0,
         "the console, for what a vendor's API is asked that only it can answer; empty: 404"),
    CONF_END,
};
#undef T

#define T struct processor_settings
static const struct conf_key processor_keys[] = {
    CONF(T, listen, CONF_STR, "127.0.0.1:9101", 0, "address and port"),
    CONF(T, batch_records, CONF_U32, "5000", 0, "at most in one transaction"),
    CONF(T, batch_bytes, CONF_SIZE, "4m", 0, "at most in one transaction"),
    CONF(T, batch_wait, CONF_DURATION, "20ms", 0, "for a batch to fill"),
    CONF(T, drain_timeout, CONF_DURATION, "20s", 0, "then the process ends all the same"),
    CONF(T, timer_idle, CONF_DURATION, "1s", 0, "longest sleep of the timer runner"),
    CONF(T, timer_batch, CONF_U32, "200", 0, "timers claimed at a time"),
    CONF(T, crash_limit, CONF_U32, "3", 0, "deaths over a batch before it goes record by record"),
    CONF(T, silences_kept, CONF_DURATION, "30d", 0, "so long after its end a silence is listed"),
    CONF_END,
};
#undef T

#define T struct notifier_settings
static const struct conf_key notifier_keys[] = {
    CONF(T, listen, CONF_STR, "127.0.0.1:9102", 0, "address and port"),
    CONF(T, channels, CONF_STRS, NULL, 0, "the channels this process serves; empty: all"),
    CONF(T, concurrency, CONF_U32, "200", 0, "requests under way"),
    CONF(T, per_destination, CONF_U32, "16", 0, "requests under way to one destination"),
    CONF(T, request_timeout, CONF_DURATION, "10s", 0, "of one attempt"),
    CONF(T, connect_timeout, CONF_DURATION, "5s", 0, "of one attempt"),
    CONF(T, lease, CONF_DURATION, "60s", 0, "then another notifier may claim the row"),
    CONF(T, sweep_interval, CONF_DURATION, "1s", 0, "between looks for forgotten rows"),
    CONF(T, sweep_age, CONF_DURATION, "2s", 0, "a row without wake-up is forgotten after it"),
    CONF(T, retry_base, CONF_DURATION, "1s", 0, "first wait before a retry"),
    CONF(T, retry_cap, CONF_DURATION, "5m", 0, "longest wait before a retry"),
    CONF(T, retry_for, CONF_DURATION, "24h", 0, "then the notification has failed"),
    CONF(T, breaker_failures, CONF_U32, "10", 0,
         "failures in a row after which a destination is left alone; 0: never"),
    CONF(T, breaker_wait, CONF_DURATION, "10s", 0, "for that long, then one message tries it"),
    CONF(T, drain_timeout, CONF_DURATION, "20s", 0, "then the process ends all the same"),
    CONF(T, max_response, CONF_SIZE, "64k", 0, "read of a channel's answer"),
    CONF(T, digest_items, CONF_U32, "50", 0, "in one digest message"),
    CONF_END,
};
#undef T

#define T struct learner_settings
static const struct conf_key learner_keys[] = {
    CONF(T, listen, CONF_STR, "127.0.0.1:9103", 0, "address and port"),
    CONF(T, stability_window, CONF_DURATION, "30m", 0, "quiet time that a success needs"),
    CONF(T, settle_window, CONF_DURATION, "15m", 0, "time a repair has to work"),
    CONF(T, poll_interval, CONF_DURATION, "1s", 0, "between looks for what is due"),
    CONF(T, drain_timeout, CONF_DURATION, "20s", 0, "then the process ends all the same"),
    CONF(T, history, CONF_U32, "20", 0, "newest repairs shown"),
    CONF(T, steps, CONF_U32, "32", 0, "of one playbook; the best ones stay"),
    CONF(T, batch, CONF_U32, "500", 0, "at most in one transaction"),
    CONF(T, crash_limit, CONF_U32, "3", 0, "deaths over a batch before it goes record by record"),
    CONF_END,
};
#undef T

#define T struct console_settings
static const struct conf_key console_keys[] = {
    CONF(T, listen, CONF_STR, "127.0.0.1:8000", 0, "address and port"),
    CONF(T, web_dir, CONF_STR, "", 0, "the page's files; empty: no page"),
    CONF(T, threads, CONF_U32, "4", 0, "of the HTTP server"),
    CONF(T, connections, CONF_U32, "1024", 0, "open at a time"),
    CONF(T, page_max, CONF_U32, "500", 0, "largest page of a list"),
    CONF(T, request_deadline, CONF_DURATION, "15s", 0, "from a request's first byte to its last"),
    CONF(T, drain_timeout, CONF_DURATION, "20s", 0, "then the process ends all the same"),
    CONF(T, link_secret, CONF_STR, "", SECRET,
         "signs the links by which one acts from a message; empty: messages have none"),
    CONF(T, link_secret_before, CONF_STR, "", SECRET, "the one before: its links still work"),
    CONF(T, link_ttl, CONF_DURATION, "7d", 0, "such a link works so long"),
    CONF(T, silence_for, CONF_DURATION, "1h", 0, "of a silence by link or button"),
    CONF(T, slack_signing_secret, CONF_STR, "", SECRET, "of Slack's buttons; empty: none work"),
    CONF(T, twilio_auth_token, CONF_STR, "", SECRET, "of Twilio's callbacks; empty: none work"),
    CONF(T, twilio_status, CONF_STR, "auto", 0,
         "ask what became of a message: auto (external_url is public), always, never"),
    CONF_END,
};
#undef T

#define T struct frequency_settings
static const struct conf_key frequency_keys[] = {
    CONF(T, repeat, CONF_U32, "3", 0, "occurrences in 24 h: REPEAT"),
    CONF(T, escalate, CONF_U32, "5", 0, "occurrences in 24 h: ESCALATE"),
    CONF(T, permanent_fix, CONF_U32, "10", 0, "occurrences in 24 h: PERMANENT_FIX"),
    CONF_END,
};
#undef T

#define T struct aggregation_settings
static const struct conf_key aggregation_keys[] = {
    CONF(T, window, CONF_DURATION, "10m", 0, "firing again within it re-opens"),
    CONF(T, absence_grace, CONF_DURATION, "2m", 0,
         "all must be current so long before silence ends an alert"),
    CONF(T, absence_cap, CONF_DURATION, "1h", 0,
         "longest that a silent ingest holds such ends back"),
    CONF(T, delivery_id_ttl, CONF_DURATION, "24h", 0, "a sender's repeat is known so long"),
    CONF_END,
};
#undef T

#define T struct limits_settings
static const struct conf_key limits_keys[] = {
    CONF(T, labels, CONF_U32, "64", 0, "of one alert"),
    CONF(T, label_name, CONF_U32, "256", 0, "bytes"),
    CONF(T, label_value, CONF_U32, "2048", 0, "bytes"),
    CONF(T, annotations, CONF_U32, "64", 0, "of one alert"),
    CONF(T, annotation_value, CONF_U32, "16384", 0, "bytes"),
    CONF(T, open_incidents, CONF_U32, "10000", 0, "per tenant; past it one overflow incident"),
    CONF(T, starts, CONF_U32, "64", 0, "kept per alert"),
    CONF(T, marks, CONF_U32, "32", 0, "start-less firings kept per alert"),
    CONF(T, allow_private_addresses, CONF_STRS, NULL, 0,
         "CIDRs that the notifier, and what ingest fetches, may reach"),
    CONF(T, message_alerts, CONF_U32, "20", 0, "listed in one message"),
    CONF(T, payload, CONF_SIZE, "64k", 0, "of one rendered message"),
    CONF(T, rules, CONF_U32, "200", 0, "under rules:"),
    CONF(T, fingerprint_words, CONF_U32, "16", 0, "of a sender's own fingerprint"),
    CONF_END,
};
#undef T

#define T struct repairs_settings
static const struct conf_key repairs_keys[] = {
    CONF(T, tokens, CONF_STRS, NULL, SECRET, "may report repairs"),
    CONF(T, verified_tokens, CONF_STRS, NULL, SECRET, "may report repairs as verified"),
    CONF_END,
};
#undef T

#define SECTION(name)                                                                              \
    {                                                                                              \
#name, name##_keys, offsetof(struct settings, name)                                        \
    }
static const struct {
    const char *name;
    const struct conf_key *keys;
    size_t offset;
} sections[] = {
    {"", root_keys, 0}, SECTION(kafka),     SECTION(postgres),    SECTION(redis),
    SECTION(ingest),    SECTION(processor), SECTION(notifier),    SECTION(learner),
    SECTION(console),   SECTION(frequency), SECTION(aggregation), SECTION(limits),
    SECTION(repairs),
};

/* --- what one value, and several together, must be --- */

static int check_listen(const struct conf *c, const char *name, const char *listen, struct err *e)
{
    struct sockaddr_storage addr;
    struct err why;
    socklen_t len;

    if (listen_parse(listen, &addr, &len, &why) < 0)
        return conf_key_err(c, name, e, "%s", why.msg);
    return 0;
}

static int check_listens(const struct conf *c, const struct settings *s, struct err *e)
{
    const char *const addresses[][2] = {
        {"ingest.listen", s->ingest.listen},     {"processor.listen", s->processor.listen},
        {"notifier.listen", s->notifier.listen}, {"learner.listen", s->learner.listen},
        {"console.listen", s->console.listen},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses) && r == 0; i++)
        r = check_listen(c, addresses[i][0], addresses[i][1], e);
    return r;
}

/* Where 0 would mean "never work". */
static int check_positive(const struct conf *c, const struct settings *s, struct err *e)
{
    const struct {
        const char *name;
        uint64_t value;
    } must[] = {
        {"kafka.partitions", s->kafka.partitions},
        {"kafka.replication_factor", s->kafka.replication_factor},
        {"kafka.min_insync_replicas", s->kafka.min_insync_replicas},
        {"kafka.queue_messages", s->kafka.queue_messages},
        {"kafka.ack_timeout", (uint64_t)s->kafka.ack_timeout},
        {"postgres.connect_timeout", (uint64_t)s->postgres.connect_timeout},
        {"redis.timeout", (uint64_t)s->redis.timeout},
        {"ingest.threads", s->ingest.threads},
        {"ingest.connections", s->ingest.connections},
        {"ingest.request_deadline", (uint64_t)s->ingest.request_deadline},
        {"ingest.max_body", s->ingest.max_body},
        {"ingest.max_depth", s->ingest.max_depth},
        {"ingest.max_alerts", s->ingest.max_alerts},
        {"ingest.beat_interval", (uint64_t)s->ingest.beat_interval},
        {"processor.batch_records", s->processor.batch_records},
        {"processor.timer_batch", s->processor.timer_batch},
        {"processor.timer_idle", (uint64_t)s->processor.timer_idle},
        {"processor.crash_limit", s->processor.crash_limit},
        {"learner.crash_limit", s->learner.crash_limit},
        {"notifier.concurrency", s->notifier.concurrency},
        {"notifier.per_destination", s->notifier.per_destination},
        {"notifier.request_timeout", (uint64_t)s->notifier.request_timeout},
        {"notifier.connect_timeout", (uint64_t)s->notifier.connect_timeout},
        {"notifier.sweep_interval", (uint64_t)s->notifier.sweep_interval},
        {"notifier.retry_base", (uint64_t)s->notifier.retry_base},
        {"notifier.breaker_wait", (uint64_t)s->notifier.breaker_wait},
        {"notifier.max_response", s->notifier.max_response},
        {"notifier.digest_items", s->notifier.digest_items},
        {"learner.poll_interval", (uint64_t)s->learner.poll_interval},
        {"learner.batch", s->learner.batch},
        {"learner.steps", s->learner.steps},
        {"console.threads", s->console.threads},
        {"console.connections", s->console.connections},
        {"console.page_max", s->console.page_max},
        {"console.request_deadline", (uint64_t)s->console.request_deadline},
        {"console.link_ttl", (uint64_t)s->console.link_ttl},
        {"console.silence_for", (uint64_t)s->console.silence_for},
        {"frequency.repeat", s->frequency.repeat},
        {"limits.labels", s->limits.labels},
        {"limits.label_name", s->limits.label_name},
        {"limits.label_value", s->limits.label_value},
        {"limits.open_incidents", s->limits.open_incidents},
        {"limits.starts", s->limits.starts},
        {"limits.marks", s->limits.marks},
        {"limits.message_alerts", s->limits.message_alerts},
        {"limits.payload", s->limits.payload},
    };

    for (size_t i = 0; i < sizeof(must) / sizeof(*must); i++)
        if (must[i].value == 0)
            return conf_key_err(c, must[i].name, e, "must be more than 0");
    return 0;
}

static int check_kafka(const struct conf *c, const struct settings *s, struct err *e)
{
    static const char topic_chars[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const struct kafka_settings *k = &s->kafka;

    if (!k->brokers[0])
        return conf_key_err(c, "kafka.brokers", e, "at least one broker is needed");
    if (k->topic_prefix[strspn(k->topic_prefix, topic_chars)] || strlen(k->topic_prefix) > 100)
        return conf_key_err(c, "kafka.topic_prefix", e,
                            "letters, digits, '.', '_' and '-' only, at most 100");
    if (k->min_insync_replicas > k->replication_factor)
        return conf_key_err(
            c, "kafka.min_insync_replicas", e,
            "%u is more than kafka.replication_factor (%u): nothing could be written",
            k->min_insync_replicas, k->replication_factor);
    if (k->ack_timeout >= s->ingest.request_deadline)
        return conf_key_err(c, "kafka.ack_timeout", e,
                            "must be shorter than ingest.request_deadline");
    return 0;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* An address, or libpq's "host=... dbname=...". What it says is libpq's to judge. */
static bool is_conninfo(const char *url)
{
    const char *scheme = strstr(url, "://"), *equals = strchr(url, '=');

    return begins(url, "postgresql://") || begins(url, "postgres://") ||
           (equals && (!scheme || equals < scheme));
}

static int check_redis(const struct conf *c, const struct settings *s, struct err *e)
{
    const char *url = s->redis.url;

    return !*url || begins(url, "redis://") || begins(url, "unix:///")
               ? 0
               : conf_key_err(
                     c, "redis.url", e,
                     "redis://[user:password@]host[:port][/db] or unix:///path is expected");
}

static int check_postgres(const struct conf *c, const struct settings *s, struct err *e)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    const char *schema = s->postgres.schema;

    if (!s->postgres.url[0])
        return conf_key_err(c, "postgres.url", e, "must not be empty");
    if (!is_conninfo(s->postgres.url))
        return conf_key_err(c, "postgres.url", e,
                            "postgresql://user@host:port/database is expected");
    if (!schema[0] || strlen(schema) > 63 || schema[strspn(schema, chars)] ||
        strchr("0123456789", schema[0]))
        return conf_key_err(c, "postgres.schema", e,
                            "lower-case letters, digits and '_', at most 63, no digit first");
    return 0;
}

static int check_notifier(const struct conf *c, const struct settings *s, struct err *e)
{
    const struct notifier_settings *n = &s->notifier;

    if (n->lease <= n->request_timeout + n->connect_timeout)
        return conf_key_err(c, "notifier.lease", e,
                            "must be longer than notifier.request_timeout and "
                            "notifier.connect_timeout together, or a message may be sent twice");
    if (n->retry_base > n->retry_cap)
        return conf_key_err(c, "notifier.retry_base", e,
                            "must not be longer than notifier.retry_cap");
    return 0;
}

static int check_frequency(const struct conf *c, const struct settings *s, struct err *e)
{
    const struct frequency_settings *f = &s->frequency;

    if (f->escalate <= f->repeat)
        return conf_key_err(c, "frequency.escalate", e, "must be more than frequency.repeat (%u)",
                            f->repeat);
    if (f->permanent_fix <= f->escalate)
        return conf_key_err(c, "frequency.permanent_fix", e,
                            "must be more than frequency.escalate (%u)", f->escalate);
    return 0;
}

/* A secret that can be guessed signs for everybody. */
static int check_links(const struct conf *c, const struct settings *s, struct err *e)
{
    const size_t now = strlen(s->console.link_secret),
                 before = strlen(s->console.link_secret_before);

    if (now > 0 && now < LINK_SECRET_MIN)
        return conf_key_err(c, "console.link_secret", e, "at least %d characters", LINK_SECRET_MIN);
    if (before > 0 && before < LINK_SECRET_MIN)
        return conf_key_err(c, "console.link_secret_before", e, "at least %d characters",
                            LINK_SECRET_MIN);
    return 0;
}

static int check_twilio(const struct conf *c, const struct settings *s, struct err *e)
{
    const char *v = s->console.twilio_status;

    return strcmp(v, "auto") == 0 || strcmp(v, "always") == 0 || strcmp(v, "never") == 0
               ? 0
               : conf_key_err(c, "console.twilio_status", e, "auto, always or never");
}

bool settings_ask_twilio(const struct settings *s)
{
    const char *v = s->console.twilio_status;

    return *s->console.twilio_auth_token && strcmp(v, "never") != 0 &&
           (strcmp(v, "always") == 0 || guard_url_is_public(s->external_url));
}

static bool is_cidr(const char *text)
{
    const char *slash = strchr(text, '/');
    unsigned char bits[16];
    char host[64];
    char *end;
    unsigned long prefix, max;

    if (!slash || (size_t)(slash - text) >= sizeof(host) || !slash[1] ||
        slash[1 + strspn(slash + 1, "0123456789")])
        return false;
    memcpy(host, text, (size_t)(slash - text));
    host[slash - text] = '\0';
    if (inet_pton(AF_INET, host, bits) == 1)
        max = 32;
    else if (inet_pton(AF_INET6, host, bits) == 1)
        max = 128;
    else
        return false;
    prefix = strtoul(slash + 1, &end, 10);
    return prefix <= max;
}

static int check_zone(const struct conf *c, const struct settings *s, struct err *e)
{
    CLEANUP(zone_free) struct zone *zone = NULL;
    struct err why = {0};

    return zone_open(s->time_zone, &zone, &why) < 0 ? conf_key_err(c, "time_zone", e, "%s", why.msg)
                                                    : 0;
}

static int check_console_url(const struct conf *c, const struct settings *s, struct err *e)
{
    const char *url = s->ingest.console_url;

    if (!*url || ((strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
                  !strpbrk(url, "?#@")))
        return 0;
    return conf_key_err(c, "ingest.console_url", e,
                        "an address such as http://127.0.0.1:8000 is expected");
}

static int check_rest(const struct conf *c, const struct settings *s, struct err *e)
{
    const struct conf_strs *cidrs = &s->limits.allow_private_addresses;

    if (strncmp(s->external_url, "http://", 7) != 0 && strncmp(s->external_url, "https://", 8) != 0)
        return conf_key_err(c, "external_url", e, "must begin with http:// or https://");
    if (!s->tenant[0])
        return conf_key_err(c, "tenant", e, "must not be empty");
    if (strlen(s->tenant) > TENANT_MAX)
        return conf_key_err(c, "tenant", e, "at most %d bytes", TENANT_MAX);
    if (s->limits.label_value > LABEL_VALUE_MAX)
        return conf_key_err(c, "limits.label_value", e,
                            "must fit into an index of the database: at most %d", LABEL_VALUE_MAX);
    enum locale l;
    if (!locale_find(slice_of(s->locale), &l))
        return conf_key_err(c, "locale", e, "one of%s is expected, not \"%s\"", LOCALE_NAMES,
                            s->locale);
    if (s->ingest.max_body > KAFKA_BODY_MAX)
        return conf_key_err(c, "ingest.max_body", e, "must fit into a record of Kafka: at most %dm",
                            (int)(KAFKA_BODY_MAX >> 20));
    if (s->ingest.spool_dir[0] && s->ingest.spool_max < s->ingest.max_body)
        return conf_key_err(c, "ingest.spool_max", e,
                            "must hold at least one body (ingest.max_body)");
    if (s->processor.batch_bytes < s->ingest.max_body)
        return conf_key_err(c, "processor.batch_bytes", e,
                            "must hold at least one body (ingest.max_body)");
    for (size_t i = 0; i < cidrs->n; i++)
        if (!is_cidr(cidrs->v[i]))
            return conf_key_err(c, "limits.allow_private_addresses", e,
                                "\"%s\" is not a CIDR such as 10.0.0.0/8", cidrs->v[i]);
    return 0;
}

/* Trees: whoever reads one checks it. */
static const struct {
    const char *section;
    bool works;
} trees[] = {
    {"global", true},         {"route", true},
    {"receivers", true},      {"rules", true},
    {"sources", true},        {"playbooks", true},
    {"inhibit_rules", false}, {"time_intervals", false},
    {"templates", false},     {"mute_time_intervals", false},
    {"tracing", false},
};

int settings_load(struct conf *c, struct settings *ret, struct err *e)
{
    static int (*const checks[])(const struct conf *, const struct settings *, struct err *) = {
        check_listens, check_positive, check_kafka,       check_postgres,
        check_redis,   check_notifier, check_frequency,   check_zone,
        check_links,   check_twilio,   check_console_url, check_rest,
    };
    struct settings s = {.conf = c};

    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
        const int r =
            conf_section(c, sections[i].name, sections[i].keys, (char *)&s + sections[i].offset, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < sizeof(trees) / sizeof(*trees); i++)
        (void)conf_yaml(c, trees[i].section);
    /* Before anybody misses a receiver because "recievers" is what the file says. */
    if (conf_check_sections(c, e) < 0)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++) {
        const int r = checks[i](c, &s, e);

        if (r < 0)
            return r;
    }
    *ret = s;
    return 0;
}

int settings_finish(struct conf *c, struct err *e)
{
    for (size_t i = 0; i < sizeof(trees) / sizeof(*trees); i++) {
        const struct yaml *node = conf_yaml(c, trees[i].section);
        if (node && !trees[i].works &&
            conf_warn(c, node, "\"%s\" has no effect yet", trees[i].section) < 0)
            return err_set(e, -ENOMEM, "out of memory");
    }
    return conf_finish(c, e);
}
