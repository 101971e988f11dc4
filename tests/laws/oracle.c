#include "oracle.h"

#include <inttypes.h>

/* Everything that was said about one alert, ends by silence among it. */
struct word {
    struct order order;
    enum report_kind kind;
    int64_t start; /* of what fires; a mark's is its receive time */
    int64_t end;   /* of an end */
    int64_t promise;
    bool mark, silence;
    struct slice event_id;
    bool begins;             /* a mark: it was over before, or never was */
    const struct order *run; /* of a mark: the first of those between the same two ends */
};
struct words {
    struct word v[HISTORY_MAX];
    size_t n;
};

static int64_t not_after(int64_t t, int64_t limit)
{
    return t < limit ? t : limit;
}

static bool before(const struct order *a, const struct order *b)
{
    return order_cmp(a, b) < 0;
}

static struct word word_of(const struct report *r)
{
    struct word w = {.order = r->order, .kind = r->kind, .event_id = r->event_id};

    w.mark = r->kind != REPORT_RESOLVED && (r->kind != REPORT_FIRING || r->starts_at == 0);
    w.start = w.mark ? r->order.at : not_after(r->starts_at, r->order.at);
    w.end = r->ends_at == 0 ? r->order.at : not_after(r->ends_at, r->order.at);
    w.promise = r->kind == REPORT_FIRING ? r->ends_at : 0;
    return w;
}

/* Silence ended what somebody had promised longer, as we know by now: nothing ended. Who speaks
 * only after that speaks of what comes. */
static bool ended_too_soon(const struct words *w, const struct word *silence)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->v[i].promise > silence->end &&
            (w->v[i].order.at <= silence->end || before(&w->v[i].order, &silence->order)))
            return true;
    return false;
}

static bool is_end(const struct words *w, const struct word *e)
{
    return e->kind == REPORT_RESOLVED && !(e->silence && ended_too_soon(w, e));
}

static bool is_start(const struct word *w)
{
    return w->kind != REPORT_RESOLVED && !w->mark;
}

static bool is_mark(const struct word *w)
{
    return w->kind != REPORT_RESOLVED && w->mark;
}

/* The last word that says that it fires since then. A mark is the only word on itself. */
static const struct order *last_word(const struct words *w, const struct word *of)
{
    const struct order *last = &of->order;

    for (size_t i = 0; i < w->n && !of->mark; i++)
        if (is_start(&w->v[i]) && w->v[i].start == of->start && before(last, &w->v[i].order))
            last = &w->v[i].order;
    return last;
}

/* When it was known to be over: the first report after the last word on it that says so. 0: it is
 * not. */
static int64_t over_since(const struct words *w, const struct word *of)
{
    const struct order *last = last_word(w, of);
    int64_t since = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct word *e = &w->v[i];
        const int64_t at = e->silence ? e->end : e->order.at;
        if (is_end(w, e) && e->end >= of->start && before(last, &e->order) &&
            (since == 0 || at < since))
            since = at;
    }
    return since;
}

static bool over(const struct words *w, const struct word *of)
{
    return over_since(w, of) != 0;
}

/* ---- occurrences by start ---- */

/* Does a new occurrence begin at this start? Not when anything that began earlier was heard of up
 * to a window before, unless an end lies between. */
static bool begins(const struct words *w, int64_t start)
{
    const struct order *heard = NULL;
    int64_t newest = INT64_MIN;

    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->v[i];
        if (!is_start(x) || x->start >= start)
            continue;
        if (!heard || before(heard, &x->order))
            heard = &x->order;
        if (x->start > newest)
            newest = x->start;
    }
    if (!heard)
        return true;
    if (start <= heard->at)
        return false;
    for (size_t i = 0; i < w->n; i++)
        if (is_end(w, &w->v[i]) && w->v[i].end >= newest && w->v[i].end < start &&
            before(heard, &w->v[i].order))
            return true;
    return false;
}

static bool begins_within(const struct words *w, int64_t start, int64_t window)
{
    bool near = false;

    for (size_t i = 0; i < w->n; i++)
        near |= is_start(&w->v[i]) && w->v[i].start < start && start - w->v[i].order.at <= window;
    return !near || begins(w, start);
}

/* The start of the occurrence that holds this start. */
static int64_t occurrence_of(const struct words *w, int64_t start, int64_t window)
{
    int64_t best = INT64_MIN;

    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->v[i];
        if (is_start(x) && x->start <= start && x->start > best &&
            begins_within(w, x->start, window))
            best = x->start;
    }
    return best;
}

/* ---- occurrences by mark ---- */

/* Was it over between the last mark before this one, and this one? */
static bool begins_run(const struct words *w, const struct word *mark)
{
    const struct word *last = NULL;

    for (size_t i = 0; i < w->n; i++)
        if (is_mark(&w->v[i]) && before(&w->v[i].order, &mark->order) &&
            (!last || before(&last->order, &w->v[i].order)))
            last = &w->v[i];
    if (!last)
        return true;
    for (size_t i = 0; i < w->n; i++)
        if (is_end(w, &w->v[i]) && w->v[i].end >= last->start &&
            before(&last->order, &w->v[i].order) && before(&w->v[i].order, &mark->order))
            return true;
    return false;
}

