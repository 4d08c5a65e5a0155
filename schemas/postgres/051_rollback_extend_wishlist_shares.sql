DROP TRIGGER forget_visitors ON wishlist_shares;
DROP FUNCTION forget_visitors_of_deleted_shares();
DROP TABLE share_visitors, share_item_visibility;
ALTER TABLE wishlist_shares RESET (fillfactor);
ALTER TABLE wishlist_shares
    DROP COLUMN message, DROP COLUMN raw_view_count, DROP COLUMN unique_viewers, DROP COLUMN last_viewed_at,
    DROP COLUMN revoked_at, DROP COLUMN expired_at, DROP COLUMN settings_at, DROP COLUMN settings_event,
    DROP COLUMN snapshot_items;
