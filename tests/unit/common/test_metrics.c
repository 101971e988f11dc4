#include "testing.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/metrics.h"

/* Fails unless the exposition holds `part`. */
static void assert_rendered(const char *part)
{
    struct buf b = BUF_INIT(1 << 20);
    metrics_render(&b);
    assert_false(b.failed);
    if (!strstr(buf_str(&b), part))
        fail_msg("no \"%s\" in:\n%s", part, buf_str(&b));
    buf_release(&b);
}

static size_t occurrences(const char *part)
{
    struct buf b = BUF_INIT(1 << 20);
    metrics_render(&b);
    size_t n = 0;
    for (const char *p = buf_str(&b); (p = strstr(p, part)); p++)
        n++;
    buf_release(&b);
    return n;
}

static void counters(void **state)
{
    (void)state;
    struct counter *c = counter_new("t_counter_total", "A \\ and\na line.", "k=\"v\",o=\"x\"");
    assert_int_equal(counter_value(c), 0);
    assert_rendered("# HELP t_counter_total A \\\\ and\\na line.\n# TYPE t_counter_total counter\n"
                    "t_counter_total{k=\"v\",o=\"x\"} 0\n");
    counter_add(c, 3);
    counter_add(c, UINT64_MAX - 3);
    assert_true(counter_value(c) == UINT64_MAX);
    assert_rendered("t_counter_total{k=\"v\",o=\"x\"} 18446744073709551615\n");
}

static void the_same_name_and_labels_are_the_same_series(void **state)
{
    (void)state;
    struct counter *a = counter_new("t_same_total", "Same.", "k=\"a\"");
    struct gauge *between = gauge_new("t_between", "Another name.", NULL);
    struct counter *b = counter_new("t_same_total", "Same.", "k=\"b\"");
    assert_ptr_equal(counter_new("t_same_total", "Same.", "k=\"a\""), a);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(gauge_new("t_between", "", ""), between);
    counter_add(b, 7);
    /* Grouped by name though another came between, with one head. */
    assert_rendered(
        "# TYPE t_same_total counter\nt_same_total{k=\"a\"} 0\nt_same_total{k=\"b\"} 7\n");
    assert_int_equal(occurrences("# HELP t_same_total "), 1);
    assert_int_equal(occurrences("# TYPE t_same_total "), 1);
}

static void gauges(void **state)
{
    (void)state;
    struct gauge *g = gauge_new("t_gauge", "Depth.", NULL);
    assert_rendered("# TYPE t_gauge gauge\nt_gauge 0\n");
    gauge_set(g, INT64_MIN);
    assert_rendered("t_gauge -9223372036854775808\n");
    gauge_set(g, 5);
    gauge_add(g, -7);
    assert_rendered("t_gauge -2\n");
}

static void histograms(void **state)
{
    (void)state;
    double bounds[] = {0.1, 1, 2.5};
    struct histogram *h = histogram_new("t_seconds", "Took.", "op=\"x\"", bounds, 3);
    bounds[0] = 99; /* copied */
    assert_ptr_equal(
        histogram_new("t_seconds", "Took.", "op=\"x\"", latency_bounds, latency_bound_n), h);
    const double values[] = {0.05, 0.1, 0.100001, 1, 2.5, 2.6, 1000, -1};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        histogram_observe(h, values[i]);
    histogram_observe(h, (double)NAN);
    assert_rendered("# TYPE t_seconds histogram\n"
                    "t_seconds_bucket{op=\"x\",le=\"0.1\"} 3\n"
                    "t_seconds_bucket{op=\"x\",le=\"1\"} 5\n"
                    "t_seconds_bucket{op=\"x\",le=\"2.5\"} 6\n"
                    "t_seconds_bucket{op=\"x\",le=\"+Inf\"} 8\n"
                    "t_seconds_sum{op=\"x\"} 1005.350001\n"
                    "t_seconds_count{op=\"x\"} 8\n");
}

