/* What became of an attempt. */
#include "testing.h"

#include "common/clock.h"
#include "learner/decide.h"

#define AT INT64_C(1767225600000)
#define MIN MS_MINUTE
static const struct windows w = {.settle = 15 * MIN, .stability = 30 * MIN, .lag = 2 * MIN};

struct facts {
    struct attempt attempt;
    struct history h;
    struct event events[4];
    int64_t occurrences[4];
};

static struct facts facts(enum outcome claim)
{
    return (struct facts){.attempt = {.at = AT, .claim = claim}, .h = {.known = true}};
}

static void event(struct facts *f, int64_t at, enum event_kind kind)
{
    f->events[f->h.event_n++] = (struct event){at, kind};
}

static struct decision at(struct facts *f, int64_t now)
{
    f->h.events = f->events;
    f->h.occurrences = f->occurrences;
    return decide(&f->attempt, &f->h, &w, now);
}

#define assert_decided(d_, outcome_, reason_)                                                      \
    do {                                                                                           \
        const struct decision d = (d_);                                                            \
        assert_int_equal(d.outcome, (outcome_));                                                   \
        assert_string_equal(d.reason, (reason_));                                                  \
    } while (0)

#define assert_pending(d_, look_)                                                                  \
    do {                                                                                           \
        const struct decision d = (d_);                                                            \
        assert_int_equal(d.outcome, OUTCOME_PENDING);                                              \
        assert_int_equal(d.look_at, (look_));                                                      \
    } while (0)

static void a_claim_waits_for_the_end_and_for_quiet(void **state)
{
    struct facts f = facts(OUTCOME_SUCCESS);

    (void)state;
    assert_pending(at(&f, AT), AT + 17 * MIN);
    event(&f, AT + 5 * MIN, EVENT_RESOLVED);
    assert_pending(at(&f, AT + 17 * MIN), AT + 37 * MIN);
    assert_pending(at(&f, AT + 37 * MIN - 1), AT + 37 * MIN);
    assert_decided(at(&f, AT + 37 * MIN), OUTCOME_SUCCESS, "resolved, and quiet for 30m");
}

static void not_resolved_in_time_is_a_failure(void **state)
{
    struct facts f = facts(OUTCOME_SUCCESS);

    (void)state;
    assert_pending(at(&f, AT + 17 * MIN - 1), AT + 17 * MIN);
    assert_decided(at(&f, AT + 17 * MIN), OUTCOME_FAILURE, "not resolved within 15m");
    event(&f, AT + 15 * MIN + 1, EVENT_RESOLVED);
    assert_decided(at(&f, AT + 60 * MIN), OUTCOME_FAILURE, "not resolved within 15m");
}

static void fired_again_is_a_failure(void **state)
{
    struct facts f = facts(OUTCOME_SUCCESS);

    (void)state;
    event(&f, AT + MIN, EVENT_RESOLVED);
    event(&f, AT + 4 * MIN, EVENT_REOPENED);
    assert_decided(at(&f, AT + 5 * MIN), OUTCOME_FAILURE,
                   "it fired again 3m after it had resolved");
    /* as a new incident, after the aggregation window: only the occurrence tells */
    f = facts(OUTCOME_SUCCESS);
    event(&f, AT + MIN, EVENT_RESOLVED);
    f.occurrences[0] = AT - MIN;
    f.occurrences[1] = AT + 30 * MIN;
    f.h.occurrence_n = 2;
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_FAILURE,
                   "it fired again 29m after it had resolved");
    f.occurrences[1] = AT + 31 * MIN + 1;
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_SUCCESS, "resolved, and quiet for 30m");
}

