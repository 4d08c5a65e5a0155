"""Gives up pictures that the spec does not keep (spec, "Lifecycle rules"): not viewed for 30 days, or long expired.

A swept row's picture is removed by :mod:`streams.previews.purging`. The next view makes the row due again.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from clients import metrics
from clients.logs import get_logger
from clients.postgres import Database
from config.settings import SweepSettings
from streams.outbox.job_rows import JobRows
from streams.outboxes import PICTURE_SWEEP

_AT_ONCE = 1_000

# Without views the share's age decides, as the spec's rule has it; views of programs do not count as views.
_UNVIEWED = "s.view_count = 0 AND s.created_at <= now() - make_interval(days => $1)"
_OLD = f"""
    SELECT p.share_id::text AS id FROM previews p JOIN wishlist_shares s ON s.id = p.share_id
    WHERE p.state = 'done' AND ({_UNVIEWED} OR s.expires_at <= now() - make_interval(days => $2))
      AND p.share_id::text <> ALL($3::text[])
    LIMIT $4"""
_SWEEP = f"""
    UPDATE previews p SET state = 'swept', swept_at = now(), rendered_at = NULL, purged_at = NULL,
           fallback = 'wanted'
    FROM wishlist_shares s
    WHERE s.id = p.share_id AND p.share_id = ANY($2::uuid[]) AND p.state = 'done'
    RETURNING {_UNVIEWED} AS unviewed"""


class PreviewSweep:
    """Once a day, and when the worker starts. Two sweeps at once do no harm: each row is swept once."""

    def __init__(self, database: Database, settings: SweepSettings) -> None:
        self._database = database
        self._settings = settings
        self._rows = JobRows(database, PICTURE_SWEEP)

    async def sweep(self) -> dict[str, int]:
        """Mark the pictures that are to go, in batches that each stand for themselves; how many for which reason."""
        pool, settings = await self._database.pool(), self._settings
        swept = {"unviewed": 0, "expired": 0}

        async def mark(ids: Sequence[str]) -> None:
            rows = await pool.fetch(_SWEEP, settings.unviewed_days, [UUID(id) for id in ids])
            for row in rows:
                swept["unviewed" if row["unviewed"] else "expired"] += 1

        while True:
            blocked = await self._rows.blocked()
            old = await pool.fetch(_OLD, settings.unviewed_days, settings.expired_days, blocked, _AT_ONCE)
            await self._rows.work([row["id"] for row in old], mark)
            if len(old) < _AT_ONCE:
                break
        for reason, count in swept.items():
            metrics.PREVIEWS_SWEPT.labels(reason).inc(count)
        get_logger().info("pictures swept", **swept)
        return swept
