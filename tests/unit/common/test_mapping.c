/* What an operator may write under a source of type mapping, and what a body then becomes. Whole
 * bodies are golden (tests/golden/sources/mapping). */
#include <errno.h>
#include <strings.h>

#include "common/source.h"
#include "testing.h"

#define NOW INT64_C(1767323045000) /* 2026-01-02T03:04:05Z */

struct loaded {
    struct conf *conf;
    struct settings settings;
    struct source_entries entries;
};

static int load(const char *yaml, struct loaded *ret, struct err *e)
{
    *ret = (struct loaded){0};
    int rc = conf_parse("test", yaml, NULL, &ret->conf, e);
    if (rc == 0)
        rc = settings_load(ret->conf, &ret->settings, e);
    return rc < 0 ? rc : source_entries_load(&ret->settings, &ret->entries, e);
}

static void test_mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *why;
    } table[] = {
        {"sources: {x: {type: mapping}}",
         "test:1:14: a source of type mapping says what an alert is: alert: {labels: {alertname: "
         "...}}"},
        {"sources:\n  mapping:\n",
         "test:2:11: a source of type mapping says what an alert is: alert: {labels: {alertname: "
         "...}}"},
        {"sources:\n  x:\n    type: mapping\n    alert: [a]\n",
         "test:4:12: a source of type mapping says what an alert is: alert: {labels: {alertname: "
         "...}}"},
        {"sources:\n  x:\n    type: mapping\n    alert:\n      title: /t\n",
         "test:5:7: an alert needs labels: {alertname: ...}"},
        {"sources:\n  x:\n    type: mapping\n    alert:\n      labels: {service: /s}\n",
         "test:5:15: an alert needs labels: {alertname: ...}"},
        {"sources:\n  x:\n    type: mapping\n    each: alerts\n    alert: {labels: {alertname: a}}",
         "test:4:11: a pointer like /alerts is expected"},
        {"sources:\n  x:\n    type: mapping\n    eech: /a\n    alert: {labels: {alertname: a}}",
         "test:4:5: unknown key \"eech\" in section \"sources.x\"; did you mean \"each\"?"},
        {"sources:\n  x:\n    type: mapping\n    alert:\n      labels: {alertname: a}\n"
         "      sverity: b\n",
         "test:6:7: unknown key \"sverity\"; did you mean \"severity\"?"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: /a~2}}}}",
         "test:1:58: /a~2: in a JSON pointer ~ is written ~0 (and / in a key ~1)"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: 'a {b}'}}}}",
         "test:1:58: in a text { } holds a pointer, as {/name} does; one that has braces of its "
         "own "
         "is written {text: ...}"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: 'a {/b'}}}}",
         "test:1:58: in a text { } holds a pointer, as {/name} does; one that has braces of its "
         "own "
         "is written {text: ...}"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: ''}}}}",
         "test:1:58: a pointer like /build/name, or a text, is expected"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: a, b: ~}}}}",
         "test:1:64: a pointer like /build/name, or a text, is expected"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: []}}}}",
         "test:1:58: a list of 1 to 16, of which the first that finds something counts"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: [[[[[[a]]]]]]}}}}",
         "test:1:63: lists and maps within each other 4 deep are the most"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: {form: /a}}}}}",
         "test:1:59: unknown key \"form\"; did you mean \"from\"?"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: {values: {a: b}}}}}}",
         "test:1:58: {from: /status, values: {...}} is expected, or {text: ...}"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: {from: /a, values: [b]}}}}}",
         "test:1:77: values: a map of the sender's words to ours is expected"},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: {from: /a, values: {b: "
         "[c]}}}}}}",
         "test:1:81: the text that \"b\" becomes is expected"},
        {"sources: {x: {type: mapping, alert: {status: on, labels: {alertname: a}}}}",
         "test:1:46: firing, resolved or ignore is expected, not \"on\""},
        {"sources: {x: {type: mapping, alert: {status: {from: /s, values: {up: resolvd}}, labels: "
         "{alertname: a}}}}",
         "test:1:70: firing, resolved or ignore is expected, not \"resolvd\""},
        {"sources: {x: {type: mapping, alert: {status: [/s, {from: /s, default: maybe}], labels: "
         "{alertname: a}}}}",
         "test:1:71: firing, resolved or ignore is expected, not \"maybe\""},
        {"sources: {x: {type: mapping, alert: {severity: [/s, bad], labels: {alertname: a}}}}",
         "test:1:53: critical, error, warning or info is expected, not \"bad\""},
        {"sources: {x: {type: mapping, alert: {labels: {alertname: a}, labels_from: labels}}}",
         "test:1:75: a pointer like /alerts is expected"},
        {"limits: {labels: 2}\nsources: {x: {type: mapping, alert: {labels: {alertname: a, b: c, "
         "d: e}}}}",
         "test:2:46: at most 2 names"},
        {"limits: {label_name: 9}\nsources: {x: {type: mapping, alert: {labels: {alertname: a, "
         "ten_bytes_: c}}}}",
         "test:2:73: a name has 1 to 9 bytes"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct loaded l;
        struct err e = {0};
        if (load(table[i].yaml, &l, &e) == 0)
            fail_msg("taken: %s", table[i].yaml);
        assert_string_equal(e.msg, table[i].why);
        conf_free(l.conf);
    }
}

