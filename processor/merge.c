/* The facts of one alert and the state they add up to. The rules stand in merge.h. */
#include "processor/merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int order_cmp(const struct order *a, const struct order *b)
{
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    const int c = uuid_cmp(&a->request, &b->request);
    if (c != 0)
        return c;
    return (a->index > b->index) - (a->index < b->index);
}

static bool before(const struct order *a, const struct order *b)
{
    return a->at != b->at ? a->at < b->at : order_cmp(a, b) < 0;
}

/* The lists are as long as they say; what lies behind is nobody's. */
void facts_init(struct facts *f)
{
    f->start_n = f->end_n = f->mark_n = 0;
    f->promise = 0;
    f->newest = (struct order){0};
}

static void widen(struct order *first, struct order *last, const struct order *o)
{
    if (before(o, first))
        *first = *o;
    if (before(last, o))
        *last = *o;
}

/* ---- is it over? ---- */

/* When the end closed what was last reported at `last`: by its first report after that. */
static int64_t closed_at(const struct fact_end *e, const struct order *last)
{
    if (e->silence)
        return e->end;
    return before(last, &e->first) ? e->first.at : e->last.at;
}

/* The end that closed what began at `start` and was last reported at `last`: the first to do so.
 * NULL: it is not over. */
static const struct fact_end *end_of(const struct facts *f, int64_t start, const struct order *last)
{
    const struct fact_end *found = NULL;

    for (uint32_t i = 0; i < f->end_n; i++) {
        const struct fact_end *e = &f->ends[i];
        if (e->end < start || !before(last, &e->last) || e->undone)
            continue;
        const int64_t at = closed_at(e, last), best = found ? closed_at(found, last) : 0;
        if (!found || at < best || (at == best && found->silence))
            found = e;
    }
    return found;
}

static bool start_is_over(const struct facts *f, uint32_t i)
{
    return end_of(f, f->starts[i].start, &f->starts[i].last) != NULL;
}

/* ---- deriving ---- */

/* Was what the cover holds over before `next` began? `newest`: the latest start in it, `heard`: its
 * last firing report; an end that a later firing overruled is none. */
static bool over_before(const struct facts *f, int64_t newest, const struct order *heard,
                        int64_t next)
{
    for (uint32_t i = 0; i < f->end_n; i++) {
        const struct fact_end *e = &f->ends[i];
        if (e->end >= newest && e->end < next && before(heard, &e->last) && !e->undone)
            return true;
    }
    return false;
}

/* Was what the mark `a` began over when the mark `b` came? */
static bool over_between(const struct facts *f, const struct order *a, const struct order *b)
{
    for (uint32_t i = 0; i < f->end_n; i++) {
        const struct fact_end *e = &f->ends[i];
        if (e->end >= a->at && !e->undone &&
            ((before(a, &e->first) && before(&e->first, b)) ||
             (before(a, &e->last) && before(&e->last, b))))
            return true;
    }
    return false;
}

static struct occurrence *add_occurrence(struct derived *d, struct occurrence o)
{
    d->occurrences[d->occurrence_n] = o;
    return &d->occurrences[d->occurrence_n++];
}

static void derive_starts(const struct facts *f, int64_t window, struct derived *ret)
{
    struct occurrence *current = NULL;
    const struct order *heard = NULL;

    for (uint32_t i = 0; i < f->start_n; i++) {
        const struct fact_start *s = &f->starts[i];
        const bool joins = current && (s->start <= heard->at ||
                                       (s->start - heard->at <= window &&
                                        !over_before(f, f->starts[i - 1].start, heard, s->start)));
        if (!joins) {
            current = add_occurrence(ret, (struct occurrence){BY_START, s->start, s->first});
            heard = &s->last;
        } else {
            if (before(&s->first, &current->order))
                current->order = s->first;
            if (before(heard, &s->last))
                heard = &s->last;
        }
        if (!start_is_over(f, i)) {
            if (!ret->state.firing)
                ret->state.starts_at = current->start;
            ret->state.firing = true;
        } else if (!ret->state.firing) {
            ret->state.starts_at = current->start;
        }
    }
}

/* Marks between two ends are a run. A run's OPENED counts only when no event is in it; its first
 * FIRING always does. */
static void derive_run(const struct facts *f, uint32_t from, uint32_t to, struct derived *ret)
{
    const struct fact_mark *firing = NULL, *opened = NULL;
    bool events = false;

    for (uint32_t i = from; i < to; i++) {
        const struct fact_mark *m = &f->marks[i];
        if (m->kind == REPORT_FIRING && !firing)
            firing = m;
        if (m->kind == REPORT_OPENED && !opened)
            opened = m;
        events |= m->kind == REPORT_OCCURRED;
    }
    if (firing)
        (void)add_occurrence(ret, (struct occurrence){BY_MARK, firing->order.at, firing->order});
    if (opened && !events)
        (void)add_occurrence(ret, (struct occurrence){BY_MARK, opened->order.at, opened->order});
}

