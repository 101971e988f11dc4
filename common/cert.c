#include "common/cert.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#include "common/cleanup.h"

#define KEY_BITS_MIN 2048
#define SIGNATURE_MAX 1024 /* bytes: a key of 8192 bits */

CLEANUP_DEFINE(BIO *, BIO_free_all);
CLEANUP_DEFINE(X509 *, X509_free);
CLEANUP_DEFINE(EVP_PKEY *, EVP_PKEY_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

/* NULL: none. */
static X509 *read_pem(struct slice pem)
{
    if (pem.len == 0 || pem.len > INT_MAX)
        return NULL;
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    return cert;
}

/* NULL: not one that we take. */
static EVP_PKEY *key_of(X509 *cert)
{
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = cert ? X509_get_pubkey(cert) : NULL;
    ERR_clear_error();
    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < KEY_BITS_MIN)
        return NULL;
    return TAKE(key);
}

bool cert_fit(struct slice pem)
{
    CLEANUP(X509_free) X509 *cert = read_pem(pem);
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = key_of(cert);
    return key != NULL;
}

static bool is_valid_at(const X509 *cert, int64_t now_ms)
{
    time_t now = (time_t)(now_ms / 1000);
    return X509_cmp_time(X509_get0_notBefore(cert), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(cert), &now) > 0;
}

/* Bytes of base64 with padding; 0: it is none. `out` holds SIGNATURE_MAX + 2. */
static size_t decode(struct slice s, unsigned char *out)
{
    if (s.len == 0 || s.len % 4 != 0 || s.len / 4 * 3 > SIGNATURE_MAX + 2)
        return 0;
    const int len = EVP_DecodeBlock(out, (const unsigned char *)s.p, (int)s.len);
    const int padding = (s.p[s.len - 1] == '=') + (s.p[s.len - 2] == '=');
    ERR_clear_error();
    return len > padding ? (size_t)(len - padding) : 0;
}

bool cert_signed(struct slice pem, int64_t now_ms, enum cert_hash hash, struct slice signature,
                 const struct slice *text, size_t n)
{
    unsigned char bytes[SIGNATURE_MAX + 2];
    const size_t len = decode(signature, bytes);
    CLEANUP(X509_free) X509 *cert = read_pem(pem);
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = key_of(cert);
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = len > 0 && key && md && is_valid_at(cert, now_ms) &&
              EVP_DigestVerifyInit(md, NULL, hash == CERT_SHA1 ? EVP_sha1() : EVP_sha256(), NULL,
                                   key) == 1;
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_DigestVerifyUpdate(md, text[i].p ? text[i].p : "", text[i].len) == 1;
    ok = ok && EVP_DigestVerifyFinal(md, bytes, len) == 1;
    ERR_clear_error();
    return ok;
}
