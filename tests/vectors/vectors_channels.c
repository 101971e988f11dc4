/* What channels sign, through the channels themselves where the case decides all that is signed. */
#include "testing.h"

#include <string.h>

#include "golden/channel_case.h"
#include "notifier/aliyun.h"

#define GOLDEN SOURCE_DIR "/tests/golden/channels"
#define HOURS_2 (2 * MS_HOUR)

static size_t tried;

/* The message of tests/golden that opens an incident, sent `later` ms after its time. */
static const struct {
    const char *channel;
    int64_t later;
    const char *url, *body;
} requests[] = {
    {"dingtalk", 0,
     "timestamp=1599360473000&sign=tGWkA5eQOQNCNPDgphtxIoNLO%2B%2FgD8Lcb705KQoRzeY%3D", ""},
    {"feishu", 0, "",
     "\"timestamp\":\"1599360473\",\"sign\":\"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=\""},
};

/* A signature ages: that of a later attempt is another. */
static const struct {
    const char *channel;
    const char *url, *body, *was;
} aged[] = {
    {"dingtalk", "timestamp=1599367673000&sign=", "", "tGWkA5eQOQNCNPDgphtx"},
    {"feishu", "", "\"timestamp\":\"1599367673\"", "l1N0gAcBjdwBvGm1xMjO"},
};

/* The first request of the message; *c and `a` hold it. */
static struct request first_request(const char *channel, int64_t later, struct channel_case *c,
                                    struct arena *a)
{
    char path[512];
    struct notification n;
    struct step step;

    (void)snprintf(path, sizeof(path), GOLDEN "/%s/opened.json", channel);
    assert_int_equal(channel_case_load(path, channel, c), 0);
    assert_int_equal(channel_case_render(c, a, &n, NULL), 0);
    n.now += later;
    struct step_input in = {.cfg = c->outlet->cfg, .notification = &n};
    assert_int_equal(channel_step(c->outlet->channel, &in, a, &step, NULL), 0);
    return step.request;
}

static void robots(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
        struct channel_case c;
        const struct request r = first_request(requests[i].channel, requests[i].later, &c, a);
        assert_non_null(strstr(r.url, requests[i].url));
        assert_non_null(strstr(r.body.p, requests[i].body));
        channel_case_free(&c);
        tried++;
    }
}

static void each_attempt_is_signed_anew(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(aged) / sizeof(*aged); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
        struct channel_case c;
        const struct request r = first_request(aged[i].channel, HOURS_2, &c, a);
        assert_non_null(strstr(r.url, aged[i].url));
        assert_non_null(strstr(r.body.p, aged[i].body));
        assert_null(strstr(r.url, aged[i].was));
        assert_null(strstr(r.body.p, aged[i].was));
        channel_case_free(&c);
    }
}

#define ALIYUN_MAX 16

/* The documentation's DescribeRegions; and of alibaba-cloud-sdk-go, rpc_signature_composer_test.go:
 * an access key, one of the token service, and how a form is encoded. */
static const struct {
    const char *secret;
    struct aliyun_field fields[ALIYUN_MAX];
    const char *form, *signature;
} aliyun[] = {
    {"testsecret",
     {{"Version", "2014-05-26"},
      {"AccessKeyId", "testid"},
      {"Action", "DescribeRegions"},
      {"Format", "XML"},
      {"SignatureMethod", "HMAC-SHA1"},
      {"SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"},
      {"SignatureVersion", "1.0"},
      {"Timestamp", "2016-02-23T12:46:24Z"}},
     "AccessKeyId=testid&Action=DescribeRegions&Format=XML&SignatureMethod=HMAC-SHA1&"
     "SignatureNonce="
     "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&SignatureVersion=1.0&Timestamp=2016-02-23T12%3A46%3A24Z&"
     "Version=2014-05-26&Signature=",
     "OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D"},
    {"accessKeySecret",
     {{"AccessKeyId", "accessKeyId"},
      {"Action", ""},
      {"Format", "JSON"},
      {"RegionId", "regionId"},
      {"SignatureMethod", "HMAC-SHA1"},
      {"SignatureNonce", "MOCK_UUID"},
      {"SignatureType", ""},
      {"SignatureVersion", "1.0"},
      {"Timestamp", "mock date"},
      {"Version", ""}},
     "&Timestamp=mock%20date&Version=&Signature=",
     "7loPmFjvDnzOVnQeQNj85S6nFGY%3D"},
    {"accessKeySecret",
     {{"AccessKeyId", "accessKeyId"},
      {"Action", ""},
      {"Format", "JSON"},
      {"RegionId", "regionId"},
      {"SecurityToken", "accessKeyStsToken"},
      {"SignatureMethod", "HMAC-SHA1"},
      {"SignatureNonce", "MOCK_UUID"},
      {"SignatureType", ""},
      {"SignatureVersion", "1.0"},
      {"Timestamp", "mock date"},
      {"Version", ""}},
     "&SecurityToken=accessKeyStsToken&",
     "5Nxdcler%2BihqWqv0Hr2On4PsBf4%3D"},
    {"any",
     {{"q", "http://domain/?q=value&q2=value2"}, {"key", "value"}},
     "key=value&q=http%3A%2F%2Fdomain%2F%3Fq%3Dvalue%26q2%3Dvalue2&Signature=",
     ""},
};

static void aliyun_rpc(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(aliyun) / sizeof(*aliyun); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(65536);
        struct aliyun_field fields[ALIYUN_MAX];
        size_t n = 0;

        memcpy(fields, aliyun[i].fields, sizeof(fields));
        while (n < ALIYUN_MAX && fields[n].name)
            n++;
        const struct slice form = aliyun_signed("GET", fields, n, aliyun[i].secret, a);
        assert_non_null(form.p);
        assert_non_null(strstr(form.p, aliyun[i].form));
        const char *signature = strstr(form.p, "&Signature=");
        assert_non_null(signature);
        if (*aliyun[i].signature)
            assert_string_equal(signature + strlen("&Signature="), aliyun[i].signature);
        tried++;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(robots),
        cmocka_unit_test(each_attempt_is_signed_anew),
        cmocka_unit_test(aliyun_rpc),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)printf("tried by vectors.channels: %zu vectors\n", tried);
    return failed;
}
