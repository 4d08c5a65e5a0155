"""Removes files from the archive's part of the bucket that its manifest does not name: nobody has ever read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from clients import metrics
from clients.logs import get_logger
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ArchiveSettings
from sinks.archive import LONGEST_UNLISTED
from streams.outbox.job_rows import JobRows
from streams.outboxes import ARCHIVE_SWEEP

# Twice the time in which a file that was put may still be listed.
_AGE = 2 * LONGEST_UNLISTED
_AT_ONCE = 1_000


class ArchiveSweep:
    """Two at once do no harm."""

    def __init__(self, database: Database, store: ObjectStore, settings: ArchiveSettings) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._rows = JobRows(database, ARCHIVE_SWEEP)

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
        removed += await self._remove_unlisted(old)
        get_logger().info("the archive is swept", removed=removed)
        return removed

    async def _remove_unlisted(self, keys: list[str]) -> int:
        pool = await self._database.pool()
        rows = await pool.fetch("SELECT key FROM archive_files WHERE key = ANY($1::text[])", keys)
        unlisted = set(keys) - {row["key"] for row in rows} - set(await self._rows.blocked())
        removed = await self._rows.work(sorted(unlisted), self._remove)
        metrics.ARCHIVE_SWEPT.inc(removed)
        return removed

    async def _remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._store.delete(key)
        pool = await self._database.pool()
        await pool.execute("DELETE FROM archive_discards WHERE key = ANY($1::text[])", keys)
