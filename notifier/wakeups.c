#include "notifier/wakeups.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/kafka.h"
#include "common/log.h"

#define POLL_MAX 256
#define POLL_MS 500
#define BROKER_TIMEOUT 3000

struct wakeups {
    struct desk *desk;
    struct kafka_consumer *consumer;
    char **topics;
    size_t topic_n;
    pthread_t thread;
    atomic_bool stop;
};

/* From now on; what is older the desk finds itself, at once. */
static int assigned(void *ctx, struct kafka_partition *p, size_t n, struct err *e)
{
    struct wakeups *w = ctx;
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        int64_t low, high;
        r = kafka_query_watermarks(w->consumer, p[i].topic, p[i].partition, BROKER_TIMEOUT, &low,
                                   &high, e);
        if (r == 0)
            p[i].offset = high;
    }
    if (r == 0)
        desk_hears(w->desk, true);
    return r;
}

static void revoked(void *ctx, const struct kafka_partition *p, size_t n, bool lost)
{
    const struct wakeups *w = ctx;

    (void)p;
    (void)n;
    (void)lost;
    desk_hears(w->desk, false);
}

static void pass_on(struct wakeups *w, const struct kafka_message *m)
{
    struct slice tenant = kafka_message_header(m, "tenant");
    struct uuid id;

    if (tenant.len > 0 && uuid_parse(m->value, &id))
        desk_wake(w->desk, tenant, &id);
}

static void *run(void *ctx)
{
    struct wakeups *w = ctx;
    struct kafka_message m[POLL_MAX];
    static struct log_limit limit = {.per_minute = 6};

    while (!atomic_load(&w->stop)) {
        struct err e = {0};
        uint32_t dropped;
        int n = kafka_poll(w->consumer, m, POLL_MAX, POLL_MS, &e);

        if (n < 0 && log_allow(&limit, &dropped))
            log_warn(EV("wakeups_trouble"), KV("reason", (const char *)e.msg),
                     KV("dropped", dropped));
        for (int i = 0; i < n; i++) {
            struct kafka_partition next = {.partition = m[i].partition, .offset = m[i].offset + 1};
            (void)snprintf(next.topic, sizeof(next.topic), "%s", m[i].topic);
            pass_on(w, &m[i]);
            if (i + 1 == n || m[i + 1].partition != m[i].partition)
                kafka_commit_hint(w->consumer, &next, 1);
            kafka_message_free(&m[i]);
        }
    }
    kafka_consumer_free(w->consumer);
    return NULL;
}

static void dispose(struct wakeups *w)
{
    for (size_t i = 0; w->topics && i < w->topic_n; i++)
        free(w->topics[i]);
    free(w->topics);
    free(w);
}

static bool make_topics(struct wakeups *w, const struct channel *const *channels, size_t n)
{
    w->topics = calloc(n + 1, sizeof(*w->topics));
    for (size_t i = 0; w->topics && i < n; i++) {
        size_t len = strlen(channels[i]->name) + sizeof("notify.");
        char *name = malloc(len);
        if (!name)
            return false;
        (void)snprintf(name, len, "notify.%s", channels[i]->name);
        w->topics[w->topic_n++] = name;
    }
    return w->topics != NULL;
}

int wakeups_new(const struct kafka_settings *s, const struct channel *const *channels, size_t n,
                struct desk *desk, struct wakeups **ret, struct err *e)
{
    struct wakeups *w = calloc(1, sizeof(*w));

    if (!w || !make_topics(w, channels, n)) {
        if (w)
            dispose(w);
        return err_set(e, -ENOMEM, "out of memory");
    }
    w->desk = desk;
    struct kafka_consumer_options o = {.group = "notifier",
                                       .topics = (const char *const *)w->topics,
                                       .assigned = assigned,
                                       .revoked = revoked,
                                       .ctx = w};
    int r = kafka_consumer_new(s, &o, &w->consumer, e);
    if (r == 0 && (r = pthread_create(&w->thread, NULL, run, w)) != 0) {
        kafka_consumer_free(w->consumer);
        r = err_set(e, -r, "cannot start a thread");
    }
    if (r < 0) {
        dispose(w);
        return r;
    }
    *ret = w;
    return 0;
}

void wakeups_free(struct wakeups *w)
{
    if (!w)
        return;
    atomic_store(&w->stop, true);
    (void)pthread_join(w->thread, NULL);
    dispose(w);
}
