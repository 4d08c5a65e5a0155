"""Cards: what is on them, how they look, and drawing them without a browser."""
