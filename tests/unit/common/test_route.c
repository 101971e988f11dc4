/* The route tree: Alertmanager's own examples, and what is ours. */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/route.h"

struct tree {
    struct conf *conf;
    struct settings settings;
    struct receivers receivers;
    const struct route *root;
    struct err e;
    struct arena *a;
};

static int load(struct tree *t, const char *text)
{
    *t = (struct tree){.a = arena_new(1 << 20)};
    int rc = conf_parse("t.yml", text, NULL, &t->conf, &t->e);

    t->settings.conf = t->conf;
    if (rc == 0)
        rc = receivers_load(&t->settings, &t->receivers, &t->e);
    if (rc == 0)
        rc = route_load(&t->settings, &t->receivers, &t->root, &t->e);
    if (rc == 0)
        rc = conf_finish(t->conf, &t->e);
    return rc;
}

static void unload(struct tree *t)
{
    conf_free(t->conf);
    arena_free(t->a);
}

static void loaded(struct tree *t, const char *text)
{
    if (load(t, text) < 0)
        fail_msg("%s", t->e.msg);
}

/* The text loads with exactly this error. */
static void refused(const char *text, const char *msg)
{
    struct tree t;

    if (load(&t, text) == 0)
        fail_msg("this loads: %s", text);
    assert_string_equal(t.e.msg, msg);
    unload(&t);
}

/* The routes that take these labels. */
static size_t takers(struct tree *t, const char *json, const struct route ***ret)
{
    const struct route **out = arena_array(t->a, t->root->most, const struct route *);
    struct labels l;

    assert_non_null(out);
    assert_int_equal(labels_from_json(t->a, slice_of(json), &l, &t->e), 0);
    const size_t n = route_match(t->root, l, out);
    assert_in_range(n, 1, t->root->most);
    *ret = out;
    return n;
}

/* Receivers of the routes that take these labels, in order: "a b". */
static const char *told(struct tree *t, const char *json)
{
    const struct route **out;
    char *names = arena_strndup(t->a, "", 0);

    const size_t n = takers(t, json, &out);
    for (size_t i = 0; i < n; i++)
        names = arena_printf(t->a, "%s%s%s", names, i ? " " : "", out[i]->receiver->name);
    return names;
}

static const struct route *only(struct tree *t, const char *json)
{
    const struct route **out;

    assert_int_equal(takers(t, json, &out), 1);
    return out[0];
}

static const char *grouping(struct tree *t, const struct route *r)
{
    char *s =
        arena_printf(t->a, "%s%s", r->by_all ? "... " : "", r->by_incident ? "incident " : "");

    for (size_t i = 0; i < r->group_by_n; i++)
        s = arena_printf(t->a, "%s%s ", s, r->group_by[i]);
    return s;
}

#define RECEIVERS(list) "receivers: [" list "]\n"
#define R(name) "{name: " name "}"

/* dispatch/route_test.go of Alertmanager, TestRouteMatch. */
static const char route_match_yaml[] = RECEIVERS(
    R("notify-def") ", " R("notify-A") ", " R("notify-BC") ", " R("notify-testing") ", " R(
        "notify-productionA") ", " R("notify-productionB") ", " R("notify-BC2")) "\
route:\n\
  receiver: notify-def\n\
  routes:\n\
    - matchers: ['{owner=\"team-A\"}']\n\
      receiver: notify-A\n\
      routes:\n\
        - matchers: ['{env=\"testing\"}']\n\
          receiver: notify-testing\n\
          group_by: [...]\n\
        - match: {env: production}\n\
          receiver: notify-productionA\n\
          group_wait: 1m\n\
          continue: true\n\
        - matchers: ['env=~\"produ.*\"', 'job=~\".*\"']\n\
          receiver: notify-productionB\n\
          group_wait: 30s\n\
          group_interval: 5m\n\
          repeat_interval: 1h\n\
          group_by: [job]\n\
    - match_re: {owner: team-(B|C)}\n\
      group_by: [foo, bar]\n\
      group_wait: 2m\n\
      receiver: notify-BC\n\
    - matchers: [group_by=\"role\"]\n\
      group_by: [role]\n\
      routes:\n\
        - matchers: ['{env=\"testing\"}']\n\
          receiver: notify-testing\n\
          routes:\n\
            - matchers: ['{wait=\"long\"}']\n\
              group_wait: 2m\n";

