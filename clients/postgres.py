"""The pool of PostgreSQL connections."""

from __future__ import annotations

import asyncpg

from config.settings import PostgresSettings


async def open_pool(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool that connects lazily, so that a database that is away does not keep a process from starting."""
    return await asyncpg.create_pool(
        settings.dsn,
        min_size=0,
        max_size=settings.pool_size,
        command_timeout=settings.command_timeout_seconds,
        timeout=5,
        server_settings={"timezone": "UTC", "application_name": "wishlist-social"},
    )
