-- What one integration of a receiver was not told (its digest failed, or a silence kept it back) waits for that one alone: the others told it.
ALTER TABLE digest_items ADD COLUMN integration int NOT NULL DEFAULT -1; -- -1: for all of them
ALTER TABLE digest_items DROP CONSTRAINT digest_items_pkey;
ALTER TABLE digest_items ADD PRIMARY KEY (tenant, group_id, incident_id, integration);
