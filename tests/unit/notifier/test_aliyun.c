/* Aliyun's signature against its published examples: the documentation's DescribeRegions, and
 * rpc_signature_composer_test.go of alibaba-cloud-sdk-go. */
#include "testing.h"

#include <string.h>

#include "notifier/aliyun.h"

static void signs_as_documented(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);
    struct aliyun_field fields[] = {
        {"Version", "2014-05-26"},
        {"AccessKeyId", "testid"},
        {"Action", "DescribeRegions"},
        {"Format", "XML"},
        {"SignatureMethod", "HMAC-SHA1"},
        {"SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"},
        {"SignatureVersion", "1.0"},
        {"Timestamp", "2016-02-23T12:46:24Z"},
    };

    (void)state;
    struct slice form = aliyun_signed("GET", fields, 8, "testsecret", a);
    assert_non_null(strstr(form.p, "AccessKeyId=testid&Action=DescribeRegions&Format=XML&"));
    assert_non_null(strstr(form.p, "Timestamp=2016-02-23T12%3A46%3A24Z&Version=2014-05-26&"));
    assert_non_null(strstr(form.p, "&Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D"));
}

static void signs_as_the_sdk(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(65536);
    struct aliyun_field fields[] = {
        {"AccessKeyId", "accessKeyId"},
        {"Action", ""},
        {"Format", "JSON"},
        {"RegionId", "regionId"},
        {"SignatureMethod", "HMAC-SHA1"},
        {"SignatureNonce", "MOCK_UUID"},
        {"SignatureType", ""},
        {"SignatureVersion", "1.0"},
        {"Timestamp", "mock date"},
        {"Version", ""},
    };

    (void)state;
    struct slice form = aliyun_signed("GET", fields, 10, "accessKeySecret", a);
    assert_non_null(strstr(form.p, "Timestamp=mock%20date"));
    assert_non_null(strstr(form.p, "&Signature=7loPmFjvDnzOVnQeQNj85S6nFGY%3D"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_documented),
        cmocka_unit_test(signs_as_the_sdk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