static void test_alertmanagers_tree(void **state)
{
    struct tree t;

    (void)state;
    loaded(&t, route_match_yaml);
    assert_string_equal(told(&t, "{\"owner\":\"team-A\"}"), "notify-A");
    assert_string_equal(told(&t, "{\"owner\":\"team-A\",\"env\":\"unset\"}"), "notify-A");
    assert_string_equal(told(&t, "{\"owner\":\"team-C\"}"), "notify-BC");
    assert_string_equal(told(&t, "{\"owner\":\"team-A\",\"env\":\"testing\"}"), "notify-testing");
    assert_string_equal(told(&t, "{\"owner\":\"team-A\",\"env\":\"production\"}"),
                        "notify-productionA notify-productionB");
    assert_string_equal(told(&t, "{\"group_by\":\"role\"}"), "notify-def");
    assert_string_equal(told(&t, "{\"env\":\"testing\",\"group_by\":\"role\"}"), "notify-testing");
    assert_string_equal(told(&t, "{\"env\":\"testing\",\"group_by\":\"role\",\"wait\":\"long\"}"),
                        "notify-testing");
    assert_string_equal(told(&t, "{\"x\":\"y\"}"), "notify-def");
    unload(&t);
}

/* However many go on, each is told. */
static void test_all_that_go_on(void **state)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(1 << 16);
    const struct route **out;
    struct tree t;

    (void)state;
    buf_puts(&text, RECEIVERS(R("root") ", " R("team")) "route:\n  receiver: root\n  routes:\n");
    for (int i = 0; i < 400; i++)
        buf_printf(&text, "  - {receiver: team, continue: true, group_by: [l%d]}\n", i);
    buf_puts(&text, "  - {receiver: root}\n  - {receiver: team}\n");
    loaded(&t, buf_str(&text));
    assert_int_equal(t.root->most, 401);
    assert_int_equal(takers(&t, "{}", &out), 401);
    assert_ptr_equal(out[399], &t.root->children[399]);
    assert_ptr_equal(out[400], &t.root->children[400]);
    unload(&t);
}

static void test_alertmanagers_inheritance(void **state)
{
    const struct route *r, **out;
    struct tree t;

    (void)state;
    loaded(&t, route_match_yaml);
    r = only(&t, "{\"x\":\"y\"}");
    assert_string_equal(grouping(&t, r), "");
    assert_int_equal(r->group_wait_ms, 30 * MS_SECOND);
    assert_int_equal(r->group_interval_ms, 5 * MS_MINUTE);
    assert_int_equal(r->repeat_interval_ms, 4 * MS_HOUR);
    r = only(&t, "{\"owner\":\"team-A\",\"env\":\"testing\"}");
    assert_string_equal(grouping(&t, r), "... ");
    r = only(&t, "{\"owner\":\"team-C\"}");
    assert_string_equal(grouping(&t, r), "bar foo ");
    assert_int_equal(r->group_wait_ms, 2 * MS_MINUTE);
    r = only(&t, "{\"env\":\"testing\",\"group_by\":\"role\",\"wait\":\"long\"}");
    assert_string_equal(grouping(&t, r), "role ");
    assert_int_equal(r->group_wait_ms, 2 * MS_MINUTE);
    assert_int_equal(takers(&t, "{\"owner\":\"team-A\",\"env\":\"production\"}", &out), 2);
    assert_int_equal(out[0]->group_wait_ms, MS_MINUTE);
    assert_true(out[0]->goes_on);
    assert_string_equal(grouping(&t, out[1]), "job ");
    assert_int_equal(out[1]->repeat_interval_ms, MS_HOUR);
    assert_false(out[1]->goes_on);
    unload(&t);
}

/* dispatch/route_test.go of Alertmanager, TestRouteID's tree: keys. */
static void test_alertmanagers_keys(void **state)
{
    struct tree t;

    (void)state;
    loaded(&t, RECEIVERS(R("d")) "\
route:\n\
  receiver: d\n\
  routes:\n\
    - matchers: ['{foo=\"bar\"}']\n\
      continue: true\n\
      routes:\n\
        - matchers: ['{bar=\"baz\"}']\n\
    - match: {foo: bar}\n\
      match_re: {bar: 'b.*'}\n");
    assert_string_equal(t.root->path, "{}");
    assert_string_equal(t.root->children[0].path, "{}/{foo=\"bar\"}");
    assert_string_equal(t.root->children[0].children[0].path, "{}/{foo=\"bar\"}/{bar=\"baz\"}");
    assert_string_equal(t.root->children[1].path, "{}/{bar=~\"b.*\",foo=\"bar\"}");
    unload(&t);
}