static void derive_marks(const struct facts *f, struct derived *ret)
{
    uint32_t from = 0;

    for (uint32_t i = 1; i <= f->mark_n; i++) {
        if (i < f->mark_n && !over_between(f, &f->marks[i - 1].order, &f->marks[i].order))
            continue;
        derive_run(f, from, i, ret);
        if (i == f->mark_n) {
            const struct order *last = &f->marks[i - 1].order;
            const int64_t begin = f->marks[from].order.at;
            const bool open = !end_of(f, last->at, last);
            if (ret->state.starts_at == 0 || (open && !ret->state.firing))
                ret->state.starts_at = begin;
            ret->state.firing |= open;
        }
        from = i;
    }
}

/* The alert was over when the last of what it had begun was. */
static void derive_end(const struct facts *f, struct derived *ret)
{
    for (uint32_t i = 0; i < f->start_n + (f->mark_n > 0); i++) {
        const struct order *last =
            i < f->start_n ? &f->starts[i].last : &f->marks[f->mark_n - 1].order;
        const struct fact_end *e = end_of(f, i < f->start_n ? f->starts[i].start : last->at, last);
        if (e && closed_at(e, last) > ret->state.ended_at) {
            ret->state.ended_at = closed_at(e, last);
            ret->state.by_silence = e->silence;
        }
    }
}

void facts_derive(const struct facts *f, const struct merge_limits *lim, struct derived *ret)
{
    ret->state = (struct alert_state){0};
    ret->occurrence_n = 0;
    ret->state.promise = f->promise > f->newest.at ? f->promise : 0;
    derive_starts(f, lim->window_ms, ret);
    derive_marks(f, ret);
    if (!ret->state.firing)
        derive_end(f, ret);
}

bool occurrence_same(const struct occurrence *x, const struct occurrence *y)
{
    if (x->by != y->by)
        return false;
    return x->by == BY_START ? x->start == y->start : order_cmp(&x->order, &y->order) == 0;
}

bool occurrence_among(const struct derived *d, const struct occurrence *o)
{
    for (uint32_t i = 0; i < d->occurrence_n; i++)
        if (occurrence_same(&d->occurrences[i], o))
            return true;
    return false;
}

/* ---- forgetting ---- */

enum list { STARTS, ENDS, MARKS };

static void take_out(struct facts *f, enum list list, uint32_t i)
{
    if (list == STARTS) {
        f->start_n--;
        memmove(&f->starts[i], &f->starts[i + 1], (f->start_n - i) * sizeof(f->starts[0]));
    } else if (list == ENDS) {
        f->end_n--;
        memmove(&f->ends[i], &f->ends[i + 1], (f->end_n - i) * sizeof(f->ends[0]));
    } else {
        f->mark_n--;
        memmove(&f->marks[i], &f->marks[i + 1], (f->mark_n - i) * sizeof(f->marks[0]));
    }
}

/* Forgetting may lose an occurrence that is past; it renames none, and what the alert is stays. */
static bool says_the_same(const struct derived *now, const struct derived *then)
{
    const struct alert_state *x = &now->state, *y = &then->state;

    if (x->firing != y->firing || x->starts_at != y->starts_at || x->ended_at != y->ended_at ||
        x->by_silence != y->by_silence)
        return false;
    for (uint32_t i = 0; i < then->occurrence_n; i++)
        if (!occurrence_among(now, &then->occurrences[i]))
            return false;
    return true;
}

/* 0: it is not over. */
static int64_t over_at(const struct facts *f, int64_t start, const struct order *last)
{
    const struct fact_end *e = end_of(f, start, last);

    return e ? closed_at(e, last) : 0;
}

/* Is what is left over since the same report as before? */
static bool ends_the_same(const struct facts *f, const struct facts *left)
{
    for (uint32_t i = 0; i < left->start_n; i++) {
        const struct fact_start *s = &left->starts[i];
        if (over_at(f, s->start, &s->last) != over_at(left, s->start, &s->last))
            return false;
    }
    for (uint32_t i = 0; i < left->mark_n; i++) {
        const struct order *mark = &left->marks[i].order;
        if (over_at(f, mark->at, mark) != over_at(left, mark->at, mark))
            return false;
    }
    return true;
}

enum loss { OF_NOTHING, OF_PAST_OCCURRENCES };

static bool forget(struct facts *f, const struct merge_limits *lim, enum list list, uint32_t i,
                   enum loss loss)
{
    struct derived now, then;
    struct facts without = *f;

