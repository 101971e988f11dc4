-- The pipeline's state. Every key begins with the tenant. Times are milliseconds since 1970 UTC and come from the
-- record (receive time) unless the comment says "Postgres's clock". Lock order for everybody: offsets, anomalies,
-- incidents, alerts, groups, notifications, destinations, each sorted by key (common/locks.h).

-- Where each partition stands. This row is the truth about offsets; it commits with the batch, by compare-and-set.
CREATE TABLE offsets (
    grp           text   NOT NULL,
    cluster_id    text   NOT NULL,
    topic         text   NOT NULL,
    partition     int    NOT NULL,
    next_offset   bigint NOT NULL,
    current_since bigint,               -- less than 10 s behind since then; NULL: behind
    current_at    bigint NOT NULL DEFAULT 0, -- when that was last said; void after 30 s
    starts        int    NOT NULL DEFAULT 0, -- assignments since the last commit: deaths of the process, if they go on
    PRIMARY KEY (grp, cluster_id, topic, partition)
);

-- What frequency and learning are about.
CREATE TABLE anomalies (
    tenant      text   NOT NULL,
    key         bytea  NOT NULL,
    alert_name  text   NOT NULL,
    service     text   NOT NULL,
    namespace   text   NOT NULL,
    error_type  text   NOT NULL,
    first_seen  bigint NOT NULL,        -- first and last occurrence
    last_seen   bigint NOT NULL,
    occurrences bigint NOT NULL DEFAULT 0,
    frequency   bytea  NOT NULL DEFAULT '', -- packed counters, common/frequency.h
    version     bigint NOT NULL DEFAULT 0,  -- raised by each change: copies elsewhere know their age by it
    incident_id uuid,                   -- the open incident, or the last one
    PRIMARY KEY (tenant, key)
) WITH (fillfactor = 70);

