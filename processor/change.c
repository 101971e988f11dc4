#include "processor/change.h"

#include <errno.h>
#include <string.h>

/* One report makes at most: an occurrence by start or mark, one by event, and the end of it. */
#define CHANGES_PER_REPORT 3

struct run {
    struct change_list *out;
    struct arena *a;
    const struct merge_limits *lim;
    struct alert_state was, is;
    size_t gone_cap;
    bool ever, failed;
};

static bool same(const struct occurrence *x, const struct occurrence *y)
{
    if (x->by != y->by)
        return false;
    return x->by == BY_START ? x->start == y->start : order_cmp(&x->order, &y->order) == 0;
}

static bool has(const struct alert_state *s, const struct occurrence *o)
{
    for (uint32_t i = 0; i < s->occurrence_n; i++)
        if (same(&s->occurrences[i], o))
            return true;
    return false;
}

/* An identity that was named and is gone again within the run was never told to anybody. */
static void take_back(struct run *r, struct slice identity)
{
    struct change_list *out = r->out;

    for (size_t i = 0; i < out->n; i++) {
        if (out->v[i].occurrence.p && identity.p && slice_eq(out->v[i].occurrence, identity)) {
            out->v[i].occurrence = (struct slice){NULL, 0};
            return;
        }
    }
    if (out->gone_n == r->gone_cap) {
        const size_t cap = r->gone_cap ? 2 * r->gone_cap : 4;
        struct slice *v = arena_array(r->a, cap, struct slice);
        if (!v) {
            r->failed = true;
            return;
        }
        if (out->gone_n)
            memcpy(v, out->gone, out->gone_n * sizeof(*v));
        out->gone = v;
        r->gone_cap = cap;
    }
    out->gone[out->gone_n++] = identity;
}

static void begin(struct run *r, struct change c)
{
    c.again = r->ever;
    r->out->v[r->out->n++] = c;
    r->ever = true;
}

/* At most one identity is new: a report brings its own start, or it is an end that splits one
 * occurrence in two. */
static void compare(struct run *r, const struct order *order, size_t report, struct slice event)
{
    struct slice named = event;
    struct change c = {.order = *order, .at = order->at, .report = report};

    for (uint32_t i = 0; i < r->was.occurrence_n; i++) {
        if (has(&r->is, &r->was.occurrences[i]))
            continue;
        const struct slice id = occurrence_identity(&r->was.occurrences[i], r->a);
        r->failed |= !id.p;
        take_back(r, id);
    }
    for (uint32_t i = 0; i < r->is.occurrence_n && !named.p; i++) {
        if (has(&r->was, &r->is.occurrences[i]))
            continue;
        named = occurrence_identity(&r->is.occurrences[i], r->a);
        r->failed |= !named.p;
        c.at = r->is.occurrences[i].order.at;
    }
    c.occurrence = named;
    c.past = !r->is.firing && !r->was.firing;
    if (r->is.firing != r->was.firing || named.p) {
        c.kind = r->was.firing ? CHANGE_AGAIN : CHANGE_BEGAN;
        if (r->is.firing || named.p)
            begin(r, c);
        if (!r->is.firing)
            r->out->v[r->out->n++] =
                (struct change){.kind = CHANGE_ENDED,
                                .order = *order,
                                .at = r->is.ended_at ? r->is.ended_at : order->at,
                                .report = report,
                                .by_silence = r->is.by_silence,
                                .past = c.past};
    }
}

static int run_start(struct run *r, const struct facts *facts, size_t n, bool ever,
                     const struct merge_limits *lim, struct arena *a, struct change_list *ret)
{
    memset(r, 0, sizeof(*r));
    memset(ret, 0, sizeof(*ret));
    r->out = ret;
    r->a = a;
    r->lim = lim;
    r->ever = ever;
    ret->v = arena_array(a, n * CHANGES_PER_REPORT, struct change);
    if (!ret->v)
        return -ENOMEM;
    facts_derive(facts, lim, &r->is);
    return 0;
}

static int run_end(struct run *r, struct facts *facts)
{
    r->out->state = r->is;
    facts_prune(facts, r->lim);
    return r->failed ? -ENOMEM : 0;
}

int change_run(struct facts *facts, const struct report *reports, size_t n, bool ever,
               const struct merge_limits *lim, struct arena *a, struct change_list *ret)
{
    struct run r;

    if (run_start(&r, facts, n, ever, lim, a, ret) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < n && !r.failed; i++) {
        struct slice event = {NULL, 0};
        if (reports[i].kind == REPORT_NOTE)
            continue;
        if (reports[i].kind == REPORT_OCCURRED) {
            event = event_identity(&reports[i], a);
            r.failed |= !event.p;
        }
        r.was = r.is;
        facts_add(facts, &reports[i], lim);
        facts_derive(facts, lim, &r.is);
        compare(&r, &reports[i].order, i, event);
    }
    return run_end(&r, facts);
}

int change_silence(struct facts *facts, int64_t at_ms, const struct merge_limits *lim,
                   struct arena *a, struct change_list *ret)
{
    const struct order order = {.at = at_ms};
    struct run r;

    if (run_start(&r, facts, 1, true, lim, a, ret) < 0)
        return -ENOMEM;
    r.was = r.is;
    facts_add_silence(facts, at_ms, lim);
    facts_derive(facts, lim, &r.is);
    compare(&r, &order, 0, (struct slice){NULL, 0});
    return run_end(&r, facts);
}
