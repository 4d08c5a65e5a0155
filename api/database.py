"""PostgreSQL with an end to every wait: for a connection, and for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from clients.postgres import outages_named


class Database:
    """The pool's short forms. What they raise where the database is away: :class:`clients.faults.Unavailable`."""

    def __init__(self, pool: asyncpg.Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds

    async def row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row."""
        with outages_named():
            async with self._pool.acquire(timeout=self._seconds) as connection:
                return await connection.fetchrow(statement, *arguments, timeout=self._seconds)

    async def rows(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Every row."""
        with outages_named():
            async with self._pool.acquire(timeout=self._seconds) as connection:
                return await connection.fetch(statement, *arguments, timeout=self._seconds)

    async def value(self, statement: str, *arguments: Any) -> Any:
        """The first row's first column."""
        with outages_named():
            async with self._pool.acquire(timeout=self._seconds) as connection:
                return await connection.fetchval(statement, *arguments, timeout=self._seconds)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Nothing but the effect."""
        with outages_named():
            async with self._pool.acquire(timeout=self._seconds) as connection:
                await connection.execute(statement, *arguments, timeout=self._seconds)
