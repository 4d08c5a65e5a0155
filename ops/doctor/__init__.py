"""``wishlist doctor``: looks at every part at once and says what is wrong, what users notice of it, and what to do."""
