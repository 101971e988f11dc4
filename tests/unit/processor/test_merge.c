/* The laws of merging, on many generated histories, and each rule once by name. */
#include "reports.h"

#define CASES 4000
#define REPORTS 40

/* ---- laws ---- */

static size_t history(struct dice *d, enum profile p, uint32_t span, struct report v[REPORTS])
{
    const size_t n = 1 + below(d, REPORTS);

    for (size_t i = 0; i < n; i++)
        v[i] = any_report(d, p, span);
    return n;
}

static struct facts facts_of(const struct report *v, size_t n)
{
    struct facts f;

    facts_init(&f);
    for (size_t i = 0; i < n; i++)
        facts_add(&f, &v[i], &roomy);
    return f;
}

static void check_same(const struct facts *a, const struct facts *b, const char *law, uint64_t seed)
{
    struct arena *arena = arena_new(1 << 20);
    assert_non_null(arena);
    const struct slice x = facts_pack(a, arena), y = facts_pack(b, arena);

    if (!x.p || !slice_eq(x, y))
        fail_msg("%s: seed %llu", law, (unsigned long long)seed);
    arena_free(arena);
}

static void test_again_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct report v[2 * REPORTS];
        const size_t n = history(&d, (enum profile)(seed % PROFILES), 500, v);
        const struct facts once = facts_of(v, n);
        size_t more = n;
        for (size_t i = 0; i < n; i++)
            v[more++] = v[below(&d, (uint32_t)n)];
        const struct facts twice = facts_of(v, more);
        check_same(&once, &twice, "again", seed);
    }
}

static void test_order_of_arrival_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct report v[REPORTS];
        const size_t n = history(&d, (enum profile)(seed % PROFILES), 500, v);
        const struct facts one = facts_of(v, n);
        shuffle(&d, v, n);
        const struct facts other = facts_of(v, n);
        check_same(&one, &other, "permutation", seed);
    }
}

/* The state is what the rules say of the bare reports, however they came. */
static void test_state_follows_the_rules(void **state)
{
    size_t firing = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct report v[REPORTS];
        struct derived s;
        const size_t n = history(&d, (enum profile)(seed % PROFILES), 500, v);
        const struct facts f = facts_of(v, n);
        facts_derive(&f, &roomy, &s);
        if (s.state.firing != must_fire(v, n))
            fail_msg("seed %llu: firing %d", (unsigned long long)seed, s.state.firing);
        assert_true(s.state.firing == (s.state.ended_at == 0) || s.state.starts_at == 0);
        firing += s.state.firing;
    }
    assert_in_range(firing, CASES / 10, CASES * 9 / 10); /* the histories say both */
}

/* Forgetting, by age and by the least of caps, never hides what fires. */
static void test_nothing_that_fires_is_hidden(void **state)
{
    static const struct merge_limits tight = {.window_ms = 60000, .starts = 8, .marks = 8};

    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct report v[4 * REPORTS];
        struct facts f;
        const size_t n = 1 + below(&d, 4 * REPORTS);
        for (size_t i = 0; i < n; i++)
            v[i] = any_report(&d, (enum profile)(seed % PROFILES), 2000);
        if (seed & 8)
            qsort(v, n, sizeof(v[0]), report_cmp);
        facts_init(&f);
        for (size_t i = 0; i < n; i++) {
            struct derived s;
            facts_add(&f, &v[i], &tight);
            if (seed & 16)
                (void)facts_prune(&f, &tight);
            assert_in_range(f.start_n, 0, 8);
            assert_in_range(f.end_n, 0, 8);
            assert_in_range(f.mark_n, 0, 8);
            facts_derive(&f, &tight, &s);
            if (!s.state.firing && must_fire(v, i + 1))
                fail_msg("hidden: seed %llu, report %zu", (unsigned long long)seed, i);
        }
    }
}

/* What is forgotten says nothing about now, and renames no occurrence. */
static void test_pruning_keeps_the_state(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct report v[REPORTS];
        struct derived before, after;
        const size_t n = history(&d, (enum profile)(seed % PROFILES), 5000, v);
        struct facts f = facts_of(v, n);
        facts_derive(&f, &roomy, &before);
        const bool changed = facts_prune(&f, &roomy);
        facts_derive(&f, &roomy, &after);
        assert_int_equal(before.state.firing, after.state.firing);
        assert_int_equal(before.state.starts_at, after.state.starts_at);
        assert_int_equal(before.state.ended_at, after.state.ended_at);
        for (uint32_t i = 0; i < after.occurrence_n; i++)
            if (!occurrence_among(&before, &after.occurrences[i]))
                fail_msg("renamed: seed %llu", (unsigned long long)seed);
        assert_true(changed || before.occurrence_n == after.occurrence_n);
    }
}