-- One open problem of one anomaly, at most one open at a time.
CREATE TABLE incidents (
    tenant        text     NOT NULL,
    id            uuid     NOT NULL,
    anomaly_key   bytea    NOT NULL,
    status        smallint NOT NULL,    -- 1 open, 2 acknowledged, 3 investigating, 4 resolved
    resolved_by   smallint,             -- 1 alerts, 2 a person, 3 silence (expired)
    severity      smallint NOT NULL,    -- 1 info, 2 warning, 3 error, 4 critical; raised, never lowered while open
    level         smallint NOT NULL DEFAULT 0, -- highest escalation level: 1 REPEAT, 2 ESCALATE, 3 PERMANENT_FIX
    opened_level  smallint NOT NULL DEFAULT 0, -- the level that its opening message tells
    episode       int      NOT NULL DEFAULT 1, -- raised by each re-opening
    title         text     NOT NULL,
    description   text     NOT NULL DEFAULT '',
    source        text     NOT NULL,
    alert_name    text     NOT NULL,
    service       text     NOT NULL,
    namespace     text     NOT NULL,
    environment   text     NOT NULL,
    error_type    text     NOT NULL,
    link          text     NOT NULL DEFAULT '',
    impact_users  bigint   NOT NULL DEFAULT 0,
    impact_events bigint   NOT NULL DEFAULT 0,
    opened_at     bigint   NOT NULL,
    updated_at    bigint   NOT NULL,
    resolved_at   bigint,
    window_start  bigint   NOT NULL,    -- first occurrence that aggregated here
    last_seen     bigint   NOT NULL,    -- last occurrence
    occurrences   bigint   NOT NULL,    -- aggregated_count
    alerts_firing int      NOT NULL,
    alerts_total  int      NOT NULL,
    owner         text     NOT NULL DEFAULT '', -- who acknowledged it
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX incidents_one_open ON incidents (tenant, anomaly_key) WHERE status <> 4;
CREATE INDEX incidents_by_opening ON incidents (tenant, opened_at DESC, id DESC);
CREATE INDEX incidents_open ON incidents (tenant, opened_at DESC, id DESC) WHERE status <> 4;
CREATE INDEX incidents_by_service ON incidents (tenant, service, opened_at DESC, id DESC);

-- One labelled thing that fires and resolves.
CREATE TABLE alerts (
    tenant      text     NOT NULL,
    fingerprint bigint   NOT NULL,      -- the 64 bits, as signed
    anomaly_key bytea    NOT NULL,
    incident_id uuid,                   -- the incident it is or was part of
    status      smallint NOT NULL DEFAULT 0, -- 0 never fired, 1 firing, 2 resolved
    severity    smallint NOT NULL,
    labels      jsonb    NOT NULL,
    annotations jsonb    NOT NULL,
    title       text     NOT NULL,
    description text     NOT NULL,
    link        text     NOT NULL,
    source      text     NOT NULL,      -- the entry under sources: that reported it last
    fed_by      text[]   NOT NULL DEFAULT '{}', -- source types that reported it: their topics must be current before silence ends it
    starts_at   bigint,                 -- of the current or last occurrence
    ended_at    bigint,                 -- when it was over; NULL while firing
    quiet_at    bigint,                 -- ends by silence from here on; NULL: never. Not indexed, so that repeats stay HOT
    first_seen  bigint   NOT NULL,
    last_seen   bigint   NOT NULL,      -- last report
    occurrences bigint   NOT NULL DEFAULT 0,
    facts       bytea    NOT NULL DEFAULT '', -- what the last window said, processor/merge.h
    PRIMARY KEY (tenant, fingerprint)
) WITH (fillfactor = 70);
CREATE INDEX alerts_by_incident ON alerts (tenant, incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX alerts_listed ON alerts (tenant, first_seen DESC, fingerprint DESC);
CREATE INDEX alerts_firing ON alerts (tenant, first_seen DESC, fingerprint DESC) WHERE status = 1;

-- Each time that an alert began. Unique by (alert, identity): set semantics make repeats harmless.
CREATE TABLE occurrences (
    tenant      text   NOT NULL,
    fingerprint bigint NOT NULL,
    identity    text   NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (tenant, fingerprint, identity)
) PARTITION BY HASH (tenant, fingerprint);
DO $$
BEGIN
    FOR i IN 0..7 LOOP
        EXECUTE format('CREATE TABLE occurrences_%s PARTITION OF occurrences FOR VALUES WITH (MODULUS 8, REMAINDER %s)', i, i);
    END LOOP;
END $$;

-- What happened to an incident. `cause` makes each entry unique: request id, index and kind of what caused it.
CREATE TABLE timeline (
    tenant      text   NOT NULL,
    incident_id uuid   NOT NULL,
    at          bigint NOT NULL,
    cause       text   NOT NULL,
    kind        text   NOT NULL, -- opened reopened occurrence resolved expired crossing severity status note notification repair
    actor       text   NOT NULL DEFAULT '',
    body        text   NOT NULL,
    PRIMARY KEY (tenant, incident_id, at, cause)
) PARTITION BY RANGE (at);

-- Attempts at notifications, with the channel's own answer.
CREATE TABLE deliveries (
    tenant          text   NOT NULL,
    notification_id uuid   NOT NULL,
    at              bigint NOT NULL,    -- Postgres's clock
    attempt         int    NOT NULL,
    duration_ms     bigint NOT NULL,
    outcome         text   NOT NULL,    -- delivered retry rejected
    status          int    NOT NULL,    -- HTTP or SMTP status; 0: no answer
    answer          text   NOT NULL,    -- the channel's own words, cut
    PRIMARY KEY (tenant, notification_id, attempt, at)
) PARTITION BY RANGE (at);

CREATE TABLE timeline_default PARTITION OF timeline DEFAULT;
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

-- Monthly partitions from this month to `ahead` months on; called here and by the processor's housekeeping timer.
CREATE FUNCTION partitions_ahead(ahead int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    month  timestamp;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(current_schema() || '.partitions'));
    FOREACH parent IN ARRAY ARRAY['timeline', 'deliveries'] LOOP
        FOR i IN 0..ahead LOOP
            month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i);
            EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)',
                           parent || '_' || to_char(month, 'YYYYMM'), parent,
                           (extract(epoch FROM month) * 1000)::bigint,
                           (extract(epoch FROM month + interval '1 month') * 1000)::bigint);
        END LOOP;
    END LOOP;
