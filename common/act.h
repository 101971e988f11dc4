/*
 * What lets a person act from a message: a signed, expiring token that says which act, on which
 * incident, and which receiver was given it. It stands at the end of a link and is the value of a
 * button, as it is; ours is whoever presents it, so it says what it allows and nothing more. Pure.
 *
 * base64url, without padding, of: version 1, verb, 5 bytes of seconds until which it is good,
 * 16 bytes of incident, length of the tenant, tenant, receiver, 16 bytes of HMAC-SHA256 over all
 * of that. About 70 characters.
 */
#pragma once

#include "common/arena.h"
#include "common/uuid7.h"

enum act_verb {
    ACT_ACKNOWLEDGE = 1, /* and take it, if nobody has it */
    ACT_CLAIM,           /* take it, whoever has it */
    ACT_SILENCE,         /* nothing of it for console.silence_for */
    ACT_RESOLVE,
    ACT_VERBS /* one more than the last */
};
const char *act_verb_name(enum act_verb v); /* "acknowledge" ... */

struct act_grant {
    enum act_verb verb;
    struct uuid incident;
    struct slice tenant, receiver; /* at most 255 bytes each; a longer receiver is cut */
    int64_t expires_ms;
};

/* The first signs, each verifies: put the new one first, and take the old one out once the links
 * it signed are over. Empty ones verify nothing. */
struct act_secrets {
    struct slice now, before;
};

/* NULL past the arena's cap, without a secret, or for a tenant that is too long. */
const char *act_token(const struct act_grant *g, const struct act_secrets *s,
                      struct arena *a) MUST_CHECK;

enum act_check { ACT_GOOD = 1, ACT_FORGED, ACT_EXPIRED };
/* Whose token is it? `ret` is filled unless it is forged; its texts live in `a`. Constant time in
 * what was signed. */
enum act_check act_read(struct slice token, const struct act_secrets *s, int64_t now_ms,
                        struct arena *a, struct act_grant *ret);
