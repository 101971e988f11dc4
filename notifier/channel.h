/*
 * A channel turns one notification into requests and reads the verdict in the answers. It is pure:
 * the wire (curl), retries, rates, metrics and the ledger are written once, elsewhere, for all
 * channels.
 *
 * A channel of one request has render() and, where the status alone does not tell, classify(). One
 * that needs several (a token first, search then create, update in place) has step() instead: it
 * gets the exchanges so far and what it asked to remember about the group's message, and says what
 * to send next or how it ended.
 *
 * To add one: write channels/NAME.c ending in `const struct channel channel_NAME` and add
 * CHANNEL(NAME) to common/channels.def. Nothing else names it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/conf.h"
#include "common/receivers.h"
#include "common/template.h"
#include "notifier/text.h"

/* What is to be told; texts are rendered and escaped for this channel, and no longer than its
 * max_text. */
struct notification {
    const char *id;    /* uuid, stable across retries: the idempotency key */
    const char *group; /* uuid of the group: what makes a thread */
    const char *title; /* one line, not escaped */
    const char *text;  /* the unified message in the channel's format, title line included */
    const char *html;  /* channels with a second body only; else NULL */
    const char *news;  /* what changed, shorter, in the channel's format: the readers have the first
                          message. NULL: they have none, or the channel has no such layout */
    int64_t created_at; /* ms; stable across retries */
    int64_t now;        /* ms, of this attempt: for signatures that age */
    const json_t *data; /* the data model, docs/templates.md */
    const char *fault;  /* why the receiver's own template gave nothing for it; NULL: it did */
};

struct header {
    const char *name, *value;
};

/* Everything points into the arena or the configuration. */
struct request {
    const char *url; /* http, https or smtp */
    const char *method;
    const struct header *headers;
    size_t header_n;
    struct slice body;
    const char *wait_header; /* says what Retry-After does, where that is missing; NULL: none */
    const char *fault; /* why the body is not that of the entry's own template; NULL: it is, or
                          there is none */
    /* smtp only */
    const char *mail_from;
    const char *const *mail_to;
    size_t mail_to_n;
    const char *username, *password, *identity; /* NULL or "": none */
    bool require_tls;
};

struct response {
    int status;            /* HTTP or the last SMTP code; 0: no answer, `transport` says why */
    const char *transport; /* "" when there was an answer */
    struct slice body;
    int64_t retry_after_ms; /* from Retry-After; -1 when absent */
    bool forbidden;         /* the address may not be reached from here */
    const char *refused;    /* smtp: the recipient that the last answer refused; NULL: none */
};

/* Three outcomes, no fourth. */
enum verdict {
    VERDICT_DELIVERED = 1,
    VERDICT_RETRY,  /* the same bytes may succeed later */
    VERDICT_REJECT, /* they never will */
};

struct outcome {
    enum verdict verdict;
    int64_t wait_ms;   /* RETRY: not before this; 0: the caller's back-off alone */
    bool limited;      /* the whole destination is over its rate until then */
    bool gone;         /* REJECT: the destination is no more, and the vendor wants no further try */
    const char *words; /* the channel's own, for the ledger; never a secret */
    const char *refused; /* DELIVERED to some only: who was refused; NULL: nobody */
    const json_t *keep;  /* reference to remember for this group and integration; NULL: as it was */
};

struct exchange {
    struct request request;
    struct response response;
};

/* What a vendor gives for a secret, and takes instead of it for some time. */
struct token {
    const char *text;    /* NULL: none was learned; "": the one at hand is good for nobody */
    int64_t good_for_ms; /* 0: for this conversation alone */
};

struct step_input {
    const void *cfg;
    const struct notification *notification;
    const json_t *reference; /* what an earlier outcome kept; NULL: nothing */
    const char *token;       /* that anybody learned for this credential; NULL: none */
    const struct exchange *past;
    size_t past_n;
};

struct step {
    bool done;          /* outcome holds; else request */
    struct token token; /* learned in this conversation, for others to use too */
    struct request request;
    struct outcome outcome;
};

/* Where a configuration stands, for check(). */
struct check_input {
    const struct global_settings *global;
    struct conf *conf;
    const struct yaml *node;
    const char *path; /* of the node, for conf_node() */
};

struct channel {
    const char *name, *summary;
    size_t cfg_size;
    const struct conf_key *keys; /* its own; those that every channel has are in outlets.h */
    const char *const *foreign;  /* Alertmanager's keys without effect here: warned about.
                                    NULL-terminated; may be NULL */
    bool for_programs;           /* rate used up makes it queue, never merge */
    bool send_resolved;          /* unless configured */
    bool reports;                /* the vendor says later what became of a message that it took */
    bool rings; /* somebody is called: not for what a person did, and no link can be followed */

