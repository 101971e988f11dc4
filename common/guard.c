#include "common/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const closed[] = {
    "0.0.0.0/8",     "10.0.0.0/8",   "100.64.0.0/10",  "127.0.0.0/8",   "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
    "240.0.0.0/4",   "::/128",       "::1/128",        "fc00::/7",      "fe80::/10",
    "fec0::/10",     "ff00::/8",
};

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
/* Prefixes that carry an IPv4 address behind them: NAT64, and the old ::a.b.c.d. */
static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};
static const unsigned char compatible[12] = {0};

static bool cidr_parse(const char *text, struct cidr *ret)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    char *end = NULL;

    if (len >= sizeof(host))
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    bool v4 = !strchr(host, ':');
    unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : v4 ? 32 : 128;
    if ((slash && (end == slash + 1 || *end)) || bits > (v4 ? 32U : 128U))
        return false;
    memcpy(ret->address, mapped, sizeof(mapped));
    ret->bits = (unsigned)bits + (v4 ? 96 : 0);
    return inet_pton(v4 ? AF_INET : AF_INET6, host, v4 ? ret->address + 12 : ret->address) == 1;
}

static bool contains(const struct cidr *c, const unsigned char a[16])
{
    unsigned whole = c->bits / 8, rest = c->bits % 8;

    if (memcmp(c->address, a, whole) != 0)
        return false;
    return rest == 0 || ((c->address[whole] ^ a[whole]) >> (8 - rest)) == 0;
}

int guard_init(struct guard *g, const struct conf_strs *allow, struct err *e)
{
    *g = (struct guard){.open = calloc(allow->n + 1, sizeof(*g->open))};
    if (!g->open)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < allow->n; i++)
        if (!cidr_parse(allow->v[i], &g->open[g->n++])) {
            guard_release(g);
            return err_set(
                e, -EINVAL,
                "limits.allow_private_addresses: %s is no address range such as 10.0.0.0/8",
                allow->v[i]);
        }
    return 0;
}

void guard_release(struct guard *g)
{
    free(g->open);
    *g = (struct guard){0};
}

/* As 16 bytes, with IPv4 in whatever clothes under its one mapped form. */
static bool normal(const struct sockaddr *to, unsigned char out[16])
{
    memcpy(out, mapped, sizeof(mapped));
    if (to->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, to, sizeof(in));
        memcpy(out + 12, &in.sin_addr, 4);
        return true;
    }
    if (to->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, to, sizeof(in6));
    const unsigned char *a = in6.sin6_addr.s6_addr;
    bool embedded = memcmp(a, nat64, sizeof(nat64)) == 0 ||
                    (memcmp(a, compatible, sizeof(compatible)) == 0 && (a[12] || a[13] || a[14]));
    if (embedded)
        memcpy(out + 12, a + 12, 4);
    else
        memcpy(out, a, 16);
    return true;
}

bool guard_allows(const struct guard *g, const struct sockaddr *to)
{
    unsigned char a[16];

    if (!normal(to, a))
        return false;
    for (size_t i = 0; i < g->n; i++)
        if (contains(&g->open[i], a))
            return true;
    for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++) {
        struct cidr c;
        if (cidr_parse(closed[i], &c) && contains(&c, a))
            return false;
    }
    return true;
}

static bool ends_in(const char *host, const char *tail)
{
    const size_t n = strlen(host), m = strlen(tail);

    return n >= m && strcasecmp(host + n - m, tail) == 0;
}

static bool name_is_public(const char *host)
{
    static const char *const ours[] = {".local",     ".localhost", ".internal", ".intranet",
                                       ".home.arpa", ".lan",       ".test",     ".invalid"};

    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (ends_in(host, ours[i]))
            return false;
    return strchr(host, '.') != NULL && strchr(host, '_') == NULL;
}

bool guard_url_is_public(const char *url)
{
    const struct guard none = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const char *from = strstr(url, "://");
    char host[256];

    if (!from)
        return false;
    from += 3;
    const size_t user = strcspn(from, "/?#");
    const char *at = memrchr(from, '@', user);
    from = at ? at + 1 : from;
    const bool v6 = *from == '[';
    from += v6;
    size_t len = strcspn(from, v6 ? "]" : ":/?#");
    while (!v6 && len > 0 && from[len - 1] == '.')
        len--;
    if (len == 0 || len >= sizeof(host))
        return false;
    memcpy(host, from, len);
    host[len] = '\0';
    if (v6)
        return inet_pton(AF_INET6, host, &in6.sin6_addr) == 1 &&
               guard_allows(&none, (const struct sockaddr *)&in6);
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        return guard_allows(&none, (const struct sockaddr *)&in);
    return name_is_public(host);
}
