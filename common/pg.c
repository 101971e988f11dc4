/* Statements: prepared at their first use on a connection, sent bound from then on. */
#include "common/pg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/pg_internal.h"

static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED";
static const char commit_sql[] = "COMMIT";
static const char rollback_sql[] = "ROLLBACK";

/* Every result of what was sent outside a pipeline; the last one into *ret. */
static int finish(struct pg *pg, const char *sql, PGresult **ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *last = NULL;
    int rc = 0;
    for (;;) {
        CLEANUP(PQclear) PGresult *r = NULL;
        int broken = pg_next_result(pg, &r, rc ? NULL : e);
        if (broken)
            return rc ? rc : broken;
        if (!r)
            break;
        if (rc == 0)
            rc = pg_check(pg, sql, r, e);
        if (!pg->conn)
            return rc;
        PQclear(last);
        last = TAKE(r);
    }
    if (rc == 0 && ret)
        *ret = TAKE(last);
    return rc;
}

int pg_usable(struct pg *pg, const struct pg_args *p, bool in_pipeline, struct err *e)
{
    pg->sqlstate[0] = '\0';
    if (!pg->conn)
        return err_set(e, -ENOTCONN, "postgres: not connected");
    if (pg->pipeline != in_pipeline)
        return err_set(e, -EIO, "postgres: %s a pipeline", in_pipeline ? "outside" : "inside");
    if (p->failed)
        return err_set(e, -ENOMEM, "postgres: no memory for the parameters");
    return 0;
}

static size_t bucket_of(const char *sql)
{
    return (((uintptr_t)sql >> 4) * 0x9E3779B1U >> 8) % STATEMENT_BUCKETS;
}

/* Found or new; NULL when out of memory. */
struct statement *pg_statement(struct pg *pg, const char *sql, const struct pg_args *p)
{
    struct statement **bucket = &pg->statements[bucket_of(sql)];
    size_t types = (size_t)p->n * sizeof *p->types;
    for (struct statement *s = *bucket; s; s = s->next) {
        if (s->sql == sql && s->n == p->n && (!types || memcmp(s->types, p->types, types) == 0))
            return s;
    }
    struct statement *s = calloc(1, sizeof *s + types);
    if (!s)
        return NULL;
    s->sql = sql;
    s->id = pg->statement_n++;
    s->state = STATEMENT_NEW;
    s->n = p->n;
    if (types)
        memcpy(s->types, p->types, types);
    s->next = *bucket;
    *bucket = s;
    return s;
}

#define NAME_MAX_LEN 16
static const char *name_of(const struct statement *s, char out[NAME_MAX_LEN])
{
    snprintf(out, NAME_MAX_LEN, "s%u", s->id);
    return out;
}

bool pg_send_prepare(struct pg *pg, const struct statement *s)
{
    char name[NAME_MAX_LEN];
    return PQsendPrepare(pg->conn, name_of(s, name), s->sql, s->n, s->types);
}

bool pg_send_bound(struct pg *pg, const struct statement *s, const struct pg_args *p)
{
    char name[NAME_MAX_LEN];
    return PQsendQueryPrepared(pg->conn, name_of(s, name), p->n, p->values, p->lengths, p->formats,
                               1);
}

const struct pg_args pg_no_args;

int pg_query(struct pg *pg, const char *sql, struct pg_args *p, PGresult **ret, struct err *e)
{
    const struct pg_args *args = p ? p : &pg_no_args;
    int rc = pg_usable(pg, args, false, e);
    if (rc)
        return rc;
    struct statement *s = pg_statement(pg, sql, args);
    if (!s)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    if (s->state != STATEMENT_READY) {
        rc = pg_send_prepare(pg, s) ? finish(pg, "", NULL, e) : pg_refused(pg, e);
        if (rc)
            return rc;
        s->state = STATEMENT_READY;
    }
    return pg_send_bound(pg, s, args) ? finish(pg, sql, ret, e) : pg_refused(pg, e);
}

int pg_exec(struct pg *pg, const char *sql, struct err *e)
{
    int rc = pg_usable(pg, &pg_no_args, false, e);
    if (rc)
        return rc;
    return PQsendQuery(pg->conn, sql) ? finish(pg, sql, NULL, e) : pg_refused(pg, e);
}

int pg_begin(struct pg *pg, struct err *e)
{
    return pg_query(pg, begin_sql, NULL, NULL, e);
}

int pg_commit(struct pg *pg, struct err *e)
{
    return pg_query(pg, commit_sql, NULL, NULL, e);
}

void pg_rollback(struct pg *pg)
{
    if (!pg->conn)
        return;
    char state[sizeof pg->sqlstate]; /* of the failure that led here */
    memcpy(state, pg->sqlstate, sizeof state);
    PGTransactionStatusType status = PQtransactionStatus(pg->conn);
    bool busy = pg->pipeline || status == PQTRANS_ACTIVE || status == PQTRANS_UNKNOWN;
    if (busy || (status != PQTRANS_IDLE && pg_query(pg, rollback_sql, NULL, NULL, NULL)))
        pg_disconnect(pg);
    memcpy(pg->sqlstate, state, sizeof state);
}

/* ---- health ---- */

int pg_ping(const struct postgres_settings *s, struct err *e)
{
    CLEANUP(pg_close) struct pg *pg = NULL;
    int rc = pg_open(s, "tocsin-health", &pg, e);
    if (!pg)
        return rc;
    rc = pg_connect(pg, e);
    return rc ? rc : pg_query(pg, "SELECT 1", NULL, NULL, e);
}
