-- What shall not be told for a while. A silence is found by one of its equalities, so that it costs nothing where that
-- does not hold; those without any have the key '' and are few (common/silence.h). Times are the console's clock.
CREATE TABLE silences (
    tenant     text   NOT NULL,
    id         uuid   NOT NULL,
    matchers   jsonb  NOT NULL,         -- [{name, value, isRegex, isEqual}], all must match
    key        bytea  NOT NULL,         -- hash of the name and value of the rarest equality
    starts_at  bigint NOT NULL,
    ends_at    bigint NOT NULL,         -- moved forward by whoever ends it early
    created_by text   NOT NULL,
    comment    text   NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX silences_by_key ON silences (tenant, key, ends_at);
CREATE INDEX silences_by_time ON silences (tenant, created_at DESC, id DESC);
CREATE INDEX silences_by_end ON silences (tenant, ends_at);

-- Groups that a silence kept from speaking: whoever ends it early wakes them.
CREATE TABLE silenced_groups (
    tenant     text NOT NULL,
    silence_id uuid NOT NULL,
    group_id   uuid NOT NULL,
    PRIMARY KEY (tenant, silence_id, group_id)
);
