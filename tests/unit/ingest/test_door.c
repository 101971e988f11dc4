#include "ingest/door.h"

#include <errno.h>
#include <strings.h>

#include "ingest/repairs.h"
#include "testing.h"

static struct conf *conf;
static struct settings settings;
static struct source_entries entries;

struct request {
    const char *names[4], *values[4];
};

static const char *header(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    for (size_t i = 0; i < 4 && r->names[i]; i++)
        if (strcasecmp(r->names[i], name) == 0)
            return r->values[i];
    return NULL;
}

static const struct uuid id = {
    {1, 0x90, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 2, 9, 0x9a, 0x80, 0x57}};

static struct entrance enter_hook(struct arena *a, const char *source, const struct hook *h)
{
    const struct source_entry *entry = source_entry_find(&entries, slice_of(source));
    struct entrance in;
    assert_non_null(entry);
    door_enter(entry, h, &settings, 1700000000000, &id, a, &in);
    return in;
}

static struct entrance enter(struct arena *a, const char *source, const char *body,
                             const struct request *r)
{
    static const struct request none = {0};
    const struct hook h = {
        .header = header, .body = slice_of(body), .transport = (void *)(uintptr_t)(r ? r : &none)};
    return enter_hook(a, source, &h);
}

static struct slice kafka_header(const struct spool_record *r, const char *name)
{
    for (size_t i = 0; i < r->header_n; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return (struct slice){0};
}

static void test_a_good_request_becomes_a_record(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct request r = {{"Authorization", "Content-Type", "traceparent"},
                              {"Bearer tok", "application/json",
                               "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}};
    const char *body = "{\"groupKey\":\"g\",\"alerts\":[{\"labels\":{\"a\":\"b\"}}]}";
    struct entrance in = enter(a, "pay", body, &r);
    assert_int_equal(in.status, 0);
    assert_true(slice_is(in.record.topic, "raw.alertmanager"));
    assert_true(slice_is(in.record.key, "g"));
    assert_true(slice_is(in.record.value, body)); /* byte for byte */
    assert_true(slice_is(kafka_header(&in.record, "source"), "pay"));
    assert_true(slice_is(kafka_header(&in.record, "tenant"), "acme"));
    assert_true(slice_is(kafka_header(&in.record, "received_at"), "1700000000000"));
    assert_int_equal(kafka_header(&in.record, "traceparent").len, 55);
    assert_int_equal(in.filing.alerts, 1);
    struct slice reply = door_reply(&in.filing, &id, a);
    assert_true(slice_is(
        reply,
        "{\"status\":\"accepted\",\"request_id\":\"01900a5d-ac96-774b-bcce-b302099a8057\"}\n"));
}

static void test_what_a_source_keeps_and_nothing_else(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct request r = {{"request-id", "Cookie", "traceparent"}, {"abc", "secret", "x\ny"}};
    struct entrance in = enter(a, "sentry", "{}", &r);
    assert_int_equal(in.status, 0);
    assert_true(slice_is(kafka_header(&in.record, "h.Request-ID"), "abc"));
    assert_null(kafka_header(&in.record, "h.Cookie").p);
    assert_null(kafka_header(&in.record, "traceparent").p);
    assert_null(in.record.key.p);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *source, *body;
        unsigned status;
        const char *code;
        bool own_words;
    } cases[] = {
        {"pay", "{}", 401, "unauthenticated", false},
        {"alertmanager", "{", 400, "bad_request", false},
        {"alertmanager", "", 400, "bad_request", false},
        {"alertmanager", "{} {}", 400, "bad_request", false},
        {"alertmanager", "{\"alerts\":[1,2,3,4]}", 413, "too_large", false},
        {"alertmanager", "[[[[[1]]]]]", 413, "too_large", false},
        {"prometheus", "{", 400, "bad_request", true},
        {"prometheus", "[{}]", 422, "bad_request", true},
        {"prometheus", "[{\"labels\":{}}]", 400, "bad_request", true},
        {"generic", "{\"severity\":\"info\"}", 400, "bad_request", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
        struct entrance in = enter(a, cases[i].source, cases[i].body, NULL);
        assert_int_equal(in.status, cases[i].status);
        assert_string_equal(in.code, cases[i].code);
        assert_true(strlen(in.why.msg) > 0);
        assert_true(in.own_words == cases[i].own_words);
        if (in.own_words)
            assert_true(in.filing.reply.len > 0);
    }
}

/* At an address that all entries of a type share, the secret says whose it is. */
static const struct source_entry *choose(const char *type, const char *body, const char *token)
{
    const struct request r = {{"Authorization"}, {token}};
    const struct hook h = {
        .header = header, .body = slice_of(body), .transport = (void *)(uintptr_t)&r};
    return door_choose(&entries, source_find(type), &h, 1700000000000);
}

static void test_the_secret_says_for_whom(void **state)
{
    (void)state;
    assert_string_equal(choose("grafana", "{}", "Bearer ga")->name, "team-a");
    assert_string_equal(choose("grafana", "{}", "Bearer gb")->name, "team-b");
    /* Of nobody's the entry that takes everything, wherever it stands; else one that refuses. */
    assert_string_equal(choose("grafana", "{}", "Bearer gc")->name, "grafana");
    assert_string_equal(choose("datadog", "{}", "Bearer gc")->name, "shut");
    assert_null(choose("signoz", "{}", NULL));
}

#define EVENT(key) "{\"event_action\":\"resolve\",\"routing_key\":\"" key "\",\"dedup_key\":\"k\"}"
#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_a_routing_key_is_a_secret(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    assert_string_equal(choose("pagerduty", EVENT(KEY_A), NULL)->name, "pager-a");
    assert_string_equal(choose("pagerduty", EVENT(KEY_B), NULL)->name, "pagerduty");

    /* Its own words, and its own status: PagerDuty has no 401. */
    struct entrance in = enter(a, "pager-a", EVENT(KEY_B), NULL);
    assert_int_equal(in.status, 400);
    assert_true(in.own_words);
    assert_true(slice_is(in.filing.reply,
                         "{\"status\":\"invalid event\",\"message\":\"Event object is invalid\","
                         "\"errors\":[\"Invalid routing key\"]}"));
    assert_null(strstr(in.why.msg, KEY_B));
    assert_int_equal(enter(a, "pager-a", "{", NULL).status, 400);
    assert_int_equal(enter(a, "pager-a", "{}", NULL).status, 400);

    /* It is not stored, and still tells one space of keys from another. */
    in = enter(a, "pager-a", EVENT(KEY_A), NULL);
    assert_int_equal(in.status, 0);
    assert_true(slice_is(in.record.value, EVENT("00000000000000000000000000000000")));
    const struct slice key = in.record.key;
    in = enter(a, "pagerduty", EVENT(KEY_A), NULL);
    assert_int_equal(in.status, 0);
    assert_int_equal(in.record.value.len, strlen(EVENT(KEY_A)));
    assert_null(memmem(in.record.value.p, in.record.value.len, KEY_A, 8));
    assert_false(slice_eq(in.record.key, key));
    assert_false(slice_eq(enter(a, "pagerduty", EVENT(KEY_B), NULL).record.key, in.record.key));
}

static void test_a_packed_body_is_not_read(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct request packed = {{"content-encoding"}, {"gzip"}};
    const struct request plain = {{"Content-Encoding"}, {"Identity"}};
    struct entrance in = enter(a, "alertmanager", "{}", &packed);
    assert_int_equal(in.status, 415);
    assert_string_equal(in.code, "unsupported_encoding");
    assert_non_null(strstr(in.why.msg, "gzip"));
    assert_int_equal(enter(a, "alertmanager", "{}", &plain).status, 0);
}

/* What is stored of a form is JSON, and says so; the sender's own words are looked at before. */
static void test_a_form_becomes_json(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct request form = {{"Content-Type"}, {"application/x-www-form-urlencoded"}};
    struct entrance in = enter(a, "healthchecks", "code=5&status=up", &form);
    assert_int_equal(in.status, 0);
    assert_true(slice_is(in.record.value, "{\"code\":\"5\",\"status\":\"up\"}"));
    assert_true(slice_is(in.record.key, "5"));
    assert_true(slice_is(kafka_header(&in.record, "content_type"), "application/json"));
    assert_int_equal(in.filing.resolved, 1);

    /* curl calls any body a form. */
    static const char json[] = " {\"code\":5,\"status\":\"down\"}";
    in = enter(a, "healthchecks", json, &form);
    assert_int_equal(in.status, 0);
    assert_true(slice_is(in.record.value, json));
    assert_true(slice_is(kafka_header(&in.record, "content_type"), form.values[0]));

    /* Where the source takes none, it is a body that is no JSON. */
    in = enter(a, "alertmanager", "code=5&status=up", &form);
    assert_int_equal(in.status, 400);
    const struct request cut_off = {{"Content-Type"}, {"multipart/form-data; boundary=b"}};
    in = enter(a, "healthchecks", "--b\r\n", &cut_off);
    assert_int_equal(in.status, 400);
    assert_non_null(strstr(in.why.msg, "cut off"));
}

static void test_a_get_says_it_in_its_query(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct request none = {0};
    const struct hook h = {.header = header,
                           .body = SLICE_LIT("not looked at"),
                           .is_get = true,
                           .query_string = SLICE_LIT("msg=a+b&heartbeat=%7B%22monitorID%22%3A7%7D"),
                           .transport = (void *)(uintptr_t)&none};
    struct entrance in = enter_hook(a, "uptimekuma", &h);
    assert_int_equal(in.status, 0);
    assert_true(slice_is(in.record.value, "{\"msg\":\"a b\",\"heartbeat\":{\"monitorID\":7}}"));
    assert_true(slice_is(in.record.key, "7"));
}

static void test_a_secret_is_not_in_the_reason(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct request r = {{"Authorization"}, {"Bearer wrongtok"}};
    struct entrance in = enter(a, "pay", "{}", &r);
    assert_int_equal(in.status, 401);
    assert_string_equal(in.code, "wrong_signature");
    assert_null(strstr(in.why.msg, "tok"));
}

static void test_an_arena_that_is_too_small_refuses(void **state)
{
    (void)state;
    unsigned status = 1;
    for (size_t cap = 0; status != 0; cap += 64) {
        CLEANUP(arena_free) struct arena *a = arena_new(cap);
        struct entrance in = enter(a, "generic", "{\"title\":\"x\",\"severity\":5}", NULL);
        status = in.status;
        assert_true(status == 0 || status == 413);
        assert_true(cap < 1 << 20);
    }
}

/* ---- repairs ---- */

static void test_what_a_token_may(void **state)
{
    (void)state;
    const struct repairs_settings *s = &settings.repairs;
    assert_int_equal(repair_token(s, NULL), REPAIR_TOKEN_NONE);
    assert_int_equal(repair_token(s, "Bearer "), REPAIR_TOKEN_NONE);
    assert_int_equal(repair_token(s, "rt"), REPAIR_TOKEN_NONE);
    assert_int_equal(repair_token(s, "Bearer rtx"), REPAIR_TOKEN_NONE);
    assert_int_equal(repair_token(s, "Bearer rt"), REPAIR_TOKEN_REPORTS);
    assert_int_equal(repair_token(s, "Bearer vt"), REPAIR_TOKEN_VERIFIES);
}

static const char *repair(struct arena *a, const char *body, bool may_verify, struct err *e)
{
    const struct repair_post post = {slice_of(body), NULL, may_verify, 1700000000000, id};
    struct spool_record r;
    if (repair_record(&post, &settings, a, &r, e) < 0)
        return NULL;
    assert_true(slice_is(r.topic, "repairs"));
    assert_true(slice_is(r.key, "01890a5d-ac96-774b-bcce-b302099a8057"));
    assert_true(slice_is(kafka_header(&r, "tenant"), "acme"));
    assert_true(slice_is(kafka_header(&r, "request_id"), "01900a5d-ac96-774b-bcce-b302099a8057"));
    return r.value.p;
}

#define INCIDENT "\"incident_id\":\"01890A5D-AC96-774B-BCCE-B302099A8057\""

static void test_repairs_in_one_form(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct err e = {0};
    assert_string_equal(
        repair(a,
               "{" INCIDENT ",\"action\":\"a\",\"outcome\":\"success\",\"verified\":true,\"x\":1}",
               false, &e),
        "{\"incident_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"action\":\"a\",\"outcome\":"
        "\"success\","
        "\"by\":\"\",\"note\":\"\",\"verified\":false}");
    assert_string_equal(repair(a,
                               "{" INCIDENT
                               ",\"action\":\"a\",\"outcome\":\"unknown\",\"verified\":true,"
                               "\"attempt\":2,\"by\":\"Ann\",\"note\":\"\\\"\"}",
                               true, &e),
                        "{\"incident_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"action\":"
                        "\"a\",\"outcome\":\"unknown\","
                        "\"by\":\"Ann\",\"note\":\"\\\"\",\"attempt\":2,\"verified\":true}");
}

static void test_bad_repairs_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *body, *named;
    } cases[] = {
        {"[]", "object"},
        {"{", "unfinished"},
        {"{\"action\":\"a\",\"outcome\":\"success\"}", "incident_id"},
        {"{\"incident_id\":\"5\",\"action\":\"a\",\"outcome\":\"success\"}", "incident_id"},
        {"{" INCIDENT ",\"outcome\":\"success\"}", "action"},
        {"{" INCIDENT ",\"action\":5,\"outcome\":\"success\"}", "action"},
        {"{" INCIDENT ",\"action\":\"a\"}", "outcome"},
        {"{" INCIDENT ",\"action\":\"a\",\"outcome\":\"maybe\"}", "outcome"},
        {"{" INCIDENT ",\"action\":\"a\",\"outcome\":\"success\",\"attempt\":0}", "attempt"},
        {"{" INCIDENT ",\"action\":\"a\",\"outcome\":\"success\",\"attempt\":\"1\"}", "attempt"},
        {"{" INCIDENT ",\"action\":\"a\",\"outcome\":\"success\",\"verified\":\"yes\"}",
         "verified"},
        {"{" INCIDENT ",\"action\":\"a\",\"outcome\":\"success\",\"note\":[]}", "note"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
        struct err e = {0};
        assert_null(repair(a, cases[i].body, true, &e));
        if (!strstr(e.msg, cases[i].named))
            fail_msg("%s: %s", cases[i].body, e.msg);
    }
}

static void test_a_packed_repair_is_not_read(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    static const char body[] = "{" INCIDENT ",\"action\":\"a\",\"outcome\":\"success\"}";
    struct repair_post post = {SLICE_LIT(body), "gzip", false, 1700000000000, id};
    struct spool_record r;
    struct err e = {0};
    assert_int_equal(repair_record(&post, &settings, a, &r, &e), -EOPNOTSUPP);
    assert_non_null(strstr(e.msg, "gzip"));
    post.encoding = "identity";
    assert_int_equal(repair_record(&post, &settings, a, &r, &e), 0);
}

static int load(void **state)
{
    (void)state;
    static const char yaml[] = "tenant: acme\ningest: {max_alerts: 3, max_depth: 4}\n"
                               "sources: {pay: {type: alertmanager, bearer_token: tok},\n"
                               "  grafana: {}, team-a: {type: grafana, bearer_token: ga},\n"
                               "  team-b: {type: grafana, bearer_token: gb},\n"
                               "  shut: {type: datadog, bearer_token: dd},\n"
                               "  datadog: {enabled: false}, signoz: {enabled: false},\n"
                               "  pager-a: {type: pagerduty, routing_key: " KEY_A "}}\n"
                               "repairs: {tokens: [rt], verified_tokens: [vt]}\n";
    struct err e = {0};
    int rc = conf_parse("test", yaml, NULL, &conf, &e);
    if (rc == 0)
        rc = settings_load(conf, &settings, &e);
    if (rc == 0)
        rc = source_entries_load(&settings, &entries, &e);
    if (rc < 0)
        print_error("%s\n", e.msg);
    return rc;
}

static int unload(void **state)
{
    (void)state;
    conf_free(conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_request_becomes_a_record),
        cmocka_unit_test(test_what_a_source_keeps_and_nothing_else),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_secret_says_for_whom),
        cmocka_unit_test(test_a_routing_key_is_a_secret),
        cmocka_unit_test(test_a_packed_body_is_not_read),
        cmocka_unit_test(test_a_form_becomes_json),
        cmocka_unit_test(test_a_get_says_it_in_its_query),
        cmocka_unit_test(test_a_secret_is_not_in_the_reason),
        cmocka_unit_test(test_an_arena_that_is_too_small_refuses),
        cmocka_unit_test(test_what_a_token_may),
        cmocka_unit_test(test_repairs_in_one_form),
        cmocka_unit_test(test_bad_repairs_say_why),
        cmocka_unit_test(test_a_packed_repair_is_not_read),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
