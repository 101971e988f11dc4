#include "common/offsets.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

/* Every statement starts with $1 group, $2 cluster, $3 topics, $4 partitions. */
#define KEYS "unnest($3::text[], $4::int4[]) k(topic, partition)"
#define OURS "o.grp = $1 AND o.cluster_id = $2"
/* UPDATE ... FROM locks in no promised order, so rows are locked by this first. */
#define LOCKED                                                                                     \
    "locked AS (SELECT o.topic, o.partition FROM offsets o JOIN " KEYS                             \
    " USING (topic, partition) WHERE " OURS " ORDER BY o.topic, o.partition "                      \
    "FOR NO KEY UPDATE OF o)"

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "offsets: out of memory");
}

/* An array of any of the header's structs: each begins with topic and partition. */
struct table {
    const void *rows;
    size_t n, size;
};
#define TABLE(rows, n) ((struct table){(rows), (n), sizeof(*(rows))})

struct key {
    const char *topic;
    int32_t partition;
};
_Static_assert(offsetof(struct offset_row, partition) == offsetof(struct key, partition) &&
                   offsetof(struct offset_move, partition) == offsetof(struct key, partition) &&
                   offsetof(struct offset_current, partition) == offsetof(struct key, partition),
               "every row begins with a key");

static const void *field(struct table t, size_t i, size_t at)
{
    return (const char *)t.rows + i * t.size + at;
}

/* Parameters $1..$4, then one int8 array for each of the `column_n` members at the given offsets.
 * NULL: no memory. */
static struct pg_args *args_of(struct arena *a, const struct offset_group *g, struct table t,
                               const size_t *columns, size_t column_n)
{
    struct slice *topics = arena_array(a, t.n, struct slice);
    int32_t *partitions = arena_array(a, t.n, int32_t);
    struct pg_args *p = pg_args(a);

    if (!topics || !partitions)
        return NULL;
    for (size_t i = 0; i < t.n; i++) {
        const struct key *k = field(t, i, 0);
        topics[i] = slice_of(k->topic);
        partitions[i] = k->partition;
    }
    pg_text(p, slice_of(g->name));
    pg_text(p, slice_of(g->cluster_id));
    pg_texts(p, topics, t.n);
    pg_int4s(p, partitions, t.n);
    for (size_t c = 0; c < column_n; c++) {
        int64_t *v = arena_array(a, t.n, int64_t);
        if (!v)
            return NULL;
        for (size_t i = 0; i < t.n; i++)
            v[i] = *(const int64_t *)field(t, i, columns[c]);
        pg_ints(p, v, t.n);
    }
    return p;
}

static struct pg_args *keys_of(struct arena *a, const struct offset_group *g, struct table t)
{
    return args_of(a, g, t, NULL, 0);
}

static int insert_missing(struct pg *pg, struct arena *a, const struct offset_group *g,
                          struct offset_row *rows, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p =
        args_of(a, g, TABLE(rows, n), (const size_t[]){offsetof(struct offset_row, low)}, 1);
    if (!p)
        return no_memory(e);
    int rc = pg_query(
        pg,
        "INSERT INTO offsets (grp, cluster_id, topic, partition, next_offset) "
        "SELECT $1, $2, topic, partition, greatest(low, 0) "
        "FROM unnest($3::text[], $4::int4[], $5::int8[]) k(topic, partition, low) "
        "ORDER BY topic, partition ON CONFLICT DO NOTHING "
        "RETURNING topic, partition, EXISTS (SELECT FROM offsets o WHERE o.grp = offsets.grp AND "
        "o.cluster_id <> offsets.cluster_id AND o.topic = offsets.topic AND "
        "o.partition = offsets.partition)",
        p, &r, e);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++)
        for (size_t j = 0; j < n; j++)
            if (rows[j].partition == pg_get_int(r, i, 1) &&
                slice_is(pg_get_text(r, i, 0), rows[j].topic)) {
                rows[j].created = true;
                rows[j].new_cluster = pg_get_bool(r, i, 2);
            }
    return rc;
}

