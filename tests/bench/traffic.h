/*
 * What is sent: requests on demand, and a book of what was answered, so that whoever looks into the
 * database and at the sink afterwards knows what must be there.
 */
#pragma once

#include <stdint.h>

#include "common/buf.h"
#include "common/cleanup.h"

#define SAID_MAX 256
#define REQUEST_MAX ((size_t)8 << 20)
#define KINDS_MAX 12

/* What one request said about one key: fires since `start` (ms), or is over (0). */
struct said {
    uint32_t key;
    int64_t start;
};

/* One request under way. */
struct request {
    struct buf text; /* head and body as they go out */
    unsigned kind;   /* index into the traffic's kinds */
    struct said said[SAID_MAX];
    size_t said_n;
};

struct traffic {
    void *self;
    const char *const *kinds; /* NULL-terminated, at most KINDS_MAX */
    /* False: there is nothing more to say. `due_ms` is wall time. */
    bool (*make)(void *self, int64_t due_ms, struct request *r);
    /* Status 0: there was no answer. Once per request made. `now_ms` is wall time. */
    void (*answered)(void *self, const struct request *r, unsigned status, int64_t now_ms);
    /* Members of a JSON object, each with a comma before it. */
    void (*report)(void *self, struct buf *json);
};

/* Head and body into r->text. `headers` are whole lines, or "". */
void request_write(struct request *r, const char *target, struct slice body, const char *headers);

/* ---- alerts as Prometheus posts them to /api/v2/alerts ---- */

struct alerts_options {
    const char *path;
    const char *run;      /* label `namespace`: whose alerts these are */
    const char *group;    /* label `bench`: routes tell workloads apart by it */
    const char *severity; /* label */
    size_t keys, names;   /* label sets, and alert names (so incidents) that they share */
    size_t batch;         /* alerts in one request */
    double exponent;      /* of Zipf's law; 0: all keys alike */
    double resolved;      /* share of what is said that says "over" */
    bool fresh;           /* each key once, in order */
    uint64_t seed;
};
struct alerts;
struct alerts *alerts_new(const struct alerts_options *o) MUST_CHECK;
void alerts_free(struct alerts *a);
struct traffic alerts_traffic(struct alerts *a);
CLEANUP_DEFINE(struct alerts *, alerts_free);

/* One alert as JSON. */
struct alert_text {
    const struct alerts_options *o;
    size_t key;
    int64_t start, end; /* ms; end 0: none */
    const char *status; /* NULL: the API's form, which has none */
};
void alert_write(struct buf *b, const struct alert_text *t);

/* ---- every format that there is, with a share of what must be refused ---- */

struct mixture_options {
    const char *run;
    const char *secret; /* of the source `sentry` */
    size_t keys;
    double malformed, oversize, forged; /* shares */
    size_t oversize_bytes;
    uint64_t seed;
};
struct mixture;
struct mixture *mixture_new(const struct mixture_options *o) MUST_CHECK;
void mixture_free(struct mixture *m);
struct traffic mixture_traffic(struct mixture *m);
CLEANUP_DEFINE(struct mixture *, mixture_free);

/* ---- dashboards: GET of one path ---- */

struct traffic reads_traffic(const char *path);
