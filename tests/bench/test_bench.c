/* The arithmetic that figures rest on. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "histogram.h"
#include "response.h"
#include "schedule.h"
#include "traffic.h"

/* ---- durations ---- */

static void quantiles_are_at_most_one_percent_above_the_truth(void **state)
{
    static struct durations d;
    static const struct {
        double q;
        uint64_t truth;
    } cases[] = {{0.0001, 100}, {0.5, 500000}, {0.99, 990000}, {0.999, 999000}, {1, 1000000}};

    (void)state;
    memset(&d, 0, sizeof(d));
    for (int64_t us = 1000000; us >= 1; us--)
        durations_add(&d, us);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_in_range(durations_quantile(&d, cases[i].q), cases[i].truth,
                        cases[i].truth + cases[i].truth / 100);
    assert_int_equal(d.n, 1000000);
    assert_true(fabs(durations_mean(&d) - 500000.5) < 0.001);
}

static void durations_take_the_extremes(void **state)
{
    static struct durations d;

    (void)state;
    memset(&d, 0, sizeof(d));
    assert_int_equal(durations_quantile(&d, 0.99), 0);
    durations_add(&d, -5);
    assert_int_equal(durations_quantile(&d, 1), 0);
    durations_add(&d, INT64_MAX);
    assert_int_equal(durations_quantile(&d, 1), (UINT64_C(1) << 40) - 1);
    assert_int_equal(durations_quantile(&d, 0.5), 0);
}

/* ---- the schedule ---- */

static void arrivals_are_a_poisson_process_of_the_wanted_rate(void **state)
{
    enum { N = 200000, RATE = 5000 };
    struct schedule s;
    int64_t last = 1000000, gap;
    double sum = 0, squares = 0;

    (void)state;
    schedule_start(&s, RATE, 7, last);
    for (int i = 0; i < N; i++) {
        const int64_t at = schedule_next(&s);
        gap = at - last;
        assert_true(gap >= 0);
        sum += (double)gap;
        squares += (double)gap * (double)gap;
        last = at;
    }
    /* Gaps of an exponential distribution: the deviation is the mean. Five standard errors. */
    const double mean = sum / N, deviation = sqrt(squares / N - mean * mean), want = 1e6 / RATE;
    assert_true(fabs(mean - want) < 5 * want / sqrt(N));
    assert_true(fabs(deviation - want) < 0.03 * want);
}

static void the_same_seed_gives_the_same_arrivals(void **state)
{
    struct schedule a, b, c;
    int differ = 0;

    (void)state;
    schedule_start(&a, 100, 1, 0);
    schedule_start(&b, 100, 1, 0);
    schedule_start(&c, 100, 2, 0);
    for (int i = 0; i < 100; i++) {
        const int64_t at = schedule_next(&a);
        assert_int_equal(at, schedule_next(&b));
        differ += at != schedule_next(&c);
    }
    assert_true(differ > 90);
}

static void keys_are_drawn_by_zipfs_law(void **state)
{
    enum { KEYS = 1000, N = 1000000 };
    static size_t drawn[KEYS];
    CLEANUP(zipf_free) struct zipf *z = zipf_new(KEYS, 1.1);
    struct dice dice = {.state = 3};
    double weights = 0;

    (void)state;
    assert_non_null(z);
    for (int i = 0; i < N; i++) {
        const size_t key = zipf_draw(z, &dice);
        assert_in_range(key, 0, KEYS - 1);
        drawn[key]++;
    }
    for (int i = 1; i <= KEYS; i++)
        weights += pow(i, -1.1);
    for (int i = 1; i <= 32; i *= 2) {
        const double want = N * pow(i, -1.1) / weights;
        assert_true(fabs((double)drawn[i - 1] - want) < 5 * sqrt(want));
    }
}

/* ---- traffic ---- */

static const struct alerts_options words = {.path = "/api/v2/alerts",
                                            .run = "t",
                                            .group = "g",
                                            .severity = "critical",
                                            .keys = 4,
                                            .names = 2,
                                            .batch = 1,
                                            .resolved = 0.5,
                                            .seed = 1};

static bool says(const struct request *r, const char *word)
{
    return memmem(r->text.p, r->text.len, word, strlen(word)) != NULL;
}

