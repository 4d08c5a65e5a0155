"""Background work of the agent ``webhook``: calling webhooks, giving up late calls."""
