/* What senders sign, through the sources that verify it. */
#include "testing.h"

#include "../golden/source_case.h"
#include "common/sns.h"

static size_t tried;

/* One request to the entry "x" of these settings. */
struct signed_request {
    const char *settings;
    struct case_header headers[2];
    const char *body;
    int64_t at; /* seconds */
};

#define AT INT64_C(1700000000)
#define SENTRY "type: sentry, client_secret: client-secret"
#define SENTRY_HEX "1c20166a5a6576f55b72d626aefc22c6e73a252e1f4cc8e87dc0ede1cdf4b5bc"
#define GRAFANA "type: grafana, hmac_secret: s3cret"
#define GRAFANA_TIMED GRAFANA ", hmac_header: X-Sig, hmac_timestamp_header: X-At"
#define GRAFANA_HEX "5910e62016ef5034272c926c27071992a465c2335cecf41851bda071577f4f6d"
#define GRAFANA_TIMED_HEX "05d9bc30f0201f409fa39328f2417ecd7da92ccf4e9bdb80fa96f8518b0dd0a3"
#define MAPPING "type: mapping, alert: {labels: {alertname: a}}, hmac_secret: "
#define GITHUB MAPPING "\"It's a Secret to Everybody\""
#define GITHUB_HEX "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
#define PAGERDUTY MAPPING "s3cret, hmac_header: X-PagerDuty-Signature, hmac_prefix: \"v1=\""
#define PAGERDUTY_HEX "352991ebcbce339cc66a2794cf09fe782c95f38e7988e48bda8ded984a11311c"
#define OTHER_HEX "352991ebcbce339cc66a2794cf09fe782c95f38e7988e48bda8ded984a11311d"

/* GitHub's is its documentation's. */
static const struct signed_request vectors[] = {
    {SENTRY, {{"Sentry-Hook-Signature", SENTRY_HEX}}, "{\"action\":\"created\"}", AT},
    {GRAFANA, {{"X-Grafana-Alerting-Signature", GRAFANA_HEX}}, "{\"a\":1}", AT},
    {GRAFANA_TIMED, {{"X-At", "1700000000"}, {"X-Sig", GRAFANA_TIMED_HEX}}, "{\"a\":1}", AT},
    {GITHUB, {{"X-Hub-Signature-256", "sha256=" GITHUB_HEX}}, "Hello, World!", AT},
    {PAGERDUTY, {{"X-PagerDuty-Signature", "v1=" PAGERDUTY_HEX}}, "{\"event\":{}}", AT},
};

/* The same answers, otherwise asked for. */
static const struct {
    struct signed_request r;
    enum auth auth;
} others[] = {
    {{SENTRY, {{"Sentry-Hook-Signature", "1c20166a"}}, "{\"action\":\"created\"}", AT}, AUTH_BAD},
    {{GRAFANA_TIMED, {{"X-Sig", GRAFANA_TIMED_HEX}}, "{\"a\":1}", AT}, AUTH_MISSING},
    {{GRAFANA_TIMED, {{"X-Sig", GRAFANA_TIMED_HEX}, {"X-At", "1700000000"}}, "{\"a\":1}", AT + 300},
     AUTH_OK},
    {{GRAFANA_TIMED, {{"X-Sig", GRAFANA_TIMED_HEX}, {"X-At", "1700000000"}}, "{\"a\":1}", AT + 301},
     AUTH_BAD},
    {{GRAFANA_TIMED, {{"X-Sig", GRAFANA_TIMED_HEX}, {"X-At", "1700000000"}}, "{\"a\":1}", AT - 301},
     AUTH_BAD},
    {{GITHUB, {{"X-Hub-Signature-256", GITHUB_HEX}}, "Hello, World!", AT}, AUTH_OK},
    {{GITHUB, {{"X-Hub-Signature-256", "sha256="}}, "Hello, World!", AT}, AUTH_BAD},
    {{GITHUB, {{"X-Hub-Signature-256", "sha512=" GITHUB_HEX}}, "Hello, World!", AT}, AUTH_BAD},
    {{GITHUB ", hmac_header: X-Sig", {{"x-sig", GITHUB_HEX}}, "Hello, World!", AT}, AUTH_OK},
    {{GITHUB ", hmac_header: X-Sig", {{"X-Hub-Signature-256", GITHUB_HEX}}, "Hello, World!", AT},
     AUTH_MISSING},
    {{PAGERDUTY,
      {{"X-PagerDuty-Signature", "v1=" OTHER_HEX ",v1=" PAGERDUTY_HEX}},
      "{\"event\":{}}",
      AT},
     AUTH_OK},
    {{PAGERDUTY,
      {{"X-PagerDuty-Signature", "v1=" PAGERDUTY_HEX ", v1=" OTHER_HEX}},
      "{\"event\":{}}",
      AT},
     AUTH_OK},
    {{PAGERDUTY,
      {{"X-PagerDuty-Signature", "v1=" OTHER_HEX ",v1=" OTHER_HEX}},
      "{\"event\":{}}",
      AT},
     AUTH_BAD},
    {{PAGERDUTY, {{"X-PagerDuty-Signature", "v2=" PAGERDUTY_HEX}}, "{\"event\":{}}", AT}, AUTH_BAD},
    {{PAGERDUTY, {{"X-PagerDuty-Signature", ",,, ,"}}, "{\"event\":{}}", AT}, AUTH_BAD},
};

