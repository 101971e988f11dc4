-- A message or a page shows an incident's first alerts, those that fire before the others, and reads no more than these.
CREATE INDEX alerts_of_incident ON alerts (tenant, incident_id, status, first_seen) WHERE incident_id IS NOT NULL;
DROP INDEX alerts_by_incident;
