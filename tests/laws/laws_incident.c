/* The laws of incidents: what the alerts of an anomaly add up to. world.c looks after every batch
 * whether the rows agree with one another, and asks rules.c about every change; here they are
 * compared with what the rules of one alert add up to, and with what comes of the same records in
 * another order. */
#include "law.h"
#include "oracle.h"
#include "rules.h"
#include "testing.h"
#include "world.h"

#include <inttypes.h>

#define ROOMY                                                                                      \
    {                                                                                              \
        .window_ms = WINDOW, .starts = 64, .marks = 64                                             \
    }
#define TIGHT                                                                                      \
    {                                                                                              \
        .window_ms = WINDOW, .starts = 8, .marks = 8                                               \
    }

static struct world *world_of(const struct history *h, bool whole, struct arena *a)
{
    struct world *w = arena_new_of(a, struct world);

    world_init(w, h, a);
    world_run(w, h, whole);
    return w;
}

/* ---- against the rules ---- */

struct sum {
    int64_t occurrences;
    int32_t firing, total;
    enum severity worst;
};

static void sum_up(const struct history *h, uint32_t anomaly, struct arena *a, struct sum *ret)
{
    struct verdict *v = arena_new_of(a, struct verdict);

    *ret = (struct sum){0};
    for (uint32_t i = 0; i < ALERTS; i++) {
        if (anomaly_index(i) != anomaly)
            continue;
        oracle_ask(h->v, h->n, i, h->limits.window_ms, a, v);
        ret->occurrences += (int64_t)v->name_n;
        ret->firing += v->firing;
        ret->total += v->name_n > 0;
        if (v->name_n > 0 && severity_first(i) > ret->worst)
            ret->worst = severity_first(i);
    }
}

/* Thresholds are 3, 5 and 10. */
static enum escalation_level level_of(int64_t occurrences)
{
    return occurrences >= 10  ? LEVEL_PERMANENT_FIX
           : occurrences >= 5 ? LEVEL_ESCALATE
           : occurrences >= 3 ? LEVEL_REPEAT
                              : LEVEL_NONE;
}

static const char *incident_is_wrong(const struct incident *in, const struct sum *s)
{
    const enum severity most = s->worst + (enum severity)in->level;

    if (in->alerts_firing != s->firing || (in->status == INCIDENT_RESOLVED) != (s->firing == 0))
        return "an incident does not end with the last of its alerts";
    if (in->occurrences != s->occurrences)
        return "an incident counts other occurrences than the rules";
    if (in->alerts_total != s->total)
        return "an incident counts other alerts than the rules";
    if (in->level < level_of(s->occurrences))
        return "a threshold was crossed, and nobody was told";
    if (in->severity < s->worst || in->severity > most)
        return "an incident is not as severe as its alerts and its level";
    return NULL;
}

/* Within a window, from nothing: one incident of each anomaly, and what it counts. */
static const char *one_incident(const struct history *h, struct arena *a)
{
    if (!history_is_bounded(h))
        return NULL;
    const struct world *w = world_of(h, false, a);
    const char *why = w->broken;
    size_t expected = 0;

    for (uint32_t i = 0; i < ANOMALIES && !why; i++) {
        const struct incident *in = w->anomalies[i].incident;
        struct sum s;
        sum_up(h, i, a, &s);
        expected += s.occurrences > 0;
        if ((in != NULL) != (s.occurrences > 0))
            why = "an anomaly has no incident, or one of nothing";
        else if (in)
            why = incident_is_wrong(in, &s);
    }
    return why ? why : w->incident_n != expected ? "an anomaly has two incidents" : NULL;
}

static void test_within_a_window_there_is_one_incident(void **state)
{
    static const struct law law = {
        "within a window, any order and any split make the one incident of the rules",
        {.span = WINDOW,
         .arrival = ANY_ORDER,
         .alerts = ALERTS,
         .motifs = 9,
         .copies = true,
         .limits = ROOMY},
        4000,
        one_incident};

    (void)state;
    law_hold(&law);
}

/* ---- against the same in order ---- */

static const char *same_in_order(const struct history *h, struct arena *a)
{
    struct history *sorted = arena_new_of(a, struct history);

    if (!history_is_bounded(h))
        return NULL;
    history_sorted(h, sorted);
    struct world *w = world_of(h, false, a), *other = world_of(sorted, true, a);
    const char *why = w->broken ? w->broken : other->broken;
    return why ? why : world_differs(w, other, false);
}

