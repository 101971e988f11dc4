#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/service_impl.h"

#define CHECK_FRESH_MS MS_SECOND /* so many probes share one look at a server */
#define METRICS_MAX ((size_t)16 << 20)
#define HEALTH_MAX ((size_t)64 << 10)

/* One dependency and what was last found about it. */
struct probe {
    const struct health_check *check;
    pthread_mutex_t lock;
    pthread_cond_t first;
    bool running, known;
    int64_t at;
    struct err last; /* code 0: well */
    struct gauge *up;
};

struct probes {
    void *self;
    struct probe *v;
    size_t n;
    _Atomic bool draining;
    struct gauge *resident, *fds;
};

static void probe_open(struct probe *p, const struct health_check *check)
{
    char labels[64];

    p->check = check;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->first, NULL);
    (void)snprintf(labels, sizeof(labels), "check=\"%s\"", check->name);
    p->up = gauge_new("tocsin_health", "1: the dependency was well when it was last looked at.",
                      labels);
}

struct probes *probes_new(const char *name, const struct health_check *checks, void *self)
{
    struct probes *p = calloc(1, sizeof(*p));
    char labels[128];
    size_t n = 0;

    if (!p)
        return NULL;
    while (checks && checks[n].name)
        n++;
    p->self = self;
    p->v = calloc(n + 1, sizeof(*p->v));
    if (!p->v) {
        free(p);
        return NULL;
    }
    for (; p->n < n; p->n++)
        probe_open(&p->v[p->n], &checks[p->n]);

    (void)snprintf(labels, sizeof(labels), "service=\"%s\",version=\"" TOCSIN_VERSION "\"", name);
    gauge_set(gauge_new("tocsin_build_info", "1; what runs is in the labels.", labels), 1);
    gauge_set(gauge_new("process_start_time_seconds", "Start of the process, Unix time.", ""),
              clock_now_ms() / MS_SECOND);
    p->resident = gauge_new("process_resident_memory_bytes", "Resident memory.", "");
    p->fds = gauge_new("process_open_fds", "Open file descriptors.", "");
    return p;
}

void probes_free(struct probes *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        (void)pthread_cond_destroy(&p->v[i].first);
        (void)pthread_mutex_destroy(&p->v[i].lock);
    }
    free(p->v);
    free(p);
}

void probes_drain(struct probes *p)
{
    atomic_store(&p->draining, true);
}

/*
 * One thread looks, and only when the last look is old; the others take what was found before, so
 * that a server that hangs occupies one HTTP thread and no more.
 */
static int look(struct probes *all, struct probe *p, struct err *ret)
{
    (void)pthread_mutex_lock(&p->lock);
    if (!p->running && (!p->known || clock_monotonic_ms() - p->at >= CHECK_FRESH_MS)) {
        struct err e = {0};
        int r;

        p->running = true;
        (void)pthread_mutex_unlock(&p->lock);
        r = p->check->check(all->self, &e);
        (void)pthread_mutex_lock(&p->lock);
        p->last = e;
        p->last.code = r;
        p->at = clock_monotonic_ms();
        p->running = false;
        p->known = true;
        gauge_set(p->up, r == 0);
        (void)pthread_cond_broadcast(&p->first);
    }
    while (!p->known)
        (void)pthread_cond_wait(&p->first, &p->lock);
    *ret = p->last;
    (void)pthread_mutex_unlock(&p->lock);
    return ret->code;
}

static void append_state(struct buf *b, const struct err *e)
{
    if (e->code == 0) {
        buf_puts(b, "{\"status\":\"ok\"}");
        return;
    }
    buf_puts(b, "{\"status\":\"down\",\"reason\":");
    buf_json(b, slice_of(e->msg[0] ? e->msg : strerror(-e->code)));
    buf_putc(b, '}');
}

static void reply_buf(struct http_request *r, unsigned status, const char *type, struct buf *b)
{
    http_reply_header(r, "Cache-Control", "no-store");
    if (b->failed)
        http_reply_error(r, 500, "internal", "the answer is too large");
    else
        http_reply(r, status, type, buf_str(b), b->len);
}

static void get_healthz(void *ctx, struct http_request *r)
{
    (void)ctx;
    http_reply(r, 200, NULL, SLICE_LIT("{\"status\":\"ok\"}\n").p, strlen("{\"status\":\"ok\"}\n"));
}

static void get_readyz(void *ctx, struct http_request *r)
{
    struct probes *p = ctx;
    struct err e;

    if (atomic_load(&p->draining)) {
        http_reply_error(r, 503, "draining", "the service is draining");
        return;
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].check->required && look(p, &p->v[i], &e) < 0) {
            http_reply_error(r, 503, "not_ready", "%s: %s", p->v[i].check->name,
                             e.msg[0] ? e.msg : strerror(-e.code));
            return;
        }
    get_healthz(NULL, r);
}

/* 503 only when something required is down: an optional cache must not take a service out of
 * rotation. */
static void get_health(void *ctx, struct http_request *r)
{
    CLEANUP(buf_release) struct buf states = BUF_INIT(HEALTH_MAX), b = BUF_INIT(HEALTH_MAX);
    struct probes *p = ctx;
    bool degraded = false, broken = false;

    for (size_t i = 0; i < p->n; i++) {
        const struct health_check *check = p->v[i].check;
        struct err e;

        if (look(p, &p->v[i], &e) < 0) {
            degraded = true;
            broken = broken || check->required;
        }
        buf_putc(&states, ',');
        buf_json(&states, slice_of(check->name));
        buf_putc(&states, ':');
        append_state(&states, &e);
    }
    buf_printf(&b, "{\"status\":\"%s\"", degraded ? "degraded" : "ok");
    buf_add(&b, buf_str(&states), states.len);
    buf_puts(&b, "}\n");
    b.failed = b.failed || states.failed;
    reply_buf(r, broken ? 503 : 200, NULL, &b);
}

static void get_health_of(void *ctx, struct http_request *r)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(HEALTH_MAX);
    const char *name = http_param(r, "name");
    struct probes *p = ctx;
    struct err e;
    size_t i = 0;

    while (i < p->n && strcmp(p->v[i].check->name, name) != 0)
        i++;
    if (i == p->n) {
        http_reply_error(r, 404, "not_found", "this service does not use %s", name);
        return;
    }
    (void)look(p, &p->v[i], &e);
    append_state(&b, &e);
    buf_putc(&b, '\n');
    reply_buf(r, e.code ? 503 : 200, NULL, &b);
}

static int64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    char line[128] = "";
    FILE *f = fopen("/proc/self/statm", "re");
    char *rest;

    if (f && fgets(line, sizeof(line), f)) { /* size, then resident */
        (void)strtoull(line, &rest, 10);
        pages = strtoull(rest, NULL, 10);
    }
    if (f)
        (void)fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static int64_t open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

static void get_metrics(void *ctx, struct http_request *r)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(METRICS_MAX);
    struct probes *p = ctx;

    gauge_set(p->resident, resident_bytes());
    gauge_set(p->fds, open_fds());
    metrics_render(&b);
    reply_buf(r, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

const struct http_route probe_routes[] = {
    {"GET", "/healthz", NULL, get_healthz}, {"GET", "/readyz", NULL, get_readyz},
    {"GET", "/health", NULL, get_health},   {"GET", "/health/{name}", NULL, get_health_of},
    {"GET", "/metrics", NULL, get_metrics}, {NULL, NULL, NULL, NULL},
};
