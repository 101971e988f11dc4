/*
 * What every daemon does the same way: flags, configuration, logs, health, metrics, signals,
 * two-step drain.
 *
 *   --config FILE   --set section.key=value   --check-config   --print-config   --version   --help
 *   and the service's own flags, each another name for --set, or a task to do instead of serving
 *
 * Signals are blocked before any thread starts and read from one signalfd. The first SIGTERM or
 * SIGINT drains: /readyz turns 503, drain() is called and finishes what is at hand; the second, or
 * `drain_timeout`, ends at once by stop() and exits with 1. SIGHUP reads the configuration again
 * and logs whether a restart would take it; what runs is not changed.
 *
 * Every service has GET /healthz (the process lives), /readyz (required checks, not draining),
 * /health (all checks; 503 when a required one fails), /health/NAME and /metrics.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/httpd.h"
#include "common/settings.h"

/* One dependency's state for /health/NAME: 0 is well, negative errno with a reason in `e` is not.
 * Called from HTTP threads. */
struct health_check {
    const char *name; /* "db", "redis", "kafka" */
    int (*check)(void *self, struct err *e);
    bool required; /* /readyz fails with it */
};

/* --name VALUE is --set key=VALUE. */
struct service_flag {
    const char *name, *key;
    const char *value, *help; /* for --help */
};

/* --name VALUE ...: something to do with the configuration instead of serving by it. Its exit code;
 * `args` are VALUE and what follows, `arg_n` in all. */
struct service_task {
    const char *name, *values, *help; /* for --help */
    int arg_n;
    int (*run)(const struct settings *s, void *own, const char *const *args);
};

struct service_type {
    const char *name, *summary;       /* "tocsin-ingest" */
    const struct service_flag *flags; /* ended by name NULL; NULL: none */
    const struct service_task *tasks; /* the same */

    /* Load and check this service's own trees (route, receivers, sources ...); nothing is opened.
     * May be NULL. Runs again, on another configuration, at every SIGHUP. *ret_own is handed to
     * start(), owned by the configuration. */
    int (*configure)(struct settings *s, void **ret_own, struct err *e);
    /* Open everything and start working on threads of its own; returns when it works. */
    int (*start)(const struct settings *s, void *own, void **ret_self, struct err *e);
    /* Stop taking work, finish what is at hand; returns when done. Called on a thread of its own;
     * stop() may come meanwhile, and then makes it return before anything is freed. */
    void (*drain)(void *self);
    /* End now, free everything. After it no thread of the service runs. No handler or check runs
     * any more; deferred requests that it leaves unanswered get 503. */
    void (*stop)(void *self);

    const struct health_check *health; /* ended by name NULL */
    const struct http_route
        *routes; /* the service's own, ended by method NULL; NULL: only the common ones */
    const struct http_route *(*own_routes)(const void *self); /* or, where start() makes them */
    /* Where to listen and how, from the settings. */
    void (*listen)(const struct settings *s, struct httpd_options *ret, int64_t *ret_drain_timeout);
    /* A running service that cannot go on says why and the process ends with 1: see service_fail().
     */
};

/* The whole of main(): returns its exit code. 0 after a drain or a good --check-config, 1 on
 * failure. */
int service_main(const struct service_type *type, int argc, char **argv);

/* From any thread: log `why` and end the process loudly (exit code 1) after stop(). */
void service_fail(const struct err *why);
