/*
 * What becomes of one request before anything is stored: is it who it says, is it JSON within
 * bounds, does its source take it. Pure: bytes, settings and the time in; a record to publish or a
 * refusal out.
 */
#pragma once

#include "common/source.h"
#include "ingest/spool.h"

struct entrance {
    struct fetch wants; /* with a url: what has to be fetched first, into hook.fetched; then enter
                           again. Nothing else is set */
    struct filing filing;
    struct spool_record record; /* to publish, when status is 0 */

    unsigned status;  /* 0: come in; else the refusal's */
    const char *code; /* its slug */
    struct err why;
    bool own_words; /* filing.reply and content_type are the sender's API's form of it */
};

/*
 * Whom a request at an address of a type's own is for: the entry whose secret it bears, else one
 * that has none. Where neither is, an entry that will refuse it; NULL when the type has no entry.
 */
const struct source_entry *door_choose(const struct source_entries *all, const struct source *type,
                                       const struct hook *h, int64_t now_ms);

/* Everything in `ret` lives in the arena or in the hook. `id` becomes the record's request id. */
void door_enter(const struct source_entry *entry, const struct hook *h, const struct settings *s,
                int64_t now_ms, const struct uuid *id, struct arena *a, struct entrance *ret);

/* The same of somebody who need not show who he is. */
void door_enter_known(const struct source_entry *entry, const struct hook *h,
                      const struct settings *s, int64_t now_ms, const struct uuid *id,
                      struct arena *a, struct entrance *ret);

/* Only who somebody is who asks and tells nothing: ret->status 0, or the refusal. */
void door_show(const struct source_entry *entry, const struct hook *h, int64_t now_ms,
               struct arena *a, struct entrance *ret);

/* Nothing is unpacked at the door, so nothing small can become large behind it: -EOPNOTSUPP with a
 * reason for any Content-Encoding but none and `identity`. */
int door_unpacked(const char *encoding, struct err *e) MUST_CHECK;

/* {"status":"accepted", ...} or the source's own reply. {NULL,0} past the arena's cap. */
struct slice door_reply(const struct filing *f, const struct uuid *id, struct arena *a);