int offsets_seen(struct pg *pg, struct arena *a, const struct offset_group *g,
                 struct offset_row *rows, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = keys_of(a, g, TABLE(rows, n));
    if (!p)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        rows[i].seen = -1;
    int rc =
        pg_query(pg,
                 "SELECT k.i, o.next_offset FROM offsets o JOIN unnest($3::text[], $4::int4[]) "
                 "WITH ORDINALITY k(topic, partition, i) USING (topic, partition) WHERE " OURS,
                 p, &r, e);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++)
        rows[pg_get_int(r, i, 0) - 1].seen = pg_get_int(r, i, 1);
    return rc;
}

/* Locked positions: index in the given rows, from 1; next_offset; starts. */
#define LOCK_ROWS                                                                                  \
    "SELECT k.i, o.next_offset, o.starts FROM offsets o JOIN unnest($3::text[], $4::int4[]) "      \
    "WITH ORDINALITY k(topic, partition, i) USING (topic, partition) WHERE " OURS                  \
    " ORDER BY o.topic, o.partition FOR NO KEY UPDATE OF o"

static int read_rows(struct pg *pg, struct arena *a, const struct offset_group *g,
                     struct offset_row *rows, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = keys_of(a, g, TABLE(rows, n));
    if (!p)
        return no_memory(e);
    int rc = pg_query(pg, LOCK_ROWS, p, &r, e);
    if (rc < 0)
        return rc;
    if ((size_t)PQntuples(r) != n)
        return err_set(e, -EIO, "offsets: %d rows for %zu partitions", PQntuples(r), n);
    for (int i = 0; i < PQntuples(r); i++) {
        struct offset_row *o = &rows[pg_get_int(r, i, 0) - 1];
        o->next = pg_get_int(r, i, 1);
        o->starts = (int32_t)pg_get_int(r, i, 2);
        o->lost_from = -1;
        const bool moved = o->next > o->seen;
        if ((o->low >= 0 && o->next < o->low) || (o->high >= 0 && o->next > o->high && !moved)) {
            o->lost_from = o->next;
            o->next = o->low >= 0 ? o->low : 0;
        }
    }
    return 0;
}

static int write_rows(struct pg *pg, struct arena *a, const struct offset_group *g,
                      const struct offset_row *rows, size_t n, struct err *e)
{
    struct pg_args *p =
        args_of(a, g, TABLE(rows, n), (const size_t[]){offsetof(struct offset_row, next)}, 1);
    if (!p)
        return no_memory(e);
    return pg_query(pg,
                    "UPDATE offsets o SET next_offset = k.next, current_since = NULL "
                    "FROM unnest($3::text[], $4::int4[], $5::int8[]) k(topic, partition, next) "
                    "WHERE " OURS " AND o.topic = k.topic AND o.partition = k.partition",
                    p, NULL, e);
}

int offsets_load(struct pg *pg, struct arena *a, const struct offset_group *g,
                 struct offset_row *rows, size_t n, struct err *e)
{
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        rows[i].created = rows[i].new_cluster = false;
    int rc = pg_begin(pg, e);
    if (rc < 0)
        return rc;
    if ((rc = insert_missing(pg, a, g, rows, n, e)) < 0 ||
        (rc = read_rows(pg, a, g, rows, n, e)) < 0 || (rc = write_rows(pg, a, g, rows, n, e)) < 0 ||
        (rc = pg_commit(pg, e)) < 0)
        pg_rollback(pg);
    return rc;
}

static int add_starts(struct pg *pg, struct arena *a, const struct offset_group *g, struct table t,
                      int by, struct err *e)
{
    if (t.n == 0)
        return 0;
    struct pg_args *p = keys_of(a, g, t);
    if (!p)
        return no_memory(e);
    pg_int(p, by);
    return pg_query(pg,
                    "WITH " LOCKED " UPDATE offsets o SET starts = greatest(starts + $5::int8, 0) "
                    "FROM locked l "
                    "WHERE " OURS " AND o.topic = l.topic AND o.partition = l.partition",
                    p, NULL, e);
}

int offsets_starts(struct pg *pg, struct arena *a, const struct offset_group *g,
                   const struct offset_row *rows, size_t n, struct err *e)
{
    return add_starts(pg, a, g, TABLE(rows, n), 1, e);
}

