/* Rules: what matches, what an alert's routes become, and mistakes with their places. */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/glob.h"
#include "common/rules.h"

struct book {
    struct conf *conf;
    struct settings settings;
    struct source_entries sources;
    struct receivers receivers;
    const struct route *root;
    const struct rules *rules;
    struct err e;
    struct arena *a;
};

#define TEAM                                                                                       \
    "receivers:\n"                                                                                 \
    "  - name: team\n"                                                                             \
    "    wecom_configs: [{key: k}]\n"                                                              \
    "    email_configs: [{to: t}]\n"                                                               \
    "  - name: dba\n"                                                                              \
    "    email_configs: [{to: d}]\n"                                                               \
    "route:\n"                                                                                     \
    "  receiver: team\n"                                                                           \
    "  group_by: [incident]\n"                                                                     \
    "  group_wait: 10s\n"                                                                          \
    "  routes:\n"                                                                                  \
    "    - matchers: ['severity=\"warning\"']\n"                                                   \
    "      digest: 15m\n"                                                                          \
    "    - matchers: ['severity=\"info\"']\n"                                                      \
    "      digest: \"09:00\"\n"

static int load(struct book *b, const char *text)
{
    *b = (struct book){.a = arena_new(1 << 20)};
    int rc = conf_parse("t.yml", text, NULL, &b->conf, &b->e);

    if (rc == 0)
        rc = settings_load(b->conf, &b->settings, &b->e);
    if (rc == 0)
        rc = source_entries_load(&b->settings, &b->sources, &b->e);
    if (rc == 0)
        rc = receivers_load(&b->settings, &b->receivers, &b->e);
    if (rc == 0)
        rc = route_load(&b->settings, &b->receivers, &b->root, &b->e);
    if (rc == 0)
        rc = rules_load(&b->settings, &b->sources, &b->receivers, b->root, &b->rules, &b->e);
    if (rc == 0)
        rc = settings_finish(b->conf, &b->e);
    return rc;
}

static void unload(struct book *b)
{
    conf_free(b->conf);
    arena_free(b->a);
}

static void loaded(struct book *b, const char *text)
{
    if (load(b, text) < 0)
        fail_msg("%s", b->e.msg);
}

static void refused(const char *text, const char *msg)
{
    struct book b;

    if (load(&b, text) == 0)
        fail_msg("this loads: %s", text);
    assert_string_equal(b.e.msg, msg);
    unload(&b);
}

static struct rule_facts facts(struct book *b, const char *labels_json, enum severity severity)
{
    struct rule_facts f = {.severity = severity, .source = SLICE_LIT("alertmanager")};

    assert_int_equal(labels_from_json(b->a, slice_of(labels_json), &f.labels, &b->e), 0);
    assert_int_equal(route_labels(b->a, f.labels, severity, f.source, &f.labels), 0);
    return f;
}

static const char *matched(struct book *b, const struct rule_facts *f)
{
    const struct rule *rule = rules_match(b->rules, f);

    return rule ? rule->name : "";
}

/* ---- globs ---- */

