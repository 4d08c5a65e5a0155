"""Gives up pictures that the spec does not keep (spec, "Lifecycle rules"): not viewed for 30 days, or long expired.

A swept row's picture is removed by :mod:`streams.preview_purge`. The next view makes the row due again.
"""

from __future__ import annotations

import asyncio

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from config.settings import SweepSettings

_AT_ONCE = 1_000
_RETRY_SECONDS = 60.0

# Without views the share's age decides, as the spec's rule has it; views of programs do not count as views.
_SWEEP = """
    UPDATE previews p SET state = 'swept', swept_at = now(), rendered_at = NULL, purged_at = NULL,
           fallback = 'wanted'
    FROM (SELECT p.share_id, s.view_count = 0 AND s.created_at <= now() - make_interval(days => $1) AS unviewed
          FROM previews p JOIN wishlist_shares s ON s.id = p.share_id
          WHERE p.state = 'done'
            AND (s.view_count = 0 AND s.created_at <= now() - make_interval(days => $1)
                 OR s.expires_at <= now() - make_interval(days => $2))
          LIMIT $3 FOR UPDATE OF p SKIP LOCKED) old
    WHERE p.share_id = old.share_id
    RETURNING old.unviewed"""


async def sweep(connection: asyncpg.Connection | PoolConnectionProxy, settings: SweepSettings) -> dict[str, int]:
    """Mark what is to go, in batches that each stand for themselves; how many for which reason.

    Two sweeps at once do no harm: each row is one's or the other's.
    """
    swept = {"unviewed": 0, "expired": 0}
    while True:
        rows = await connection.fetch(_SWEEP, settings.unviewed_days, settings.expired_days, _AT_ONCE)
        for row in rows:
            swept["unviewed" if row["unviewed"] else "expired"] += 1
        if len(rows) < _AT_ONCE:
            break
    for reason, count in swept.items():
        metrics.PREVIEWS_SWEPT.labels(reason).inc(count)
    return swept


class PreviewSweep:
    """Sweeps when the worker starts, and once a day from then on."""

    def __init__(self, database: Database, settings: SweepSettings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                pool = await self._database.pool()
                async with pool.acquire() as connection:
                    swept = await sweep(connection, self._settings)
                get_logger().info("pictures swept", **swept)
                await asyncio.sleep(self._settings.every_hours * 3_600)
            except FAULTS as error:
                get_logger().warning("the sweep waits", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)
