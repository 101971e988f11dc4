#include "scene.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct scene st;

static const char config[] = "\
external_url: https://tocsin.example.com\n\
redis: {url: ''}\n\
limits: {allow_private_addresses: [127.0.0.0/8]}\n\
aggregation: {absence_grace: 1s}\n\
notifier: {sweep_age: 0s, sweep_interval: 20ms, retry_base: 10ms, retry_cap: 20ms,\n\
           request_timeout: 60s, lease: 130s, per_destination: 8}\n\
receivers:\n\
- name: team\n\
  webhook_configs: [{url: 'http://127.0.0.1:%d/team', send_resolved: true}]\n\
- name: list\n\
  webhook_configs: [{url: 'http://127.0.0.1:%d/list', send_resolved: true}]\n\
- name: people\n\
  slack_configs: [{api_url: 'http://127.0.0.1:%d/services/T0/B0/people', send_resolved: true,\n\
                   max_per_minute: 1, burst: 1}]\n\
route:\n\
  receiver: team\n\
  group_by: [incident]\n\
  group_wait: 0s\n\
  group_interval: 0s\n\
  routes:\n\
  - {match: {to: list}, receiver: list, group_by: [alertname]}\n\
  - {match: {to: people}, receiver: people}\n";

static const char *const topics[] = {"notify.webhook", "notify.slack", NULL};

#define GROUP ((struct offset_group){"processor", "cluster"})

/* ---- the stage ---- */

const char *sql(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *text = arena_vprintf(st.db.arena, fmt, ap);
    va_end(ap);
    assert_non_null(text);
    return text;
}

static void load(void)
{
    struct err e = {0};
    const int port = letterbox_port(st.box);

    st.config = sql(config, port, port, port);
    if (conf_parse("races.yml", st.config, NULL, &st.conf, &e) < 0 ||
        settings_load(st.conf, &st.settings, &e) < 0 ||
        receivers_load(&st.settings, &st.receivers, &e) < 0 ||
        route_load(&st.settings, &st.receivers, &st.routes, &e) < 0 ||
        source_entries_load(&st.settings, &st.sources, &e) < 0)
        fail_msg("%s", e.msg);
}

int scene_open(void **state)
{
    (void)state;
    schema_open(&st.db);
    pause_prepare(&st.db);
    broker_open(&st.broker, topics);
    st.box = letterbox_open();
    load();
    st.base = (clock_now_ms() - MS_HOUR) / MS_SECOND * MS_SECOND;
    st.outbox = outbox_new();
    SQL_OK(&st.db, kafka_producer_new(&st.broker.settings, outbox_report, st.outbox, &st.producer,
                                      &st.db.e));
    return 0;
}

int scene_close(void **state)
{
    (void)state;
    kafka_producer_free(st.producer);
    outbox_free(st.outbox);
    letterbox_close(st.box);
    broker_close(&st.broker);
    conf_free(st.conf);
    schema_close(&st.db);
    return 0;
}

int scene_empty(void **state)
{
    static const char *const tables[] = {
        "offsets",      "anomalies",    "incidents",    "alerts", "occurrences",  "timeline",
        "deliveries",   "groups",       "group_alerts", "timers", "digest_items", "notifications",
        "destinations", "delivery_ids", "outbox",       "beats",
    };
    struct offset_row rows[PARTITIONS];
    const struct offset_group g = GROUP;

    (void)state;
    schema_do(&st.db, "SELECT pg_advisory_unlock_all()");
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        DO("DELETE FROM %s", tables[i]);
    letterbox_empty(st.box);
    for (int32_t i = 0; i < PARTITIONS; i++)
        rows[i] = (struct offset_row){.topic = TOPIC, .partition = i, .low = 0, .high = -1};
    SQL_OK(&st.db, offsets_load(st.db.pg, st.db.arena, &g, rows, PARTITIONS, &st.db.e));
    memset(st.next, 0, sizeof(st.next));
    return 0;
}

/* ---- records ---- */

struct batch *batch_open(void)
{
    struct batch *b = batch_new(200, PARTITIONS, (size_t)64 << 20);

    assert_non_null(b);
    return b;
}

