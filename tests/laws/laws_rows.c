/* The laws in the rows of a real PostgreSQL: two committers on two threads, each with a partition
 * of its own, in whatever order they come to be, leave the rows that the rules say. */
#include "law.h"
#include "oracle.h"
#include "schema.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/source.h"
#include "processor/commit.h"

#define TOPIC "raw.alertmanager"
#define WORKERS 2

static const char config[] = "\
receivers:\n\
  - name: team\n\
    webhook_configs: [{url: 'http://a'}]\n\
route:\n\
  receiver: team\n\
  group_by: [incident]\n\
limits:\n\
  marks: 64\n\
redis:\n\
  url: ''\n";

static struct stage {
    struct schema db;
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
    struct source_entries sources;
    const struct source_entry *source;
    struct committer *committers[WORKERS];
    atomic_bool stop;
    int64_t next[WORKERS]; /* of each partition, as the rows say */
    uint32_t tenants;
} st;

#define GROUP ((struct offset_group){"processor", "cluster"})

static int open_all(void **state)
{
    struct offset_row rows[WORKERS];
    const struct offset_group g = GROUP;
    struct err e = {0};

    (void)state;
    schema_open(&st.db);
    if (conf_parse("t.yml", config, NULL, &st.conf, &e) < 0 ||
        settings_load(st.conf, &st.settings, &e) < 0 ||
        receivers_load(&st.settings, &st.receivers, &e) < 0 ||
        route_load(&st.settings, &st.receivers, &st.routes, &e) < 0 ||
        source_entries_load(&st.settings, &st.sources, &e) < 0)
        fail_msg("%s", e.msg);
    st.settings.postgres = st.db.settings;
    st.source = source_entry_find(&st.sources, SLICE_LIT("alertmanager"));
    assert_non_null(st.source);
    for (int32_t i = 0; i < WORKERS; i++) {
        const struct committer_options o = {
            .settings = &st.settings, .routes = st.routes, .group = GROUP, .stop = &st.stop};
        SQL_OK(&st.db, committer_new(&o, &st.committers[i], &st.db.e));
        rows[i] = (struct offset_row){.topic = TOPIC, .partition = i, .low = 0, .high = -1};
    }
    SQL_OK(&st.db, offsets_load(st.db.pg, st.db.arena, &g, rows, WORKERS, &st.db.e));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKERS; i++)
        committer_free(st.committers[i]);
    schema_close(&st.db);
    conf_free(st.conf);
    return 0;
}

/* ---- records ---- */

static const char *const anomaly_names[ANOMALIES] = {"Disk", "Queue", "Link"};
static const char *const instances[ALERTS] = {"a", "b", "c", "d", "e", "f"};

static struct alert_event *event_of(const struct said *s, struct arena *a)
{
    struct label *labels = arena_array(a, 2, struct label);
    struct alert_event *ev = arena_new_of(a, struct alert_event);

    labels[0] =
        (struct label){SLICE_LIT("alertname"), slice_of(anomaly_names[anomaly_index(s->alert)])};
    labels[1] = (struct label){SLICE_LIT("instance"), slice_of(instances[s->alert])};
    *ev = (struct alert_event){.kind = s->report.kind,
                               .labels = {labels, 2},
                               .fingerprint = s->alert + 1,
                               .starts_at = s->report.starts_at,
                               .ends_at = s->report.ends_at,
                               .event_id = s->report.event_id,
                               .severity = severity_first(s->alert),
                               .severity_again = severity_later(s->alert),
                               .title = SLICE_LIT("It is ill"),
                               .ends_announced = true};
    return ev;
}

/* As decoded from Kafka. */
static void put(struct batch *b, uint32_t worker, struct slice tenant, const struct said *s)
{
    struct batch_record *r = &b->v[b->n];

    if (b->n == 0)
        b->positions[b->position_n++] = (struct batch_position){
            .topic = TOPIC, .partition = (int32_t)worker, .expected = st.next[worker]};
    *r = (struct batch_record){.message = {.topic = TOPIC,
                                           .partition = (int32_t)worker,
                                           .offset = st.next[worker] + (int64_t)b->n},
                               .fate = FATE_ALERTS,
                               .record = {.tenant = tenant,
                                          .source = SLICE_LIT("alertmanager"),
                                          .request_id = s->report.order.request,
                                          .received_at = s->report.order.at},
                               .source = st.source,
                               .inputs = arena_new_of(b->a, struct input),
                               .input_n = 1};
    *r->inputs = (struct input){.record = &r->record,
                                .event = event_of(s, b->a),
                                .source = st.source,
                                .report = s->report,
                                .tenant = tenant};
    b->n++;
}

