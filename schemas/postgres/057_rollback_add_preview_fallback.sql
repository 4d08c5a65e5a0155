DROP INDEX idx_previews_without_card;
DROP INDEX idx_previews_due;
CREATE INDEX idx_previews_due ON previews(due_at) WHERE state = 'due';
ALTER TABLE previews DROP COLUMN fallback;
