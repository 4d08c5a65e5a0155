DROP TABLE wishlist_shares;
