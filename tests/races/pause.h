/*
 * Pauses between the statements of a worker, put in from outside: a trigger at a chosen moment
 * waits for an advisory lock that the test holds on its own connection. Workers are told apart by
 * the setting `race.who`, which their connection string carries.
 */
#pragma once

#include "schema.h"

/* Once a database. */
void pause_prepare(struct schema *db);
/* The connection string of a worker known as `who`; `host` NULL: straight to the server. */
const char *pause_url(struct schema *db, const char *who, const char *host);

struct pause {
    struct schema *db;
    long long key;
};

/* `who` stops at `moment`, the words of a statement trigger ("AFTER INSERT ON anomalies"), until
 * pause_end(). Before the worker runs: making a trigger locks its table for a moment. */
void pause_at(struct pause *p, struct schema *db, const char *who, const char *moment);
/* The same as the last thing of a transaction that updated `table`: in the middle of its COMMIT. */
void pause_at_commit(struct pause *p, struct schema *db, const char *who, const char *table);
/* Until it stands there. */
void pause_reached(const struct pause *p);
/* Lets it go on, and whoever comes by later. */
void pause_end(const struct pause *p);

/* How many wait for rows that others hold, at this moment. */
long long pause_waiting(struct schema *db);
/* Until the query says `want`; the test fails when it never does. */
void until(struct schema *db, const char *want, const char *sql);
