/*
 * Who may speak as Amazon SNS. The vectors under tests/vectors/sns were signed by openssl with
 * signing.key there (tests/fakes/sns.py DIR writes them anew); what is changed in any byte that is
 * signed is nobody's.
 */
#include "common/sns.h"

#include <stdio.h>
#include <stdlib.h>

#include "../golden/source_case.h"
#include "common/cert.h"
#include "testing.h"

#define DIR SOURCE_DIR "/tests/vectors/sns/"
#define NOW INT64_C(1893553445000) /* 2030-01-02T03:04:05Z */

static const char *const files[] = {"notification_v1.json", "notification_v2.json",
                                    "subscription_v2.json"};

static const char *const hosts[] = {"sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"};
static const struct sns_trust trust = {.hosts = {hosts, 2}, .tolerance = 60000};

static struct slice read_file(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s%s", DIR, name);
    struct slice s = case_read(path);
    assert_non_null(s.p);
    return s;
}

static void release(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

static enum auth verify(const struct sns_trust *t, struct slice body, const char *certificate,
                        int64_t now)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct slice pem = read_file(certificate);
    const enum auth auth = sns_verify(t, body, now, a, pem);
    release(pem);
    return auth;
}

/* Another letter in a value that is signed, one at a time. */
static void test_nothing_signed_can_be_changed(void **state)
{
    (void)state;
    static const char *const values[] = {
        "\"Message\": \"",  "\"MessageId\": \"",    "\"Subject\": \"", "\"Timestamp\": \"203",
        "\"TopicArn\": \"", "\"SubscribeURL\": \"", "\"Token\": \"",   "\"Signature\": \""};
    size_t tried = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct slice body = read_file(files[i]);
        for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            char *at = strstr(body.p, values[k]);
            if (!at)
                continue;
            char *letter = at + strlen(values[k]);
            const char was = *letter;
            *letter = was == '0' ? '1' : '0';
            if (verify(&(struct sns_trust){.hosts = trust.hosts, .tolerance = INT64_MAX / 4}, body,
                       "signing.pem", NOW) != AUTH_BAD)
                fail_msg("%s: %s", files[i], values[k]);
            *letter = was;
            tried++;
        }
        assert_int_equal(verify(&trust, body, "signing.pem", NOW), AUTH_OK);
        release(body);
    }
    assert_int_equal(tried, 6 + 5 + 7);
}

/* A copy of `body` with `from` replaced; the caller frees it. */
static struct slice with(struct slice body, const char *from, const char *to)
{
    const char *at = strstr(body.p, from);
    assert_non_null(at);
    const size_t len = body.len - strlen(from) + strlen(to);
    char *s = calloc(1, len + 1);
    assert_non_null(s);
    memcpy(s, body.p, (size_t)(at - body.p));
    memcpy(s + (at - body.p), to, strlen(to));
    memcpy(s + (at - body.p) + strlen(to), at + strlen(from),
           body.len - (size_t)(at - body.p) - strlen(from));
    return (struct slice){s, len};
}

static void test_what_is_added_or_taken_away(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum auth auth;
    } cases[] = {
        {"{", "{\"Unsigned\": 1,", AUTH_OK},            /* nobody reads it */
        {"{", "{\"Subject\": \"smuggled\",", AUTH_BAD}, /* signed where there is one */
        {"{", "{\"Subject\": null,", AUTH_OK},          /* none */
        {"\"Message\"", "\"message\"", AUTH_MISSING},   /* no envelope */
        {"\"Message\"", "\"M\\u0065ssage\"", AUTH_OK},  /* the same key */
        {"\"2\"", "\"1\"", AUTH_BAD},                   /* the hash of the other version */
        {"\"2\"", "\"3\"", AUTH_BAD},                   /* of none */
        {"\"2\"", "2", AUTH_BAD},                       /* no text */
        {"\"Signature\"", "\"Signed\"", AUTH_MISSING},
        {"\"SigningCertURL\"", "\"SigningCert\"", AUTH_MISSING},
        {"\"Notification\"", "\"UnsubscribeConfirmation\"", AUTH_BAD},
        {"\"Notification\"", "\"Other\"", AUTH_MISSING},
        {"}", "", AUTH_MISSING}, /* no JSON */
    };
    const struct slice body = read_file("notification_v2.json");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct slice other = with(body, cases[i].from, cases[i].to);
        if (verify(&trust, other, "signing.pem", NOW) != cases[i].auth)
            fail_msg("%s for %s", cases[i].to, cases[i].from);
        release(other);
    }
    release(body);
}

