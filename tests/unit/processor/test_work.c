/* Whole batches through a real PostgreSQL: what the rows say after records, bad ones, races and
 * storms. Every test has tenants and partitions of its own. */
#include "reports.h"
#include "schema.h"

#include <pthread.h>

#include "common/json.h"
#include "common/metrics.h"
#include "common/source.h"
#include "processor/commit.h"

#define PARTITIONS 64
#define TOPIC "raw.alertmanager"

static const char config[] = "\
receivers:\n\
  - name: team\n\
    webhook_configs: [{url: 'http://a'}]\n\
route:\n\
  receiver: team\n\
  group_by: [incident]\n\
limits:\n\
  open_incidents: 20\n\
redis:\n\
  url: ''\n";

static struct stage {
    struct schema db;
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
    struct source_entries sources;
    struct committer *committers[2];
    atomic_bool stop;
    int64_t next[PARTITIONS]; /* of each partition, as the rows say */
    uint32_t tenants;
    struct arena *a;
} st;

#define GROUP ((struct offset_group){"processor", "cluster"})

static int open_all(void **state)
{
    struct err e = {0};

    (void)state;
    schema_open(&st.db);
    st.a = arena_new((size_t)256 << 20);
    if (conf_parse("t.yml", config, NULL, &st.conf, &e) < 0 ||
        settings_load(st.conf, &st.settings, &e) < 0 ||
        receivers_load(&st.settings, &st.receivers, &e) < 0 ||
        route_load(&st.settings, &st.receivers, &st.routes, &e) < 0 ||
        source_entries_load(&st.settings, &st.sources, &e) < 0)
        fail_msg("%s", e.msg);
    st.settings.postgres = st.db.settings;
    for (size_t i = 0; i < 2; i++) {
        const struct committer_options o = {
            .settings = &st.settings, .routes = st.routes, .group = GROUP, .stop = &st.stop};
        SQL_OK(&st.db, committer_new(&o, &st.committers[i], &st.db.e));
    }
    struct offset_row rows[PARTITIONS];
    const struct offset_group g = GROUP;
    for (int32_t i = 0; i < PARTITIONS; i++)
        rows[i] = (struct offset_row){.topic = TOPIC, .partition = i, .low = 0, .high = -1};
    SQL_OK(&st.db, offsets_load(st.db.pg, st.db.arena, &g, rows, PARTITIONS, &st.db.e));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        committer_free(st.committers[i]);
    schema_close(&st.db);
    conf_free(st.conf);
    arena_free(st.a);
    return 0;
}

static const char *new_tenant(void)
{
    const char *t = arena_printf(st.a, "t%u", ++st.tenants);

    assert_non_null(t);
    return t;
}

/* ---- records ---- */

static const char *time_text(struct arena *a, int64_t ms)
{
    const int64_t s = (ms - BASE) / 1000 + INT64_C(3) * 3600;

    return arena_printf(a, "2026-01-02T%02d:%02d:%02dZ", (int)(s / 3600), (int)(s / 60 % 60),
                        (int)(s % 60));
}

/* What Alertmanager would post of one alert: name and instance make it up. */
static const char *body_of(struct arena *a, const struct report *r, const char *name,
                           const char *instance)
{
    const bool over = r->kind == REPORT_RESOLVED;
    const char *status = over ? "resolved" : "firing";

    return arena_printf(a,
                        "{\"version\":\"4\",\"status\":\"%s\",\"alerts\":[{\"status\":\"%s\","
                        "\"labels\":{\"alertname\":\"%s\",\"instance\":\"%s\","
                        "\"severity\":\"warning\"},\"annotations\":{\"summary\":\"%s is ill\"},"
                        "\"startsAt\":\"%s\",\"endsAt\":\"%s\"}]}",
                        status, status, name, instance, name,
                        time_text(a, r->starts_at ? r->starts_at : r->order.at),
                        over && r->ends_at ? time_text(a, r->ends_at) : "0001-01-01T00:00:00Z");
}

static struct batch *batch_open(void)
{
    struct batch *b = batch_new(6000, PARTITIONS, (size_t)512 << 20);

