/* The laws of one alert: whether it fires, since when, and how often it began, whatever the order
 * of arrival, the cuts and the copies. Each history has several alerts; they know nothing of one
 * another. */
#include "law.h"
#include "oracle.h"
#include "testing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROOMY                                                                                      \
    {                                                                                              \
        .window_ms = WINDOW, .starts = 64, .marks = 64                                             \
    }
#define TIGHT                                                                                      \
    {                                                                                              \
        .window_ms = WINDOW, .starts = 8, .marks = 8                                               \
    }
/* As installed. */
#define SHIPPED                                                                                    \
    {                                                                                              \
        .window_ms = WINDOW, .starts = 64, .marks = 32                                             \
    }

/* ---- one alert and its rows in the table of occurrences ---- */

struct subject {
    struct slice packed;
    struct alert_state state;
    struct slice names[NAMES_MAX];
    size_t name_n;
    bool ever;
};

static bool insert(struct subject *s, struct slice name)
{
    for (size_t i = 0; i < s->name_n; i++)
        if (slice_eq(s->names[i], name))
            return false;
    s->names[s->name_n++] = name;
    return true;
}

static void take(struct subject *s, struct slice name)
{
    for (size_t i = 0; i < s->name_n; i++)
        if (slice_eq(s->names[i], name))
            s->names[i--] = s->names[--s->name_n];
}

static int report_cmp(const void *x, const void *y)
{
    return order_cmp(&((const struct report *)x)->order, &((const struct report *)y)->order);
}

/* One batch: the facts come from their stored form and go back to it. */
static const char *feed(struct subject *s, struct report *v, size_t n,
                        const struct merge_limits *lim, struct arena *a)
{
    struct facts facts;
    struct change_list l;
    struct err e = {0};

    qsort(v, n, sizeof(*v), report_cmp);
    if (facts_unpack(s->packed, &facts, &e) < 0)
        return "packed facts do not come back";
    if (change_run(&facts, v, n, s->ever, lim, a, &l) < 0)
        return "no memory";
    for (size_t i = 0; i < l.gone_n; i++)
        take(s, l.gone[i].identity);
    for (size_t i = 0; i < l.gone_n; i++)
        if (l.gone[i].into.p)
            (void)insert(s, l.gone[i].into);
    for (size_t i = 0; i < l.n; i++)
        if (l.v[i].occurrence.p)
            (void)insert(s, l.v[i].occurrence);
    s->ever = s->name_n > 0;
    s->state = l.state;
    s->packed = facts_pack(&facts, a);
    return s->packed.p ? NULL : "no memory";
}

static const char *be_silent(struct subject *s, int64_t at, const struct merge_limits *lim,
                             struct arena *a)
{
    struct facts facts;
    struct change_list l;
    struct err e = {0};

    if (!s->state.firing)
        return NULL;
    if (facts_unpack(s->packed, &facts, &e) < 0)
        return "packed facts do not come back";
    if (facts.promise > at)
        return NULL; /* nobody would judge it yet */
    if (change_silence(&facts, at, lim, a, &l) < 0)
        return "no memory";
    if (l.state.firing || !l.state.by_silence || l.state.ended_at != at)
        return "it is silent and yet not over by silence, then";
    if (l.n != 1 || l.v[0].kind != CHANGE_ENDED || l.v[0].at != at || l.gone_n > 0)
        return "an end by silence changes other things than it should";
    s->state = l.state;
    s->packed = facts_pack(&facts, a);
    return s->packed.p ? NULL : "no memory";
}

/* What to look at after each batch: the records heard so far are h->v[0..n). */
typedef const char *(*look)(const struct history *h, size_t n, uint32_t alert,
                            const struct subject *s, struct arena *a);

/* Hear what concerns one alert, batch by batch; NULL: nobody looks. */
static const char *hear(const struct history *h, uint32_t alert, bool whole, struct subject *s,
                        look at, struct arena *a)
{
    struct report pending[HISTORY_MAX];
    const char *why = NULL;
    size_t n = 0;

    *s = (struct subject){0};
    for (size_t i = 0; i < h->n && !why; i++) {
        const struct said *x = &h->v[i];
        const bool mine = x->alert == alert, silence = mine && x->input == SILENCE;
        if (mine && x->input == SAID)
            pending[n++] = x->report;
        const bool must =
            i + 1 == h->n || h->v[i + 1].input == SILENCE || x->earlier != h->v[i + 1].earlier;
        const bool batch = n > 0 && (must || (x->cut && !whole));
        if (batch)
            why = feed(s, pending, n, &h->limits, a);
        if (batch)
            n = 0;
        if (!why && silence)
            why = be_silent(s, x->report.order.at, &h->limits, a);
        if (!why && at && (batch || silence))
            why = at(h, i + 1, alert, s, a);
    }
    return why;
}