static void test_certificates_that_prove_nothing(void **state)
{
    (void)state;
    static const struct sns_trust any_time = {.hosts = {hosts, 2}, .tolerance = INT64_MAX / 4};
    const int64_t year = INT64_C(31557600000);
    const struct slice body = read_file("notification_v2.json");
    assert_int_equal(verify(&any_time, body, "signing.pem", NOW), AUTH_OK);
    assert_int_equal(verify(&any_time, body, "signing.pem", NOW + 200 * year), AUTH_BAD); /* over */
    assert_int_equal(verify(&any_time, body, "signing.pem", NOW - 20 * year),
                     AUTH_BAD);                                         /* not yet */
    assert_int_equal(verify(&trust, body, "other.pem", NOW), AUTH_BAD); /* of another key */
    assert_int_equal(verify(&trust, body, "short.pem", NOW), AUTH_BAD);
    assert_int_equal(verify(&trust, body, "ec.pem", NOW), AUTH_BAD);
    assert_int_equal(verify(&trust, body, "signing.key", NOW), AUTH_BAD);
    release(body);
}

static void test_what_is_fit_to_be_kept(void **state)
{
    (void)state;
    static const char *const unfit[] = {"short.pem", "ec.pem", "signing.key",
                                        "notification_v1.json"};
    struct slice pem = read_file("signing.pem");
    assert_true(cert_fit(pem));
    assert_false(cert_fit((struct slice){pem.p, pem.len / 2}));
    assert_false(cert_fit((struct slice){0}));
    release(pem);
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        pem = read_file(unfit[i]);
        assert_false(cert_fit(pem));
        release(pem);
    }
}

static void test_only_near_in_time(void **state)
{
    (void)state;
    const struct slice body = read_file("notification_v2.json");
    assert_int_equal(verify(&trust, body, "signing.pem", NOW + trust.tolerance), AUTH_OK);
    assert_int_equal(verify(&trust, body, "signing.pem", NOW - trust.tolerance), AUTH_OK);
    assert_int_equal(verify(&trust, body, "signing.pem", NOW + trust.tolerance + 1), AUTH_BAD);
    assert_int_equal(verify(&trust, body, "signing.pem", NOW - trust.tolerance - 1), AUTH_BAD);
    release(body);
}

static void test_only_topics_that_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        bool ok;
    } cases[] = {
        {"arn:aws:sns:eu-west-1:123456789012:alarms", true},
        {"arn:aws:sns:*:123456789012:*", true},
        {"arn:aws:sns:eu-west-1:123456789012:al*", true},
        {"arn:aws:sns:eu-west-1:123456789012:*a*m*", true},
        {"arn:aws:sns:eu-west-1:123456789012:alarm", false},
        {"arn:aws:sns:eu-west-1:123456789012:alarms*", false}, /* a star is something */
        {"arn:aws:sns:*", false},                              /* and of one part */
        {"arn:aws:sns:eu-west-1:210987654321:*", false},
    };
    const struct slice body = read_file("notification_v2.json");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sns_trust t = trust;
        t.topics = (struct conf_strs){&cases[i].pattern, 1};
        if ((verify(&t, body, "signing.pem", NOW) == AUTH_OK) != cases[i].ok)
            fail_msg("%s", cases[i].pattern);
    }
    release(body);
}

