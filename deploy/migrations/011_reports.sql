-- What a vendor said of an attempt after it had taken it: the furthest that was said (common/report.h).
CREATE TABLE delivery_reports (
    tenant          text     NOT NULL,
    notification_id uuid     NOT NULL,
    attempt         int      NOT NULL,
    at              bigint   NOT NULL,  -- Postgres's clock
    state           smallint NOT NULL,  -- 1 under way, 2 sent, 3 arrived, 4 lost
    words           text     NOT NULL,  -- the vendor's own
    due             boolean  NOT NULL,  -- the last word, and the notifier has not looked at it
    PRIMARY KEY (tenant, notification_id, attempt)
);
CREATE INDEX delivery_reports_due ON delivery_reports (at) WHERE due;

-- Its channel took the message, and reported later that it was lost: another one that is merely taken says nothing.
ALTER TABLE failing_receivers ADD COLUMN reported boolean NOT NULL DEFAULT false;
