/* One flush at work; for flush*.c only. */
#pragma once

#include <errno.h>
#include <stdlib.h>

#include "common/locks.h"
#include "processor/flush.h"
#include "processor/group.h"

struct silencing; /* common/silence.h */
struct silenced_group;
struct group_row; /* processor/group_rows.h */

struct member {
    uint64_t fingerprint;
    enum severity severity;
    bool firing;
    int64_t starts_ms, ended_ms;
    const struct silencing *silence; /* NULL: to be told */
};

/* What waits for a digest. */
struct gathered {
    size_t n;
    int64_t first_ms; /* earliest first_at among the items */
};

/* One group under its lock, and what it is about. */
struct target {
    struct slice tenant, receiver_name, told, routed_by, labels_json, source;
    struct uuid id, incident;
    enum group_kind kind;
    const struct route *route;       /* of the configuration, or `gone` in flush_read.c */
    const struct receiver *receiver; /* NULL: left the configuration */
    struct labels labels;
    struct standing is;     /* lists of alerts apart: they differ per integration */
    enum severity severity; /* kind incident */
    uint64_t taken_over;    /* moved: integrations that a later group of its receiver told */
    bool itself;            /* it is about its receiver, which takes nothing */
    bool found;             /* kind incident: its row is there */
    struct member *members; /* kind alerts, ascending */
    size_t member_n;
    bool missed_wait;                /* some of them are over and yet to be told */
    struct gathered *gathered;       /* kind digest: for all integrations, then for each alone */
    const struct silencing *silence; /* kind incident */
    struct uuid own_silence;         /* kind incident: made from a message about it */
    struct uuid *waiting;            /* kind digest: incidents that are silenced */
    size_t waiting_n;
    int64_t silence_ends_ms; /* of the silences that keep some of it from being told; 0: none */

    int64_t seq;
    size_t note_n;
    json_t *told_tree;
    int64_t look_again;
};

/* Is it told by its route's receiver, which a rule may have given entries? A teller is another. */
static inline bool target_ruled(const struct target *t)
{
    return t->route->rule && t->receiver == t->route->receiver;
}

static inline bool target_page_only(const struct target *t)
{
    return target_ruled(t) && t->route->page_only;
}

/* Nobody can be told, or nobody shall be: its rows end as they are written. */
static inline bool target_mute(const struct target *t)
{
    return !t->receiver || t->receiver->n == 0 || t->itself || target_page_only(t);
}

/* How many are told apart; nobody counts as one. */
static inline size_t target_integrations(const struct target *t)
{
    return target_mute(t) ? 1 : t->receiver->n;
}

/* Does a rule leave this integration out? */
static inline bool target_leaves_out(const struct target *t, size_t integration)
{
    return target_ruled(t) && t->route->entries && !(t->route->entries >> integration & 1);
}

/* ---- lists of fingerprints, ascending ---- */

static inline int by_number(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

static inline bool among(const uint64_t *v, size_t n, uint64_t fp)
{
    return n > 0 && bsearch(&fp, v, n, sizeof(*v), by_number) != NULL;
}

static inline int flush_too_large(struct err *e)
{
    return err_set(e, -ENOMEM, "flush: too many alerts at once");
}

struct flush {
    const struct flush_settings *s;
    struct pg *pg;
    struct arena *a;
    int64_t now_ms;
    struct target *targets; /* by (tenant, id) */
    size_t target_n;
    struct silenced_group *silenced;
    size_t silenced_n, silenced_cap;
    struct group_row *successors; /* groups to be, of incidents that moved */
    size_t successor_n, successor_cap;
};

/* One notification row to be. */
struct note {
    size_t target;
    size_t integration;
    struct due due;             /* seq is filled */
    const struct silencing *by; /* withheld; NULL: told */
    /* kind digest: does it tell more than what waits for its integration alone? */
    bool whole;
    struct slice items;     /* taken: a JSON array's inside */
    enum severity severity; /* kind digest */
};

struct notes {
    struct note *v;
    size_t n, cap;
};

/* Lock, then read what each group is about. */
int flush_read(struct flush *f, const struct flush_subject *v, size_t n, struct err *e) MUST_CHECK;
/* Run `sql` for the targets of one kind, those of `only` if that is not NULL, with $1 tenants, $2
 * incidents or groups, $3 indexes of targets; *ret stays NULL when there are none. */
int flush_ask(struct flush *f, enum group_kind kind, const bool *only, const char *sql,
              PGresult **ret, struct err *e) MUST_CHECK;
/* With its severity of now, is the target's incident still routed here? If not, who is to be told
 * of it by the way that it goes now. `gone`: its route has left the configuration. */
int flush_moved(struct flush *f, struct target *t, struct rule_facts *facts, bool gone,
                struct err *e) MUST_CHECK;
/* An incident that moved within a receiver is over for it once: who was told by a later group hears
 * the end from that one. */
int flush_taken_over(struct flush *f, struct err *e) MUST_CHECK;
int flush_write_successors(struct flush *f, struct err *e) MUST_CHECK;
/* After flush_read(). */
int flush_read_silences(struct flush *f, struct err *e) MUST_CHECK;
int flush_write_silenced(struct flush *f, struct err *e) MUST_CHECK;
/* Take the items that the digests among the notes tell. */
int flush_take_items(struct flush *f, const struct notes *notes, struct err *e) MUST_CHECK;
/* Count `more` among what the target has gathered: for `integration` alone, or, when that is none
 * (any more), for all. */
void flush_gather(struct target *t, int64_t integration, struct gathered more);
/* The flush time that follows `from_ms` where the target's receiver is. */
int flush_digest_next(struct flush *f, const struct target *t, int64_t from_ms, int64_t *ret,
                      struct err *e) MUST_CHECK;
/* Rows, groups, members and timers. */
int flush_write(struct flush *f, const struct notes *notes, struct flushed *ret,
                struct err *e) MUST_CHECK;
