-- A picture that nobody viewed, or whose share expired long ago, leaves the bucket; the next view makes it due again.
ALTER TABLE previews DROP CONSTRAINT previews_state_check;
ALTER TABLE previews ADD CONSTRAINT previews_state_check
    CHECK (state IN ('due', 'done', 'withdrawn', 'refused', 'swept'));
ALTER TABLE previews ADD COLUMN swept_at TIMESTAMP WITH TIME ZONE;
DROP INDEX idx_previews_to_purge;
CREATE INDEX idx_previews_to_purge ON previews(share_id) WHERE state IN ('withdrawn', 'swept') AND purged_at IS NULL;
