/* A pipeline is a list of slots in the order of their statements; results stay in them until all of
 * it succeeded. */
#include <errno.h>
#include <string.h>

#include "common/pg_internal.h"

enum { SEND_AHEAD = 64 * 1024 }; /* bytes given to libpq before they are pushed out */

int pg_pipeline_begin(struct pg *pg, struct err *e)
{
    int rc = pg_usable(pg, &pg_no_args, false, e);
    if (rc)
        return rc;
    if (!PQenterPipelineMode(pg->conn))
        return pg_refused(pg, e);
    pg->pipeline = true;
    return 0;
}

static int make_slots(struct pg *pg, size_t n)
{
    if (pg->slot_n + n <= pg->slot_size)
        return 0;
    size_t size = pg->slot_size ? 2 * pg->slot_size : 64;
    struct slot *slots = reallocarray(pg->slots, size, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    pg->slots = slots;
    pg->slot_size = size;
    return 0;
}

static int queue(struct pg *pg, const char *sql, const struct pg_args *p, PGresult **ret,
                 struct err *e)
{
    struct statement *s = pg_statement(pg, sql, p);
    if (!s || make_slots(pg, 2))
        return err_set(e, -ENOMEM, "postgres: out of memory");
    if (s->state == STATEMENT_NEW) {
        if (!pg_send_prepare(pg, s))
            return pg_refused(pg, e);
        s->state = STATEMENT_SENT;
        pg->slots[pg->slot_n++] = (struct slot){.sql = "", .prepares = s};
        pg->unsent += strlen(sql);
    }
    if (!pg_send_bound(pg, s, p))
        return pg_refused(pg, e);
    pg->slots[pg->slot_n++] = (struct slot){.sql = sql, .ret = ret};
    pg->unsent += p->bytes + (size_t)p->n * 8 + 64;
    return pg->unsent >= SEND_AHEAD ? pg_push_out(pg, e) : 0;
}

int pg_send(struct pg *pg, const char *sql, struct pg_args *p, PGresult **ret, struct err *e)
{
    const struct pg_args *args = p ? p : &pg_no_args;
    int rc = pg_usable(pg, args, true, e);
    if (rc == 0)
        rc = queue(pg, sql, args, ret, e);
    if (rc)
        pg->pipeline_failed = rc;
    return rc;
}

/* The one result of a slot and the NULL behind it. */
static int read_slot(struct pg *pg, struct slot *s, struct err *e)
{
    int rc = pg_next_result(pg, &s->result, e);
    if (rc)
        return rc;
    if (PQresultStatus(s->result) == PGRES_PIPELINE_ABORTED)
        rc = -ECANCELED; /* an earlier one said why */
    else
        rc = pg_check(pg, s->sql, s->result, e);
    if (!pg->conn)
        return rc;
    if (s->prepares)
        s->prepares->state = rc ? STATEMENT_NEW : STATEMENT_READY;
    PGresult *end = NULL;
    int broken = pg_next_result(pg, &end, rc ? NULL : e);
    PQclear(end);
    return rc ? rc : broken;
}

static int read_slots(struct pg *pg, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < pg->slot_n; i++) {
        int slot = read_slot(pg, &pg->slots[i], rc ? NULL : e);
        if (rc == 0)
            rc = slot;
        if (!pg->conn)
            return rc;
    }
    CLEANUP(PQclear) PGresult *sync = NULL;
    int broken = pg_next_result(pg, &sync, rc ? NULL : e);
    return rc ? rc : broken;
}

int pg_pipeline_end(struct pg *pg, struct err *e)
{
    if (pg->pipeline_failed) {
        /* Half of it may be on its way; only a closed connection keeps the server from committing.
         */
        int rc = pg->pipeline_failed;
        pg_disconnect(pg);
        return err_set(e, rc, "postgres: a statement of the pipeline could not be sent");
    }
    int rc = pg_usable(pg, &pg_no_args, true, e);
    if (rc)
        return rc;
    if (!PQpipelineSync(pg->conn))
        return pg_refused(pg, e);
    rc = read_slots(pg, e);
    if (!pg->conn)
        return rc;
    for (size_t i = 0; rc == 0 && i < pg->slot_n; i++) {
        struct slot *s = &pg->slots[i];
        if (s->ret)
            *s->ret = TAKE(s->result);
    }
    pg_forget_slots(pg);
    if (!PQexitPipelineMode(pg->conn)) {
        int left = pg_lost(pg, rc ? NULL : e, "pipeline");
        return rc ? rc : left;
    }
    return rc;
}
