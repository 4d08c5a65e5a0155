-- When a user wants to be left alone, by their own clock; NULL in both: never.
ALTER TABLE users
    ADD COLUMN quiet_start TIME DEFAULT '22:00',
    ADD COLUMN quiet_end TIME DEFAULT '08:00',
    ADD CONSTRAINT users_quiet_hours CHECK ((quiet_start IS NULL) = (quiet_end IS NULL));

-- What an owner is to be told of one wishlist: all that has been added from it since they were last told.
CREATE TABLE pushes (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id     UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    wishlist_id  UUID NOT NULL,
    items        INTEGER NOT NULL,
    product_id   TEXT,  -- while it is about one product
    happened_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    state        TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'told', 'dropped')),
    due_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    told_at      TIMESTAMP WITH TIME ZONE
);
CREATE UNIQUE INDEX idx_pushes_collapse ON pushes(owner_id, wishlist_id) WHERE state = 'due';
CREATE INDEX idx_pushes_due ON pushes(due_at) WHERE state = 'due';
CREATE INDEX idx_pushes_told ON pushes(owner_id, wishlist_id, told_at) WHERE state = 'told';

-- One push on its way to one device; its id is the one that push services and apps know it by.
CREATE TABLE push_deliveries (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    push_id      UUID NOT NULL REFERENCES pushes(id) ON DELETE CASCADE,
    device_id    UUID NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
    state        TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'taken', 'refused', 'dropped', 'late')),
    due_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    lease_owner  TEXT,
    lease_until  TIMESTAMP WITH TIME ZONE,
    UNIQUE (push_id, device_id)
);
CREATE INDEX idx_push_deliveries_due ON push_deliveries(due_at) WHERE state = 'due';
CREATE INDEX idx_push_deliveries_device ON push_deliveries(device_id);
