"""Removes the pictures of withdrawn shares from the bucket."""

from __future__ import annotations

import asyncio

import asyncpg

from clients.logs import get_logger
from clients.objects import ObjectStore, ObjectStoreError, preview_key
from clients.postgres import Database

_IDLE_SECONDS = 1.0
_AT_ONCE = 20

# A share that is being rendered still waits: its picture would come after the purge.
_TO_PURGE = """
    SELECT share_id, share_token FROM previews
    WHERE state = 'withdrawn' AND purged_at IS NULL AND (lease_until IS NULL OR lease_until < now())
    LIMIT $1"""


class PreviewPurge:
    """Works off withdrawn rows. Removing twice is harmless, so that no lease is needed."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def run(self) -> None:
        """Purge until cancelled."""
        while True:
            try:
                purged = await self._purge_some(await self._database.pool())
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ObjectStoreError) as error:
                get_logger().warning("pictures wait to be removed", error=f"{type(error).__name__}: {error}")
                purged = 0
            if not purged:
                await asyncio.sleep(_IDLE_SECONDS)

    async def _purge_some(self, pool: asyncpg.Pool) -> int:
        rows = await pool.fetch(_TO_PURGE, _AT_ONCE)
        for row in rows:
            await self._store.delete(preview_key(row["share_token"]))
            await pool.execute("UPDATE previews SET purged_at = now() WHERE share_id = $1", row["share_id"])
        return len(rows)
