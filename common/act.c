#include "common/act.h"

#include "common/clock.h"
#include "common/digest.h"

#define VERSION 1
#define MAC_LEN 16
#define NAME_MAX_LEN 255
#define SECONDS_AT 2
#define SECONDS_LEN 5
#define INCIDENT_AT (SECONDS_AT + SECONDS_LEN)
#define TENANT_LEN_AT (INCIDENT_AT + 16)
#define TENANT_AT (TENANT_LEN_AT + 1)
#define TOKEN_MAX (TENANT_AT + 2 * NAME_MAX_LEN + MAC_LEN)

const char *act_verb_name(enum act_verb v)
{
    static const char *const names[ACT_VERBS] = {
        [ACT_ACKNOWLEDGE] = "acknowledge",
        [ACT_CLAIM] = "claim",
        [ACT_SILENCE] = "silence",
        [ACT_RESOLVE] = "resolve",
    };

    return v >= ACT_ACKNOWLEDGE && v < ACT_VERBS ? names[v] : "unknown";
}

/* No other use of the same secret gives the same bytes. */
static void sign(struct slice secret, const unsigned char *p, size_t len,
                 unsigned char out[SHA256_LEN])
{
    static const char what[] = "tocsin act";
    const struct slice text[] = {{what, sizeof(what)}, {(const char *)p, len}};

    hmac_sha256_v(secret, text, sizeof(text) / sizeof(*text), out);
}

const char *act_token(const struct act_grant *g, const struct act_secrets *s, struct arena *a)
{
    const size_t receiver = g->receiver.len < NAME_MAX_LEN ? g->receiver.len : NAME_MAX_LEN;
    unsigned char raw[TOKEN_MAX] = {VERSION, (unsigned char)g->verb}, mac[SHA256_LEN];
    uint64_t seconds = g->expires_ms > 0 ? (uint64_t)(g->expires_ms / MS_SECOND) : 0;
    size_t n = TENANT_AT;

    if (s->now.len == 0 || g->tenant.len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = SECONDS_LEN; i-- > 0; seconds >>= 8)
        raw[SECONDS_AT + i] = (unsigned char)seconds;
    memcpy(raw + INCIDENT_AT, g->incident.b, sizeof(g->incident.b));
    raw[TENANT_LEN_AT] = (unsigned char)g->tenant.len;
    if (g->tenant.len > 0)
        memcpy(raw + n, g->tenant.p, g->tenant.len);
    n += g->tenant.len;
    if (receiver > 0)
        memcpy(raw + n, g->receiver.p, receiver);
    n += receiver;
    sign(s->now, raw, n, mac);
    memcpy(raw + n, mac, MAC_LEN);
    n += MAC_LEN;
    char *out = arena_alloc(a, BASE64URL_STR(n), 1);
    if (out)
        (void)base64url_encode(raw, n, out);
    return out;
}

static bool signed_by(struct slice secret, const unsigned char *raw, size_t n)
{
    unsigned char mac[SHA256_LEN];

    if (secret.len == 0)
        return false;
    sign(secret, raw, n, mac);
    return secret_eq((struct slice){(const char *)raw + n, MAC_LEN},
                     (struct slice){(const char *)mac, MAC_LEN});
}

static bool well_formed(const unsigned char *raw, size_t n)
{
    return raw[0] == VERSION && raw[1] >= ACT_ACKNOWLEDGE && raw[1] < ACT_VERBS &&
           TENANT_AT + (size_t)raw[TENANT_LEN_AT] <= n;
}

enum act_check act_read(struct slice token, const struct act_secrets *s, int64_t now_ms,
                        struct arena *a, struct act_grant *ret)
{
    unsigned char raw[TOKEN_MAX];
    const size_t len = base64url_decode(token, raw, sizeof(raw));
    int64_t seconds = 0;

    if (len < TENANT_AT + MAC_LEN)
        return ACT_FORGED;
    const size_t n = len - MAC_LEN;
    const bool now = signed_by(s->now, raw, n), before = signed_by(s->before, raw, n);
    if ((!now && !before) || !well_formed(raw, n))
        return ACT_FORGED;
    for (size_t i = 0; i < SECONDS_LEN; i++)
        seconds = seconds << 8 | raw[SECONDS_AT + i];
    const size_t tenant = raw[TENANT_LEN_AT];
    *ret = (struct act_grant){.verb = (enum act_verb)raw[1], .expires_ms = seconds * MS_SECOND};
    memcpy(ret->incident.b, raw + INCIDENT_AT, sizeof(ret->incident.b));
    ret->tenant = arena_slice(a, (struct slice){(const char *)raw + TENANT_AT, tenant});
    ret->receiver = arena_slice(
        a, (struct slice){(const char *)raw + TENANT_AT + tenant, n - TENANT_AT - tenant});
    return now_ms < ret->expires_ms ? ACT_GOOD : ACT_EXPIRED;
}
