#include "notifier/http_auth.h"

#include <errno.h>
#include <string.h>

#include "common/digest.h"

#define KEY(name_, field, def_, flags_, help_)                                                     \
    {                                                                                              \
        .name = (name_), .type = CONF_STR, .offset = offsetof(struct http_auth, field),            \
        .def = (def_), .flags = (enum conf_flags)(flags_), .help = (help_)                         \
    }
static const struct conf_key basic_keys[] = {
    KEY("username", username, NULL, 0, "of HTTP basic authentication"),
    KEY("password", password, NULL, CONF_SECRET, "of HTTP basic authentication"),
    CONF_END,
};
static const struct conf_key authorization_keys[] = {
    KEY("type", auth_type, "Bearer", 0, "scheme of the Authorization header"),
    KEY("credentials", credentials, NULL, CONF_SECRET, "of the Authorization header"),
    CONF_END,
};

static const char *const foreign[] = {
    "enable_http2", "follow_redirects",     "http_headers",           "no_proxy",
    "oauth2",       "proxy_connect_header", "proxy_from_environment", "proxy_url",
    "tls_config",   "bearer_token",         "bearer_token_file",      NULL,
};
static const char *const known[] = {
    "authorization",          "basic_auth", "enable_http2", "follow_redirects",
    "http_headers",           "no_proxy",   "oauth2",       "proxy_connect_header",
    "proxy_from_environment", "proxy_url",  "tls_config",   "bearer_token",
    "bearer_token_file",      NULL,
};

static bool given(const char *s)
{
    return s && *s;
}

static int part(struct http_auth *h, const struct check_input *in, const char *name,
                const struct conf_key *table, struct err *e)
{
    const struct yaml *http = yaml_get(in->node, "http_config");
    CLEANUP(buf_release) struct buf path = BUF_INIT(512);

    buf_printf(&path, "%s.http_config.%s", in->path, name);
    return conf_node(in->conf, yaml_get(http, name), buf_str(&path), table, NULL, h, e);
}

int http_auth_load(struct http_auth *ret, const struct check_input *in, struct err *e)
{
    const struct yaml *http = yaml_get(in->node, "http_config");
    int r;

    if (http && (r = yaml_only(http, known, e)) < 0)
        return r;
    if ((r = part(ret, in, "basic_auth", basic_keys, e)) < 0 ||
        (r = part(ret, in, "authorization", authorization_keys, e)) < 0 ||
        (r = warn_foreign(in->conf, http, "http_config", foreign)) < 0)
        return r;
    if (given(ret->username) && given(ret->credentials))
        return yaml_err(http, e, "basic_auth and authorization exclude each other");
    return 0;
}

bool http_auth_given(const struct http_auth *h)
{
    return given(h->username) || given(h->credentials);
}

const char *http_auth_value(const struct http_auth *h, struct arena *a)
{
    if (given(h->credentials))
        return arena_printf(a, "%s %s", h->auth_type, h->credentials);
    const char *pair = arena_printf(a, "%s:%s", h->username, given(h->password) ? h->password : "");
    size_t len = pair ? strlen(pair) : 0;
    char *encoded = pair ? arena_alloc(a, 1, 4 * ((len + 2) / 3) + 1) : NULL;
    if (!encoded)
        return NULL;
    (void)base64_encode(pair, len, encoded);
    return arena_printf(a, "Basic %s", encoded);
}

void http_auth_identity(const struct http_auth *h, struct buf *out)
{
    buf_printf(out, " %s %s", given(h->username) ? h->username : "",
               given(h->credentials) ? h->credentials : "");
}
