-- Where each consumer group stands, and which events it has applied (docs/architecture.md, "Delivery").
CREATE TABLE watermarks (
    consumer_group  TEXT NOT NULL,
    topic           TEXT NOT NULL,
    topic_id        UUID NOT NULL,
    partition       INTEGER NOT NULL,
    next_offset     BIGINT NOT NULL CHECK (next_offset >= 0),
    updated_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, topic, partition)
);

-- UUIDv7 sorts by time, so ranges of event_id are ranges of time and old ones are dropped whole.
CREATE TABLE ledger (
    event_id        UUID NOT NULL,
    consumer_group  TEXT NOT NULL,
    PRIMARY KEY (event_id, consumer_group)
) PARTITION BY RANGE (event_id);
CREATE TABLE ledger_default PARTITION OF ledger DEFAULT;
