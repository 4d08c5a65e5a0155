"""Gives up deliveries to webhooks that have become too late, and removes those that are long settled."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from clients import metrics
from clients.postgres import Database
from config.settings import WebhookSettings
from streams.outbox.job_rows import JobRows
from streams.outboxes import LATE_CALLS

EVERY_SECONDS = 60.0
_AT_ONCE = 1_000

# A batch that was being written while its webhook was disabled leaves deliveries behind.
_LATE = """
    SELECT d.id::text FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
    WHERE d.state = 'due' AND (d.happened_at < now() - make_interval(secs => $1) OR w.disabled_at IS NOT NULL)
      AND d.id::text <> ALL($2::text[]) LIMIT $3"""
_GIVE_UP = """
    UPDATE webhook_deliveries d
    SET state = CASE WHEN w.disabled_at IS NULL THEN 'late' ELSE 'dropped' END
    FROM webhooks w
    WHERE w.id = d.webhook_id AND d.state = 'due' AND d.id = ANY($1::uuid[])
    RETURNING d.state"""
# Younger rows say that an event has been told already; parked rows are an operator's.
_FORGET = """
    DELETE FROM webhook_deliveries
    WHERE state NOT IN ('due', 'parked') AND happened_at < now() - make_interval(secs => $1)"""


class WebhookMaintenance:
    """Two at once do no harm."""

    def __init__(self, database: Database, settings: WebhookSettings) -> None:
        self._database = database
        self._settings = settings
        self._rows = JobRows(database, LATE_CALLS)

    async def round(self) -> bool:
        """Once; whether there is more to give up."""
        pool, settings = await self._database.pool(), self._settings
        late = await pool.fetch(_LATE, settings.give_up_seconds, await self._rows.blocked(), _AT_ONCE)
        given_up = await self._rows.work([row["id"] for row in late], self._give_up)
        await pool.execute(_FORGET, settings.give_up_seconds + settings.latest_seconds)
        return given_up == _AT_ONCE

    async def _give_up(self, ids: Sequence[str]) -> None:
        pool = await self._database.pool()
        for row in await pool.fetch(_GIVE_UP, [UUID(id) for id in ids]):
            metrics.WEBHOOKS.labels(row["state"]).inc()
