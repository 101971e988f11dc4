-- The breaker of a destination, shared by all workers: failures in a row (no answer, or an error of the server's). From
-- notifier.breaker_failures on nothing is sent until blocked_until, and then one message at a time tries it.
ALTER TABLE destinations ADD COLUMN failures int NOT NULL DEFAULT 0;

-- Channels of receivers that refused a message for good, or were given up: each is an alert until it takes one again.
CREATE TABLE failing_receivers (
    receiver    text   NOT NULL,
    integration int    NOT NULL,
    channel     text   NOT NULL,
    since       bigint NOT NULL,        -- Postgres's clock
    PRIMARY KEY (receiver, integration)
);
