"""svc-og-renderer: turns a wishlist into the 1200x630 picture that links to it are previewed with."""