    /* How messages are laid out: Mustache over docs/templates.md, compiled once. */
    enum escape escape;
    const char *layout;      /* the unified message; NULL: without any mark-up */
    const char *news_layout; /* what changed, for whom has the first message; NULL: never shorter */
    const char *html_layout; /* a second body; NULL: none */
    size_t max_text;         /* of `text` and `news`; 0: limits.payload alone */
    enum unit unit;          /* that max_text counts */

    const char *locale;             /* of receivers that say nothing; NULL: the global one */
    uint32_t max_per_minute, burst; /* the vendor's; 0: none */

    const char *const
        *trees; /* keys that are maps, left to check(). NULL-terminated; may be NULL */

    /* Fill from `global:`, read the trees, check across fields. May be NULL. */
    int (*check)(void *cfg, const struct check_input *in, struct err *e);
    /* What makes two configurations the same destination: canonical URL and credential, appended.
     * Hashed, never stored. */
    void (*destination)(const void *cfg, struct buf *out);
    /* For channels with tokens: what a token is given for, its secret included, appended. What is
     * kept of the token is sealed with this; it is never stored. NULL: no tokens. */
    void (*credential)(const void *cfg, struct buf *out);
    /* Where that is, in words for the ledger, appended: what a person recognises, never a secret
     * nor a part of one. */
    void (*place)(const void *cfg, struct buf *out);

    /* Does later news edit the message that the readers have? NULL: never. */
    bool (*edits)(const void *cfg);

    /* Is the body the user's own template? NULL: never. */
    bool (*templated)(const void *cfg);

    /* Same input, same bytes. -ENOMEM past the arena's cap, -EINVAL with a reason. */
    int (*render)(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e);
    /* NULL: classify_http(). */
    struct outcome (*classify)(const void *cfg, const struct response *r, struct arena *a);
    /* Instead of both. */
    int (*step)(const struct step_input *in, struct arena *a, struct step *ret, struct err *e);
};

/* The next step of any channel. */
int channel_step(const struct channel *ch, const struct step_input *in, struct arena *a,
                 struct step *ret, struct err *e) MUST_CHECK;

/* 2xx delivered; 408, 425, 429, 5xx and no answer retry; anything else reject. */
struct outcome classify_http(const struct response *r, struct arena *a);
/* What a person reads about an answer: its body in one line, cut; else the transport's words or the
 * status. */
const char *answer_words(const struct response *r, struct arena *a);
/* The answer's JSON object, which lives as long as the arena; NULL when it is none. */
const json_t *answer_json(const struct response *r, struct arena *a);

const struct channel *channel_find(const char *name);
const struct channel *channel_at(size_t i); /* NULL past the end */

/* Is the message about an incident or the alerts of a group, so that a later one may take its
 * place? Digests and merges stand for themselves. */
bool is_replaceable(const struct notification *n);
/* An edit rings nobody. Is this news that must ring: everything that fires, but what a person did?
 */
bool is_ringing(const struct notification *n);
bool is_critical(const struct notification *n);

/* Compact JSON of `doc` in the arena, taking the reference; {NULL,0} when `doc` is NULL or does not
 * fit. */
struct slice json_bytes(json_t *doc, struct arena *a);
/* `doc` as long as the arena lives, taking the reference; NULL past its cap. */
const json_t *json_owned(json_t *doc, struct arena *a);
/* A POST of `doc` as JSON, taking the reference; -ENOMEM past the arena's cap. */
int post_json(const char *channel, const char *url, json_t *doc, struct arena *a,
              struct request *ret, struct err *e) MUST_CHECK;
/* What may stand in a query or form as it is, and %XX for the rest (RFC 3986). */
void url_encode(struct buf *out, struct slice s);
/* Both texts as one, owned by the configuration; NULL when out of memory. */
const char *joined_url(struct conf *c, const char *base, const char *rest);
/* "http(s)://host..." with a host and nothing a header could break. */
int check_http_url(const char *channel, const char *url, struct err *e) MUST_CHECK;
/* Warns of each of `foreign` that stands in `node`. NULL-terminated list, or NULL. */
int warn_foreign(struct conf *c, const struct yaml *node, const char *path,
                 const char *const *foreign) MUST_CHECK;
/* Scheme and host in lower case, default port and empty path made explicit: one destination, one
 * text. */
void canonical_url(const char *url, struct buf *out);
/* For place(): the host alone, since anything else of a URL may be its secret. */
void host_of_url(const char *url, struct buf *out);
