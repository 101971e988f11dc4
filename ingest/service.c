#include <errno.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/listen.h"
#include "common/log.h"
#include "ingest/ingest.h"
#include "ingest/try.h"

/* Behind a proxy, or in a container, that may be meant. */
static int warn_of_open(const struct settings *s, const struct source_entries *all)
{
    CLEANUP(buf_release) struct buf open = BUF_INIT((size_t)64 << 10);

    for (size_t i = 0; i < all->n; i++)
        if (!source_entry_guarded(&all->v[i]) && !all->v[i].type->wants) /* which is signed */
            buf_printf(&open, "%s%s", open.len ? ", " : "", all->v[i].name);
    if (!open.len || listen_is_loopback(s->ingest.listen))
        return 0;
    return conf_warn(s->conf, NULL,
                     "ingest listens on %s, and anybody who reaches it may send to %s: give each a "
                     "secret, or `enabled: false`",
                     s->ingest.listen, open.failed ? "its sources" : buf_str(&open));
}

static int configure(struct settings *s, void **ret_own, struct err *e)
{
    struct source_entries *entries = conf_alloc(s->conf, 1, sizeof(*entries));
    if (!entries)
        return err_set(e, -ENOMEM, "sources: out of memory");
    int rc = source_entries_load(s, entries, e);
    if (rc == 0 && warn_of_open(s, entries) < 0)
        rc = err_set(e, -ENOMEM, "sources: out of memory");
    if (rc == 0)
        *ret_own = entries;
    return rc;
}

static void stop(void *arg)
{
    struct ingest *self = arg;
    if (!self)
        return;
    fetcher_free(self->fetcher); /* who waits for it is answered */
    relay_free(self->relay);     /* and so is who waits for this */
    beat_stop(self->beat);
    publisher_free(self->publisher);
    tally_free(self->tally);
    routes_free(self->routes);
    free(self);
}

static int start(const struct settings *s, void *own, void **ret_self, struct err *e)
{
    struct ingest *self = calloc(1, sizeof(*self));
    if (!self)
        return err_set(e, -ENOMEM, "out of memory");
    const struct uuid id = uuid7_new(clock_now_ms());
    (void)uuid_format(&id, self->id);
    self->settings = s;
    self->entries = own;
    self->tally = tally_new(self->entries);
    self->routes = routes_new();
    int rc = self->tally && self->routes ? 0 : err_set(e, -ENOMEM, "out of memory");
    if (rc == 0)
        rc = publisher_new(s, self->id, &self->publisher, e);
    if (rc == 0)
        rc = fetcher_new(s, &self->fetcher, e);
    if (rc == 0 && *s->ingest.console_url)
        rc = relay_new(&s->ingest, &self->relay, e);
    if (rc == 0)
        rc = beat_start(self->publisher, self->id, s->ingest.beat_interval, &self->beat, e);
    if (rc < 0) {
        stop(self);
        return rc;
    }
    if (!*s->ingest.spool_dir)
        log_info(EV("no_spool"), KV("meaning", "503 while Kafka is away"));
    *ret_self = self;
    return 0;
}

/* What waits gets its word from Kafka, or from the spool at its deadline. */
static void drain(void *arg)
{
    struct ingest *self = arg;
    (void)publisher_drain(self->publisher, self->settings->ingest.drain_timeout);
}

static int check_kafka(void *arg, struct err *e)
{
    struct ingest *self = arg;
    struct publisher_state s;
    publisher_state(self->publisher, &s);
    return s.breaker_open ? err_set(e, -ENOTCONN, "Kafka does not acknowledge in time; %s",
                                    s.has_spool ? "records go to the spool" : "there is no spool")
                          : 0;
}

/* Can anything be taken at all? */
static int check_intake(void *arg, struct err *e)
{
    struct ingest *self = arg;
    struct publisher_state s;
    publisher_state(self->publisher, &s);
    if (s.has_spool && s.spool.ended)
        return err_set(e, -EIO, "the spool's disk failed a write: restart on a good one");
    /* A fresh producer has no metadata and no id yet: the first record would wait for both. */
    if (!s.heard)
        return err_set(e, -EAGAIN, "Kafka has not answered the first beat yet");
    if (!s.breaker_open)
        return 0;
    if (!s.has_spool)
        return err_set(e, -ENOTCONN, "Kafka is away and there is no spool");
    return s.spool.full ? err_set(e, -ENOSPC, "Kafka is away and the spool is full") : 0;
}

static const struct health_check health[] = {
    {"kafka", check_kafka, false},
    {"intake", check_intake, true},
    {0},
};

static void listen_on(const struct settings *s, struct httpd_options *ret,
                      int64_t *ret_drain_timeout)
{
    const struct ingest_settings *i = &s->ingest;
    *ret = (struct httpd_options){.listen = i->listen,
                                  .threads = i->threads,
                                  .connections = i->connections,
                                  .max_body = i->max_body,
                                  .request_deadline_ms = i->request_deadline};
    *ret_drain_timeout = i->drain_timeout;
}

static int try_task(const struct settings *s, void *own, const char *const *args)
{
    return try_source(s, own, args[0], args[1], stdout);
}

static const struct service_task tasks[] = {
    {"try-source", "NAME FILE", "say what would come of a body (- is stdin) and exit", 2, try_task},
    {0},
};

const struct service_type ingest_service = {
    .name = "tocsin-ingest",
    .summary = "takes webhooks in, and answers when they are safe",
    .tasks = tasks,
    .configure = configure,
    .start = start,
    .drain = drain,
    .stop = stop,
    .health = health,
    .own_routes = ingest_routes,
    .listen = listen_on,
};
