/*
 * Which addresses we may connect to where a peer or a user names them. Decided on the resolved
 * address, just before connect(): a look at the URL misses 2130706433, ::ffff:127.0.0.1 and names
 * that change their mind. Private and special ranges are closed unless the operator opens them.
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "common/conf.h"

struct cidr {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;             /* of 128 */
};

struct guard {
    struct cidr *open; /* owned */
    size_t n;
};

/* "10.0.0.0/8", "fd00::/8", "127.0.0.1". -EINVAL names the one that is none. */
int guard_init(struct guard *g, const struct conf_strs *allow, struct err *e) MUST_CHECK;
void guard_release(struct guard *g);
bool guard_allows(const struct guard *g, const struct sockaddr *to);
/* Could somebody outside reach this http(s) address, as far as its looks say? Not by an address of
 * a private range, nor by a name that only its own network knows. */
bool guard_url_is_public(const char *url);
