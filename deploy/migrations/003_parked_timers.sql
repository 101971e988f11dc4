-- A subject whose data cannot be worked on waits with its reason, longer after each failure. To look again at once:
-- UPDATE timers SET due_at = 0 WHERE failures > 0;
ALTER TABLE timers
    ADD COLUMN failures int  NOT NULL DEFAULT 0,
    ADD COLUMN reason   text NOT NULL DEFAULT ''; -- of the last failure
