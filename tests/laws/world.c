#include "world.h"

#include "law.h"
#include "rules.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct frequency_settings thresholds = {3, 5, 10};

static void fault(struct world *w, const char *what)
{
    if (!w->broken)
        w->broken = what;
}

void world_init(struct world *w, const struct history *h, struct arena *a)
{
    static const char *const alert_names[ANOMALIES + 1] = {"Disk", "Queue", "Link", OVERFLOW_ALERT};

    memset(w, 0, sizeof(*w));
    w->a = a;
    w->limits = h->limits;
    w->open_limit = h->open_limit;
    for (size_t i = 0; i <= ANOMALIES; i++) {
        w->anomalies[i].id.alert_name = slice_of(alert_names[i]);
        w->anomalies[i].id.key[0] = (unsigned char)i;
    }
    for (uint32_t i = 0; i < ALERTS; i++)
        w->alerts[i].row =
            (struct alert_row){.fingerprint = i + 1, .anomaly = &w->anomalies[anomaly_index(i)]};
}

/* ---- the table of occurrences ---- */

static size_t name_find(const struct world_alert *al, struct slice name)
{
    size_t i = 0;

    while (i < al->name_n && !slice_eq(al->names[i].name, name))
        i++;
    return i;
}

static bool name_insert(struct world_alert *al, struct slice name, int64_t at)
{
    if (name_find(al, name) < al->name_n)
        return false;
    al->names[al->name_n++] = (struct world_name){name, at};
    return true;
}

static bool name_delete(struct world_alert *al, struct slice name, int64_t *ret_at)
{
    const size_t i = name_find(al, name);

    if (i == al->name_n)
        return false;
    *ret_at = al->names[i].at;
    al->names[i] = al->names[--al->name_n];
    return true;
}

/* As the worker counts: what is gone goes first, and leaves its time to its new name. */
static void count(struct world *w, struct world_alert *al, struct change_list *l)
{
    for (size_t i = 0; i < l->gone_n; i++) {
        const struct gone *g = &l->gone[i];
        int64_t at = 0;
        if (!name_delete(al, g->identity, &at) || (g->into.p && name_insert(al, g->into, at)))
            continue;
        aggregate_uncount(&al->row, at);
        w->took_back = true;
    }
    for (size_t i = 0; i < l->n; i++) {
        struct change *c = &l->v[i];
        c->counted = c->occurrence.p && name_insert(al, c->occurrence, c->at);
    }
}

/* ---- what one report says ---- */

static struct {
    uint64_t late_ends, renamed;
} tried;

void world_tried(void)
{
    law_tried("an end that becomes known late is told with its own time", tried.late_ends);
    law_tried("an occurrence with a new name counts on at its old time", tried.renamed);
}

/* However late a report makes an end known, it was over when the end was reported. */
static void check_end(struct world *w, const struct change_list *l)
{
    const struct change *c = l->n > 0 ? &l->v[l->n - 1] : NULL;

    if (!c || c->kind != CHANGE_ENDED)
        return;
    if (c->at != l->state.ended_at)
        fault(w, "an end is told with another time than its own");
    tried.late_ends += c->at != c->order.at;
}

/* Of one report, what comes for something that goes is the same under a new name. */
static void check_names(struct world *w, const struct world_alert *was,
                        const struct world_alert *al, const struct change_list *l)
{
    const struct world_name *fresh = NULL;
    bool lost = false, at_its_time = false, counted = false;

    for (size_t i = 0; i < al->name_n; i++)
        if (name_find(was, al->names[i].name) == was->name_n)
            fresh = &al->names[i];
    for (size_t i = 0; i < was->name_n && fresh; i++) {
        if (name_find(al, was->names[i].name) < al->name_n)
            continue;
        lost = true;
        at_its_time |= was->names[i].at == fresh->at;
    }
    for (size_t i = 0; i < l->n; i++)
        counted |= l->v[i].counted;
    if (lost && (!at_its_time || counted))
        fault(w, "an occurrence with a new name does not count on at its old time");
    tried.renamed += lost;
}

/* ---- one batch ---- */

struct step {
    struct world_alert *al;
    uint32_t alert;
    const struct change *c;
    size_t seq;
};

struct step_list {
    struct step v[HISTORY_MAX * 5];
    size_t n;
};

