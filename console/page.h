/*
 * Pages of a list by keyset: newest first, by (time, key). Nothing is counted and nothing is
 * skipped, so that the last page costs what the first does.
 */
#pragma once

#include "common/arena.h"
#include "common/httpd.h"
#include "common/uuid7.h"

#define PAGE_DEFAULT 50

struct cursor {
    int64_t at;
    struct uuid key; /* what comes next is older than (at, key) */
};

struct page {
    struct cursor before; /* nothing at or after it */
    int64_t since;
    uint32_t limit;
};

/* The newest there can be. */
struct cursor cursor_newest(void);
#define CURSOR_STR 49
const char *cursor_format(const struct cursor *c, char out[CURSOR_STR]);
/* False when it is none of ours. */
bool cursor_parse(struct slice s, struct cursor *ret);

/* limit, cursor, since, until. Anything else but `filters`, the list's own, is refused: a filter
 * that is misspelt must not be taken for none. So are values of theirs that are not UTF-8. -EINVAL
 * with a reason. */
#define PAGE_FILTERS_MAX 8
int page_read(const struct http_request *r, const char *const *filters, uint32_t max,
              struct page *ret, struct err *e) MUST_CHECK;
/* The filter `incident`; *ret_given false: there is none. -EINVAL. */
int page_read_incident(const struct http_request *r, struct uuid *ret, bool *ret_given,
                       struct err *e) MUST_CHECK;
