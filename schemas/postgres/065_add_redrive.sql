-- What became of each dead letter. 'redriven' says that it was sent back; whether it was applied then follows from its
-- group's watermark, and whether it came back from a later letter's redrive_of (docs/operations.md, "Dead letters").
ALTER TABLE dead_letters
    ADD COLUMN value_bytes     BIGINT,
    ADD COLUMN redrive_of      TEXT,
    ADD COLUMN state           TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'redriven', 'discarded')),
    ADD COLUMN sent_times      INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN sent_partition  INTEGER,
    ADD COLUMN sent_offset     BIGINT;
CREATE INDEX idx_dead_letters_open ON dead_letters(consumer_group) WHERE state = 'open';
CREATE INDEX idx_dead_letters_redrive_of ON dead_letters(redrive_of) WHERE redrive_of IS NOT NULL;

-- The audit: who did what to dead letters, when and why. Rows are written before the deed and outlive the letters;
-- ended_at stays NULL where the command was killed.
CREATE TABLE dead_letter_acts (
    id         UUID PRIMARY KEY,
    act        TEXT NOT NULL CHECK (act IN ('redrive', 'discard', 'unmask')),
    actor      TEXT NOT NULL,
    asked_for  TEXT NOT NULL,
    reason     TEXT,
    letters    INTEGER NOT NULL,
    begun_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    ended_at   TIMESTAMP WITH TIME ZONE
);
CREATE TABLE dead_letter_act_letters (
    act_id         UUID NOT NULL REFERENCES dead_letter_acts(id),
    dlq_partition  INTEGER NOT NULL,
    dlq_offset     BIGINT NOT NULL,
    done_at        TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    PRIMARY KEY (act_id, dlq_partition, dlq_offset)
);
CREATE INDEX idx_dead_letter_act_letters ON dead_letter_act_letters(dlq_partition, dlq_offset);
