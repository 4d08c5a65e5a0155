DROP TABLE dead_letter_act_rows;
DROP TABLE job_rows;
-- A parked row waits again: the code of before tries it for ever, or knows a state that says as much.
ALTER TABLE event_outbox DROP COLUMN due_at, DROP COLUMN failures, DROP COLUMN reason, DROP COLUMN traceback,
    DROP COLUMN parked_at;
ALTER TABLE ended_lists DROP COLUMN due_at, DROP COLUMN attempts, DROP COLUMN failures, DROP COLUMN reason,
    DROP COLUMN traceback, DROP COLUMN parked_at, DROP COLUMN lease_owner, DROP COLUMN lease_until;
DROP INDEX idx_webhook_deliveries_parked;
ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_state_check;
UPDATE webhook_deliveries SET state = 'due' WHERE state = 'parked';
ALTER TABLE webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_state_check CHECK (state IN ('due', 'taken', 'dropped', 'late')),
    DROP COLUMN failures, DROP COLUMN reason, DROP COLUMN traceback, DROP COLUMN parked_at,
    DROP COLUMN lease_owner, DROP COLUMN lease_until;
DROP INDEX idx_push_deliveries_parked;
ALTER TABLE push_deliveries DROP CONSTRAINT push_deliveries_state_check;
UPDATE push_deliveries SET state = 'refused' WHERE state = 'parked';
ALTER TABLE push_deliveries
    ADD CONSTRAINT push_deliveries_state_check CHECK (state IN ('due', 'taken', 'refused', 'dropped', 'late')),
    DROP COLUMN failures, DROP COLUMN reason, DROP COLUMN traceback, DROP COLUMN parked_at;
DROP INDEX idx_pushes_parked;
ALTER TABLE pushes DROP CONSTRAINT pushes_state_check;
UPDATE pushes SET state = 'dropped' WHERE state = 'parked';
ALTER TABLE pushes
    ADD CONSTRAINT pushes_state_check CHECK (state IN ('due', 'told', 'dropped')),
    DROP COLUMN attempts, DROP COLUMN failures, DROP COLUMN reason, DROP COLUMN traceback, DROP COLUMN parked_at,
    DROP COLUMN lease_owner, DROP COLUMN lease_until;
DROP INDEX idx_digests_parked;
ALTER TABLE digests DROP CONSTRAINT digests_state_check;
UPDATE digests SET state = 'due' WHERE state = 'parked';
ALTER TABLE digests
    ADD CONSTRAINT digests_state_check CHECK (state IN ('due', 'sent', 'dropped')),
    DROP COLUMN failures, DROP COLUMN reason, DROP COLUMN traceback, DROP COLUMN parked_at;
DROP INDEX idx_digest_owners_parked;
DROP INDEX idx_digest_owners_due;
CREATE INDEX idx_digest_owners_due ON digest_owners(due_at) WHERE is_pending;
ALTER TABLE digest_owners
    DROP COLUMN attempts, DROP COLUMN failures, DROP COLUMN reason, DROP COLUMN traceback, DROP COLUMN parked_at,
    DROP COLUMN lease_owner, DROP COLUMN lease_until;
DROP INDEX idx_previews_parked, idx_previews_fallback_parked, idx_previews_purge_parked;
DROP INDEX idx_previews_to_purge;
CREATE INDEX idx_previews_to_purge ON previews(share_id) WHERE state IN ('withdrawn', 'swept') AND purged_at IS NULL;
DROP INDEX idx_previews_without_card;
CREATE INDEX idx_previews_without_card ON previews(due_at) WHERE state = 'due' AND fallback IN ('wanted', 'drawing');
ALTER TABLE previews DROP CONSTRAINT previews_state_check, DROP CONSTRAINT previews_fallback_check;
UPDATE previews SET state = 'refused' WHERE state = 'parked';
UPDATE previews SET fallback = 'none' WHERE fallback = 'parked';
ALTER TABLE previews
    ADD CONSTRAINT previews_state_check CHECK (state IN ('due', 'done', 'withdrawn', 'refused', 'swept')),
    ADD CONSTRAINT previews_fallback_check CHECK (fallback IN ('wanted', 'drawing', 'drawn', 'none')),
    DROP COLUMN failures, DROP COLUMN traceback, DROP COLUMN parked_at,
    DROP COLUMN fallback_failures, DROP COLUMN fallback_reason, DROP COLUMN fallback_traceback,
    DROP COLUMN fallback_parked_at,
    DROP COLUMN purge_failures, DROP COLUMN purge_reason, DROP COLUMN purge_traceback, DROP COLUMN purge_parked_at;
ALTER TABLE previews RENAME COLUMN reason TO last_error;
