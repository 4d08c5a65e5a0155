"""``wishlist replay``: events that have passed go through a sink once more."""
