/* What happened to incidents, for people to read. */
#include <inttypes.h>

#include "processor/work.h"

struct entries {
    struct slice *tenant, *cause, *kind, *actor, *body;
    struct uuid *incident;
    int64_t *at;
    size_t n;
};

static const char *entry_text(struct arena *a, const struct news *n, const struct alert_work *al)
{
    switch (n->kind) {
    case NEWS_OPENED:
        return arena_printf(a, "%.*s", SLICE_FMT(n->incident->title));
    case NEWS_REOPENED:
        return arena_printf(a, "fires again within the aggregation window");
    case NEWS_CROSSED:
        return arena_printf(a, "%s: %" PRIu64 " occurrences in 24 h; severity %s -> %s",
                            escalation_level_name(n->level), n->count_24h,
                            severity_name(n->severity_before), severity_name(n->severity));
    case NEWS_SEVERITY:
        return arena_printf(a, "severity %s -> %s", severity_name(n->severity_before),
                            severity_name(n->severity));
    case NEWS_RULE:
        if (!n->rule)
            return "no rule from here on: by the sender's fingerprint";
        return n->rule_count > 0
                   ? arena_printf(a, "rule \"%s\" from here on: %" PRIu64 " occurrences, %s",
                                  n->rule->name, n->rule_count, n->rule->rate.text)
                   : arena_printf(a, "rule \"%s\" from here on: by the sender's fingerprint",
                                  n->rule->name);
    case NEWS_RESOLVED:
        if (n->change->by_silence)
            return "no report any more: ended by silence";
        if (al->said && al->said[n->change->report]->event->note.len > 0)
            return arena_printf(a, "%.*s", SLICE_FMT(al->said[n->change->report]->event->note));
        return "the last alert ended";
    case NEWS_RECURRED:
    case NEWS_ALERT_ENDED:
        break;
    }
    return NULL;
}

/* alert_row is the first member of alert_work. */
static const struct alert_work *work_of(const struct alert_row *row)
{
    return (const struct alert_work *)(const void *)row;
}

static bool add_news_entry(struct work *w, struct entries *t, const struct news *n)
{
    const struct alert_work *al = work_of(n->alert);
    const struct order *o = &n->change->order;
    char request[UUID_STR];

    if (n->kind == NEWS_RECURRED || n->kind == NEWS_ALERT_ENDED)
        return true;
    const char *body = entry_text(w->a, n, al);
    const char *cause = arena_printf(w->a, "%s:%" PRIu32 ":%s%s", uuid_format(&o->request, request),
                                     o->index, news_name(n->kind),
                                     n->kind == NEWS_CROSSED ? escalation_level_name(n->level)
                                     : n->rule               ? n->rule->name
                                                             : "");
    if (!body || !cause)
        return false;
    const size_t i = t->n++;
    t->tenant[i] = n->alert->tenant;
    t->incident[i] = n->incident->id;
    t->at[i] = n->change->at;
    t->cause[i] = slice_of(cause);
    t->kind[i] = slice_of(n->kind == NEWS_RESOLVED && n->change->by_silence ? "expired"
                                                                            : news_name(n->kind));
    t->actor[i] = al->said ? al->said[n->change->report]->event->actor : SLICE_LIT("");
    t->body[i] = slice_of(body);
    return true;
}

/* The incident that was acknowledged by it; NULL: none. */
static const struct incident *acknowledged_by(const struct work *w, const struct input *in)
{
    for (size_t i = 0; in->event->acknowledges && i < w->acknowledged_n; i++)
        if (w->acknowledged[i].input == in)
            return w->acknowledged[i].incident;
    return NULL;
}

static bool add_note_entry(struct work *w, struct entries *t, const struct alert_work *al,
                           const struct input *in)
{
    const struct incident *acted = acknowledged_by(w, in);
    char request[UUID_STR];

    if (in->report.kind != REPORT_NOTE || (!al->row.incident && !al->has_incident))
        return true;
    const char *cause =
        arena_printf(w->a, "%s:%" PRIu32 ":note", uuid_format(&in->report.order.request, request),
                     in->report.order.index);
    if (!cause)
        return false;
    const size_t i = t->n++;
    t->tenant[i] = al->row.tenant;
    t->incident[i] = acted ? acted->id : al->row.incident ? al->row.incident->id : al->incident_id;
    t->at[i] = in->report.order.at;
    t->cause[i] = slice_of(cause);
    t->kind[i] = acted ? SLICE_LIT("status") : SLICE_LIT("note");
    t->actor[i] = in->event->actor;
    t->body[i] = in->event->note.p ? in->event->note : in->event->title;
    return true;
}

/* At most one for each alert with a report that is no note, so there is room for it. */
static bool add_recovered_entry(struct work *w, struct entries *t, const struct alert_work *al)
{
    char request[UUID_STR];

    if (!al->recovered || al->said_n == 0 || (!al->row.incident && !al->has_incident))
        return true;
    const struct order *o = &al->said[0]->report.order;
    const char *cause =
        arena_printf(w->a, "%s:%" PRIu32 ":facts", uuid_format(&o->request, request), o->index);
    if (!cause)
        return false;
    const size_t i = t->n++;
    t->tenant[i] = al->row.tenant;
    t->incident[i] = al->row.incident ? al->row.incident->id : al->incident_id;
    t->at[i] = o->at;
    t->cause[i] = slice_of(cause);
    t->kind[i] = SLICE_LIT("note");
    t->actor[i] = SLICE_LIT("");
    t->body[i] = SLICE_LIT("what an alert's earlier reports said could not be read; they may be "
                           "counted again");
    return true;
}

int timeline_store(struct work *w, struct pg *pg, struct err *e)
{
    const size_t cap = w->news.n + w->input_n + 1;
    struct slice *text = arena_array(w->a, 5 * cap, struct slice);
    struct entries t = {.incident = arena_array(w->a, cap, struct uuid),
                        .at = arena_array(w->a, cap, int64_t)};
    struct pg_args *p = pg_args(w->a);
    bool ok = true;

    if (!text || !t.incident || !t.at)
        return batch_too_large(e);
    t.tenant = text;
    t.cause = text + cap;
    t.kind = text + 2 * cap;
    t.actor = text + 3 * cap;
    t.body = text + 4 * cap;
    for (size_t i = 0; i < w->news.n && ok; i++)
        ok = add_news_entry(w, &t, &w->news.v[i]);
    for (size_t i = 0; i < w->alert_n && ok; i++) {
        ok = add_recovered_entry(w, &t, &w->alerts[i]);
        for (size_t j = 0; j < w->alerts[i].input_n && ok; j++)
            ok = add_note_entry(w, &t, &w->alerts[i], w->alerts[i].inputs[j]);
    }
    if (!ok)
        return batch_too_large(e);
    if (t.n == 0)
        return 0;
    pg_texts(p, t.tenant, t.n);
    pg_uuids(p, t.incident, t.n);
    pg_ints(p, t.at, t.n);
    pg_texts(p, t.cause, t.n);
    pg_texts(p, t.kind, t.n);
    pg_texts(p, t.actor, t.n);
    pg_texts(p, t.body, t.n);
    return pg_send(pg,
                   "INSERT INTO timeline (tenant, incident_id, at, cause, kind, actor, body) "
                   "SELECT t, i, at, c, k, coalesce(a, ''), coalesce(b, '') "
                   "FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::text[], $5::text[], "
                   "$6::text[], $7::text[]) x(t, i, at, c, k, a, b) "
                   "ON CONFLICT DO NOTHING",
                   p, NULL, e);
}
