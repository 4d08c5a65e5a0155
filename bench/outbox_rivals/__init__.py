"""The relays that one outbox worker has taken the place of, as of November 2026: their SQL and their loops."""
