#include <errno.h>

#include "common/record.h"
#include "testing.h"

static struct record sample(void)
{
    static struct kafka_header kept[2];
    kept[0] = (struct kafka_header){"Request-ID", SLICE_LIT("abc")};
    kept[1] = (struct kafka_header){"Sentry-Hook-Resource", SLICE_LIT("issue")};
    struct record r = {.tenant = SLICE_LIT("default"),
                       .source = SLICE_LIT("sentry"),
                       .content_type = SLICE_LIT("application/json"),
                       .traceparent = SLICE_LIT("00-x"),
                       .request_id = uuid7_new(1700000000000),
                       .received_at = 1700000000001,
                       .body = SLICE_LIT("{}"),
                       .headers = kept,
                       .header_n = 2};
    return r;
}

static void test_there_and_back(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct record r = sample(), back;
    const struct kafka_header *h = NULL;
    size_t n = 0;
    struct err e = {0};
    assert_int_equal(record_headers(&r, a, &h, &n), 0);
    assert_int_equal(n, 9);
    assert_int_equal(record_parse(h, n, r.body, a, &back, &e), 0);
    assert_true(slice_eq(back.tenant, r.tenant));
    assert_true(slice_eq(back.source, r.source));
    assert_true(slice_eq(back.content_type, r.content_type));
    assert_true(slice_eq(back.traceparent, r.traceparent));
    assert_int_equal(uuid_cmp(&back.request_id, &r.request_id), 0);
    assert_true(back.received_at == r.received_at);
    assert_true(slice_eq(back.body, r.body));
    assert_true(slice_is(record_header(&back, "request-id"), "abc"));
    assert_true(slice_is(record_header(&back, "SENTRY-HOOK-RESOURCE"), "issue"));
    assert_null(record_header(&back, "h.Request-ID").p);
}

static void test_traceparent_is_optional_and_strangers_are_ignored(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct record r = sample(), back;
    r.traceparent = (struct slice){0};
    const struct kafka_header *h = NULL;
    size_t n = 0;
    assert_int_equal(record_headers(&r, a, &h, &n), 0);
    assert_int_equal(n, 8);
    struct kafka_header more[9];
    memcpy(more, h, n * sizeof(*h));
    more[n] = (struct kafka_header){"replayed", SLICE_LIT("1")};
    assert_int_equal(record_parse(more, n + 1, r.body, a, &back, &(struct err){0}), 0);
    assert_int_equal(back.header_n, 2);
    assert_int_equal(back.traceparent.len, 0);
}

/* Each required header, missing and wrong: a reason that names it, and nothing written. */
static void test_what_is_missing_is_named(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct record r = sample(), back = {.header_n = 77};
    const struct kafka_header *h = NULL;
    size_t n = 0;
    assert_int_equal(record_headers(&r, a, &h, &n), 0);
    static const struct {
        const char *name, *wrong;
    } cases[] = {{"v", "2"},
                 {"tenant", ""},
                 {"request_id", "x"},
                 {"received_at", "-5"},
                 {"source", ""},
                 {"received_at", "1e3"},
                 {"received_at", "9999999999999999"}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (int wrong = 0; wrong < 2; wrong++) {
            struct kafka_header some[9];
            size_t m = 0;
            for (size_t i = 0; i < n; i++) {
                bool hit = strcmp(h[i].name, cases[c].name) == 0;
                if (hit && wrong)
                    some[m++] = (struct kafka_header){h[i].name, slice_of(cases[c].wrong)};
                else if (!hit)
                    some[m++] = h[i];
            }
            struct err e = {0};
            assert_int_equal(record_parse(some, m, r.body, a, &back, &e), -EBADMSG);
            assert_non_null(strstr(e.msg, cases[c].name));
        }
    }
    assert_int_equal(back.header_n, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_traceparent_is_optional_and_strangers_are_ignored),
        cmocka_unit_test(test_what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
