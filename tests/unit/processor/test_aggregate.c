/* The life of an incident, change by change, on plain values. */
#include "reports.h"

#include "common/clock.h"
#include "processor/aggregate.h"

static const struct frequency_settings thresholds = {3, 5, 10};
static const struct aggregate_rules rules = {WINDOW, &thresholds};

struct scene {
    struct arena *a;
    struct anomaly_state anomaly;
    struct alert_row alerts[3];
    struct news_list news;
    uint32_t causes;
};

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));

    s->a = arena_new(4 << 20);
    s->news.a = s->a;
    s->anomaly.id.alert_name = SLICE_LIT("Disk");
    for (size_t i = 0; i < 3; i++)
        s->alerts[i] = (struct alert_row){.fingerprint = i + 1, .anomaly = &s->anomaly};
    *state = s;
    return s->a ? 0 : -1;
}

static int teardown(void **state)
{
    struct scene *s = *state;

    arena_free(s->a);
    free(s);
    return 0;
}

static struct change *change(struct scene *s, enum change_kind kind, double at, bool counted)
{
    struct change *c = arena_new_of(s->a, struct change);

    *c = (struct change){.kind = kind, .at = SEC(at), .counted = counted};
    c->order = (struct order){.at = SEC(at), .index = s->causes++};
    return c;
}

static void apply_with(struct scene *s, size_t alert, struct change *c, enum severity severity)
{
    const struct incident_words w = {
        .title = SLICE_LIT("Disk is ill"), .severity = severity, .severity_again = severity};

    aggregate_apply(&s->alerts[alert], c, &w, &rules, &s->news);
    assert_false(s->news.failed);
}

static void begins(struct scene *s, size_t alert, double at)
{
    apply_with(s, alert, change(s, s->alerts[alert].firing ? CHANGE_AGAIN : CHANGE_BEGAN, at, true),
               SEVERITY_WARNING);
}

static void flaps(struct scene *s, size_t alert, double at)
{
    apply_with(s, alert, change(s, CHANGE_BEGAN, at, false), SEVERITY_WARNING);
}

static void ends(struct scene *s, size_t alert, double at)
{
    apply_with(s, alert, change(s, CHANGE_ENDED, at, false), SEVERITY_WARNING);
}

/* "opened crossing": the news since the last look. */
static const char *told(struct scene *s)
{
    const char *text = "";

    for (size_t i = 0; i < s->news.n; i++)
        text = arena_printf(s->a, "%s%s%s", text, i ? " " : "", news_name(s->news.v[i].kind));
    s->news.n = 0;
    return text;
}

static void check(struct scene *s, enum incident_status status, int32_t episode, int32_t firing,
                  int64_t occurrences)
{
    const struct incident *i = s->anomaly.incident;

    assert_non_null(i);
    assert_int_equal(i->status, status);
    assert_int_equal(i->episode, episode);
    assert_int_equal(i->alerts_firing, firing);
    assert_int_equal(i->occurrences, occurrences);
}

static void test_open_join_end(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    assert_string_equal(told(s), "opened");
    begins(s, 1, 5);
    assert_string_equal(told(s), "occurrence");
    check(s, INCIDENT_OPEN, 1, 2, 2);
    assert_int_equal(s->anomaly.incident->alerts_total, 2);
    ends(s, 0, 50);
    assert_string_equal(told(s), "ended");
    check(s, INCIDENT_OPEN, 1, 1, 2);
    ends(s, 1, 60);
    assert_string_equal(told(s), "ended resolved");
    check(s, INCIDENT_RESOLVED, 1, 0, 2);
    assert_int_equal(s->anomaly.incident->resolved_by, RESOLVED_BY_ALERTS);
    assert_int_equal(s->anomaly.incident->resolved_at, SEC(60));
}

/* Two partitions: the earlier end comes later. */
static void test_resolved_when_the_last_ended(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    begins(s, 1, 1);
    ends(s, 0, 100);
    ends(s, 1, 50);
    check(s, INCIDENT_RESOLVED, 1, 0, 2);
    assert_int_equal(s->anomaly.incident->resolved_at, SEC(100));
}

