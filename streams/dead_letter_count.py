"""Counts the dead letters that nobody has dealt with: what the alert ``wishlist-dlq-not-empty`` looks at."""

from __future__ import annotations

import asyncio

import asyncpg

from clients import metrics
from clients.logs import get_logger
from clients.postgres import Database
from config.settings import DlqSettings
from sinks import postgres
from sinks.contract import Reject, Retry

# A group that reads but has no letters counts none: no number at all would mean that nobody counts.
_COUNT = """
    SELECT consumer_group, coalesce(open, 0) AS open
    FROM (SELECT DISTINCT consumer_group FROM watermarks) reading
    FULL JOIN (SELECT consumer_group, count(*) AS open FROM dead_letters WHERE state = 'open' GROUP BY 1) letters
         USING (consumer_group)"""


class DeadLetterCount:
    """Keeps the gauge of open dead letters."""

    def __init__(self, database: Database, settings: DlqSettings) -> None:
        self._database = database
        self._seconds = settings.count_seconds
        self._groups: set[str] = set()

    async def run(self) -> None:
        """Count for ever; while PostgreSQL cannot be asked the last count stands."""
        while True:
            try:
                await self.count()
            except (Retry, Reject, asyncpg.PostgresError) as error:
                get_logger().warning("dead letters cannot be counted", error=str(error))
            await asyncio.sleep(self._seconds)

    async def count(self) -> None:
        """Count once."""
        async with postgres.transaction(self._database) as connection:
            rows = await connection.fetch(_COUNT)
        counts = {row["consumer_group"]: row["open"] for row in rows}
        self._groups |= counts.keys()
        for group in self._groups:
            metrics.DEAD_LETTERS_OPEN.labels(group).set(counts.get(group, 0))