    take_out(&without, list, i);
    facts_derive(f, lim, &now);
    facts_derive(&without, lim, &then);
    if (!says_the_same(&now, &then) ||
        (loss == OF_NOTHING &&
         (then.occurrence_n < now.occurrence_n || !ends_the_same(f, &without))))
        return false;
    *f = without;
    return true;
}

/* Over the cap: what says nothing about now, else the oldest that is over. When all fire, the
 * second oldest (the oldest names the occurrence) goes into the next younger: what ends that one
 * would have ended it, so nothing is hidden. */
static void drop_start(struct facts *f, const struct merge_limits *lim)
{
    for (uint32_t i = 0; i < f->start_n; i++)
        if (start_is_over(f, i) && forget(f, lim, STARTS, i, OF_PAST_OCCURRENCES))
            return;
    for (uint32_t i = 0; i < f->start_n; i++) {
        if (start_is_over(f, i)) {
            take_out(f, STARTS, i);
            return;
        }
    }
    widen(&f->starts[2].first, &f->starts[2].last, &f->starts[1].first);
    widen(&f->starts[2].first, &f->starts[2].last, &f->starts[1].last);
    take_out(f, STARTS, 1);
}

static void drop_end(struct facts *f, const struct merge_limits *lim)
{
    for (uint32_t i = 0; i < f->end_n; i++)
        if (forget(f, lim, ENDS, i, OF_PAST_OCCURRENCES))
            return;
    take_out(f, ENDS, 0);
}

/* The last mark says whether the alert fires. */
static void drop_mark(struct facts *f, const struct merge_limits *lim)
{
    for (uint32_t i = 0; i + 1 < f->mark_n; i++)
        if (forget(f, lim, MARKS, i, OF_PAST_OCCURRENCES))
            return;
    take_out(f, MARKS, 0);
}

/* Fewer than this make no sense: the oldest, the newest, and what lies between. */
#define CAP_LEAST 8

static uint32_t cap_of(uint32_t limit)
{
    if (limit == 0 || limit > MERGE_MAX)
        return MERGE_MAX;
    return limit < CAP_LEAST ? CAP_LEAST : limit;
}

bool facts_make_room(struct facts *f, const struct merge_limits *lim)
{
    const uint32_t n = f->start_n + f->end_n + f->mark_n;

    while (f->start_n >= cap_of(lim->starts))
        drop_start(f, lim);
    while (f->end_n >= cap_of(lim->starts))
        drop_end(f, lim);
    while (f->mark_n >= cap_of(lim->marks))
        drop_mark(f, lim);
    return n != f->start_n + f->end_n + f->mark_n;
}

/* Was it over before that? */
static bool start_was_over(const struct facts *f, uint32_t i, int64_t horizon)
{
    const struct order *last = &f->starts[i].last;
    const struct fact_end *e = end_of(f, f->starts[i].start, last);

    return e && last->at < horizon && closed_at(e, last) < horizon;
}

/* Was the run of marks that it is in over before that? */
static bool run_was_over(const struct facts *f, uint32_t i, int64_t horizon)
{
    while (i + 1 < f->mark_n && !over_between(f, &f->marks[i].order, &f->marks[i + 1].order))
        i++;
    const struct order *last = &f->marks[i].order;
    const struct fact_end *e = end_of(f, last->at, last);

    return e && last->at < horizon && closed_at(e, last) < horizon;
}

/* Is there an earlier mark of its kind in its run? */
static bool repeats(const struct facts *f, uint32_t i)
{
    for (uint32_t j = i; j > 0; j--) {
        if (over_between(f, &f->marks[j - 1].order, &f->marks[j].order))
            return false;
        if (f->marks[j - 1].kind == f->marks[i].kind)
            return true;
    }
    return false;
}

/*
 * Younger ones first: the first of an occurrence names it while any of it is known. The last start
 * and the last mark stay, and with them what closed them: an old report that comes late is over,
 * too. What was not over a window ago stays as well, though its repeats may go: a late report may
 * be part of it. So does the last mark of that time, for a late end may lie behind it.
 */
bool facts_prune(struct facts *f, const struct merge_limits *lim)
{
    const int64_t horizon = f->newest.at - lim->window_ms;
    bool changed = false;

    for (uint32_t i = f->start_n > 0 ? f->start_n - 1 : 0; i-- > 0;)
        if (start_was_over(f, i, horizon))
            changed |= forget(f, lim, STARTS, i, OF_PAST_OCCURRENCES);
    for (uint32_t i = f->mark_n > 0 ? f->mark_n - 1 : 0; i-- > 0;) {
        if (run_was_over(f, i, horizon))
            changed |= forget(f, lim, MARKS, i, OF_PAST_OCCURRENCES);
        else if (f->marks[i + 1].order.at < horizon && repeats(f, i))
            changed |= forget(f, lim, MARKS, i, OF_NOTHING);
    }
    for (uint32_t i = f->end_n; i-- > 0;)
        if (f->ends[i].last.at < horizon)
            changed |= forget(f, lim, ENDS, i, OF_NOTHING);
    return facts_make_room(f, lim) || changed;
}

