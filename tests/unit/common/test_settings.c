#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/listen.h"
#include "common/settings.h"

static int load(const char *text, struct settings *ret, struct conf **ret_conf, struct err *e)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    int r = conf_parse("t.yml", text, NULL, &c, e);

    if (r == 0)
        r = settings_load(c, ret, e);
    if (r == 0)
        r = conf_finish(c, e);
    if (r == 0)
        *ret_conf = TAKE(c);
    return r;
}

static const char *list_at(const struct conf_strs *list, size_t i)
{
    if (!list->v || i >= list->n)
        fail_msg("no element %zu", i);
    return list->v ? list->v[i] : NULL;
}

/* The defaults load, pass every check, and are what the documentation says. */
static void defaults(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct settings s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(load("", &s, &c, &e), 0);
    assert_ptr_equal(s.conf, c);
    assert_string_equal(s.external_url, "http://localhost:8000");
    assert_string_equal(s.tenant, "default");
    assert_int_equal(s.log_level, 1);
    assert_string_equal(s.kafka.brokers, "127.0.0.1:9092");
    assert_string_equal(s.kafka.topic_prefix, "tocsin");
    assert_int_equal(s.kafka.ack_timeout, 500);
    assert_string_equal(s.postgres.url, "postgresql://localhost/tocsin");
    assert_string_equal(s.redis.url, "");
    assert_int_equal(s.redis.key_ttl, INT64_C(35) * 24 * 3600 * 1000);
    assert_int_equal(s.ingest.max_body, 1 << 20);
    assert_int_equal(s.processor.batch_bytes, 4 << 20);
    assert_int_equal(s.notifier.channels.n, 0);
    assert_int_equal(s.notifier.retry_for, 24 * 3600 * 1000);
    assert_string_equal(s.learner.listen, "127.0.0.1:9103");
    assert_int_equal(s.console.page_max, 500);
    assert_int_equal(s.frequency.permanent_fix, 10);
    assert_int_equal(s.aggregation.window, 600000);
    assert_int_equal(s.limits.annotation_value, 16384);
    assert_int_equal(s.repairs.tokens.n, 0);
}

static void every_section_is_read(void **state)
{
    static const char text[] = "tenant: acme\nlog_level: error\nlocale: zh-CN\n"
                               "kafka: {replication_factor: 3, min_insync_replicas: 2}\n"
                               "redis: {url: 'redis://localhost/1'}\n"
                               "notifier: {channels: [slack, wecom]}\n"
                               "limits: {allow_private_addresses: [127.0.0.0/8, 'fd00::/8']}\n"
                               "repairs: {tokens: [a, b]}\n";
    CLEANUP(conf_free) struct conf *c = NULL;
    struct settings s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(load(text, &s, &c, &e), 0);
    assert_string_equal(s.tenant, "acme");
    assert_int_equal(s.log_level, 3);
    assert_int_equal(s.kafka.min_insync_replicas, 2);
    assert_string_equal(s.redis.url, "redis://localhost/1");
    assert_string_equal(list_at(&s.notifier.channels, 1), "wecom");
    assert_int_equal(s.limits.allow_private_addresses.n, 2);
    assert_int_equal(s.repairs.tokens.n, 2);
}

