#include "common/sns.h"

#include <ctype.h>
#include <errno.h>

#include "common/cert.h"
#include "common/clock.h"
#include "common/json.h"

#define URL_MAX 2048
#define STAR_LEAST 3 /* characters */

/* ---- the envelope ---- */

enum {
    MESSAGE,
    ID,
    SUBJECT,
    SUBSCRIBE,
    TIME,
    TOKEN,
    TOPIC,
    TYPE,
    VERSION,
    SIGNATURE,
    CERT,
    FIELDS
};

/* Those that are signed come first, in the order in which they are. */
static const char *const names[FIELDS] = {
    "Message",  "MessageId", "Subject",          "SubscribeURL", "Timestamp",     "Token",
    "TopicArn", "Type",      "SignatureVersion", "Signature",    "SigningCertURL"};

struct envelope {
    struct slice v[FIELDS]; /* p NULL: not there, or no text */
    bool failed;
};

static void open_envelope(struct slice body, struct arena *a, struct envelope *ret)
{
    struct slice raw[FIELDS];
    const struct slice object = json_at(body, "");
    *ret = (struct envelope){0};
    if (object.len == 0 || object.p[0] != '{')
        return;
    json_members(object, names, raw, FIELDS);
    for (size_t i = 0; i < FIELDS; i++) {
        if (raw[i].len == 0 || raw[i].p[0] != '"')
            continue;
        ret->v[i] = json_text(raw[i], a);
        ret->failed |= !ret->v[i].p;
    }
}

static enum sns_kind kind_of(const struct envelope *m)
{
    if (!m->v[MESSAGE].p || !m->v[TOPIC].p || !m->v[ID].p)
        return SNS_BARE;
    if (slice_is(m->v[TYPE], "Notification"))
        return SNS_NOTIFICATION;
    if (slice_is(m->v[TYPE], "SubscriptionConfirmation"))
        return SNS_SUBSCRIPTION;
    return slice_is(m->v[TYPE], "UnsubscribeConfirmation") ? SNS_UNSUBSCRIPTION : SNS_BARE;
}

void sns_read(struct slice body, struct arena *a, struct sns_message *ret)
{
    struct envelope m;
    open_envelope(body, a, &m);
    *ret = (struct sns_message){.kind = kind_of(&m), .failed = m.failed};
    if (ret->kind == SNS_BARE)
        return;
    ret->id = m.v[ID];
    ret->topic = m.v[TOPIC];
    ret->subject = m.v[SUBJECT];
    ret->text = m.v[MESSAGE];
    ret->time = m.v[TIME];
    ret->subscribe_url = m.v[SUBSCRIBE];
}

/* ---- whom we take ---- */

/*
 * A star stands for characters other than `separator`. The last star alone is ever made longer: if
 * that cannot help, one before it cannot either, as none of them may pass a separator.
 */
static bool fits(const char *pattern, struct slice s, char separator, size_t least)
{
    const char *star = NULL;
    size_t at = 0, taken = 0;
    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            taken = at;
            at += least;
        } else if (at < s.len && *pattern && *pattern == s.p[at]) {
            pattern++;
            at++;
            continue;
        } else if (at == s.len && !*pattern) {
            return true;
        } else if (!star || taken + least >= s.len) {
            return false;
        } else {
            taken++; /* the star takes one more */
            at = taken + least;
            pattern = star;
        }
        if (at > s.len || memchr(s.p + taken, separator, at - taken))
            return false;
    }
}

static bool fits_any(const struct conf_strs *patterns, struct slice s, char separator, size_t least)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (fits(patterns->v[i], s, separator, least))
            return true;
    return false;
}

static bool is_made_of(struct slice s, const char *others)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.p[i]) && (!s.p[i] || !strchr(others, s.p[i])))
            return false;
    return s.len > 0;
}

