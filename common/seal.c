#include "common/seal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "common/cleanup.h"

#define NONCE 12
#define TAG 16

CLEANUP_DEFINE(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

static const unsigned char *bytes(const char *p)
{
    return (const unsigned char *)p;
}

/* The cipher at work, `about` and `text` put in; writes text.len bytes. */
static bool run(EVP_CIPHER_CTX *c, bool encrypt, const unsigned char key[SEAL_KEY],
                const unsigned char nonce[NONCE], struct slice about, struct slice text,
                unsigned char *out)
{
    int n;

    return EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, encrypt) == 1 &&
           EVP_CipherUpdate(c, NULL, &n, bytes(about.p), (int)about.len) == 1 &&
           EVP_CipherUpdate(c, out, &n, bytes(text.p), (int)text.len) == 1;
}

int seal(const unsigned char key[SEAL_KEY], struct slice about, struct slice plain, struct buf *out)
{
    CLEANUP(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    const size_t len = NONCE + plain.len + TAG;
    unsigned char v[SEAL_MAX + SEAL_EXTRA];
    int n;

    if (plain.len > SEAL_MAX)
        return -E2BIG;
    if (!c)
        return -ENOMEM;
    if (RAND_bytes(v, NONCE) != 1 || !run(c, true, key, v, about, plain, v + NONCE) ||
        EVP_CipherFinal_ex(c, v + len, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, v + NONCE + plain.len) != 1)
        return -EIO;
    buf_add(out, v, len);
    return out->failed ? -ENOMEM : 0;
}

bool seal_open(const unsigned char key[SEAL_KEY], struct slice about, struct slice sealed,
               struct buf *out)
{
    CLEANUP(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    unsigned char v[SEAL_MAX + SEAL_EXTRA], tag[TAG];
    int n;

    if (!c || sealed.len < SEAL_EXTRA || sealed.len > sizeof(v))
        return false;
    const size_t len = sealed.len - SEAL_EXTRA;
    memcpy(tag, sealed.p + NONCE + len, TAG);
    const struct slice text = {sealed.p + NONCE, len};
    if (!run(c, false, key, bytes(sealed.p), about, text, v) ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) != 1 ||
        EVP_CipherFinal_ex(c, v + len, &n) != 1)
        return false;
    buf_add(out, v, len);
    return !out->failed;
}
