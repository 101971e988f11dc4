#include "common/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const double latency_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                 0.5,   1,      2.5,   5,    10,    30,   60};
const size_t latency_bound_n = sizeof(latency_bounds) / sizeof(latency_bounds[0]);

/* What every series begins with; the three kinds embed it. */
struct series {
    struct series *next;
    char *labels;
};

struct counter {
    struct series series;
    _Atomic uint64_t value;
};

struct gauge {
    struct series series;
    _Atomic int64_t value;
};

struct histogram {
    struct series series;
    size_t bound_n;
    double *bounds;
    _Atomic uint64_t *counts; /* bound_n + 1: the last is past every bound */
    _Atomic double sum;
};

enum kind { KIND_COUNTER = 1, KIND_GAUGE, KIND_HISTOGRAM };

/* All series of one name, in the order of their creation. */
struct family {
    struct family *next;
    char *name, *help;
    enum kind kind;
    struct series *series;
};

static struct family *families;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Series are made at start: a process that cannot, or that says two things about one name, must not
 * run. */
_Noreturn static void die(const char *name, const char *why)
{
    (void)fprintf(stderr, "metric %s: %s\n", name, why);
    abort();
}

static void *need(void *p, const char *name)
{
    if (!p)
        die(name, "out of memory");
    return p;
}

static struct family *family_of(const char *name, const char *help, enum kind kind)
{
    struct family **at = &families;
    for (; *at; at = &(*at)->next) {
        if (strcmp((*at)->name, name) != 0)
            continue;
        if ((*at)->kind != kind)
            die(name, "made again as another type");
        return *at;
    }
    struct family *f = need(calloc(1, sizeof(*f)), name);
    f->name = need(strdup(name), name);
    f->help = need(strdup(help), name);
    f->kind = kind;
    *at = f;
    return f;
}

/* Where the series with these labels is, or where a new one goes. */
static struct series **place(struct family *f, const char *labels)
{
    struct series **at = &f->series;
    while (*at && strcmp((*at)->labels, labels) != 0)
        at = &(*at)->next;
    return at;
}

/* The series of that name and labels, made with `size` zeroed bytes when new. The caller holds the
 * lock. */
static void *series_get(const char *name, const char *help, const char *labels, enum kind kind,
                        size_t size)
{
    const char *text = labels ? labels : "";
    struct series **at = place(family_of(name, help, kind), text);
    if (!*at) {
        struct series *s = need(calloc(1, size), name);
        s->labels = need(strdup(text), name);
        *at = s;
    }
    return *at;
}

struct counter *counter_new(const char *name, const char *help, const char *labels)
{
    (void)pthread_mutex_lock(&lock);
    struct counter *c = series_get(name, help, labels, KIND_COUNTER, sizeof(*c));
    (void)pthread_mutex_unlock(&lock);
    return c;
}

void counter_add(struct counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}

uint64_t counter_value(const struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

struct gauge *gauge_new(const char *name, const char *help, const char *labels)
{
    (void)pthread_mutex_lock(&lock);
    struct gauge *g = series_get(name, help, labels, KIND_GAUGE, sizeof(*g));
    (void)pthread_mutex_unlock(&lock);
    return g;
}

void gauge_set(struct gauge *g, int64_t v)
{
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}

void gauge_add(struct gauge *g, int64_t v)
{
    atomic_fetch_add_explicit(&g->value, v, memory_order_relaxed);
}

struct histogram *histogram_new(const char *name, const char *help, const char *labels,
                                const double *bounds, size_t bound_n)
{
    for (size_t i = 1; i < bound_n; i++)
        if (!(bounds[i - 1] < bounds[i]))
            die(name, "bounds do not ascend");
    (void)pthread_mutex_lock(&lock);
    struct histogram *h = series_get(name, help, labels, KIND_HISTOGRAM, sizeof(*h));
    if (!h->counts) {
        h->bound_n = bound_n;
        h->bounds = need(calloc(bound_n + 1, sizeof(*h->bounds)), name);
        h->counts = need(calloc(bound_n + 1, sizeof(*h->counts)), name);
        for (size_t i = 0; i < bound_n; i++)
            h->bounds[i] = bounds[i];
    }
    (void)pthread_mutex_unlock(&lock);
    return h;
}

void histogram_observe(struct histogram *h, double v)
{
    if (isnan(v))
        return; /* it would make the sum useless for ever */
    size_t i = 0;
    while (i < h->bound_n && v > h->bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    double sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&h->sum, &sum, sum + v, memory_order_relaxed,
                                                  memory_order_relaxed))
        continue;
}

/* The fewest digits that read back as the same number. */
static void add_double(struct buf *out, double v)
{
    char text[32];
    if (isinf(v)) {
        buf_puts(out, v > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_puts(out, text);
}

static void add_help(struct buf *out, const char *help)
{
    for (; *help; help++) {
        if (*help == '\\')
            buf_puts(out, "\\\\");
        else if (*help == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *help);
    }
}

static void add_name(struct buf *out, const struct family *f, const char *suffix,
                     const char *labels)
{
    buf_printf(out, "%s%s", f->name, suffix);
    if (*labels)
        buf_printf(out, "{%s}", labels);
    buf_putc(out, ' ');
}

/* Each count is read once and the total made of them, so that the buckets always add up. */
static void add_histogram(struct buf *out, const struct family *f, const struct histogram *h)
{
    const char *labels = h->series.labels;
    uint64_t total = 0;
    for (size_t i = 0; i <= h->bound_n; i++) {
        total += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", f->name, labels, *labels ? "," : "");
        add_double(out, i < h->bound_n ? h->bounds[i] : (double)INFINITY);
        buf_printf(out, "\"} %" PRIu64 "\n", total);
    }
    add_name(out, f, "_sum", labels);
    add_double(out, atomic_load_explicit(&h->sum, memory_order_relaxed));
    buf_putc(out, '\n');
    add_name(out, f, "_count", labels);
    buf_printf(out, "%" PRIu64 "\n", total);
}

static void add_series(struct buf *out, const struct family *f, const struct series *s)
{
    switch (f->kind) {
    case KIND_COUNTER:
        add_name(out, f, "", s->labels);
        buf_printf(out, "%" PRIu64 "\n", counter_value((const struct counter *)s));
        break;
    case KIND_GAUGE:
        add_name(out, f, "", s->labels);
        buf_printf(out, "%" PRId64 "\n",
                   atomic_load_explicit(&((const struct gauge *)s)->value, memory_order_relaxed));
        break;
    case KIND_HISTOGRAM:
        add_histogram(out, f, (const struct histogram *)s);
        break;
    }
}

void metrics_render(struct buf *out)
{
    static const char *const types[] = {
        [KIND_COUNTER] = "counter", [KIND_GAUGE] = "gauge", [KIND_HISTOGRAM] = "histogram"};
    (void)pthread_mutex_lock(&lock);
    for (const struct family *f = families; f; f = f->next) {
        buf_printf(out, "# HELP %s ", f->name);
        add_help(out, f->help);
        buf_printf(out, "\n# TYPE %s %s\n", f->name, types[f->kind]);
        for (const struct series *s = f->series; s; s = s->next)
            add_series(out, f, s);
    }
    (void)pthread_mutex_unlock(&lock);
}
