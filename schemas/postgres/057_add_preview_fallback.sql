-- While the renderer is spared, a share without a picture of its own gets a card that needs no browser. It stays due.
ALTER TABLE previews ADD COLUMN fallback TEXT NOT NULL DEFAULT 'wanted'
    CHECK (fallback IN ('wanted', 'drawing', 'drawn', 'none'));
UPDATE previews SET fallback = 'none' WHERE rendered_at IS NOT NULL;
DROP INDEX idx_previews_due;
-- Shares that nobody can see any picture of come first.
CREATE INDEX idx_previews_due ON previews((fallback = 'drawn'), due_at) WHERE state = 'due';
CREATE INDEX idx_previews_without_card ON previews(due_at) WHERE state = 'due' AND fallback IN ('wanted', 'drawing');
