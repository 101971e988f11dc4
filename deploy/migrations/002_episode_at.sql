-- When the episode at hand began: one that lasted is told even if it was over before anybody looked.
ALTER TABLE incidents ADD COLUMN episode_at bigint NOT NULL DEFAULT 0;
UPDATE incidents SET episode_at = opened_at;
