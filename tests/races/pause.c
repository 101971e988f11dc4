#include "pause.h"

#include <string.h>
#include <time.h>

#define PATIENCE_MS                                                                                \
    10000 /* less than the workers' statement timeout, which would hide what hangs */
#define LOOK_MS 5

void pause_prepare(struct schema *db)
{
    schema_do(db, "CREATE FUNCTION race_pause() RETURNS trigger LANGUAGE plpgsql AS $$ "
                  "BEGIN "
                  "IF current_setting('race.who', true) = TG_ARGV[0] THEN "
                  "PERFORM pg_advisory_lock_shared(TG_ARGV[1]::int8); "
                  "PERFORM pg_advisory_unlock_shared(TG_ARGV[1]::int8); "
                  "END IF; "
                  "RETURN NULL; "
                  "END $$; "
                  "CREATE SEQUENCE race_pauses");
}

static const char *text(struct schema *db, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *text(struct schema *db, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *s = arena_vprintf(db->arena, fmt, ap);
    va_end(ap);
    assert_non_null(s);
    return s;
}

const char *pause_url(struct schema *db, const char *who, const char *host)
{
    return text(db, "%s%s%s options='-c race.who=%s'", server_url(db->server), host ? " host=" : "",
                host ? host : "", who);
}

static void hold(struct pause *p, struct schema *db)
{
    *p = (struct pause){db, schema_int(db, "SELECT nextval('race_pauses')")};
    schema_do(db, text(db, "SELECT pg_advisory_lock(%lld)", p->key));
}

void pause_at(struct pause *p, struct schema *db, const char *who, const char *moment)
{
    hold(p, db);
    schema_do(db, text(db,
                       "CREATE TRIGGER race_%lld %s FOR EACH STATEMENT EXECUTE FUNCTION "
                       "race_pause('%s', %lld)",
                       p->key, moment, who, p->key));
}

void pause_at_commit(struct pause *p, struct schema *db, const char *who, const char *table)
{
    hold(p, db);
    schema_do(db, text(db,
                       "CREATE CONSTRAINT TRIGGER race_%lld AFTER UPDATE ON %s DEFERRABLE "
                       "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION race_pause('%s', %lld)",
                       p->key, table, who, p->key));
}

void until(struct schema *db, const char *want, const char *sql)
{
    const char *got = "";

    for (int i = 0; i < PATIENCE_MS / LOOK_MS; i++) {
        got = schema_text(db, sql);
        if (strcmp(got, want) == 0)
            return;
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    fail_msg("%s instead of %s: %s", got, want, sql);
}

void pause_reached(const struct pause *p)
{
    until(p->db, "1",
          text(p->db,
               "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND objid = %lld "
               "AND objsubid = 1 AND NOT granted",
               p->key));
}

void pause_end(const struct pause *p)
{
    schema_do(p->db, text(p->db, "SELECT pg_advisory_unlock(%lld)", p->key));
}

long long pause_waiting(struct schema *db)
{
    return schema_int(db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                          "AND wait_event <> 'advisory'");
}