/* ---- adding ---- */

static void add_start(struct facts *f, int64_t start, const struct order *o)
{
    uint32_t i = 0;

    while (i < f->start_n && f->starts[i].start < start)
        i++;
    if (i < f->start_n && f->starts[i].start == start) {
        widen(&f->starts[i].first, &f->starts[i].last, o);
        return;
    }
    memmove(&f->starts[i + 1], &f->starts[i], (f->start_n - i) * sizeof(f->starts[0]));
    f->starts[i] = (struct fact_start){.start = start, .first = *o, .last = *o};
    f->start_n++;
}

static void add_end(struct facts *f, struct fact_end add)
{
    uint32_t i = 0;

    while (i < f->end_n && (f->ends[i].end < add.end ||
                            (f->ends[i].end == add.end && f->ends[i].silence < add.silence)))
        i++;
    if (i < f->end_n && f->ends[i].end == add.end && f->ends[i].silence == add.silence) {
        widen(&f->ends[i].first, &f->ends[i].last, &add.first);
        f->ends[i].undone |= add.undone;
        return;
    }
    memmove(&f->ends[i + 1], &f->ends[i], (f->end_n - i) * sizeof(f->ends[0]));
    f->ends[i] = add;
    f->end_n++;
}

/* Silence was judged without a promise that had been received: until then, or in the order of
 * everything before what the silence ended. One that came later says nothing of it. */
static void add_promise(struct facts *f, int64_t until, const struct order *o)
{
    for (uint32_t i = 0; i < f->end_n; i++) {
        struct fact_end *e = &f->ends[i];
        if (e->silence && until > e->end && (o->at <= e->end || before(o, &e->last)))
            e->undone = true;
    }
    if (until > f->promise)
        f->promise = until;
}

static void add_mark(struct facts *f, enum report_kind kind, const struct order *o)
{
    uint32_t i = 0;

    while (i < f->mark_n && before(&f->marks[i].order, o))
        i++;
    if (i < f->mark_n && order_cmp(&f->marks[i].order, o) == 0)
        return;
    memmove(&f->marks[i + 1], &f->marks[i], (f->mark_n - i) * sizeof(f->marks[0]));
    f->marks[i] = (struct fact_mark){.order = *o, .kind = kind};
    f->mark_n++;
}

void facts_add(struct facts *f, const struct report *r, const struct merge_limits *lim)
{
    if (r->kind == REPORT_NOTE)
        return;
    (void)facts_make_room(f, lim);
    if (before(&f->newest, &r->order))
        f->newest = r->order;
    if (r->kind == REPORT_RESOLVED) {
        /* An end in the future is one at its receipt: nothing that has not begun can be over. */
        const int64_t end = r->ends_at == 0 || r->ends_at > r->order.at ? r->order.at : r->ends_at;
        add_end(f, (struct fact_end){.end = end, .first = r->order, .last = r->order});
        return;
    }
    if (r->kind == REPORT_FIRING)
        add_promise(f, r->ends_at, &r->order);
    if (r->kind == REPORT_FIRING && r->starts_at > 0)
        add_start(f, r->starts_at < r->order.at ? r->starts_at : r->order.at, &r->order);
    else
        add_mark(f, r->kind, &r->order);
}

void facts_add_silence(struct facts *f, int64_t at_ms, const struct merge_limits *lim)
{
    struct order o = f->newest;

    (void)facts_make_room(f, lim);
    o.index = UINT32_MAX;
    add_end(
        f, (struct fact_end){
               .end = at_ms, .first = o, .last = o, .silence = true, .undone = f->promise > at_ms});
}

/* ---- names ---- */

static struct slice mark_identity(const struct order *o, struct arena *a)
{
    char request[UUID_STR];
    const char *s = arena_printf(a, "r:%" PRId64 ":%s:%" PRIu32, o->at,
                                 uuid_format(&o->request, request), o->index);

    return slice_of(s);
}

struct slice occurrence_identity(const struct occurrence *o, struct arena *a)
{
    if (o->by == BY_MARK)
        return mark_identity(&o->order, a);
    return slice_of(arena_printf(a, "s:%" PRId64, o->start));
}

struct slice event_identity(const struct report *r, struct arena *a)
{
    if (r->event_id.len == 0)
        return mark_identity(&r->order, a);
    return slice_of(arena_printf(a, "e:%.*s", SLICE_FMT(r->event_id)));
}
