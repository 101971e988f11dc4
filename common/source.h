/*
 * A source authenticates one HTTP request, says how to file and answer it, and later decodes the
 * stored body into alert events. It does no I/O, keeps no state, and trusts no length it did not
 * check. The Kafka write, the spool and the metrics belong to ingest; merging belongs to processor.
 *
 * To add one: write common/sources/NAME.c ending in `const struct source source_NAME`, and add
 * SOURCE(NAME) to common/sources.def. Nothing else names it.
 *
 *   sources:                      # an entry per URL: POST /webhook/{entry}
 *     sentry: {client_secret: ...}          # type defaults to the entry's name
 *     payments: {type: alertmanager, bearer_token: ..., tenant: pay}
 *
 * A type that speaks its vendor's API as the server has addresses of its own beside that
 * (`routes`); there the entry is the one whose secret the request bears.
 */
#pragma once

#include "common/alert.h"
#include "common/arena.h"
#include "common/conf.h"
#include "common/record.h"
#include "common/settings.h"

/* An address of a vendor's API that we serve: as http_route's method and pattern. */
struct source_route {
    const char *method, *pattern; /* method NULL ends a table */
    int id;                       /* the source's own word for it */
};

/*
 * What a vendor's API that we serve is asked, and only the console can answer: ingest passes a GET
 * of it on, for whoever bears the secret of an entry. Such a type needs no source.wants().
 */
struct source_read {
    const char *pattern; /* ends in "/{id}"; NULL ends a table */
    /* Is it one that we gave out? Nothing else is passed on: letters, digits and dashes. */
    bool (*is_id)(struct slice id);
};

/*
 * What a request cannot be judged or answered without, and is elsewhere: a key at the sender's, a
 * page that has to be asked for. Ingest's edge GETs it, over https alone; what cannot be had in
 * time is a 503, and the sender tries again.
 */
struct fetch {
    const char *url; /* NULL: nothing */
    /* Is it what it should be? Then it is kept, and others that want it get the same. NULL: an act,
     * done for each request; that its answer was 2xx is all of it. */
    bool (*fit)(struct slice body);
};

/* One HTTP request as the door sees it. */
struct hook {
    const struct source_route *route; /* of the type's own; NULL: /webhook/{entry} */
    const char *(*param)(const struct hook *h, const char *name); /* of that route's pattern */
    const char *entry;                                            /* its name; door_enter() says */
    struct uuid id;         /* what its record will be known by; door_enter() says */
    const char *path_token; /* the {token} of the URL; NULL when there is none */
    const char *(*header)(const struct hook *h, const char *name); /* NULL when absent */
    const char *(*query)(const struct hook *h, const char *name);
    struct slice body;         /* raw, as signed */
    bool is_get;               /* then what it says stands in query_string */
    struct slice query_string; /* raw, without the question mark */
    struct slice fetched;      /* what source.wants() asked for; p NULL: it was not yet */
    struct arena *a;           /* of the request, for wants() and verify() */
    void *transport;           /* the server's own; a source never looks */
};

enum auth {
    AUTH_OK = 1,
    AUTH_MISSING,
    AUTH_BAD
}; /* 401 for the last two, told apart in metrics only */

/*
 * Settings that every entry has; a type's own cfg struct begins with it (`struct source_common
 * common;` first). Without any secret an entry takes everything from everybody: the shipped file
 * binds ingest to loopback for that reason.
 */
struct source_common {
    const char *type;
    const char *tenant;              /* empty: settings.tenant */
    const char *bearer_token;        /* secret; Authorization: Bearer or any scheme */
    const char *path_token;          /* secret; last part of the URL */
    const char *username, *password; /* secret; basic */
    int64_t resolve_after; /* ms; 0: off. End by silence for sources that never announce an end */
};
#define SOURCE_COMMON_KEYS                                                                         \
    CONF(struct source_common, type, CONF_STR, NULL, 0,                                            \
         "type of source; the entry's name by default"),                                           \
        CONF(struct source_common, tenant, CONF_STR, NULL, 0, "tenant of what comes in here"),     \
        CONF(struct source_common, bearer_token, CONF_STR, NULL, CONF_SECRET,                      \
             "expected Authorization token"),                                                      \
        CONF(struct source_common, path_token, CONF_STR, NULL, CONF_SECRET,                        \
             "expected last part of the URL"),                                                     \
        CONF(struct source_common, username, CONF_STR, NULL, 0, "expected basic user"),            \
        CONF(struct source_common, password, CONF_STR, NULL, CONF_SECRET,                          \
             "expected basic password"),                                                           \
        CONF(struct source_common, resolve_after, CONF_DURATION, "0", 0,                           \
             "end an alert this long after its last report; for senders that never say when it "   \
             "is over")

/* How to file and answer an authentic request; slices in the arena or static. */
struct filing {
    struct slice partition_key; /* the source's group identity; p NULL: none */
    size_t alerts;              /* how many are stored, for metrics and the cap; 0: unknown */
    size_t resolved;            /* how many of them say that it is over */
    size_t invalid;             /* how many were left out of `body` */
    unsigned status; /* what this sender must hear once the record is safe: 200, 202 ... */

    /* default_reply: {"status":"accepted","<id_name>":"<the request's id>",<members>}. */
    bool default_reply;
    const char *id_name;       /* NULL: "request_id" */
    struct slice members;      /* JSON members to append, may be empty */
    struct slice content_type; /* otherwise these bytes; empty type: application/json */
    struct slice reply;
    struct slice body; /* what to store; p NULL: the request's body. For partial takes (the good
                          alerts of a mixed batch), and by the door for forms */
    struct fetch act;  /* to be done before the record is stored: without it, no 2xx */
};

