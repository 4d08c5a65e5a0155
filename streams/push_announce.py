"""Turns what an owner is to be told into one delivery for each of their devices, unless they want to be left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from notifications.quiet import quiet_until
from streams.owner_zone import owner_zone

CATEGORY, CHANNEL = "social", "push"
_AT_ONCE = 500

_DUE = f"""
    SELECT p.id, u.time_zone, u.quiet_start, u.quiet_end, coalesce(n.enabled, true) AS wanted
    FROM pushes p JOIN users u ON u.id = p.owner_id
    LEFT JOIN notification_preferences n ON (n.user_id, n.category, n.channel) = (u.id, '{CATEGORY}', '{CHANNEL}')
    WHERE p.state = 'due' AND p.due_at <= $2 ORDER BY p.due_at LIMIT $1 FOR UPDATE OF p SKIP LOCKED"""
_POSTPONE = """
    UPDATE pushes p SET due_at = of.due_at FROM unnest($1::uuid[], $2::timestamptz[]) AS of(id, due_at)
    WHERE p.id = of.id"""
_DELIVER = """
    INSERT INTO push_deliveries (push_id, device_id, due_at)
    SELECT p.id, d.id, now() FROM pushes p JOIN devices d ON d.user_id = p.owner_id WHERE p.id = ANY($1::uuid[])
    RETURNING push_id"""


class PushAnnouncer:
    """*clock* says what time it is (aware). Two at once take different owners."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._clock = clock

    async def run(self, check_seconds: float) -> None:
        """Announce until cancelled."""
        while True:
            try:
                if not await self.round():
                    await asyncio.sleep(check_seconds)
            except FAULTS as error:
                get_logger().warning("announcing waits", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def round(self) -> int:
        """See to those who are due, a batch of them; how many there were."""
        now = self._clock()
        async with (await self._database.pool()).acquire() as connection, connection.transaction():
            due = await connection.fetch(_DUE, _AT_ONCE, now)
            quiet = {row["id"]: over for row in due if row["wanted"] and (over := _quiet_until(now, row)) is not None}
            told = [row["id"] for row in due if row["wanted"] and row["id"] not in quiet]
            dropped = [row["id"] for row in due if not row["wanted"]]
            if quiet:
                await connection.execute(_POSTPONE, list(quiet), list(quiet.values()))
            await connection.execute("UPDATE pushes SET state = 'dropped' WHERE id = ANY($1::uuid[])", dropped)
            await _tell(connection, told, now)
        metrics.PUSHES.labels("quiet").inc(len(quiet))
        metrics.PUSHES.labels("not_wanted").inc(len(dropped))
        return len(due)


async def _tell(connection: PoolConnectionProxy, pushes: Sequence[object], now: datetime) -> None:
    if not pushes:
        return
    reached = {row["push_id"] for row in await connection.fetch(_DELIVER, pushes)}
    await connection.execute("UPDATE pushes SET state = 'told', told_at = $2 WHERE id = ANY($1::uuid[])", pushes, now)
    metrics.PUSHES.labels("told").inc(len(reached))
    metrics.PUSHES.labels("no_device").inc(len(pushes) - len(reached))


def _quiet_until(now: datetime, owner: asyncpg.Record) -> datetime | None:
    zone = owner_zone(owner["time_zone"], metrics.PUSHES)
    return quiet_until(now, zone, owner["quiet_start"], owner["quiet_end"])
