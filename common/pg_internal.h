/* What the files of pg share: the connection, statements, the pipeline, parameters and cells. */
#pragma once

#include "common/pg.h"

struct pg_args {
    struct arena *arena;
    bool failed; /* the arena is full, or a value is longer than libpq can carry */
    int n, size;
    size_t bytes; /* of all values: how much of a pipeline waits in libpq's buffer */
    Oid *types;
    const char **values;
    int *lengths, *formats;
};

/* Of one connection. The types belong to the key: an untyped NULL makes another statement of the
 * same text. */
struct statement {
    struct statement *next;
    const char *sql;
    unsigned id;
    enum { STATEMENT_NEW = 1, STATEMENT_SENT, STATEMENT_READY } state;
    int n;
    Oid types[];
};

/* What a pipeline owes an answer for. */
struct slot {
    const char *sql;
    struct statement *prepares; /* NULL for a query */
    PGresult **ret, *result;
};

enum { STATEMENT_BUCKETS = 256 };

struct pg {
    char *url, *options, *application_name;
    char connect_timeout[24]; /* s */
    int64_t patience;         /* ms without a byte before the server counts as gone; -1: for ever */
    PGconn *conn;             /* NULL: not connected */
    char sqlstate[6];

    struct statement *statements[STATEMENT_BUCKETS];
    unsigned statement_n;

    bool pipeline;
    int pipeline_failed; /* a pg_send() failed: what was sent must not commit */
    struct slot *slots;
    size_t slot_n, slot_size;
    size_t unsent;
};

/* ---- pg_connection.c ---- */

void pg_disconnect(struct pg *pg);
/* Disconnect; -ENOTCONN with libpq's words. */
int pg_lost(struct pg *pg, struct err *e, const char *what);
/* All that libpq holds goes to the server. */
int pg_push_out(struct pg *pg, struct err *e);
/* The next result, or NULL where the results of a statement end. */
int pg_next_result(struct pg *pg, PGresult **ret, struct err *e);
/* 0 when `r` is the result of a statement that worked; a connection that is over is closed. */
int pg_check(struct pg *pg, const char *sql, PGresult *r, struct err *e);
/* libpq itself would not send: -ENOTCONN or -EIO. */
int pg_refused(struct pg *pg, struct err *e);
/* Drop what a pipeline still waits for and leave its state. */
void pg_forget_slots(struct pg *pg);

/* ---- pg.c ---- */

extern const struct pg_args pg_no_args;
/* 0 when a statement with these parameters may go now. */
int pg_usable(struct pg *pg, const struct pg_args *p, bool in_pipeline, struct err *e);
/* Found or new; NULL when out of memory. */
struct statement *pg_statement(struct pg *pg, const char *sql, const struct pg_args *p);
bool pg_send_prepare(struct pg *pg, const struct statement *s);
bool pg_send_bound(struct pg *pg, const struct statement *s, const struct pg_args *p);
