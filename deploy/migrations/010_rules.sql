-- What rules judge an incident by beside its labels: the fingerprint that a sender gave it, one word a line, and the names of the rules whose rate
-- it exceeded since it began, one a line.
ALTER TABLE incidents ADD COLUMN fingerprint_words text NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN crossed_rules text NOT NULL DEFAULT '';
COMMENT ON COLUMN groups.route IS 'hash of the route''s content, to find its timing again; under a rule: that, the hash of the route it is made of, and the rule''s name';