static void what_is_under_way_about_a_key_is_only_repeated(void **state)
{
    CLEANUP(alerts_free) struct alerts *a = NULL;
    struct alerts_options o = words;
    struct request first = {.text.max = REQUEST_MAX}, next = {.text.max = REQUEST_MAX};
    int64_t now = 1000000;

    (void)state;
    o.keys = o.names = 1;
    a = alerts_new(&o);
    assert_non_null(a);
    const struct traffic t = alerts_traffic(a);
    assert_true(t.make(t.self, now, &first));
    for (int i = 0; i < 100; i++) {
        assert_true(t.make(t.self, ++now, &next));
        assert_int_equal(next.said[0].start, 1000000);
        t.answered(t.self, &next, 200, now);
    }
    t.answered(t.self, &first, 200, now + 50);
    for (int i = 1; i <= 50; i++) { /* due before that answer came */
        assert_true(t.make(t.self, now + i, &next));
        assert_int_equal(next.said[0].start, 1000000);
        t.answered(t.self, &next, 200, now + 50);
    }
    now += 50;
    int changes = 0;
    int64_t last = 1000000;
    for (int i = 0; i < 100; i++) {
        assert_true(t.make(t.self, ++now, &next));
        changes += next.said[0].start != last;
        last = next.said[0].start;
        t.answered(t.self, &next, 200, now);
    }
    assert_in_range(changes, 20, 80);
    buf_release(&first.text);
    buf_release(&next.text);
}

static void only_what_was_accepted_must_be_found(void **state)
{
    CLEANUP(alerts_free) struct alerts *a = NULL;
    CLEANUP(buf_release) struct buf json = BUF_INIT(4096);
    struct alerts_options o = words;
    struct request r = {.text.max = REQUEST_MAX};

    (void)state;
    o.fresh = true;
    o.batch = 2;
    a = alerts_new(&o);
    assert_non_null(a);
    const struct traffic t = alerts_traffic(a);
    assert_true(t.make(t.self, 1000, &r));
    assert_true(says(&r, "POST /api/v2/alerts HTTP/1.1\r\n"));
    assert_true(says(&r, "\"instance\":\"t-0000001:9100\""));
    t.answered(t.self, &r, 200, 1001);
    assert_true(t.make(t.self, 1000, &r));
    t.answered(t.self, &r, 503, 1001);
    assert_false(t.make(t.self, 1000, &r));
    t.report(t.self, &json);
    assert_non_null(strstr(buf_str(&json), ",\"alerts\":2,\"starts\":2,\"keys\":2,\"firing\":2,"));
    buf_release(&r.text);
}

static void a_mixture_has_the_wanted_shares(void **state)
{
    enum { N = 20000 };
    const struct mixture_options o = {.run = "t",
                                      .secret = "s",
                                      .keys = 10,
                                      .malformed = 0.05,
                                      .oversize = 0.01,
                                      .forged = 0.01,
                                      .oversize_bytes = 10,
                                      .seed = 5};
    CLEANUP(mixture_free) struct mixture *m = mixture_new(&o);
    struct request r = {.text.max = REQUEST_MAX};
    unsigned n[KINDS_MAX] = {0};

    (void)state;
    assert_non_null(m);
    const struct traffic t = mixture_traffic(m);
    for (int i = 0; i < N; i++) {
        assert_true(t.make(t.self, 1000, &r));
        n[r.kind]++;
    }
    for (unsigned kind = 0; kind < 5; kind++) /* 93 % in five formats */
        assert_in_range(n[kind], 3720 - 300, 3720 + 300);
    assert_in_range(n[5], 1000 - 160, 1000 + 160);
    assert_in_range(n[6], 200 - 70, 200 + 70);
    assert_in_range(n[7], 200 - 70, 200 + 70);
    buf_release(&r.text);
}

/* ---- answers ---- */

static void answers_end_where_they_say(void **state)
{
    static const struct {
        const char *text;
        size_t behind; /* bytes that are not its own */
        unsigned status;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1", 8, 200},
        {"HTTP/1.1 204 No Content\r\n\r\n", 0, 204},
        {"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\nx", 1, 400},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nx",
         1, 200},
    };
    struct response r;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const size_t n = strlen(cases[i].text);
        for (size_t step = 1; step <= n; step++) { /* in pieces of every size */
            size_t used = 0;
            response_begin(&r);
            while (!r.done && used < n) {
                const size_t part = step < n - used ? step : n - used;
                const long took = response_feed(&r, cases[i].text + used, part);
                assert_true(took > 0);
                used += (size_t)took;
            }
            assert_true(r.done);
            assert_int_equal(r.status, cases[i].status);
            assert_int_equal(used, n - cases[i].behind);
        }
    }
    response_begin(&r);
    assert_int_equal(response_feed(&r, "SSH-2.0-x\r\n\r\n", 13), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_at_most_one_percent_above_the_truth),
        cmocka_unit_test(durations_take_the_extremes),
        cmocka_unit_test(arrivals_are_a_poisson_process_of_the_wanted_rate),
        cmocka_unit_test(the_same_seed_gives_the_same_arrivals),
        cmocka_unit_test(keys_are_drawn_by_zipfs_law),
        cmocka_unit_test(what_is_under_way_about_a_key_is_only_repeated),
        cmocka_unit_test(only_what_was_accepted_must_be_found),
        cmocka_unit_test(a_mixture_has_the_wanted_shares),
        cmocka_unit_test(answers_end_where_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
