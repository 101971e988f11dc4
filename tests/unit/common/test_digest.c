#include "testing.h"

#include <string.h>

#include "common/digest.h"

static uint64_t fnv(const char *s)
{
    return fnv1a(FNV1A_INIT, s, strlen(s));
}

/* From the FNV authors' test suite. */
static void fnv1a_vectors(void **state)
{
    (void)state;
    assert_true(fnv("") == UINT64_C(0xcbf29ce484222325));
    assert_true(fnv("a") == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(fnv("b") == UINT64_C(0xaf63df4c8601f1a5));
    assert_true(fnv("foo") == UINT64_C(0xdcb27518fed9d577));
    assert_true(fnv("foobar") == UINT64_C(0x85944171f73967e8));
    assert_true(fnv("chongo was here!\n") == UINT64_C(0x46810940eff5f915));
    assert_true(fnv1a(fnv("foo"), "bar", 3) == fnv("foobar"));
}

static void assert_hex(const unsigned char *digest, const char *want)
{
    char hex[2 * SHA256_LEN + 1];
    assert_string_equal(hex_encode(digest, SHA256_LEN, hex), want);
}

/* FIPS 180-4 examples. */
static void sha256_vectors(void **state)
{
    (void)state;
    unsigned char d[SHA256_LEN];
    sha256(NULL, 0, d);
    assert_hex(d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256("abc", 3, d);
    assert_hex(d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    sha256(two, strlen(two), d);
    assert_hex(d, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    const struct slice parts[] = {SLICE_LIT("a"), {NULL, 0}, SLICE_LIT("bc")};
    sha256_v(parts, 3, d);
    assert_hex(d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_v(NULL, 0, d);
    assert_hex(d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static struct slice repeat(char *out, int c, size_t n)
{
    memset(out, c, n);
    return (struct slice){out, n};
}

static void hmac_rfc4231(void **state)
{
    (void)state;
    char k[200], t[200];
    unsigned char d[SHA256_LEN];
    hmac_sha256(repeat(k, 0x0b, 20), SLICE_LIT("Hi There"), d);
    assert_hex(d, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(SLICE_LIT("Jefe"), SLICE_LIT("what do ya want for nothing?"), d);
    assert_hex(d, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac_sha256(repeat(k, 0xaa, 20), repeat(t, 0xdd, 50), d);
    assert_hex(d, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    for (int i = 0; i < 25; i++)
        k[i] = (char)(i + 1);
    hmac_sha256((struct slice){k, 25}, repeat(t, 0xcd, 50), d);
    assert_hex(d, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    hmac_sha256(repeat(k, 0x0c, 20), SLICE_LIT("Test With Truncation"), d);
    char hex[33];
    assert_string_equal(hex_encode(d, 16, hex), "a3b6167473100ee06e0c796c2955552b");
    hmac_sha256(repeat(k, 0xaa, 131),
                SLICE_LIT("Test Using Larger Than Block-Size Key - Hash Key First"), d);
    assert_hex(d, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_sha256(
        repeat(k, 0xaa, 131),
        SLICE_LIT("This is a test using a larger than block-size key and a larger than block-size "
                  "data. The key needs to be hashed before being used by the HMAC algorithm."),
        d);
    assert_hex(d, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

static void hmac_of_nothing(void **state)
{
    (void)state;
    unsigned char d[SHA256_LEN];
    const char *want = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    hmac_sha256((struct slice){0}, (struct slice){0}, d);
    assert_hex(d, want);
    hmac_sha256(SLICE_LIT("other key"), SLICE_LIT("x"), d);
    hmac_sha256_v(SLICE_LIT(""), NULL, 0, d);
    assert_hex(d, want);
}

static void hex_both_ways(void **state)
{
    (void)state;
    unsigned char all[256], back[256];
    char hex[513];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    hex_encode(all, 256, hex);
    assert_memory_equal(hex, "000102", 6);
    assert_string_equal(hex + 506, "fdfeff");
    assert_true(hex_decode(slice_of(hex), back, 256));
    assert_memory_equal(all, back, 256);
    assert_true(hex_decode(SLICE_LIT("DeadBEEF"), back, 4));
    assert_memory_equal(back, "\xDE\xAD\xBE\xEF", 4);
    assert_true(hex_decode((struct slice){0}, back, 0));
    memset(back, 0x55, 4);
    assert_false(hex_decode(SLICE_LIT("deadbee"), back, 4));
    assert_false(hex_decode(SLICE_LIT("deadbee"), back, 3));
    assert_false(hex_decode(SLICE_LIT("deadbeef00"), back, 4));
    assert_false(hex_decode(SLICE_LIT("deadbeeg"), back, 4));
    assert_false(hex_decode(SLICE_LIT("0xadbeef"), back, 4));
    assert_memory_equal(back, "\x55\x55\x55\x55", 4);
}

static void secrets(void **state)
{
    (void)state;
    assert_true(secret_eq(SLICE_LIT("s3cret"), SLICE_LIT("s3cret")));
    assert_false(secret_eq(SLICE_LIT("s3creT"), SLICE_LIT("s3cret")));
    assert_false(secret_eq(SLICE_LIT("s3cre"), SLICE_LIT("s3cret")));
    assert_false(secret_eq(SLICE_LIT("s3cret "), SLICE_LIT("s3cret")));
    assert_false(secret_eq((struct slice){0}, SLICE_LIT("s3cret")));
    assert_true(secret_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0b")));
    assert_false(secret_eq(SLICE_LIT("a\0c"), SLICE_LIT("a\0b")));
    assert_false(secret_eq((struct slice){0}, (struct slice){0}));
    assert_false(secret_eq(SLICE_LIT("x"), SLICE_LIT("")));
}

/* RFC 4648 section 10. */
static void base64_vectors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xFB\xFF\xBF", "+/+/"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[16];
        assert_int_equal(base64_encode(cases[i][0], strlen(cases[i][0]), out), strlen(cases[i][1]));
        assert_string_equal(out, cases[i][1]);
    }
}

static bool basic(const char *header, const char *user, const char *password)
{
    return basic_auth_eq(slice_of(header), slice_of(user), slice_of(password));
}

static void basic_auth(void **state)
{
    (void)state;
    /* RFC 7617 section 2 */
    assert_true(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"));
    assert_true(basic("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"));
    assert_false(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesamf"));
    assert_false(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "aladdin", "open sesame"));
    assert_false(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Aladdin", "open sesame"));
    assert_false(basic("Basic qWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"));
    assert_false(basic("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"));
    assert_false(basic("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"));
    assert_false(basic("Basic", "Aladdin", "open sesame"));
    assert_false(basic("", "Aladdin", "open sesame"));
    for (size_t user_len = 0; user_len < 6; user_len++)
        for (size_t password_len = 0; password_len < 6; password_len++) {
            char plain[16], header[64] = "Basic ";
            memcpy(plain, "usersABCDEF", user_len);
            plain[user_len] = ':';
            memcpy(plain + user_len + 1, "secret", password_len);
            size_t n = base64_encode(plain, user_len + 1 + password_len, header + 6);
            struct slice h = {header, n + 6}, u = {"usersABCDEF", user_len},
                         p = {"secret", password_len};
            assert_true(basic_auth_eq(h, u, p));
            header[6 + n / 2] ^= 1;
            assert_false(basic_auth_eq(h, u, p));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fnv1a_vectors),  cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(hmac_rfc4231),   cmocka_unit_test(hmac_of_nothing),
        cmocka_unit_test(hex_both_ways),  cmocka_unit_test(secrets),
        cmocka_unit_test(base64_vectors), cmocka_unit_test(basic_auth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
