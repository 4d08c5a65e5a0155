"""Other ways to draw the same cards."""