/* ---- what is to be seen ---- */

static bool has_name(const struct slice *v, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(v[i], name))
            return true;
    return false;
}

static const char *same_names(const struct slice *x, size_t n, const struct slice *y, size_t m,
                              struct arena *a)
{
    for (size_t i = 0; i < n; i++)
        if (!has_name(y, m, x[i]))
            return arena_printf(a, "%.*s is an occurrence only here", SLICE_FMT(x[i]));
    for (size_t i = 0; i < m; i++)
        if (!has_name(x, n, y[i]))
            return arena_printf(a, "%.*s is an occurrence only there", SLICE_FMT(y[i]));
    return NULL;
}

static const char *same_subject(const struct subject *x, const struct subject *y, struct arena *a)
{
    if (x->state.firing != y->state.firing)
        return "it fires in one and not in the other";
    if (x->state.starts_at != y->state.starts_at)
        return "it has two starts";
    if (x->state.ended_at != y->state.ended_at)
        return "it has two ends";
    return same_names(x->names, x->name_n, y->names, y->name_n, a);
}

static const char *as_ruled(const struct history *h, size_t n, uint32_t alert,
                            const struct subject *s, struct arena *a)
{
    struct verdict v;

    oracle_ask(h->v, n, alert, h->limits.window_ms, a, &v);
    if (v.firing != s->state.firing)
        return arena_printf(a, "after %zu: alert %u %s", n, alert,
                            v.firing ? "is hidden" : "fires, but nothing says so");
    if (v.starts_at != s->state.starts_at)
        return arena_printf(a, "after %zu: alert %u fires since %+" PRId64 " ms, not %+" PRId64, n,
                            alert, s->state.starts_at - BASE, v.starts_at - BASE);
    if (v.ended_at != s->state.ended_at)
        return arena_printf(a, "after %zu: alert %u is over since %+" PRId64 " ms, not %+" PRId64,
                            n, alert, s->state.ended_at - BASE, v.ended_at - BASE);
    return same_names(s->names, s->name_n, v.names, v.name_n, a);
}

static const char *fires_as_ruled(const struct history *h, size_t n, uint32_t alert,
                                  const struct subject *s, struct arena *a)
{
    const bool fires = oracle_fires(h->v, n, alert);

    if (fires == s->state.firing)
        return NULL;
    return arena_printf(a, "after %zu: alert %u %s", n, alert,
                        fires ? "is hidden" : "fires, but nothing says so");
}

static const char *never_hidden(const struct history *h, size_t n, uint32_t alert,
                                const struct subject *s, struct arena *a)
{
    if (s->state.firing || !oracle_fires(h->v, n, alert))
        return NULL;
    return arena_printf(a, "after %zu: alert %u is hidden", n, alert);
}

static const char *each(const struct history *h, look at, struct arena *a)
{
    struct subject *s = arena_new_of(a, struct subject);
    const char *why = NULL;

    for (uint32_t i = 0; i < ALERTS && !why; i++)
        why = hear(h, i, false, s, at, a);
    return why;
}

/* Two ways to hear the same. */
static const char *both(const struct history *one, bool one_whole, const struct history *other,
                        bool other_whole, struct arena *a)
{
    struct subject *s = arena_array(a, 2, struct subject);
    const char *why = NULL;

    for (uint32_t i = 0; i < ALERTS && !why; i++) {
        why = hear(one, i, one_whole, &s[0], NULL, a);
        if (!why)
            why = hear(other, i, other_whole, &s[1], NULL, a);
        if (!why)
            why = same_subject(&s[0], &s[1], a);
    }
    return why;
}

/* ---- the laws ---- */

/* Within a window, every order, every cut and every copy leads to what the rules say. */
static const char *ruled(const struct history *h, struct arena *a)
{
    return history_is_bounded(h) ? each(h, as_ruled, a) : NULL;
}

static void test_within_a_window_the_rules_decide(void **state)
{
    static const struct law law = {"within a window, any order leads to what the rules say",
                                   {.span = WINDOW,
                                    .arrival = ANY_ORDER,
                                    .alerts = 3,
                                    .motifs = 5,
                                    .copies = true,
                                    .storms = true,
                                    .limits = ROOMY},
                                   4000,
                                   ruled};

    (void)state;
    law_hold(&law);
}