static void test_only_certificates_at_our_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool ok;
    } cases[] = {
        {"https://sns.us-east-1.amazonaws.com/a.pem", true},
        {"https://sns.cn-north-1.amazonaws.com.cn/a/b_c-d.pem", true},
        {"http://sns.us-east-1.amazonaws.com/a.pem", false},
        {"HTTPS://sns.us-east-1.amazonaws.com/a.pem", false},
        {"ftp://sns.us-east-1.amazonaws.com/a.pem", false},
        {"https://sns.us-east-1.amazonaws.com/a.pem?x", false},
        {"https://sns.us-east-1.amazonaws.com/a?b=.pem", false},
        {"https://sns.us-east-1.amazonaws.com/a.txt", false},
        {"https://sns.us-east-1.amazonaws.com.pem", false},
        {"https://sns.us-east-1.amazonaws.com/%2e.pem", false},
        {"https://sns.us-east-1.amazonaws.com:443/a.pem", false},
        {"https://sns.us-east-1.amazonaws.com.evil.com/a.pem", false},
        {"https://sns.us.east.amazonaws.com/a.pem", false},
        {"https://sns.s3.amazonaws.com/a.pem", false}, /* a bucket called sns */
        {"https://sns..amazonaws.com/a.pem", false},
        {"https://evil.com/sns.us-east-1.amazonaws.com/a.pem", false},
        {"https://evil.com\\\\@sns.us-east-1.amazonaws.com/a.pem", false},
        {"https://sns.us-east-1.amazonaws.com@evil.com/a.pem", false},
        {"https://u:p@sns.us-east-1.amazonaws.com/a.pem", false},
        {"https://sns.x#y.amazonaws.com/a.pem", false},
        {"https://sns.us-east-1.amazonaws.com\\t/a.pem", false},
        {"https://xsns.us-east-1.amazonaws.com/a.pem", false},
        {"https://127.0.0.1/a.pem", false},
        {"file:///etc/ssl/a.pem", false},
        {"", false},
    };
    const struct slice body = read_file("notification_v2.json");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
        const struct slice other =
            with(body,
                 "https://sns.eu-west-1.amazonaws.com/"
                 "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
                 cases[i].url);
        struct fetch f = {0};
        const enum auth auth = sns_certificate(&trust, other, NOW, a, &f);
        if (auth != (cases[i].ok ? AUTH_OK : AUTH_BAD) || !f.url == cases[i].ok)
            fail_msg("%s", cases[i].url);
        release(other);
    }
    release(body);
}