    assert_non_null(b);
    return b;
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

/* A record as ingest would have written it. */
static void put_body(struct batch *b, int32_t partition, const char *tenant,
                     const struct order *order, const char *source, const char *body,
                     const struct kafka_header *extra)
{
    struct kafka_message m = {.topic = TOPIC,
                              .partition = partition,
                              .offset = position(b, partition),
                              .key = SLICE_LIT("k"),
                              .value = slice_of(arena_strndup(b->a, body, strlen(body)))};
    struct kafka_header *h = arena_array(b->a, 6, struct kafka_header);
    char id[UUID_STR];

    h[0] = (struct kafka_header){"v", SLICE_LIT(RECORD_VERSION)};
    h[1] = (struct kafka_header){"tenant", slice_of(tenant)};
    h[2] = (struct kafka_header){"source", slice_of(source)};
    h[3] = (struct kafka_header){
        "request_id", slice_of(arena_printf(b->a, "%s", uuid_format(&order->request, id)))};
    h[4] = (struct kafka_header){"received_at",
                                 slice_of(arena_printf(b->a, "%lld", (long long)order->at))};
    if (extra)
        h[5] = *extra;
    batch_add_with(b, &m, h, extra ? 6 : 5, &st.settings, &st.sources);
}

static void put(struct batch *b, int32_t partition, const char *tenant, struct report r,
                const char *name, const char *instance)
{
    put_body(b, partition, tenant, &r.order, "alertmanager", body_of(b->a, &r, name, instance),
             NULL);
    assert_int_equal(b->v[b->n - 1].fate, FATE_ALERTS);
}

/* Commit, and remember where the partitions stand. */
static int commit(size_t committer, struct batch *b)
{
    struct err e = {0};
    const int rc = committer_run(st.committers[committer], b, &e);

    if (rc == 0)
        for (size_t i = 0; i < b->n; i++)
            st.next[b->v[i].message.partition] = b->v[i].message.offset + 1;
    else if (rc != -ESTALE)
        fail_msg("%s", e.msg);
    return rc;
}

static void commit_free(struct batch *b)
{
    assert_int_equal(commit(0, b), 0);
    batch_free(b);
}

/* The answer of a query in which %s is the tenant. */
static const char *ask(const char *sql, const char *tenant)
{
    const char *mark = strstr(sql, "%s");
    const char *text =
        mark ? arena_printf(st.a, "%.*s%s%s", (int)(mark - sql), sql, tenant, mark + 2) : sql;

    assert_non_null(text);
    return schema_text(&st.db, text);
}

#define ASK(sql, tenant, expected) assert_string_equal(ask(sql, tenant), expected)

/* ---- the rows ---- */

static void test_rows(void **state)
{
    const char *t = new_tenant();
    struct batch *b = batch_open();

    (void)state;
    put(b, 0, t, FIRING(10, 0), "Disk", "a");
    put(b, 1, t, FIRING(11, 2), "Disk", "b");
    put(b, 1, t, FIRING(12, 2), "Disk", "b");
    commit_free(b);
    ASK("SELECT status || ' ' || alerts_firing || ' ' || alerts_total || ' ' || occurrences || ' ' "
        "|| title FROM incidents WHERE tenant = '%s'",
        t, "1 2 2 2 Disk is ill");
    ASK("SELECT string_agg(status || ' ' || occurrences || ' ' || (incident_id IS NOT NULL), ',') "
        "FROM alerts WHERE tenant = '%s'",
        t, "1 1 true,1 1 true");
    ASK("SELECT occurrences || ' ' || (incident_id IS NOT NULL) FROM anomalies WHERE tenant = '%s'",
        t, "2 true");
    ASK("SELECT count(*)::text FROM occurrences WHERE tenant = '%s'", t, "2");
    ASK("SELECT count(*)::text FROM groups WHERE tenant = '%s'", t, "1");
    ASK("SELECT (count(*) > 0)::text FROM timers WHERE kind = 1 AND tenant = '%s'", t, "true");
    ASK("SELECT string_agg(kind, ',') FROM timeline WHERE tenant = '%s'", t, "opened");
    ASK("SELECT string_agg(next_offset::text, ',' ORDER BY partition) FROM offsets WHERE partition "
        "< 2",
        t, "1,2");

    b = batch_open();
    put(b, 0, t, ENDED_AT(60, 59), "Disk", "a");
    put(b, 1, t, ENDED_AT(70, 69), "Disk", "b");
    commit_free(b);
    ASK("SELECT status || ' ' || resolved_by || ' ' || alerts_firing || ' ' || (resolved_at - "
        "1767322800000) FROM incidents WHERE tenant = '%s'",
        t, "4 1 0 70000");
    ASK("SELECT string_agg(status || ' ' || (ended_at - 1767322800000), ',' ORDER BY ended_at) "
        "FROM alerts WHERE tenant = '%s'",
        t, "2 60000,2 70000");

    b = batch_open();
    put(b, 0, t, FIRING(600, 590), "Disk", "a");
    commit_free(b);
    ASK("SELECT status || ' ' || episode || ' ' || occurrences FROM incidents WHERE tenant = '%s'",
        t, "1 2 3");
    b = batch_open();
    put(b, 0, t, RESOLVE(700), "Disk", "a");
    put(b, 0, t, FIRING(1400, 1390), "Disk", "a");
    commit_free(b);
    ASK("SELECT string_agg(status || ' ' || episode || ' ' || level || ' ' || severity, ',' ORDER "
        "BY opened_at) FROM incidents WHERE tenant = '%s'",
        t, "4 2 1 3,1 1 1 2");
}

/* A silence of one alert may not be one of another: whoever kept the incident to himself looks
 * again; nobody else does. */
static void test_an_alert_joins_what_is_silenced(void **state)
{
    static const char *const told[] = {"{\"0\": {\"last\": {\"seq\": 1}}}",
                                       "{\"0\": {\"withheld\": {\"seq\": 1}}}"};

    (void)state;
    for (int silenced = 0; silenced < 2; silenced++) {
        const char *t = new_tenant();
        struct batch *b = batch_open();
        put(b, 0, t, FIRING(10, 0), "Disk", "a");
        commit_free(b);
        (void)ask("WITH gone AS (DELETE FROM timers WHERE tenant = '%s') SELECT ''", t);
        schema_do(&st.db, arena_printf(st.a, "UPDATE groups SET told = '%s' WHERE tenant = '%s'",
                                       told[silenced], t));
        b = batch_open();
        put(b, 0, t, FIRING(20, 15), "Disk", "b");
        commit_free(b);
        ASK("SELECT count(*)::text FROM timers WHERE kind = 1 AND tenant = '%s'", t,
            silenced ? "1" : "0");
    }
}

#define EVERYTHING                                                                                 \
    "SELECT md5((SELECT string_agg(x::text, '' ORDER BY x::text) FROM alerts x) || (SELECT "       \
    "string_agg(x::text, '' ORDER BY x::text) FROM incidents x) || (SELECT string_agg(x::text, "   \
    "'' "                                                                                          \
    "ORDER BY x::text) FROM anomalies x) || (SELECT string_agg(x::text, '' ORDER BY x::text) "     \
    "FROM "                                                                                        \
    "occurrences x) || (SELECT string_agg(x::text, '' ORDER BY x::text) FROM offsets x) || "       \
    "(SELECT string_agg(x::text, '' ORDER BY x::text) FROM timeline x) || (SELECT count(*)::text " \
    "FROM timers) || (SELECT count(*)::text FROM outbox))"

static void test_a_batch_whose_partition_moved(void **state)
{
    const char *t = new_tenant();
    struct batch *b = batch_open(), *both = batch_open();

    (void)state;
    put(b, 2, t, FIRING(10, 0), "Disk", "a");
    put(both, 2, t, FIRING(10, 0), "Disk", "b");
    put(both, 3, t, FIRING(10, 0), "Disk", "c");
    assert_int_equal(commit(0, b), 0);
    const char *before = ask(EVERYTHING, t);
    assert_int_equal(commit(1, b), -ESTALE);
    assert_int_equal(commit(1, both), -ESTALE);
    ASK(EVERYTHING, t, before);
    batch_free(b);
    batch_free(both);
}

/* The same records again, as after an offset that was lost: nothing but the offset moves. */
static void test_the_same_records_again(void **state)
{
    const char *t = new_tenant();
    struct report v[] = {FIRING(10, 0), FIRING(20, 0), ENDED_AT(30, 29), FIRING(40, 35)};

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct batch *b = batch_open();
        for (size_t i = 0; i < 4; i++)
            put(b, 4, t, v[i], "Disk", "a");
        commit_free(b);
        ASK("SELECT status || ' ' || occurrences || ' ' || (starts_at - 1767322800000) FROM alerts "
            "WHERE tenant = '%s'",
            t, "1 2 35000");
        ASK("SELECT status || ' ' || episode || ' ' || occurrences || ' ' || alerts_firing FROM "
            "incidents WHERE tenant = '%s'",
            t, "1 2 2 1");
        ASK("SELECT occurrences::text FROM anomalies WHERE tenant = '%s'", t, "2");
        ASK("SELECT count(*)::text FROM timeline WHERE tenant = '%s'", t, "3");
    }
}

