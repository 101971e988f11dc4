/*
 * One libpq connection, always non-blocking: every wait goes through wait_socket(), which reads
 * while it writes, so that neither a large pipeline nor its results can block both sides, and which
 * gives up on a server that is silent for longer than its own statement timeout.
 */
#include "common/pg.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/pg_internal.h"

enum {
    BUCKETS = 256,
    SEND_AHEAD = 64 * 1024, /* bytes of a pipeline given to libpq before it is pushed out */
    GRACE_MS = 5000,        /* past the statement timeout, for the answer to travel */
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

struct pg {
    char *url, *options, *application_name;
    char connect_timeout[24]; /* s */
    int64_t patience;         /* ms without a byte before the server counts as gone; -1: for ever */
    PGconn *conn;             /* NULL: not connected */
    char sqlstate[6];

    struct statement *statements[BUCKETS];
    unsigned statement_n;

    bool pipeline;
    int pipeline_failed; /* a pg_send() failed: what was sent must not commit */
    struct slot *slots;
    size_t slot_n, slot_size;
    size_t unsent;
};

static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED";
static const char commit_sql[] = "COMMIT";
static const char rollback_sql[] = "ROLLBACK";

/* ---- connection ---- */

/* `-c name=value` for the startup packet, where a backslash protects blanks and itself. */
static void add_option(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, " -c %s=", name);
    for (; *value; value++) {
        if (isspace((unsigned char)*value) || *value == '\\')
            buf_putc(b, '\\');
        buf_putc(b, *value);
    }
}

/* What the URL itself asks for comes first, so that the schema and the timeout are ours. */
static char *startup_options(const PQconninfoOption *url, const struct postgres_settings *s)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    for (; url->keyword; url++) {
        if (strcmp(url->keyword, "options") == 0 && url->val)
            buf_puts(&b, url->val);
    }
    CLEANUP(buf_release) struct buf schema = BUF_INIT(256);
    buf_putc(&schema, '"');
    for (const char *c = s->schema; *c; c++) {
        buf_puts(&schema, *c == '"' ? "\"" : "");
        buf_putc(&schema, *c);
    }
    buf_putc(&schema, '"');
    add_option(&b, "search_path", buf_str(&schema));
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%lld", (long long)s->statement_timeout);
    add_option(&b, "statement_timeout", timeout);
    add_option(&b, "client_min_messages", "warning");
    return b.failed || schema.failed ? NULL : strdup(buf_str(&b));
}

int pg_open(const struct postgres_settings *s, const char *application_name, struct pg **ret,
            struct err *e)
{
    /* libpq's words would quote the string, and it may hold a password. */
    PQconninfoOption *url = PQconninfoParse(s->url, NULL);
    if (!url)
        return err_set(e, -EINVAL, "postgres.url is not a connection string");
    CLEANUP(pg_close) struct pg *pg = calloc(1, sizeof *pg);
    if (pg)
        pg->options = startup_options(url, s);
    PQconninfoFree(url);
    if (!pg || !pg->options)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    pg->url = strdup(s->url);
    pg->application_name = strdup(application_name);
    if (!pg->url || !pg->application_name)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    snprintf(pg->connect_timeout, sizeof pg->connect_timeout, "%lld",
             (long long)((s->connect_timeout + MS_SECOND - 1) / MS_SECOND));
    pg->patience = s->statement_timeout > 0 ? s->statement_timeout + GRACE_MS : -1;
    *ret = TAKE(pg);
    return 0;
}

static void forget_slots(struct pg *pg)
{
    for (size_t i = 0; i < pg->slot_n; i++)
        PQclear(pg->slots[i].result);
    pg->slot_n = 0;
    pg->unsent = 0;
    pg->pipeline = false;
    pg->pipeline_failed = 0;
}

static void disconnect(struct pg *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    forget_slots(pg);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (pg->statements[i]) {
            struct statement *next = pg->statements[i]->next;
            free(pg->statements[i]);
            pg->statements[i] = next;
        }
    }
    pg->statement_n = 0;
}

void pg_close(struct pg *pg)
{
    if (!pg)
        return;
    disconnect(pg);
    free(pg->slots);
    free(pg->url);
    free(pg->options);
    free(pg->application_name);
    free(pg);
}

