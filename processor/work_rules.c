/* Rules that come into force while an incident is open: a rate that is exceeded, a fingerprint that
 * is known only later. */

#include "processor/work.h"

int work_labels(struct work *w, const struct alert_work *al, const struct change *c,
                enum severity severity, struct labels *ret, struct err *e)
{
    struct labels own = {0};
    struct slice source = al->source;

    if (al->said) {
        own = al->said[c->report]->event->labels;
        source = slice_of(al->said[c->report]->source->name);
    } else if (labels_from_json(w->a, al->labels_json, &own, e) < 0) {
        return e->code;
    }
    return route_labels(w->a, own, severity, source, ret) < 0 ? batch_too_large(e) : 0;
}

/* ---- rates ---- */

/* Once per alert and severity, however often it occurs in this unit. */
static int rated(struct work *w, struct alert_work *al, const struct news *n,
                 enum severity severity, uint64_t *ret, struct err *e)
{
    struct labels labels;
    int rc;

    if (al->rated_for != n->incident->words.p)
        al->rated_known = 0;
    al->rated_for = n->incident->words.p;
    if (!(al->rated_known >> severity & 1)) {
        if ((rc = work_labels(w, al, n->change, severity, &labels, e)) < 0)
            return rc;
        const struct rule_facts facts = {.labels = labels,
                                         .severity = severity,
                                         .source = n->incident->source,
                                         .fingerprint = n->incident->words};
        al->rated[severity] = rules_rated(w->rules, &facts);
        al->rated_known |= 1U << severity;
    }
    *ret = al->rated[severity];
    return 0;
}

static int count_as(struct work *w, struct alert_work *al, struct news n, enum severity severity,
                    struct err *e)
{
    const struct anomaly_state *an = al->row.anomaly;
    uint64_t bits = 0;
    int rc = rated(w, al, &n, severity, &bits, e);

    if (rc < 0 || bits == 0)
        return rc;
    n.rule = rules_cross(w->rules, bits, n.incident->crossed, &an->frequency, an->last_seen,
                         &n.rule_count);
    if (!n.rule)
        return 0;
    n.incident->crossed |= UINT64_C(1) << n.rule->rate.bit;
    n.incident->dirty = true;
    n.kind = NEWS_RULE;
    n.severity = severity;
    n.crossed = n.incident->crossed;
    news_tell(&w->news, n);
    return 0;
}

/* The incident is told by its own severity, digests by that of each occurrence. */
int rules_count(struct work *w, struct alert_work *al, const struct change *c, size_t from,
                struct err *e)
{
    if (w->news.n == from)
        return 0;
    for (size_t i = from; i < w->news.n; i++)
        w->news.v[i].crossed = w->news.v[i].incident->crossed;
    const struct news n = w->news.v[from];
    if (!w->rules || w->rules->rated_n == 0 || !c->counted || c->kind == CHANGE_ENDED ||
        n.incident->status == INCIDENT_RESOLVED || slice_is(n.incident->alert_name, OVERFLOW_ALERT))
        return 0;
    int rc = count_as(w, al, n, n.incident->severity, e);
    if (rc == 0 && n.severity != n.incident->severity)
        rc = count_as(w, al, n, n.severity, e);
    return rc;
}

/* ---- fingerprints ---- */

/* The open incident that an alert of this unit is in, or will join. */
static struct incident *open_incident_of(const struct alert_work *al)
{
    struct incident *i = al->row.incident;

    if (!i && al->touched && al->row.anomaly)
        i = al->row.anomaly->incident;
    return i && i->status != INCIDENT_RESOLVED ? i : NULL;
}

static int learn(struct work *w, const struct alert_work *al, size_t report, struct incident *i,
                 struct err *e)
{
    const struct input *in = al->said[report];
    struct change *c = arena_new_of(w->a, struct change);
    struct labels labels;
    int rc;

    if (!c)
        return batch_too_large(e);
    *c = (struct change){.kind = CHANGE_AGAIN,
                         .order = in->report.order,
                         .at = in->report.order.at,
                         .report = report};
    if ((rc = work_labels(w, al, c, i->severity, &labels, e)) < 0)
        return rc;
    struct rule_facts facts = {
        .labels = labels, .severity = i->severity, .source = i->source, .crossed = i->crossed};
    const struct rule *before = rules_match(w->rules, &facts);
    facts.fingerprint = i->words = in->event->words;
    i->dirty = true;
    const struct news n = {.kind = NEWS_RULE,
                           .incident = i,
                           .alert = &al->row,
                           .change = c,
                           .severity = i->severity,
                           .rule = rules_match(w->rules, &facts),
                           .crossed = i->crossed};
    if (n.rule != before)
        news_tell(&w->news, n);
    return w->news.failed ? batch_too_large(e) : 0;
}

int rules_learn(struct work *w, struct err *e)
{
    int rc = 0;

    for (size_t k = 0; w->rules && k < w->alert_n && rc == 0; k++) {
        const struct alert_work *al = &w->alerts[k];
        struct incident *i = open_incident_of(al);

        for (size_t r = 0; i && i->words.len == 0 && r < al->said_n && rc == 0; r++)
            if (al->said[r]->event->words.len > 0)
                rc = learn(w, al, r, i, e);
    }
    return rc;
}
