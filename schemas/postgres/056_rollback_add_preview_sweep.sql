UPDATE previews SET state = 'due' WHERE state = 'swept';
DROP INDEX idx_previews_to_purge;
CREATE INDEX idx_previews_to_purge ON previews(share_id) WHERE state = 'withdrawn' AND purged_at IS NULL;
ALTER TABLE previews DROP COLUMN swept_at;
ALTER TABLE previews DROP CONSTRAINT previews_state_check;
ALTER TABLE previews ADD CONSTRAINT previews_state_check CHECK (state IN ('due', 'done', 'withdrawn', 'refused'));