/* libpq ends its messages with newlines and puts one line per host that it tried. */
static int lost(struct pg *pg, struct err *e, const char *what)
{
    const char *why = PQerrorMessage(pg->conn);
    int rc = err_set(e, -ENOTCONN, "postgres: %s: %.*s", what, (int)strcspn(why, "\n"), why);
    pg->sqlstate[0] = '\0';
    disconnect(pg);
    return rc;
}

static void ignore_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

int pg_connect(struct pg *pg, struct err *e)
{
    if (pg->conn)
        return 0;
    const char *const names[] = {"dbname",          "options",         "application_name",
                                 "connect_timeout", "client_encoding", NULL};
    const char *const values[] = {pg->url, pg->options, pg->application_name, pg->connect_timeout,
                                  "UTF8",  NULL};
    pg->conn = PQconnectdbParams(names, values, 1);
    if (!pg->conn)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    if (PQstatus(pg->conn) != CONNECTION_OK || PQsetnonblocking(pg->conn, 1) != 0)
        return lost(pg, e, "cannot connect");
    PQsetNoticeProcessor(pg->conn, ignore_notice, NULL);
    /* Details of an error quote rows. */
    PQsetErrorVerbosity(pg->conn, PQERRORS_TERSE);
    return 0;
}

/* ---- waiting ---- */

/* Until the server can be read from (or, with `unsent`, written to); takes in what it sent. */
static int wait_socket(struct pg *pg, bool unsent, struct err *e)
{
    struct pollfd fd = {.fd = PQsocket(pg->conn),
                        .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
    int64_t deadline = clock_monotonic_ms() + pg->patience;
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        int wait = left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
        int n = poll(&fd, 1, pg->patience < 0 ? -1 : wait);
        if (n > 0)
            break;
        if (n == 0) {
            disconnect(pg);
            return err_set(e, -ENOTCONN, "postgres: no answer within %lld ms",
                           (long long)pg->patience);
        }
        if (errno != EINTR)
            return lost(pg, e, strerror(errno));
    }
    if ((fd.revents & ~POLLOUT) && !PQconsumeInput(pg->conn))
        return lost(pg, e, "connection lost");
    return 0;
}

static int push_out(struct pg *pg, struct err *e)
{
    int unsent;
    while ((unsent = PQflush(pg->conn)) > 0) {
        int rc = wait_socket(pg, true, e);
        if (rc)
            return rc;
    }
    pg->unsent = 0;
    return unsent < 0 ? lost(pg, e, "connection lost") : 0;
}

/* The next result, or NULL where the results of a statement end. */
static int next_result(struct pg *pg, PGresult **ret, struct err *e)
{
    for (;;) {
        int unsent = PQflush(pg->conn);
        if (unsent < 0)
            return lost(pg, e, "connection lost");
        if (!PQisBusy(pg->conn))
            break;
        int rc = wait_socket(pg, unsent > 0, e);
        if (rc)
            return rc;
    }
    *ret = PQgetResult(pg->conn);
    return 0;
}

/* ---- what the server said ---- */

static int code_of(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } codes[] = {
        {"40", -EAGAIN}, {"23505", -EEXIST}, {"22", -ERANGE}, {"23", -ERANGE},
        {"54", -ERANGE}, {"53", -EBUSY},     {"57", -EBUSY},  {"55P03", -EBUSY},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    }
    return -EIO;
}

/* The server closes the connection after these. */
static bool ends_connection(const char *state)
{
    return strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0;
}

/* Messages of class 22 quote the value that did not fit; it may be a secret. */
static void blot(char *out, size_t size, const char *message, bool hide)
{
    size_t n = 0;
    bool inside = false;
    for (; *message && *message != '\n' && n + 1 < size; message++) {
        if (*message == '"')
            inside = !inside;
        if (!hide || !inside || *message == '"')
            out[n++] = *message;
    }
    out[n] = '\0';
}

