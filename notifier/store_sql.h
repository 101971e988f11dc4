/* What the notifier's statements share. */
#pragma once

/* Postgres's clock in our unit, as of the transaction's start. */
#define MS_NOW "(extract(epoch FROM now()) * 1000)::bigint"

/* The state of a row that a key leads to. As an expression, since the planner believes the index of
 * what waits to be almost empty: it would take that one instead of the key's, and in a storm read
 * all of it for each row. */
#define STATE_OF_N "(n.state || '')"
#define STATE_OF_O "(o.state || '')"

/* Messages of the group that were not delivered and are older than this one: their news is told
 * here too. What is older than the newest that was delivered is history, and not read. */
#define IS_EARLIER                                                                                 \
    "o.tenant = n.tenant AND o.group_id = n.group_id AND o.integration = n.integration AND o.seq " \
    "< n.seq AND o.seq > coalesce((g.told #>> ARRAY[n.integration::text, 'delivered', "            \
    "'seq'])::bigint, -1)"
#define EARLIER                                                                                    \
    "FROM notifications o WHERE " IS_EARLIER " AND " STATE_OF_O                                    \
    " IN ('pending', 'sending', 'merged')"

/* What a fallback is told has no row of `groups` that knows what was delivered: `what` of the
 * newest message `b` that was, if it is newer than `n`. Each digest has its own period. */
#define NEWER_AT_FALLBACK(what)                                                                    \
    "(SELECT " what " FROM notifications b WHERE n.about ? 'fallback' AND n.kind <> 'digest' AND " \
    "b.tenant = n.tenant AND b.group_id = n.group_id AND b.integration = n.integration AND b.seq " \
    "> n.seq AND (b.state || '') = 'delivered' ORDER BY b.seq DESC LIMIT 1)"

/* A merge that has so many is joined by no more; and no more of it are read at once. */
#define MEMBERS_MOST 500

/* What digest `n` tells, each incident once: its own, and what older ones did not get to tell. */
#define ITEMS_OF_N                                                                                 \
    "SELECT r.incident, sum(r.occurrences)::bigint AS occurrences, min(r.first_at) AS first_at, "  \
    "max(r.last_at) AS last_at FROM (SELECT n.about -> 'items' AS items UNION ALL SELECT o.about " \
    "-> 'items' " EARLIER                                                                          \
    ") s, jsonb_to_recordset(coalesce(s.items, '[]')) AS r (incident uuid, occurrences bigint, "   \
    "first_at bigint, last_at bigint) GROUP BY r.incident"
