/*
 * Postgres through libpq: one connection per thread, reconnecting, prepared statements, pipeline
 * mode. Parameters and results are binary, so arrays go in without quoting and numbers come out
 * without parsing. Every statement runs with search_path = the configured schema.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/settings.h"

CLEANUP_DEFINE(PGresult *, PQclear);

struct pg;

/* Connects lazily. Not thread-safe: one owner at a time. */
int pg_open(const struct postgres_settings *s, const char *application_name, struct pg **ret,
            struct err *e) MUST_CHECK;
void pg_close(struct pg *pg);
CLEANUP_DEFINE(struct pg *, pg_close);
/* Connect if not connected; -ENOTCONN with the server's words. */
int pg_connect(struct pg *pg, struct err *e) MUST_CHECK;

/* Parameters of one statement; memory in the arena. Add in order $1, $2 ... A failed add (arena
 * full) fails the query with -ENOMEM. */
struct pg_args;
struct pg_args *pg_args(struct arena *a);
void pg_null(struct pg_args *p);
void pg_int(struct pg_args *p, int64_t v);  /* int8 */
void pg_int4(struct pg_args *p, int32_t v); /* int4 and smallint columns by cast in SQL */
void pg_bool(struct pg_args *p, bool v);
void pg_float(struct pg_args *p, double v);      /* float8 */
void pg_text(struct pg_args *p, struct slice v); /* text; {NULL,0} is NULL, {"",0} is '' */
void pg_bytea(struct pg_args *p, struct slice v);
void pg_uuid(struct pg_args *p, const void *v16); /* NULL is NULL */
/* Arrays of the same types. */
void pg_ints(struct pg_args *p, const int64_t *v, size_t n);
void pg_int4s(struct pg_args *p, const int32_t *v, size_t n);
void pg_bools(struct pg_args *p, const bool *v, size_t n);
void pg_floats(struct pg_args *p, const double *v, size_t n);
void pg_texts(struct pg_args *p, const struct slice *v,
              size_t n); /* an element with p NULL is NULL */
void pg_byteas(struct pg_args *p, const struct slice *v, size_t n);
void pg_uuids(struct pg_args *p, const void *v16, size_t n); /* n*16 bytes */

/*
 * Run one statement, prepared once per connection by the address of `sql` (a string constant). The
 * types of the parameters are declared when preparing, so `unnest($1, $2)` needs no casts. *ret may
 * be NULL to discard. -ENOTCONN: the connection is gone (and any transaction with it; its outcome
 * is unknown if COMMIT was under way). -EAGAIN: serialization failure or deadlock (40001, 40P01).
 * -EEXIST: 23505. -ERANGE: other data errors (22, 23, 54): the data will never fit. -EBUSY: server
 * says try later, or was killed in the middle of it (53, 55, 57, 58). -EIO: any other class, a bug
 * of ours.
 */
int pg_query(struct pg *pg, const char *sql, struct pg_args *p, PGresult **ret,
             struct err *e) MUST_CHECK;
/* For statements that are no constants (migrations, tests, SET): not prepared, no parameters, may
 * hold several commands. */
int pg_exec(struct pg *pg, const char *sql, struct err *e) MUST_CHECK;
/* SQLSTATE of the last failure, "" when there was none or the connection broke. */
const char *pg_sqlstate(const struct pg *pg);
/* Did it fail for having waited too long, for what somebody else holds or for itself? Not that the
 * server is short of something: that is nobody's fault. */
bool pg_held_up(const struct pg *pg);

int pg_begin(struct pg *pg, struct err *e) MUST_CHECK; /* READ COMMITTED */
int pg_commit(struct pg *pg, struct err *e) MUST_CHECK;
void pg_rollback(struct pg *pg); /* nothing to do is fine; a lost connection is closed */

/*
 * Pipeline: between pg_pipeline_begin() and pg_pipeline_end(), pg_send() queues statements without
 * waiting; pg_pipeline_end() sends the rest, reads every result in order and fails with the first
 * error (same codes as pg_query, later statements are skipped by the server). Each pg_send may name
 * where its result goes; results are written only when the whole pipeline succeeded. Inside a
 * transaction begun before with pg_begin() or with BEGIN/COMMIT sent as statements of the pipeline.
 */
int pg_pipeline_begin(struct pg *pg, struct err *e) MUST_CHECK;
int pg_send(struct pg *pg, const char *sql, struct pg_args *p, PGresult **ret,
            struct err *e) MUST_CHECK;
int pg_pipeline_end(struct pg *pg, struct err *e) MUST_CHECK;

/* Cells, binary. A NULL cell gives 0, false or {NULL, 0}. Slices point into the result. */
bool pg_is_null(const PGresult *r, int row, int col);
int64_t pg_get_int(const PGresult *r, int row,
                   int col); /* int2, int4, int8 by their length; also bool */
bool pg_get_bool(const PGresult *r, int row, int col);
double pg_get_float(const PGresult *r, int row, int col); /* float4, float8 */
struct slice pg_get_text(const PGresult *r, int row,
                         int col); /* text, varchar, bytea, json; jsonb wants ::text in SQL */
const unsigned char *pg_get_uuid(const PGresult *r, int row, int col); /* 16 bytes or NULL */
int64_t pg_affected(const PGresult *r); /* rows of INSERT/UPDATE/DELETE */

/* Run `SELECT 1` on a connection of the health check's own: for /health/db. */
int pg_ping(const struct postgres_settings *s, struct err *e) MUST_CHECK;