/* An earlier start comes to light: the same occurrence, counted when it was, and taken back there
 * when it turns out to be part of another. */
static void test_a_new_name_keeps_its_time(void **state)
{
    const char *t = new_tenant();
    struct report v[] = {FIRING(10, 5), FIRING(900, 880), FIRING(1000, 870), FIRING(500, 5)};
    static const char *const counted[] = {
        "s:1767322805000 10", "s:1767322805000 10,s:1767323680000 900",
        "s:1767322805000 10,s:1767323670000 900", "s:1767322805000 10"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct batch *b = batch_open();
        put(b, 15, t, v[i], "Disk", "a");
        commit_free(b);
        ASK("SELECT string_agg(identity || ' ' || (at - 1767322800000) / 1000, ',' ORDER BY "
            "identity) FROM occurrences WHERE tenant = '%s'",
            t, counted[i]);
    }
    struct frequency f;
    struct err e = {0};
    const char *hex = ask("SELECT encode(frequency, 'hex') FROM anomalies WHERE tenant = '%s'", t);
    char bytes[4096];
    for (size_t i = 0; i < strlen(hex) / 2; i++) {
        const char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (char)strtol(two, NULL, 16);
    }
    assert_int_equal(frequency_unpack((struct slice){bytes, strlen(hex) / 2}, &f, &e), 0);
    assert_int_equal(f.recent_n, 1);
    assert_int_equal(f.recent[0], SEC(10));
}

/* As after a restart of ingest alone with a new source, or the removal of one. */
static void test_a_source_that_is_not_in_the_configuration(void **state)
{
    const char *t = new_tenant();
    const struct report r = FIRING(10, 0);
    struct batch *b = batch_open();

    (void)state;
    put_body(b, 6, t, &r.order, "billing", body_of(b->a, &r, "Disk", "a"), NULL);
    assert_int_equal(b->v[0].fate, FATE_ALERTS);
    commit_free(b);
    ASK("SELECT source || ' ' || fed_by::text || ' ' || status FROM alerts WHERE tenant = '%s'", t,
        "billing {alertmanager} 1");
    ASK("SELECT source || ' ' || title FROM incidents WHERE tenant = '%s'", t,
        "billing Disk is ill");
}

/* Nothing is known of its bodies. */
static void test_a_mapping_that_is_not_in_the_configuration(void **state)
{
    CLEANUP(batch_free) struct batch *b = batch_open();
    struct kafka_message m = {.topic = "raw.mapping", .value = SLICE_LIT("{}")};
    const struct kafka_header h[] = {
        {"v", SLICE_LIT(RECORD_VERSION)},
        {"tenant", SLICE_LIT("t")},
        {"source", SLICE_LIT("ci")},
        {"request_id", SLICE_LIT("018f0000-0000-7000-8000-000000000001")},
        {"received_at", SLICE_LIT("1767322810000")}};

    (void)state;
    batch_add_with(b, &m, h, 5, &st.settings, &st.sources);
    assert_int_equal(b->v[0].fate, FATE_DEAD);
    assert_string_equal(b->v[0].stage, "envelope");
    assert_string_equal(b->v[0].reason,
                        "source \"ci\" is not in the configuration of the processor, and a mapping "
                        "cannot be read without it: add it there, restart, then "
                        "write the record to its topic again");
}

