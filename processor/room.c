#include "processor/room.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define TENANTS 64 /* more take turns, each with a count of its own */
#define COUNT_AGE_MS (5 * MS_SECOND)

struct count {
    char tenant[128];
    int64_t left, at; /* at: monotonic; 0: never */
};

struct rooms {
    uint32_t limit;
    struct count v[TENANTS];
};

struct rooms *rooms_new(uint32_t limit)
{
    struct rooms *r = calloc(1, sizeof(*r));

    if (r)
        r->limit = limit;
    return r;
}

void rooms_free(struct rooms *r)
{
    free(r);
}

/* The tenant's slot, or the oldest one for it. NULL: its name is too long to remember. */
static struct count *slot_of(struct rooms *r, struct slice tenant)
{
    struct count *oldest = &r->v[0];

    if (tenant.len >= sizeof(oldest->tenant))
        return NULL;
    for (size_t i = 0; i < TENANTS; i++) {
        if (r->v[i].at && slice_is(tenant, r->v[i].tenant))
            return &r->v[i];
        if (r->v[i].at < oldest->at)
            oldest = &r->v[i];
    }
    *oldest = (struct count){0};
    if (tenant.len)
        memcpy(oldest->tenant, tenant.p, tenant.len);
    return oldest;
}

static int count_open(const struct rooms *r, struct pg *pg, struct arena *a, struct slice tenant,
                      int64_t *ret_left, struct err *e)
{
    CLEANUP(PQclear) PGresult *res = NULL;
    struct pg_args *p = pg_args(a);

    pg_text(p, tenant);
    pg_int(p, r->limit);
    const int rc = pg_query(pg,
                            "SELECT count(*) FROM (SELECT FROM incidents WHERE tenant = $1 AND "
                            "status <> 4 LIMIT $2) open",
                            p, &res, e);
    if (rc == 0)
        *ret_left = (int64_t)r->limit - pg_get_int(res, 0, 0);
    return rc;
}

int rooms_ask(struct rooms *r, struct pg *pg, struct arena *a, struct room *v, size_t n,
              struct err *e)
{
    const int64_t now = clock_monotonic_ms();

    for (size_t i = 0; i < n; i++) {
        struct count *c = slot_of(r, v[i].tenant);
        v[i].left = INT64_MAX;
        if (r->limit == 0)
            continue;
        if (c && c->at && now - c->at < COUNT_AGE_MS) {
            v[i].left = c->left;
            continue;
        }
        const int rc = count_open(r, pg, a, v[i].tenant, &v[i].left, e);
        if (rc < 0)
            return rc;
        if (c) {
            c->at = now;
            c->left = v[i].left;
        }
    }
    return 0;
}

void rooms_took(struct rooms *r, const struct room *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct count *c = slot_of(r, v[i].tenant);
        if (c && c->at)
            c->left = v[i].left;
    }
}