static void test_reopened_within_the_window(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    ends(s, 0, 60);
    (void)told(s);
    begins(s, 0, 660); /* 600 s after the end: still within */
    assert_string_equal(told(s), "reopened");
    check(s, INCIDENT_OPEN, 2, 1, 2);
    assert_int_equal(s->anomaly.incident->resolved_at, 0);
}

static void test_new_after_the_window(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    const struct incident *first = s->anomaly.incident;
    ends(s, 0, 60);
    (void)told(s);
    begins(s, 0, 660.001);
    assert_string_equal(told(s), "opened");
    check(s, INCIDENT_OPEN, 1, 1, 1);
    assert_ptr_not_equal(s->anomaly.incident, first);
    assert_int_not_equal(uuid_cmp(&s->anomaly.incident->id, &first->id), 0);
    assert_int_equal(first->alerts_firing, 0);
}

static void resolve_by_hand(struct scene *s, double at)
{
    s->anomaly.incident->status = INCIDENT_RESOLVED;
    s->anomaly.incident->resolved_by = RESOLVED_BY_PERSON;
    s->anomaly.incident->resolved_at = SEC(at);
}

static void test_manual_resolve_holds(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    begins(s, 1, 1);
    resolve_by_hand(s, 30);
    (void)told(s);
    ends(s, 0, 40);
    flaps(s, 0, 45); /* the same occurrence again */
    apply_with(s, 1, change(s, CHANGE_AGAIN, 46, false), SEVERITY_CRITICAL);
    assert_string_equal(told(s), "ended");
    check(s, INCIDENT_RESOLVED, 1, 2, 2);
    begins(s, 1, 50); /* a new one, and the third */
    assert_string_equal(told(s), "reopened crossing");
    check(s, INCIDENT_OPEN, 2, 2, 3);
    assert_int_equal(s->anomaly.incident->resolved_by, 0);
}

static void test_flap_within_the_window_reopens(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    ends(s, 0, 60);
    (void)told(s);
    flaps(s, 0, 70);
    assert_string_equal(told(s), "reopened");
    check(s, INCIDENT_OPEN, 2, 1, 1);
}

static void test_crossings_one_by_one(void **state)
{
    static const enum escalation_level at[] = {0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3};
    struct scene *s = *state;

    for (int i = 0; i < 12; i++) {
        begins(s, 0, i);
        const bool crossed = i == 2 || i == 4 || i == 9;
        assert_string_equal(told(s), i == 0    ? "opened"
                                     : crossed ? "occurrence crossing"
                                               : "occurrence");
        assert_int_equal(s->anomaly.incident->level, at[i]);
    }
    assert_int_equal(s->anomaly.incident->severity, SEVERITY_CRITICAL); /* two steps, and no more */
    assert_int_equal(s->anomaly.incident->opened_level, LEVEL_NONE);
    assert_int_equal(s->anomaly.occurrences, 12);
}

static void test_opens_at_the_level_it_has(void **state)
{
    struct scene *s = *state;

    for (int i = 0; i < 2; i++) {
        begins(s, 0, 2000 * i);
        ends(s, 0, 2000 * i + 10);
    }
    (void)told(s);
    begins(s, 0, 4000); /* the third opens at REPEAT, one step up, in one message */
    assert_string_equal(told(s), "opened");
    assert_int_equal(s->anomaly.incident->opened_level, LEVEL_REPEAT);
    assert_int_equal(s->anomaly.incident->severity, SEVERITY_ERROR);
    ends(s, 0, 4010);
    begins(s, 0, 6000); /* the fourth crosses nothing */
    assert_int_equal(s->anomaly.incident->level, LEVEL_REPEAT);
    assert_int_equal(s->anomaly.incident->severity, SEVERITY_WARNING);
}

static void test_a_day_later_it_is_new(void **state)
{
    struct scene *s = *state;

    for (int i = 0; i < 4; i++)
        begins(s, 0, i);
    ends(s, 0, 10);
    begins(s, 0, 90000);
    assert_int_equal(s->anomaly.incident->level, LEVEL_NONE);
}

static void test_severity_is_raised_and_never_lowered(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    apply_with(s, 1, change(s, CHANGE_BEGAN, 1, true), SEVERITY_CRITICAL);
    assert_string_equal(told(s), "opened occurrence severity");
    assert_int_equal(s->anomaly.incident->severity, SEVERITY_CRITICAL);
    apply_with(s, 2, change(s, CHANGE_BEGAN, 2, false), SEVERITY_INFO);
    assert_string_equal(told(s), "occurrence");
    assert_int_equal(s->anomaly.incident->severity, SEVERITY_CRITICAL);
}