static int step_cmp(const void *x, const void *y)
{
    const struct step *a = x, *b = y;
    const int c = order_cmp(&a->c->order, &b->c->order);

    if (c != 0)
        return c;
    if (a->alert != b->alert)
        return a->alert < b->alert ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

static int report_cmp(const void *x, const void *y)
{
    return order_cmp(&((const struct report *)x)->order, &((const struct report *)y)->order);
}

static size_t reports_of(const struct said *v, size_t n, uint32_t alert, struct report *ret)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (v[i].alert == alert && v[i].report.kind != REPORT_NOTE)
            ret[kept++] = v[i].report;
    qsort(ret, kept, sizeof(*ret), report_cmp);
    return kept;
}

/* Do the changes alone tell whether it fires? */
static void check_changes(struct world *w, const struct world_alert *al,
                          const struct change_list *l)
{
    bool firing = al->row.firing;

    for (size_t i = 0; i < l->n; i++) {
        const enum change_kind kind = l->v[i].kind;
        if ((kind == CHANGE_BEGAN) == firing)
            fault(w, "an alert that fires begins, or one that does not goes on or ends");
        firing = kind != CHANGE_ENDED;
    }
    if (firing != l->state.firing)
        fault(w, "the changes do not lead to the state");
}

static void change_alert(struct world *w, uint32_t alert, const struct said *v, size_t n,
                         struct step_list *steps)
{
    struct world_alert *al = &w->alerts[alert];
    const struct world_alert was = *al;
    struct report reports[HISTORY_MAX];
    struct facts facts;
    struct err e = {0};
    struct change_list *l = arena_new_of(w->a, struct change_list);
    const size_t said_n = reports_of(v, n, alert, reports);
    int rc = 0;

    if (said_n == 0)
        return;
    if (!l || facts_unpack(al->packed, &facts, &e) < 0) {
        fault(w, "packed facts do not come back");
        return;
    }
    if (v[0].input == SILENCE && facts.promise > v[0].report.order.at)
        return; /* nobody would judge it yet */
    if (v[0].input == SILENCE)
        rc = change_silence(&facts, v[0].report.order.at, &w->limits, w->a, l);
    else
        rc = change_run(&facts, reports, said_n, al->name_n > 0, &w->limits, w->a, l);
    if (rc < 0)
        fault(w, "no memory");
    check_changes(w, al, l);
    al->packed = facts_pack(&facts, w->a);
    al->state = l->state;
    count(w, al, l);
    if (said_n == 1) {
        check_end(w, l);
        check_names(w, &was, al, l);
    }
    for (size_t i = 0; i < l->n; i++)
        steps->v[steps->n++] = (struct step){al, alert, &l->v[i], i};
}

static void keep_incidents(struct world *w)
{
    for (size_t i = 0; i < w->news.n; i++) {
        if (w->news.v[i].kind != NEWS_OPENED)
            continue;
        if (w->incident_n == INCIDENTS_MAX)
            fault(w, "more incidents than this test can hold");
        else
            w->incidents[w->incident_n++] = w->news.v[i].incident;
    }
}

static void find_room(struct world *w, struct room *room)
{
    *room = (struct room){.left = w->open_limit, .overflow = &w->anomalies[ANOMALIES]};
    for (size_t i = 0; i < ANOMALIES; i++) {
        const struct incident *in = w->anomalies[i].incident;
        room->left -= in && in->status != INCIDENT_RESOLVED;
        w->anomalies[i].room = w->open_limit ? room : NULL;
    }
}

static void run_steps(struct world *w, struct step_list *steps)
{
    const struct aggregate_rules rules = {w->limits.window_ms, &thresholds};
    struct room room;

    find_room(w, &room);
    w->news = (struct news_list){.a = w->a};
    qsort(steps->v, steps->n, sizeof(steps->v[0]), step_cmp);
    for (size_t i = 0; i < steps->n; i++) {
        const struct step *s = &steps->v[i];
        const struct incident_words words = {.title = SLICE_LIT("It is ill"),
                                             .severity = severity_first(s->alert),
                                             .severity_again = severity_later(s->alert)};
        struct turn turn;
        rules_before(&turn, &s->al->row, s->c, &w->news, w->limits.window_ms);
        aggregate_apply(&s->al->row, s->c, &words, &rules, &w->news);
        const char *broken = rules_after(&turn);
        if (broken)
            fault(w, broken);
    }
    if (w->news.failed)
        fault(w, "no memory");
    keep_incidents(w);
}

