/*
 * What the races are played on: a PostgreSQL, a broker, a letterbox for messages, and workers of
 * the processor with its real code, each with a name that pauses know. Senders are in sender.h.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "broker.h"
#include "letterbox.h"
#include "pause.h"

#include "common/source.h"
#include "processor/commit.h"
#include "processor/expire.h"
#include "processor/timers.h"

#define PARTITIONS 8
#define TOPIC "raw.prometheus"
#define TENANT "default"

struct scene {
    struct schema db;
    struct broker broker;
    struct letterbox *box;
    const char *config;
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *routes;
    struct source_entries sources;
    struct outbox *outbox;
    struct kafka_producer *producer;
    atomic_bool stop;
    int64_t base;             /* ms: second 0 of every test, an hour ago */
    int64_t next[PARTITIONS]; /* where each stands when all goes well */
    uint32_t requests;
};
extern struct scene st;

/* For cmocka: the group's, and before each test. */
int scene_open(void **state);
int scene_close(void **state);
int scene_empty(void **state);

const char *sql(const char *fmt, ...) PRINTF_LIKE(1, 2);
#define DO(...) schema_do(&st.db, sql(__VA_ARGS__))
#define INT(...) schema_int(&st.db, sql(__VA_ARGS__))
#define TEXT(...) schema_text(&st.db, sql(__VA_ARGS__))
#define UNTIL(want, ...) until(&st.db, want, sql(__VA_ARGS__))
#define SAYS(want, ...) assert_string_equal(TEXT(__VA_ARGS__), want)

/* ---- records ---- */

struct batch *batch_open(void);

/* What Prometheus posts of one alert; seconds of the scene. It ends in the past: resolved; in the
 * future: a promise; 0: the promise that Prometheus's silence is. */
struct post {
    const char *name, *instance, *to; /* `to` NULL: the default receiver */
    double at, starts, ends;
};
void put(struct batch *b, int32_t partition, struct post p);
/* Any body of any source, as ingest would have filed it. `extra` may be NULL. */
void put_body(struct batch *b, int32_t partition, const char *source, double at, struct slice body,
              const struct kafka_header *extra);
const char *time_text(double at);

/* ---- workers of the processor ---- */

struct worker {
    struct settings settings;
    struct committer *committer;
    struct timers *runner;
    struct expiry expiry;
    pthread_t thread;
    struct batch *batch;
    atomic_bool done;
    int rc;
    size_t ran;
    struct err e;
};

/* `host` NULL: straight to the server. */
void worker_open(struct worker *w, const char *who, const char *host);
void worker_close(struct worker *w);
/* On a thread of its own, until worker_end(): commit a batch; run the timers that are due. */
void worker_commits(struct worker *w, struct batch *b);
void worker_runs(struct worker *w);
/* Until it has ended or waits for a row that somebody holds. True: it waits. */
bool worker_waits(struct worker *w);
/* Its answer. */
int worker_end(struct worker *w);
/* Both in one, and it must succeed. */
void commits(struct worker *w, struct batch *b);
void runs(struct worker *w);
