#include "notifier/counts.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "notifier/fallback.h"

#define OUTCOMES 3
#define REASONS 4

static const char *const outcomes[OUTCOMES] = {"delivered", "retry", "rejected"};
static const char *const reasons[REASONS] = {"clientError", "serverError",
                                             "contextDeadlineExceeded", "other"};

struct of_channel {
    const struct channel *channel;
    struct counter *total, *failed[REASONS], *outcomes[OUTCOMES], *ends[LIFE_EVENTS];
    struct histogram *latency, *age;
};

struct counts {
    struct of_channel *v;
    size_t n;
    struct gauge *under_way, *shut;
    struct counter *fallbacks;
};

static void make_labels(char out[160], const char *channel, const char *name, const char *value)
{
    if (name)
        (void)snprintf(out, 160, "%s=\"%s\",%s=\"%s\"", name[0] == 'r' ? "integration" : "channel",
                       channel, name, value);
    else
        (void)snprintf(out, 160, "integration=\"%s\"", channel);
}

static void init(struct of_channel *c)
{
    static const double ages[] = {1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400};
    const char *name = c->channel->name;
    char labels[160];

    make_labels(labels, name, NULL, NULL);
    c->total = counter_new("alertmanager_notifications_total",
                           "Notifications that ended delivered or failed.", labels);
    c->latency = histogram_new("alertmanager_notification_latency_seconds", "Time of one attempt.",
                               labels, latency_bounds, latency_bound_n);
    c->age = histogram_new("tocsin_notification_age_seconds",
                           "From the message's making to its delivery.", labels, ages,
                           sizeof(ages) / sizeof(*ages));
    for (size_t i = 0; i < REASONS; i++) {
        make_labels(labels, name, "reason", reasons[i]);
        c->failed[i] = counter_new("alertmanager_notifications_failed_total",
                                   "Notifications that failed.", labels);
    }
    for (size_t i = 0; i < OUTCOMES; i++) {
        make_labels(labels, name, "outcome", outcomes[i]);
        c->outcomes[i] = counter_new("tocsin_deliveries_total", "Attempts by outcome.", labels);
    }
    for (enum life_event e = LIFE_RELEASE; e < LIFE_EVENTS; e++) {
        make_labels(labels, name, "state", life_state_name(life_to(e)));
        c->ends[e] = counter_new("tocsin_notifications_moved_total",
                                 "Notifications by the state they went to.", labels);
    }
}

struct counts *counts_new(const struct channel *const *channels, size_t n)
{
    struct counts *c = calloc(1, sizeof(*c));
    struct of_channel *v = calloc(n + 1, sizeof(*v));

    if (!c || !v)
        abort(); /* at the start, as the metrics themselves do */
    for (size_t i = 0; i < n; i++) {
        v[i].channel = channels[i];
        init(&v[i]);
    }
    c->v = v;
    c->n = n;
    c->shut = gauge_new("tocsin_notifier_destinations_shut",
                        "Destinations that are left alone because they do not answer.", "");
    c->fallbacks = counter_new("tocsin_notifier_fallbacks_total",
                               "Failed messages that a fallback was told instead.", "");
    c->under_way = gauge_new("tocsin_notifier_requests", "Requests under way.", "");
    return c;
}

void counts_free(struct counts *c)
{
    if (!c)
        return;
    free(c->v);
    free(c);
}

static struct of_channel *find(struct counts *c, const struct job *j)
{
    for (size_t i = 0; j->outlet && i < c->n; i++)
        if (c->v[i].channel == j->outlet->channel)
            return &c->v[i];
    return NULL;
}

void counts_answer(struct counts *c, const struct job *j)
{
    struct of_channel *of = find(c, j);

    if (!of)
        return;
    histogram_observe(of->latency, (double)j->duration_ms / 1000);
    counter_add(of->outcomes[j->end == LIFE_ACCEPT ? 0 : j->end == LIFE_GIVE_UP ? 2 : 1], 1);
}

static size_t reason_of(const struct job *j)
{
    if (j->status >= 500)
        return 1;
    if (j->status >= 400)
        return 0;
    return j->attempted && j->status == 0 ? 2 : 3;
}

void counts_end(struct counts *c, const struct job *j)
{
    struct of_channel *of = find(c, j);

    if (!of || j->end < LIFE_RELEASE || j->end >= LIFE_EVENTS)
        return;
    counter_add(of->ends[j->end], 1);
    if (j->end != LIFE_ACCEPT && life_to(j->end) != LIFE_FAILED)
        return;
    if (j->end != LIFE_REFUTE) /* it was counted when the channel took it */
        counter_add(of->total, 1);
    if (fallback_of(j, NULL))
        counter_add(c->fallbacks, 1);
    if (life_to(j->end) == LIFE_FAILED)
        counter_add(of->failed[reason_of(j)], 1);
    else
        histogram_observe(of->age, (double)(j->ended_at - j->created_at) / 1000);
}

void counts_shut(struct counts *c, size_t n)
{
    gauge_set(c->shut, (int64_t)n);
}

void counts_under_way(struct counts *c, uint32_t n)
{
    gauge_set(c->under_way, n);
}
