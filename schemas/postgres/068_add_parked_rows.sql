-- A row of an outbox that fails by itself is parked after five failures: it keeps its reason, its neighbours go on, and an
-- operator sends it again or discards it (docs/operations.md, "Parked rows"). Rows wait under a lease in every outbox.
ALTER TABLE previews DROP CONSTRAINT previews_state_check, DROP CONSTRAINT previews_fallback_check;
ALTER TABLE previews RENAME COLUMN last_error TO reason;
ALTER TABLE previews
    ADD CONSTRAINT previews_state_check
        CHECK (state IN ('due', 'done', 'withdrawn', 'refused', 'swept', 'parked')),
    ADD CONSTRAINT previews_fallback_check CHECK (fallback IN ('wanted', 'drawing', 'drawn', 'none', 'parked')),
    ADD COLUMN failures            INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN traceback           TEXT,
    ADD COLUMN parked_at           TIMESTAMP WITH TIME ZONE,
    ADD COLUMN fallback_failures   INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN fallback_reason     TEXT,
    ADD COLUMN fallback_traceback  TEXT,
    ADD COLUMN fallback_parked_at  TIMESTAMP WITH TIME ZONE,
    ADD COLUMN purge_failures      INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN purge_reason        TEXT,
    ADD COLUMN purge_traceback     TEXT,
    ADD COLUMN purge_parked_at     TIMESTAMP WITH TIME ZONE;
DROP INDEX idx_previews_without_card;
CREATE INDEX idx_previews_without_card ON previews(due_at)
    WHERE state IN ('due', 'parked') AND fallback IN ('wanted', 'drawing');
DROP INDEX idx_previews_to_purge;
CREATE INDEX idx_previews_to_purge ON previews(share_id)
    WHERE state IN ('withdrawn', 'swept') AND purged_at IS NULL AND purge_parked_at IS NULL;
CREATE INDEX idx_previews_parked ON previews(parked_at) WHERE state = 'parked';
CREATE INDEX idx_previews_fallback_parked ON previews(fallback_parked_at) WHERE fallback = 'parked';
CREATE INDEX idx_previews_purge_parked ON previews(purge_parked_at) WHERE purge_parked_at IS NOT NULL;

ALTER TABLE digest_owners
    ADD COLUMN attempts     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN failures     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason       TEXT,
    ADD COLUMN traceback    TEXT,
    ADD COLUMN parked_at    TIMESTAMP WITH TIME ZONE,
    ADD COLUMN lease_owner  TEXT,
    ADD COLUMN lease_until  TIMESTAMP WITH TIME ZONE;
DROP INDEX idx_digest_owners_due;
-- An owner without a plan, whose due_at is NULL, comes first.
CREATE INDEX idx_digest_owners_due ON digest_owners((coalesce(due_at, '-infinity'::timestamptz)))
    WHERE is_pending AND parked_at IS NULL;
CREATE INDEX idx_digest_owners_parked ON digest_owners(parked_at) WHERE parked_at IS NOT NULL;

ALTER TABLE digests DROP CONSTRAINT digests_state_check;
ALTER TABLE digests
    ADD CONSTRAINT digests_state_check CHECK (state IN ('due', 'sent', 'dropped', 'parked')),
    ADD COLUMN failures   INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason     TEXT,
    ADD COLUMN traceback  TEXT,
    ADD COLUMN parked_at  TIMESTAMP WITH TIME ZONE;
CREATE INDEX idx_digests_parked ON digests(parked_at) WHERE state = 'parked';

ALTER TABLE pushes DROP CONSTRAINT pushes_state_check;
ALTER TABLE pushes
    ADD CONSTRAINT pushes_state_check CHECK (state IN ('due', 'told', 'dropped', 'parked')),
    ADD COLUMN attempts     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN failures     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason       TEXT,
    ADD COLUMN traceback    TEXT,
    ADD COLUMN parked_at    TIMESTAMP WITH TIME ZONE,
    ADD COLUMN lease_owner  TEXT,
    ADD COLUMN lease_until  TIMESTAMP WITH TIME ZONE;
CREATE INDEX idx_pushes_parked ON pushes(parked_at) WHERE state = 'parked';

ALTER TABLE push_deliveries DROP CONSTRAINT push_deliveries_state_check;
ALTER TABLE push_deliveries
    ADD CONSTRAINT push_deliveries_state_check
        CHECK (state IN ('due', 'taken', 'refused', 'dropped', 'late', 'parked')),
    ADD COLUMN failures   INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason     TEXT,
    ADD COLUMN traceback  TEXT,
    ADD COLUMN parked_at  TIMESTAMP WITH TIME ZONE;
CREATE INDEX idx_push_deliveries_parked ON push_deliveries(parked_at) WHERE state = 'parked';

ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_state_check;
ALTER TABLE webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_state_check CHECK (state IN ('due', 'taken', 'dropped', 'late', 'parked')),
    ADD COLUMN failures     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason       TEXT,
    ADD COLUMN traceback    TEXT,
    ADD COLUMN parked_at    TIMESTAMP WITH TIME ZONE,
    ADD COLUMN lease_owner  TEXT,
    ADD COLUMN lease_until  TIMESTAMP WITH TIME ZONE;
CREATE INDEX idx_webhook_deliveries_parked ON webhook_deliveries(parked_at) WHERE state = 'parked';

ALTER TABLE ended_lists
    ADD COLUMN due_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    ADD COLUMN attempts     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN failures     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason       TEXT,
    ADD COLUMN traceback    TEXT,
    ADD COLUMN parked_at    TIMESTAMP WITH TIME ZONE,
    ADD COLUMN lease_owner  TEXT,
    ADD COLUMN lease_until  TIMESTAMP WITH TIME ZONE;

ALTER TABLE event_outbox
    ADD COLUMN due_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    ADD COLUMN failures   INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN reason     TEXT,
    ADD COLUMN traceback  TEXT,
    ADD COLUMN parked_at  TIMESTAMP WITH TIME ZONE;

-- Rows that a periodic job failed on, by the job's name and the row's id in whichever table or bucket it is.
CREATE TABLE job_rows (
    job        TEXT NOT NULL,
    row_id     TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'parked', 'discarded')),
    due_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    failures   INTEGER NOT NULL DEFAULT 0,
    reason     TEXT,
    traceback  TEXT,
    parked_at  TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (job, row_id)
);

-- The audit of dead letters holds parked rows too.
CREATE TABLE dead_letter_act_rows (
    act_id   UUID NOT NULL REFERENCES dead_letter_acts(id),
    outbox   TEXT NOT NULL,
    row_id   TEXT NOT NULL,
    done_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    PRIMARY KEY (act_id, outbox, row_id)
);
CREATE INDEX idx_dead_letter_act_rows ON dead_letter_act_rows(outbox, row_id);