static void test_globs(void **state)
{
    static const struct {
        const char *pattern, *word;
        bool matches;
    } v[] = {
        {"redis", "redis", true},
        {"redis", "redis1", false},
        {"redis", "Redis", false},
        {"redis", "", false},
        {"*", "", true},
        {"*", "anything", true},
        {"data*", "database", true},
        {"data*", "data", true},
        {"data*", "adata", false},
        {"*base", "database", true},
        {"*base", "bases", false},
        {"a*b*c", "a1b2b3c", true},
        {"a*b*c", "a1c2b", false},
        {"**a", "ba", true},
        {"db?", "db1", true},
        {"db?", "db", false},
        {"db?", "db12", false},
        {"db[0-3]", "db2", true},
        {"db[0-3]", "db4", false},
        {"db[!0-3]", "db4", true},
        {"db[!0-3]", "db3", false},
        {"[]a]", "]", true},
        {"[a-]", "-", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"\xe6\x95\xb0?", "\xe6\x95\xb0\xe6\x8d\xae", true},
        {"[!a]", "\xe6\x95\xb0", true},
        {"*\xe6\x8d\xae", "\xe6\x95\xb0\xe6\x8d\xae", true},
        {"a*a*a*a*b", "aaaaaaaaaa", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
        assert_null(glob_fault(v[i].pattern));
        if (glob_match(v[i].pattern, slice_of(v[i].word)) != v[i].matches)
            fail_msg("%s against %s", v[i].pattern, v[i].word);
    }
    assert_string_equal(glob_fault(""), "an empty pattern matches nothing");
    assert_string_equal(glob_fault("a["), "a [ is never closed");
    assert_string_equal(glob_fault("[]"), "a [ is never closed");
    assert_string_equal(glob_fault("a\\"), "a \\ stands at the end");
    assert_string_equal(glob_fault("[z-a]"), "a range between [ and ] runs backwards");
    assert_string_equal(glob_fault("[\xe6\x95\xb0]"), "only ASCII may stand between [ and ]");
}

/* ---- matching ---- */

static void test_fingerprints(void **state)
{
    static const struct {
        const char *own, *labels, *rule;
    } v[] = {
        {"redis\nconnection_failed", "{}", "redis"},
        {"redis", "{}", ""},
        {"redis\nconnection_failed\nmore", "{}", ""},
        {"redis2\nconnection_failed", "{}", ""},
        {"database", "{}", "database"},
        {"database\nslow", "{}", "database"},
        {"database\nslow\nvery", "{}", "database"},
        {"a database\nslow", "{}", ""},
        {"api\nvalue", "{}", "value"},
        /* its own, or else the service and what is wrong with it */
        {"", "{\"service\":\"redis\",\"error_type\":\"connection_failed\"}", "redis"},
        {"", "{\"job\":\"redis\",\"reason\":\"connection_failed\",\"alertname\":\"x\"}", "redis"},
        {"", "{\"service\":\"redis\",\"alertname\":\"connection_failed\"}", "redis"},
        {"", "{\"service\":\"redis\",\"error_type\":\"other\",\"alertname\":\"connection_failed\"}",
         ""},
        {"", "{\"service\":\"database\"}", "database"},
        {"", "{\"error_type\":\"database\"}", "database"},
        {"other", "{\"service\":\"redis\",\"error_type\":\"connection_failed\"}", ""},
        {"", "{}", ""},
    };
    struct book b;

    (void)state;
    loaded(&b, TEAM "rules:\n"
                    "  - {name: redis, match: {fingerprint: [redis, connection_failed]}}\n"
                    "  - {name: database, match: {fingerprint: [database, '*']}}\n"
                    "  - {name: value, match: {fingerprint: ['*', 'val*']}}\n");
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
        struct rule_facts f = facts(&b, v[i].labels, SEVERITY_ERROR);
        f.fingerprint = slice_of(v[i].own);
        if (strcmp(matched(&b, &f), v[i].rule) != 0)
            fail_msg("%zu: \"%s\", not \"%s\"", i, matched(&b, &f), v[i].rule);
    }
    unload(&b);
}