int offsets_withdraw(struct pg *pg, struct arena *a, const struct offset_group *g,
                     const struct offset_row *rows, size_t n, struct err *e)
{
    return add_starts(pg, a, g, TABLE(rows, n), -1, e);
}

static int compare(struct pg *pg, struct arena *a, const struct offset_group *g,
                   const struct offset_move *moves, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = keys_of(a, g, TABLE(moves, n));
    if (!p)
        return no_memory(e);
    int rc = pg_query(pg, LOCK_ROWS, p, &r, e);
    if (rc < 0)
        return rc;
    if ((size_t)PQntuples(r) != n)
        return err_set(e, -ESTALE, "offsets: %d rows for %zu partitions", PQntuples(r), n);
    for (int i = 0; i < PQntuples(r); i++) {
        const struct offset_move *m = &moves[pg_get_int(r, i, 0) - 1];
        const int64_t is = pg_get_int(r, i, 1);
        if (is != m->expected)
            return err_set(e, -ESTALE,
                           "offsets: %s/%" PRId32 " stands at %" PRId64 ", not at %" PRId64
                           ": others own it",
                           m->topic, m->partition, is, m->expected);
    }
    return 0;
}

int offsets_advance(struct pg *pg, struct arena *a, const struct offset_group *g,
                    const struct offset_move *moves, size_t n, struct err *e)
{
    if (n == 0)
        return 0;
    int rc = compare(pg, a, g, moves, n, e);
    if (rc < 0)
        return rc;
    struct pg_args *p =
        args_of(a, g, TABLE(moves, n), (const size_t[]){offsetof(struct offset_move, next)}, 1);
    if (!p)
        return no_memory(e);
    return pg_query(pg,
                    "UPDATE offsets o SET next_offset = k.next, starts = 0 "
                    "FROM unnest($3::text[], $4::int4[], $5::int8[]) k(topic, partition, next) "
                    "WHERE " OURS " AND o.topic = k.topic AND o.partition = k.partition",
                    p, NULL, e);
}

int offsets_moved(struct pg *pg, struct arena *a, const struct offset_group *g,
                  const struct offset_move *moves, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = args_of(a, g, TABLE(moves, n),
                                (const size_t[]){offsetof(struct offset_move, expected),
                                                 offsetof(struct offset_move, next)},
                                2);
    if (!p)
        return no_memory(e);
    const int rc = pg_query(pg,
                            "SELECT count(*) FILTER (WHERE o.next_offset = k.next), "
                            "count(*) FILTER (WHERE o.next_offset = k.expected) FROM offsets o "
                            "JOIN unnest($3::text[], $4::int4[], $5::int8[], $6::int8[]) k(topic, "
                            "partition, expected, next) "
                            "USING (topic, partition) WHERE " OURS,
                            p, &r, e);
    if (rc < 0)
        return rc;
    if (pg_get_int(r, 0, 0) == (int64_t)n)
        return 1;
    if (pg_get_int(r, 0, 1) == (int64_t)n)
        return 0;
    return err_set(e, -ESTALE, "offsets: others moved a partition while the commit had no answer");
}

int offsets_current(struct pg *pg, struct arena *a, const struct offset_group *g,
                    const struct offset_current *rows, size_t n, int64_t now_ms, struct err *e)
{
    if (n == 0)
        return 0;
    struct pg_args *p = args_of(a, g, TABLE(rows, n),
                                (const size_t[]){offsetof(struct offset_current, next),
                                                 offsetof(struct offset_current, since)},
                                2);
    if (!p)
        return no_memory(e);
    pg_int(p, now_ms);
    return pg_query(pg,
                    "WITH " LOCKED
                    " UPDATE offsets o SET current_since = nullif(k.since, 0), current_at = $7 "
                    "FROM locked l JOIN unnest($3::text[], $4::int4[], $5::int8[], $6::int8[]) "
                    "k(topic, partition, next, since) USING (topic, partition) "
                    "WHERE " OURS " AND o.topic = l.topic AND o.partition = l.partition "
                    "AND o.next_offset = k.next",
                    p, NULL, e);
}