static void past(struct scene *s, size_t alert, double at, double end, bool counted)
{
    struct change *began = change(s, CHANGE_BEGAN, at, counted),
                  *ended = change(s, CHANGE_ENDED, end, false);

    began->past = ended->past = true;
    apply_with(s, alert, began, SEVERITY_WARNING);
    apply_with(s, alert, ended, SEVERITY_WARNING);
    assert_false(s->alerts[alert].firing);
}

static void test_over_before_it_was_known(void **state)
{
    struct scene *s = *state;

    past(s, 0, 5, 20, true); /* the first word of it: visible, and over */
    assert_string_equal(told(s), "opened ended resolved");
    check(s, INCIDENT_RESOLVED, 1, 0, 1);
    past(s, 1, 6, 10, false);
    assert_string_equal(told(s), "");
    past(s, 1, 6, 10, true); /* part of what is over already */
    check(s, INCIDENT_RESOLVED, 1, 0, 2);
    assert_int_equal(s->anomaly.incident->resolved_at, SEC(20));
    assert_int_equal(s->anomaly.incident->alerts_total, 2);
    (void)told(s);
    past(s, 1, 30, 40, true); /* later than that: again, and over again */
    assert_string_equal(told(s), "reopened crossing ended resolved");
    begins(s, 2, 50);
    past(s, 0, 45, 48, true);
    check(s, INCIDENT_OPEN, 3, 1, 5);
}

/* Two that are past come to light at once, and one of them is known: nobody fires. */
static void test_two_pasts_at_once(void **state)
{
    struct scene *s = *state;
    struct change *known = change(s, CHANGE_BEGAN, 5, false),
                  *next = change(s, CHANGE_AGAIN, 8, true),
                  *end = change(s, CHANGE_ENDED, 9, false);

    begins(s, 1, 0);
    known->past = next->past = end->past = true;
    apply_with(s, 0, known, SEVERITY_WARNING);
    apply_with(s, 0, next, SEVERITY_WARNING);
    apply_with(s, 0, end, SEVERITY_WARNING);
    check(s, INCIDENT_OPEN, 1, 1, 2);
}

static void test_a_late_past_does_not_undo_a_manual_resolve(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    resolve_by_hand(s, 30);
    (void)told(s);
    past(s, 1, 10, 20, true);
    check(s, INCIDENT_RESOLVED, 1, 1, 2);
    assert_int_equal(s->anomaly.incident->resolved_by, RESOLVED_BY_PERSON);
}

static void test_uncount(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    begins(s, 1, 1);
    aggregate_uncount(&s->alerts[1], SEC(1));
    begins(s, 2, 2); /* the third word, but the second occurrence: nothing is crossed */
    check(s, INCIDENT_OPEN, 1, 3, 2);
    assert_int_equal(s->anomaly.occurrences, 2);
    assert_int_equal(s->anomaly.incident->level, LEVEL_NONE);
    assert_int_equal(frequency_count(&s->anomaly.frequency, SEC(5)).h24, 2);
}

/* What is taken back is taken from the incident that counted it, not from the next one. */
static void test_uncount_then_open(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    begins(s, 0, 1);
    const struct incident *first = s->anomaly.incident;
    aggregate_uncount(&s->alerts[0], SEC(1));
    ends(s, 0, 2);
    begins(s, 0, 1000);
    assert_int_equal(first->occurrences, 1);
    check(s, INCIDENT_OPEN, 1, 1, 1);
}

static void test_moves_on_to_the_next_incident(void **state)
{
    struct scene *s = *state;

    begins(s, 0, 0);
    struct incident *first = s->anomaly.incident;
    resolve_by_hand(s, 10);
    begins(s, 1, 1000); /* another alert opens the next; the first one still fires */
    assert_int_equal(first->alerts_firing, 1);
    begins(s, 0, 1001);
    assert_int_equal(first->alerts_firing, 0);
    check(s, INCIDENT_OPEN, 1, 2, 2);
}