static void test_the_first_that_matches_decides(void **state)
{
    struct book b;

    (void)state;
    loaded(&b,
           TEAM "rules:\n"
                "  - {name: critical, match: {level: fatal}}\n"
                "  - {name: mild, match: {level: [warning, info]}}\n"
                "  - {name: prod, match: {matchers: ['env=\"prod\"', 'severity=~\"err.*\"']}}\n"
                "  - {name: app, match: {category: application}}\n"
                "  - {name: disks, match: {category: [storage, network]}}\n"
                "  - {name: outside, match: {category: infrastructure, matchers: 'env=\"x\"'}}\n"
                "  - {name: rest}\n");
    struct rule_facts f = facts(&b, "{\"env\":\"prod\"}", SEVERITY_CRITICAL);
    assert_string_equal(matched(&b, &f), "critical");
    f = facts(&b, "{\"env\":\"prod\"}", SEVERITY_WARNING);
    assert_string_equal(matched(&b, &f), "mild");
    f = facts(&b, "{\"env\":\"prod\"}", SEVERITY_INFO);
    assert_string_equal(matched(&b, &f), "mild");
    f = facts(&b, "{\"env\":\"prod\"}", SEVERITY_ERROR);
    assert_string_equal(matched(&b, &f), "prod");
    f = facts(&b, "{}", SEVERITY_ERROR);
    assert_string_equal(matched(&b, &f), "rest");
    f = facts(&b, "{\"env\":\"x\"}", SEVERITY_ERROR);
    assert_string_equal(matched(&b, &f), "outside");
    f.source = SLICE_LIT("sentry");
    assert_string_equal(matched(&b, &f), "app");
    f = facts(&b, "{\"env\":\"x\",\"category\":\"network\"}", SEVERITY_ERROR);
    assert_string_equal(matched(&b, &f), "disks");
    assert_null(rules_match(NULL, &f));
    unload(&b);
}

static void test_rates(void **state)
{
    struct book b;
    struct frequency frequency;
    uint64_t n = 0;

    (void)state;
    loaded(&b, TEAM "rules:\n"
                    "  - {name: flood, match: {rate: '> 100 per hour'}}\n"
                    "  - {name: many, match: {rate: '>=3/15m', level: error}}\n"
                    "  - {name: calm, match: {level: info}}\n"
                    "  - {name: few, match: {rate: '> 1 per week'}}\n");
    struct rule_facts f = facts(&b, "{}", SEVERITY_ERROR);
    assert_string_equal(matched(&b, &f), "");
    assert_int_equal(rules_rated(b.rules, &f), 7);
    frequency_init(&frequency);
    frequency_add(&frequency, 1000000000);
    assert_null(rules_cross(b.rules, 7, 0, &frequency, 1000000000, &n));
    frequency_add(&frequency, 1000000001);
    assert_string_equal(rules_cross(b.rules, 7, 0, &frequency, 1000000001, &n)->name, "few");
    assert_int_equal(n, 2);
    assert_null(rules_cross(b.rules, 7, 4, &frequency, 1000000001, &n));
    frequency_add(&frequency, 1000000002);
    assert_string_equal(rules_cross(b.rules, 7, 4, &frequency, 1000000002, &n)->name, "many");
    assert_null(rules_cross(b.rules, 3, 0, &frequency, 1000000000 + 15 * MS_MINUTE, &n));
    f.crossed = 4;
    assert_string_equal(matched(&b, &f), "few");
    f.crossed = 6;
    assert_string_equal(matched(&b, &f), "many");
    assert_string_equal(rules_crossed_text(b.rules, 6, b.a).p, "many\nfew");
    assert_int_equal(rules_crossed_parse(b.rules, SLICE_LIT("few\nno such rule\nmany")), 6);
    assert_int_equal(rules_crossed_parse(NULL, SLICE_LIT("few")), 0);
    /* what decides without a rate hides those behind it */
    f = facts(&b, "{}", SEVERITY_INFO);
    assert_int_equal(rules_rated(b.rules, &f), 1);
    unload(&b);
}

/* ---- routes ---- */

static const char *path_of(struct book *b, const char *labels, enum severity severity)
{
    const struct route **out = arena_array(b->a, b->root->most, const struct route *), *again;
    struct rule_facts f = facts(b, labels, severity);
    char *text = arena_strndup(b->a, "", 0), wait[RFC3339_MAX], digest[RFC3339_MAX];
    size_t n;

    assert_int_equal(rules_route(b->rules, b->root, &f, b->a, out, &n), 0);
    for (size_t i = 0; i < n; i++) {
        const struct slice key = rules_route_key(out[i], b->a);
        assert_int_equal(rules_route_find(b->rules, b->root, key, b->a, &again), 0);
        assert_non_null(again);
        assert_memory_equal(again->id, out[i]->id, sizeof(again->id));
        assert_int_equal(again->group_wait_ms, out[i]->group_wait_ms);
        text = arena_printf(
            b->a, "%s%s%s %s wait=%s digest=%s at=%d entries=%llx%s", text, i ? "; " : "",
            out[i]->receiver->name, out[i]->path, duration_format(out[i]->group_wait_ms, wait),
            duration_format(out[i]->digest.period_ms, digest), out[i]->digest.at_minute,
            (unsigned long long)out[i]->entries, out[i]->page_only ? " page" : "");
    }
    return text;
}