static enum auth verify(const struct signed_request *r)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct source_case sent = {.body = slice_of(r->body),
                                     .headers = {r->headers[0], r->headers[1]}};
    char yaml[512];
    struct conf *conf = NULL;
    struct settings settings = {0};
    struct source_entries entries = {0};
    struct err e = {0};

    (void)snprintf(yaml, sizeof(yaml), "sources: {x: {%s}}", r->settings);
    require(conf_parse("test", yaml, NULL, &conf, &e), &e);
    require(settings_load(conf, &settings, &e), &e);
    require(source_entries_load(&settings, &entries, &e), &e);
    const struct source_entry *x = source_entry_find(&entries, SLICE_LIT("x"));
    struct hook h = case_hook(&sent);
    h.a = a;
    const enum auth auth = x->type->verify(x->cfg, &h, r->at * 1000);
    conf_free(conf);
    return auth;
}

static void senders(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
        if (verify(&vectors[i]) != AUTH_OK)
            fail_msg("%s: refused", vectors[i].settings);
        tried++;
    }
}

/* Another last digit or letter, another body, no header. */
static void what_was_not_signed_so_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
        char value[256], body[256];
        for (size_t k = 0; k < 2 && vectors[i].headers[k].name; k++) {
            struct signed_request r = vectors[i];
            const size_t len = strlen(r.headers[k].value);
            (void)snprintf(value, sizeof(value), "%s", r.headers[k].value);
            value[len - 1] = value[len - 1] == '1' ? '2' : '1';
            r.headers[k].value = value;
            assert_int_equal(verify(&r), AUTH_BAD);
        }
        struct signed_request longer = vectors[i], bare = vectors[i];
        (void)snprintf(body, sizeof(body), "%s ", longer.body);
        longer.body = body;
        assert_int_equal(verify(&longer), AUTH_BAD);
        memset(bare.headers, 0, sizeof(bare.headers));
        assert_int_equal(verify(&bare), AUTH_MISSING);
    }
}

static void where_and_when_it_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (verify(&others[i].r) != others[i].auth)
            fail_msg("%s with %s at %lld: not %d", others[i].r.settings,
                     others[i].r.headers[0].value, (long long)others[i].r.at, others[i].auth);
}

/* sns/ is signed by openssl; tests/fakes/sns.py wrote it. tests/unit/common/test_sns.c changes it.
 */
static void sns(void **state)
{
    static const char *const files[] = {"notification_v1", "notification_v2", "subscription_v2"};
    static const char *const hosts[] = {"sns.*.amazonaws.com"};
    const struct sns_trust trust = {.hosts = {hosts, 1}, .tolerance = 60000};
    const int64_t now = INT64_C(1893553445000); /* 2030-01-02T03:04:05Z */
    const struct slice pem = case_read(SOURCE_DIR "/tests/vectors/sns/signing.pem");

    (void)state;
    assert_non_null(pem.p);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
        char path[512];
        struct fetch f = {0};
        (void)snprintf(path, sizeof(path), "%s/tests/vectors/sns/%s.json", SOURCE_DIR, files[i]);
        const struct slice body = case_read(path);
        assert_non_null(body.p);
        assert_int_equal(sns_certificate(&trust, body, now, a, &f), AUTH_OK);
        assert_string_equal(f.url,
                            "https://sns.eu-west-1.amazonaws.com/"
                            "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem");
        assert_true(f.fit(pem));
        assert_int_equal(sns_verify(&trust, body, now, a, pem), AUTH_OK);
        free((void *)(uintptr_t)body.p);
        tried++;
    }
    free((void *)(uintptr_t)pem.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(senders),
        cmocka_unit_test(what_was_not_signed_so_is_refused),
        cmocka_unit_test(where_and_when_it_counts),
        cmocka_unit_test(sns),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)printf("tried by vectors.sources: %zu vectors\n", tried);
    return failed;
}