/* ---- bytes ---- */

static void test_pack_and_unpack(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES / 4; seed++) {
        struct dice d = {seed};
        struct report v[REPORTS];
        struct arena *a = arena_new(1 << 20);
        struct facts back;
        struct err e = {0};
        const size_t n = history(&d, MIXED, 500, v);
        struct facts f = facts_of(v, n);
        facts_add_silence(&f, SEC(900), &roomy);
        const struct slice bytes = facts_pack(&f, a);
        assert_non_null(bytes.p);
        assert_int_equal(facts_unpack(bytes, &back, &e), 0);
        assert_true(slice_eq(facts_pack(&back, a), bytes));
        for (size_t cut = 1; cut < bytes.len; cut += 1 + below(&d, 50))
            assert_int_equal(facts_unpack((struct slice){bytes.p, cut}, &back, &e), -EBADMSG);
        arena_free(a);
    }
}

/* Bytes that are none are refused or at least harmless. */
static void test_garbage(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct report v[REPORTS];
        struct arena *a = arena_new(1 << 20);
        struct facts f = facts_of(v, history(&d, MIXED, 500, v));
        struct derived s;
        struct err e = {0};
        const struct slice bytes = facts_pack(&f, a);
        char *p = arena_strndup(a, bytes.p, bytes.len);
        for (uint32_t i = 0; i <= below(&d, 8); i++)
            p[below(&d, (uint32_t)bytes.len)] = (char)roll(&d);
        if (facts_unpack((struct slice){p, bytes.len}, &f, &e) == 0) {
            facts_derive(&f, &roomy, &s);
            (void)facts_prune(&f, &roomy);
            facts_add(&f, &v[0], &roomy);
            facts_derive(&f, &roomy, &s);
        } else {
            assert_string_not_equal(e.msg, "");
        }
        arena_free(a);
    }
}

/* Ends by silence stood with a plain 1 before it was kept whether a promise undid them. */
static void test_older_bytes(void **state)
{
    static const double promised[] = {200, 500};
    struct arena *a = arena_new(1 << 16);

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct report v[] = {PROMISED(5, 0, 300)};
        const struct report late = PROMISED(4, 0, promised[i]);
        struct facts f = facts_of(v, 1);
        struct derived s;
        struct err e = {0};
        facts_add_silence(&f, SEC(300), &roomy);
        facts_add(&f, &late, &roomy);
        const struct slice bytes = facts_pack(&f, a);
        char *old = arena_strndup(a, bytes.p, bytes.len);
        old[bytes.len - 1] = 1; /* the end is the last of these facts */
        assert_int_equal(facts_unpack((struct slice){old, bytes.len}, &f, &e), 0);
        assert_true(f.ends[0].silence);
        facts_derive(&f, &roomy, &s);
        assert_int_equal(s.state.firing, promised[i] > 300);
        assert_true(slice_eq(facts_pack(&f, a), bytes));
    }
    arena_free(a);
}

static void test_empty_bytes_are_empty_facts(void **state)
{
    struct facts f;
    struct derived s;
    struct err e = {0};

    (void)state;
    assert_int_equal(facts_unpack((struct slice){NULL, 0}, &f, &e), 0);
    facts_derive(&f, &roomy, &s);
    assert_false(s.state.firing);
    assert_int_equal(s.state.starts_at, 0);
    assert_int_equal(s.occurrence_n, 0);
}

/* ---- each rule by name ---- */

#define STATE(...)                                                                                 \
    state_of((const struct report[]){__VA_ARGS__},                                                 \
             sizeof((const struct report[]){__VA_ARGS__}) / sizeof(struct report))

static struct derived state_of(const struct report *v, size_t n)
{
    const struct facts f = facts_of(v, n);
    struct derived s;

    facts_derive(&f, &roomy, &s);
    return s;
}