static void test_routes(void **state)
{
    struct book b;

    (void)state;
    loaded(&b, TEAM "rules:\n"
                    "  - {name: now, match: {matchers: 'x=\"1\"'}, action: immediate}\n"
                    "  - {name: hourly, match: {matchers: 'x=\"2\"'}, action: hourly_summary}\n"
                    "  - {name: daily, match: {matchers: 'x=\"3\"'}, action: daily_digest}\n"
                    "  - {name: mail, match: {matchers: 'x=\"4\"'}, channels: [email]}\n"
                    "  - {name: robot, match: {matchers: 'x=\"5\"'}, channels: [weixin], action: "
                    "immediate}\n"
                    "  - {name: page, match: {matchers: 'x=\"6\"'}, channels: [dashboard]}\n"
                    "  - {name: dba, match: {matchers: 'x=\"7\"'}, receiver: dba}\n"
                    "  - {name: leave, match: {matchers: 'x=\"8\"'}}\n");
    assert_string_equal(path_of(&b, "{}", SEVERITY_ERROR),
                        "team {} wait=10s digest=0s at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"x\":\"1\"}", SEVERITY_WARNING),
                        "team {rule=\"now\"} wait=0s digest=0s at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"x\":\"2\"}", SEVERITY_ERROR),
                        "team {rule=\"hourly\"} wait=10s digest=1h at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"x\":\"3\"}", SEVERITY_ERROR),
                        "team {rule=\"daily\"} wait=10s digest=1d at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"x\":\"3\"}", SEVERITY_INFO),
                        "team {rule=\"daily\"} wait=10s digest=1d at=540 entries=0");
    assert_string_equal(path_of(&b, "{\"x\":\"4\"}", SEVERITY_WARNING),
                        "team {rule=\"mail\"}/{}/{severity=\"warning\"} wait=10s digest=15m at=-1 "
                        "entries=2");
    assert_string_equal(path_of(&b, "{\"x\":\"5\"}", SEVERITY_ERROR),
                        "team {rule=\"robot\"} wait=0s digest=0s at=-1 entries=1");
    assert_string_equal(path_of(&b, "{\"x\":\"6\"}", SEVERITY_ERROR),
                        "team {rule=\"page\"}/{} wait=10s digest=0s at=-1 entries=0 page");
    assert_string_equal(path_of(&b, "{\"x\":\"7\"}", SEVERITY_ERROR),
                        "dba {rule=\"dba\"}/{} wait=10s digest=0s at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"x\":\"8\"}", SEVERITY_WARNING),
                        "team {}/{severity=\"warning\"} wait=10s digest=15m at=-1 entries=0");
    unload(&b);
}

/* A receiver that has none of a rule's channels is told on all that it has; and one of several
 * routes gives way to a rule's receiver, which is told once. */
