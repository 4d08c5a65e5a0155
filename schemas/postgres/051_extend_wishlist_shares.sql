-- What the spec's events say of a share and its table 048 has no column for.
ALTER TABLE wishlist_shares
    ADD COLUMN message         TEXT,
    ADD COLUMN raw_view_count  INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN unique_viewers  INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN last_viewed_at  TIMESTAMP WITH TIME ZONE,
    ADD COLUMN revoked_at      TIMESTAMP WITH TIME ZONE,
    ADD COLUMN expired_at      TIMESTAMP WITH TIME ZONE,
    ADD COLUMN settings_at     TIMESTAMP WITH TIME ZONE,
    ADD COLUMN settings_event  UUID,
    ADD COLUMN snapshot_items  UUID[];

-- Counters move all the time and no index holds them: room on each page keeps an update from touching six indexes.
ALTER TABLE wishlist_shares SET (fillfactor = 50);

-- Per-item visibility: the newest word by (changed_at, event_id) wins, in whatever order words arrive.
CREATE TABLE share_item_visibility (
    share_id    UUID NOT NULL REFERENCES wishlist_shares(id) ON DELETE CASCADE,
    item_id     UUID NOT NULL,
    visible     BOOLEAN NOT NULL,
    changed_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    event_id    UUID NOT NULL,
    PRIMARY KEY (share_id, item_id)
);

-- One row for each visitor of a share and day: unique counts without addresses.
-- It goes with its share by a trigger on its deletion; a foreign key would check the share again for every view.
CREATE TABLE share_visitors (
    share_id      UUID NOT NULL,
    day           DATE NOT NULL,
    visitor_hash  TEXT NOT NULL,
    PRIMARY KEY (share_id, day, visitor_hash)
);
CREATE FUNCTION forget_visitors_of_deleted_shares() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM share_visitors v USING deleted d WHERE v.share_id = d.id;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_visitors AFTER DELETE ON wishlist_shares
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION forget_visitors_of_deleted_shares();
