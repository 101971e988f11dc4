#include "console/door.h"

#include <string.h>
#include <strings.h>

#include "console/console.h"

/* host[:port] of an address, or of a Host; `port` goes without saying. */
static struct slice place_of(const char *address, struct slice port)
{
    const char *mark = strstr(address, "://"), *from = mark ? mark + 3 : address;
    struct slice place = {from, strcspn(from, "/?#")};
    const char *at = memrchr(place.p, '@', place.len);

    if (at)
        place = (struct slice){at + 1, (size_t)(place.p + place.len - at - 1)};
    if (place.len >= port.len && memcmp(place.p + place.len - port.len, port.p, port.len) == 0)
        place.len -= port.len;
    return place;
}

static bool same_place(struct slice a, struct slice b)
{
    return a.len == b.len && a.len > 0 && strncasecmp(a.p, b.p, a.len) == 0;
}

/* A proxy on the way may have changed the Host; `null` is a page that hides where it is from. */
static bool is_own_origin(const struct console *c, const char *host, const char *origin)
{
    const bool secure = strncmp(origin, "https://", 8) == 0;
    const struct slice port = secure ? SLICE_LIT(":443") : SLICE_LIT(":80");
    const struct slice place = place_of(origin, port);

    return strstr(origin, "://") && (same_place(place, place_of(host ? host : "", port)) ||
                                     same_place(place, place_of(c->settings->external_url, port)));
}

/* Browsers tell Sec-Fetch-Site only where the connection can be trusted, Origin anywhere. */
static bool is_own_page(const struct console *c, const struct http_request *r)
{
    const char *site = http_header(r, "Sec-Fetch-Site"), *origin = http_header(r, "Origin");

    if (site)
        return strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
    return !origin || is_own_origin(c, http_header(r, "Host"), origin);
}

void admit_own_page(void *ctx, struct http_request *r)
{
    const struct console *c = ctx;

    if (!is_own_page(c, r))
        http_reply_error(r, 403, "forbidden",
                         "in a browser only the console's own page may ask for this: external_url, "
                         "now %.*s, says where that is",
                         SLICE_FMT(place_of(c->settings->external_url, SLICE_LIT(""))));
}