/* ---- two workers ---- */

struct worker {
    const struct history *h;
    struct slice tenant;
    uint32_t number;
    struct err e;
};

static int commit(struct worker *w, struct batch *b)
{
    const int rc = b->n > 0 ? committer_run(st.committers[w->number], b, &w->e) : 0;

    if (rc == 0)
        st.next[w->number] += (int64_t)b->n;
    return rc;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    int rc = 0;

    for (size_t i = 0; i < w->h->n && rc == 0;) {
        CLEANUP(batch_free) struct batch *b = batch_new(HISTORY_MAX, 1, (size_t)8 << 20);
        bool cut = false;
        for (; b && i < w->h->n && !cut; i++) {
            const struct said *s = &w->h->v[i];
            cut = s->cut;
            if (s->partition == w->number)
                put(b, w->number, w->tenant, s);
        }
        rc = b ? commit(w, b) : -ENOMEM;
    }
    return rc == 0 ? NULL : arg;
}

static const char *run(const struct history *h, struct slice tenant, struct arena *a)
{
    struct worker w[WORKERS];
    pthread_t threads[WORKERS];
    const char *why = NULL;

    for (uint32_t i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){.h = h, .tenant = tenant, .number = i};
        if (pthread_create(&threads[i], NULL, work, &w[i]) != 0)
            fail_msg("no thread");
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        void *failed = NULL;
        (void)pthread_join(threads[i], &failed);
        if (failed)
            why = arena_printf(a, "a worker stopped: %s", w[i].e.msg);
    }
    return why;
}

/* ---- the rows ---- */

static const char *ask(const char *sql, struct slice tenant, struct arena *a)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(a);

    pg_text(p, tenant);
    SQL_OK(&st.db, pg_query(st.db.pg, sql, p, &r, &st.db.e));
    const struct slice v = pg_get_text(r, 0, 0);
    return arena_printf(a, "%.*s", SLICE_FMT(v));
}

static const char *compare(const char *rows, const char *rules, struct arena *a)
{
    return strcmp(rows, rules) == 0 ? NULL : arena_printf(a, "rows: %s\n  rules: %s", rows, rules);
}

static int by_bytes(const void *x, const void *y)
{
    return slice_cmp(*(const struct slice *)x, *(const struct slice *)y);
}

struct model {
    struct verdict verdicts[ALERTS];
    bool said[ALERTS];
};

static struct model *rules_of(const struct history *h, struct arena *a)
{
    struct model *r = arena_new_of(a, struct model);

    for (uint32_t i = 0; i < ALERTS; i++)
        oracle_ask(h->v, h->n, i, WINDOW, a, &r->verdicts[i]);
    for (size_t i = 0; i < h->n; i++)
        r->said[h->v[i].alert] |= h->v[i].report.kind != REPORT_NOTE;
    return r;
}

static const char *alerts_by_rule(struct model *r, struct arena *a)
{
    const char *text = "";

    for (uint32_t i = 0; i < ALERTS; i++) {
        const struct verdict *v = &r->verdicts[i];
        if (r->said[i])
            text = arena_printf(a, "%s%u %d %" PRId64 " %" PRId64 " %zu,", text, i + 1,
                                v->firing ? ALERT_FIRING
                                : v->ever ? ALERT_RESOLVED
                                          : ALERT_NEVER,
                                v->starts_at, v->ended_at, v->name_n);
    }
    return text;
}

static const char *occurrences_by_rule(struct model *r, struct arena *a)
{
    const char *text = "";

    for (uint32_t i = 0; i < ALERTS; i++) {
        struct verdict *v = &r->verdicts[i];
        qsort(v->names, v->name_n, sizeof(v->names[0]), by_bytes);
        for (size_t j = 0; j < v->name_n; j++)
            text = arena_printf(a, "%s%u %.*s,", text, i + 1, SLICE_FMT(v->names[j]));
    }
    return text;
}