static void test_a_past_changes_nothing_of_that(void **state)
{
    static const struct law law = {
        "more than a window after the last end, any order and any split make the same incidents",
        {.span = WINDOW,
         .arrival = ANY_ORDER,
         .alerts = ALERTS,
         .motifs = 6,
         .prelude = true,
         .copies = true,
         .limits = ROOMY},
        3000,
        same_in_order};

    (void)state;
    law_hold(&law);
}

/* Exactly, unless an occurrence turned out to be none after it had been told: other cuts would not
 * have told it. */
static const char *same(struct world *one, struct world *other)
{
    if (one->broken || other->broken)
        return one->broken ? one->broken : other->broken;
    return world_differs(one, other, !one->took_back && !other->took_back);
}

static const char *cuts_are_nothing(const struct history *h, struct arena *a)
{
    return same(world_of(h, false, a), world_of(h, true, a));
}

static void test_cuts_change_nothing(void **state)
{
    static const struct law law = {
        "any cut into batches makes the same incidents, with the same names, times and severities",
        {.span = 6 * WINDOW,
         .arrival = IN_ORDER,
         .alerts = ALERTS,
         .motifs = 12,
         .storms = true,
         .limits = TIGHT},
        2500,
        cuts_are_nothing};

    (void)state;
    law_hold(&law);
}

/* (A copy may be where a batch ends.) */
static const char *copies_are_nothing(const struct history *h, struct arena *a)
{
    struct history *once = arena_new_of(a, struct history);

    history_sorted(h, once);
    return same(world_of(h, false, a), world_of(once, false, a));
}

static void test_copies_change_nothing(void **state)
{
    static const struct law law = {"a copy of a record changes no incident",
                                   {.span = 4 * WINDOW,
                                    .arrival = IN_ORDER,
                                    .alerts = ALERTS,
                                    .motifs = 9,
                                    .copies = true,
                                    .limits = ROOMY},
                                   3000,
                                   copies_are_nothing};

    (void)state;
    law_hold(&law);
}

/* ---- beyond ---- */

static const char *rows_agree(const struct history *h, struct arena *a)
{
    const struct world *w = world_of(h, false, a);
    struct verdict *v = arena_new_of(a, struct verdict);
    const char *why = w->broken;

    for (uint32_t i = 0; i < ALERTS && !why; i++) {
        oracle_ask(h->v, h->n, i, h->limits.window_ms, a, v);
        if (v->firing && !w->alerts[i].row.firing)
            why = "an alert is hidden";
        if (v->ever && !w->alerts[i].row.incident && !w->acted)
            why = "an alert fired, and no incident knows of it";
    }
    return why;
}

static void test_no_order_makes_rows_disagree(void **state)
{
    static const struct law law = {
        "beyond all bounds, what fires is in an open incident, and every count agrees",
        {.span = 6 * WINDOW,
         .arrival = ANY_ORDER,
         .alerts = ALERTS,
         .motifs = 14,
         .copies = true,
         .storms = true,
         .silences = true,
         .limits = TIGHT},
        3000,
        rows_agree};

    (void)state;
    law_hold(&law);
}

static void test_a_manual_resolve_holds(void **state)
{
    static const struct law law = {
        "a manual resolve holds until a new occurrence, and hides no alert",
        {.span = 4 * WINDOW,
         .arrival = LAGGING,
         .alerts = ALERTS,
         .motifs = 9,
         .copies = true,
         .by_hand = true,
         .limits = ROOMY},
        3000,
        rows_agree};

    (void)state;
    law_hold(&law);
}

static void test_no_room_loses_nothing(void **state)
{
    static const struct law law = {
        "past the limit of open incidents what fires is in the overflow's",
        {.span = 3 * WINDOW,
         .arrival = LAGGING,
         .alerts = ALERTS,
         .motifs = 12,
         .copies = true,
         .open_limit = 2,
         .limits = ROOMY},
        3000,
        rows_agree};

    (void)state;
    law_hold(&law);
}

static void test_every_awkward_case_came(void **state)
{
    (void)state;
    law_covered((1U << AWKWARDS) - 1);
}

static void test_every_rule_was_tried(void **state)
{
    (void)state;
    rules_tried();
    world_tried();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_a_window_there_is_one_incident),
        cmocka_unit_test(test_a_past_changes_nothing_of_that),
        cmocka_unit_test(test_cuts_change_nothing),
        cmocka_unit_test(test_copies_change_nothing),
        cmocka_unit_test(test_no_order_makes_rows_disagree),
        cmocka_unit_test(test_a_manual_resolve_holds),
        cmocka_unit_test(test_no_room_loses_nothing),
        cmocka_unit_test(test_every_awkward_case_came),
        cmocka_unit_test(test_every_rule_was_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