static void test_an_empty_group_by_inherits_and_a_child_narrows(void **state)
{
    struct tree t;

    (void)state;
    loaded(&t, RECEIVERS(R("d")) "\
route:\n\
  receiver: d\n\
  group_by: [incident, team]\n\
  routes:\n\
    - {match: {a: '1'}, group_by: []}\n\
    - {match: {a: '2'}, group_by: [job]}\n\
    - {match: {a: '3'}, group_by: ['...']}\n\
    - {match: {a: '4'}, group_by: incident}\n");
    assert_string_equal(grouping(&t, t.root), "incident team ");
    assert_string_equal(grouping(&t, &t.root->children[0]), "incident team ");
    assert_string_equal(grouping(&t, &t.root->children[1]), "job ");
    assert_string_equal(grouping(&t, &t.root->children[2]), "... ");
    assert_string_equal(grouping(&t, &t.root->children[3]), "incident ");
    unload(&t);
}

static void test_digests(void **state)
{
    struct tree t;

    (void)state;
    loaded(&t, RECEIVERS(R("d")) "\
route:\n\
  receiver: d\n\
  routes:\n\
    - match: {a: '1'}\n\
      digest: 15m\n\
      routes: [{match: {b: '1'}}, {match: {b: '2'}, digest: 0s}]\n\
    - {match: {a: '2'}, digest: '09:30'}\n\
    - {match: {a: '3'}, digest: 1d}\n");
    assert_int_equal(t.root->digest.period_ms, 0);
    const struct route *c = t.root->children;
    assert_int_equal(c[0].digest.period_ms, 15 * MS_MINUTE);
    assert_int_equal(c[0].digest.at_minute, -1);
    assert_int_equal(c[0].children[0].digest.period_ms, 15 * MS_MINUTE);
    assert_int_equal(c[0].children[1].digest.period_ms, 0);
    assert_int_equal(c[1].digest.period_ms, MS_DAY);
    assert_int_equal(c[1].digest.at_minute, 9 * 60 + 30);
    assert_int_equal(c[2].digest.period_ms, MS_DAY);
    assert_int_equal(c[2].digest.at_minute, -1);
    unload(&t);
}

/* A reload that changes only timing keeps the groups; one that changes what a message is about
 * does not. */
static void test_identity(void **state)
{
    static const char base[] =
        RECEIVERS(R("d") ", " R("x")) "route: {receiver: d, group_by: [a]}\n";
    static const struct {
        const char *text;
        bool same;
    } others[] = {
        {RECEIVERS(R("x") ", " R("d")) "route: {receiver: d, group_by: [a], group_wait: 7s, "
                                       "repeat_interval: 1m}\n",
         true},
        {RECEIVERS(R("d") ", " R("x")) "route: {receiver: x, group_by: [a]}\n", false},
        {RECEIVERS(R("d") ", " R("x")) "route: {receiver: d, group_by: [a, b]}\n", false},
        {RECEIVERS(R("d") ", " R("x")) "route: {receiver: d, group_by: [ab]}\n", false},
        {RECEIVERS(R("d") ", " R("x")) "route: {receiver: d, group_by: [a, incident]}\n", false},
        {RECEIVERS(R("d") ", " R("x")) "route: {receiver: d, group_by: [a], digest: 1h}\n", false},
    };
    struct tree t, o;

    (void)state;
    loaded(&t, base);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        loaded(&o, others[i].text);
        if ((memcmp(t.root->id, o.root->id, 16) == 0) != others[i].same)
            fail_msg("identity of %s", others[i].text);
        unload(&o);
    }
    unload(&t);
}

static void test_find(void **state)
{
    struct tree t;
    unsigned char id[16];

    (void)state;
    loaded(&t, route_match_yaml);
    const struct route *deep = &t.root->children[2].children[0].children[0];
    assert_ptr_equal(route_find(t.root, t.root->id), t.root);
    assert_ptr_equal(route_find(t.root, deep->id), deep);
    memcpy(id, deep->id, sizeof(id));
    id[15] ^= 1;
    assert_null(route_find(t.root, id));
    assert_null(route_find(NULL, id));
    unload(&t);
}

