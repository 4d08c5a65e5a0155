-- What a user wants to hear of, by category and way; what is not here is on.
CREATE TABLE notification_preferences (
    user_id     UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    category    TEXT NOT NULL CHECK (category IN ('social', 'orders')),
    channel     TEXT NOT NULL CHECK (channel IN ('digest', 'push')),
    enabled     BOOLEAN NOT NULL,
    updated_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, category, channel)
);

-- Whose counts wait for a digest, and when it is due: NULL until somebody has looked at the owner's time zone.
CREATE TABLE digest_owners (
    owner_id    UUID PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
    is_pending  BOOLEAN NOT NULL,
    due_at      TIMESTAMP WITH TIME ZONE,
    last_day    DATE
);
CREATE INDEX idx_digest_owners_due ON digest_owners(due_at) WHERE is_pending;

-- What has happened since the owner's last digest. A row goes into the digest that it is counted in.
CREATE TABLE digest_counts (
    owner_id  UUID NOT NULL,
    share_id  UUID NOT NULL,
    country   TEXT NOT NULL,
    channel   TEXT NOT NULL,
    views     INTEGER NOT NULL,
    items     INTEGER NOT NULL,
    PRIMARY KEY (owner_id, share_id, country, channel)
);
CREATE TABLE digest_visitors (
    owner_id      UUID NOT NULL,
    share_id      UUID NOT NULL,
    visitor_hash  TEXT NOT NULL,
    PRIMARY KEY (owner_id, share_id, visitor_hash)
);

-- The outbox: one digest for an owner and a local day.
CREATE TABLE digests (
    id           UUID PRIMARY KEY,
    owner_id     UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    local_date   DATE NOT NULL,
    content      JSONB NOT NULL,
    state        TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'dropped')),
    due_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    lease_owner  TEXT,
    lease_until  TIMESTAMP WITH TIME ZONE,
    sent_at      TIMESTAMP WITH TIME ZONE,
    UNIQUE (owner_id, local_date)
);
CREATE INDEX idx_digests_due ON digests(due_at) WHERE state = 'due';
