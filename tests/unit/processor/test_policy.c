/* The severity policy as it is shipped: bodies as the senders post them go through decoding, one
 * batch each, and the routes of deploy/examples/tocsin.yml; flushes look in virtual time. */
#include "schema.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/source.h"
#include "processor/commit.h"
#include "processor/flush.h"

#define TOPIC "raw.any"
#define GROUP ((struct offset_group){"processor", "cluster"})
#define MIDNIGHT INT64_C(1767312000000) /* 2026-01-02 00:00:00 UTC */
#define AT(h, m, s) (MIDNIGHT + (((h)*60 + (m)) * INT64_C(60) + (s)) * 1000)

static struct stage {
    struct schema db;
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
    struct source_entries sources;
    struct committer *committer;
    atomic_bool stop;
    int64_t next;
    struct arena *a;
} st;

static int open_all(void **state)
{
    static const char *sets[] = {"redis.url=", NULL};
    struct err e = {0};
    const struct offset_group g = GROUP;
    struct offset_row row = {.topic = TOPIC, .high = -1};

    (void)state;
    schema_open(&st.db);
    st.a = arena_new((size_t)64 << 20);
    if (conf_open(SOURCE_DIR "/deploy/examples/tocsin.yml", sets, &st.conf, &e) < 0 ||
        settings_load(st.conf, &st.settings, &e) < 0 ||
        receivers_load(&st.settings, &st.receivers, &e) < 0 ||
        route_load(&st.settings, &st.receivers, &st.routes, &e) < 0 ||
        source_entries_load(&st.settings, &st.sources, &e) < 0)
        fail_msg("%s", e.msg);
    st.settings.postgres = st.db.settings;
    const struct committer_options o = {
        .settings = &st.settings, .routes = st.routes, .group = GROUP, .stop = &st.stop};
    SQL_OK(&st.db, committer_new(&o, &st.committer, &st.db.e));
    SQL_OK(&st.db, offsets_load(st.db.pg, st.db.arena, &g, &row, 1, &st.db.e));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    committer_free(st.committer);
    schema_close(&st.db);
    conf_free(st.conf);
    arena_free(st.a);
    return 0;
}

/* ---- what is posted ---- */

struct post {
    int64_t at;
    const char *source, *resource; /* Sentry's; NULL: no such header */
    const char *body;
};

static void receive(const char *tenant, const struct post *p)
{
    CLEANUP(batch_free) struct batch *b = batch_new(1, 1, (size_t)64 << 20);
    char id[UUID_STR];
    const struct uuid request = uuid7_new(p->at);
    struct kafka_message m = {
        .topic = TOPIC, .offset = st.next, .key = SLICE_LIT("k"), .value = slice_of(p->body)};
    const struct kafka_header h[] = {
        {"v", SLICE_LIT(RECORD_VERSION)},
        {"tenant", slice_of(tenant)},
        {"source", slice_of(p->source)},
        {"request_id", slice_of(uuid_format(&request, id))},
        {"received_at", slice_of(arena_printf(st.a, "%lld", (long long)p->at))},
        {"h.Sentry-Hook-Resource", slice_of(p->resource ? p->resource : "")},
    };
    struct err e = {0};

    b->positions[b->position_n++] = (struct batch_position){.topic = TOPIC, .expected = st.next};
    batch_add_with(b, &m, h, p->resource ? 6 : 5, &st.settings, &st.sources);
    if (b->v[0].fate != FATE_ALERTS)
        fail_msg("%s: %s", p->source, b->v[0].reason);
    if (committer_run(st.committer, b, &e) < 0)
        fail_msg("%s", e.msg);
    st.next++;
}

static const char *alertmanager(const char *severity)
{
    return arena_printf(st.a,
                        "{\"version\":\"4\",\"status\":\"firing\",\"alerts\":[{\"status\":"
                        "\"firing\",\"labels\":{\"alertname\":\"Disk\",\"severity\":\"%s\"},"
                        "\"annotations\":{},\"startsAt\":\"2026-01-02T03:06:00Z\",\"endsAt\":"
                        "\"0001-01-01T00:00:00Z\"}]}",
                        severity);
}

