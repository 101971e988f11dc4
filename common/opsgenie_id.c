#include "common/opsgenie_id.h"

/* Big-endian. */
static void put(unsigned char *p, size_t n, uint64_t v)
{
    for (size_t i = n; i-- > 0; v >>= 8)
        p[i] = (unsigned char)v;
}

static uint64_t get(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* The fingerprint, 48 bits of ms, the act, the salt. */
const char *opsgenie_request_id(const struct opsgenie_request *r, unsigned char salt,
                                char out[UUID_STR])
{
    struct uuid u;
    put(u.b, 8, r->alert);
    put(u.b + 8, 6, (uint64_t)r->at);
    u.b[14] = (unsigned char)r->act;
    u.b[15] = salt;
    return uuid_format(&u, out);
}

bool opsgenie_request_parse(struct slice s, struct opsgenie_request *ret)
{
    struct uuid u;
    if (!uuid_parse(s, &u) || u.b[14] >= OPSGENIE_ACTS)
        return false;
    *ret = (struct opsgenie_request){get(u.b, 8), (int64_t)get(u.b + 8, 6),
                                     (enum opsgenie_act)u.b[14]};
    return true;
}

/* The fingerprint, and nothing. */
const char *opsgenie_alert_id(uint64_t alert, char out[UUID_STR])
{
    struct uuid u = {{0}};
    put(u.b, 8, alert);
    return uuid_format(&u, out);
}

bool opsgenie_alert_parse(struct slice s, uint64_t *ret)
{
    struct uuid u;
    if (!uuid_parse(s, &u) || get(u.b + 8, 8) != 0)
        return false;
    *ret = get(u.b, 8);
    return true;
}
