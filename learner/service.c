#include "learner/service.h"

#include <errno.h>
#include <stdlib.h>

#include "common/kafka.h"
#include "common/pg.h"
#include "learner/intake.h"

#define PING_MS 2000
#define BODY_MAX ((size_t)4096) /* it takes no body but an empty one */

struct service {
    const struct settings *settings;
    struct intake *intake;
};

static int configure(struct settings *s, void **ret_own, struct err *e)
{
    struct playbooks *p = conf_alloc(s->conf, 1, sizeof(*p));

    if (!p)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = playbooks_load(s, p, e);
    if (rc == 0)
        *ret_own = p;
    return rc;
}

static int start(const struct settings *s, void *own, void **ret_self, struct err *e)
{
    struct service *self = calloc(1, sizeof(*self));

    if (!self)
        return err_set(e, -ENOMEM, "out of memory");
    self->settings = s;
    int rc = intake_start(s, own, &self->intake, e);
    if (rc < 0)
        free(self);
    else
        *ret_self = self;
    return rc;
}

static void drain(void *self)
{
    intake_drain(((struct service *)self)->intake);
}

static void stop(void *self)
{
    struct service *s = self;

    intake_stop(s->intake);
    free(s);
}

static int check_db(void *self, struct err *e)
{
    return pg_ping(&((const struct service *)self)->settings->postgres, e);
}

static int check_kafka(void *self, struct err *e)
{
    return kafka_ping(&((const struct service *)self)->settings->kafka, PING_MS, e);
}

static void listen_on(const struct settings *s, struct httpd_options *ret,
                      int64_t *ret_drain_timeout)
{
    *ret = (struct httpd_options){.listen = s->learner.listen,
                                  .threads = 1,
                                  .connections = 64,
                                  .max_body = BODY_MAX,
                                  .request_deadline_ms = 5000};
    *ret_drain_timeout = s->learner.drain_timeout;
}

static const struct health_check health[] = {
    {.name = "db", .check = check_db, .required = true},
    {.name = "kafka", .check = check_kafka, .required = true},
    {.name = NULL},
};

const struct service_type learner_service = {
    .name = "tocsin-learner",
    .summary = "learns which repair works, from what was tried",
    .configure = configure,
    .start = start,
    .drain = drain,
    .stop = stop,
    .health = health,
    .listen = listen_on,
};
