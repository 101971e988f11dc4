/*
 * A bounded set of Postgres connections for the threads that answer requests. Whoever finds none
 * free waits for one, and gives up after a while: a slow database must not hold every thread.
 */
#pragma once

#include "common/pg.h"

struct pool;

/* Nothing connects yet. */
int pool_new(const struct postgres_settings *s, uint32_t n, struct pool **ret,
             struct err *e) MUST_CHECK;
/* Every connection must have been given back. NULL is a no-op. */
void pool_free(struct pool *p);
/* A connected one; -EBUSY when none came free, -ENOTCONN with the server's words. */
int pool_take(struct pool *p, struct pg **ret, struct err *e) MUST_CHECK;
void pool_give(struct pool *p, struct pg *pg);
