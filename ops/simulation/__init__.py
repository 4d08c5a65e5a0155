"""Believable traffic, the same for the same seed: who there is, what they do, and ways to have it happen."""
