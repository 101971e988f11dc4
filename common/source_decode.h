/*
 * What decoders of sources share: text and numbers of any type, capped; a label set under
 * construction; the alert form of the Alertmanager family (Alertmanager, Prometheus, Grafana).
 */
#pragma once

#include "common/clock.h"
#include "common/source.h"

/* One decode at work. `failed` is set by whatever did not fit into the arena and is looked at once,
 * at the end. */
struct decoder {
    const struct source_common *common; /* of the entry, and so the type's own settings */
    const struct record *r;
    const struct limits_settings *lim;
    struct arena *a;
    int64_t received_at;
    bool truncated; /* of the alert at hand */
    bool failed;
};

/* Text cut to the annotation cap. */
struct slice decode_cut(struct decoder *d, struct slice s);
/* decode_cut() of what stands at a key; "" when absent. */
struct slice decode_str(struct decoder *d, const json_t *object, const char *key);
/* The first of several keys (NULL-terminated) that has text. */
struct slice decode_first(struct decoder *d, const json_t *object, const char *const *keys);
/* Its first line, without surrounding space: for titles. */
struct slice decode_line(struct slice s);
/* That without what Alertmanager's titles begin with, and what changes from report to report:
 * "[FIRING:2] DiskFull". */
struct slice decode_bare(struct slice title);
/* Is it an address that one may be led to: http or https? */
bool decode_is_page(struct slice url);
/* An id that becomes a key in the database: as it is while it is short and printable, else its
 * hash. */
struct slice decode_id(struct decoder *d, struct slice id);
/* A key that the door told its sender: json_text() of what stands at `name` of the body, as there.
 * The tree has another text of some numbers. "" when there is none. */
struct slice decode_key(struct decoder *d, const char *name);
/* A number, or its text; 0 when absent, not whole, or negative. */
int64_t decode_count(const json_t *object, const char *key);
/* arena_printf that sets `failed`; {"",0} then. */
struct slice decode_format(struct decoder *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define PAIRS_MAX 64
struct pairs {
    struct label v[PAIRS_MAX];
    size_t n;
};
/* Nothing when `value` is empty. */
void pairs_add(struct pairs *p, const char *name, struct slice value);
/* The label set, values cut to `max` bytes. */
struct labels decode_pairs(struct decoder *d, const struct pairs *p, size_t max);
/*
 * "env:prod, team=web, urgent": each `name:value` or `name=value` of a list as a pair, spaces
 * around it aside; others, and what is past the caps, not. `separators`: what stands between two of
 * them. Add your own pairs behind it: of equal names the last wins, and there is room for
 * PAIRS_OWN.
 */
#define PAIRS_OWN 16
void decode_tags(struct decoder *d, struct slice tags, const char *separators, struct pairs *p);
/* The value of a pair; {NULL,0} when there is none. */
struct slice pairs_get(const struct pairs *p, const char *name);
/* `base` and, where it has no such name, the pairs. */
struct labels decode_merge(struct decoder *d, struct labels base, const struct pairs *p,
                           size_t max);

/* Both, and of equal names those of `over`. */
struct labels decode_over(struct decoder *d, struct labels under, struct labels over);

/* The fingerprint of what has an id of its own in its sender: of (source, name=id). */
uint64_t decode_identity(struct decoder *d, const struct record *r, const char *name,
                         struct slice id);
/* A page of the sender's: `base` without a slash at its end, `path`, the id, `tail`; "" without a
 * base, past the cap, or when the id is no word. */
struct slice decode_page(struct decoder *d, const char *base, const char *path, struct slice id,
                         const char *tail);
/* What a sender posts to see whether it arrives has no end of its own: it is over after this. */
#define TEST_LASTS (10 * MS_MINUTE)

/*
 * {status, labels, annotations, startsAt, endsAt, generatorURL}: labels, annotations, fingerprint,
 * times as they are, severity by its label, title, description, link. kind is FIRING or RESOLVED by
 * `status`, then by `group_status`, then by endsAt.
 */
void decode_alert(struct decoder *d, const json_t *alert, struct slice group_status,
                  struct alert_event *ret);

/* One more line under the description, where every reader of the message looks; nothing when `more`
 * is empty. Too long a description gives way. */
void decode_append(struct decoder *d, struct slice more, struct alert_event *ev);
/* `truncatedAlerts` of a group as words, "" when none were cut off. `by`: the limit's owner. */
struct slice decode_cut_off(struct decoder *d, const json_t *group, const char *by);

/* How accept() files a body of that form, without a tree: `key` and what `alerts` holds. */
struct filing file_alerts(struct slice body, struct slice key);
/* The partition key of one alert alone: its anomaly. */
struct slice file_anomaly(const struct source_common *c, struct labels l, struct arena *a);

/* How a decode() begins: the tree of a record's body. NULL with a reason. */
json_t *decode_body(const void *cfg, const struct record *r, const struct limits_settings *lim,
                    struct arena *a, struct decoder *ret, struct err *e) MUST_CHECK;

/*
 * An array of alerts, each by `one`; one that has no labels then makes the whole record dead. There
 * is room for one more in ret->v. -EBADMSG, -ENOMEM, each for decode_end().
 */
typedef void decode_one_fn(struct decoder *d, const json_t *body, const json_t *alert,
                           struct alert_event *ret);
int decode_each(struct decoder *d, const json_t *body, const json_t *alerts, decode_one_fn *one,
                struct alert_list *ret, struct err *e) MUST_CHECK;

/* How it ends: `rc` of what made `list`, which becomes *ret when it is whole. Else -ENOMEM where
 * something did not fit, since what seemed to be missing may be just that. */
int decode_end(const struct decoder *d, int rc, const struct alert_list *list,
               struct alert_list *ret, struct err *e) MUST_CHECK;
