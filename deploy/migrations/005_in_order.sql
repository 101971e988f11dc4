-- What is read first, or only up to a limit, comes out of its index in that order.
-- A message or a page shows an incident's first alerts, those that fire before the others.
CREATE INDEX alerts_of_incident ON alerts (tenant, incident_id, status, first_seen) WHERE incident_id IS NOT NULL;
DROP INDEX alerts_by_incident;
-- A flush writes many at once: they have the same created_at.
DROP INDEX notifications_waiting;
CREATE INDEX notifications_waiting ON notifications (receiver, integration, created_at, seq)
    WHERE state IN ('pending', 'sending');

-- One batch may repeat every alert of a page: each needs room for its new version, or all indexes get an entry.
ALTER TABLE alerts SET (fillfactor = 50);
