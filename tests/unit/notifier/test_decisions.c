/* The pure decisions: the life of a row, what is still wanted, the rate, merging, what groups were
 * told. */
#include "testing.h"

#include <string.h>

#include "notifier/life.h"
#include "notifier/plan.h"
#include "notifier/told.h"

static void a_row_ends_once(void **state)
{
    (void)state;
    for (enum life_state s = LIFE_PENDING; s <= LIFE_MERGED; s++) {
        assert_int_equal(life_state_parse(life_state_name(s), strlen(life_state_name(s))), s);
        for (enum life_event e = LIFE_CLAIM; e < LIFE_EVENTS; e++) {
            enum life_state next = life_next(s, e);
            const bool late = (s == LIFE_MERGED && e == LIFE_WITHHOLD) ||
                              (s == LIFE_DELIVERED && e == LIFE_REFUTE); /* reported lost */
            if (life_ended(s) && !late)
                assert_int_equal(next, 0);
            else if (next || late)
                assert_int_equal(next, life_to(e));
        }
    }
    assert_int_equal(life_state_parse("gone", 4), 0);
}

static void a_row_moves_as_drawn(void **state)
{
    const char *from[7];

    (void)state;
    assert_int_equal(life_next(LIFE_PENDING, LIFE_CLAIM), LIFE_SENDING);
    assert_int_equal(life_next(LIFE_SENDING, LIFE_CLAIM), 0);
    assert_int_equal(life_next(LIFE_SENDING, LIFE_RECLAIM), LIFE_SENDING);
    assert_int_equal(life_next(LIFE_SENDING, LIFE_RELEASE), LIFE_PENDING);
    assert_int_equal(life_next(LIFE_PENDING, LIFE_MERGE), 0);
    assert_int_equal(life_next(LIFE_SENDING, LIFE_MERGE), LIFE_MERGED);
    assert_int_equal(life_next(LIFE_MERGED, LIFE_WITHHOLD), LIFE_SUPPRESSED);
    assert_int_equal(life_next(LIFE_SENDING, LIFE_WITHHOLD), 0);
    assert_int_equal(life_from(LIFE_ACCEPT, from), 2);
    assert_string_equal(from[0], "pending");
    assert_string_equal(from[1], "sending");
}

static void only_a_newer_delivery_supersedes(void **state)
{
    const char *why;

    (void)state;
    struct wanted_input in = {.seq = 4, .delivered_seq = 4, .send_resolved = true};
    assert_int_equal(plan_wanted(&in, &why), 0);
    in.delivered_seq = 5;
    assert_int_equal(plan_wanted(&in, &why), LIFE_SUPERSEDE);
    in.own_end = true;
    assert_int_equal(plan_wanted(&in, &why), 0);
    in = (struct wanted_input){.seq = 4, .delivered_seq = -1, .resolved = true};
    assert_int_equal(plan_wanted(&in, &why), LIFE_SUPPRESS);
    assert_true(*why);
    in = (struct wanted_input){.seq = 4, .delivered_seq = -1, .ends_only = true};
    assert_int_equal(plan_wanted(&in, &why), LIFE_SUPPRESS);
    in.send_resolved = true;
    assert_int_equal(plan_wanted(&in, &why), 0);
    in = (struct wanted_input){.seq = 4, .ends_only = true, .resolved = true};
    in.untold = true;
    assert_int_equal(plan_wanted(&in, &why), 0);
    in = (struct wanted_input){.seq = 4, .delivered_seq = -1, .by_person = true};
    assert_int_equal(plan_wanted(&in, &why), 0);
    in.rings = true;
    assert_int_equal(plan_wanted(&in, &why), LIFE_SUPPRESS);
    in.by_person = false;
    assert_int_equal(plan_wanted(&in, &why), 0);
    in.by_edit = true;
    assert_int_equal(plan_wanted(&in, &why), LIFE_SUPPRESS);
    in.edits = true;
    assert_int_equal(plan_wanted(&in, &why), 0);
}

/* Whatever the moment: no minute sees more than the limit. */
static void no_minute_sees_more_than_the_limit(void **state)
{
    static const uint32_t limits[][2] = {{20, 10}, {20, 1}, {60, 5}, {1, 1}, {7, 7}};
    int64_t sent[4000];

    (void)state;
    for (size_t k = 0; k < sizeof(limits) / sizeof(*limits); k++) {
        struct rate r = {.per_minute = limits[k][0], .burst = limits[k][1], .room = UINT32_MAX};
        size_t n = 0;
        for (int64_t now = 1000000; now < 1000000 + 600000; now += 500) {
            struct waiting w = {.severity = 1};
            plan_grants(&w, 1, &r, now);
            if (w.grant == GRANT_GO)
                sent[n++] = now;
            else
                assert_true(w.grant == GRANT_RATE && w.wait_ms > 0);
        }
        assert_true(n >= limits[k][1]);
        for (size_t i = limits[k][0]; i < n; i++)
            assert_true(sent[i] - sent[i - limits[k][0]] >= 60000);
    }
}