static void what_nobody_can_tell_is_unknown(void **state)
{
    struct facts f = facts(OUTCOME_SUCCESS);

    (void)state;
    event(&f, AT + MIN, EVENT_RESOLVED_MUTELY);
    assert_decided(at(&f, AT + 2 * MIN), OUTCOME_UNKNOWN, "a person resolved it without a word");
    f.events[0].kind = EVENT_EXPIRED;
    assert_decided(at(&f, AT + 2 * MIN), OUTCOME_UNKNOWN, "it ended by silence");
    f.events[0].kind = EVENT_RESOLVED;
    f.h.other_at = AT + MIN;
    f.h.other_action = SLICE_LIT("scale_up");
    assert_decided(at(&f, AT + 2 * MIN), OUTCOME_UNKNOWN, "scale_up was tried before it resolved");
    f.h.other_at = AT + MIN + 1; /* after the end: it did not bring it */
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_SUCCESS, "resolved, and quiet for 30m");
    f.h.forgotten = AT + 80 * MIN;
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_UNKNOWN,
                   "too much happened since to tell whether it stayed quiet");
    f.h.forgotten = AT + 3 * MIN;
    assert_int_equal(at(&f, AT + 90 * MIN).outcome, OUTCOME_FAILURE);
    f.h.known = false;
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_UNKNOWN, "no such incident");
}

/* Nobody counts a success that its own reporter denies. */
static void a_denied_success_is_unknown_a_denied_failure_stands(void **state)
{
    struct facts f = facts(OUTCOME_FAILURE);

    (void)state;
    assert_decided(at(&f, AT + 17 * MIN), OUTCOME_FAILURE, "not resolved within 15m");
    event(&f, AT + MIN, EVENT_RESOLVED);
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_UNKNOWN,
                   "reported as a failure, but the incident resolved");
    f.attempt.claim = OUTCOME_UNKNOWN;
    assert_int_equal(at(&f, AT + 90 * MIN).outcome, OUTCOME_SUCCESS);
}

static void verified_is_decided_at_once(void **state)
{
    (void)state;
    for (enum outcome o = OUTCOME_SUCCESS; o <= OUTCOME_UNKNOWN; o++) {
        struct facts f = facts(o);
        f.attempt.verified = true;
        assert_decided(at(&f, AT), o, "verified by the reporter");
    }
}

/* People repair first and report when it is over. */
static void a_report_after_the_end_stands_for_an_attempt_before(void **state)
{
    struct facts f = facts(OUTCOME_SUCCESS);

    (void)state;
    event(&f, AT - 3 * MIN, EVENT_RESOLVED);
    f.h.resolved_at = AT - 3 * MIN;
    assert_decided(at(&f, AT + 29 * MIN), OUTCOME_SUCCESS, "resolved, and quiet for 30m");
    /* the settle window before the report is all that was read */
    f.h.event_n = 0;
    f.h.resolved_at = AT - 20 * MIN;
    assert_decided(at(&f, AT), OUTCOME_UNKNOWN, "reported after the incident was over");
    /* open again when it was reported: an end before that is another's */
    f = facts(OUTCOME_SUCCESS);
    event(&f, AT - 3 * MIN, EVENT_RESOLVED);
    event(&f, AT - 2 * MIN, EVENT_REOPENED);
    assert_pending(at(&f, AT), AT + 17 * MIN);
    event(&f, AT + 2 * MIN, EVENT_RESOLVED);
    assert_decided(at(&f, AT + 90 * MIN), OUTCOME_SUCCESS, "resolved, and quiet for 30m");
}

static void names_go_both_ways(void **state)
{
    enum outcome o = OUTCOME_PENDING;

    (void)state;
    for (enum outcome i = OUTCOME_PENDING; i <= OUTCOME_UNKNOWN; i++) {
        assert_true(outcome_parse(slice_of(outcome_name(i)), &o));
        assert_int_equal(o, i);
    }
    assert_false(outcome_parse(SLICE_LIT("Success"), &o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_waits_for_the_end_and_for_quiet),
        cmocka_unit_test(not_resolved_in_time_is_a_failure),
        cmocka_unit_test(fired_again_is_a_failure),
        cmocka_unit_test(what_nobody_can_tell_is_unknown),
        cmocka_unit_test(a_denied_success_is_unknown_a_denied_failure_stands),
        cmocka_unit_test(verified_is_decided_at_once),
        cmocka_unit_test(a_report_after_the_end_stands_for_an_attempt_before),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
