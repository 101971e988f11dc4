/*
 * A wire between libpq and PostgreSQL that the test can cut: when the client asks for COMMIT, when
 * the server has done it and says so, or now. It reads nothing but the frames of the protocol.
 */
#pragma once

#include <stdbool.h>

struct cut;

enum cut_at {
    CUT_NOWHERE,
    CUT_BEFORE_COMMIT, /* the server never hears of it; on a connection that did not commit yet */
    CUT_AFTER_COMMIT,  /* it is done, and the client never hears of it */
};

/* `url` of the server, a socket directory as its host. Ends the test program when it cannot. */
struct cut *cut_open(const char *url);
/* The directory that is a client's `host`. */
const char *cut_host(const struct cut *c);
/* Once, at the next COMMIT. */
void cut_at(struct cut *c, enum cut_at at);
/* Every client is cut off; the server goes on with what it has. */
void cut_now(struct cut *c);
/* Turn new clients away, as a server that is away does. */
void cut_refuse(struct cut *c, bool refuse);
/* How often a client was cut off. */
unsigned cut_count(struct cut *c);
void cut_close(struct cut *c);
