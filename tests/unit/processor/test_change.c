/* What a run of reports changes: the same wherever it is cut, and counted as the table counts. */
#include "reports.h"

#define CASES 3000
#define REPORTS 60

/* The table of occurrences of one alert, and what was counted. */
struct table {
    char names[4 * REPORTS][96];
    size_t n;
    int64_t counted;
};

static size_t find(const struct table *t, struct slice name)
{
    size_t i = 0;

    while (i < t->n && !slice_is(name, t->names[i]))
        i++;
    return i;
}

static bool insert(struct table *t, struct slice name)
{
    if (find(t, name) < t->n)
        return false;
    (void)snprintf(t->names[t->n++], sizeof(t->names[0]), "%.*s", SLICE_FMT(name));
    return true;
}

static bool take(struct table *t, struct slice name)
{
    const size_t i = find(t, name);

    if (i == t->n)
        return false;
    t->n--;
    if (i < t->n)
        memcpy(t->names[i], t->names[t->n], sizeof(t->names[0]));
    return true;
}

/* As the worker does it: all deletes, then all inserts, new names first. */
static void apply(struct table *t, struct change_list *l)
{
    bool was_there[4 * REPORTS] = {false};

    assert_in_range(l->gone_n, 0, 4 * REPORTS - 1);
    for (size_t i = 0; i < l->gone_n; i++)
        was_there[i] = take(t, l->gone[i].identity);
    for (size_t i = 0; i < l->gone_n; i++) {
        const bool renamed = was_there[i] && l->gone[i].into.p && insert(t, l->gone[i].into);
        t->counted -= was_there[i] && !renamed;
    }
    for (size_t i = 0; i < l->n; i++) {
        l->v[i].counted = l->v[i].occurrence.p && insert(t, l->v[i].occurrence);
        t->counted += l->v[i].counted;
    }
    assert_int_equal(t->counted, t->n);
}

/* Fires or not, as told by the changes alone. */
static bool follow(bool firing, const struct change_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct change *c = &l->v[i];
        if (c->kind == CHANGE_ENDED) {
            assert_true(firing);
            firing = false;
            continue;
        }
        assert_int_equal(firing, c->kind == CHANGE_AGAIN);
        firing = true;
    }
    assert_int_equal(firing, l->state.firing);
    return firing;
}

struct alert {
    struct facts facts;
    struct table table;
    bool firing;
};

static void feed(struct alert *al, const struct report *v, size_t n, const struct merge_limits *lim,
                 struct arena *a)
{
    struct change_list l;
    struct err e = {0};
    const struct slice packed = facts_pack(&al->facts, a);

    assert_int_equal(facts_unpack(packed, &al->facts, &e), 0);
    assert_int_equal(change_run(&al->facts, v, n, al->table.n > 0, lim, a, &l), 0);
    apply(&al->table, &l);
    al->firing = follow(al->firing, &l);
}

static int by_name(const void *x, const void *y)
{
    return strcmp(x, y);
}

static void check_same(struct alert *one, struct alert *other, struct arena *a, const char *law,
                       uint64_t seed)
{
    const struct slice x = facts_pack(&one->facts, a), y = facts_pack(&other->facts, a);

    qsort(one->table.names, one->table.n, sizeof(one->table.names[0]), by_name);
    qsort(other->table.names, other->table.n, sizeof(one->table.names[0]), by_name);
    bool same = slice_eq(x, y) && one->table.n == other->table.n;
    for (size_t i = 0; same && i < one->table.n; i++)
        same = strcmp(one->table.names[i], other->table.names[i]) == 0;
    if (!same)
        fail_msg("%s: seed %llu: %zu and %zu occurrences", law, (unsigned long long)seed,
                 one->table.n, other->table.n);
}

static size_t history(struct dice *d, enum profile p, uint32_t span, struct report *v)
{
    const size_t n = 1 + below(d, REPORTS);

    for (size_t i = 0; i < n; i++)
        v[i] = any_report(d, p, span);
    qsort(v, n, sizeof(*v), report_cmp);
    return n;
}

/* Over many windows, with caps that bite: batching changes nothing at all. */
static void test_any_cut_is_the_same(void **state)
{
    static const struct merge_limits limits[] = {{60000, 64, 64}, {60000, 8, 8}, {600000, 12, 9}};

    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct arena *a = arena_new(16 << 20);
        struct report v[REPORTS];
        struct alert whole = {0}, cut = {0};
        const struct merge_limits *lim = &limits[seed % 3];
        const size_t n = history(&d, (enum profile)(seed % PROFILES), seed & 1 ? 900 : 4000, v);
        feed(&whole, v, n, lim, a);
        for (size_t i = 0; i < n;) {
            const size_t piece = 1 + below(&d, (uint32_t)(n - i));
            feed(&cut, v + i, piece, lim, a);
            i += piece;
        }
        check_same(&whole, &cut, a, "cut", seed);
        arena_free(a);
    }
}