static void histograms_without_labels_or_bounds(void **state)
{
    (void)state;
    struct histogram *h = histogram_new("t_bare", "Bare.", "", NULL, 0);
    histogram_observe(h, 0.1);
    histogram_observe(h, 0.2);
    assert_rendered(
        "t_bare_bucket{le=\"+Inf\"} 2\nt_bare_sum 0.30000000000000004\nt_bare_count 2\n");
    histogram_observe(h, (double)INFINITY);
    assert_rendered("t_bare_bucket{le=\"+Inf\"} 3\nt_bare_sum +Inf\nt_bare_count 3\n");
}

static void latency_bounds_ascend_from_a_millisecond_to_a_minute(void **state)
{
    (void)state;
    assert_true(latency_bounds[0] == 0.001);
    assert_true(latency_bounds[latency_bound_n - 1] == 60);
    for (size_t i = 1; i < latency_bound_n; i++)
        assert_true(latency_bounds[i - 1] < latency_bounds[i]);
    struct histogram *h = histogram_new("t_latency", "L.", "", latency_bounds, latency_bound_n);
    histogram_observe(h, 0.0011);
    assert_rendered("t_latency_bucket{le=\"0.001\"} 0\nt_latency_bucket{le=\"0.0025\"} 1\n");
}

static struct counter *shared_counter;
static struct gauge *shared_gauge;
static struct histogram *shared_histogram;

static void *update(void *arg)
{
    (void)arg;
    const double bounds[] = {1};
    for (int i = 0; i < 10000; i++) {
        counter_add(shared_counter, 1);
        gauge_add(shared_gauge, i % 2 ? -3 : 4);
        histogram_observe(shared_histogram, i % 4);
        if (i % 1000 == 0)
            (void)histogram_new("t_thread_histogram", "T.", "", bounds, 1);
    }
    return NULL;
}

static void updates_are_atomic_while_rendering(void **state)
{
    (void)state;
    const double bounds[] = {1};
    shared_counter = counter_new("t_thread_total", "T.", "");
    shared_gauge = gauge_new("t_thread_gauge", "T.", "");
    shared_histogram = histogram_new("t_thread_histogram", "T.", "", bounds, 1);
    pthread_t threads[4];
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, update, NULL), 0);
    for (int i = 0; i < 20; i++)
        assert_rendered("t_thread_histogram_count ");
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    assert_int_equal(counter_value(shared_counter), 40000);
    assert_rendered("t_thread_gauge 20000\n");
    assert_rendered("t_thread_histogram_bucket{le=\"1\"} 20000\n"
                    "t_thread_histogram_bucket{le=\"+Inf\"} 40000\n"
                    "t_thread_histogram_sum 60000\nt_thread_histogram_count 40000\n");
}

static void twice_as_another_type(void)
{
    (void)gauge_new("t_counter_total", "", "");
}

static void bounds_that_fall(void)
{
    const double bounds[] = {1, 1};
    (void)histogram_new("t_fall", "", "", bounds, 2);
}

/* The mistake ends the process, which is what a start with it should do. */
static void assert_aborts(void (*mistake)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        mistake();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void mistakes_at_start_end_the_process(void **state)
{
    (void)state;
    (void)counter_new("t_counter_total", "", "");
    assert_aborts(twice_as_another_type);
    assert_aborts(bounds_that_fall);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(50);
    metrics_render(&b);
    assert_true(b.failed);
    assert_true(b.len <= 50);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters),
        cmocka_unit_test(the_same_name_and_labels_are_the_same_series),
        cmocka_unit_test(gauges),
        cmocka_unit_test(histograms),
        cmocka_unit_test(histograms_without_labels_or_bounds),
        cmocka_unit_test(latency_bounds_ascend_from_a_millisecond_to_a_minute),
        cmocka_unit_test(updates_are_atomic_while_rendering),
        cmocka_unit_test(mistakes_at_start_end_the_process),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
