DROP TABLE wishlist_items, wishlists, products, users;
