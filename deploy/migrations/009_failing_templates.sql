-- Templates of receivers that gave nothing for a kind of message, so that the plain one was sent: each is an alert until
-- it gives one again, and has not failed for a while. Times are Postgres's clock.
CREATE TABLE failing_templates (
    receiver    text   NOT NULL,
    integration int    NOT NULL,
    kind        text   NOT NULL,        -- of the notification
    channel     text   NOT NULL,
    since       bigint NOT NULL,
    failed_at   bigint NOT NULL,        -- last
    PRIMARY KEY (receiver, integration, kind)
);