static void test_routes_of_several_receivers(void **state)
{
    static const char both[] = "receivers:\n"
                               "  - {name: a, wecom_configs: [{key: k}]}\n"
                               "  - {name: b, email_configs: [{to: t}], slack_configs: [{}]}\n"
                               "  - {name: c, dashboard_configs: [{}]}\n"
                               "route:\n"
                               "  receiver: a\n"
                               "  routes:\n"
                               "    - {matchers: ['y=~\".+\"'], receiver: a, continue: true}\n"
                               "    - {matchers: ['y!=\"\"'], receiver: b}\n"
                               "    - {matchers: ['z=~\".+\"'], receiver: c}\n"
                               "rules:\n"
                               "  - {name: one, match: {matchers: ['y=\"1\"']}, channels: [wecom], "
                               "action: immediate}\n"
                               "  - {name: two, match: {matchers: ['y=\"2\"']}, receiver: c}\n"
                               "  - {name: three, channels: [dashboard], action: immediate}\n";
    struct book b;

    (void)state;
    loaded(&b, both);
    assert_string_equal(path_of(&b, "{\"y\":\"1\"}", SEVERITY_ERROR),
                        "a {rule=\"one\"} wait=0s digest=0s at=-1 entries=1; "
                        "b {rule=\"one\"} wait=0s digest=0s at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"y\":\"2\"}", SEVERITY_ERROR),
                        "c {rule=\"two\"}/{}/{y=~\".+\"} wait=30s digest=0s at=-1 entries=0");
    assert_string_equal(path_of(&b, "{\"z\":\"1\"}", SEVERITY_ERROR),
                        "c {rule=\"three\"} wait=0s digest=0s at=-1 entries=1");
    assert_string_equal(path_of(&b, "{}", SEVERITY_ERROR),
                        "a {rule=\"three\"} wait=0s digest=0s at=-1 entries=0 page");
    unload(&b);
}

static struct slice key_of(struct book *b, enum severity severity)
{
    const struct rule_facts f = facts(b, "{}", severity);
    const struct route **out = arena_array(b->a, b->root->most, const struct route *);
    size_t n;

    assert_int_equal(rules_route(b->rules, b->root, &f, b->a, out, &n), 0);
    return rules_route_key(out[0], b->a);
}

/* Identity is by content: of the receiver, the rule's name and the grouping, so that a severity
 * that is raised under a rule moves nothing; where a rule leaves the time to the route, the route
 * is part of it. */
static void test_identity(void **state)
{
    struct book b, changed;
    const struct route *found;

    (void)state;
    loaded(&b, TEAM "rules: [{name: r, match: {level: [error, warning]}, action: immediate}]\n");
    loaded(&changed, TEAM "rules: [{name: r, action: hourly_summary}]\n");
    const struct slice key = key_of(&b, SEVERITY_ERROR), same = key_of(&b, SEVERITY_WARNING);
    assert_memory_equal(key.p, same.p, 32);
    assert_int_equal(rules_route_find(b.rules, b.root, same, b.a, &found), 0);
    assert_int_equal(found->digest.period_ms, 0);
    assert_int_equal(rules_route_find(changed.rules, changed.root, key, b.a, &found), 0);
    assert_null(found);
    unload(&changed);
    loaded(&changed, TEAM "rules: [{name: other, action: immediate}]\n");
    assert_memory_not_equal(key_of(&changed, SEVERITY_ERROR).p, key.p, 32);
    assert_int_equal(rules_route_find(changed.rules, changed.root, key, b.a, &found), 0);
    assert_null(found);
    assert_int_equal(rules_route_find(NULL, changed.root, key, b.a, &found), 0);
    assert_null(found);
    assert_int_equal(rules_route_find(NULL, b.root, SLICE_LIT("nonsense"), b.a, &found), 0);
    assert_null(found);
    unload(&changed);
    /* what else stands in the file does not matter */
    loaded(&changed, TEAM "rules: [{name: first, match: {level: info}}, {name: r, channels: "
                          "[email], action: immediate}]\n");
    assert_memory_equal(key_of(&changed, SEVERITY_ERROR).p, key.p, 32);
    unload(&changed);
    loaded(&changed, TEAM "rules: [{name: r, channels: [email]}]\n");
    assert_memory_not_equal(key_of(&changed, SEVERITY_ERROR).p,
                            key_of(&changed, SEVERITY_WARNING).p, 32);
    unload(&changed);
    unload(&b);
}

/* ---- mistakes ---- */

#define RULE(text) TEAM "rules:\n  - name: r\n    " text "\n"