static void test_a_poisoned_record_is_buried(void **state)
{
    const char *t = new_tenant();
    struct batch *b = batch_open();

    (void)state;
    put(b, 5, t, FIRING(10, 0), "Disk", "bad");
    commit_free(b);
    schema_do(&st.db, "ALTER TABLE alerts ADD CONSTRAINT sane CHECK (labels->>'instance' <> 'bad' "
                      "OR last_seen < 1767322820000)");
    b = batch_open();
    put(b, 5, t, FIRING(20, 11), "Disk", "a");
    put(b, 5, t, FIRING(21, 0), "Disk", "bad");
    put(b, 5, t, FIRING(22, 11), "Disk", "c");
    const struct report none = FIRING(23, 0);
    put_body(b, 5, t, &none.order, "alertmanager", "[]", NULL);
    commit_free(b);
    schema_do(&st.db, "ALTER TABLE alerts DROP CONSTRAINT sane");
    ASK("SELECT count(*)::text FROM alerts WHERE status = 1 AND tenant = '%s'", t, "3");
    ASK("SELECT string_agg((headers->>'stage') || ' ' || (headers->>'offset') || ' ' || topic, ',' "
        "ORDER BY headers->>'offset') FROM outbox",
        t, "store 2 dead,decode 4 dead");
    ASK("SELECT ((headers->>'reason') ~ 'sane')::text FROM outbox WHERE headers->>'stage' = "
        "'store'",
        t, "true");
    ASK("SELECT next_offset::text FROM offsets WHERE partition = 5", t, "5");
}

/* The headers of the dead record of a tenant, ours among them. */
static size_t dead_headers(const char *tenant, struct arena *a, struct kafka_header ret[16])
{
    struct err e = {0};
    const char *text = ask("SELECT headers::text FROM outbox WHERE topic = 'dead' AND "
                           "headers->>'tenant' = '%s'",
                           tenant);
    json_t *tree = json_tree(slice_of(arena_strndup(a, text, strlen(text))), a, &e), *value;
    const char *name;
    size_t n = 0;

    json_object_foreach (tree, name, value) {
        assert_true(n < 16);
        ret[n++] = (struct kafka_header){name, json_value_text(value, a)};
    }
    return n;
}

/* Written to its topic again it is the record that it was, whatever stands beside its headers. */
static void test_a_dead_record_may_be_written_again(void **state)
{
    const char *t = new_tenant();
    const struct report r = FIRING(10, 0);
    const struct kafka_header kept = {"h.X-Kept", SLICE_LIT("a\"b")};
    struct batch *b = batch_open();
    struct kafka_header h[16];

    (void)state;
    put_body(b, 60, t, &r.order, "alertmanager", body_of(b->a, &r, "Disk", "mad"), &kept);
    schema_do(&st.db,
              "ALTER TABLE alerts ADD CONSTRAINT sane CHECK (labels->>'instance' <> 'mad')");
    commit_free(b);
    schema_do(&st.db, "ALTER TABLE alerts DROP CONSTRAINT sane");
    ASK("SELECT count(*)::text FROM alerts WHERE tenant = '%s'", t, "0");

    b = batch_open();
    struct kafka_message m = {.topic = TOPIC,
                              .partition = 60,
                              .offset = position(b, 60),
                              .key = SLICE_LIT("k"),
                              .value = slice_of(body_of(b->a, &r, "Disk", "mad"))};
    batch_add_with(b, &m, h, dead_headers(t, b->a, h), &st.settings, &st.sources);
    if (b->v[0].fate != FATE_ALERTS)
        fail_msg("%s: %s", b->v[0].stage, b->v[0].reason);
    assert_true(slice_is(record_header(&b->v[0].record, "X-Kept"), "a\"b"));
    assert_true(slice_is(b->v[0].record.source, "alertmanager"));
    assert_memory_equal(&b->v[0].record.request_id, &r.order.request, sizeof(struct uuid));
    assert_int_equal(b->v[0].record.received_at, r.order.at);
    commit_free(b);
    ASK("SELECT labels->>'instance' FROM alerts WHERE tenant = '%s'", t, "mad");
}

/* Our words win of equal names, what jsonb refuses stays behind, and so does what is too much. */
static void test_a_dead_record_of_a_stranger_gets_out(void **state)
{
    const char *t = new_tenant();
    struct batch *b = batch_open();
    struct kafka_message m = {
        .topic = TOPIC, .partition = 61, .offset = position(b, 61), .value = SLICE_LIT("?")};
    const size_t much = (size_t)1 << 20;
    char *large = arena_alloc(b->a, 1, much);

    (void)state;
    memset(large, 'x', much);
    struct kafka_header h[] = {
        {"tenant", slice_of(t)},    {"stage", SLICE_LIT("theirs")}, {"nul", {"a\0b", 3}},
        {"bytes", {"\xff\x01", 2}}, {"large", {large, much}},       {"v", SLICE_LIT("7")},
    };
    batch_add_with(b, &m, h, sizeof(h) / sizeof(*h), &st.settings, &st.sources);
    commit_free(b);
    ASK("SELECT concat_ws('|', headers->>'stage', headers->>'topic', headers->>'partition', "
        "headers ? 'nul', length(headers->>'bytes'), headers ? 'large', headers->>'v', "
        "headers->>'reason') FROM outbox WHERE headers->>'tenant' = '%s'",
        t, "envelope|" TOPIC "|61|f|2|f|7|header v: version 7 is not known");
}

#define SENTRY(issue)                                                                              \
    "{\"action\":\"created\",\"data\":{\"issue\":{\"id\":\"" issue "\",\"title\":\"Boom\","        \
    "\"project\":{\"slug\":\"shop\"}}},\"actor\":{\"type\":\"application\",\"id\":\"sentry\"}}"

static void test_a_delivery_comes_twice(void **state)
{
    const struct kafka_header one = {"h.Request-ID", SLICE_LIT("d1")},
                              two = {"h.Request-ID", SLICE_LIT("d2")};
    const char *t = new_tenant();
    struct batch *b = batch_open();

    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct report r = OPENED(10 + i);
        put_body(b, 6, t, &r.order, "sentry", i ? SENTRY("2") : SENTRY("1"), &one);
        assert_int_equal(b->v[i].fate, FATE_ALERTS);
        assert_int_equal(b->v[i].delivery_id.len, 2);
    }
    commit_free(b);
    ASK("SELECT count(*)::text FROM alerts WHERE tenant = '%s'", t, "1");
    b = batch_open();
    const struct report again = OPENED(20), other = OPENED(21);
    put_body(b, 6, t, &again.order, "sentry", SENTRY("3"), &one);
    put_body(b, 6, t, &other.order, "sentry", SENTRY("4"), &two);
    commit_free(b);
    ASK("SELECT count(*)::text FROM alerts WHERE tenant = '%s'", t, "2");
    ASK("SELECT string_agg(id, ',' ORDER BY id) FROM delivery_ids WHERE tenant = '%s'", t, "d1,d2");
}

