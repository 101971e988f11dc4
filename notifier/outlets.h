/*
 * Every integration of every receiver, ready to send: its channel's configuration, template,
 * language, zone and rate. Built once from the configuration; what changes while running (requests
 * under way, answers that did not come) is the desk's alone.
 *
 * Keys that every channel's entry has, beside its own: send_resolved, template (or template_file),
 * max_per_minute, burst.
 */
#pragma once

#include "common/digest.h"
#include "common/zone.h"
#include "notifier/channel.h"
#include "notifier/message.h"

#define PLACE_MAX 200
#define GONE_MAX 200

/* Where messages end up: shared by all integrations with the same address and credential. */
struct destination {
    unsigned char id[SHA256_LEN]; /* hash of both; the key of its row */
    uint32_t per_minute, burst;   /* the strictest of its integrations; 0: no limit */
    uint32_t under_way;           /* requests */
    uint32_t silent;              /* in a row without an answer */
    int64_t shut_until;           /* monotonic: its breaker is open, as far as we know */
    char gone[GONE_MAX];          /* what it said when it was no more; "": it is there */
};

#define TOKEN_MAX 512

/* What tokens are given for: shared by all integrations with the same secret. The desk's. */
struct credential {
    unsigned char id[SHA256_LEN];  /* hash of it: names the token to others */
    unsigned char key[SHA256_LEN]; /* derived from it: seals the token for others */
    char token[TOKEN_MAX + 1];     /* "": none */
    int64_t good_until;            /* monotonic */
};

struct outlet {
    const struct receiver *receiver;
    int32_t integration;
    const struct channel *channel;
    const void *cfg;
    bool send_resolved;
    const struct words *words;
    const struct zone *zone;
    const struct messages *messages; /* the built-in layouts */
    const struct template *own;      /* NULL: those alone */
    struct destination *destination;
    struct credential *credential; /* NULL: the channel has no tokens */
    const char *place;             /* the destination in words, no longer than PLACE_MAX bytes */
    int64_t seen; /* the desk's: created_at up to which its sweeps of this round have claimed */
};

struct outlets {
    struct outlet *v;
    size_t n;
    struct destination *destinations;
    size_t destination_n;
    struct credential *credentials;
    size_t credential_n;
    struct receivers receivers;
    struct messages *messages;
    /* Owned: */
    struct zone **zones;
    size_t zone_n;
    struct template **templates;
    size_t template_n;
};

/* Loads receivers and global too. -EINVAL with file:line:column. */
int outlets_load(struct settings *s, struct outlets **ret, struct err *e) MUST_CHECK;
void outlets_free(struct outlets *o);
CLEANUP_DEFINE(struct outlets *, outlets_free);

/* Does it tell messages by a template of the user's? */
bool outlet_templated(const struct outlet *o);
/* NULL: the configuration has none, or one of another channel. */
struct outlet *outlet_find(const struct outlets *o, struct slice receiver, int64_t integration,
                           struct slice channel);