static int server_error(struct pg *pg, const PGresult *r, struct err *e)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (!state || PQstatus(pg->conn) != CONNECTION_OK)
        return lost(pg, e, "connection lost");
    snprintf(pg->sqlstate, sizeof pg->sqlstate, "%s", state);

    const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    const char *constraint = PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME);
    char message[300];
    blot(message, sizeof message, primary ? primary : "", strncmp(state, "22", 2) == 0);
    bool gone = ends_connection(state);
    int rc = err_set(e, gone ? -ENOTCONN : code_of(state), "postgres: %s (%s%s%s)", message, state,
                     constraint ? ", constraint " : "", constraint ? constraint : "");
    if (gone) {
        pg->sqlstate[0] = '\0';
        disconnect(pg);
    }
    return rc;
}

/* 0 when `r` is the result of a statement that worked. */
static int check_result(struct pg *pg, const char *sql, PGresult *r, struct err *e)
{
    switch ((int)PQresultStatus(r)) {
    case PGRES_COMMAND_OK:
        break;
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return 0;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        disconnect(pg);
        return err_set(e, -EIO, "postgres: COPY is not spoken here");
    default:
        return server_error(pg, r, e);
    }
    /* COMMIT of a transaction that failed is answered with success and this tag. */
    if (strcmp(PQcmdStatus(r), "ROLLBACK") == 0 && strncasecmp(sql, "commit", 6) == 0)
        return err_set(e, -EIO, "postgres: committed a transaction that had failed");
    return 0;
}

const char *pg_sqlstate(const struct pg *pg)
{
    return pg->sqlstate;
}

/* ---- statements ---- */

/* Every result of what was sent outside a pipeline; the last one into *ret. */
static int finish(struct pg *pg, const char *sql, PGresult **ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *last = NULL;
    int rc = 0;
    for (;;) {
        CLEANUP(PQclear) PGresult *r = NULL;
        int broken = next_result(pg, &r, rc ? NULL : e);
        if (broken)
            return rc ? rc : broken;
        if (!r)
            break;
        if (rc == 0)
            rc = check_result(pg, sql, r, e);
        if (!pg->conn)
            return rc;
        PQclear(last);
        last = TAKE(r);
    }
    if (rc == 0 && ret)
        *ret = TAKE(last);
    return rc;
}

static int refused(struct pg *pg, struct err *e)
{
    if (PQstatus(pg->conn) != CONNECTION_OK)
        return lost(pg, e, "connection lost");
    const char *why = PQerrorMessage(pg->conn);
    return err_set(e, -EIO, "postgres: %.*s", (int)strcspn(why, "\n"), why);
}

static int usable(struct pg *pg, const struct pg_args *p, bool in_pipeline, struct err *e)
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
    return (((uintptr_t)sql >> 4) * 0x9E3779B1U >> 8) % BUCKETS;
}

/* Found or new; NULL when out of memory. */
static struct statement *statement_of(struct pg *pg, const char *sql, const struct pg_args *p)
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

static bool send_prepare(struct pg *pg, const struct statement *s)
{
    char name[NAME_MAX_LEN];
    return PQsendPrepare(pg->conn, name_of(s, name), s->sql, s->n, s->types);
}

static bool send_bound(struct pg *pg, const struct statement *s, const struct pg_args *p)
{
    char name[NAME_MAX_LEN];
    return PQsendQueryPrepared(pg->conn, name_of(s, name), p->n, p->values, p->lengths, p->formats,
                               1);
}

static const struct pg_args no_args;

int pg_query(struct pg *pg, const char *sql, struct pg_args *p, PGresult **ret, struct err *e)
{
    const struct pg_args *args = p ? p : &no_args;
    int rc = usable(pg, args, false, e);
    if (rc)
        return rc;
    struct statement *s = statement_of(pg, sql, args);
    if (!s)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    if (s->state != STATEMENT_READY) {
        rc = send_prepare(pg, s) ? finish(pg, "", NULL, e) : refused(pg, e);
        if (rc)
            return rc;
        s->state = STATEMENT_READY;
    }
    return send_bound(pg, s, args) ? finish(pg, sql, ret, e) : refused(pg, e);
}

