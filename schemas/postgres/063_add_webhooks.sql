-- Where an owner is called about the events of their own shares; the one without an owner is the shop's, and hears of all.
CREATE TABLE webhooks (
    id             UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id       UUID REFERENCES users(id) ON DELETE CASCADE,
    url            TEXT NOT NULL,
    secret         TEXT NOT NULL,
    former_secret  TEXT,  -- signs beside the other until then
    former_until   TIMESTAMP WITH TIME ZONE,
    enabled_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),  -- what happened before is not told
    disabled_at    TIMESTAMP WITH TIME ZONE,
    failures       INTEGER NOT NULL DEFAULT 0,  -- in a row
    reason         TEXT,  -- of the last of them
    succeeded_at   TIMESTAMP WITH TIME ZONE,
    due_at         TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),  -- not to be called before
    lease_owner    TEXT,
    lease_until    TIMESTAMP WITH TIME ZONE,
    UNIQUE NULLS NOT DISTINCT (owner_id)
);

-- The outbox. The id is made of the webhook's and the event's: an event that is read again is the same delivery.
CREATE TABLE webhook_deliveries (
    id           UUID PRIMARY KEY,
    webhook_id   UUID NOT NULL REFERENCES webhooks(id) ON DELETE CASCADE,
    body         TEXT NOT NULL,  -- as it is signed and sent
    happened_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    state        TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'taken', 'dropped', 'late')),
    due_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX idx_webhook_deliveries_due ON webhook_deliveries(webhook_id, due_at) WHERE state = 'due';
CREATE INDEX idx_webhook_deliveries_webhook ON webhook_deliveries(webhook_id);
CREATE INDEX idx_webhook_deliveries_happened ON webhook_deliveries(happened_at);