static void check_state(struct derived s, bool firing, double starts, uint32_t occurrences)
{
    assert_int_equal(s.state.firing, firing);
    assert_int_equal(s.state.starts_at, SEC(starts));
    assert_int_equal(s.occurrence_n, occurrences);
}

static void test_high_availability_pair_counts_one(void **state)
{
    (void)state;
    check_state(STATE(FIRING(10, 0), FIRING(12, 3)), true, 0, 1);
    check_state(STATE(FIRING(12, 3), FIRING(10, 0)), true, 0, 1);
    check_state(STATE(FIRING(10, 0), FIRING(12, 3), RESOLVE(20), RESOLVE(21)), false, 0, 1);
    /* One of them lags: its firing comes after the other's end. */
    check_state(STATE(FIRING(10, 0), ENDED_AT(20, 19), FIRING(21, 3)), true, 0, 1);
}

static void test_fires_again_with_its_old_start(void **state)
{
    (void)state;
    const struct derived s = STATE(FIRING(5, 0), ENDED_AT(60, 60), FIRING(70, 0));
    check_state(s, true, 0, 1);
    assert_int_equal(s.state.ended_at, 0);
    /* ... and the end that it overruled ends nothing later, either. */
    check_state(STATE(FIRING(5, 0), ENDED_AT(60, 60), FIRING(70, 0), FIRING(80, 75)), true, 0, 1);
    check_state(STATE(FIRING(5, 0), ENDED_AT(60, 60), FIRING(70, 0), FIRING(300, 200)), true, 0, 1);
}

static void test_new_start_after_an_end_is_new(void **state)
{
    (void)state;
    check_state(STATE(FIRING(5, 0), ENDED_AT(60, 60), FIRING(75, 70)), true, 70, 2);
    /* Without an end between, within a window it is the same; later it is not. */
    check_state(STATE(FIRING(5, 0), FIRING(75, 70)), true, 0, 1);
    check_state(STATE(FIRING(5, 0), FIRING(701, 700)), true, 0, 2);
    check_state(STATE(FIRING(5, 0), FIRING(400, 0), FIRING(701, 700)), true, 0, 1);
}

static void test_triggers_without_a_start(void **state)
{
    (void)state;
    check_state(STATE(TRIGGER(0), TRIGGER(10), RESOLVE(20), TRIGGER(30)), true, 30, 2);
    check_state(STATE(TRIGGER(0), TRIGGER(10), RESOLVE(20)), false, 0, 1);
    /* The end comes between by order, not by arrival. */
    check_state(STATE(TRIGGER(0), TRIGGER(30), RESOLVE(20)), true, 30, 2);
}

/* An end of what began earlier ends nothing of it. */
static void test_an_end_that_ended_nothing_parts_nothing(void **state)
{
    (void)state;
    check_state(STATE(TRIGGER(10), ENDED_AT(20, 5), TRIGGER(30)), true, 10, 1);
    check_state(STATE(TRIGGER(10), ENDED_AT(20, 10), TRIGGER(30)), true, 30, 2);
}

/* What was open within the window is remembered, so that a late report is part of it. */
static void test_late_part_of_what_was_open(void **state)
{
    struct report marks[] = {TRIGGER(0), RESOLVE(200), TRIGGER(605), TRIGGER(700), TRIGGER(150)};
    struct report starts[] = {FIRING(0, 0), RESOLVE(200), FIRING(605, 604), FIRING(700, 604),
                              FIRING(150, 149)};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct facts f;
        struct derived before, after;
        facts_init(&f);
        for (size_t j = 0; j < 5; j++) {
            facts_derive(&f, &roomy, &before);
            facts_add(&f, i ? &starts[j] : &marks[j], &roomy);
            facts_derive(&f, &roomy, &after);
            (void)facts_prune(&f, &roomy);
        }
        for (uint32_t j = 0; j < after.occurrence_n; j++)
            assert_true(occurrence_among(&before, &after.occurrences[j]));
    }
}

static void test_resolve_before_its_firing(void **state)
{
    (void)state;
    const struct derived s = STATE(RESOLVE(20), FIRING(10, 5));
    check_state(s, false, 5, 1);
    assert_int_equal(s.state.ended_at, SEC(20));
    assert_false(STATE(RESOLVE(20)).state.firing);
    assert_int_equal(STATE(RESOLVE(20)).state.starts_at, 0);
    /* A later start is untouched by it. */
    check_state(STATE(ENDED_AT(20, 3), FIRING(10, 5)), true, 5, 1);
}

