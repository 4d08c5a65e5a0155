-- The DLQ's records, kept beyond the topic's 7 days. (dlq_partition, dlq_offset) makes keeping them idempotent.
CREATE TABLE dead_letters (
    dlq_partition       INTEGER NOT NULL,
    dlq_offset          BIGINT NOT NULL,
    consumer_group      TEXT NOT NULL,
    event_id            UUID,
    original_topic      TEXT NOT NULL,
    original_partition  INTEGER NOT NULL,
    original_offset     BIGINT NOT NULL,
    original_timestamp  TIMESTAMP WITH TIME ZONE,
    key                 BYTEA,
    value               BYTEA,
    error_class         TEXT NOT NULL,
    error_message       TEXT NOT NULL,
    traceback           TEXT,
    attempts            INTEGER NOT NULL,
    first_failure       TIMESTAMP WITH TIME ZONE NOT NULL,
    last_failure        TIMESTAMP WITH TIME ZONE NOT NULL,
    redrive_count       INTEGER NOT NULL DEFAULT 0,
    stored_at           TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    PRIMARY KEY (dlq_partition, dlq_offset)
);
CREATE INDEX idx_dead_letters_group ON dead_letters(consumer_group, last_failure);
