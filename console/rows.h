/*
 * What is known around the rows of a page: results of further queries, each row of which names in
 * column 0 the place (from 1) of the row that it belongs to, in ascending order.
 */
#pragma once

#include "console/console.h"

/* A query whose result lives as long as the visit's arena. `sql` is a string constant. */
int rows_load(struct visit *v, const char *sql, struct pg_args *p, const PGresult **ret,
              struct err *e) MUST_CHECK;
/* The first row of a place; -1: it has none. */
int rows_first(const PGresult *r, int64_t place);
/* Is `row` one of that place? -1 and past the end are none. */
bool rows_of(const PGresult *r, int row, int64_t place);
