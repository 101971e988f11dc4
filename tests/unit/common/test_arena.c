#include "testing.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define ASAN 1
#else
#define ASAN 0
#endif

static void memory_is_zeroed_and_aligned_even_when_reused(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    for (int round = 0; round < 3; round++) {
        for (size_t n = 1; n < 700; n += 13) {
            unsigned char *p = arena_alloc(a, n, 3);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
            for (size_t i = 0; i < 3 * n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xEE, 3 * n);
        }
        arena_reset(a);
        assert_int_equal(arena_used(a), 0);
    }
}

static void allocations_do_not_overlap(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(4 << 20);
    unsigned char *p[200];
    for (size_t i = 0; i < 200; i++) {
        p[i] = arena_alloc(a, 1 + i * 37 % 5000, 1);
        assert_non_null(p[i]);
        memset(p[i], (int)i, 1 + i * 37 % 5000);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < 1 + i * 37 % 5000; k++)
            assert_int_equal(p[i][k], i);
}

static void the_whole_cap_can_be_had_and_not_a_byte_more(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 100000; cap = cap * 3 + 16) {
        CLEANUP(arena_free) struct arena *a = arena_new(cap);
        for (int round = 0; round < 3; round++) { /* a reset gives all of it back */
            for (size_t i = 0; i < cap / 16; i++)
                assert_non_null(arena_alloc(a, 16, 1));
            assert_int_equal(arena_used(a), cap);
            assert_null(arena_alloc(a, 1, 1));
            arena_reset(a);
        }
        assert_null(arena_alloc(a, cap + 1, 1));
        assert_null(arena_strndup(a, "x", SIZE_MAX));
        assert_int_equal(arena_used(a), 0);
    }
}

static void overflowing_sizes_are_refused(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(SIZE_MAX);
    volatile size_t n = SIZE_MAX / 2; /* volatile: alloc_size lets the compiler see through it */
    assert_null(arena_alloc(a, n, 4));
    assert_null(arena_alloc(a, n + 1, 2));
    assert_null(arena_alloc(a, n * 2, 1));
    assert_non_null(arena_alloc(a, 100, 100));
}

static void an_empty_array_is_no_failure(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(100);
    assert_non_null(arena_array(a, 0, int));
}

static void copies_and_formats(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1000);
    const char bytes[] = {'a', '\0', 'b', 'X'};
    char *s = arena_strndup(a, bytes, 3);
    assert_memory_equal(s, "a\0b", 4);
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    assert_string_equal(arena_printf(a, "%s-%03d", "x", 7), "x-007");
    assert_null(arena_printf(a, "%2000d", 1));

    struct slice copy = arena_slice(a, (struct slice){bytes, 3});
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.p, "a\0b", 4);
    assert_ptr_not_equal(copy.p, bytes);
    assert_null(arena_slice(a, (struct slice){"x", 0}).p);
    char big[2000] = {0};
    struct slice refused = arena_slice(a, (struct slice){big, sizeof(big)});
    assert_null(refused.p);
    assert_int_equal(refused.len, 0);
}

static char order[16];

static void note(void *obj)
{
    strncat(order, obj, sizeof(order) - strlen(order) - 1);
}

static void deferred_run_newest_first_and_once(void **state)
{
    (void)state;
    order[0] = '\0';
    struct arena *a = arena_new(1000);
    assert_int_equal(arena_defer(a, note, (char[]){"1"}), 0);
    assert_int_equal(arena_defer(a, note, (char[]){"2"}), 0);
    arena_reset(a);
    assert_string_equal(order, "21");
    assert_int_equal(arena_defer(a, note, (char[]){"3"}), 0);
    arena_free(a);
    assert_string_equal(order, "213");
}

static void a_refused_defer_destroys_at_once(void **state)
{
    (void)state;
    order[0] = '\0';
    CLEANUP(arena_free) struct arena *a = arena_new(8);
    assert_int_equal(arena_defer(a, note, (char[]){"x"}), -ENOMEM);
    assert_string_equal(order, "x");
    arena_reset(a);
    assert_string_equal(order, "x");
}

static void free_of_null_is_a_no_op(void **state)
{
    (void)state;
    arena_free(NULL);
}

/*
 * The work of a message in small, under every cap until it fits. Each cap makes another step the
 * one that fails; whichever it is, what came before stays whole and every object is destroyed once.
 */
static int destroyed;

static void destroy(void *obj)
{
    assert_int_equal(*(int *)obj, 42);
    *(int *)obj = 0;
    destroyed++;
}

static bool message(struct arena *a, int *objects, int *ret_made)
{
    char *kept = NULL;
    for (int i = 0; i < 20; i++) {
        char *name = arena_printf(a, "object-%d", i);
        if (!name)
            return false;
        objects[i] = 42;
        ++*ret_made;
        if (arena_defer(a, destroy, &objects[i]) < 0)
            return false;
        struct slice copy = arena_slice(a, slice_of(name));
        if (!copy.p)
            return false;
        assert_string_equal(copy.p, name);
        long *numbers = arena_array(a, (size_t)i * 50, long);
        if (!numbers)
            return false;
        for (int k = 0; k < i * 50; k++)
            numbers[k] = k;
        if (kept)
            assert_memory_equal(kept, "object-", 7);
        kept = name;
    }
    return true;
}

static void failing_at_every_cap_leaks_and_breaks_nothing(void **state)
{
    (void)state;
    size_t cap = 0;
    int failures = 0;
    for (bool done = false; !done; cap += cap < 2000 ? 8 : 512) {
        int objects[20] = {0};
        int made = 0;
        destroyed = 0;
        struct arena *a = arena_new(cap);
        assert_non_null(a);
        done = message(a, objects, &made);
        failures += !done;
        assert_true(arena_used(a) <= cap);
        arena_reset(a);
        assert_int_equal(destroyed, made);
        assert_int_equal(arena_used(a), 0);
        char *again = cap > 0 ? arena_alloc(a, 1, 1) : NULL;
        assert_true(cap == 0 || again);
        arena_free(a);
        assert_true(cap < 1 << 20);
    }
    assert_true(failures > 100);
}

static void what_is_not_handed_out_is_poisoned(void **state)
{
    (void)state;
#if ASAN
    CLEANUP(arena_free) struct arena *a = arena_new(1000);
    char *p = arena_alloc(a, 5, 1);
    assert_false(__asan_address_is_poisoned(p + 4));
    assert_true(__asan_address_is_poisoned(p + 5));
    assert_true(__asan_address_is_poisoned(p + 100));
    arena_reset(a);
    assert_true(__asan_address_is_poisoned(p));
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned_even_when_reused),
        cmocka_unit_test(allocations_do_not_overlap),
        cmocka_unit_test(the_whole_cap_can_be_had_and_not_a_byte_more),
        cmocka_unit_test(overflowing_sizes_are_refused),
        cmocka_unit_test(an_empty_array_is_no_failure),
        cmocka_unit_test(copies_and_formats),
        cmocka_unit_test(deferred_run_newest_first_and_once),
        cmocka_unit_test(a_refused_defer_destroys_at_once),
        cmocka_unit_test(free_of_null_is_a_no_op),
        cmocka_unit_test(failing_at_every_cap_leaks_and_breaks_nothing),
        cmocka_unit_test(what_is_not_handed_out_is_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