/* What PagerDuty's clients post of the key `k`, as it is stored. */
#define PAGER(action)                                                                              \
    "{\"routing_key\":\"00000000000000000000000000000000\",\"event_action\":\"" action             \
    "\",\"dedup_key\":\"k\",\"client\":\"Ann\",\"payload\":{\"summary\":\"Disk\",\"source\":"      \
    "\"db\",\"severity\":\"critical\"}}"

static void put_pager(struct batch *b, const char *tenant, double at, const char *body)
{
    const struct report r = TRIGGER(at);

    put_body(b, 7, tenant, &r.order, "pagerduty", body, NULL);
    assert_int_equal(b->v[b->n - 1].fate, FATE_ALERTS);
}

#define ACKNOWLEDGED                                                                               \
    "SELECT string_agg(status || ' ' || episode || ' ' || owner, ',' ORDER BY opened_at) || ' | "  \
    "' "                                                                                           \
    "|| (SELECT string_agg(kind || CASE WHEN actor = 'Ann' THEN ' by Ann' ELSE '' END, ',' ORDER " \
    "BY at, cause) FROM timeline t WHERE t.tenant = i.tenant) FROM incidents i WHERE tenant = "    \
    "'%s' GROUP BY tenant"

/* An acknowledgement is an act on what was open by then; however the records are cut. */
static void test_acknowledged_by_a_record(void **state)
{
    static const struct {
        double at;
        const char *body;
    } said[] = {
        {10, PAGER("trigger")}, {20, PAGER("acknowledge")}, {30, PAGER("acknowledge")},
        {40, PAGER("resolve")}, {45, PAGER("acknowledge")}, /* it is over */
        {50, PAGER("trigger")},
    };
    static const char after[] =
        "1 2  | opened,status by Ann,note by Ann,resolved,note by Ann,reopened";
    const size_t n = sizeof(said) / sizeof(*said);

    (void)state;
    for (size_t cut = 1; cut <= n; cut++) {
        const char *t = new_tenant();
        struct batch *b = batch_open();
        for (size_t i = 0; i < n; i++) {
            if (i > 0 && i % cut == 0) {
                commit_free(b);
                b = batch_open();
            }
            put_pager(b, t, said[i].at, said[i].body);
        }
        commit_free(b);
        ASK(ACKNOWLEDGED, t, after);
        put_pager(b = batch_open(), t, 20, PAGER("acknowledge")); /* a late one, of before */
        commit_free(b);
        ASK("SELECT status::text FROM incidents WHERE tenant = '%s'", t, "1");
    }
    const char *t = new_tenant();
    struct batch *b = batch_open();
    put_pager(b, t, 5, PAGER("acknowledge")); /* of what was not known by then */
    put_pager(b, t, 10, PAGER("trigger"));
    commit_free(b);
    ASK(ACKNOWLEDGED, t, "1 1  | note by Ann,opened");
}

/* Its groups look at once; a record that comes again changes nothing, whatever was done since. */
static void test_an_acknowledgement_comes_again(void **state)
{
    const char *t = new_tenant();
    const struct report r = TRIGGER(20);
    struct batch *b = batch_open();

    (void)state;
    put_pager(b, t, 10, PAGER("trigger"));
    commit_free(b);
    (void)ask("DELETE FROM timers WHERE tenant = '%s' AND kind = 1 RETURNING ''", t);
    for (int i = 0; i < 3; i++) {
        put_body(b = batch_open(), 7, t, &r.order, "pagerduty", PAGER("acknowledge"), NULL);
        commit_free(b);
        ASK(ACKNOWLEDGED, t,
            i < 2 ? "2 1 Ann | opened,status by Ann" : "3 1 Ann | opened,status by Ann");
        ASK("SELECT count(*)::text FROM timers WHERE tenant = '%s' AND kind = 1", t, "1");
        if (i == 1)
            (void)ask("UPDATE incidents SET status = 3 WHERE tenant = '%s' RETURNING ''", t);
    }
    ASK("SELECT body FROM timeline WHERE tenant = '%s' AND kind = 'status'", t, "acknowledged");
}

#define METRIC(action, closed)                                                                     \
    "{\"action\":\"" action "\",\"data\":{\"metric_alert\":{\"id\":\"4\",\"title\":\"Errors\","    \
    "\"projects\":[\"shop\"],\"date_started\":\"2026-01-02T03:00:00Z\",\"date_closed\":" closed    \
    "}},\"actor\":{\"type\":\"application\",\"id\":\"sentry\"}}"

/* The critical is no repeat of the warning: the incident gets its severity at once. */
static void test_a_metric_alert_gets_worse(void **state)
{
    static const char *const bodies[] = {METRIC("warning", "null"), METRIC("critical", "null"),
                                         METRIC("warning", "null"),
                                         METRIC("resolved", "\"2026-01-02T03:00:50Z\"")};
    static const char *const firing_and_worst[] = {"1 2", "2 4", "2 4", "0 4"};
    const char *t = new_tenant();

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct batch *b = batch_open();
        const struct report r = OPENED(10 + 20 * i);
        put_body(b, 6, t, &r.order, "sentry", bodies[i], NULL);
        commit_free(b);
        ASK("SELECT alerts_firing || ' ' || severity FROM incidents WHERE tenant = '%s'", t,
            firing_and_worst[i]);
    }
    ASK("SELECT count(*)::text FROM alerts WHERE tenant = '%s' AND status = 1", t, "0");
}

