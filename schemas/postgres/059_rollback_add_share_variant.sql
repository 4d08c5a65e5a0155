ALTER TABLE wishlist_shares DROP COLUMN variant;