/* Two partitions of which one lags, in batches of their own: within a window nothing differs. */
static void test_interleavings_within_a_window(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct arena *a = arena_new(16 << 20);
        struct report v[REPORTS], part[2][REPORTS];
        size_t n[2] = {0, 0}, done[2] = {0, 0};
        struct alert whole = {0}, split = {0};
        const size_t all = history(&d, (enum profile)(seed % PROFILES), 500, v);
        feed(&whole, v, all, &roomy, a);
        for (size_t i = 0; i < all; i++) {
            const uint32_t p = below(&d, 2);
            part[p][n[p]++] = v[i];
        }
        while (done[0] < n[0] || done[1] < n[1]) {
            uint32_t p = below(&d, 2);
            if (done[p] == n[p])
                p = 1 - p;
            const size_t piece = 1 + below(&d, (uint32_t)(n[p] - done[p]));
            feed(&split, part[p] + done[p], piece, &roomy, a);
            done[p] += piece;
        }
        check_same(&whole, &split, a, "partitions", seed);
        arena_free(a);
    }
}

/* Everything comes twice, the second time in another batch. */
static void test_twice_is_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct dice d = {seed};
        struct arena *a = arena_new(16 << 20);
        struct report v[REPORTS];
        struct alert once = {0}, twice = {0};
        const size_t n = history(&d, (enum profile)(seed % PROFILES), 500, v);
        feed(&once, v, n, &roomy, a);
        feed(&twice, v, n / 2, &roomy, a);
        feed(&twice, v, n, &roomy, a);
        feed(&twice, v + n / 3, n - n / 3, &roomy, a);
        check_same(&once, &twice, a, "twice", seed);
        arena_free(a);
    }
}

/* ---- by name ---- */

struct fixture {
    struct arena *a;
    struct alert alert;
    struct change_list l;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->a = arena_new(4 << 20);
    *state = f;
    return f->a ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_free(f->a);
    free(f);
    return 0;
}

#define RUN(f, ...)                                                                                \
    run(f, (const struct report[]){__VA_ARGS__},                                                   \
        sizeof((const struct report[]){__VA_ARGS__}) / sizeof(struct report))

static const struct change_list *run(struct fixture *f, const struct report *v, size_t n)
{
    assert_int_equal(change_run(&f->alert.facts, v, n, f->alert.table.n > 0, &roomy, f->a, &f->l),
                     0);
    apply(&f->alert.table, &f->l);
    f->alert.firing = follow(f->alert.firing, &f->l);
    return &f->l;
}

/* An earlier start comes to light: the same occurrence, which no manual resolve may mistake for a
 * new one. */
static void test_a_new_name_is_not_a_new_occurrence(void **state)
{
    struct fixture *f = *state;
    const struct change_list *l = RUN(f, FIRING(10, 3));

    assert_int_equal(l->n, 1);
    assert_true(l->v[0].counted);
    l = RUN(f, FIRING(12, 0));
    assert_int_equal(l->n, 0);
    assert_int_equal(l->gone_n, 1);
    assert_true(l->gone[0].into.p != NULL);
    assert_int_equal(f->alert.table.counted, 1);
}

static void test_a_name_changed_within_one_run(void **state)
{
    struct fixture *f = *state;
    const struct change_list *l = RUN(f, FIRING(10, 3), FIRING(12, 0));

    assert_int_equal(l->n, 1);
    assert_true(slice_is(l->v[0].occurrence, "s:1767322800000"));
    assert_true(l->v[0].counted);
    assert_int_equal(f->alert.table.counted, 1);
}

/* Forgotten at the cap, brought back, and then part of an older one: named twice by one run. */
static void test_a_name_that_comes_back_is_moved_whole(void **state)
{
    static const struct merge_limits tight = {.window_ms = WINDOW, .starts = 8, .marks = 8};
    struct fixture *f = *state;
    const struct report v[] = {
        FIRING(875.001, 875),    FIRING(1050.001, 1050), FIRING(1075.001, 1075),
        FIRING(1100.001, 1100),  ENDED_AT(1125, 1025),   FIRING(1125.001, 1125),
        FIRING(1150.001, 1150),  FIRING(1175.001, 1175), FIRING(1200.001, 1200),
        FIRING(1325.000, 875.0), FIRING(1425.002, 625)};

    feed(&f->alert, v, sizeof(v) / sizeof(*v), &tight, f->a);
    assert_int_equal(f->alert.table.n, 1);
    assert_string_equal(f->alert.table.names[0], "s:1767323425000");
}

static void test_two_that_turn_out_to_be_one(void **state)
{
    struct fixture *f = *state;

    (void)RUN(f, FIRING(5, 5), FIRING(700, 700));
    assert_int_equal(f->alert.table.counted, 2);
    (void)RUN(f, FIRING(300, 5));
    assert_int_equal(f->alert.table.counted, 1);
}

static void test_late_end_makes_two_of_one(void **state)
{
    struct fixture *f = *state;

    (void)RUN(f, TRIGGER(0), TRIGGER(30));
    assert_int_equal(f->alert.table.counted, 1);
    const struct change_list *l = RUN(f, RESOLVE(20));
    assert_int_equal(l->n, 1);
    assert_int_equal(l->v[0].kind, CHANGE_AGAIN);
    assert_int_equal(l->v[0].at, SEC(30));
    assert_int_equal(f->alert.table.counted, 2);
}

