/*
 * tocsin-bench-ceiling: what the servers of this machine can do for anybody, through the adapters
 * that the services use, so that a figure of ours can be read against it.
 *
 *   kafka BROKERS BYTES SECONDS    records of BYTES, acks=all, as many under way as the queue takes
 *   postgres URL ROWS SECONDS      upserts of ROWS rows a transaction by arrays, over 20,000 keys
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/pg.h"
#include "schedule.h"

#define TOPIC "bench.ceiling"
#define KEYS 20000
#define UNDER_WAY 50000
#define RECORD_MAX 1048576

static const struct kafka_settings kafka_defaults = {
    .topic_prefix = "",
    .client_id = "tocsin-bench",
    .security_protocol = "plaintext",
    .sasl_mechanism = "",
    .sasl_username = "",
    .sasl_password = "",
    .ssl_ca_location = "",
    .partitions = 6,
    .replication_factor = 1,
    .min_insync_replicas = 1,
    .ack_timeout = 5000,
    .session_timeout = 8000,
    .linger = 1,
    .fetch_wait = 20,
    .queue_messages = 100000,
    .group_prefix = "",
};

struct reports {
    _Atomic uint64_t good, bad;
};

static void on_report(void *ctx, void *record, int err_code, const char *err_text)
{
    struct reports *r = ctx;

    (void)record;
    (void)err_text;
    atomic_fetch_add(err_code == 0 ? &r->good : &r->bad, 1);
}

/* Records go out for so long; then the last ones are waited for. */
static int produce(struct kafka_producer *p, size_t bytes, int64_t run_ms, struct err *e)
{
    static char body[RECORD_MAX];
    struct dice dice = {.state = 1};
    const int64_t end = clock_monotonic_ms() + run_ms;
    char key[32];

    for (size_t i = 0; i < bytes; i++)
        body[i] = (char)('a' + dice_next(&dice) % 16);
    while (clock_monotonic_ms() < end) {
        if (kafka_pending(p) * (bytes + 100) > (size_t)64 << 20 || kafka_pending(p) > UNDER_WAY) {
            (void)kafka_flush(p, 1);
            continue;
        }
        const int n =
            snprintf(key, sizeof(key), "%06llu", (unsigned long long)(dice_next(&dice) % KEYS));
        const int rc = kafka_produce(p, TOPIC, (struct slice){key, (size_t)n},
                                     (struct slice){body, bytes}, NULL, 0, &dice, e);
        if (rc < 0)
            return rc;
    }
    return kafka_flush(p, 10000) == 0 ? 0 : err_set(e, -1, "not everything was acknowledged");
}

static int run_kafka(const char *brokers, size_t bytes, int64_t run_ms, struct err *e)
{
    struct kafka_settings s = kafka_defaults;
    const struct kafka_topic topic = {.name = TOPIC, .retention_ms = MS_HOUR};
    struct kafka_producer *p = NULL;
    struct reports reports = {0};
    size_t created;
    int rc;

    s.brokers = brokers;
    if (bytes > RECORD_MAX)
        return err_set(e, -1, "at most %d bytes", RECORD_MAX);
    if ((rc = kafka_create_topics(&s, &topic, 1, &created, e)) < 0 ||
        (rc = kafka_producer_new(&s, on_report, &reports, &p, e)) < 0)
        return rc;
    rc = kafka_produce_wait(p, TOPIC, SLICE_LIT("first"), SLICE_LIT("word"), NULL, 0, 10000, e);
    const int64_t began = clock_monotonic_ms();
    if (rc == 0)
        rc = produce(p, bytes, run_ms, e);
    const double seconds = (double)(clock_monotonic_ms() - began) / 1000;
    kafka_producer_free(p);
    if (rc == 0)
        printf("{\"records_per_s\":%.0f,\"megabytes_per_s\":%.1f,\"bytes\":%zu,\"failed\":%llu}\n",
               (double)reports.good / seconds, (double)reports.good * (double)bytes / seconds / 1e6,
               bytes, (unsigned long long)reports.bad);
    return rc;
}

/* ---- Postgres ---- */

static const char tables[] =
    "CREATE SCHEMA IF NOT EXISTS bench_ceiling; DROP TABLE IF EXISTS bench_ceiling.alerts; "
    "CREATE TABLE bench_ceiling.alerts (tenant text, fingerprint bigint, facts bytea, labels "
    "jsonb, "
    "title text, last_seen bigint, occurrences bigint, PRIMARY KEY (tenant, fingerprint)) "
    "WITH (fillfactor = 70)";

