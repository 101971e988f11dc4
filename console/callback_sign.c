#include <stdlib.h>

#include "common/buf.h"
#include "common/digest.h"
#include "console/callback.h"

#define SECONDS_MAX 15 /* digits */
#define TEXT_MAX ((size_t)1 << 20)

/* Seconds since 1970 in plain digits; -1: it is none. */
static int64_t seconds_of(const char *s)
{
    int64_t n = 0;
    size_t len = 0;

    for (; s && s[len]; len++) {
        if (s[len] < '0' || s[len] > '9' || len == SECONDS_MAX)
            return -1;
        n = n * 10 + (s[len] - '0');
    }
    return len > 0 ? n : -1;
}

bool slack_signed(struct slice secret, const char *timestamp, struct slice body,
                  const char *signature, int64_t now_ms)
{
    const int64_t seconds = seconds_of(timestamp);
    const struct slice text[] = {SLICE_LIT("v0:"), slice_of(timestamp), SLICE_LIT(":"), body};
    unsigned char mac[SHA256_LEN];
    char expected[3 + 2 * SHA256_LEN + 1] = "v0=";

    if (secret.len == 0 || !signature || seconds < 0 ||
        llabs(now_ms - seconds * 1000) > SLACK_TOLERANCE_MS)
        return false;
    hmac_sha256_v(secret, text, sizeof(text) / sizeof(*text), mac);
    (void)hex_encode(mac, sizeof(mac), expected + 3);
    return secret_eq(slice_of(signature), slice_of(expected));
}

static int by_name(const void *x, const void *y)
{
    const struct form_field *a = x, *b = y;

    return slice_cmp(a->name, b->name);
}

bool twilio_signed(struct slice secret, const char *url, const struct form *f,
                   const char *signature, struct arena *a)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(TEXT_MAX);
    struct form *sorted = arena_new_of(a, struct form);
    unsigned char mac[SHA1_LEN];
    char expected[4 * ((SHA1_LEN + 2) / 3) + 1];

    if (secret.len == 0 || !signature || !sorted)
        return false;
    *sorted = *f;
    qsort(sorted->v, sorted->n, sizeof(*sorted->v), by_name);
    buf_puts(&text, url);
    for (size_t i = 0; i < sorted->n; i++) {
        buf_add(&text, sorted->v[i].name.p, sorted->v[i].name.len);
        buf_add(&text, sorted->v[i].value.p, sorted->v[i].value.len);
    }
    if (text.failed)
        return false;
    hmac_sha1(secret, (struct slice){buf_str(&text), text.len}, mac);
    (void)base64_encode(mac, sizeof(mac), expected);
    return secret_eq(slice_of(signature), slice_of(expected));
}
