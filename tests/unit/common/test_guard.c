/* Which addresses are closed, however they are written. */
#include "common/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "testing.h"

static bool allows(const struct guard *g, const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return guard_allows(g, (struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return guard_allows(g, (struct sockaddr *)&in6);
}

static void private_addresses_are_closed_in_every_dress(void **state)
{
    static const char *const closed[] = {"127.0.0.1",
                                         "10.1.2.3",
                                         "172.31.255.255",
                                         "192.168.0.1",
                                         "169.254.169.254",
                                         "100.64.0.1",
                                         "0.0.0.0",
                                         "224.0.0.1",
                                         "255.255.255.255",
                                         "::1",
                                         "::",
                                         "fe80::1",
                                         "fd00::1",
                                         "ff02::1",
                                         "::ffff:127.0.0.1",
                                         "64:ff9b::10.0.0.1",
                                         "::10.0.0.1"};
    static const char *const open[] = {"8.8.8.8", "172.32.0.1", "100.128.0.1",
                                       "2001:4860:4860::8888", "::ffff:8.8.8.8"};
    static const char *const ranges[] = {"127.0.0.0/8", "fd00::/8", "10.0.0.7"};
    struct conf_strs none = {0}, some = {ranges, 3};
    struct guard g;

    (void)state;
    assert_int_equal(guard_init(&g, &none, NULL), 0);
    for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++)
        assert_false(allows(&g, closed[i]));
    for (size_t i = 0; i < sizeof(open) / sizeof(*open); i++)
        assert_true(allows(&g, open[i]));
    guard_release(&g);
    assert_int_equal(guard_init(&g, &some, NULL), 0);
    assert_true(allows(&g, "127.9.9.9"));
    assert_true(allows(&g, "::ffff:127.0.0.1"));
    assert_true(allows(&g, "fd12::1"));
    assert_true(allows(&g, "10.0.0.7"));
    assert_false(allows(&g, "10.0.0.8"));
    guard_release(&g);
}

static void a_range_that_is_none_is_named(void **state)
{
    static const char *const wrong[] = {"10.0.0.0/33", "10.0.0/8",  "host",
                                        "::1/129",     "10.0.0.0/", "10.0.0.0/8x"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct conf_strs one = {&wrong[i], 1};
        struct guard g;
        struct err e = {0};
        assert_true(guard_init(&g, &one, &e) < 0);
        assert_non_null(strstr(e.msg, wrong[i]));
    }
}

static void an_address_is_public_by_its_looks(void **state)
{
    static const char *const public[] = {"https://tocsin.example.com",
                                         "http://tocsin.example.com:8443/x",
                                         "https://8.8.8.8/",
                                         "https://u:p@tocsin.example.com",
                                         "https://[2001:4860:4860::8888]:8000",
                                         "https://tocsin.example.com.?x=1"};
    static const char *const ours[] = {"http://localhost:8000",
                                       "http://LOCALHOST.",
                                       "https://tocsin",
                                       "https://tocsin.corp.internal/",
                                       "https://nas.local:8000",
                                       "https://my_host.example.com",
                                       "http://127.0.0.1:8000",
                                       "http://10.1.2.3",
                                       "http://2130706433/",
                                       "http://[::1]:8000",
                                       "http://[fd00::1]",
                                       "http://[tocsin.example.com]",
                                       "https://example.com@localhost/",
                                       "http://",
                                       "tocsin.example.com",
                                       ""};

    (void)state;
    for (size_t i = 0; i < sizeof(public) / sizeof(*public); i++)
        if (!guard_url_is_public(public[i]))
            fail_msg("%s", public[i]);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (guard_url_is_public(ours[i]))
            fail_msg("%s", ours[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_addresses_are_closed_in_every_dress),
        cmocka_unit_test(an_address_is_public_by_its_looks),
        cmocka_unit_test(a_range_that_is_none_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