const char *time_text(double at)
{
    const int64_t ms = st.base + (int64_t)(at * 1000);
    const time_t s = ms / 1000;
    struct tm tm;
    char text[32];

    (void)gmtime_r(&s, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return sql("%s.%03dZ", text, (int)(ms % 1000));
}

static int64_t position(struct batch *b, int32_t partition)
{
    int64_t at = st.next[partition];

    for (size_t i = 0; i < b->n; i++)
        at += b->v[i].message.partition == partition;
    for (size_t i = 0; i < b->position_n; i++)
        if (b->positions[i].partition == partition)
            return at;
    b->positions[b->position_n++] = (struct batch_position){
        .topic = TOPIC, .partition = partition, .expected = st.next[partition]};
    return at;
}

void put_body(struct batch *b, int32_t partition, const char *source, double at, struct slice body,
              const struct kafka_header *extra)
{
    struct kafka_message m = {.topic = TOPIC,
                              .partition = partition,
                              .offset = position(b, partition),
                              .key = SLICE_LIT("k"),
                              .value = arena_slice(b->a, body)};
    struct uuid request = {{0}};
    struct kafka_header *h = arena_array(b->a, 6, struct kafka_header);
    const int64_t received_at = st.base + (int64_t)(at * 1000);
    char id[UUID_STR];

    st.requests++;
    for (unsigned i = 0; i < 4; i++)
        request.b[i] = (unsigned char)(st.requests >> (24 - 8 * i));
    h[0] = (struct kafka_header){"v", SLICE_LIT(RECORD_VERSION)};
    h[1] = (struct kafka_header){"tenant", SLICE_LIT(TENANT)};
    h[2] = (struct kafka_header){"source", slice_of(arena_printf(b->a, "%s", source))};
    h[3] = (struct kafka_header){"request_id",
                                 slice_of(arena_printf(b->a, "%s", uuid_format(&request, id)))};
    h[4] =
        (struct kafka_header){"received_at", slice_of(arena_printf(b->a, "%" PRId64, received_at))};
    if (extra)
        h[5] = *extra;
    batch_add_with(b, &m, h, extra ? 6 : 5, &st.settings, &st.sources);
}

void put(struct batch *b, int32_t partition, struct post p)
{
    const char *ends = p.ends > 0 ? sql(",\"endsAt\":\"%s\"", time_text(p.ends)) : "";
    const char *to = p.to ? sql(",\"to\":\"%s\"", p.to) : "";

    put_body(b, partition, "prometheus", p.at,
             slice_of(sql("[{\"labels\":{\"alertname\":\"%s\",\"instance\":\"%s\",\"severity\":"
                          "\"warning\"%s},\"annotations\":{\"summary\":\"%s is ill\"},"
                          "\"startsAt\":\"%s\"%s}]",
                          p.name, p.instance, to, p.name, time_text(p.starts), ends)),
             NULL);
    assert_int_equal(b->v[b->n - 1].fate, FATE_ALERTS);
}

/* ---- workers ---- */

static void on_fail(const struct err *why)
{
    fail_msg("the runner gave up: %s", why->msg);
}

void worker_open(struct worker *w, const char *who, const char *host)
{
    *w = (struct worker){.settings = st.settings};
    w->settings.postgres = st.db.settings;
    w->settings.postgres.url = pause_url(&st.db, who, host);
    w->expiry = (struct expiry){.settings = &w->settings, .routes = st.routes, .group = GROUP};
    const struct committer_options c = {
        .settings = &w->settings, .routes = st.routes, .group = GROUP, .stop = &st.stop};
    const struct timers_options t = {.settings = &w->settings,
                                     .routes = st.routes,
                                     .receivers = &st.receivers,
                                     .producer = st.producer,
                                     .outbox = st.outbox,
                                     .expire = expire_run,
                                     .expire_ctx = &w->expiry,
                                     .fail = on_fail};
    SQL_OK(&st.db, committer_new(&c, &w->committer, &st.db.e));
    SQL_OK(&st.db, timers_new(&t, &w->runner, &st.db.e));
}

void worker_close(struct worker *w)
{
    committer_free(w->committer);
    timers_free(w->runner);
}

static void *commit_it(void *ctx)
{
    struct worker *w = ctx;

    w->rc = committer_run(w->committer, w->batch, &w->e);
    atomic_store(&w->done, true);
    return NULL;
}

static void *run_it(void *ctx)
{
    struct worker *w = ctx;

    w->rc = timers_pass(w->runner, &w->ran, &w->e);
    atomic_store(&w->done, true);
    return NULL;
}

static void begin(struct worker *w, void *(*run)(void *))
{
    atomic_store(&w->done, false);
    w->e = (struct err){0};
    w->ran = 0;
    assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

void worker_commits(struct worker *w, struct batch *b)
{
    w->batch = b;
    begin(w, commit_it);
}

void worker_runs(struct worker *w)
{
    begin(w, run_it);
}

bool worker_waits(struct worker *w)
{
    for (int i = 0; i < 2000; i++) {
        if (atomic_load(&w->done))
            return false;
        if (pause_waiting(&st.db) > 0)
            return true;
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000L}, NULL);
    }
    fail_msg("the worker neither ends nor waits for anybody");
    return false;
}

int worker_end(struct worker *w)
{
    (void)pthread_join(w->thread, NULL);
    struct batch *b = TAKE(w->batch);
    for (size_t i = 0; b && w->rc == 0 && i < b->n; i++)
        st.next[b->v[i].message.partition] = b->v[i].message.offset + 1;
    batch_free(b);
    return w->rc;
}

static void must_end(struct worker *w)
{
    if (worker_end(w) != 0)
        fail_msg("%d: %s", w->rc, w->e.msg);
}

void commits(struct worker *w, struct batch *b)
{
    worker_commits(w, b);
    must_end(w);
}

void runs(struct worker *w)
{
    worker_runs(w);
    must_end(w);
}