/* ---- ends by silence ---- */

static void be_silent(const char *t, int64_t quiet_at)
{
    const struct silence s = {
        slice_of(t),
        (uint64_t)strtoll(ask("SELECT fingerprint::text FROM alerts WHERE tenant = '%s'", t), NULL,
                          10),
        quiet_at};
    struct work w = {.settings = &st.settings, .routes = st.routes, .a = st.a};

    SQL_OK(&st.db, pg_begin(st.db.pg, &st.db.e));
    SQL_OK(&st.db, work_sort_silences(&w, &s, 1, &st.db.e));
    SQL_OK(&st.db, work_guess(&w, st.db.pg, &st.db.e));
    SQL_OK(&st.db, work_lock(&w, st.db.pg, &st.db.e));
    SQL_OK(&st.db, work_merge(&w, st.db.pg, &st.db.e));
    SQL_OK(&st.db, work_store(&w, st.db.pg, &st.db.e));
    SQL_OK(&st.db, pg_commit(st.db.pg, &st.db.e));
}

static void test_silence(void **state)
{
    const char *t = new_tenant();
    struct batch *b = batch_open();

    (void)state;
    put(b, 14, t, FIRING(10, 0), "Disk", "a");
    commit_free(b);
    (void)ask("UPDATE alerts SET quiet_at = 1767322900000 WHERE tenant = '%s' RETURNING ''", t);
    /* Judged by an older promise: it fires on, and somebody looks again. */
    be_silent(t, SEC(60));
    ASK("SELECT status::text FROM alerts WHERE tenant = '%s'", t, "1");
    ASK("SELECT due_at::text FROM timers WHERE kind = 2 AND tenant = '%s'", t, "1767322900000");
    be_silent(t, SEC(100));
    ASK("SELECT status || ' ' || ended_at || ' ' || coalesce(quiet_at, 0) FROM alerts WHERE tenant "
        "= '%s'",
        t, "2 1767322900000 0");
    ASK("SELECT status || ' ' || resolved_by || ' ' || alerts_firing FROM incidents WHERE tenant = "
        "'%s'",
        t, "4 3 0");
    ASK("SELECT string_agg(kind, ',' ORDER BY at) FROM timeline WHERE tenant = '%s'", t,
        "opened,expired");
    b = batch_open();
    put(b, 14, t, FIRING(200, 0), "Disk", "a");
    commit_free(b);
    ASK("SELECT status || ' ' || occurrences FROM alerts WHERE tenant = '%s'", t, "1 1");
    ASK("SELECT status || ' ' || episode FROM incidents WHERE tenant = '%s'", t, "1 2");
}

/* A person resolved it and it fell silent; what fires after that is told, though it tells no start
 * and promises as long as the last did. */
static void test_silence_after_a_manual_resolve(void **state)
{
    const struct report reports[] = {TRIGGER(10), TRIGGER(400)};
    const char *t = new_tenant();

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct batch *b = batch_open();
        put_body(b, 60, t, &reports[i].order, "prometheus",
                 "[{\"labels\":{\"alertname\":\"Certificate\"}}]", NULL);
        commit_free(b);
        ASK("SELECT status || ' ' || occurrences || ' ' || quiet_at - starts_at FROM alerts WHERE "
            "tenant = '%s'",
            t, i ? "1 2 300000" : "1 1 300000");
        ASK("SELECT status || ' ' || episode FROM incidents WHERE tenant = '%s'", t,
            i ? "1 2" : "1 1");
        (void)ask("UPDATE incidents SET status = 4, resolved_by = 2, resolved_at = 1767322830000 "
                  "WHERE tenant = '%s' RETURNING ''",
                  t);
        be_silent(t, reports[i].order.at + 300000);
    }
    ASK("SELECT string_agg(kind, ',' ORDER BY at) FROM timeline WHERE tenant = '%s' AND kind <> "
        "'ended'",
        t, "opened,reopened");
}

/* ---- facts that nobody can read ---- */

static void put_one(const char *t, struct report r)
{
    struct batch *b = batch_open();

    put(b, 15, t, r, "Disk", "a");
    commit_free(b);
}

static void spoil(const char *t)
{
    (void)ask("UPDATE alerts SET facts = '\\xff00' WHERE tenant = '%s' RETURNING ''", t);
}

#define LIFE                                                                                       \
    "SELECT a.status || ' ' || a.occurrences || ' ' || (a.starts_at - 1767322800000) || ' ' || "   \
    "i.status || ' ' || i.episode || ' ' || i.alerts_firing || ' ' || i.occurrences || ' ' || "    \
    "(a.facts <> '\\xff00') FROM alerts a JOIN incidents i ON i.id = a.incident_id WHERE "         \
    "a.tenant "                                                                                    \
    "= '%s'"