static const char *incidents_by_rule(const struct model *r, struct arena *a)
{
    static const uint32_t by_name[ANOMALIES] = {0, 2, 1};
    const char *text = "";

    for (uint32_t k = 0; k < ANOMALIES; k++) {
        size_t occurrences = 0, firing = 0, total = 0;
        for (uint32_t i = 0; i < ALERTS; i++) {
            if (anomaly_index(i) != by_name[k])
                continue;
            occurrences += r->verdicts[i].name_n;
            firing += r->verdicts[i].firing;
            total += r->verdicts[i].name_n > 0;
        }
        if (occurrences > 0)
            text = arena_printf(a, "%s%s %zu %d %zu %zu %zu,", text, anomaly_names[by_name[k]],
                                occurrences, firing > 0 ? INCIDENT_OPEN : INCIDENT_RESOLVED,
                                occurrences, firing, total);
    }
    return text;
}

/* Each occurrence stands once in the buckets of its anomaly, at its time; and nothing else does. */
static const char *buckets_differ(struct slice tenant, struct arena *a)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(a);
    struct frequency f = {0};

    pg_text(p, tenant);
    SQL_OK(&st.db, pg_query(st.db.pg,
                            "SELECT an.frequency, o.at, an.key FROM occurrences o JOIN alerts al "
                            "USING (tenant, fingerprint) JOIN anomalies an ON an.tenant = "
                            "al.tenant AND an.key = al.anomaly_key WHERE o.tenant = $1 ORDER BY "
                            "an.key",
                            p, &r, &st.db.e));
    for (int i = 0; i < PQntuples(r); i++) {
        if (i == 0 || !slice_eq(pg_get_text(r, i - 1, 2), pg_get_text(r, i, 2))) {
            if (f.recent_n > 0)
                return "a bucket counts what is no occurrence";
            if (frequency_unpack(pg_get_text(r, i, 0), &f, &st.db.e) < 0)
                return "packed buckets do not come back";
        }
        const uint32_t n = f.recent_n;
        frequency_remove(&f, pg_get_int(r, i, 1));
        if (f.recent_n + 1 != n)
            return "an occurrence is not in the bucket of its time";
    }
    return f.recent_n > 0 ? "a bucket counts what is no occurrence" : NULL;
}

static const char *rows_differ(const struct history *h, struct slice tenant, struct arena *a)
{
    struct model *r = rules_of(h, a);
    const char *why = compare(
        ask("SELECT coalesce(string_agg(fingerprint || ' ' || status || ' ' || coalesce(starts_at, "
            "0) || ' ' || coalesce(ended_at, 0) || ' ' || occurrences || ',', '' ORDER BY "
            "fingerprint), '') FROM alerts WHERE tenant = $1",
            tenant, a),
        alerts_by_rule(r, a), a);

    if (!why)
        why = compare(ask("SELECT coalesce(string_agg(fingerprint || ' ' || identity || ',', '' "
                          "ORDER BY fingerprint, identity COLLATE \"C\"), '') FROM occurrences "
                          "WHERE tenant = $1",
                          tenant, a),
                      occurrences_by_rule(r, a), a);
    if (!why)
        why = compare(
            ask("SELECT coalesce(string_agg(a.alert_name || ' ' || a.occurrences || ' ' || "
                "i.status || ' ' || i.occurrences || ' ' || i.alerts_firing || ' ' || "
                "i.alerts_total || ',', '' ORDER BY a.alert_name), '') FROM incidents i JOIN "
                "anomalies a ON a.tenant = i.tenant AND a.key = i.anomaly_key WHERE i.tenant = $1",
                tenant, a),
            incidents_by_rule(r, a), a);
    return why ? why : buckets_differ(tenant, a);
}

static const char *rows_follow_rules(const struct history *h, struct arena *a)
{
    if (!history_is_bounded(h))
        return NULL;
    const struct slice tenant = slice_of(arena_printf(a, "t%u", ++st.tenants));
    const char *why = run(h, tenant, a);
    return why ? why : rows_differ(h, tenant, a);
}

static void test_two_workers_leave_the_rows_of_the_rules(void **state)
{
    static const struct law law = {"within a window, two workers leave the rows that the rules say",
                                   {.span = WINDOW,
                                    .arrival = ANY_ORDER,
                                    .alerts = ALERTS,
                                    .motifs = 12,
                                    .copies = true,
                                    .limits = {.window_ms = WINDOW, .starts = 64, .marks = 64}},
                                   60,
                                   rows_follow_rules};

    (void)state;
    law_hold(&law);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_workers_leave_the_rows_of_the_rules),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