static void test_only_confirmations_at_our_hosts(void **state)
{
    (void)state;
    static const char *const own[] = {"sns.example.com:8443"};
    const struct sns_trust t = {.hosts = {own, 1}};
    static const char *const ours[] = {
        "https://sns.example.com:8443/"
        "?Action=ConfirmSubscription&TopicArn=arn:aws:sns:a:1:b&Token=2f",
        "https://sns.example.com:8443?a=b"};
    static const char *const others[] = {
        "https://sns.example.com/?a", "https://sns.example.com:844/",
        "https://sns.example.com:8443/ x", "https://sns.example.com:8443",
        "http://sns.example.com:8443/"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (!sns_is_ours(&t, slice_of(ours[i])))
            fail_msg("%s", ours[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (sns_is_ours(&t, slice_of(others[i])))
            fail_msg("%s", others[i]);
    assert_false(sns_is_ours(&t, (struct slice){0}));
}

/* ---- the source's own settings ---- */

static int load_source(const char *yaml, struct conf **ret, struct source_entries *ret_entries,
                       struct err *e)
{
    struct settings s;
    int rc = conf_parse("test", yaml, NULL, ret, e);
    if (rc == 0)
        rc = settings_load(*ret, &s, e);
    return rc == 0 ? source_entries_load(&s, ret_entries, e) : rc;
}

static void test_settings_that_open_too_much(void **state)
{
    (void)state;
    static const struct {
        const char *cfg, *named; /* NULL: fine */
    } cases[] = {
        {"{}", NULL},
        {"{raw_delivery: true}", "raw_delivery"},
        {"{raw_delivery: true, path_token: t}", NULL},
        {"{raw_delivery: true, username: u}", "raw_delivery"},
        {"{hosts: []}", "hosts"},
        {"{hosts: ['https://x']}", "https://x"},
        {"{topics: [alarms]}", "alarms"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char yaml[256];
        struct err e = {0};
        struct source_entries entries;
        CLEANUP(conf_free) struct conf *c = NULL;
        (void)snprintf(yaml, sizeof(yaml), "sources: {cloudwatch: %s}\n", cases[i].cfg);
        const int rc = load_source(yaml, &c, &entries, &e);
        if ((rc == 0) != !cases[i].named || (rc < 0 && !strstr(e.msg, cases[i].named)))
            fail_msg("%s: %s", cases[i].cfg, e.msg);
    }
}

/* What an entry with raw delivery takes on its secret, and what not. */
static void test_raw_delivery(void **state)
{
    (void)state;
    static const struct {
        const char *token, *body;
        enum auth auth;
        bool fetches;
    } cases[] = {
        {NULL, "disk full", AUTH_MISSING, false},
        {"x", "disk full", AUTH_BAD, false},
        {"t", "disk full", AUTH_OK, false},
        {"t", "{\"AlarmName\":\"a\"}", AUTH_OK, false},
        {"t",
         "{\"Type\":\"SubscriptionConfirmation\",\"MessageId\":\"1\",\"TopicArn\":\"t\","
         "\"Message\":\"m\"}",
         AUTH_MISSING, false},
    };
    struct err e = {0};
    struct source_entries entries;
    CLEANUP(conf_free) struct conf *c = NULL;
    assert_int_equal(load_source("sources: {cloudwatch: {raw_delivery: true, path_token: t}}\n", &c,
                                 &entries, &e),
                     0);
    const struct source_entry *entry = source_entry_find(&entries, SLICE_LIT("cloudwatch"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
        const struct source_case sent = {.body = slice_of(cases[i].body),
                                         .path_token = cases[i].token};
        struct hook h = case_hook(&sent);
        struct fetch f = {0};
        h.a = a;
        assert_int_equal(entry->type->wants(entry->cfg, &h, NOW, &f), cases[i].auth);
        assert_int_equal(entry->type->verify(entry->cfg, &h, NOW), cases[i].auth);
        assert_true(!f.url == !cases[i].fetches);
    }
    /* A subscription makes us ask: that wants the signature all the same. */
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct source_case sent = {.body = read_file("subscription_v2.json"), .path_token = "t"};
    struct hook h = case_hook(&sent);
    struct fetch f = {0};
    h.a = a;
    assert_int_equal(entry->type->wants(entry->cfg, &h, NOW, &f), AUTH_OK);
    assert_non_null(f.url);
    assert_int_equal(entry->type->verify(entry->cfg, &h, NOW), AUTH_BAD);
    h.fetched = read_file("signing.pem");
    assert_int_equal(entry->type->verify(entry->cfg, &h, NOW), AUTH_OK);
    release(h.fetched);
    release(sent.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_signed_can_be_changed),
        cmocka_unit_test(test_what_is_added_or_taken_away),
        cmocka_unit_test(test_certificates_that_prove_nothing),
        cmocka_unit_test(test_what_is_fit_to_be_kept),
        cmocka_unit_test(test_only_near_in_time),
        cmocka_unit_test(test_only_topics_that_are_named),
        cmocka_unit_test(test_only_certificates_at_our_hosts),
        cmocka_unit_test(test_only_confirmations_at_our_hosts),
        cmocka_unit_test(test_settings_that_open_too_much),
        cmocka_unit_test(test_raw_delivery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
