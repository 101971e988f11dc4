/*
 * The stage for tests of flushes and of the runner of timers: a real PostgreSQL, librdkafka's mock
 * cluster, receivers and routes, and the words in which a test speaks of them.
 */
#pragma once

#include "broker.h"
#include "schema.h"
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/clock.h"
#include "common/silence.h"
#include "processor/flush.h"
#include "processor/group.h"
#include "processor/timers.h"
#include "processor/work.h"

#define TENANT "default"
#define INCIDENT "018f0000-0000-7000-8000-000000000001"

static const char *const topics[] = {"notify.slack", "notify.webhook", "notify.email", NULL};

static const char config[] = "\
time_zone: Asia/Shanghai\n\
receivers:\n\
  - name: team\n\
    slack_configs: [{api_url: 'http://b'}]\n\
    webhook_configs: [{url: 'http://a'}]\n\
  - name: boss\n\
    webhook_configs: [{url: 'http://c'}]\n\
  - name: list\n\
    webhook_configs: [{url: 'http://d'}]\n\
  - name: page\n\
route:\n\
  receiver: team\n\
  group_by: [incident]\n\
  group_wait: 0s\n\
  group_interval: 0s\n\
  routes:\n\
    - {match: {severity: critical}, receiver: boss}\n\
    - {match: {to: alerts}, receiver: list, group_by: [job]}\n\
    - {match: {to: hourly}, receiver: list, digest: 1h}\n\
    - {match: {to: nobody}, receiver: page, repeat_interval: 1s}\n\
    - {match: {to: daily}, receiver: list, digest: '09:00'}\n\
    - {match: {to: both}, digest: 1h}\n\
    - {match: {to: both daily}, digest: '09:00'}\n\
    - {match: {to: both alerts}, group_by: [job], group_interval: 1h}\n";

/* Without the receivers `list` and `boss`, and another way to `team`. */
static const char config_later[] = "\
receivers:\n\
  - name: team\n\
    slack_configs: [{api_url: 'http://b'}]\n\
    webhook_configs: [{url: 'http://a'}]\n\
route:\n\
  receiver: team\n\
  group_by: [incident, job]\n";

static struct schema db;
static struct broker broker;

struct world {
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
};

struct fixture {
    struct world now, later;
    struct outbox *outbox;
    struct kafka_producer *producer;
    struct timers *timers, *second;
    struct err e;

    /* what the callbacks said */
    pthread_mutex_t lock;
    struct silence silent[8];
    size_t silent_n;
    int expire_answer;
    uint64_t expire_breaks; /* Postgres does not take what this one's end writes */
    bool expire_locks;      /* their rows, which somebody may hold */
    struct err failed;
};

/* ---- the stage ---- */

static inline void world_load(struct world *w, const char *text)
{
    struct err e = {0};

    if (conf_parse("t.yml", text, NULL, &w->conf, &e) < 0 ||
        settings_load(w->conf, &w->settings, &e) < 0 ||
        receivers_load(&w->settings, &w->receivers, &e) < 0 ||
        route_load(&w->settings, &w->receivers, &w->routes, &e) < 0)
        fail_msg("%s", e.msg);
    w->settings.postgres = db.settings;
    w->settings.conf = w->conf;
}

static inline int expire(void *ctx, struct pg *pg, const struct silence *v, size_t n, struct err *e)
{
    struct fixture *f = ctx;

    assert_int_equal(pg_exec(pg,
                             "INSERT INTO beats (ingest, since, last_at) VALUES ('seen', 0, "
                             "4102444800000) ON CONFLICT DO NOTHING",
                             e),
                     0);
    for (size_t i = 0; f->expire_locks && i < n; i++) {
        char lock[96];
        (void)snprintf(lock, sizeof(lock), "SELECT FROM alerts WHERE fingerprint = %lld FOR UPDATE",
                       (long long)v[i].fingerprint);
        const int rc = pg_exec(pg, lock, e);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < n; i++)
        if (f->expire_breaks && v[i].fingerprint == f->expire_breaks)
            return pg_exec(pg, "SELECT 1 / 0", e);
    for (size_t i = 0; i < n && f->silent_n < 8; i++)
        f->silent[f->silent_n++] = v[i];
    return f->expire_answer ? err_set(e, f->expire_answer, "as the test wants it") : 0;
}

static inline void on_fail(const struct err *why)
{
    fail_msg("the runner gave up: %s", why->msg);
}

static inline struct timers *runner(struct fixture *f, const struct world *w)
{
    const struct timers_options o = {.settings = &w->settings,
                                     .routes = w->routes,
                                     .receivers = &w->receivers,
                                     .producer = f->producer,
                                     .outbox = f->outbox,
                                     .expire = expire,
                                     .expire_ctx = f,
                                     .fail = on_fail};
    struct timers *t;

    SQL_OK(f, timers_new(&o, &t, &f->e));
    return t;
}

static inline int open_all(void **state)
{
    (void)state;
    broker_open(&broker, topics);
    schema_open(&db);
    return 0;
}

