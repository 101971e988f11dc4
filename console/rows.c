#include "console/rows.h"

#include <errno.h>

static void clear_result(void *r)
{
    PQclear(r);
}

int rows_load(struct visit *v, const char *sql, struct pg_args *p, const PGresult **ret,
              struct err *e)
{
    PGresult *r = NULL;
    int rc = pg_query(v->pg, sql, p, &r, e);

    if (rc < 0)
        return rc;
    if (arena_defer(v->a, clear_result, r) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    *ret = r;
    return 0;
}

int rows_first(const PGresult *r, int64_t place)
{
    int low = 0, high = PQntuples(r);

    while (low < high) {
        const int mid = low + (high - low) / 2;
        if (pg_get_int(r, mid, 0) < place)
            low = mid + 1;
        else
            high = mid;
    }
    return rows_of(r, low, place) ? low : -1;
}

bool rows_of(const PGresult *r, int row, int64_t place)
{
    return row >= 0 && row < PQntuples(r) && pg_get_int(r, row, 0) == place;
}
