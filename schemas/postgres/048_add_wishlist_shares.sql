-- The spec's migration 048, unchanged in columns and indexes (SPEC-2025-089, "Database Schema").
CREATE TABLE wishlist_shares (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    wishlist_id     UUID NOT NULL REFERENCES wishlists(id) ON DELETE CASCADE,
    share_token     VARCHAR(22) NOT NULL UNIQUE,
    created_by      UUID NOT NULL REFERENCES users(id),
    expires_at      TIMESTAMP WITH TIME ZONE,
    view_count      INTEGER NOT NULL DEFAULT 0,
    items_added     INTEGER NOT NULL DEFAULT 0,
    share_channel   VARCHAR(50),
    is_revoked      BOOLEAN NOT NULL DEFAULT FALSE,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    updated_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);

CREATE INDEX idx_wishlist_shares_token ON wishlist_shares(share_token);
CREATE INDEX idx_wishlist_shares_wishlist_created ON wishlist_shares(wishlist_id, created_at DESC);
CREATE INDEX idx_wishlist_shares_created_by ON wishlist_shares(created_by);
