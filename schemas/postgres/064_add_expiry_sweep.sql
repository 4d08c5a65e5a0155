-- Shares whose expiry is still to be announced, soonest first. Counters move without touching it.
CREATE INDEX idx_wishlist_shares_to_expire ON wishlist_shares(expires_at) WHERE expired_at IS NULL AND NOT is_revoked;