/* One of the bodies that the golden tests have, with another event's id. */
static const char *sentry(const char *name, const char *event)
{
    static const char known[] = "e4874d664c3540c1a32eab185f12c5ab";
    const size_t len = sizeof(known) - 1, max = 65536;
    char path[256], *text = arena_alloc(st.a, max, 1);

    (void)snprintf(path, sizeof(path), SOURCE_DIR "/tests/golden/sources/sentry/%s.json", name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    text[fread(text, 1, max - 1, f)] = '\0';
    (void)fclose(f);
    for (char *at = text; event && (at = strstr(at, known)); at += len)
        memcpy(at, event, len);
    return text;
}

/* ---- who is told when ---- */

static void look(const char *tenant, int64_t now_ms)
{
    CLEANUP(PQclear) PGresult *rows = NULL;
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)16 << 20);
    const struct flush_settings fs = {
        .routes = st.routes, .receivers = &st.receivers, .time_zone = "UTC"};
    struct flush_subject v[8];
    struct flush_subjects subjects = {.v = v, .now_ms = now_ms};
    struct flushed done;
    struct pg_args *p = pg_args(a);

    pg_text(p, slice_of(tenant));
    SQL_OK(&st.db, pg_begin(st.db.pg, &st.db.e));
    SQL_OK(&st.db, pg_query(st.db.pg, "SELECT id FROM groups WHERE tenant = $1 ORDER BY id", p,
                            &rows, &st.db.e));
    for (int i = 0; i < PQntuples(rows) && i < 8; i++) {
        v[subjects.n].tenant = slice_of(tenant);
        memcpy(v[subjects.n++].group.b, pg_get_uuid(rows, i, 0), 16);
    }
    SQL_OK(&st.db, flush_groups(&fs, st.db.pg, a, &subjects, &done, &st.db.e));
    SQL_OK(&st.db, pg_commit(st.db.pg, &st.db.e));
}

/* Everything that the team is told up to the next midnight, with the time of each; looked for just
 * before and at every time that the policy names. */
static void told(const char *tenant, const struct post *posts, size_t n, const char *want)
{
    static const int64_t looks[] = {AT(3, 7, 0),   AT(3, 8, 0), AT(3, 14, 59),  AT(3, 15, 0),
                                    AT(3, 59, 59), AT(4, 0, 0), AT(23, 59, 59), AT(24, 0, 0),
                                    AT(24, 15, 0), AT(25, 0, 0)};
    size_t next = 0;

    for (size_t i = 0; i < sizeof(looks) / sizeof(*looks); i++) {
        for (; next < n && posts[next].at <= looks[i]; next++)
            receive(tenant, &posts[next]);
        look(tenant, looks[i]);
    }
    assert_string_equal(
        schema_text(&st.db,
                    arena_printf(st.a,
                                 "SELECT coalesce(string_agg(concat_ws(' ', receiver, kind, "
                                 "to_char(to_timestamp(created_at / 1000) AT TIME ZONE 'UTC', "
                                 "'HH24:MI:SS')), ', ' ORDER BY created_at, seq), '') FROM "
                                 "notifications WHERE tenant = '%s' AND kind <> 'repeat'",
                                 tenant)),
        want);
}

#define TOLD(tenant, want, ...)                                                                    \
    do {                                                                                           \
        const struct post posts[] = {__VA_ARGS__};                                                 \
        told(tenant, posts, sizeof(posts) / sizeof(*posts), want);                                 \
    } while (0)

static void alertmanager_critical_is_told_at_once(void **state)
{
    (void)state;
    TOLD("critical", "team opened 03:07:00",
         {AT(3, 7, 0), "alertmanager", NULL, alertmanager("critical")});
}

static void alertmanager_warning_is_told_every_quarter(void **state)
{
    (void)state;
    TOLD("warning", "team digest 03:15:00",
         {AT(3, 7, 0), "alertmanager", NULL, alertmanager("warning")});
}

static void alertmanager_info_is_told_daily(void **state)
{
    (void)state;
    TOLD("info", "team digest 00:00:00", {AT(3, 7, 0), "alertmanager", NULL, alertmanager("info")});
}

static void sentry_first_seen_is_told_at_once(void **state)
{
    (void)state;
    TOLD("first", "team opened 03:07:00",
         {AT(3, 7, 0), "sentry", "issue", sentry("issue_created", NULL)});
}

/* The event of the first time is no recurrence. */
static void sentry_recurring_is_told_hourly(void **state)
{
    (void)state;
    TOLD("again", "team opened 03:07:00, team digest 04:00:00",
         {AT(3, 7, 0), "sentry", "issue", sentry("issue_created", NULL)},
         {AT(3, 7, 1), "sentry", "event_alert", sentry("event_alert", NULL)},
         {AT(3, 8, 0), "sentry", "event_alert",
          sentry("event_alert", "00000000000000000000000000000002")});
}

static void sentry_performance_is_told_daily(void **state)
{
    (void)state;
    TOLD("slow", "team digest 00:00:00",
         {AT(3, 7, 0), "sentry", "issue", sentry("issue_performance", NULL)});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alertmanager_critical_is_told_at_once),
        cmocka_unit_test(alertmanager_warning_is_told_every_quarter),
        cmocka_unit_test(alertmanager_info_is_told_daily),
        cmocka_unit_test(sentry_first_seen_is_told_at_once),
        cmocka_unit_test(sentry_recurring_is_told_hourly),
        cmocka_unit_test(sentry_performance_is_told_daily),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
