"""Gives up deliveries to webhooks that have become too late, and removes those that are long settled."""

from __future__ import annotations

import asyncio

from clients import metrics
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from config.settings import WebhookSettings

_EVERY_SECONDS = 60.0

# A batch that was being written while its webhook was disabled leaves deliveries behind.
_GIVE_UP = """
    UPDATE webhook_deliveries d
    SET state = CASE WHEN w.disabled_at IS NULL THEN 'late' ELSE 'dropped' END
    FROM webhooks w
    WHERE d.state = 'due' AND w.id = d.webhook_id
      AND (d.happened_at < now() - make_interval(secs => $1) OR w.disabled_at IS NOT NULL)
    RETURNING d.state"""
# Younger rows say that an event has been told already.
_FORGET = "DELETE FROM webhook_deliveries WHERE state <> 'due' AND happened_at < now() - make_interval(secs => $1)"


class WebhookUpkeep:
    """Two at once do no harm."""

    def __init__(self, database: Database, settings: WebhookSettings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        """Look once a minute until cancelled."""
        while True:
            try:
                await self.round()
            except FAULTS as error:
                get_logger().warning("upkeep of webhooks waits", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_EVERY_SECONDS)

    async def round(self) -> None:
        """Once."""
        pool, settings = await self._database.pool(), self._settings
        for row in await pool.fetch(_GIVE_UP, settings.give_up_seconds):
            metrics.WEBHOOKS.labels(row["state"]).inc()
        await pool.execute(_FORGET, settings.give_up_seconds + settings.latest_seconds)
