"""Announces shares that have expired: ``share_expired``, once each, by way of the outbox.

A share is marked as expired and its event put into the outbox in one transaction, so that a kill at any point leaves
both or neither, and any number of workers share the work. The relay sends an event again where it was killed between
the broker's word and its own note of it; the event's id is derived from share and expiry, so that every sink knows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics, outbox
from clients.log_ends import LogEnds
from clients.logs import get_logger
from clients.postgres import Database
from config.settings import ExpirySettings
from schemas.codec import Codec
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import expiry_event_id
from streams.outbox.job_rows import JobRows
from streams.outboxes import EXPIRIES

_AT_ONCE = 500
# Expiries that may wait in the outbox: what owners do is sent through it too, and must not stand behind a day of them.
_MOST_WAITING = 2_000
_PAUSE_SECONDS = 0.2
_APPLIED_WITHIN_SECONDS = 60.0

_IS_DUE = "s.expires_at <= $1 AND s.expired_at IS NULL AND NOT s.is_revoked"
# A share with events in the outbox may have a later expiry among them.
_DUE = f"""
    SELECT s.id::text FROM wishlist_shares s
    WHERE {_IS_DUE} AND NOT EXISTS (SELECT FROM event_outbox o WHERE o.share_token = s.share_token)
      AND s.id::text <> ALL($3::text[])
    ORDER BY s.expires_at LIMIT $2"""
# The share store writes the same when the event comes back to it.
_EXPIRE = f"""
    WITH due AS (
        SELECT s.id FROM wishlist_shares s
        WHERE s.id = ANY($2::uuid[]) AND {_IS_DUE}
          AND NOT EXISTS (SELECT FROM event_outbox o WHERE o.share_token = s.share_token)
        ORDER BY s.expires_at FOR UPDATE OF s SKIP LOCKED)
    UPDATE wishlist_shares s SET expired_at = date_trunc('milliseconds', s.expires_at),
           updated_at = greatest(s.updated_at, date_trunc('milliseconds', s.expires_at))
    FROM due WHERE s.id = due.id
    RETURNING s.id, s.wishlist_id, s.created_by, s.share_token, s.share_channel, s.variant, s.expired_at"""
_WAITING = "SELECT count(*) FROM (SELECT FROM event_outbox WHERE event_type = $1 LIMIT $2) waiting"
_WATERMARKS = "SELECT partition, next_offset FROM watermarks WHERE consumer_group = $1 AND topic = $2"


async def expire(
    connection: asyncpg.Connection | PoolConnectionProxy, codec: Codec, until: datetime, shares: Sequence[UUID]
) -> int:
    """Mark those of *shares* that had expired by *until* and put their events into the outbox; how many.

    The row's lock decides against an owner who moves the expiry: the second sees what the first has done.
    """
    async with connection.transaction():
        rows = await connection.fetch(_EXPIRE, until, shares)
        await outbox.append(connection, codec, *map(_event, rows))
    metrics.SHARES_EXPIRED.inc(len(rows))
    return len(rows)


def _event(row: asyncpg.Record) -> ShareEvent:
    return ShareEvent(
        event_type=EventType.EXPIRED,
        wishlist_id=row["wishlist_id"],
        user_id=row["created_by"],
        share_token=row["share_token"],
        share_channel=Channel(row["share_channel"] or Channel.UNKNOWN),
        item_count=0,
        timestamp=row["expired_at"],
        event_id=expiry_event_id(row["id"], row["expired_at"]),
        share_id=row["id"],
        expires_at=row["expired_at"],
        variant=row["variant"],
    )


class ExpirySweep:
    """Looks every few seconds for shares that have expired, by PostgreSQL's clock."""

    def __init__(
        self, *, database: Database, codec: Codec, ends: LogEnds, topic: str, group: str, settings: ExpirySettings
    ) -> None:
        self._database = database
        self._codec = codec
        self._ends = ends
        self._topic = topic
        self._group = group
        self._settings = settings
        self._rows = JobRows(database, EXPIRIES)

    async def sweep(self) -> int:
        """Announce every share that has expired by now; how many: none where the share store lags behind."""
        pool = await self._database.pool()
        until: datetime = await pool.fetchval("SELECT now() - make_interval(secs => $1)", self._settings.grace_seconds)
        if behind := await self._behind(pool):
            get_logger().warning("the expiry sweep waits", error=behind)
            return 0
        swept = 0
        while True:
            if await pool.fetchval(_WAITING, EventType.EXPIRED, _MOST_WAITING) >= _MOST_WAITING:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            due = [row["id"] for row in await pool.fetch(_DUE, until, _AT_ONCE, await self._rows.blocked())]

            async def announce(shares: Sequence[str]) -> None:
                async with pool.acquire() as connection:
                    await expire(connection, self._codec, until, [UUID(share) for share in shares])

            swept += await self._rows.work(due, announce)
            if len(due) < _AT_ONCE:
                break
        if swept:
            get_logger().info("shares expired", shares=swept)
        metrics.EXPIRIES_UNTIL.set(until.timestamp())
        return swept

    async def _behind(self, pool: asyncpg.Pool) -> str | None:
        """Why the share store may not know yet what the topic holds by now; None where it does, or soon did.

        A share may stand in it under an expiry that its owner moved long ago: after days of downtime, or where the
        store is filled anew from the topic's start.
        """
        ends = await self._ends.of_topic(self._topic)
        if ends is None:
            return f"no broker tells where {self._topic} ends"
        give_up = asyncio.get_running_loop().time() + _APPLIED_WITHIN_SECONDS
        while True:
            marks = {
                row["partition"]: row["next_offset"] for row in await pool.fetch(_WATERMARKS, self._group, self._topic)
            }
            if all(marks.get(number, 0) >= end for number, end in ends.items()):
                return None
            if asyncio.get_running_loop().time() > give_up:
                return f"{self._group} has not applied what {self._topic} holds"
            await asyncio.sleep(_PAUSE_SECONDS)