static void merges_and_the_severe_go_first(void **state)
{
    int a, b, c, d;
    struct waiting v[] = {{.severity = 2, .created_at = 1, .own = &a},
                          {.severity = 4, .created_at = 9, .own = &b},
                          {.severity = 4, .created_at = 3, .own = &c},
                          {.merge = true, .severity = 1, .created_at = 5, .own = &d}};
    struct rate r = {.room = 3};

    (void)state;
    plan_grants(v, 4, &r, 100);
    assert_ptr_equal(v[0].own, &d);
    assert_ptr_equal(v[1].own, &c);
    assert_ptr_equal(v[2].own, &b);
    assert_ptr_equal(v[3].own, &a);
    assert_int_equal(v[2].grant, GRANT_GO);
    assert_int_equal(v[3].grant, GRANT_ROOM);
    assert_int_equal(r.tat, 0); /* no limit, no debit */
}

static void a_blocked_destination_takes_nothing(void **state)
{
    struct waiting w = {.severity = 4};
    struct rate r = {.room = 9, .blocked_until = 5000};

    (void)state;
    plan_grants(&w, 1, &r, 2000);
    assert_int_equal(w.grant, GRANT_RATE);
    assert_int_equal(w.wait_ms, 3000);
    plan_grants(&w, 1, &r, 5000);
    assert_int_equal(w.grant, GRANT_GO);
}

static void people_get_a_digest_and_programs_a_queue(void **state)
{
    (void)state;
    assert_true(plan_merges(true, 2, false));
    assert_true(plan_merges(true, 1, true));
    assert_false(plan_merges(true, 1, false));
    assert_false(plan_merges(false, 50, true));
}

static void a_silent_destination_gets_one_probe(void **state)
{
    (void)state;
    assert_int_equal(plan_room(4, 1, 0), 3);
    assert_int_equal(plan_room(4, 9, 0), 0);
    assert_int_equal(plan_room(4, 0, 3), 1);
    assert_int_equal(plan_room(4, 1, 7), 0);
}

static void groups_remember_what_was_delivered(void **state)
{
    json_t *told = json_loads(
        "{\"0\":{\"last\":{\"seq\":3},\"delivered\":{\"seq\":2,\"status\":\"firing\"}}}", 0, NULL);
    json_t *older = json_pack("{s:i}", "seq", 1),
           *newer = json_pack("{s:i,s:s}", "seq", 3, "status", "resolved");

    (void)state;
    assert_true(told_firing(told, 0));
    assert_false(told_deliver(told, 0, older));
    assert_int_equal(told_delivered_seq(told, 0), 2);
    assert_true(told_deliver(told, 0, newer));
    assert_int_equal(told_delivered_seq(told, 0), 3);
    assert_false(told_firing(told, 0));
    assert_int_equal(told_delivered_seq(told, 1), -1);
    assert_true(told_deliver(told, 1, older));
    assert_int_equal(told_delivered_seq(told, 1), 1);
    json_decref(told);
    json_decref(older);
    json_decref(newer);
}

static void what_was_never_told_is_known(void **state)
{
    json_t *told =
        json_loads("{\"0\":{\"delivered\":{\"seq\":2,\"alerts\":[\"a\",\"b\"]}}}", 0, NULL);
    json_t *about = json_loads("{\"state\":{\"resolved_alerts\":[\"a\"]}}", 0, NULL);

    (void)state;
    assert_false(told_any_untold(told, 0, about));
    assert_true(told_untold(told, 0, about, "c"));
    assert_true(told_any_untold(told, 1, about));
    assert_false(told_any_untold(NULL, 1, about));
    json_object_set_new(about, "fallback", json_object());
    assert_false(told_any_untold(told, 1, about));
    json_object_set_new(about, "missed", json_pack("[s]", "a"));
    assert_true(told_any_untold(told, 0, about));
    json_decref(told);
    json_decref(about);
}

