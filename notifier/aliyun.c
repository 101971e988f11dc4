#include "notifier/aliyun.h"

#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "notifier/channel.h"

#define FORM_MAX ((size_t)64 << 10)

static int by_name(const void *one, const void *two)
{
    const struct aliyun_field *a = one, *b = two;

    return strcmp(a->name, b->name);
}

/* base64(HMAC-SHA1(secret + "&", METHOD&%2F&encoded form)). */
static void sign(const char *method, struct slice form, const char *secret,
                 char out[4 * ((SHA1_LEN + 2) / 3) + 1])
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(3 * FORM_MAX), key = BUF_INIT(4096);
    unsigned char mac[SHA1_LEN];

    buf_printf(&text, "%s&%%2F&", method);
    url_encode(&text, form);
    buf_printf(&key, "%s&", secret);
    hmac_sha1((struct slice){key.p, key.len}, (struct slice){text.p, text.len}, mac);
    (void)base64_encode(mac, sizeof(mac), out);
}

struct slice aliyun_signed(const char *method, struct aliyun_field *fields, size_t n,
                           const char *secret, struct arena *a)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(FORM_MAX);
    char signature[4 * ((SHA1_LEN + 2) / 3) + 1];

    qsort(fields, n, sizeof(*fields), by_name);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&out, "%s%s=", i ? "&" : "", fields[i].name);
        url_encode(&out, slice_of(fields[i].value));
    }
    if (out.failed)
        return (struct slice){0};
    sign(method, (struct slice){out.p, out.len}, secret, signature);
    buf_puts(&out, "&Signature=");
    url_encode(&out, slice_of(signature));
    return out.failed ? (struct slice){0} : arena_slice(a, (struct slice){out.p, out.len});
}
