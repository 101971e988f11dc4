/* Rows of the ledger, and what is known around each: attempts, incidents, what told it instead. */
#pragma once

#include "console/console.h"

/* Every query for ledger_row_write() selects these, from notifications n and what told it instead
 * (the merge that it is part of, or the newer message that was delivered) o. */
#define LEDGER_COLUMNS                                                                             \
    "n.id, n.created_at, n.ended_at, n.group_id, (n.about -> 'group_labels')::text, "              \
    "n.incident_id, n.receiver, n.integration, n.channel, n.destination, n.kind, n.seq, "          \
    "n.severity, n.state, n.reason, n.possible_duplicate, n.attempts, n.not_before, "              \
    "n.merged_into, n.superseded_by, o.id, o.created_at, o.ended_at, o.kind, o.seq, o.state, "     \
    "o.reason, o.possible_duplicate, o.destination, n.about ->> 'rule'"
#define LEDGER_INSTEAD                                                                             \
    "LEFT JOIN LATERAL (SELECT * FROM notifications m WHERE m.tenant = n.tenant AND "              \
    "m.id = coalesce(n.merged_into, n.superseded_by) LIMIT 1) o ON true"
enum { LEDGER_ID = 0, LEDGER_CREATED_AT = 1 };

/* Of the first n rows; results live with the visit. */
struct ledger_around {
    const PGresult *rows, *attempts, *incidents;
};
int ledger_around_load(struct visit *v, const PGresult *rows, int n, struct ledger_around *ret,
                       struct err *e) MUST_CHECK;

/* Row `i` as an object: an element of what is open, or the whole answer. */
void ledger_row_write(struct visit *v, const struct ledger_around *x, int i);
