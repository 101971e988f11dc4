-- The ledger that one can read: where each message went, what took its place, which incidents it speaks of.
ALTER TABLE notifications
    ADD COLUMN destination   text NOT NULL DEFAULT '', -- where, as a person knows it; never a secret. Empty until it was claimed
    ADD COLUMN superseded_by uuid;                     -- the newer message that was delivered

-- Which incidents a message speaks of, written with its row. A merge has none: it speaks of what its members speak of.
CREATE TABLE notification_incidents (
    tenant          text   NOT NULL,
    notification_id uuid   NOT NULL,
    incident_id     uuid   NOT NULL,
    created_at      bigint NOT NULL,    -- of the notification: an incident's ledger is read in this order
    PRIMARY KEY (tenant, notification_id, incident_id)
);
CREATE INDEX notification_incidents_by_incident
    ON notification_incidents (tenant, incident_id, created_at DESC, notification_id DESC);

INSERT INTO notification_incidents (tenant, notification_id, incident_id, created_at)
SELECT n.tenant, n.id, i.incident_id, n.created_at
FROM notifications n
CROSS JOIN LATERAL (
    SELECT n.incident_id
    UNION
    SELECT (item ->> 'incident')::uuid FROM jsonb_array_elements(n.about -> 'items') item
    UNION
    SELECT a.incident_id
    FROM jsonb_array_elements_text(coalesce(n.about #> '{state,alerts}', '[]') ||
                                   coalesce(n.about #> '{state,resolved_alerts}', '[]')) fp
    JOIN alerts a ON a.tenant = n.tenant AND a.fingerprint = ('x' || fp)::bit(64)::bigint
) i
WHERE i.incident_id IS NOT NULL;

-- One row a message instead of an index entry for each of its states.
DROP INDEX notifications_by_incident;
CREATE INDEX notifications_by_time ON notifications (tenant, created_at DESC, id DESC);
CREATE INDEX notifications_not_delivered ON notifications (tenant, state, created_at DESC, id DESC) WHERE state <> 'delivered';
