/* The authors' playbooks, and where a wrong one is wrong. */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "learner/playbooks.h"

static int load(const char *text, struct conf **c, struct settings *s, struct playbooks *p,
                struct err *e)
{
    *c = NULL;
    int rc = conf_parse("t.yml", text, NULL, c, e);
    if (rc == 0)
        rc = settings_load(*c, s, e);
    if (rc == 0)
        rc = playbooks_load(s, p, e);
    return rc < 0 ? rc : conf_finish(*c, e);
}

static void steps_keep_their_order_and_words(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct settings s;
    struct playbooks p;
    struct err e = {0};

    (void)state;
    int rc = load("playbooks:\n"
                  "  - match: {alert_name: QueueBacklog}\n"
                  "    steps:\n"
                  "      - {action: add_workers, text: two more}\n"
                  "      - {action: restart_pod}\n"
                  "  - match: {service: shop}\n"
                  "    steps: [{action: roll_back}]\n"
                  "  - match: global\n"
                  "    steps: [{action: look}]\n",
                  &c, &s, &p, &e);
    if (rc)
        fail_msg("%s", e.msg);
    assert_int_equal(p.n, 3);
    const struct playbook *b = playbooks_find(&p, SLICE_LIT("alert:QueueBacklog"));
    assert_int_equal(b->n, 2);
    assert_true(slice_is(b->steps[0].action, "add_workers"));
    assert_true(slice_is(b->steps[0].text, "two more"));
    assert_int_equal(b->steps[0].author_rank, 1);
    assert_true(slice_is(b->steps[1].action, "restart_pod"));
    assert_true(slice_is(b->steps[1].text, ""));
    assert_int_equal(b->steps[1].author_rank, 2);
    assert_null(playbooks_find(&p, SLICE_LIT("alert:Queue")));
}

static void the_narrowest_match_wins(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct settings s;
    struct playbooks p;
    struct err e = {0};

    (void)state;
    assert_int_equal(load("playbooks:\n"
                          "  - {match: global, steps: [{action: g}]}\n"
                          "  - {match: {service: shop}, steps: [{action: s}]}\n"
                          "  - {match: {alert_name: A}, steps: [{action: a}]}\n",
                          &c, &s, &p, &e),
                     0);
    static const struct {
        const char *alert, *service, *id;
    } cases[] = {{"A", "shop", "alert:A"},
                 {"A", "", "alert:A"},
                 {"B", "shop", "service:shop"},
                 {"B", "other", "global"},
                 {"", "", "global"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(
            playbooks_for(&p, slice_of(cases[i].alert), slice_of(cases[i].service))->id,
            cases[i].id);
}

static void none_is_fine(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct settings s;
    struct playbooks p;
    struct err e = {0};

    (void)state;
    assert_int_equal(load("tenant: x\n", &c, &s, &p, &e), 0);
    assert_int_equal(p.n, 0);
    assert_null(playbooks_for(&p, SLICE_LIT("A"), SLICE_LIT("s")));
}

static void mistakes_are_named_where_they_are(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"playbooks: {a: b}\n", "t.yml:1:"},
        {"playbooks:\n  - steps: [{action: x}]\n", "t.yml:2:5: match is needed"},
        {"playbooks:\n  - match: everything\n    steps: [{action: x}]\n", "t.yml:2:12: match is"},
        {"playbooks:\n  - match: {alert: x}\n    steps: [{action: x}]\n", "t.yml:2:13:"},
        {"playbooks:\n  - match: {alert_name: x, service: y}\n    steps: [{action: x}]\n",
         "t.yml:2:12: match takes one"},
        {"playbooks:\n  - match: {service: ''}\n    steps: [{action: x}]\n", "takes one"},
        {"playbooks:\n  - match: global\n", "t.yml:2:5: steps is a list"},
        {"playbooks:\n  - match: global\n    steps: []\n", "t.yml:3:12: steps is a list"},
        {"playbooks:\n  - match: global\n    steps: [x]\n", "t.yml:3:13: a step is"},
        {"playbooks:\n  - match: global\n    steps: [{text: x}]\n", "a step needs an action"},
        {"playbooks:\n  - match: global\n    steps: [{action: x, by: y}]\n", "t.yml:3:25:"},
        {"playbooks:\n  - match: global\n    steps: [{action: x, text: [y]}]\n", "one string"},
        {"playbooks:\n  - match: global\n    steps: [{action: x}, {action: x}]\n",
         "t.yml:3:26: x is a step of this playbook already"},
        {"playbooks:\n  - {match: global, steps: [{action: x}]}\n"
         "  - {match: global, steps: [{action: y}]}\n",
         "t.yml:3:5: a second playbook for global"},
        {"learner: {steps: 1}\nplaybooks:\n  - match: global\n"
         "    steps: [{action: x}, {action: y}]\n",
         "2 steps, but learner.steps allows 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(conf_free) struct conf *c = NULL;
        struct settings s;
        struct playbooks p;
        struct err e = {0};
        assert_int_equal(load(cases[i].text, &c, &s, &p, &e), -EINVAL);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", e.msg, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_keep_their_order_and_words),
        cmocka_unit_test(the_narrowest_match_wins),
        cmocka_unit_test(none_is_fine),
        cmocka_unit_test(mistakes_are_named_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