/* A host with a port or without: nothing that two readers of URLs could read in two ways. */
static bool is_host(struct slice s)
{
    const char *colon = s.len > 0 ? memchr(s.p, ':', s.len) : NULL;
    const size_t n = colon ? (size_t)(colon - s.p) : s.len;
    for (size_t i = n + 1; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return (!colon || s.len > n + 1) && is_made_of((struct slice){s.p, n}, ".-");
}

/* "https://" and one of our hosts; *ret_rest is what is behind it. */
static bool is_at_ours(const struct sns_trust *t, struct slice url, struct slice *ret_rest)
{
    static const char scheme[] = "https://";
    const size_t skip = sizeof(scheme) - 1;
    if (url.len <= skip || url.len > URL_MAX || memcmp(url.p, scheme, skip) != 0)
        return false;
    size_t n = skip;
    while (n < url.len && url.p[n] != '/' && url.p[n] != '?')
        n++;
    const struct slice host = {url.p + skip, n - skip};
    *ret_rest = (struct slice){url.p + n, url.len - n};
    return is_host(host) && fits_any(&t->hosts, host, '.', STAR_LEAST);
}

bool sns_is_ours(const struct sns_trust *t, struct slice url)
{
    struct slice rest;
    return is_at_ours(t, url, &rest) && is_made_of(rest, "/?&=%+-._~:,");
}

/* No query: one certificate has one address, and nobody fills our memory with others of it. */
static bool is_certificate_of_ours(const struct sns_trust *t, struct slice url)
{
    static const char ending[] = ".pem";
    const size_t n = sizeof(ending) - 1;
    struct slice rest;
    return is_at_ours(t, url, &rest) && is_made_of(rest, "/-._") && rest.len > n &&
           rest.p[0] == '/' && memcmp(rest.p + rest.len - n, ending, n) == 0;
}

int sns_trust_check(const struct sns_trust *t, struct err *e)
{
    for (size_t i = 0; i < t->hosts.n; i++)
        if (!is_made_of(slice_of(t->hosts.v[i]), ".-:*"))
            return err_set(e, -EINVAL, "hosts: %s is no name of a host", t->hosts.v[i]);
    for (size_t i = 0; i < t->topics.n; i++)
        if (strncmp(t->topics.v[i], "arn:", 4) != 0)
            return err_set(e, -EINVAL, "topics: %s is no ARN of a topic", t->topics.v[i]);
    return t->hosts.n > 0 ? 0 : err_set(e, -EINVAL, "hosts: without any, nothing can be verified");
}

/* ---- the signature ---- */

static bool is_signed(enum sns_kind kind, const struct envelope *m, int field)
{
    if (field == SUBSCRIBE || field == TOKEN)
        return kind != SNS_NOTIFICATION;
    return field != SUBJECT || (kind == SNS_NOTIFICATION && m->v[SUBJECT].p);
}

/* "Key\nvalue\n" of each field that is signed; how many slices. 0: one is missing. */
static size_t signed_text(enum sns_kind kind, const struct envelope *m,
                          struct slice out[4 * VERSION])
{
    size_t n = 0;
    for (int i = 0; i < VERSION; i++) {
        if (!is_signed(kind, m, i))
            continue;
        if (!m->v[i].p)
            return 0;
        out[n++] = slice_of(names[i]);
        out[n++] = SLICE_LIT("\n");
        out[n++] = m->v[i];
        out[n++] = SLICE_LIT("\n");
    }
    return n;
}

static bool is_in_time(const struct sns_trust *t, struct slice time, int64_t now_ms)
{
    int64_t at = 0;
    if (!rfc3339_parse(time, &at))
        return false;
    return at - now_ms <= t->tolerance && now_ms - at <= t->tolerance;
}

/* Everything that can be judged without the certificate. */
static enum auth judge(const struct sns_trust *t, struct slice body, int64_t now_ms,
                       struct arena *a, struct envelope *ret)
{
    const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct err ignored;
    if (json_scan(body, &any, &ignored) < 0)
        return AUTH_MISSING;
    open_envelope(body, a, ret);
    const struct envelope *m = ret;
    if (kind_of(m) == SNS_BARE || !m->v[SIGNATURE].p || !m->v[CERT].p)
        return AUTH_MISSING;
    const bool version = slice_is(m->v[VERSION], "1") || slice_is(m->v[VERSION], "2");
    const bool topic = t->topics.n == 0 || fits_any(&t->topics, m->v[TOPIC], ':', 1);
    return version && topic && is_in_time(t, m->v[TIME], now_ms) &&
                   is_certificate_of_ours(t, m->v[CERT])
               ? AUTH_OK
               : AUTH_BAD;
}

enum auth sns_certificate(const struct sns_trust *t, struct slice body, int64_t now_ms,
                          struct arena *a, struct fetch *ret)
{
    struct envelope m;
    const enum auth auth = judge(t, body, now_ms, a, &m);
    if (auth == AUTH_OK)
        *ret = (struct fetch){arena_strndup(a, m.v[CERT].p, m.v[CERT].len), cert_fit};
    return auth == AUTH_OK && !ret->url ? AUTH_BAD : auth;
}

enum auth sns_verify(const struct sns_trust *t, struct slice body, int64_t now_ms, struct arena *a,
                     struct slice certificate)
{
    struct envelope m;
    struct slice text[4 * VERSION];
    const enum auth auth = judge(t, body, now_ms, a, &m);
    if (auth != AUTH_OK)
        return auth;
    const size_t n = signed_text(kind_of(&m), &m, text);
    const enum cert_hash hash = slice_is(m.v[VERSION], "1") ? CERT_SHA1 : CERT_SHA256;
    return n > 0 && cert_signed(certificate, now_ms, hash, m.v[SIGNATURE], text, n) ? AUTH_OK
                                                                                    : AUTH_BAD;
}
