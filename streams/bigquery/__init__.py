"""Background work of the agent ``warehouse``."""