/* As long as nothing is forgotten they decide however long the history is. */
static const char *derived(const struct history *h, struct arena *a)
{
    struct subject *s = arena_new_of(a, struct subject);
    struct facts f;
    struct derived d;
    const char *why = history_is_bounded(h) ? NULL : "";

    for (uint32_t i = 0; i < ALERTS && !why; i++) {
        *s = (struct subject){0};
        facts_init(&f);
        for (size_t j = 0; j < h->n; j++) {
            const struct report *r = &h->v[j].report;
            if (h->v[j].alert == i)
                facts_add(&f, r, &h->limits);
            if (h->v[j].alert == i && r->kind == REPORT_OCCURRED)
                (void)insert(s, event_identity(r, a));
        }
        facts_derive(&f, &h->limits, &d);
        s->state = d.state;
        for (uint32_t j = 0; j < d.occurrence_n; j++)
            (void)insert(s, occurrence_identity(&d.occurrences[j], a));
        why = as_ruled(h, h->n, i, s, a);
    }
    return why && *why ? why : NULL;
}

static void test_all_facts_derive_what_the_rules_say(void **state)
{
    static const struct law law = {
        "all facts of a long history derive what the rules say",
        {.span = 4 * WINDOW, .arrival = ANY_ORDER, .alerts = 2, .motifs = 6, .limits = ROOMY},
        3000,
        derived};

    (void)state;
    law_hold(&law);
}

/* ... also when the alert has a history, all of it over for more than a window. */
static const char *order_is_nothing(const struct history *h, struct arena *a)
{
    struct history *sorted = arena_new_of(a, struct history);

    history_sorted(h, sorted);
    return history_is_bounded(h) ? both(h, false, sorted, true, a) : NULL;
}

static void test_a_past_changes_nothing_of_that(void **state)
{
    static const struct law law = {"within a window, a past makes no order matter",
                                   {.span = WINDOW,
                                    .arrival = ANY_ORDER,
                                    .alerts = 2,
                                    .motifs = 4,
                                    .prelude = true,
                                    .copies = true,
                                    .limits = ROOMY},
                                   4000,
                                   order_is_nothing};

    (void)state;
    law_hold(&law);
}

/* Over many windows and with the smallest caps: where batches are cut is nothing. */
static const char *cuts_are_nothing(const struct history *h, struct arena *a)
{
    struct history *sorted = arena_new_of(a, struct history);

    history_sorted(h, sorted);
    return both(sorted, false, sorted, true, a);
}

static void test_cuts_change_nothing(void **state)
{
    static const struct law law = {"any cut into batches changes nothing",
                                   {.span = 6 * WINDOW,
                                    .arrival = IN_ORDER,
                                    .alerts = 2,
                                    .motifs = 8,
                                    .storms = true,
                                    .limits = TIGHT},
                                   2500,
                                   cuts_are_nothing};

    (void)state;
    law_hold(&law);
}

/* A copy that comes within a window is none, however long the history. */
static const char *copies_are_nothing(const struct history *h, struct arena *a)
{
    struct history *sorted = arena_new_of(a, struct history);

    history_sorted(h, sorted);
    return both(h, false, sorted, false, a);
}

static void test_copies_change_nothing(void **state)
{
    static const struct law law = {"a copy of a record changes nothing",
                                   {.span = 4 * WINDOW,
                                    .arrival = IN_ORDER,
                                    .alerts = 2,
                                    .motifs = 7,
                                    .copies = true,
                                    .limits = ROOMY},
                                   8000,
                                   copies_are_nothing};

    (void)state;
    law_hold(&law);
}

/* While no partition lags by more than a window it fires exactly when the rules say so. */
static const char *fires_rightly(const struct history *h, struct arena *a)
{
    return each(h, fires_as_ruled, a);
}

static void test_lag_neither_hides_nor_invents(void **state)
{
    static const struct law law = {
        "while partitions lag less than a window, it fires when the rules say so",
        {.span = 6 * WINDOW,
         .arrival = LAGGING,
         .alerts = 2,
         .motifs = 8,
         .copies = true,
         .limits = ROOMY},
        3000,
        fires_rightly};

    (void)state;
    law_hold(&law);
}

/* Beyond all bounds: what fires is never hidden. */
static const char *nothing_hidden(const struct history *h, struct arena *a)
{
    return each(h, never_hidden, a);
}

static void test_no_order_hides_a_firing(void **state)
{
    static const struct law tight = {"no order and no cap hides a firing",
                                     {.span = 6 * WINDOW,
                                      .arrival = ANY_ORDER,
                                      .alerts = 2,
                                      .motifs = 12,
                                      .copies = true,
                                      .storms = true,
                                      .limits = TIGHT},
                                     2500,
                                     nothing_hidden};
    static const struct law shipped = {"no order hides a firing",
                                       {.span = 8 * WINDOW,
                                        .arrival = ANY_ORDER,
                                        .alerts = 2,
                                        .motifs = 12,
                                        .copies = true,
                                        .storms = true,
                                        .limits = SHIPPED},
                                       4000,
                                       nothing_hidden};

    (void)state;
    law_hold(&tight);
    law_hold(&shipped);
}

