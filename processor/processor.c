#include "processor/processor.h"

#include <errno.h>
#include <stdlib.h>

#include "common/kafka.h"
#include "common/pg.h"
#include "common/redis.h"
#include "processor/consume.h"
#include "processor/expire.h"
#include "processor/timers.h"

#define PING_TIMEOUT_MS 2000

/* From the configuration; lives as long as it. */
struct processor_config {
    struct source_entries sources;
    struct receivers receivers;
    const struct route *routes;
    const struct rules *rules;
};

struct processor {
    const struct settings *settings;
    struct outbox *outbox;
    struct kafka_producer *producer; /* its reports go to the outbox */
    struct timers *timers;
    struct consume *consume;
    struct expiry expiry;
};

static int configure(struct settings *s, void **ret_own, struct err *e)
{
    struct processor_config *cfg = conf_alloc(s->conf, 1, sizeof(*cfg));
    int rc;

    if (!cfg)
        return err_set(e, -ENOMEM, "out of memory");
    if ((rc = source_entries_load(s, &cfg->sources, e)) < 0 ||
        (rc = receivers_load(s, &cfg->receivers, e)) < 0 ||
        (rc = route_load(s, &cfg->receivers, &cfg->routes, e)) < 0 ||
        (rc = rules_load(s, &cfg->sources, &cfg->receivers, cfg->routes, &cfg->rules, e)) < 0)
        return rc;
    *ret_own = cfg;
    return 0;
}

static void kick(void *ctx)
{
    timers_kick(((struct processor *)ctx)->timers);
}

/* Before a broker has answered nobody was heard, and no alert ends by silence. */
static int expire(void *ctx, struct pg *pg, const struct silence *v, size_t n, struct err *e)
{
    struct processor *p = ctx;

    p->expiry.group = (struct offset_group){PROCESSOR_GROUP, consume_cluster(p->consume)};
    return expire_run(&p->expiry, pg, v, n, e);
}

static void stop(void *self)
{
    struct processor *p = self;

    if (!p)
        return;
    consume_stop(p->consume);
    timers_free(p->timers);
    kafka_producer_free(p->producer);
    outbox_free(p->outbox);
    free(p);
}

static int open_all(struct processor *p, const struct processor_config *cfg, struct err *e)
{
    const struct consume_options co = {.settings = p->settings,
                                       .sources = &cfg->sources,
                                       .routes = cfg->routes,
                                       .rules = cfg->rules,
                                       .due = kick,
                                       .due_ctx = p};
    int rc;

    p->outbox = outbox_new();
    if (!p->outbox)
        return err_set(e, -ENOMEM, "out of memory");
    if ((rc = kafka_producer_new(&p->settings->kafka, outbox_report, p->outbox, &p->producer, e)) <
        0)
        return rc;
    p->expiry =
        (struct expiry){.settings = p->settings, .routes = cfg->routes, .rules = cfg->rules};
    const struct timers_options to = {.settings = p->settings,
                                      .receivers = &cfg->receivers,
                                      .routes = cfg->routes,
                                      .rules = cfg->rules,
                                      .producer = p->producer,
                                      .outbox = p->outbox,
                                      .expire = expire,
                                      .expire_ctx = p,
                                      .fail = service_fail};
    if ((rc = timers_new(&to, &p->timers, e)) < 0)
        return rc;
    if ((rc = consume_start(&co, &p->consume, e)) < 0)
        return rc;
    return timers_start(p->timers, e);
}

static int start(const struct settings *s, void *own, void **ret_self, struct err *e)
{
    struct processor *p = calloc(1, sizeof(*p));

    if (!p)
        return err_set(e, -ENOMEM, "out of memory");
    p->settings = s;
    const int rc = open_all(p, own, e);
    if (rc < 0) {
        stop(p);
        return rc;
    }
    *ret_self = p;
    return 0;
}

static void drain(void *self)
{
    struct processor *p = self;

    consume_drain(p->consume);
    timers_stop(p->timers);
}

static int check_db(void *self, struct err *e)
{
    return pg_ping(&((struct processor *)self)->settings->postgres, e);
}

static int check_redis(void *self, struct err *e)
{
    return redis_ping(&((struct processor *)self)->settings->redis, e);
}

static int check_kafka(void *self, struct err *e)
{
    return kafka_ping(&((struct processor *)self)->settings->kafka, PING_TIMEOUT_MS, e);
}

static const struct health_check health[] = {
    {"db", check_db, true}, {"kafka", check_kafka, true}, {"redis", check_redis, false}, {0}};

static void listen_where(const struct settings *s, struct httpd_options *ret,
                         int64_t *ret_drain_timeout)
{
    *ret = (struct httpd_options){.listen = s->processor.listen};
    *ret_drain_timeout = s->processor.drain_timeout;
}

const struct service_type processor_service = {
    .name = "tocsin-processor",
    .summary = "merges raw records into alerts and incidents, and decides what there is to say",
    .configure = configure,
    .start = start,
    .drain = drain,
    .stop = stop,
    .health = health,
    .listen = listen_where,
};