END $$;
SELECT partitions_ahead(3);

-- What one message is about: receiver, route content, values of group_by.
CREATE TABLE groups (
    tenant      text     NOT NULL,
    id          uuid     NOT NULL,      -- hash of receiver, route content and labels: a reload keeps it
    kind        smallint NOT NULL,      -- 1 incident (group_by has `incident`), 2 alerts, 3 digest
    receiver    text     NOT NULL,
    route       text     NOT NULL,      -- hash of the route's content, to find its timing again
    labels      jsonb    NOT NULL,      -- values of group_by
    incident_id uuid,                   -- kind 1
    routed_by   jsonb    NOT NULL,      -- labels of the alert that made it: a raised severity may lead them elsewhere
    since       bigint   NOT NULL,      -- when it was made: group_wait runs from here
    flushed_at  bigint,                 -- last flush that made a notification
    seq         bigint   NOT NULL DEFAULT 0, -- of the newest notification
    -- Per integration of the receiver ("0", "1" ...): {"last": STATE, "delivered": STATE}. STATE is `about.state` of a notification.
    -- `last` is of the newest one that has not failed, `delivered` of the newest that a channel accepted.
    told        jsonb    NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);
CREATE INDEX groups_by_incident ON groups (tenant, incident_id) WHERE incident_id IS NOT NULL;

-- Kind 2: the alerts of a group.
CREATE TABLE group_alerts (
    tenant      text   NOT NULL,
    group_id    uuid   NOT NULL,
    fingerprint bigint NOT NULL,
    PRIMARY KEY (tenant, group_id, fingerprint)
);
CREATE INDEX group_alerts_by_alert ON group_alerts (tenant, fingerprint);

-- Kind 3: what the next digest will tell. Emptied by its flush.
CREATE TABLE digest_items (
    tenant      text   NOT NULL,
    group_id    uuid   NOT NULL,
    incident_id uuid   NOT NULL,
    occurrences bigint NOT NULL,        -- since the last digest
    first_at    bigint NOT NULL,
    last_at     bigint NOT NULL,
    PRIMARY KEY (tenant, group_id, incident_id)
);

