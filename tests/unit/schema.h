/*
 * A PostgreSQL of the test's own with the schema of deploy/migrations in it, and short ways to ask
 * it things. Only for tests; a failure ends the test with the server's words.
 */
#pragma once

#include <glob.h>
#include <stdio.h>

#include "common/pg.h"
#include "servers.h"
#include "testing.h"

#define SCHEMA_NAME "tocsin"

struct schema {
    struct server *server;
    struct postgres_settings settings;
    struct pg *pg;
    struct arena *arena;
    struct err e;
};

#define SQL_OK(s, call)                                                                            \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (s)->e.msg);                                                 \
    } while (0)

__attribute__((unused)) static char *schema_file(struct schema *s, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("%s cannot be read", path);
    char *text = arena_alloc(s->arena, 1, 1 << 20);
    assert_non_null(text);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

__attribute__((unused)) static void schema_open(struct schema *s)
{
    *s = (struct schema){.server = server_postgres(), .arena = arena_new(64 << 20)};
    s->settings = (struct postgres_settings){.url = server_url(s->server),
                                             .schema = SCHEMA_NAME,
                                             .connect_timeout = 5000,
                                             .statement_timeout = 20000};
    SQL_OK(s, pg_open(&s->settings, "test", &s->pg, &s->e));
    SQL_OK(s, pg_connect(s->pg, &s->e));
    SQL_OK(s, pg_exec(s->pg, "CREATE SCHEMA " SCHEMA_NAME, &s->e));
    glob_t files = {0};
    assert_int_equal(glob(SOURCE_DIR "/deploy/migrations/*.sql", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) /* by name, as deploy/migrate takes them */
        SQL_OK(s, pg_exec(s->pg, schema_file(s, files.gl_pathv[i]), &s->e));
    globfree(&files);
}

__attribute__((unused)) static void schema_close(struct schema *s)
{
    pg_close(s->pg);
    arena_free(s->arena);
    server_stop(s->server);
}

/* Commands as they are. */
__attribute__((unused)) static void schema_do(struct schema *s, const char *sql)
{
    SQL_OK(s, pg_exec(s->pg, sql, &s->e));
}

/* One text of one row ("" when NULL); none or several rows fail the test. In the arena. */
__attribute__((unused)) static const char *schema_text(struct schema *s, const char *sql)
{
    CLEANUP(PQclear) PGresult *r = NULL;

    SQL_OK(s, pg_query(s->pg, sql, NULL, &r, &s->e));
    if (PQntuples(r) != 1)
        fail_msg("%d rows of: %s", PQntuples(r), sql);
    struct slice v = pg_get_text(r, 0, 0);
    const char *text = arena_printf(s->arena, "%.*s", SLICE_FMT(v));
    assert_non_null(text);
    return text;
}

/* One number of one row. */
__attribute__((unused)) static long long schema_int(struct schema *s, const char *sql)
{
    CLEANUP(PQclear) PGresult *r = NULL;

    SQL_OK(s, pg_query(s->pg, sql, NULL, &r, &s->e));
    if (PQntuples(r) != 1)
        fail_msg("%d rows of: %s", PQntuples(r), sql);
    return pg_get_int(r, 0, 0);
}
