-- The experiment's variant that the owner saw when they shared: what happens to the share later is told with it.
ALTER TABLE wishlist_shares ADD COLUMN variant TEXT;
