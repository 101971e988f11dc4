#include "notifier/notifier.h"

#include <errno.h>
#include <string.h>

#include "common/kafka.h"
#include "common/pg.h"
#include "common/redis.h"
#include "notifier/desk.h"
#include "notifier/tasks.h"
#include "notifier/wakeups.h"

#define CHANNELS_MAX 64
#define PING_TIMEOUT 2000

struct own {
    struct outlets *outlets;
    const struct channel *channels[CHANNELS_MAX]; /* those that this process serves */
    size_t channel_n;
};

struct notifier {
    const struct settings *s;
    struct desk *desk;
    struct wakeups *wakeups;
};

static int choose_channels(const struct settings *s, struct own *own, struct err *e)
{
    const struct conf_strs *asked = &s->notifier.channels;

    for (size_t i = 0; asked->n == 0 && channel_at(i) && i < CHANNELS_MAX; i++)
        own->channels[own->channel_n++] = channel_at(i);
    for (size_t i = 0; i < asked->n && i < CHANNELS_MAX; i++) {
        const char *name = channel_name_find(slice_of(asked->v[i]));
        const struct channel *ch = name ? channel_find(name) : NULL;
        if (!ch)
            return err_set(e, -EINVAL, "notifier.channels: there is no channel %s", asked->v[i]);
        own->channels[own->channel_n++] = ch;
    }
    return 0;
}

/* A lease must outlive the request that it covers, or two workers send the same message. */
static int check_times(const struct notifier_settings *n, struct err *e)
{
    if (n->lease < 2 * n->request_timeout)
        return err_set(e, -EINVAL,
                       "notifier.lease must be at least twice notifier.request_timeout");
    return 0;
}

static void free_outlets(void *o)
{
    outlets_free(o);
}

static int configure(struct settings *s, void **ret_own, struct err *e)
{
    struct own *own = conf_alloc(s->conf, 1, sizeof(*own));
    int r;

    if (!own)
        return err_set(e, -ENOMEM, "the configuration is too large");
    if ((r = check_times(&s->notifier, e)) < 0 || (r = choose_channels(s, own, e)) < 0 ||
        (r = outlets_load(s, &own->outlets, e)) < 0)
        return r;
    if (conf_defer(s->conf, free_outlets, own->outlets) < 0)
        return err_set(e, -ENOMEM, "the configuration is too large");
    *ret_own = own;
    return 0;
}

static void stop(void *self)
{
    struct notifier *n = self;

    wakeups_free(n->wakeups);
    desk_free(n->desk);
    free(n);
}

static int start(const struct settings *s, void *own_, void **ret_self, struct err *e)
{
    const struct own *own = own_;
    struct notifier *n = calloc(1, sizeof(*n));
    int r;

    if (!n)
        return err_set(e, -ENOMEM, "out of memory");
    n->s = s;
    struct desk_options o = {s, own->outlets, own->channels, own->channel_n};
    if ((r = desk_new(&o, &n->desk, e)) < 0 ||
        (r = wakeups_new(&s->kafka, own->channels, own->channel_n, n->desk, &n->wakeups, e)) < 0) {
        stop(n);
        return r;
    }
    *ret_self = n;
    return 0;
}

static void drain(void *self)
{
    struct notifier *n = self;

    desk_drain(n->desk);
}

static int check_db(void *self, struct err *e)
{
    const struct notifier *n = self;

    return pg_ping(&n->s->postgres, e);
}

static int check_kafka(void *self, struct err *e)
{
    const struct notifier *n = self;

    return kafka_ping(&n->s->kafka, PING_TIMEOUT, e);
}

/* Tokens only: without it each process asks for its own. */
static int check_redis(void *self, struct err *e)
{
    const struct notifier *n = self;

    return redis_ping(&n->s->redis, e);
}

static const struct health_check health[] = {
    {"db", check_db, true},
    {"redis", check_redis, false},
    {"kafka", check_kafka, false}, /* wake-ups only: without them messages are a little later */
    {NULL, NULL, false},
};

static void listen_at(const struct settings *s, struct httpd_options *ret,
                      int64_t *ret_drain_timeout)
{
    *ret = (struct httpd_options){.listen = s->notifier.listen,
                                  .threads = 2,
                                  .connections = 64,
                                  .max_body = 65536,
                                  .request_deadline_ms = 10000};
    *ret_drain_timeout = s->notifier.drain_timeout;
}

static const struct service_flag flags[] = {
    {"channels", "notifier.channels", "slack,wecom", "serve these channels alone; default: all"},
    {NULL, NULL, NULL, NULL},
};

static int render(const struct settings *s, void *own_, const char *const *args)
{
    const struct own *own = own_;

    return task_render(s, own->outlets, args);
}

static int send_test(const struct settings *s, void *own_, const char *const *args)
{
    const struct own *own = own_;

    return task_send_test(s, own->outlets, args);
}

static const struct service_task tasks[] = {
    {"render", "CHANNEL INCIDENT.json", "show its message and request; nothing is sent", 2, render},
    {"send-test", "RECEIVER", "send one test message on each of its channels", 1, send_test},
    {NULL, NULL, NULL, 0, NULL},
};

const struct service_type notifier_service = {
    .name = "tocsin-notifier",
    .summary = "sends notifications to their channels",
    .flags = flags,
    .tasks = tasks,
    .configure = configure,
    .start = start,
    .drain = drain,
    .stop = stop,
    .health = health,
    .listen = listen_at,
};
