#include "processor/change.h"

#include <errno.h>
#include <string.h>

/* One report names at most: an occurrence by start and one by mark, one by event, and one that it
 * brings back. */
#define NAMES_PER_REPORT 4

struct run {
    struct change_list *out;
    struct arena *a;
    const struct merge_limits *lim;
    struct derived two[2];
    struct derived *was, *is; /* one of the two each */
    size_t cap, gone_cap;
    bool ever, failed;
};

static struct slice name_of(struct run *r, const struct occurrence *o)
{
    const struct slice s = occurrence_identity(o, r->a);

    r->failed |= !s.p;
    return s;
}

/* Where this run wrote that identity. */
static struct slice *named_before(struct run *r, struct slice identity)
{
    struct change_list *out = r->out;

    for (size_t i = out->n; i-- > 0;)
        if (out->v[i].occurrence.p && slice_eq(out->v[i].occurrence, identity))
            return &out->v[i].occurrence;
    for (size_t i = 0; i < out->gone_n; i++)
        if (out->gone[i].into.p && slice_eq(out->gone[i].into, identity))
            return &out->gone[i].into;
    return NULL;
}

static size_t find_gone(const struct change_list *out, struct slice identity)
{
    size_t i = 0;

    while (i < out->gone_n && !slice_eq(out->gone[i].identity, identity))
        i++;
    return i;
}

static void add_gone(struct run *r, struct gone g)
{
    struct change_list *out = r->out;

    if (!g.into.p && find_gone(out, g.identity) < out->gone_n)
        return;
    if (out->gone_n == r->gone_cap) {
        const size_t cap = r->gone_cap ? 2 * r->gone_cap : 4;
        struct gone *v = arena_array(r->a, cap, struct gone);
        if (!v) {
            r->failed = true;
            return;
        }
        if (out->gone_n)
            memcpy(v, out->gone, out->gone_n * sizeof(*v));
        out->gone = v;
        r->gone_cap = cap;
    }
    out->gone[out->gone_n++] = g;
}

/* What one report brought into the world. */
struct names {
    struct slice v[NAMES_PER_REPORT];
    int64_t at[NAMES_PER_REPORT];
    size_t n;
};

static void add_name(struct names *names, struct slice name, int64_t at)
{
    if (!name.p || names->n == NAMES_PER_REPORT)
        return;
    names->at[names->n] = at;
    names->v[names->n++] = name;
}

/* An identity that is new to the state. When it went earlier in this run it did not go, and what
 * stood for it since is new as well. The table knows which it has. */
static void find_name(struct run *r, struct slice name, int64_t at, struct names *names)
{
    struct change_list *out = r->out;
    size_t i;

    while ((i = find_gone(out, name)) < out->gone_n) {
        add_name(names, out->gone[i].into, at);
        out->gone[i] = out->gone[--out->gone_n];
    }
    add_name(names, name, at);
}

/* `lost` is no occurrence of its own any more; when this report named one, that is the same under
 * another name. It may be in the table even when this run named it: some come back after they were
 * forgotten; then the run may have named it more than once, and only the last name is moved. */
static void rename_or_drop(struct run *r, struct slice lost, struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        if (slice_eq(names->v[i], lost)) {
            names->n--;
            names->v[i] = names->v[names->n];
            names->at[i] = names->at[names->n];
        }
    }
    const struct slice into = names->n > 0 ? names->v[--names->n] : (struct slice){NULL, 0};
    struct slice *own = named_before(r, lost), *other = own;
    while (other) {
        *other = other == own ? into : (struct slice){NULL, 0};
        other = named_before(r, lost);
    }
    add_gone(r, (struct gone){lost, own ? (struct slice){NULL, 0} : into});
}

/* The identities that are new to this run: not those that stand for one that it took out. */
static void find_names(struct run *r, struct slice event, int64_t now, struct names *ret)
{
    ret->n = 0;
    for (uint32_t i = 0; i < r->is->occurrence_n; i++) {
        const struct occurrence *o = &r->is->occurrences[i];
        if (!occurrence_among(r->was, o))
            find_name(r, name_of(r, o), o->order.at, ret);
    }
    add_name(ret, event, now);
    for (uint32_t i = 0; i < r->was->occurrence_n; i++)
        if (!occurrence_among(r->is, &r->was->occurrences[i]))
            rename_or_drop(r, name_of(r, &r->was->occurrences[i]), ret);
}