int pg_exec(struct pg *pg, const char *sql, struct err *e)
{
    int rc = usable(pg, &no_args, false, e);
    if (rc)
        return rc;
    return PQsendQuery(pg->conn, sql) ? finish(pg, sql, NULL, e) : refused(pg, e);
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
    if (pg->pipeline || status == PQTRANS_ACTIVE || status == PQTRANS_UNKNOWN)
        disconnect(pg);
    else if (status != PQTRANS_IDLE && pg_query(pg, rollback_sql, NULL, NULL, NULL))
        disconnect(pg);
    memcpy(pg->sqlstate, state, sizeof state);
}

/* ---- pipeline ---- */

int pg_pipeline_begin(struct pg *pg, struct err *e)
{
    int rc = usable(pg, &no_args, false, e);
    if (rc)
        return rc;
    if (!PQenterPipelineMode(pg->conn))
        return refused(pg, e);
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
    struct statement *s = statement_of(pg, sql, p);
    if (!s || make_slots(pg, 2))
        return err_set(e, -ENOMEM, "postgres: out of memory");
    if (s->state == STATEMENT_NEW) {
        if (!send_prepare(pg, s))
            return refused(pg, e);
        s->state = STATEMENT_SENT;
        pg->slots[pg->slot_n++] = (struct slot){.sql = "", .prepares = s};
        pg->unsent += strlen(sql);
    }
    if (!send_bound(pg, s, p))
        return refused(pg, e);
    pg->slots[pg->slot_n++] = (struct slot){.sql = sql, .ret = ret};
    pg->unsent += p->bytes + (size_t)p->n * 8 + 64;
    return pg->unsent >= SEND_AHEAD ? push_out(pg, e) : 0;
}

int pg_send(struct pg *pg, const char *sql, struct pg_args *p, PGresult **ret, struct err *e)
{
    const struct pg_args *args = p ? p : &no_args;
    int rc = usable(pg, args, true, e);
    if (rc == 0)
        rc = queue(pg, sql, args, ret, e);
    if (rc)
        pg->pipeline_failed = rc;
    return rc;
}

/* The one result of a slot and the NULL behind it. */
static int read_slot(struct pg *pg, struct slot *s, struct err *e)
{
    int rc = next_result(pg, &s->result, e);
    if (rc)
        return rc;
    if (PQresultStatus(s->result) == PGRES_PIPELINE_ABORTED)
        rc = -ECANCELED; /* an earlier one said why */
    else
        rc = check_result(pg, s->sql, s->result, e);
    if (!pg->conn)
        return rc;
    if (s->prepares)
        s->prepares->state = rc ? STATEMENT_NEW : STATEMENT_READY;
    PGresult *end = NULL;
    int broken = next_result(pg, &end, rc ? NULL : e);
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
    int broken = next_result(pg, &sync, rc ? NULL : e);
    return rc ? rc : broken;
}

int pg_pipeline_end(struct pg *pg, struct err *e)
{
    if (pg->pipeline_failed) {
        /* Half of it may be on its way; only a closed connection keeps the server from committing.
         */
        int rc = pg->pipeline_failed;
        disconnect(pg);
        return err_set(e, rc, "postgres: a statement of the pipeline could not be sent");
    }
    int rc = usable(pg, &no_args, true, e);
    if (rc)
        return rc;
    if (!PQpipelineSync(pg->conn))
        return refused(pg, e);
    rc = read_slots(pg, e);
    if (!pg->conn)
        return rc;
    for (size_t i = 0; rc == 0 && i < pg->slot_n; i++) {
        struct slot *s = &pg->slots[i];
        if (s->ret)
            *s->ret = TAKE(s->result);
    }
    forget_slots(pg);
    if (!PQexitPipelineMode(pg->conn)) {
        int left = lost(pg, rc ? NULL : e, "pipeline");
        return rc ? rc : left;
    }
    return rc;
}

/* ---- health ---- */

int pg_ping(const struct postgres_settings *s, struct err *e)
{
    CLEANUP(pg_close) struct pg *pg = NULL;
    int rc = pg_open(s, "tocsin-health", &pg, e);
    if (rc == 0)
        rc = pg_connect(pg, e);
    return rc ? rc : pg_query(pg, "SELECT 1", NULL, NULL, e);
}
