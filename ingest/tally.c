#include "ingest/tally.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/metrics.h"

static const unsigned codes[] = {200, 202, 400, 401, 404, 405, 413, 415, 422, 503};
#define CODES (sizeof(codes) / sizeof(codes[0]))

struct row {
    const struct source_entry *entry; /* NULL: none */
    struct counter *answers[CODES + 1], *alerts;
};

struct tally {
    struct row *v;
    size_t n;
    struct counter *firing, *resolved, *invalid;
};

static void make_row(struct row *r, const struct source_entry *entry)
{
    char labels[160];
    const char *name = entry ? entry->name : "";
    r->entry = entry;
    for (size_t i = 0; i <= CODES; i++) {
        if (i < CODES)
            (void)snprintf(labels, sizeof(labels), "source=\"%s\",code=\"%u\"", name, codes[i]);
        else
            (void)snprintf(labels, sizeof(labels), "source=\"%s\",code=\"other\"", name);
        r->answers[i] =
            counter_new("tocsin_ingest_requests_total", "Requests by source and answer.", labels);
    }
    (void)snprintf(labels, sizeof(labels), "source=\"%s\"", name);
    r->alerts = counter_new("tocsin_ingest_alerts_total", "Alerts taken in, by source.", labels);
}

struct tally *tally_new(const struct source_entries *entries)
{
    struct tally *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->n = entries->n + 1;
    t->v = calloc(t->n, sizeof(*t->v));
    if (!t->v) {
        free(t);
        return NULL;
    }
    for (size_t i = 0; i < t->n; i++)
        make_row(&t->v[i], i < entries->n ? &entries->v[i] : NULL);
    /* By Alertmanager's names, for the dashboards that read them. */
    static const char received[] = "alertmanager_alerts_received_total",
                      help[] = "Alerts taken in.";
    t->firing = counter_new(received, help, "status=\"firing\",version=\"v2\"");
    t->resolved = counter_new(received, help, "status=\"resolved\",version=\"v2\"");
    t->invalid = counter_new("alertmanager_alerts_invalid_total", "Alerts left out as invalid.",
                             "version=\"v2\"");
    return t;
}

void tally_free(struct tally *t)
{
    if (!t)
        return;
    free(t->v);
    free(t);
}

static struct row *row_of(struct tally *t, const struct source_entry *entry)
{
    for (size_t i = 0; i + 1 < t->n; i++)
        if (t->v[i].entry == entry)
            return &t->v[i];
    return &t->v[t->n - 1];
}

void tally_answer(struct tally *t, const struct source_entry *entry, unsigned status)
{
    size_t i = 0;
    while (i < CODES && codes[i] != status)
        i++;
    counter_add(row_of(t, entry)->answers[i], 1);
}

void tally_alerts(struct tally *t, const struct source_entry *entry, const struct filing *f)
{
    counter_add(row_of(t, entry)->alerts, f->alerts);
    counter_add(t->firing, f->alerts - f->resolved);
    counter_add(t->resolved, f->resolved);
    counter_add(t->invalid, f->invalid);
}