/* An expiry is judged as an input with its own time: it ends what was heard until then, and what
 * was received later, or promised longer, fires. */
static void test_silence_is_an_input(void **state)
{
    static const struct law law = {"an end by silence ends what was heard until then, and no more",
                                   {.span = 4 * WINDOW,
                                    .arrival = LAGGING,
                                    .alerts = 2,
                                    .motifs = 6,
                                    .silences = true,
                                    .limits = ROOMY},
                                   8000,
                                   fires_rightly};

    (void)state;
    law_hold(&law);
}

/* ... and what fires after it is an occurrence of its own, with its own start. */
static void test_what_follows_silence_is_new(void **state)
{
    static const struct law law = {"within a window, silence or not, the rules decide",
                                   {.span = WINDOW,
                                    .arrival = LAGGING,
                                    .alerts = 2,
                                    .motifs = 4,
                                    .copies = true,
                                    .silences = true,
                                    .limits = ROOMY},
                                   8000,
                                   ruled};

    (void)state;
    law_hold(&law);
}

/* ---- forgetting ---- */

/* All is over. Two windows later it fires, and says so four times a window without a start. What
 * remains is the first of that, what was said in the last window, and of the past the starts of its
 * last occurrence, each with one end at most. */
static const char *little_is_kept(const struct history *h, struct arena *a)
{
    struct subject *s = arena_new_of(a, struct subject);
    const int64_t last = h->v[h->n - 1].report.order.at;
    const char *why = NULL;
    struct facts f;
    struct err e = {0};

    for (uint32_t i = 0; i < ALERTS && !why; i++) {
        struct report r = {.kind = REPORT_RESOLVED, .order.at = last + 1};
        why = hear(h, i, false, s, NULL, a);
        if (!why)
            why = feed(s, &r, 1, &h->limits, a);
        r.kind = REPORT_FIRING;
        r.order.at += 2 * WINDOW;
        for (uint32_t j = 0; j < 20 && !why; j++, r.order.at += WINDOW / 4)
            why = feed(s, &r, 1, &h->limits, a);
        if (!why && facts_unpack(s->packed, &f, &e) < 0)
            why = "packed facts do not come back";
        if (!why && (f.end_n > f.start_n || f.mark_n > 7))
            why = arena_printf(a, "alert %u: %u ends of %u starts and %u marks are remembered", i,
                               f.end_n, f.start_n, f.mark_n);
    }
    return why;
}

static void test_what_is_long_over_is_forgotten(void **state)
{
    static const struct law law = {
        "what is long over is forgotten, and so are repeats",
        {.span = 4 * WINDOW, .arrival = IN_ORDER, .alerts = 2, .motifs = 7, .limits = ROOMY},
        1000,
        little_is_kept};

    (void)state;
    law_hold(&law);
}

/* ---- stored form ---- */

static const char *stored(const struct history *h, struct arena *a)
{
    struct facts f, back;
    struct err e = {0};

    facts_init(&f);
    for (size_t i = 0; i < h->n; i++) {
        if (h->v[i].input == SAID)
            facts_add(&f, &h->v[i].report, &h->limits);
        const struct slice once = facts_pack(&f, a);
        if (!once.p || facts_unpack(once, &back, &e) < 0)
            return "packed facts do not come back";
        if (!slice_eq(facts_pack(&back, a), once))
            return "packed facts come back otherwise";
        facts_add(&back, &h->v[i].report, &h->limits);
        if (!slice_eq(facts_pack(&back, a), once))
            return "what is stored already is added again";
    }
    return NULL;
}

static void test_stored_facts_are_facts(void **state)
{
    static const struct law law = {
        "a record that is in the stored facts is nothing new to them",
        {.span = 3 * WINDOW, .arrival = ANY_ORDER, .alerts = 2, .motifs = 5, .limits = ROOMY},
        3000,
        stored};

    (void)state;
    law_hold(&law);
}

static void test_every_awkward_case_came(void **state)
{
    (void)state;
    law_covered((1U << AWKWARDS) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_a_window_the_rules_decide),
        cmocka_unit_test(test_all_facts_derive_what_the_rules_say),
        cmocka_unit_test(test_a_past_changes_nothing_of_that),
        cmocka_unit_test(test_cuts_change_nothing),
        cmocka_unit_test(test_copies_change_nothing),
        cmocka_unit_test(test_lag_neither_hides_nor_invents),
        cmocka_unit_test(test_no_order_hides_a_firing),
        cmocka_unit_test(test_silence_is_an_input),
        cmocka_unit_test(test_what_follows_silence_is_new),
        cmocka_unit_test(test_what_is_long_over_is_forgotten),
        cmocka_unit_test(test_stored_facts_are_facts),
        cmocka_unit_test(test_every_awkward_case_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
