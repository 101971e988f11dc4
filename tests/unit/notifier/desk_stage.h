/*
 * The stage for tests of the desk: a real PostgreSQL, the vendors' fakes, workers, and the words in
 * which a test speaks of them. No Kafka: the sweep alone finds the rows. Every test has receivers
 * of its own, so that none sees another's rows.
 */
#pragma once

#include "testing.h"

#include "common/clock.h"
#include "common/digest.h"
#include "common/silence.h"
#include "fakes.h"
#include "notifier/desk.h"
#include "schema.h"

static struct schema db;
static struct fakes fakes;

static inline int set_up(void **state)
{
    (void)state;
    schema_open(&db);
    fakes_start(&fakes);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    fakes_stop(&fakes);
    schema_close(&db);
    return 0;
}

/* In the arena. */
static const char *sql(const char *format, ...) PRINTF_LIKE(1, 2);
static inline const char *sql(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *s = arena_vprintf(db.arena, format, ap); /* prepared by address: never the same twice */
    va_end(ap);
    assert_non_null(s);
    return s;
}
#define DO(...) schema_do(&db, sql(__VA_ARGS__))
#define TEXT(...) schema_text(&db, sql(__VA_ARGS__))
#define INT(...) schema_int(&db, sql(__VA_ARGS__))

/* Until the query gives `want`; the test fails when it never does. */
static inline void until(const char *want, const char *query)
{
    const char *got = "";

    for (int i = 0; i < 4800; i++) {
        got = schema_text(&db, query);
        if (strcmp(got, want) == 0)
            return;
        usleep(25000);
    }
    fail_msg("%s: %s instead of %s", query, got, want);
}

struct worker {
    const char *name; /* of the receiver, where a test says it */
    struct conf *conf;
    struct settings settings;
    struct outlets *outlets;
    const struct channel *channels[64];
    size_t channel_n;
    struct desk *desk; /* NULL until it is started */
};

#define AT_ONCE "sweep_interval: 20ms, retry_base: 1ms, retry_cap: 1ms"

/* These settings of the notifier, and `rest` of the file: the receivers. */
static inline struct worker *load_worker(const char *notifier, const char *rest)
{
    struct worker *w = calloc(1, sizeof(*w));
    struct err e = {0};
    const char *file = sql("postgres: {url: '%s', schema: " SCHEMA_NAME "}\n"
                           "limits: {allow_private_addresses: [127.0.0.0/8]}\n"
                           "notifier: {sweep_age: 0s, %s}\n%s",
                           db.settings.url, notifier, rest);

    assert_non_null(w);
    if (conf_parse("test", file, NULL, &w->conf, &e) < 0 ||
        settings_load(w->conf, &w->settings, &e) < 0 ||
        outlets_load(&w->settings, &w->outlets, &e) < 0)
        fail_msg("%s", e.msg);
    for (; channel_at(w->channel_n); w->channel_n++)
        w->channels[w->channel_n] = channel_at(w->channel_n);
    return w;
}

static inline void start(struct worker *w)
{
    struct desk_options o = {&w->settings, w->outlets, w->channels, w->channel_n};
    struct err e = {0};

    if (desk_new(&o, &w->desk, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline struct worker *start_worker(const char *notifier, const char *rest)
{
    struct worker *w = load_worker(notifier, rest);

    start(w);
    return w;
}

static inline void close_worker(struct worker *w)
{
    if (w->desk)
        desk_drain(w->desk);
    desk_free(w->desk);
    outlets_free(w->outlets);
    conf_free(w->conf);
    free(w);
}

/* What has this label `job` is silenced for an hour. */
static inline void silence(const char *job)
{
    unsigned char key[SILENCE_KEY_LEN];
    char hex[2 * SILENCE_KEY_LEN + 1];

    silence_key(SLICE_LIT("job"), slice_of(job), key);
    DO("INSERT INTO silences SELECT 't', md5('%s')::uuid, '[{\"name\": \"job\", \"value\": "
       "\"%s\"}]', '\\x%s', 0, (extract(epoch FROM now()) * 1000)::int8 + 3600000, 'ann', "
       "'known', 0",
       job, job, hex_encode(key, sizeof(key), hex));
}

/* Asks what the outbox says of the receiver, in order. */
static inline const char *alerts_about(const char *receiver)
{
    return sql("SELECT coalesce(string_agg(v ->> 'status', ' ' ORDER BY id), '') FROM (SELECT id, "
               "convert_from(value, 'UTF8')::jsonb AS v FROM outbox WHERE topic = 'raw.generic') o "
               "WHERE v #>> '{labels,failing_receiver}' = '%s'",
               receiver);
}
