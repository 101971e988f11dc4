/*
 * One libpq connection, always non-blocking: every wait goes through wait_socket(), which reads
 * while it writes, so that neither a large pipeline nor its results can block both sides, and which
 * gives up on a server that is silent for longer than its own statement timeout.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/pg_internal.h"

enum { GRACE_MS = 5000 }; /* past the statement timeout, for the answer to travel */

/* ---- life ---- */

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

static int fill(struct pg *pg, const struct postgres_settings *s, const char *application_name,
                struct err *e)
{
    /* libpq's words would quote the string, and it may hold a password. */
    PQconninfoOption *url = PQconninfoParse(s->url, NULL);
    if (!url)
        return err_set(e, -EINVAL, "postgres.url is not a connection string");
    pg->options = startup_options(url, s);
    PQconninfoFree(url);
    pg->url = strdup(s->url);
    pg->application_name = strdup(application_name);
    if (!pg->options || !pg->url || !pg->application_name)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    snprintf(pg->connect_timeout, sizeof pg->connect_timeout, "%lld",
             (long long)((s->connect_timeout + MS_SECOND - 1) / MS_SECOND));
    pg->patience = s->statement_timeout > 0 ? s->statement_timeout + GRACE_MS : -1;
    return 0;
}

int pg_open(const struct postgres_settings *s, const char *application_name, struct pg **ret,
            struct err *e)
{
    struct pg *pg = calloc(1, sizeof *pg);
    if (!pg)
        return err_set(e, -ENOMEM, "postgres: out of memory");
    int rc = fill(pg, s, application_name, e);
    if (rc)
        pg_close(pg);
    else
        *ret = pg;
    return rc;
}

void pg_forget_slots(struct pg *pg)
{
    for (size_t i = 0; i < pg->slot_n; i++)
        PQclear(pg->slots[i].result);
    pg->slot_n = 0;
    pg->unsent = 0;
    pg->pipeline = false;
    pg->pipeline_failed = 0;
}

void pg_disconnect(struct pg *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg_forget_slots(pg);
    for (size_t i = 0; i < STATEMENT_BUCKETS; i++) {
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
    pg_disconnect(pg);
    free(pg->slots);
    free(pg->url);
    free(pg->options);
    free(pg->application_name);
    free(pg);
}

/* libpq ends its messages with newlines and puts one line per host that it tried. */
int pg_lost(struct pg *pg, struct err *e, const char *what)
{
    const char *why = PQerrorMessage(pg->conn);
    int rc = err_set(e, -ENOTCONN, "postgres: %s: %.*s", what, (int)strcspn(why, "\n"), why);
    pg->sqlstate[0] = '\0';
    pg_disconnect(pg);
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
        return pg_lost(pg, e, "cannot connect");
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
            pg_disconnect(pg);
            return err_set(e, -ENOTCONN, "postgres: no answer within %lld ms",
                           (long long)pg->patience);
        }
        if (errno != EINTR)
            return pg_lost(pg, e, strerror(errno));
    }
    if ((fd.revents & ~POLLOUT) && !PQconsumeInput(pg->conn))
        return pg_lost(pg, e, "connection lost");
    return 0;
}

int pg_push_out(struct pg *pg, struct err *e)
{
    int unsent;
    while ((unsent = PQflush(pg->conn)) > 0) {
        int rc = wait_socket(pg, true, e);
        if (rc)
            return rc;
    }
    pg->unsent = 0;
    return unsent < 0 ? pg_lost(pg, e, "connection lost") : 0;
}

/* The next result, or NULL where the results of a statement end. */
int pg_next_result(struct pg *pg, PGresult **ret, struct err *e)
{
    for (;;) {
        int unsent = PQflush(pg->conn);
        if (unsent < 0)
            return pg_lost(pg, e, "connection lost");
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
        {"40", -EAGAIN}, {"23505", -EEXIST}, {"22", -ERANGE}, {"23", -ERANGE}, {"54", -ERANGE},
        {"53", -EBUSY},  {"57", -EBUSY},     {"55", -EBUSY},  {"58", -EBUSY},
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
        return pg_lost(pg, e, "connection lost");
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
        pg_disconnect(pg);
    }
    return rc;
}

/* 0 when `r` is the result of a statement that worked. */
int pg_check(struct pg *pg, const char *sql, PGresult *r, struct err *e)
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
        pg_disconnect(pg);
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

bool pg_held_up(const struct pg *pg)
{
    return strcmp(pg->sqlstate, "55P03") == 0 || /* lock_timeout */
           strcmp(pg->sqlstate, "57014") == 0;   /* statement_timeout */
}

int pg_refused(struct pg *pg, struct err *e)
{
    if (PQstatus(pg->conn) != CONNECTION_OK)
        return pg_lost(pg, e, "connection lost");
    const char *why = PQerrorMessage(pg->conn);
    return err_set(e, -EIO, "postgres: %.*s", (int)strcspn(why, "\n"), why);
}