static void checks(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"ingest:\n  listen: nowhere\n", "t.yml:2:11: ingest.listen: an address such as "
                                         "127.0.0.1:9000 is expected, not \"nowhere\""},
        {"console: {listen: 'example.com:80'}",
         "t.yml:1:19: console.listen: \"example.com:80\" is not a numeric address and port"},
        {"ingest: {threads: 0}", "t.yml:1:19: ingest.threads: must be more than 0"},
        {"notifier: {lease: 15s}",
         "t.yml:1:19: notifier.lease: must be longer than notifier.request_timeout and "
         "notifier.connect_timeout together, or a message may be sent twice"},
        {"frequency: {escalate: 3}",
         "t.yml:1:23: frequency.escalate: must be more than frequency.repeat (3)"},
        {"frequency: {escalate: 10}",
         "frequency.permanent_fix: must be more than frequency.escalate (10)"},
        {"kafka: {min_insync_replicas: 2}",
         "t.yml:1:30: kafka.min_insync_replicas: 2 is more than kafka.replication_factor (1): "
         "nothing could be written"},
        {"kafka: {topic_prefix: 'a b'}", "t.yml:1:23: kafka.topic_prefix: letters, digits, '.', "
                                         "'_' and '-' only, at most 100"},
        {"kafka: {ack_timeout: 10s}",
         "t.yml:1:22: kafka.ack_timeout: must be shorter than ingest.request_deadline"},
        {"postgres: {schema: 'a;b'}", "t.yml:1:20: postgres.schema: lower-case letters, digits "
                                      "and '_', at most 63, no digit first"},
        {"limits: {allow_private_addresses: [10.0.0.0/33]}",
         "t.yml:1:35: limits.allow_private_addresses: \"10.0.0.0/33\" is not a CIDR such as "
         "10.0.0.0/8"},
        {"locale: fr", "t.yml:1:9: locale: one of en zh-CN zh-TW is expected, not \"fr\""},
        {"time_zone: Asia/Shangai",
         "t.yml:1:12: time_zone: time zone Asia/Shangai: /usr/share/zoneinfo/Asia/Shangai: No such "
         "file or directory"},
        {"time_zone: ../../etc/passwd", "t.yml:1:12: time_zone: time zone ../../etc/passwd: a name "
                                        "such as Asia/Shanghai is expected"},
        {"postgres: {url: 'mysql://u@h/d'}",
         "t.yml:1:17: postgres.url: postgresql://user@host:port/database is expected"},
        {"postgres: {url: 'h:5432'}",
         "t.yml:1:17: postgres.url: postgresql://user@host:port/database is expected"},
        {"redis: {url: '127.0.0.1:6379'}",
         "t.yml:1:14: redis.url: redis://[user:password@]host[:port][/db] or unix:///path is "
         "expected"},
        {"external_url: localhost",
         "t.yml:1:15: external_url: must begin with http:// or https://"},
        {"console: {twilio_status: sometimes}",
         "t.yml:1:26: console.twilio_status: auto, always or never"},
        {"ingest: {spool_dir: /x, spool_max: 1k}",
         "t.yml:1:36: ingest.spool_max: must hold at least one body (ingest.max_body)"},
        {"ingest: {console_url: 'localhost:8000'}",
         "t.yml:1:23: ingest.console_url: an address such as http://127.0.0.1:8000 is expected"},
        {"ingest: {console_url: 'http://localhost/?x='}",
         "t.yml:1:23: ingest.console_url: an address such as http://127.0.0.1:8000 is expected"},
        {"ingest: {max_body: 16m}",
         "t.yml:1:20: ingest.max_body: must fit into a record of Kafka: at most 15m"},
        {"ingest: {max_body: 15m}",
         "processor.batch_bytes: must hold at least one body (ingest.max_body)"},
        {"limits: {label_value: 2501}", "t.yml:1:23: limits.label_value: must fit into an index of "
                                        "the database: at most 2500"},
        {"kafak: {}", "t.yml:1:1: unknown key \"kafak\" at the top level; did you mean \"kafka\"?"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct conf *c = NULL;
        struct settings s = {0};
        struct err e = {0};

        assert_int_not_equal(load(cases[i].text, &s, &c, &e), 0);
        assert_string_equal(e.msg, cases[i].message);
    }
}

static void addresses(void **state)
{
    static const char *const good[] = {"127.0.0.1:9000", "0.0.0.0:0", "[::1]:65535", ":80",
                                       "localhost:8000"};
    static const char *const bad[] = {
        "",         "9000", "127.0.0.1",       "127.0.0.1:", "[::1:9000",
        "::1:9000", "[]:1", "127.0.0.1:65536", "1.2.3.4:-1", "*:1"};
    struct sockaddr_storage a;
    socklen_t len;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_int_equal(listen_parse(good[i], &a, &len, &e), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_not_equal(listen_parse(bad[i], &a, &len, &e), 0);
    assert_true(listen_is_loopback("127.0.0.1:1") && listen_is_loopback("127.1.2.3:1") &&
                listen_is_loopback("localhost:1") && listen_is_loopback("[::1]:1"));
    assert_false(listen_is_loopback("0.0.0.0:1") || listen_is_loopback(":1") ||
                 listen_is_loopback("[::]:1") || listen_is_loopback("10.0.0.1:1"));
}

static void taken_port_names_its_owner(void **state)
{
    char address[32], self[64];
    struct err e = {0};
    uint16_t port, other;
    int fd = -1, fd2 = -1;

    (void)state;
    assert_int_equal(listen_open("127.0.0.1:0", &fd, &port, &e), 0);
    assert_true(port > 0);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    (void)snprintf(self, sizeof(self), "(pid %d)", (int)getpid());
    assert_int_equal(listen_open(address, &fd2, &other, &e), -EADDRINUSE);
    assert_non_null(strstr(e.msg, "the port is taken by "));
    assert_non_null(strstr(e.msg, self));
    (void)close(fd);
}

static bool asks(const char *external_url, const char *token, const char *when)
{
    struct settings s = {.external_url = external_url,
                         .console = {.twilio_auth_token = token, .twilio_status = when}};

    return settings_ask_twilio(&s);
}

static void twilio_is_asked_only_where_it_can_answer(void **state)
{
    (void)state;
    assert_true(asks("https://tocsin.example.com", "x", "auto"));
    assert_false(asks("https://tocsin.example.com", "", "auto"));
    assert_false(asks("https://tocsin.example.com", "x", "never"));
    assert_false(asks("http://localhost:8000", "x", "auto"));
    assert_true(asks("http://localhost:8000", "x", "always"));
    assert_false(asks("http://localhost:8000", "", "always"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_section_is_read),
        cmocka_unit_test(checks),
        cmocka_unit_test(addresses),
        cmocka_unit_test(taken_port_names_its_owner),
        cmocka_unit_test(twilio_is_asked_only_where_it_can_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