static const struct order *run_of(const struct words *w, const struct word *mark)
{
    const struct order *best = NULL;

    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->v[i];
        if (is_mark(x) && x->begins && !before(&mark->order, &x->order) &&
            (!best || before(best, &x->order)))
            best = &x->order;
    }
    return best;
}

/* The first firing of a run; and the first opening, unless events are in it. */
static bool mark_counts(const struct words *w, const struct word *mark)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->v[i];
        if (!is_mark(x) || x->run != mark->run)
            continue;
        if (x->kind == mark->kind && before(&x->order, &mark->order))
            return false;
        if (x->kind == REPORT_OCCURRED && mark->kind == REPORT_OPENED)
            return false;
    }
    return true;
}

/* ---- names ---- */

static void add_name(struct verdict *v, struct slice name)
{
    for (size_t i = 0; i < v->name_n; i++)
        if (slice_eq(v->names[i], name))
            return;
    v->names[v->name_n++] = name;
}

static struct slice mark_name(const struct word *w, struct arena *a)
{
    char id[UUID_STR];

    return slice_of(arena_printf(a, "r:%" PRId64 ":%s:%" PRIu32, w->order.at,
                                 uuid_format(&w->order.request, id), w->order.index));
}

static void name_all(const struct words *w, int64_t window, struct arena *a, struct verdict *ret)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->v[i];
        if (is_start(x) && begins_within(w, x->start, window))
            add_name(ret, slice_of(arena_printf(a, "s:%" PRId64, x->start)));
        if (is_mark(x) && x->kind != REPORT_OCCURRED && mark_counts(w, x))
            add_name(ret, mark_name(x, a));
        if (x->kind == REPORT_OCCURRED && x->event_id.len > 0)
            add_name(ret, slice_of(arena_printf(a, "e:%.*s", SLICE_FMT(x->event_id))));
        if (x->kind == REPORT_OCCURRED && x->event_id.len == 0)
            add_name(ret, mark_name(x, a));
    }
}

/* Of what fires now, the earliest; else what fired last. Starts speak before marks. */
static int64_t starts_at(const struct words *w, int64_t window)
{
    const struct word *mark = NULL;
    int64_t firing = INT64_MAX, past = INT64_MIN;

    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->v[i];
        if (is_mark(x) && (!mark || before(&mark->order, &x->order)))
            mark = x;
        if (is_start(x) && x->start > past)
            past = x->start;
        if (is_start(x) && !over(w, x) && x->start < firing)
            firing = x->start;
    }
    if (firing != INT64_MAX)
        return occurrence_of(w, firing, window);
    if (mark && (past == INT64_MIN || !over(w, mark)))
        return mark->run->at;
    return past == INT64_MIN ? 0 : occurrence_of(w, past, window);
}

/* It was over when the last of what it had begun was. */
static int64_t ended_at(const struct words *w)
{
    int64_t last = 0;

    for (size_t i = 0; i < w->n; i++) {
        const int64_t at = w->v[i].kind != REPORT_RESOLVED ? over_since(w, &w->v[i]) : 0;
        if (at > last)
            last = at;
    }
    return last;
}

/* ---- hearing ---- */

static bool fires(const struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->v[i].kind != REPORT_RESOLVED && !over(w, &w->v[i]))
            return true;
    return false;
}

static int64_t longest_promise(const struct words *w)
{
    int64_t longest = 0;

    for (size_t i = 0; i < w->n; i++)
        if (w->v[i].promise > longest)
            longest = w->v[i].promise;
    return longest;
}

/* What does not fire, or promised longer, does not end. Else silence ends what was heard until
 * then. */
static void hear_silence(struct words *w, int64_t at)
{
    struct word s = {.kind = REPORT_RESOLVED, .end = at, .silence = true};

    if (!fires(w) || longest_promise(w) > at)
        return;
    for (size_t i = 0; i < w->n; i++)
        if (before(&s.order, &w->v[i].order))
            s.order = w->v[i].order;
    s.order.index = UINT32_MAX;
    w->v[w->n++] = s;
}

static void hear(const struct said *v, size_t n, uint32_t alert, struct words *ret)
{
    ret->n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct report *r = &v[i].report;
        if (v[i].alert != alert || v[i].input == BY_HAND || r->kind == REPORT_NOTE)
            continue;
        if (v[i].input == SILENCE) {
            hear_silence(ret, r->order.at);
            continue;
        }
        ret->v[ret->n++] = word_of(r);
    }
}

static void find_runs(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->v[i].begins = is_mark(&w->v[i]) && begins_run(w, &w->v[i]);
    for (size_t i = 0; i < w->n; i++)
        if (is_mark(&w->v[i]))
            w->v[i].run = run_of(w, &w->v[i]);
}

bool oracle_fires(const struct said *v, size_t n, uint32_t alert)
{
    struct words w;

    hear(v, n, alert, &w);
    return fires(&w);
}

void oracle_ask(const struct said *v, size_t n, uint32_t alert, int64_t window, struct arena *a,
                struct verdict *ret)
{
    struct words w;

    hear(v, n, alert, &w);
    find_runs(&w);
    *ret = (struct verdict){.firing = fires(&w)};
    for (size_t i = 0; i < w.n; i++)
        ret->ever |= w.v[i].kind != REPORT_RESOLVED;
    name_all(&w, window, a, ret);
    ret->starts_at = starts_at(&w, window);
    ret->ended_at = ret->firing ? 0 : ended_at(&w);
}