/* A live alert stays live, repeats count nothing, and every end ends it. */
static void test_unreadable_facts(void **state)
{
    const char *t = new_tenant();
    const uint64_t before = counter_value(work_recovered());
    const long long dead = schema_int(&st.db, "SELECT count(*) FROM outbox");

    (void)state;
    put_one(t, FIRING(10, 0));
    spoil(t);
    put_one(t, FIRING(21, 0));
    ASK(LIFE, t, "1 1 0 1 1 1 1 true");
    assert_int_equal(counter_value(work_recovered()) - before, 1);
    ASK("SELECT string_agg(kind || ' ' || (body ~ 'could not be read'), ',' ORDER BY at) "
        "FROM "
        "timeline WHERE tenant = '%s'",
        t, "opened false,note true");
    spoil(t);
    put_one(t, RESOLVE(30));
    ASK(LIFE, t, "2 1 0 4 1 0 1 true");
    spoil(t);
    put_one(t, FIRING(20, 0)); /* late: it is over all the same */
    ASK(LIFE, t, "2 1 0 4 1 0 1 true");
    spoil(t);
    put_one(t, FIRING(60, 50));
    ASK(LIFE, t, "1 2 50000 1 2 1 2 true");
    (void)ask("UPDATE alerts SET quiet_at = 1767322900000 WHERE tenant = '%s' RETURNING ''", t);
    spoil(t);
    be_silent(t, SEC(100));
    ASK(LIFE, t, "2 2 50000 4 2 0 2 true");
    spoil(t);
    put_one(t, FIRING(2000, 1990));
    ASK(LIFE, t, "1 3 1990000 1 1 1 1 true");
    assert_int_equal(schema_int(&st.db, "SELECT count(*) FROM outbox"), dead);
}

/* Of an alert that was only ever said to be over there is nothing to recover. */
static void test_unreadable_facts_of_nothing(void **state)
{
    const char *t = new_tenant();

    (void)state;
    put_one(t, RESOLVE(10));
    spoil(t);
    put_one(t, FIRING(20, 15));
    ASK(LIFE, t, "1 1 15000 1 1 1 1 true");
}

/* ---- storms and races ---- */

#define STORM 5000

static void test_storm(void **state)
{
    const char *t = new_tenant();
    struct batch *b = batch_open();

    (void)state;
    for (int i = 0; i < STORM; i++)
        put(b, 7, t, FIRING(10 + i % 50, 1 + i % 5), "Down", arena_printf(b->a, "host-%d", i));
    commit_free(b);
    ASK("SELECT status || ' ' || alerts_firing || ' ' || alerts_total || ' ' || occurrences || ' ' "
        "|| level FROM incidents WHERE tenant = '%s'",
        t, "1 5000 5000 5000 3");
    ASK("SELECT occurrences::text FROM anomalies WHERE tenant = '%s'", t, "5000");
    ASK("SELECT count(*)::text FROM occurrences WHERE tenant = '%s'", t, "5000");
    ASK("SELECT string_agg(kind, ',' ORDER BY kind) FROM timeline WHERE kind <> 'severity' AND "
        "tenant = '%s'",
        t, "crossing,crossing,crossing,opened");
    ASK("SELECT count(*)::text FROM groups WHERE tenant = '%s'", t, "1");
}

struct racer {
    size_t committer;
    int32_t partition;
    const char *tenant;
};

#define ROUNDS 25
#define RACERS 2

static void *race(void *arg)
{
    const struct racer *r = arg;

    for (int round = 0; round < ROUNDS; round++) {
        struct batch *b = batch_open();
        for (int i = 0; i < 12; i++) {
            /* Half of the alerts are the other's, too; each start is told by both. */
            const char *who = i % 2 ? "shared" : arena_printf(b->a, "own-%d-%d", r->partition, i);
            struct report rep = {.kind = REPORT_FIRING,
                                 .order.at = SEC(20 * round + i),
                                 .starts_at = SEC(20 * round)};
            rep.order.request.b[0] = (unsigned char)(1 + r->partition);
            rep.order.request.b[1] = (unsigned char)round;
            rep.order.request.b[2] = (unsigned char)i;
            put(b, r->partition, r->tenant, rep, "Race", arena_printf(b->a, "%s-%d", who, i % 4));
            rep.kind = REPORT_RESOLVED;
            rep.ends_at = SEC(20 * round + 1);
            rep.order.at = SEC(20 * round + 15);
            put(b, r->partition, r->tenant, rep, "Race", arena_printf(b->a, "%s-%d", who, i % 4));
        }
        const int rc = commit(r->committer, b);
        batch_free(b);
        if (rc != 0)
            return arg;
    }
    return NULL;
}

static void test_two_workers_race(void **state)
{
    const char *t = new_tenant();
    struct racer r[RACERS] = {{0, 8, t}, {1, 9, t}};
    pthread_t threads[RACERS];

    (void)state;
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &r[i]), 0);
    for (int i = 0; i < RACERS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    /* 2 shared alerts and 6 of each worker, each with one start a round. */
    ASK("SELECT count(*) || ' ' || sum(occurrences) || ' ' || max(status) FROM alerts WHERE tenant "
        "= '%s'",
        t, "14 350 2");
    ASK("SELECT occurrences::text FROM anomalies WHERE tenant = '%s'", t, "350");
    ASK("SELECT count(*) || ' ' || sum(occurrences) || ' ' || sum(alerts_firing) || ' ' || "
        "min(status) FROM incidents WHERE tenant = '%s'",
        t, "1 350 0 4");
}

/* ---- more open incidents than there may be ---- */

static void put_many(const char *t, int from, int to, bool fires, double at)
{
    struct batch *b = batch_open();

    for (int i = from; i < to; i++)
        put(b, 13, t, fires ? FIRING(at, at - 1) : RESOLVE(at), arena_printf(b->a, "Rule%d", i),
            "a");
    commit_free(b);
}

#define OPEN_BY_KIND                                                                               \
    "SELECT count(*) FILTER (WHERE alert_name <> 'TocsinOverflow') || ' ' || count(*) FILTER "     \
    "(WHERE alert_name = 'TocsinOverflow') || ' ' || coalesce(sum(alerts_firing), 0) || ' ' || "   \
    "coalesce(max(title) FILTER (WHERE alert_name = 'TocsinOverflow'), '-') FROM incidents WHERE " \
    "status <> 4 AND tenant = '%s'"

