"""PostgreSQL with an end to every wait: for a connection, and for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

# A statement of the API takes a few milliseconds; what takes this long is a database in trouble.
WAIT_SECONDS = 2.0


class Database:
    """The pool's short forms. What they raise where the database is away: :data:`api.errors.DATABASE_AWAY`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row."""
        async with self._pool.acquire(timeout=WAIT_SECONDS) as connection:
            return await connection.fetchrow(statement, *arguments, timeout=WAIT_SECONDS)

    async def rows(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Every row."""
        async with self._pool.acquire(timeout=WAIT_SECONDS) as connection:
            return await connection.fetch(statement, *arguments, timeout=WAIT_SECONDS)

    async def value(self, statement: str, *arguments: Any) -> Any:
        """The first row's first column."""
        async with self._pool.acquire(timeout=WAIT_SECONDS) as connection:
            return await connection.fetchval(statement, *arguments, timeout=WAIT_SECONDS)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Nothing but the effect."""
        async with self._pool.acquire(timeout=WAIT_SECONDS) as connection:
            await connection.execute(statement, *arguments, timeout=WAIT_SECONDS)