/* It says less, and is as old as it was; a newer word and a newer delivery stay. */
static void what_was_told_shrinks_by_its_ends(void **state)
{
    json_t *told = json_loads("{\"0\":{\"last\":{\"seq\":2},\"delivered\":{\"seq\":1,\"at\":7,"
                              "\"alerts\":[\"a\",\"b\"]}},"
                              "\"1\":{\"last\":{\"seq\":3},\"delivered\":{\"seq\":1,\"at\":7}},"
                              "\"2\":{\"last\":{\"seq\":3},\"delivered\":{\"seq\":3}}}",
                              0, NULL);
    json_t *less = json_loads("{\"seq\":2,\"at\":9,\"alerts\":[\"b\"]}", 0, NULL);

    (void)state;
    assert_true(told_all_firing(told, 0, less));
    assert_false(told_all_firing(told, 1, less));
    assert_true(told_shrink(told, 0, less));
    assert_false(told_shrink(told, 1, less));
    assert_false(told_shrink(told, 2, less));
    assert_false(told_shrink(told, 3, less));
    char *text = json_dumps(told, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"0\":{\"delivered\":{\"alerts\":[\"b\"],\"at\":7,\"seq\":1},"
                              "\"last\":{\"alerts\":[\"b\"],\"at\":7,\"seq\":1}},"
                              "\"1\":{\"delivered\":{\"alerts\":[\"b\"],\"at\":7,\"seq\":1},"
                              "\"last\":{\"seq\":3}},"
                              "\"2\":{\"delivered\":{\"seq\":3},\"last\":{\"seq\":3}}}");
    free(text);
    json_decref(told);
    json_decref(less);
}

static void only_the_newest_failure_arms_the_group_again(void **state)
{
    json_t *told = json_loads(
        "{\"0\":{\"last\":{\"seq\":3},\"delivered\":{\"seq\":2}},\"1\":{\"last\":{\"seq\":1}}}", 0,
        NULL);

    (void)state;
    assert_false(told_fail(told, 0, 2));
    assert_true(told_fail(told, 0, 3));
    assert_true(told_fail(told, 1, 1));
    char *text = json_dumps(told, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"0\":{\"delivered\":{\"seq\":2},\"last\":{\"seq\":2}},\"1\":{}}");
    free(text);
    json_decref(told);
}

static void what_was_lost_was_not_delivered(void **state)
{
    json_t *told = json_loads("{\"0\":{\"last\":{\"seq\":3},\"delivered\":{\"seq\":3}},"
                              "\"1\":{\"last\":{\"seq\":5},\"delivered\":{\"seq\":4}},"
                              "\"2\":{\"last\":{\"seq\":1},\"delivered\":{\"seq\":1}}}",
                              0, NULL);
    json_t *before = json_loads("{\"seq\":2}", 0, NULL);

    (void)state;
    assert_true(told_refute(told, 0, 3, before));
    assert_false(told_refute(told, 1, 4, before)); /* a newer one is on its way */
    assert_true(told_refute(told, 2, 1, NULL));
    char *text = json_dumps(told, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"0\":{\"delivered\":{\"seq\":2},\"last\":{\"seq\":2}},"
                              "\"1\":{\"delivered\":{\"seq\":2},\"last\":{\"seq\":5}},"
                              "\"2\":{}}");
    free(text);
    json_decref(told);
    json_decref(before);
}

/* The older one waited, the newer failed: what the older says is then what was said last. */
static void an_older_delivery_after_a_failure_arms_the_group_again(void **state)
{
    json_t *told = json_loads("{\"0\":{\"last\":{\"seq\":2}}}", 0, NULL);
    json_t *older = json_loads("{\"seq\":1}", 0, NULL), *newer = json_loads("{\"seq\":3}", 0, NULL);

    (void)state;
    assert_true(told_fail(told, 0, 2));
    assert_true(told_deliver(told, 0, older));
    assert_true(told_catch_up(told, 0));
    assert_false(told_catch_up(told, 0));
    json_object_set(json_object_get(told, "0"), "last", newer);
    assert_false(told_catch_up(told, 0));
    char *text = json_dumps(told, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"0\":{\"delivered\":{\"seq\":1},\"last\":{\"seq\":3}}}");
    free(text);
    json_decref(told);
    json_decref(older);
    json_decref(newer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_ends_once),
        cmocka_unit_test(a_row_moves_as_drawn),
        cmocka_unit_test(only_a_newer_delivery_supersedes),
        cmocka_unit_test(no_minute_sees_more_than_the_limit),
        cmocka_unit_test(merges_and_the_severe_go_first),
        cmocka_unit_test(a_blocked_destination_takes_nothing),
        cmocka_unit_test(people_get_a_digest_and_programs_a_queue),
        cmocka_unit_test(a_silent_destination_gets_one_probe),
        cmocka_unit_test(groups_remember_what_was_delivered),
        cmocka_unit_test(what_was_never_told_is_known),
        cmocka_unit_test(what_was_told_shrinks_by_its_ends),
        cmocka_unit_test(only_the_newest_failure_arms_the_group_again),
        cmocka_unit_test(an_older_delivery_after_a_failure_arms_the_group_again),
        cmocka_unit_test(what_was_lost_was_not_delivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