/* It is nothing by itself. */
static void test_without_an_entry_there_is_none(void **state)
{
    (void)state;
    struct loaded l;
    struct err e = {0};
    assert_int_equal(load("sources: {sentry: {client_secret: s}}", &l, &e), 0);
    assert_null(source_entry_find(&l.entries, SLICE_LIT("mapping")));
    assert_non_null(source_entry_find(&l.entries, SLICE_LIT("grafana")));
    conf_free(l.conf);
}

/* The one alert that `alert: {labels: {alertname: a}, <keys>}` makes of a body. */
static struct alert_event decoded(const char *keys, const char *body, struct arena *a)
{
    char yaml[512];
    struct loaded l;
    struct err e = {0};
    struct alert_list list = {0};
    const struct record r = {.source = SLICE_LIT("x"), .received_at = NOW, .body = slice_of(body)};
    (void)snprintf(yaml, sizeof(yaml),
                   "sources: {x: {type: mapping, %s, alert: {labels: {alertname: a}, %s}}}",
                   strstr(keys, "resolve_after") ? "resolve_after: 1h" : "tenant: t",
                   strstr(keys, "resolve_after") ? strchr(keys, ',') + 1 : keys);
    if (load(yaml, &l, &e) < 0)
        fail_msg("%s: %s", yaml, e.msg);
    const struct source_entry *x = source_entry_find(&l.entries, SLICE_LIT("x"));
    int rc = x->type->decode(x->cfg, &r, &l.settings.limits, a, &list, &e);
    struct alert_event ev = {0};
    if (rc < 0)
        fail_msg("%s of %s: %s", keys, body, e.msg);
    if (list.n > 0)
        ev = list.v[0];
    conf_free(l.conf);
    return ev; /* its texts are the body's or the arena's, or gone with the configuration */
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int64_t ms;
    } table[] = {
        {"{\"t\":\"2026-01-02T03:04:05Z\"}", NOW},
        {"{\"t\":\"2026-01-02T04:04:05.000+01:00\"}", NOW},
        {"{\"t\":1767323045}", NOW},
        {"{\"t\":\"1767323045\"}", NOW},
        {"{\"t\":1767323045.678}", NOW + 678},
        {"{\"t\":\"1767323045.6789\"}", NOW + 678},
        {"{\"t\":1767323045000}", NOW},
        {"{\"t\":99999999999}", INT64_C(99999999999000)},
        {"{\"t\":100000000000}", INT64_C(100000000000)},
        {"{\"t\":0}", 0},
        {"{\"t\":-5}", 0},
        {"{\"t\":\"0001-01-01T00:00:00Z\"}", 0},
        {"{\"t\":\"yesterday\"}", 0},
        {"{\"t\":\"12 \"}", 0},
        {"{\"t\":\"1.2.3\"}", 0},
        {"{\"t\":\".5\"}", 0},
        {"{\"t\":1767323045000000000}", 0},
        {"{\"t\":\"99999999999999999999999999999999\"}", 0},
        {"{\"t\":null}", 0},
        {"{}", 0},
    };
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const int64_t got = decoded("starts_at: /t", table[i].body, a).starts_at;
        if (got != table[i].ms)
            fail_msg("%s is %lld", table[i].body, (long long)got);
    }
}