-- Outbox and ledger in one: a row is written with what it is about, and every row ends.
CREATE TABLE notifications (
    tenant             text     NOT NULL,
    id                 uuid     NOT NULL, -- hash of group, receiver, integration, sequence and kind; the channel's idempotency key
    group_id           uuid     NOT NULL,
    receiver           text     NOT NULL,
    integration        int      NOT NULL, -- which of the receiver's *_configs, in order of the file
    channel            text     NOT NULL,
    seq                bigint   NOT NULL,
    kind               text     NOT NULL, -- opened reopened crossing severity status resolved repeat alerts digest merge
    severity           smallint NOT NULL,
    incident_id        uuid,
    about              jsonb    NOT NULL, -- processor/group.h; never secrets
    state              text     NOT NULL DEFAULT 'pending',
    reason             text     NOT NULL DEFAULT '',
    possible_duplicate boolean  NOT NULL DEFAULT false,
    attempts           int      NOT NULL DEFAULT 0,
    created_at         bigint   NOT NULL,
    not_before         bigint   NOT NULL DEFAULT 0, -- Postgres's clock: retries and rate
    lease_until        bigint,                      -- Postgres's clock: longer than the HTTP timeout
    lease_by           text     NOT NULL DEFAULT '',
    ended_at           bigint,                      -- Postgres's clock
    merged_into        uuid,
    CHECK (state IN ('pending', 'sending', 'delivered', 'failed', 'suppressed', 'superseded', 'merged')),
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);
CREATE INDEX notifications_waiting ON notifications (receiver, integration, created_at) WHERE state IN ('pending', 'sending');
CREATE INDEX notifications_by_incident ON notifications (tenant, incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX notifications_by_group ON notifications (tenant, group_id, integration, seq);
CREATE INDEX notifications_merged ON notifications (tenant, merged_into) WHERE merged_into IS NOT NULL;

-- What a channel wants to remember about a group's message: thread, message id.
CREATE TABLE channel_references (
    tenant      text  NOT NULL,
    group_id    uuid  NOT NULL,
    integration int   NOT NULL,
    reference   jsonb NOT NULL,
    PRIMARY KEY (tenant, group_id, integration)
);

-- The rate of one destination, shared by all workers and receivers that send there.
CREATE TABLE destinations (
    id            bytea  NOT NULL PRIMARY KEY, -- keyed hash of URL and credential
    tat           bigint NOT NULL DEFAULT 0,   -- GCRA: theoretical arrival time, Postgres's clock
    blocked_until bigint NOT NULL DEFAULT 0
);

-- "Look at this subject from then on." A hint: what is due is derived again under the subject's lock.
CREATE TABLE timers (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at  bigint   NOT NULL,
    kind    smallint NOT NULL,          -- 1 group, 2 alert, 3 housekeeping
    tenant  text     NOT NULL,
    subject bytea    NOT NULL           -- group id; fingerprint, big endian; empty
);
CREATE INDEX timers_due ON timers (due_at);
CREATE INDEX timers_by_subject ON timers (tenant, subject);

-- Every Kafka record that follows from a change here, whoever makes it.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text   NOT NULL,         -- without prefix
    key        bytea,
    value      bytea  NOT NULL,
    headers    jsonb  NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Ingests that are alive: an end by silence needs an unbroken beat.
CREATE TABLE beats (
    ingest         text    NOT NULL PRIMARY KEY,
    since          bigint  NOT NULL,    -- beating without a gap since then
    last_at        bigint  NOT NULL,
    oldest_spooled bigint  NOT NULL DEFAULT 0, -- receive time of its oldest spooled record; 0: none
    farewell       boolean NOT NULL DEFAULT false
);

-- A sender's own delivery ids of the last 24 h.
CREATE TABLE delivery_ids (
    tenant text   NOT NULL,
    source text   NOT NULL,
    id     text   NOT NULL,
    at     bigint NOT NULL,
    PRIMARY KEY (tenant, source, id)
);
CREATE INDEX delivery_ids_by_time ON delivery_ids (at);

-- What was tried on incidents. The learner alone writes these three.
CREATE TABLE repairs (
    tenant      text    NOT NULL,
    id          uuid    NOT NULL,       -- request id of the report
    incident_id uuid    NOT NULL,
    anomaly_key bytea   NOT NULL,
    action      text    NOT NULL,
    attempt     int     NOT NULL DEFAULT 1,
    claim       text    NOT NULL,       -- success failure unknown: what was reported
    outcome     text    NOT NULL,       -- pending, then success failure unknown
    reason      text    NOT NULL DEFAULT '',
    actor       text    NOT NULL DEFAULT '',
    note        text    NOT NULL DEFAULT '',
    at          bigint  NOT NULL,
    decide_at   bigint,                 -- while pending
    decided_at  bigint,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX repairs_by_anomaly ON repairs (tenant, anomaly_key, at DESC);
CREATE INDEX repairs_pending ON repairs (decide_at) WHERE outcome = 'pending';

CREATE TABLE repair_stats (
    tenant       text   NOT NULL,
    anomaly_key  bytea  NOT NULL,
    action       text   NOT NULL,
    attempts     bigint NOT NULL DEFAULT 0, -- successes + failures + unknown
    successes    bigint NOT NULL DEFAULT 0,
    failures     bigint NOT NULL DEFAULT 0,
    last_at      bigint NOT NULL,
    last_outcome text   NOT NULL,
    PRIMARY KEY (tenant, anomaly_key, action)
);

CREATE TABLE playbooks (
    tenant     text   NOT NULL,
    id         text   NOT NULL,         -- anomaly:<hex>, alert:<name>, service:<name>, global
    version    int    NOT NULL,
    steps      jsonb  NOT NULL,         -- ranked: [{action, successes, attempts, success_rate, wilson_lower, last_used, text}]
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