static void add_change(struct run *r, struct change c)
{
    struct change_list *out = r->out;

    if (out->n == r->cap) {
        const size_t cap = r->cap ? 2 * r->cap : 2;
        struct change *v = arena_array(r->a, cap, struct change);
        if (!v) {
            r->failed = true;
            return;
        }
        if (out->n)
            memcpy(v, out->v, out->n * sizeof(*v));
        out->v = v;
        r->cap = cap;
    }
    out->v[out->n++] = c;
}

static void began(struct run *r, struct change c)
{
    c.again = r->ever;
    add_change(r, c);
    r->ever = true;
}

static void compare(struct run *r, const struct order *order, size_t report, struct slice event)
{
    struct names names;
    struct change c = {.kind = r->was->state.firing ? CHANGE_AGAIN : CHANGE_BEGAN,
                       .order = *order,
                       .at = order->at,
                       .report = report,
                       .past = !r->is->state.firing && !r->was->state.firing};

    find_names(r, event, order->at, &names);
    if (names.n == 0 && r->is->state.firing && !r->was->state.firing)
        began(r, c);
    for (size_t i = 0; i < names.n; i++) {
        c.at = names.at[i];
        c.occurrence = names.v[i];
        began(r, c);
        c.kind = CHANGE_AGAIN;
    }
    if (!r->is->state.firing && (r->was->state.firing || names.n > 0))
        add_change(r,
                   (struct change){.kind = CHANGE_ENDED,
                                   .order = *order,
                                   .at = r->is->state.ended_at ? r->is->state.ended_at : order->at,
                                   .report = report,
                                   .by_silence = r->is->state.by_silence,
                                   .past = c.past});
}

static void run_start(struct run *r, struct facts *facts, bool ever, const struct merge_limits *lim,
                      struct arena *a, struct change_list *ret)
{
    memset(ret, 0, sizeof(*ret));
    r->out = ret;
    r->a = a;
    r->lim = lim;
    r->was = &r->two[0];
    r->is = &r->two[1];
    r->cap = r->gone_cap = 0;
    r->ever = ever;
    r->failed = false;
    (void)facts_make_room(facts, lim); /* the caps may have been lowered */
    facts_derive(facts, lim, r->is);
}

/* What the facts say since they were added to. */
static void step(struct run *r, const struct facts *facts)
{
    struct derived *was = r->was;

    r->was = r->is;
    r->is = was;
    facts_derive(facts, r->lim, r->is);
}

/* After each report. What is forgotten did not go: the next one is compared with what is left. */
static void step_end(struct run *r, struct facts *facts)
{
    if (facts_prune(facts, r->lim))
        facts_derive(facts, r->lim, r->is);
}

static int run_end(struct run *r)
{
    r->out->state = r->is->state;
    return r->failed ? -ENOMEM : 0;
}

int change_run(struct facts *facts, const struct report *reports, size_t n, bool ever,
               const struct merge_limits *lim, struct arena *a, struct change_list *ret)
{
    struct run r;

    run_start(&r, facts, ever, lim, a, ret);
    for (size_t i = 0; i < n && !r.failed; i++) {
        struct slice event = {NULL, 0};
        if (reports[i].kind == REPORT_NOTE)
            continue;
        if (reports[i].kind == REPORT_OCCURRED) {
            event = event_identity(&reports[i], a);
            r.failed |= !event.p;
        }
        facts_add(facts, &reports[i], lim);
        step(&r, facts);
        compare(&r, &reports[i].order, i, event);
        step_end(&r, facts);
    }
    return run_end(&r);
}

int change_silence(struct facts *facts, int64_t at_ms, const struct merge_limits *lim,
                   struct arena *a, struct change_list *ret)
{
    const struct order order = {.at = at_ms};
    struct run r;

    run_start(&r, facts, true, lim, a, ret);
    facts_add_silence(facts, at_ms, lim);
    step(&r, facts);
    compare(&r, &order, 0, (struct slice){NULL, 0});
    step_end(&r, facts);
    return run_end(&r);
}