static void test_no_route(void **state)
{
    struct tree t;

    (void)state;
    loaded(&t, "");
    assert_null(t.root);
    assert_int_equal(route_match(t.root, (struct labels){0}, NULL), 0);
    unload(&t);
    loaded(&t, RECEIVERS(R("one")));
    assert_string_equal(told(&t, "{}"), "one");
    unload(&t);
    refused(RECEIVERS(R("one") ", " R("two")),
            "route: which of the 2 receivers is told what? There is no route");
}

static void test_mistakes_have_a_place(void **state)
{
    (void)state;
    refused(
        RECEIVERS(R("d")) "route:\n  receiver: d\n  group_wiat: 3s\n",
        "t.yml:4:3: unknown key \"group_wiat\" in section \"route\"; did you mean \"group_wait\"?");
    refused(RECEIVERS(R("d")) "route:\n  receiver: d\n  routes:\n    - recever: d\n",
            "t.yml:5:7: unknown key \"recever\" in section \"route.routes.0\"; did you mean "
            "\"receiver\"?");
    refused(RECEIVERS(R("d")) "route:\n  receiver: x\n",
            "t.yml:3:13: route.receiver: there is no receiver named x");
    refused(RECEIVERS(R("d")) "route: {group_wait: 3s}\n",
            "route.receiver: the root route names who is told");
    refused(RECEIVERS(R("d")) "route:\n  receiver: d\n  match: {a: b}\n",
            "t.yml:4:10: the root route takes every alert: match may not stand here");
    refused(RECEIVERS(R("d")) "route: {receiver: d, continue: true}\n",
            "t.yml:2:32: route.continue: the root route is the last");
    refused(RECEIVERS(R("d")) "route: {receiver: d, group_by: [a, '...']}\n",
            "t.yml:2:32: route.group_by: '...' is every label and stands alone");
    refused(RECEIVERS(R("d")) "route: {receiver: d, group_by: [incident, '...']}\n",
            "t.yml:2:32: route.group_by: '...' is every label and stands alone");
    refused(RECEIVERS(R("d")) "route: {receiver: d, group_by: [a, b, a]}\n",
            "t.yml:2:32: route.group_by: there twice: a");
    refused(RECEIVERS(R("d")) "route: {receiver: d, repeat_interval: 0s}\n",
            "t.yml:2:39: route.repeat_interval: must not be 0");
    refused(RECEIVERS(R("d")) "route: {receiver: d, digest: 25:00}\n",
            "t.yml:2:30: route.digest: expected a period such as 15m or 1d, or a time of day such "
            "as \"09:00\", not 25:00");
    refused(RECEIVERS(R("d")) "route: {receiver: d, routes: [{matchers: ['a=~\"(\"']}]}\n",
            "t.yml:2:43: matcher a: regular expression: missing ) at its end");
}

static void test_time_intervals_are_warned_about(void **state)
{
    struct tree t;

    (void)state;
    loaded(&t, RECEIVERS(R("d")) "route:\n  receiver: d\n  routes:\n"
                                 "    - mute_time_intervals: [nights]\n");
    assert_string_equal(conf_warning(t.conf, 0),
                        "t.yml:5:28: route.routes.0.mute_time_intervals has no effect here yet");
    assert_null(conf_warning(t.conf, 1));
    unload(&t);
}

static void test_what_an_alert_is_routed_by(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    struct labels l;

    (void)state;
    assert_int_equal(
        labels_from_json(a, SLICE_LIT("{\"severity\":\"page\",\"a\":\"b\"}"), &l, NULL), 0);
    assert_int_equal(route_labels(a, l, SEVERITY_CRITICAL, SLICE_LIT("sentry"), &l), 0);
    labels_to_json(&b, l);
    assert_string_equal(buf_str(&b),
                        "{\"a\":\"b\",\"severity\":\"critical\",\"source\":\"sentry\"}");
    assert_int_equal(route_labels(a, l, SEVERITY_INFO, SLICE_LIT("other"), &l), 0);
    buf_reset(&b);
    labels_to_json(&b, l);
    assert_string_equal(buf_str(&b), "{\"a\":\"b\",\"severity\":\"info\",\"source\":\"sentry\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alertmanagers_tree),
        cmocka_unit_test(test_all_that_go_on),
        cmocka_unit_test(test_alertmanagers_inheritance),
        cmocka_unit_test(test_alertmanagers_keys),
        cmocka_unit_test(test_an_empty_group_by_inherits_and_a_child_narrows),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_no_route),
        cmocka_unit_test(test_mistakes_have_a_place),
        cmocka_unit_test(test_time_intervals_are_warned_about),
        cmocka_unit_test(test_what_an_alert_is_routed_by),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
