DROP INDEX idx_previews_to_purge;
ALTER TABLE previews DROP COLUMN purged_at;
