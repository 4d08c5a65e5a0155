"""Removes files from the archive's part of the bucket that its manifest does not name: nobody has ever read them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from clients import metrics
from clients.logs import get_logger
from clients.objects import ObjectStore, ObjectStoreError
from clients.postgres import FAULTS, Database
from config.settings import ArchiveSettings
from sinks.archive import LONGEST_UNLISTED

# Twice the time in which a file that was put may still be listed.
_AGE = 2 * LONGEST_UNLISTED
_RETRY_SECONDS = 60.0
_AT_ONCE = 1_000


class ArchiveSweep:
    """Two at once do no harm."""

    def __init__(self, database: Database, store: ObjectStore, settings: ArchiveSettings) -> None:
        self._database = database
        self._store = store
        self._settings = settings

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                removed = await self.sweep()
                get_logger().info("the archive is swept", removed=removed)
                await asyncio.sleep(self._settings.sweep_seconds)
            except (*FAULTS, ObjectStoreError) as error:
                get_logger().warning("the archive's sweep waits", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def sweep(self, older_than: timedelta = _AGE) -> int:
        """Remove what is that old and not listed; how many files that were."""
        removed = 0
        old: list[str] = []
        async for found in self._store.listing(self._settings.prefix):
            if found.age >= older_than:
                old.append(found.key)
            if len(old) == _AT_ONCE:
                removed += await self._remove_unlisted(old)
                old = []
        return removed + await self._remove_unlisted(old)

    async def _remove_unlisted(self, keys: list[str]) -> int:
        pool = await self._database.pool()
        rows = await pool.fetch("SELECT key FROM archive_files WHERE key = ANY($1::text[])", keys)
        unlisted = set(keys) - {row["key"] for row in rows}
        for key in unlisted:
            await self._store.delete(key)
        await pool.execute("DELETE FROM archive_discards WHERE key = ANY($1::text[])", list(unlisted))
        metrics.ARCHIVE_SWEPT.inc(len(unlisted))
        return len(unlisted)