/* ---- do the rows agree? ---- */

static bool is_open(const struct incident *in)
{
    return in->status != INCIDENT_RESOLVED;
}

static void check_incident(struct world *w, const struct incident *in)
{
    int32_t firing = 0;

    for (size_t i = 0; i < ALERTS; i++)
        firing += w->alerts[i].row.firing && w->alerts[i].row.incident == in;
    if (in->alerts_firing != firing)
        fault(w, "an incident miscounts the alerts that fire in it");
    if (!w->acted && is_open(in) != (firing > 0))
        fault(w, "an incident is open without an alert that fires, or over with one");
    if (in->occurrences < 0 || in->alerts_total < 1)
        fault(w, "an incident of nothing");
    if (is_open(in) == (in->resolved_at != 0) || is_open(in) == (in->resolved_by != 0))
        fault(w, "an incident half resolved");
}

static void check_alert(struct world *w, const struct world_alert *al)
{
    const struct alert_row *row = &al->row;

    if (row->firing != al->state.firing)
        fault(w, "an alert's row does not say what its facts say");
    if (!w->acted && row->firing && (!row->incident || !is_open(row->incident)))
        fault(w, "an alert that fires is in no open incident");
    if (row->firing != (al->state.ended_at == 0) && al->state.starts_at != 0)
        fault(w, "an alert that fires has an end, or one that is over has none");
}

/* Every occurrence is in its bucket, once. */
static void check_counts(struct world *w, struct anomaly_state *an)
{
    struct frequency f = an->frequency;
    int64_t sum = 0, in_incidents = 0;

    for (size_t i = 0; i < ALERTS; i++) {
        const struct world_alert *al = &w->alerts[i];
        if (al->row.anomaly != an)
            continue;
        sum += (int64_t)al->name_n;
        for (size_t j = 0; j < al->name_n; j++) {
            const uint32_t n = f.recent_n;
            frequency_remove(&f, al->names[j].at);
            if (f.recent_n + 1 != n)
                fault(w, "an occurrence is not in the bucket of its time");
        }
    }
    for (size_t i = 0; i < w->incident_n; i++)
        if (w->incidents[i]->anomaly == an)
            in_incidents += w->incidents[i]->occurrences;
    if (an->occurrences != sum || f.recent_n != 0)
        fault(w, "an anomaly counts other occurrences than the table has");
    if (!w->took_back && w->open_limit == 0 && in_incidents != sum)
        fault(w, "the incidents count other occurrences than the table has");
}

struct before {
    enum severity severity[INCIDENTS_MAX];
    bool open[INCIDENTS_MAX], held[INCIDENTS_MAX];
    size_t n;
};

static void note_before(const struct world *w, struct before *b)
{
    b->n = w->incident_n;
    for (size_t i = 0; i < b->n; i++) {
        const struct incident *in = w->incidents[i];
        b->severity[i] = in->severity;
        b->open[i] = is_open(in);
        b->held[i] = !is_open(in) && in->resolved_by == RESOLVED_BY_PERSON;
    }
}

static bool counted_one(const struct step_list *steps)
{
    for (size_t i = 0; i < steps->n; i++)
        if (steps->v[i].c->counted)
            return true;
    return false;
}

static void check_after(struct world *w, const struct before *b, const struct step_list *steps)
{
    for (size_t i = 0; i < b->n; i++) {
        if (w->incidents[i]->severity < b->severity[i])
            fault(w, "a severity was lowered");
        if (b->held[i] && is_open(w->incidents[i]) && !counted_one(steps))
            fault(w, "a manual resolve was undone without a new occurrence");
    }
    for (size_t i = 0; i < w->incident_n; i++)
        check_incident(w, w->incidents[i]);
    for (size_t i = 0; i < ALERTS; i++)
        check_alert(w, &w->alerts[i]);
    for (size_t i = 0; i < ANOMALIES; i++)
        check_counts(w, &w->anomalies[i]);
}

/* ---- running ---- */

static void resolve_by_hand(struct world *w, const struct said *s)
{
    struct incident *in = w->anomalies[anomaly_index(s->alert)].incident;

    if (!in || !is_open(in))
        return;
    in->status = INCIDENT_RESOLVED;
    in->resolved_by = RESOLVED_BY_PERSON;
    in->resolved_at = s->report.order.at;
    w->acted = true;
}