static inline int close_all(void **state)
{
    (void)state;
    schema_close(&db);
    broker_close(&broker);
    return 0;
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    schema_do(
        &db,
        "TRUNCATE incidents, alerts, groups, group_alerts, digest_items, notifications, "
        "notification_incidents, silences, silenced_groups, timers, outbox, delivery_ids, beats");
    world_load(&f->now, config);
    world_load(&f->later, config_later);
    f->outbox = outbox_new();
    SQL_OK(f, kafka_producer_new(&broker.settings, outbox_report, f->outbox, &f->producer, &f->e));
    f->timers = runner(f, &f->now);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    timers_free(f->timers);
    timers_free(f->second);
    kafka_producer_free(f->producer);
    outbox_free(f->outbox);
    conf_free(f->now.conf);
    conf_free(f->later.conf);
    free(f);
    return 0;
}

/* ---- props ---- */

static const char *sql(const char *fmt, ...) PRINTF_LIKE(1, 2);
static inline const char *sql(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *text = arena_vprintf(db.arena, fmt, ap);
    va_end(ap);
    assert_non_null(text);
    return text;
}

#define DO(...) schema_do(&db, sql(__VA_ARGS__))
#define INT(...) schema_int(&db, sql(__VA_ARGS__))
#define TEXT(...) schema_text(&db, sql(__VA_ARGS__))

static inline void add_incident(const char *id, int status, int severity, int level)
{
    DO("INSERT INTO incidents (tenant, id, anomaly_key, status, severity, level, title, source, "
       "alert_name, service, namespace, environment, error_type, opened_at, updated_at, "
       "window_start, last_seen, occurrences, alerts_firing, alerts_total) VALUES ('" TENANT
       "', '%s', uuid_send('%s'), %d, %d, %d, 't', 'am', 'a', 's', '', '', '', 1, 1, 1, 1, 1, 1, "
       "1)",
       id, id, status, severity, level);
}

static inline void add_alert(uint64_t fp, int status, int severity)
{
    DO("INSERT INTO alerts (tenant, fingerprint, anomaly_key, status, severity, labels, "
       "annotations, title, description, link, source, first_seen, last_seen) VALUES ('" TENANT
       "', %lld, '\\x01', %d, %d, '{}', '{}', '', '', '', 'am', 1, 1)",
       (long long)fp, status, severity);
}

/* The group of an alert with these labels, as a batch makes it, with a timer that is due. Its id.
 */
static inline const char *add_group(const struct world *w, const char *labels_json,
                                    const char *incident)
{
    const struct route **out = arena_array(db.arena, w->routes->most, const struct route *), *r;
    struct group_identity g;
    struct labels labels;
    struct uuid id = {{0}};
    struct err e = {0};
    char hex[33], *text = arena_alloc(db.arena, 1, UUID_STR);
    CLEANUP(buf_release) struct buf group_labels = BUF_INIT(4096);

    if (incident)
        assert_true(uuid_parse(slice_of(incident), &id));
    assert_int_equal(labels_from_json(db.arena, slice_of(labels_json), &labels, &e), 0);
    assert_int_equal(route_match(w->routes, labels, out), 1);
    r = out[0];
    assert_int_equal(group_of(db.arena, r, SLICE_LIT(TENANT), labels, &id, &g), 0);
    labels_to_json(&group_labels, g.labels);
    (void)uuid_format(&g.id, text);
    DO("INSERT INTO groups (tenant, id, kind, receiver, route, labels, incident_id, routed_by, "
       "since) VALUES ('" TENANT "', '%s', %d, '%s', '%s', '%s', %s%s%s, '%s', 1)",
       text, (int)g.kind, r->receiver->name, hex_encode(r->id, sizeof(r->id), hex),
       buf_str(&group_labels), incident ? "'" : "", incident ? incident : "NULL",
       incident ? "'" : "", labels_json);
    return text;
}

static inline void look(const char *group)
{
    DO("INSERT INTO timers (due_at, kind, tenant, subject) VALUES (1, 1, '" TENANT
       "', uuid_send('%s'))",
       group);
}

static inline size_t pass(struct fixture *f, struct timers *t)
{
    size_t ran = 0;

    SQL_OK(f, timers_pass(t, &ran, &f->e));
    return ran;
}

/* "slack:opened slack:crossing webhook:opened": rows of a group in order of channel and sequence.
 */
static inline const char *told(const char *group)
{
    return TEXT(
        "SELECT coalesce(string_agg(channel || ':' || kind, ' ' ORDER BY channel, seq), '') "
        "FROM notifications WHERE group_id = '%s'",
        group);
}

static inline void forget(void)
{
    schema_do(&db, "DELETE FROM notifications");
}

/* The titles of what the notifications of a group speak of. */
static inline const char *speak_of(const char *group)
{
    return TEXT("SELECT coalesce(string_agg(n.kind || ':' || right(i.incident_id::text, 2), ' ' "
                "ORDER BY n.seq, n.channel, i.incident_id), '') FROM notifications n JOIN "
                "notification_incidents i ON i.tenant = n.tenant AND i.notification_id = n.id AND "
                "i.created_at = n.created_at WHERE n.group_id = '%s'",
                group);
}

#define HIGH_FP UINT64_C(0x8000000000000001) /* negative in Postgres, last in order */

static inline const char *alerts_group_to(struct fixture *f, const char *labels_json)
{
    const char *g = add_group(&f->now, labels_json, NULL);

    DO("INSERT INTO group_alerts SELECT '" TENANT "', '%s', fingerprint FROM alerts", g);
    DO("UPDATE groups SET since = 1");
    look(g);
    return g;
}

static inline const char *alerts_group(struct fixture *f)
{
    return alerts_group_to(f, "{\"job\":\"api\",\"to\":\"alerts\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
