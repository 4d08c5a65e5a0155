-- What the warehouse agent needs to append to BigQuery exactly once (docs/architecture.md, "The warehouse").
-- Who may append a partition's events: whoever was given it last.
CREATE TABLE warehouse_owners (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    owner          UUID NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
);
-- Appends whose outcome is not known yet; written before BigQuery is asked.
CREATE TABLE warehouse_appends (
    id             UUID PRIMARY KEY,
    consumer_group TEXT NOT NULL,
    stream         TEXT NOT NULL,
    row_offset     BIGINT NOT NULL,
    event_ids      UUID[] NOT NULL,
    topics         TEXT[] NOT NULL,
    topic_ids      UUID[] NOT NULL,
    partitions     INTEGER[] NOT NULL,
    expected       BIGINT[] NOT NULL,
    next           BIGINT[] NOT NULL,
    written_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
