-- A withdrawn share's picture leaves the bucket; until then the row says that it has yet to.
ALTER TABLE previews ADD COLUMN purged_at TIMESTAMP WITH TIME ZONE;
CREATE INDEX idx_previews_to_purge ON previews(share_id) WHERE state = 'withdrawn' AND purged_at IS NULL;
