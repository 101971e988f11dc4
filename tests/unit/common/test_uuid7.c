#include "testing.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/uuid7.h"

static int64_t ms_of(const struct uuid *u)
{
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | u->b[i];
    return ms;
}

static void assert_is_v7(const struct uuid *u)
{
    assert_int_equal(u->b[6] >> 4, 7);
    assert_int_equal(u->b[8] >> 6, 2);
}

/* Ids of one process only ever rise, so each test starts past the last one's time. */
static void carries_the_time(void **state)
{
    (void)state;
    struct uuid u = uuid7_new(INT64_C(1767366245678));
    assert_is_v7(&u);
    assert_true(ms_of(&u) == INT64_C(1767366245678));
    char out[UUID_STR];
    uuid_format(&u, out);
    assert_int_equal(strlen(out), UUID_STR - 1);
    assert_int_equal(out[14], '7');
}

static void rises_while_time_stands_still_and_steps_back(void **state)
{
    (void)state;
    const int64_t start = INT64_C(1800000000000);
    struct uuid before = uuid7_new(start);
    for (int i = 0; i < 200000; i++) {
        int64_t now = i % 3 == 0 ? start - 3600000 : i % 3 == 1 ? start : -5;
        struct uuid u = uuid7_new(now);
        assert_is_v7(&u);
        assert_true(uuid_cmp(&before, &u) < 0);
        before = u;
    }
    /* 200,000 ids in a standing millisecond borrowed the next ones, and no more of them than
     * needed. */
    assert_true(ms_of(&before) == start + 200000 / 65536);
    struct uuid later = uuid7_new(start + 100);
    assert_true(ms_of(&later) == start + 100);
    assert_true(uuid_cmp(&before, &later) < 0);
}

#define THREADS 4
#define EACH 20000

static void *make(void *arg)
{
    struct uuid *out = arg;
    for (int i = 0; i < EACH; i++)
        out[i] = uuid7_new(INT64_C(1900000000000) - i);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return uuid_cmp(a, b);
}

static void threads_never_share_an_id_or_see_one_fall(void **state)
{
    (void)state;
    struct uuid *ids = calloc((size_t)THREADS * EACH, sizeof(*ids));
    assert_non_null(ids);
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make, ids + (ptrdiff_t)t * EACH), 0);
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (int i = 0; i < THREADS * EACH; i++)
        assert_true(i % EACH == 0 || uuid_cmp(&ids[i - 1], &ids[i]) < 0);
    qsort(ids, (size_t)THREADS * EACH, sizeof(*ids), compare);
    for (int i = 1; i < THREADS * EACH; i++) {
        /* Apart before the random bits: time and counter alone make them unique. */
        assert_true(memcmp(ids[i - 1].b, ids[i].b, 9) < 0);
    }
    free(ids);
}

static void random_bits_differ(void **state)
{
    (void)state;
    unsigned char ones[7] = {0}, zeros[7] = {0};
    for (int i = 0; i < 200; i++) {
        struct uuid u = uuid7_new(0);
        for (int k = 0; k < 7; k++) {
            ones[k] = (unsigned char)(ones[k] | u.b[9 + k]);
            zeros[k] = (unsigned char)(zeros[k] | ~u.b[9 + k]);
        }
    }
    for (int k = 0; k < 7; k++) {
        assert_int_equal(ones[k], 0xFF);
        assert_int_equal(zeros[k], 0xFF);
    }
}

static void parse_and_format(void **state)
{
    (void)state;
    struct uuid u = {{0}}, v = {{0}};
    char out[UUID_STR];
    assert_true(
        uuid_parse(SLICE_LIT("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), &u)); /* RFC 9562 A.6 */
    assert_true(ms_of(&u) == INT64_C(0x017F22E279B0));
    assert_ptr_equal(uuid_format(&u, out), out);
    assert_string_equal(out, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_true(uuid_parse(SLICE_LIT("017f22e279b07cc398c4dc0c0c07398f"), &v));
    assert_int_equal(uuid_cmp(&u, &v), 0);
    v.b[15]++;
    assert_true(uuid_cmp(&u, &v) < 0);
    assert_true(uuid_cmp(&v, &u) > 0);
}

static void parse_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e279b0-7cc3-98c4--dc0c0c07398f",
        "017f22e2079b007cc3098c40dc0c0c07398f",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e279b07cc398c4dc0c0c07398",
        "017f22e279b07cc398c4dc0c0c07398-",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct uuid u = {{1, 2, 3}}, before = u;
        assert_false(uuid_parse(slice_of(cases[i]), &u));
        assert_int_equal(uuid_cmp(&u, &before), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_the_time),
        cmocka_unit_test(rises_while_time_stands_still_and_steps_back),
        cmocka_unit_test(threads_never_share_an_id_or_see_one_fall),
        cmocka_unit_test(random_bits_differ),
        cmocka_unit_test(parse_and_format),
        cmocka_unit_test(parse_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
