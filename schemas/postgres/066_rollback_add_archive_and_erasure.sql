DROP TRIGGER remember_deleted ON users;
DROP TRIGGER end_shares ON wishlists;
DROP FUNCTION remember_deleted_user();
DROP FUNCTION remove_user(UUID, TEXT);
DROP FUNCTION end_shares_of_deleted_list();
DROP INDEX idx_previews_wishlist;
DROP TABLE ended_lists, erasures, removed_users, archive_discards, archive_spans, archive_files;