static void test_what_a_body_reports(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *body;
        enum report_kind kind;
        int64_t ends_at;
        bool announced;
    } table[] = {
        /* Neither a state nor an event: each post is one occurrence. */
        {"title: b", "{}", REPORT_OCCURRED, 0, false},
        {"starts_at: /t", "{\"t\":5}", REPORT_OCCURRED, 0, false},
        {"event_id: /e", "{\"e\":1}", REPORT_OCCURRED, 0, false},
        /* A status that never changes is a state without an end. */
        {"status: firing", "{}", REPORT_FIRING, 0, false},
        {"status: /s", "{\"s\":\"firing\"}", REPORT_FIRING, 0, true},
        {"status: /s", "{\"s\":\"resolved\"}", REPORT_RESOLVED, 0, true},
        {"status: /s", "{\"s\":\"ignore\"}", 0, 0, false},
        {"status: {from: /s, values: {'0': resolved, 'false': firing}}", "{\"s\":0}",
         REPORT_RESOLVED, 0, true},
        {"status: {from: /s, values: {'0': resolved, 'false': firing}}", "{\"s\":false}",
         REPORT_FIRING, 0, true},
        {"status: [{from: /s, default: firing}, resolved]", "{\"s\":\"anything\"}", REPORT_FIRING,
         0, true},
        {"status: [{from: /s, default: firing}, resolved]", "{}", REPORT_RESOLVED, 0, true},
        {"event_id: /e, status: /s", "{\"e\":1,\"s\":\"firing\"}", REPORT_OCCURRED, 0, true},
        {"event_id: /e, status: /s", "{\"s\":\"resolved\"}", REPORT_RESOLVED, 0, true},
        /* Its end, where there is no status; what it promises, where it fires. */
        {"ends_at: /t", "{\"t\":1767323045}", REPORT_RESOLVED, NOW, true},
        {"ends_at: /t", "{\"t\":1767323046}", REPORT_FIRING, NOW + 1000, true},
        {"ends_at: /t", "{\"t\":null}", REPORT_FIRING, 0, true},
        {"ends_at: /t, status: firing", "{\"t\":1767323044}", REPORT_FIRING, 0, false},
        {"ends_at: /t, status: firing", "{\"t\":1767323046}", REPORT_FIRING, NOW + 1000, false},
        /* Who sets resolve_after means it. */
        {"resolve_after, status: /s", "{\"s\":\"firing\"}", REPORT_FIRING, 0, false},
    };
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct alert_event ev = decoded(table[i].keys, table[i].body, a);
        if (ev.kind != table[i].kind || ev.ends_at != table[i].ends_at ||
            ev.ends_announced != table[i].announced)
            fail_msg("%s of %s is %d until %lld, %d", table[i].keys, table[i].body, ev.kind,
                     (long long)ev.ends_at, ev.ends_announced);
    }
}

/* With an id it is of that and its source; without, of all labels, Alertmanager's way. */
static void test_identity(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    const uint64_t one = decoded("id: /i, severity: /s", "{\"i\":1,\"s\":\"info\"}", a).fingerprint;
    assert_true(one == decoded("id: /i, title: b", "{\"i\":\"1\"}", a).fingerprint);
    assert_true(one != decoded("id: /i", "{\"i\":2}", a).fingerprint);
    static const struct label labels[] = {{{"alertname", 9}, {"a", 1}}, {{"source", 6}, {"x", 1}}};
    assert_true(decoded("title: /i", "{\"i\":1}", a).fingerprint ==
                labels_fingerprint((struct labels){labels, 2}));
}

static const char *header(const struct hook *h, const char *name)
{
    const char *const *pair = h->transport;
    return pair[0] && strcasecmp(pair[0], name) == 0 ? pair[1] : NULL;
}

/* The signature has its vectors in tests/vectors. */
static void test_without_a_signature_other_secrets_hold(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *header[2];
        enum auth auth;
    } table[] = {
        {"tenant: t", {NULL}, AUTH_OK},
        {"bearer_token: tok", {"Authorization", "Bearer tok"}, AUTH_OK},
        {"bearer_token: tok", {"Authorization", "Bearer tik"}, AUTH_BAD},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char yaml[256];
        struct loaded l;
        struct err e = {0};
        (void)snprintf(yaml, sizeof(yaml),
                       "sources: {x: {type: mapping, alert: {labels: {alertname: a}}, %s}}",
                       table[i].keys);
        if (load(yaml, &l, &e) < 0)
            fail_msg("%s: %s", yaml, e.msg);
        const struct source_entry *x = source_entry_find(&l.entries, SLICE_LIT("x"));
        const struct hook h = {.header = header,
                               .body = SLICE_LIT("Hello, World!"),
                               .transport = (void *)(uintptr_t)table[i].header};
        if (x->type->verify(x->cfg, &h, NOW) != table[i].auth)
            fail_msg("%s with %s: not %d", table[i].keys, table[i].header[1], table[i].auth);
        conf_free(l.conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_are_named_with_their_place),
        cmocka_unit_test(test_without_an_entry_there_is_none),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_what_a_body_reports),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_without_a_signature_other_secrets_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