static void test_begun_and_over_before_it_was_known(void **state)
{
    struct fixture *f = *state;

    (void)RUN(f, RESOLVE(20));
    const struct change_list *l = RUN(f, FIRING(10, 5));
    assert_int_equal(l->n, 2);
    assert_true(l->v[0].past && l->v[0].counted);
    assert_int_equal(l->v[1].kind, CHANGE_ENDED);
    assert_int_equal(l->v[1].at, SEC(20));
}

static void test_repeats_change_nothing(void **state)
{
    struct fixture *f = *state;

    (void)RUN(f, FIRING(10, 5));
    const struct change_list *l =
        RUN(f, FIRING(20, 5), FIRING(30, 5), report(REPORT_NOTE, 40, 1, 1));
    assert_int_equal(l->n, 0);
    assert_int_equal(l->gone_n, 0);
}

/* Old occurrences are forgotten, not taken back. */
static void test_what_is_forgotten_does_not_go(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 20; i++) {
        const double at = 1000 * i;
        const struct change_list *l = RUN(f, FIRING(at + 1, at), ENDED_AT(at + 50, at + 49));
        assert_int_equal(l->gone_n, 0);
        assert_int_equal(f->alert.table.counted, i + 1);
        assert_in_range(f->alert.facts.start_n, 1, 2);
        assert_in_range(f->alert.facts.end_n, 1, 2);
    }
}

static void test_sentry(void **state)
{
    struct fixture *f = *state;

    (void)RUN(f, OPENED(0));
    assert_int_equal(f->alert.table.counted, 1);
    (void)RUN(f, event(1, "a"));
    assert_int_equal(f->alert.table.counted, 1); /* it took the place of `created` */
    (void)RUN(f, event(1.5, "a"), event(2, "b"), event(2.5, "b"));
    assert_int_equal(f->alert.table.counted, 2);
    (void)RUN(f, RESOLVE(5));
    assert_false(f->alert.firing);
    (void)RUN(f, OPENED(9));
    assert_true(f->alert.firing);
    assert_int_equal(f->alert.table.counted, 3);
    (void)RUN(f, event(10, "c"));
    assert_int_equal(f->alert.table.counted, 3);
}

static void test_silence(void **state)
{
    struct fixture *f = *state;
    struct change_list l;

    (void)RUN(f, PROMISED(5, 0, 300));
    assert_int_equal(change_silence(&f->alert.facts, SEC(300), &roomy, f->a, &l), 0);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].kind, CHANGE_ENDED);
    assert_true(l.v[0].by_silence);
    assert_int_equal(l.v[0].at, SEC(300));
    f->alert.firing = false;
    const struct change_list *next = RUN(f, PROMISED(400, 0, 700));
    assert_int_equal(next->n, 1);
    assert_int_equal(next->v[0].kind, CHANGE_BEGAN);
    assert_false(next->v[0].counted); /* the same start: a flap */
}

/* A manual resolve holds until something is counted: what fires after silence is. */
static void test_what_fires_after_silence_is_counted(void **state)
{
    static const double starts[] = {-1, 390};
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        struct change_list l;
        memset(&f->alert, 0, sizeof(f->alert));
        (void)RUN(f, PROMISED(5, i ? 0 : -1, 300));
        assert_int_equal(change_silence(&f->alert.facts, SEC(300), &roomy, f->a, &l), 0);
        f->alert.firing = false;
        const struct change_list *next = RUN(f, PROMISED(400, starts[i], 700));
        assert_int_equal(next->n, 1);
        assert_int_equal(next->v[0].kind, CHANGE_BEGAN);
        assert_true(next->v[0].counted && next->v[0].again);
        assert_int_equal(next->gone_n, 0);
        assert_int_equal(next->state.starts_at, SEC(i ? 390 : 400));
        assert_int_equal(f->alert.table.counted, 2);
    }
}

static void test_first_and_later_occurrences(void **state)
{
    struct fixture *f = *state;
    const struct change_list *l = RUN(f, event(1, "a"), event(2, "b"));

    assert_false(l->v[0].again);
    assert_true(l->v[1].again);
    l = RUN(f, event(3, "c"));
    assert_true(l->v[0].again);
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut_is_the_same),
        cmocka_unit_test(test_interleavings_within_a_window),
        cmocka_unit_test(test_twice_is_once),
        ONE(test_a_new_name_is_not_a_new_occurrence),
        ONE(test_a_name_changed_within_one_run),
        ONE(test_a_name_that_comes_back_is_moved_whole),
        ONE(test_two_that_turn_out_to_be_one),
        ONE(test_late_end_makes_two_of_one),
        ONE(test_begun_and_over_before_it_was_known),
        ONE(test_repeats_change_nothing),
        ONE(test_what_is_forgotten_does_not_go),
        ONE(test_sentry),
        ONE(test_silence),
        ONE(test_what_fires_after_silence_is_counted),
        ONE(test_first_and_later_occurrences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
