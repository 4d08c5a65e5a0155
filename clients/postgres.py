"""The pool of PostgreSQL connections."""

from __future__ import annotations

import asyncio

import asyncpg

from config.settings import PostgresSettings

# What the driver raises while the database is away, comes back, or ends a connection. InternalClientError is no
# defect: a pool may hand out a connection in the very moment in which the server says that it ends it.
FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)


class PlainConnection(asyncpg.Connection):
    """Leaves nothing behind when it goes back to the pool, and so needs no round trip to be cleaned.

    asyncpg still rolls back a transaction that was left open. Who takes a session's lock releases it, or terminates.
    """

    def get_reset_query(self) -> str:
        """Nothing."""
        return ""


async def open_pool(settings: PostgresSettings, schemas: str = "public") -> asyncpg.Pool:
    """A pool that connects lazily, so that a database that is away does not keep a process from starting.

    *schemas*: where tables are looked for, in this order.
    """
    return await asyncpg.create_pool(
        settings.dsn,
        connection_class=PlainConnection,
        min_size=0,
        max_size=settings.pool_size,
        command_timeout=settings.command_timeout_seconds,
        timeout=5,
        server_settings={
            "timezone": "UTC",
            "search_path": schemas,
            "application_name": "wishlist-social",
            # A worker that freezes in a transaction must not hold its watermarks' locks against the next owner.
            "idle_in_transaction_session_timeout": "5s",
        },
    )


class Database:
    """A pool that is made on first use: for code that is put together before an event loop runs."""

    def __init__(self, settings: PostgresSettings, schemas: str = "public") -> None:
        """See :func:`open_pool`."""
        self._settings = settings
        self._schemas = schemas
        self._lock = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    async def pool(self) -> asyncpg.Pool:
        """The one pool of this process."""
        async with self._lock:
            if self._pool is None:
                self._pool = await open_pool(self._settings, self._schemas)
        return self._pool
