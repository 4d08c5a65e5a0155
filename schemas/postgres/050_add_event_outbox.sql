-- Events that the broker did not take in time wait here; one relay sends them in order, key by key.
CREATE TABLE event_outbox (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id       UUID NOT NULL UNIQUE,
    share_token    TEXT NOT NULL,
    event_type     TEXT NOT NULL,
    value          BYTEA NOT NULL,
    created_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
CREATE INDEX idx_event_outbox_token ON event_outbox(share_token, id);