static void test_an_end_in_the_future_is_one_now(void **state)
{
    (void)state;
    check_state(STATE(FIRING(5, 0), ENDED_AT(20, 500), FIRING(30, 25)), true, 25, 2);
}

static void test_a_start_in_the_future_is_now(void **state)
{
    (void)state;
    check_state(STATE(FIRING(5, 50)), true, 5, 1);
    check_state(STATE(FIRING(5, 50), RESOLVE(20)), false, 5, 1);
}

static struct derived after_silence(struct report *v, size_t n, double at,
                                    const struct report *later)
{
    struct facts f = facts_of(v, n);
    struct derived s;

    facts_add_silence(&f, SEC(at), &roomy);
    if (later)
        facts_add(&f, later, &roomy);
    facts_derive(&f, &roomy, &s);
    return s;
}

static void test_promise_and_silence(void **state)
{
    struct report v[] = {PROMISED(5, 0, 300)};
    const struct report again = PROMISED(400, 0, 700), longer = PROMISED(4, 0, 500),
                        shorter = PROMISED(4, 0, 200), next = FIRING(400, 390);

    (void)state;
    struct derived s = state_of(v, 1);
    assert_int_equal(s.state.promise, SEC(300));
    s = after_silence(v, 1, 300, NULL);
    check_state(s, false, 0, 1);
    assert_true(s.state.by_silence);
    assert_int_equal(s.state.ended_at, SEC(300));
    check_state(after_silence(v, 1, 300, &again), true, 0, 1);
    check_state(after_silence(v, 1, 300, &longer), true, 0, 1);
    check_state(after_silence(v, 1, 300, &shorter), false, 0, 1);
    check_state(after_silence(v, 1, 300, &next), true, 390, 2);
    /* A promise that a newer report outlived says nothing about when silence begins. */
    assert_int_equal(STATE(PROMISED(5, 0, 300), FIRING(400, 0)).state.promise, 0);
    assert_int_equal(STATE(PROMISED(5, 0, 300), PROMISED(200, 0, 250)).state.promise, SEC(300));
}

/* What fires after an end by silence is new, whatever it promises: a promise speaks of the time
 * from when it was received. */
static void test_a_promise_undoes_no_silence_before_it(void **state)
{
    struct report mark = PROMISED(5, -1, 300), start = PROMISED(5, 0, 300);
    const struct report mark_again = PROMISED(400, -1, 700), soon = PROMISED(400, 390, 700),
                        in_a_week = PROMISED(604800, 604790, 605100),
                        at_once = PROMISED(300, -1, 700);

    (void)state;
    check_state(after_silence(&mark, 1, 300, &mark_again), true, 400, 2);
    check_state(after_silence(&start, 1, 300, &soon), true, 390, 2);
    check_state(after_silence(&start, 1, 300, &in_a_week), true, 604790, 2);
    /* What is said again the very moment that it was promised for goes on. */
    check_state(after_silence(&mark, 1, 300, &at_once), true, 5, 1);
}

#define SILENCE 4
static struct facts in_turn(const struct report v[SILENCE], const int turn[SILENCE + 1])
{
    struct facts f;

    facts_init(&f);
    for (int i = 0; i <= SILENCE; i++) {
        if (turn[i] == SILENCE)
            facts_add_silence(&f, SEC(300), &roomy);
        else
            facts_add(&f, &v[turn[i]], &roomy);
    }
    return f;
}

/* ... and one that was received before it does, whenever we come to read it. */
static void test_a_late_promise_undoes_silence_in_any_order(void **state)
{
    const struct report v[] = {PROMISED(5, -1, 300), PROMISED(4, -1, 500), PROMISED(400, -1, 700),
                               PROMISED(400, 390, 700)};
    static const int turns[][SILENCE + 1] = {{0, SILENCE, 1, 2, 3},
                                             {0, SILENCE, 2, 1, 3},
                                             {0, SILENCE, 3, 2, 1},
                                             {0, 1, SILENCE, 2, 3},
                                             {1, 0, SILENCE, 3, 2}};
    const struct facts first = in_turn(v, turns[0]);

    (void)state;
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
        struct derived s;
        const struct facts f = in_turn(v, turns[i]);
        facts_derive(&f, &roomy, &s);
        check_state(s, true, 390, 2); /* the start, and the marks from 4 s on */
        check_same(&first, &f, "turns", i);
    }
}