static void test_overflow(void **state)
{
    const char *t = new_tenant();

    (void)state;
    put_many(t, 0, 30, true, 10);
    ASK(OPEN_BY_KIND, t, "20 1 30 10 alerts beyond 20 open incidents");
    put_many(t, 30, 33, true, 20);
    ASK(OPEN_BY_KIND, t, "20 1 33 13 alerts beyond 20 open incidents");
    /* Every anomaly counts for itself, and every alert is somewhere. */
    ASK("SELECT count(*) || ' ' || sum(occurrences) || ' ' || count(incident_id) FROM anomalies "
        "WHERE alert_name LIKE 'Rule%' AND tenant = '%s'",
        t, "33 33 20");
    ASK("SELECT count(*) || ' ' || count(incident_id) FROM alerts WHERE status = 1 AND tenant = "
        "'%s'",
        t, "33 33");
    /* It ends when the last of them does, however much room there is by then. */
    put_many(t, 0, 32, false, 100);
    ASK(OPEN_BY_KIND, t, "0 1 1 13 alerts beyond 20 open incidents");
    put_many(t, 32, 33, true, 110);
    ASK("SELECT occurrences || ' ' || alerts_firing || ' ' || alerts_total FROM incidents WHERE "
        "status <> 4 AND tenant = '%s'",
        t, "13 1 13");
    put_many(t, 32, 33, false, 120);
    ASK(OPEN_BY_KIND, t, "0 0 0 -");
}

/* ---- the law of splits ---- */

#define LAW_REPORTS 60

#define STATE_OF_ALERTS                                                                            \
    "SELECT string_agg(fingerprint || ' ' || status || ' ' || coalesce(starts_at, 0) || ' ' || "   \
    "coalesce(ended_at, 0) || ' ' || occurrences, E'\\n' ORDER BY fingerprint) FROM alerts WHERE " \
    "tenant = '%s'"
/* Not when they were resolved: of two ends of one alert the later may have come first. */
#define STATE_OF_INCIDENTS                                                                         \
    "SELECT string_agg(a.alert_name || ' ' || a.occurrences || ' ' || i.occurrences || ' ' || "    \
    "i.status || ' ' || i.alerts_firing || ' ' || i.alerts_total, E'\\n' ORDER BY a.alert_name, "  \
    "i.status, i.occurrences) FROM incidents i JOIN anomalies a ON a.tenant = i.tenant AND a.key " \
    "= i.anomaly_key WHERE i.tenant = '%s'"

static void put_law(struct batch *b, int32_t partition, const char *tenant, const struct report *r,
                    uint32_t who)
{
    put(b, partition, tenant, *r, who % 3 ? "Even" : "Odd",
        arena_printf(b->a, "i%u", (unsigned)(who % 7)));
}

/* Two workers whose partitions come in any interleaving, cut anywhere, end where one worker ends
 * that saw all in order. */
static void test_splits_over_workers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        const char *one = new_tenant(), *two = new_tenant();
        struct report v[LAW_REPORTS];
        uint32_t who[LAW_REPORTS], part[LAW_REPORTS];
        struct dice d = {seed};
        struct batch *b = batch_open();
        for (size_t i = 0; i < LAW_REPORTS; i++)
            v[i] = any_report(&d, STATES, 500);
        qsort(v, LAW_REPORTS, sizeof(v[0]), report_cmp);
        for (size_t i = 0; i < LAW_REPORTS; i++) {
            who[i] = below(&d, 9);
            part[i] = below(&d, 2);
            put_law(b, 10, one, &v[i], who[i]);
        }
        commit_free(b);
        size_t done[2] = {0, 0};
        while (done[0] < LAW_REPORTS || done[1] < LAW_REPORTS) {
            const uint32_t p = below(&d, 2);
            size_t piece = 1 + below(&d, 12);
            b = batch_open();
            for (; piece > 0 && done[p] < LAW_REPORTS; done[p]++) {
                if (part[done[p]] != p)
                    continue;
                put_law(b, 11 + (int32_t)p, two, &v[done[p]], who[done[p]]);
                piece--;
            }
            assert_int_equal(commit(p, b), 0);
            batch_free(b);
        }
        if (strcmp(ask(STATE_OF_ALERTS, one), ask(STATE_OF_ALERTS, two)) != 0)
            fail_msg("alerts, seed %llu:\n%s\nand\n%s", (unsigned long long)seed,
                     ask(STATE_OF_ALERTS, one), ask(STATE_OF_ALERTS, two));
        if (strcmp(ask(STATE_OF_INCIDENTS, one), ask(STATE_OF_INCIDENTS, two)) != 0)
            fail_msg("incidents, seed %llu:\n%s\nand\n%s", (unsigned long long)seed,
                     ask(STATE_OF_INCIDENTS, one), ask(STATE_OF_INCIDENTS, two));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_an_alert_joins_what_is_silenced),
        cmocka_unit_test(test_a_batch_whose_partition_moved),
        cmocka_unit_test(test_the_same_records_again),
        cmocka_unit_test(test_a_new_name_keeps_its_time),
        cmocka_unit_test(test_a_source_that_is_not_in_the_configuration),
        cmocka_unit_test(test_a_mapping_that_is_not_in_the_configuration),
        cmocka_unit_test(test_a_poisoned_record_is_buried),
        cmocka_unit_test(test_a_dead_record_may_be_written_again),
        cmocka_unit_test(test_a_dead_record_of_a_stranger_gets_out),
        cmocka_unit_test(test_a_delivery_comes_twice),
        cmocka_unit_test(test_acknowledged_by_a_record),
        cmocka_unit_test(test_an_acknowledgement_comes_again),
        cmocka_unit_test(test_a_metric_alert_gets_worse),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_after_a_manual_resolve),
        cmocka_unit_test(test_unreadable_facts),
        cmocka_unit_test(test_unreadable_facts_of_nothing),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_two_workers_race),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_splits_over_workers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
