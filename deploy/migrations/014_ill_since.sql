-- Since when a destination fails: what waits behind its breaker for notifier.retry_for goes to the fallback. 0: not known, or it is well.
ALTER TABLE destinations ADD COLUMN ill_since bigint NOT NULL DEFAULT 0;
