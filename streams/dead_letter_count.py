"""Counts the dead letters that nobody has dealt with: what the alert ``wishlist-dlq-not-empty`` looks at."""

from __future__ import annotations

from clients import metrics
from clients.postgres import Database

# A group that reads but has no letters counts none: no number at all would mean that nobody counts.
_COUNT = """
    SELECT consumer_group, coalesce(open, 0) AS open
    FROM (SELECT DISTINCT consumer_group FROM watermarks) reading
    FULL JOIN (SELECT consumer_group, count(*) AS open FROM dead_letters WHERE state = 'open' GROUP BY 1) letters
         USING (consumer_group)"""


class DeadLetterCount:
    """Keeps the gauge of open dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups: set[str] = set()

    async def count(self) -> None:
        """Count once; while PostgreSQL cannot be asked the last count stands."""
        rows = await (await self._database.pool()).fetch(_COUNT)
        counts = {row["consumer_group"]: row["open"] for row in rows}
        self._groups |= counts.keys()
        for group in self._groups:
            metrics.DEAD_LETTERS_OPEN.labels(group).set(counts.get(group, 0))