struct source {
    const char *name, *summary;
    const char *title;           /* what people call it; NULL: the entry's name */
    bool application;            /* it reports errors of applications; others watch from outside */
    size_t cfg_size;             /* of a struct that begins with struct source_common */
    const struct conf_key *keys; /* SOURCE_COMMON_KEYS, then the type's own, CONF_END */
    /* Further keys of an entry that are trees and no settings (NULL-terminated), and who reads them
     * into cfg. `name` is the entry's. Such a type is nothing by itself: it has no built-in entry.
     * May be NULL. */
    const char *const *trees;
    int (*load)(struct settings *s, const char *name, const struct yaml *node, void *cfg,
                struct err *e);
    const char *const
        *keep_headers; /* request headers stored with the record; NULL-terminated; may be NULL */
    bool stateful; /* a state source (distinct starts) rather than an event source; for metrics and
                      docs */
    bool own_identity; /* fingerprints are of what stays the same, not of all labels */

    /* It may post a form, or ask by GET: source_body() makes JSON of either, so accept and decode
     * see nothing else. `form_json`: fields that hold JSON (form.h); NULL-terminated; may be NULL.
     */
    bool takes_forms, takes_gets;
    const char *const *form_json;
    /* It may post text: a body that is no JSON becomes {text_field: body}. May be NULL. */
    const char *text_field;

    const struct source_route *routes; /* of its own; may be NULL */
    const struct source_read *reads;   /* the same */

    /* Cross-field checks after load. May be NULL. */
    int (*check)(const void *cfg, struct err *e);

    /* What verify() has to know from elsewhere, before it: AUTH_OK and *ret (a NULL url: nothing),
     * or who it is not, and then nothing is fetched for it. May be NULL. */
    enum auth (*wants)(const void *cfg, const struct hook *h, int64_t now_ms, struct fetch *ret);

    /* Over the raw body; constant time. NULL: source_verify_common(). */
    enum auth (*verify)(const void *cfg, const struct hook *h, int64_t now_ms);

    /* The body, which passed json_scan(). 0, or -EBADMSG (400 with the reason, or `ret->status`),
     * -E2BIG (413). now_ms decides "in the past" where the sender's answer depends on it. */
    int (*accept)(const void *cfg, const struct hook *h, const struct limits_settings *lim,
                  int64_t now_ms, struct arena *a, struct filing *ret, struct err *e);

    /* The words of this sender's API for a refusal: `reply` and `content_type` for a status and a
     * reason; ret->status is that status, and may be changed. NULL, or false: ours. */
    bool (*refuse)(unsigned status, const char *why, struct arena *a, struct filing *ret);

    /* Pure: same record, same events. Times relative to r->received_at. Never touches *ret on
     * failure. -EBADMSG with a reason for a person: the record goes to tocsin.dead with it. */
    int (*decode)(const void *cfg, const struct record *r, const struct limits_settings *lim,
                  struct arena *a, struct alert_list *ret, struct err *e);
};

/*
 * What accept() and decode() shall see of a request: its body; of a form, a GET or a text, where
 * the type takes them, a JSON object. A body that begins as JSON is none of a form, whatever its
 * Content-Type says: that is what curl and axios call a body of which they were told nothing.
 * -EBADMSG with a reason, -E2BIG.
 */
int source_body(const struct source *type, const struct hook *h, struct arena *a, struct slice *ret,
                struct err *e) MUST_CHECK;

/* Path token, bearer and basic as configured: every one that is configured is a way in; none
 * configured: OK. */
enum auth source_verify_common(const struct source_common *c, const struct hook *h);
bool source_common_guarded(const struct source_common *c); /* is any of them configured? */

const struct source *source_find(const char *type);
const struct source *source_at(size_t i); /* NULL past the end */

/* An entry of `sources:`, or a built-in one (the type by its own name). */
struct source_entry {
    const char *name;
    const struct source *type;
    const void *cfg; /* begins with struct source_common */
};
struct source_entries {
    const struct source_entry *v;
    size_t n;
    const struct source_entry *plain; /* see source_entry_plain() */
    size_t plain_n;
};
/* Owned by the configuration. Types without an entry of their own name get one with defaults (an
 * entry `NAME: {enabled: false}` removes it), unless they have trees. */
int source_entries_load(struct settings *s, struct source_entries *ret, struct err *e) MUST_CHECK;
const struct source_entry *source_entry_find(const struct source_entries *all, struct slice name);
/* A type with nothing but its defaults, whatever its entries say, to decode what came in by an
 * entry that is not here. NULL: there is no such type, or it is nothing without its entry
 * (`trees`). */
const struct source_entry *source_entry_plain(const struct source_entries *all, const char *type);
/* Has it a secret of any kind? */
bool source_entry_guarded(const struct source_entry *entry);

/*
 * Helpers every decoder uses. Caps: a value past the limit is cut (on a UTF-8 boundary, ending in
 * "…#" and 16 hex digits of its FNV-1a hash) and sets *truncated; labels past the count cap are
 * dropped by order of names, never alertname.
 */
int source_labels(const json_t *object, const struct limits_settings *lim, struct arena *a,
                  struct labels *ret, bool *truncated) MUST_CHECK;
int source_annotations(const json_t *object, const struct limits_settings *lim, struct arena *a,
                       struct labels *ret, bool *truncated) MUST_CHECK;
struct slice source_cut(struct slice s, size_t max, struct arena *a, bool *truncated);
/* RFC 3339 at a key of an object; absent, zero or unparsable: 0. */
int64_t source_time(const json_t *object, const char *key);
/* Does `given_hex` spell HMAC-SHA256(secret, text[0] text[1] ...)? Constant time. */
bool source_hmac_hex_eq(const char *given_hex, const char *secret, const struct slice *text,
                        size_t n);
