#include "notifier/wire.h"

#include "slow_name.h"
#include "testing.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned told;
} ends = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void on_done(void *ctx, struct transfer *t)
{
    (void)ctx, (void)t;
    (void)pthread_mutex_lock(&ends.lock);
    ends.told++;
    (void)pthread_cond_signal(&ends.cond);
    (void)pthread_mutex_unlock(&ends.lock);
}

/* It costs whoever sends there, and nobody else. */
static void test_a_name_that_nobody_answers_for(void **state)
{
    const struct notifier_settings s = {.request_timeout = 300, .connect_timeout = 300};
    const struct conf_strs none = {0};
    const struct request r = {.method = "GET", .url = "http://" SLOW_NAME "/"};
    struct transfer t = {.request = &r};
    struct guard guard;
    struct wire *w = NULL;
    struct err e = {0};
    (void)state;
    assert_int_equal(guard_init(&guard, &none, &e), 0);
    assert_int_equal(wire_new(&s, &guard, on_done, NULL, &w, &e), 0);
    name_hold();
    for (unsigned i = 0; i < 2; i++) {
        t = (struct transfer){.request = &r, .a = arena_new(1 << 16)};
        wire_send(w, &t);
        (void)pthread_mutex_lock(&ends.lock);
        while (ends.told == i)
            (void)pthread_cond_wait(&ends.cond, &ends.lock);
        (void)pthread_mutex_unlock(&ends.lock);
        assert_int_equal(t.response.status, 0);
        arena_free(t.a);
    }
    wire_free(w);
    name_let_go();
    guard_release(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_name_that_nobody_answers_for)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