/* Silence that was judged late ends nothing that was promised before the newest report. */
static void test_silence_judged_late(void **state)
{
    struct report v[] = {PROMISED(5, 2, 300), ENDED_AT(350, 1)};
    const struct report between = PROMISED(340, 2, 700);

    (void)state;
    check_state(after_silence(v, 2, 300, NULL), false, 2, 1);
    check_state(after_silence(v, 2, 300, &between), true, 2, 1);
}

static void test_the_word_of_a_sender_beats_silence(void **state)
{
    struct report v[] = {PROMISED(5, 0, 300)};
    const struct report end = RESOLVE(250);

    (void)state;
    const struct derived s = after_silence(v, 1, 300, &end);
    assert_false(s.state.firing);
    assert_false(s.state.by_silence);
    assert_int_equal(s.state.ended_at, SEC(250));
}

static void test_sentry(void **state)
{
    (void)state;
    check_state(STATE(OPENED(0)), true, 0, 1);
    /* The first event takes the place of `created`: the event counts by its own id. */
    check_state(STATE(OPENED(0), event(1, "a")), true, 0, 0);
    check_state(STATE(event(1, "a"), OPENED(2)), true, 1, 0);
    check_state(STATE(OPENED(0), event(1, "a"), RESOLVE(5)), false, 0, 0);
    check_state(STATE(OPENED(0), event(1, "a"), RESOLVE(5), OPENED(9)), true, 9, 1);
    check_state(STATE(OPENED(0), event(1, "a"), RESOLVE(5), OPENED(9), event(10, "b")), true, 9, 0);
}

static void test_a_note_says_nothing(void **state)
{
    (void)state;
    const struct derived s = STATE(report(REPORT_NOTE, 5, 1, 2));
    assert_false(s.state.firing);
    assert_int_equal(s.state.starts_at, 0);
}

static void test_identities(void **state)
{
    struct arena *a = arena_new(1 << 16);
    const struct report named = event(1, "f00"), nameless = event(1, "");
    const struct derived s = STATE(FIRING(5, 0)), m = STATE(TRIGGER(5));

    (void)state;
    assert_true(slice_is(occurrence_identity(&s.occurrences[0], a), "s:1767322800000"));
    assert_memory_equal(occurrence_identity(&m.occurrences[0], a).p, "r:1767322805000:", 16);
    assert_true(slice_is(event_identity(&named, a), "e:f00"));
    assert_memory_equal(event_identity(&nameless, a).p, "r:1767322801000:", 16);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_again_changes_nothing),
        cmocka_unit_test(test_order_of_arrival_changes_nothing),
        cmocka_unit_test(test_state_follows_the_rules),
        cmocka_unit_test(test_nothing_that_fires_is_hidden),
        cmocka_unit_test(test_pruning_keeps_the_state),
        cmocka_unit_test(test_pack_and_unpack),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_older_bytes),
        cmocka_unit_test(test_empty_bytes_are_empty_facts),
        cmocka_unit_test(test_high_availability_pair_counts_one),
        cmocka_unit_test(test_fires_again_with_its_old_start),
        cmocka_unit_test(test_new_start_after_an_end_is_new),
        cmocka_unit_test(test_triggers_without_a_start),
        cmocka_unit_test(test_an_end_that_ended_nothing_parts_nothing),
        cmocka_unit_test(test_late_part_of_what_was_open),
        cmocka_unit_test(test_resolve_before_its_firing),
        cmocka_unit_test(test_an_end_in_the_future_is_one_now),
        cmocka_unit_test(test_a_start_in_the_future_is_now),
        cmocka_unit_test(test_promise_and_silence),
        cmocka_unit_test(test_a_promise_undoes_no_silence_before_it),
        cmocka_unit_test(test_silence_judged_late),
        cmocka_unit_test(test_a_late_promise_undoes_silence_in_any_order),
        cmocka_unit_test(test_the_word_of_a_sender_beats_silence),
        cmocka_unit_test(test_sentry),
        cmocka_unit_test(test_a_note_says_nothing),
        cmocka_unit_test(test_identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