static void test_acknowledged_by_a_record(void **state)
{
    struct scene *s = *state;
    struct alert_row *disk = &s->alerts[0];
    const struct slice ann = SLICE_LIT("ann"), ben = SLICE_LIT("ben");

    assert_false(aggregate_acknowledge(disk, SEC(1), ann)); /* of an unknown alert */
    begins(s, 0, 10);
    assert_false(aggregate_acknowledge(disk, SEC(9), ann)); /* of what began later */
    check(s, INCIDENT_OPEN, 1, 1, 1);
    assert_true(aggregate_acknowledge(disk, SEC(20), ann));
    check(s, INCIDENT_ACKNOWLEDGED, 1, 1, 1);
    assert_int_equal(s->anomaly.incident->updated_at, SEC(20));
    assert_false(aggregate_acknowledge(disk, SEC(21), ben));
    assert_true(slice_is(s->anomaly.incident->owner, "ann"));
    begins(s, 1, 30); /* a further occurrence opens nothing again */
    check(s, INCIDENT_ACKNOWLEDGED, 1, 2, 2);
    ends(s, 0, 40);
    ends(s, 1, 50);
    assert_false(aggregate_acknowledge(disk, SEC(60), ann)); /* of what is over */
    check(s, INCIDENT_RESOLVED, 1, 0, 2);
    begins(s, 1, 70);
    assert_false(aggregate_acknowledge(&s->alerts[1], SEC(60), ann)); /* of the episode before */
    assert_false(aggregate_acknowledge(disk, SEC(80), ann)); /* this one does not fire any more */
    check(s, INCIDENT_OPEN, 2, 1, 3);
    assert_true(aggregate_acknowledge(&s->alerts[1], SEC(80), (struct slice){NULL, 0}));
    check(s, INCIDENT_ACKNOWLEDGED, 2, 1, 3);
    assert_int_equal(s->anomaly.incident->owner.len, 0);
}

static void test_ended_by_silence(void **state)
{
    struct scene *s = *state;
    struct change *c = change(s, CHANGE_ENDED, 60, false);

    begins(s, 0, 0);
    c->by_silence = true;
    apply_with(s, 0, c, SEVERITY_WARNING);
    assert_int_equal(s->anomaly.incident->resolved_by, RESOLVED_BY_SILENCE);
}

static void test_overflow(void **state)
{
    struct scene *s = *state;
    struct anomaly_state over = {.id.alert_name = SLICE_LIT(OVERFLOW_ALERT)};
    struct room room = {.left = 0, .overflow = &over};

    s->anomaly.room = &room;
    begins(s, 0, 0);
    assert_null(s->anomaly.incident);
    assert_ptr_equal(s->alerts[0].incident, over.incident);
    assert_int_equal(s->anomaly.occurrences, 1);
    assert_int_equal(over.occurrences, 0);
    room.left = 1; /* room again: it stays while it fires, then it has one of its own */
    begins(s, 0, 1);
    assert_ptr_equal(s->alerts[0].incident, over.incident);
    ends(s, 0, 2);
    assert_int_equal(over.incident->status, INCIDENT_RESOLVED);
    begins(s, 0, 3);
    check(s, INCIDENT_OPEN, 1, 1, 1);
    assert_int_equal(room.left, 0);
    begins(s, 1, 4); /* its incident is open: no room is needed */
    check(s, INCIDENT_OPEN, 1, 2, 2);
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_open_join_end),
        ONE(test_resolved_when_the_last_ended),
        ONE(test_reopened_within_the_window),
        ONE(test_new_after_the_window),
        ONE(test_manual_resolve_holds),
        ONE(test_flap_within_the_window_reopens),
        ONE(test_crossings_one_by_one),
        ONE(test_opens_at_the_level_it_has),
        ONE(test_a_day_later_it_is_new),
        ONE(test_severity_is_raised_and_never_lowered),
        ONE(test_over_before_it_was_known),
        ONE(test_two_pasts_at_once),
        ONE(test_a_late_past_does_not_undo_a_manual_resolve),
        ONE(test_uncount),
        ONE(test_uncount_then_open),
        ONE(test_moves_on_to_the_next_incident),
        ONE(test_acknowledged_by_a_record),
        ONE(test_ended_by_silence),
        ONE(test_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
