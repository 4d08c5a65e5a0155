"""Background work of the agent ``archive``."""