static const char upsert[] =
    "INSERT INTO alerts SELECT * FROM unnest($1::text[], $2::int8[], $3::bytea[], "
    "$4::text[]::jsonb[], "
    "$5::text[], $6::int8[], $7::int8[]) ON CONFLICT (tenant, fingerprint) DO UPDATE SET "
    "facts = excluded.facts, title = excluded.title, last_seen = excluded.last_seen, "
    "occurrences = alerts.occurrences + 1";

static const char labels[] =
    "{\"alertname\":\"Bench00001\",\"bench\":\"incident\",\"cluster\":\"eu-1\",\"instance\":"
    "\"node-0000001:9100\",\"job\":\"node\",\"namespace\":\"bench\",\"severity\":\"critical\"}";

static int upsert_some(struct pg *pg, size_t rows, struct dice *dice, struct err *e)
{
    static const char facts[64];
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)64 << 20);
    struct slice *text = a ? arena_array(a, 4 * rows, struct slice) : NULL;
    int64_t *number = a ? arena_array(a, 3 * rows, int64_t) : NULL;
    struct pg_args *p = a ? pg_args(a) : NULL;
    const uint64_t first = dice_next(dice) % KEYS;

    if (!text || !number || !p)
        return err_set(e, -1, "out of memory");
    for (size_t i = 0; i < rows; i++) {
        text[i] = SLICE_LIT("default");
        text[rows + i] = (struct slice){facts, sizeof(facts)};
        text[2 * rows + i] = SLICE_LIT(labels);
        text[3 * rows + i] = SLICE_LIT("Load on node-0000001 is above its limit");
        number[i] = (int64_t)((first + i) % KEYS);
        number[rows + i] = clock_now_ms();
        number[2 * rows + i] = 1;
    }
    pg_texts(p, text, rows);
    pg_ints(p, number, rows);
    pg_byteas(p, text + rows, rows);
    pg_texts(p, text + 2 * rows, rows);
    pg_texts(p, text + 3 * rows, rows);
    pg_ints(p, number + rows, rows);
    pg_ints(p, number + 2 * rows, rows);
    return pg_query(pg, upsert, p, NULL, e);
}

static int run_postgres(const char *url, size_t rows, int64_t run_ms, struct err *e)
{
    const struct postgres_settings s = {
        .url = url, .schema = "bench_ceiling", .connect_timeout = 5000, .statement_timeout = 30000};
    CLEANUP(pg_close) struct pg *pg = NULL;
    struct dice dice = {.state = 1};
    uint64_t done = 0;
    int rc;

    if (rows == 0 || rows > KEYS)
        return err_set(e, -1, "1 to %d rows", KEYS);
    if ((rc = pg_open(&s, "tocsin-bench", &pg, e)) < 0 || (rc = pg_connect(pg, e)) < 0 ||
        (rc = pg_exec(pg, tables, e)) < 0)
        return rc;
    const int64_t began = clock_monotonic_ms();
    for (; rc == 0 && clock_monotonic_ms() < began + run_ms; done += rows)
        rc = upsert_some(pg, rows, &dice, e);
    const double seconds = (double)(clock_monotonic_ms() - began) / 1000;
    if (rc == 0)
        rc = pg_exec(pg, "DROP SCHEMA bench_ceiling CASCADE", e);
    if (rc == 0)
        printf("{\"rows_per_s\":%.0f,\"rows\":%zu}\n", (double)done / seconds, rows);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int rc;

    if (argc != 5) {
        (void)fputs("usage: tocsin-bench-ceiling kafka BROKERS BYTES SECONDS\n"
                    "       tocsin-bench-ceiling postgres URL ROWS SECONDS\n",
                    stderr);
        return 2;
    }
    const size_t size = (size_t)strtoull(argv[3], NULL, 10);
    const int64_t run_ms = (int64_t)(strtod(argv[4], NULL) * 1000);
    rc = strcmp(argv[1], "kafka") == 0 ? run_kafka(argv[2], size, run_ms, &e)
                                       : run_postgres(argv[2], size, run_ms, &e);
    if (rc < 0)
        (void)fprintf(stderr, "tocsin-bench-ceiling: %s\n", e.msg);
    return rc < 0;
}