void world_batch(struct world *w, const struct said *v, size_t n)
{
    struct step_list *steps = calloc(1, sizeof(*steps));
    struct before before;

    if (!steps || n == 0) {
        free(steps);
        return;
    }
    note_before(w, &before);
    if (v[0].input == BY_HAND) {
        resolve_by_hand(w, v);
    } else if (v[0].input == SAID || w->alerts[v[0].alert].row.firing) {
        for (uint32_t i = 0; i < ALERTS; i++)
            change_alert(w, i, v, n, steps);
        run_steps(w, steps);
        check_after(w, &before, steps);
    }
    free(steps);
}

void world_run(struct world *w, const struct history *h, bool whole)
{
    size_t from = 0;

    for (size_t i = 0; i < h->n; i++) {
        const struct said *s = &h->v[i], *next = i + 1 < h->n ? s + 1 : NULL;
        const bool must =
            !next || s->input != SAID || next->input != SAID || (s->earlier && !next->earlier);
        if (!must && (whole || !s->cut))
            continue;
        world_batch(w, &h->v[from], i + 1 - from);
        from = i + 1;
    }
}

/* ---- comparing ---- */

static int by_name(const void *x, const void *y)
{
    return slice_cmp(((const struct world_name *)x)->name, ((const struct world_name *)y)->name);
}

static const char *alerts_differ(struct world_alert *x, struct world_alert *y)
{
    if (x->state.firing != y->state.firing)
        return "an alert fires here, and there it does not";
    if (x->state.starts_at != y->state.starts_at)
        return "an alert has two starts";
    if (x->state.ended_at != y->state.ended_at || x->state.by_silence != y->state.by_silence)
        return "an alert ended twice";
    if (x->name_n != y->name_n)
        return "an alert has not the same number of occurrences";
    qsort(x->names, x->name_n, sizeof(x->names[0]), by_name);
    qsort(y->names, y->name_n, sizeof(y->names[0]), by_name);
    for (size_t i = 0; i < x->name_n; i++)
        if (!slice_eq(x->names[i].name, y->names[i].name))
            return "an alert has not the same occurrences";
    return NULL;
}

static const char *told_differs(const struct incident *x, const struct incident *y)
{
    if (uuid_cmp(&x->id, &y->id) != 0)
        return "an incident has two names";
    if (x->severity != y->severity || x->level != y->level || x->opened_level != y->opened_level)
        return "an incident has two severities or levels";
    if (x->episode != y->episode || x->resolved_by != y->resolved_by)
        return "an incident ended in two ways";
    if (x->opened_at != y->opened_at || x->resolved_at != y->resolved_at ||
        x->window_start != y->window_start || x->last_seen != y->last_seen ||
        x->updated_at != y->updated_at)
        return "an incident has two times";
    return NULL;
}

static int by_count(const void *x, const void *y)
{
    const struct incident *a = *(struct incident *const *)x, *b = *(struct incident *const *)y;
    const int64_t ka[] = {a->anomaly->id.key[0], (int64_t)a->status, a->occurrences,
                          a->alerts_firing, a->alerts_total},
                  kb[] = {b->anomaly->id.key[0], (int64_t)b->status, b->occurrences,
                          b->alerts_firing, b->alerts_total};

    for (size_t i = 0; i < 5; i++)
        if (ka[i] != kb[i])
            return ka[i] < kb[i] ? -1 : 1;
    return 0;
}

const char *world_differs(struct world *one, struct world *other, bool exactly)
{
    for (size_t i = 0; i < ALERTS; i++) {
        const char *why = alerts_differ(&one->alerts[i], &other->alerts[i]);
        if (why)
            return why;
    }
    for (size_t i = 0; i < ANOMALIES; i++)
        if (one->anomalies[i].occurrences != other->anomalies[i].occurrences)
            return "an anomaly has two counts";
    if (one->incident_n != other->incident_n)
        return "there are not as many incidents";
    if (!exactly) {
        qsort(one->incidents, one->incident_n, sizeof(struct incident *), by_count);
        qsort(other->incidents, other->incident_n, sizeof(struct incident *), by_count);
    }
    for (size_t i = 0; i < one->incident_n; i++) {
        const char *why = exactly ? told_differs(one->incidents[i], other->incidents[i]) : NULL;
        if (why)
            return why;
        if (by_count(&one->incidents[i], &other->incidents[i]) != 0)
            return "an incident is two";
    }
    return NULL;
}
