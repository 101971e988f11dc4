/*
 * Metrics in the Prometheus text format 0.0.4. Series are created at start with their labels
 * rendered, so that cardinality cannot grow with input; they live until the process ends.
 * Updates are atomic and lock-free; creation and rendering take a lock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

struct counter;
struct gauge;
struct histogram;

/* counter_new("tocsin_deliveries_total", "Attempts by outcome.",
 * "channel=\"slack\",outcome=\"retry\""). The same name and labels give the same series. Never
 * NULL: out of memory at start ends the process. */
struct counter *counter_new(const char *name, const char *help, const char *labels);
void counter_add(struct counter *c, uint64_t n);
uint64_t counter_value(const struct counter *c);

struct gauge *gauge_new(const char *name, const char *help, const char *labels);
void gauge_set(struct gauge *g, int64_t v);
void gauge_add(struct gauge *g, int64_t v);

/* `bounds` ascending, in the metric's unit, copied. */
struct histogram *histogram_new(const char *name, const char *help, const char *labels,
                                const double *bounds, size_t bound_n);
void histogram_observe(struct histogram *h, double v);
/* 1 ms .. 60 s, for latencies in seconds. */
extern const double latency_bounds[];
extern const size_t latency_bound_n;

/* Append every series, grouped by name, one HELP and TYPE each. */
void metrics_render(struct buf *out);
