/* An alert of our own as a record that ingest would have made: a statement's end, by the files that
 * write about receivers; nobody else includes it. */
#pragma once

/* Of this moment, not of the transaction's start: who sees a row comes after who wrote it. */
#define CLOCK "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

/* `f` is the row, with receiver, integration and channel; `name` what it is about, `id` more of
 * that, `title` a format and `labels` pairs, `extra` what the alert says beside. */
#define ALERT_RECORD(tenant, name, id, severity, title, labels, extra)                             \
    " INSERT INTO outbox (topic, key, value, headers) SELECT 'raw.generic', "                      \
    "convert_to('" name " ' || f.receiver, 'UTF8'), convert_to((jsonb_build_object("               \
    " 'id', '" name " ' || f.receiver || ' ' || f.integration" id ", 'source', 'tocsin',"          \
    " 'severity', '" severity "', 'service', f.receiver, 'title', format('" title                  \
    "', f.receiver, f.channel), 'labels', jsonb_build_object(" labels                              \
    ", 'channel', f.channel, 'integration', f.integration::text, 'service', f.receiver,"           \
    " 'severity', '" severity "')) || " extra ")::text, 'UTF8'),"                                  \
    " jsonb_build_object('v', '1', 'tenant', " tenant ", 'source', 'generic', 'content_type', "    \
    "'application/json', 'request_id', gen_random_uuid()::text, 'received_at', " CLOCK "::text)"

/* For `extra`: it fires since f.since, and `why` is said of it; or it is over. */
#define FIRES(why)                                                                                 \
    "jsonb_build_object('status', 'firing', 'starts_at', to_char(to_timestamp(f.since / 1000.0)"   \
    " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'description', " why ")"
#define IS_OVER "jsonb_build_object('status', 'resolved')"
