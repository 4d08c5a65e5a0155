"""Typed settings, one model per component, and everything that is configuration as data."""
