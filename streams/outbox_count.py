"""Counts the rows of every outbox: what the alert ``wishlist-rows-parked`` looks at."""

from __future__ import annotations

from clients import metrics
from clients.postgres import Database
from streams.outboxes import ALL, OUTBOXES


class OutboxCount:
    """Keeps the gauge of due and of parked rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> None:
        """Count once; while PostgreSQL cannot be asked the last counts stand."""
        pool = await self._database.pool()
        for table in OUTBOXES:
            due = await pool.fetchval(f"SELECT count(*) FROM {table.table} WHERE {table.scope} AND {table.pending}")
            metrics.OUTBOX_ROWS.labels(table.name, "due").set(due)
        for table in ALL:
            parked = await pool.fetchval(f"SELECT count(*) FROM {table.table} WHERE {table.is_parked}")
            metrics.OUTBOX_ROWS.labels(table.name, "parked").set(parked)
