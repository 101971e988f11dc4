/*
 * Who may come in. The first byte picks an entry and what to sign rightly, the second which headers
 * are there; then lines: Authorization, path token, signature, signed time; the rest is the body.
 * The verdict is that of a second implementation, which calls OpenSSL in another way and compares
 * plainly.
 */
#include <openssl/hmac.h>
#include <strings.h>

#include "common/source.h"
#include "fuzz.h"

#define NOW_S INT64_C(1700000000)
#define TOLERANCE_S 300
#define SECRET "s3cret"

static const char yaml[] =
    "sources:\n"
    "  open: {type: alertmanager}\n"
    "  bearer: {type: alertmanager, bearer_token: tok}\n"
    "  path: {type: alertmanager, path_token: way}\n"
    "  basic: {type: alertmanager, username: user, password: pass}\n"
    "  all: {type: generic, bearer_token: tok, path_token: way, username: user, password: pass}\n"
    "  sentry: {client_secret: " SECRET "}\n"
    "  signed: {type: grafana, hmac_secret: " SECRET "}\n"
    "  timed: {type: grafana, hmac_secret: " SECRET ", hmac_timestamp_header: X-Time}\n";
enum { OPEN, BEARER, PATH, BASIC, ALL, SENTRY, SIGNED, TIMED, ENTRY_N };
static const char *const names[ENTRY_N] = {"open", "bearer", "path",   "basic",
                                           "all",  "sentry", "signed", "timed"};

static struct settings settings;
static struct source_entries entries;

static void load(void)
{
    static struct conf *conf;
    struct err e = {0};
    if (conf)
        return;
    MUST(conf_parse("fuzz", yaml, NULL, &conf, &e) == 0);
    MUST(settings_load(conf, &settings, &e) == 0);
    MUST(source_entries_load(&settings, &entries, &e) == 0);
}

struct request {
    const char *authorization, *token, *signature, *at;
    struct slice body;
};

static const char *header(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    if (strcasecmp(name, "Authorization") == 0)
        return r->authorization;
    if (strcasecmp(name, "X-Time") == 0)
        return r->at;
    if (strcasecmp(name, "Sentry-Hook-Signature") == 0 ||
        strcasecmp(name, "X-Grafana-Alerting-Signature") == 0)
        return r->signature;
    return NULL;
}

/* ---- the second opinion ---- */

static enum auth expect_common(int which, const struct request *r)
{
    const char *given = r->authorization, *space = given ? strchr(given, ' ') : NULL;
    bool ok = which == OPEN;
    if ((which == PATH || which == ALL) && r->token)
        ok |= strcmp(r->token, "way") == 0;
    if ((which == BEARER || which == ALL) && given)
        ok |= strcmp(space ? space + 1 : given, "tok") == 0;
    if ((which == BASIC || which == ALL) && given)
        ok |= strncasecmp(given, "Basic ", 6) == 0 && strcmp(given + 6, "dXNlcjpwYXNz") == 0;
    if (ok)
        return AUTH_OK;
    return given || r->token ? AUTH_BAD : AUTH_MISSING;
}

/* Of "time:body", or of the body. */
static void sign(const char *at, struct slice body, char out[65])
{
    const size_t head = at ? strlen(at) + 1 : 0;
    unsigned char mac[32], *text = malloc(head + body.len + 1);
    MUST(text);
    if (at) {
        memcpy(text, at, head - 1);
        text[head - 1] = ':';
    }
    if (body.len > 0)
        memcpy(text + head, body.p, body.len);
    MUST(HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET), text, head + body.len, mac, NULL));
    for (size_t i = 0; i < sizeof(mac); i++)
        (void)snprintf(out + 2 * i, 3, "%02x", mac[i]);
    free(text);
}

static bool is_number(const char *s)
{
    return *s && strlen(s) < 16 && strspn(s, "0123456789") == strlen(s);
}

static enum auth expect_signed(const char *at, bool timed, const struct request *r)
{
    char right[65];
    if (!r->signature || (timed && !at))
        return AUTH_MISSING;
    sign(timed ? at : NULL, r->body, right);
    if (strcasecmp(right, r->signature) != 0)
        return AUTH_BAD;
    if (!timed || !is_number(at))
        return timed ? 0 : AUTH_OK; /* a number in odd writing: either way */
    const long long off = strtoll(at, NULL, 10) - NOW_S;
    return off >= -TOLERANCE_S && off <= TOLERANCE_S ? AUTH_OK : AUTH_BAD;
}

static enum auth expect(int which, const struct request *r)
{
    if (which < SENTRY)
        return expect_common(which, r);
    return expect_signed(r->at, which == TIMED, r);
}

/* ---- the input ---- */

static const char *take_line(struct slice *rest, struct arena *a, bool present)
{
    const char *end = rest->len > 0 ? memchr(rest->p, '\n', rest->len) : NULL;
    const size_t len = end ? (size_t)(end - rest->p) : rest->len;
    const char *line = arena_strndup(a, rest->p, len);
    MUST(line);
    rest->p += len + (end != NULL);
    rest->len -= len + (end != NULL);
    return present ? line : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)1 << 20);
    char right[65];
    struct request r;
    load();
    if (size < 2)
        return 0;
    const int which = data[0] % ENTRY_N;
    struct slice rest = {(const char *)data + 2, size - 2};
    r.authorization = take_line(&rest, a, data[1] & 1);
    r.token = take_line(&rest, a, data[1] & 2);
    r.signature = take_line(&rest, a, data[1] & 4);
    r.at = take_line(&rest, a, data[1] & 8);
    r.body = rest;
    if (data[0] & 0x80) {
        sign(which == TIMED && r.at ? r.at : NULL, r.body, right);
        if (data[0] & 0x40) /* all but one digit */
            right[data[1] >> 2] = right[data[1] >> 2] == '0' ? '1' : '0';
        r.signature = right;
    }
    const struct source_entry *entry = source_entry_find(&entries, slice_of(names[which]));
    const struct hook h = {
        .path_token = r.token, .header = header, .body = r.body, .transport = &r};
    MUST(entry);
    const enum auth auth = entry->type->verify ? entry->type->verify(entry->cfg, &h, NOW_S * 1000)
                                               : source_verify_common(entry->cfg, &h);
    const enum auth expected = expect(which, &r);
    MUST(auth == expected || (expected == 0 && auth != AUTH_MISSING));
    return 0;
}