static void test_mistakes(void **state)
{
    (void)state;
    refused(TEAM "rules: {a: b}\n", "t.yml:16:8: rules: a list is expected");
    refused(TEAM "rules: [now]\n", "t.yml:16:9: a rule is a map with a name");
    refused(TEAM "rules: [{action: immediate}]\n", "rules.0.name: a rule needs a name");
    refused(TEAM "rules: [{name: 'a\"b'}]\n",
            "t.yml:16:16: rules.0.name: a rule's name holds no \", \\ or control character");
    refused(TEAM "rules: [{name: a}, {name: a}]\n",
            "t.yml:16:27: rules.1.name: there are two rules named a");
    refused(RULE("acton: immediate"),
            "t.yml:18:5: unknown key \"acton\" in section \"rules.0\"; did you mean \"action\"?");
    refused(RULE("match: {levels: error}"), "t.yml:18:13: unknown key \"levels\" in section "
                                            "\"rules.0.match\"; did you mean \"level\"?");
    refused(RULE("match: critical"),
            "t.yml:18:12: match: a map such as {level: critical} is expected");
    refused(RULE("match: {level: awful}"),
            "t.yml:18:20: rules.0.match.level: critical, error, warning or info is expected, not "
            "awful");
    refused(RULE("match: {fingerprint: [redis, '[']}"),
            "t.yml:18:26: rules.0.match.fingerprint: a [ is never closed: [");
    refused(RULE("match: {matchers: ['env']}"),
            "t.yml:18:24: matcher: expected = != =~ or !~ at byte 3 of env");
    refused(
        RULE("match: {matchers: ['env==\"prod\"']}"),
        "t.yml:18:24: matcher: expected a comma, or quotes around the whole value, at byte 5 of "
        "env==\"prod\"");
    refused(RULE("channels: [weixn]"), "t.yml:18:15: rules.0.channels: there is no channel weixn");
    refused(RULE("channels: [slack]"), "t.yml:18:15: rules.0.channels: no receiver has a slack");
    refused(RULE("channels: [weixin]\n    receiver: dba"),
            "t.yml:18:15: rules.0.channels: its receiver has no weixin");
    refused(RULE("receiver: nobody"),
            "t.yml:18:15: rules.0.receiver: there is no receiver named nobody");
    refused("limits: {rules: 1}\n" TEAM "rules: [{name: a}, {name: b}]\n",
            "t.yml:17:8: there are 2 rules, more than limits.rules");
    refused("rules: [{name: a}]\n",
            "t.yml:1:8: rules change what a route says, and there is no receiver");
}

static void test_impossible_rates(void **state)
{
    static const struct {
        const char *rate, *why;
    } v[] = {
        {"10 per hour", "expected a rate such as \"> 10 per hour\", not "},
        {"< 10 per hour", "expected a rate such as \"> 10 per hour\", not "},
        {"> 10", "expected a rate such as \"> 10 per hour\", not "},
        {"> 10 per fortnight", "expected a rate such as \"> 10 per hour\", not "},
        {"> ten per hour", "expected a rate such as \"> 10 per hour\", not "},
        {"> 10 hour", "expected a rate such as \"> 10 per hour\", not "},
        {">= 0 per hour", "between 1 and 4294967295 occurrences, not "},
        {"> 99999999999999999999 per hour", "between 1 and 4294967295 occurrences, not "},
        {"> 10 per 31d", "occurrences are counted over 1m to 30d, not "},
        {"> 10 per 1s", "occurrences are counted over 1m to 30d, not "},
        {"> 10 per 0", "occurrences are counted over 1m to 30d, not "},
    };
    char text[2048], msg[512];

    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
        (void)snprintf(text, sizeof(text), RULE("match: {rate: '%s'}"), v[i].rate);
        (void)snprintf(msg, sizeof(msg), "t.yml:18:19: rules.0.match.rate: %s%s", v[i].why,
                       v[i].rate);
        refused(text, msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_the_first_that_matches_decides),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_routes_of_several_receivers),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_impossible_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
