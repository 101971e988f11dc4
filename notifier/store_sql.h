/* What the notifier's statements share. */
#pragma once

/* Postgres's clock in our unit, as of the transaction's start. */
#define MS_NOW "(extract(epoch FROM now()) * 1000)::bigint"

/* The state of a row that a key leads to. As an expression, since the planner believes the index of
 * what waits to be almost empty: it would take that one instead of the key's, and in a storm read
 * all of it for each row. */
#define STATE_OF_N "(n.state || '')"
#define STATE_OF_O "(o.state || '')"
