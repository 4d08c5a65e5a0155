"""Keeps the table ``ledger`` in weekly partitions, made ahead of time and dropped whole once they are old.

Event ids are UUIDs of version 7, so a range of ids is a range of time. What is in no partition of a week, such as ids
of other versions, is in ``ledger_default``; correctness never depends on a week's partition being there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

WEEK = timedelta(days=7)
# Longer than a dead letter lives (90 days): a redriven event is still known.
KEEP = timedelta(days=100)
AHEAD = timedelta(days=28)
# A worker's transaction takes milliseconds; what is longer must not make every worker queue behind us.
_LOCK_TIMEOUT = "10s"
_NAME = re.compile(r"^ledger_(\d{8})$")


@dataclass(frozen=True)
class Upkeep:
    """What was done: names of partitions made and dropped, rows moved out of and removed from the default one."""

    made: tuple[str, ...]
    dropped: tuple[str, ...]
    moved: int
    removed: int


def first_id_at(when: datetime) -> UUID:
    """The lowest id that a UUIDv7 of *when* or later can have."""
    return UUID(int=int(when.timestamp() * 1_000) << 80)


def week_of(when: datetime) -> datetime:
    """Monday 00:00 UTC of the week of *when*."""
    day = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


async def maintain(connection: asyncpg.Connection, now: datetime) -> Upkeep:
    """Make the partitions from :data:`KEEP` ago to :data:`AHEAD` of *now*, and drop older ones; safe to repeat.

    Each step is a transaction of its own. Raises :class:`asyncpg.LockNotAvailableError` where a table stays busy;
    the rest is then left for the next time.
    """
    there = set(await _partitions(connection))
    made = []
    moved = 0
    oldest = now - KEEP
    week = week_of(oldest)
    while week <= now + AHEAD:
        if (name := f"ledger_{week:%Y%m%d}") not in there:
            moved += await _make(connection, name, first_id_at(week), first_id_at(week + WEEK))
            made.append(name)
        week += WEEK
    dropped = [name for name in sorted(there) if _week_named(name) + WEEK <= oldest]
    for name in dropped:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            await connection.execute(f"DROP TABLE {name}")
    # Ids of other versions say nothing of their time. They stay: strange, few, and harmless.
    removed = await connection.execute(
        "DELETE FROM ledger_default WHERE event_id < $1 AND substr(event_id::text, 15, 1) = '7'", first_id_at(oldest)
    )
    return Upkeep(tuple(made), tuple(dropped), moved, int(removed.split()[-1]))


async def _partitions(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        """SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'ledger'::regclass"""
    )
    return [row["relname"] for row in rows if _NAME.match(row["relname"])]


def _week_named(name: str) -> datetime:
    return datetime.strptime(name, "ledger_%Y%m%d").replace(tzinfo=UTC)


async def _make(connection: asyncpg.Connection, name: str, first: UUID, end: UUID) -> int:
    """Make one partition with the rows that lie in its range already; returns how many those were."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        # The parent, which an INSERT locks before it knows of any partition. One that waited for the default partition
        # alone would go on to write there what belongs here by then, and fail (PostgreSQL 15: 23514).
        await connection.execute("LOCK TABLE ONLY ledger IN ACCESS EXCLUSIVE MODE")
        await connection.execute(f"CREATE TABLE {name} (LIKE ledger INCLUDING ALL)")
        moved = await connection.execute(
            f"""WITH moved AS (DELETE FROM ledger_default WHERE event_id >= $1 AND event_id < $2 RETURNING *)
                INSERT INTO {name} SELECT * FROM moved""",
            first,
            end,
        )
        await connection.execute(f"ALTER TABLE ledger ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")
    return int(moved.split()[-1])
