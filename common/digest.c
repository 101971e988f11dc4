#include "common/digest.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"

CLEANUP_DEFINE(EVP_MAC_CTX *, EVP_MAC_CTX_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

/* Only a broken or memory-starved libcrypto gets here, and no answer is better than a wrong one. */
static void require(int ok, const char *what)
{
    if (ok == 1)
        return;
    (void)fprintf(stderr, "libcrypto: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

uint64_t fnv1a(uint64_t h, const void *p, size_t len)
{
    const unsigned char *s = p;
    for (size_t i = 0; i < len; i++)
        h = (h ^ s[i]) * UINT64_C(1099511628211);
    return h;
}

void sha256(const void *p, size_t len, unsigned char out[SHA256_LEN])
{
    require(EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL), "SHA-256");
}

void sha256_v(const struct slice *text, size_t n, unsigned char out[SHA256_LEN])
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    require(ctx != NULL, "SHA-256 context");
    require(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL), "SHA-256 init");
    for (size_t i = 0; i < n; i++)
        if (text[i].len > 0)
            require(EVP_DigestUpdate(ctx, text[i].p, text[i].len), "SHA-256 update");
    require(EVP_DigestFinal_ex(ctx, out, NULL), "SHA-256 final");
}

/* Fetching an algorithm searches the providers; a keyed context per call is cheap beside it. */
static EVP_MAC *hmac;

static void fetch_hmac(void)
{
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    require(hmac != NULL, "HMAC");
}

static void hmac_v(char *digest, struct slice key, const struct slice *text, size_t n,
                   unsigned char *out, size_t out_len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fetch_hmac);
    CLEANUP(EVP_MAC_CTX_free) EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);
    require(ctx != NULL, "HMAC context");
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    /* A NULL key would mean "the one set before". */
    const char *bytes = key.p ? key.p : "";
    require(EVP_MAC_init(ctx, (const unsigned char *)bytes, key.len, params), "HMAC init");
    for (size_t i = 0; i < n; i++)
        if (text[i].len > 0)
            require(EVP_MAC_update(ctx, (const unsigned char *)text[i].p, text[i].len),
                    "HMAC update");
    size_t len = 0;
    require(EVP_MAC_final(ctx, out, &len, out_len), "HMAC final");
}

void hmac_sha256_v(struct slice key, const struct slice *text, size_t n,
                   unsigned char out[SHA256_LEN])
{
    char digest[] = "SHA256";

    hmac_v(digest, key, text, n, out, SHA256_LEN);
}

void hmac_sha1(struct slice key, struct slice text, unsigned char out[SHA1_LEN])
{
    char digest[] = "SHA1";

    hmac_v(digest, key, &text, 1, out, SHA1_LEN);
}

void hmac_sha256(struct slice key, struct slice text, unsigned char out[SHA256_LEN])
{
    hmac_sha256_v(key, &text, 1, out);
}

char *hex_encode(const void *p, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *s = p;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[s[i] >> 4];
        out[2 * i + 1] = digits[s[i] & 15];
    }
    out[2 * len] = '\0';
    return out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(struct slice s, void *out, size_t len)
{
    unsigned char *to = out;
    if (s.len / 2 != len || s.len % 2 != 0)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (hex_value(s.p[i]) < 0)
            return false;
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)((unsigned)hex_value(s.p[2 * i]) << 4 |
                                (unsigned)hex_value(s.p[2 * i + 1]));
    return true;
}

bool secret_eq(struct slice given, struct slice secret)
{
    return secret.len > 0 && given.len == secret.len &&
           CRYPTO_memcmp(given.p, secret.p, secret.len) == 0;
}

/* Up to three bytes as four characters. */
static void base64_group(const unsigned char in[3], size_t n, char out[4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    out[0] = digits[v >> 18];
    out[1] = digits[v >> 12 & 63];
    out[2] = n > 1 ? digits[v >> 6 & 63] : '=';
    out[3] = n > 2 ? digits[v & 63] : '=';
}

size_t base64_encode(const void *p, size_t len, char *out)
{
    const unsigned char *s = p;
    size_t at = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        unsigned char group[3] = {0};
        memcpy(group, s + i, n);
        base64_group(group, n, out + at);
        at += 4;
    }
    out[at] = '\0';
    return at;
}

size_t base64url_encode(const void *p, size_t len, char *out)
{
    const unsigned char *s = p;
    size_t at = 0;
    for (size_t i = 0; i < len; i += 3) {
        const size_t n = len - i < 3 ? len - i : 3;
        unsigned char group[3] = {0};
        char four[4];
        memcpy(group, s + i, n);
        base64_group(group, n, four);
        for (size_t k = 0; k < n + 1; k++)
            out[at++] = four[k] == '+' ? '-' : four[k] == '/' ? '_' : four[k];
    }
    out[at] = '\0';
    return at;
}

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

size_t base64url_decode(struct slice s, void *out, size_t max)
{
    unsigned char *to = out;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    if (s.len % 4 == 1 || s.len / 4 * 3 + (s.len % 4 ? s.len % 4 - 1 : 0) > max)
        return 0;
    for (size_t i = 0; i < s.len; i++) {
        const int v = base64url_value(s.p[i]);
        if (v < 0)
            return 0;
        bits = (bits << 6 | (uint32_t)v) & 0xffffff;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        to[n++] = (unsigned char)(bits >> have);
    }
    return bits & ((1U << have) - 1) ? 0 : n; /* bits left over would be a second form */
}

/* Byte `i` of "user:password". */
static unsigned char credential_byte(struct slice user, struct slice password, size_t i)
{
    if (i < user.len)
        return (unsigned char)user.p[i];
    return i == user.len ? ':' : (unsigned char)password.p[i - user.len - 1];
}

bool basic_auth_eq(struct slice authorization, struct slice user, struct slice password)
{
    static const char scheme[] = "Basic ";
    size_t prefix = sizeof(scheme) - 1;
    if (authorization.len < prefix || strncasecmp(authorization.p, scheme, prefix) != 0)
        return false;
    const char *given = authorization.p + prefix;
    size_t len = user.len + 1 + password.len;
    if (authorization.len - prefix != (len + 2) / 3 * 4)
        return false;
    /* What is expected is encoded group by group, so that nothing of the secret is copied to the
     * heap. */
    unsigned differ = 0;
    for (size_t i = 0; i < len; i += 3) {
        unsigned char group[3] = {0};
        size_t n = len - i < 3 ? len - i : 3;
        for (size_t k = 0; k < n; k++)
            group[k] = credential_byte(user, password, i + k);
        char expected[4];
        base64_group(group, n, expected);
        differ |= (unsigned)CRYPTO_memcmp(given + i / 3 * 4, expected, sizeof(expected));
    }
    return differ == 0;
}
