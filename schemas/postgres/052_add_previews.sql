-- One row a share: the picture asked for, and what became of it. Relays take due rows under a short lease.
CREATE TABLE previews (
    share_id      UUID PRIMARY KEY,
    share_token   TEXT NOT NULL UNIQUE,
    wishlist_id   UUID NOT NULL,
    state         TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'done', 'withdrawn', 'refused')),
    content_hash  TEXT,
    image_url     TEXT,
    attempts      INTEGER NOT NULL DEFAULT 0,
    last_error    TEXT,
    due_at        TIMESTAMP WITH TIME ZONE NOT NULL,
    rendered_at   TIMESTAMP WITH TIME ZONE,
    lease_owner   TEXT,
    lease_until   TIMESTAMP WITH TIME ZONE
);
CREATE INDEX idx_previews_due ON previews(due_at) WHERE state = 'due';
