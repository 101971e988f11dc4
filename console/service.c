#include "console/service.h"

#include <errno.h>
#include <stdlib.h>

#include "common/kafka.h"
#include "common/listen.h"
#include "common/pg.h"
#include "common/redis.h"
#include "console/act_page.h"
#include "console/acts.h"
#include "console/alerts.h"
#include "console/assets.h"
#include "console/callback.h"
#include "console/console.h"
#include "console/door.h"
#include "console/incidents.h"
#include "console/ledger.h"
#include "console/opsgenie.h"
#include "console/silences.h"

#define PING_MS 2000
#define BODY_MAX ((size_t)64 << 10)

const struct http_route console_routes[] = {
    {.method = "GET", .pattern = "/", .handle = get_page},
    {.method = "GET", .pattern = "/assets/*", .handle = get_asset},
    {.method = "GET", .pattern = "/act/{token}", .handle = get_act},
    {.method = "POST", .pattern = "/act/{token}", .handle = post_act},
    {.method = "PUT", .pattern = "/act/{token}", .handle = other_act},
    {.method = "PATCH", .pattern = "/act/{token}", .handle = other_act},
    {.method = "DELETE", .pattern = "/act/{token}", .handle = other_act},
    {.method = "POST", .pattern = "/callback/slack", .handle = post_slack},
    {.method = "POST", .pattern = "/callback/twilio/{token}", .handle = post_twilio},
    {.method = "POST",
     .pattern = "/callback/twilio/status/{id}/{attempt}",
     .handle = post_twilio_status},
    {.method = "GET", .pattern = "/api/v1/incidents", .handle = get_incidents},
    {.method = "GET", .pattern = "/api/v1/incidents/{id}", .handle = get_incident},
    {.method = "PUT",
     .pattern = "/api/v1/incidents/{id}/status",
     .admit = admit_own_page,
     .handle = put_incident_status},
    {.method = "GET",
     .pattern = "/api/v1/incidents/{id}/notifications",
     .handle = get_incident_notifications},
    {.method = "GET", .pattern = "/api/v1/notifications", .handle = get_notifications},
    {.method = "GET", .pattern = "/api/v1/notifications/{id}", .handle = get_notification},
    {.method = "GET", .pattern = "/api/v1/alerts", .handle = get_alerts},
    {.method = "GET", .pattern = "/api/v1/alerts/{id}", .handle = get_alert},
    {.method = "PUT",
     .pattern = "/api/v1/alerts/{id}/status",
     .admit = admit_own_page,
     .handle = put_alert_status},
    {.method = "GET", .pattern = "/api/v1/silences", .handle = get_silences},
    {.method = "POST",
     .pattern = "/api/v1/silences",
     .admit = admit_own_page,
     .handle = post_silence},
    {.method = "GET", .pattern = "/api/v1/silences/{id}", .handle = get_silence},
    {.method = "DELETE",
     .pattern = "/api/v1/silences/{id}",
     .admit = admit_own_page,
     .handle = delete_silence},
    {.method = "GET", .pattern = "/v2/alerts/requests/{id}", .handle = get_opsgenie_request},
    {.method = NULL},
};

static int start(const struct settings *s, void *own, void **ret_self, struct err *e)
{
    struct console *c = calloc(1, sizeof(*c));

    (void)own;
    if (!c)
        return err_set(e, -ENOMEM, "out of memory");
    c->settings = s;
    int rc = pool_new(&s->postgres, s->console.threads, &c->pool, e);
    if (rc < 0)
        free(c);
    else
        *ret_self = c;
    return rc;
}

static void drain(void *self)
{
    (void)self; /* every request is answered on the thread that read it */
}

static void stop(void *self)
{
    struct console *c = self;

    pool_free(c->pool);
    free(c);
}

static int check_db(void *self, struct err *e)
{
    return pg_ping(&((const struct console *)self)->settings->postgres, e);
}

static int check_redis(void *self, struct err *e)
{
    return redis_ping(&((const struct console *)self)->settings->redis, e);
}

static int check_kafka(void *self, struct err *e)
{
    return kafka_ping(&((const struct console *)self)->settings->kafka, PING_MS, e);
}

static void listen_on(const struct settings *s, struct httpd_options *ret,
                      int64_t *ret_drain_timeout)
{
    *ret = (struct httpd_options){.listen = s->console.listen,
                                  .threads = s->console.threads,
                                  .connections = s->console.connections,
                                  .max_body = BODY_MAX,
                                  .request_deadline_ms = s->console.request_deadline};
    *ret_drain_timeout = s->console.drain_timeout;
}

/* Only the database is needed to answer; the others are what a person asks the console about. */
static const struct health_check health[] = {
    {.name = "db", .check = check_db, .required = true},
    {.name = "redis", .check = check_redis, .required = false},
    {.name = "kafka", .check = check_kafka, .required = false},
    {.name = NULL},
};

/* In a container, or behind who asks for a password, that may be meant. */
static int configure(struct settings *s, void **ret_own, struct err *e)
{
    (void)ret_own;
    if (!listen_is_loopback(s->console.listen) &&
        conf_warn(s->conf, NULL,
                  "console listens on %s and has no logins: whoever reaches it reads all and may "
                  "acknowledge, silence and resolve",
                  s->console.listen) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    return 0;
}

const struct service_type console_service = {
    .name = "tocsin-console",
    .summary = "shows incidents and takes a person's acts: API and page",
    .configure = configure,
    .start = start,
    .drain = drain,
    .stop = stop,
    .health = health,
    .routes = console_routes,
    .listen = listen_on,
};
