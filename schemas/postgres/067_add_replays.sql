-- Replays: what each was to read, so that one that was ended early can go on.
CREATE TABLE replays (
    id           TEXT PRIMARY KEY,
    sink         TEXT NOT NULL,
    lane         TEXT NOT NULL,
    plan         JSONB NOT NULL,
    started_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    finished_at  TIMESTAMP WITH TIME ZONE
);
