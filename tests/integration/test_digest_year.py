"""A year of digests by a driven clock: every owner, every zone, two workers that are killed at random.

``DIGEST_OWNERS=20000`` is the long form.
"""

from __future__ import annotations

import asyncio
import os
import random
import zoneinfo
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from clients.postgres import Database
from config.settings import DigestSettings, PostgresSettings
from schemas.event import EventType, ShareEvent
from schemas.ids import uuid7_at
from sinks.contract import Batch, Move, Partition
from sinks.digest import DigestCounts
from streams.digest_close import Closed, DigestCloser
from tests.lab import event, open_database

OWNERS = int(os.environ.get("DIGEST_OWNERS", "76"))
VIEWS_EACH = 25
ZONES = (
    "Pacific/Kiritimati", "Pacific/Apia", "Pacific/Chatham", "Pacific/Auckland", "Pacific/Fiji", "Australia/Lord_Howe",
    "Australia/Sydney", "Australia/Brisbane", "Australia/Adelaide", "Australia/Darwin", "Asia/Tokyo", "Australia/Eucla",
    "Asia/Shanghai", "Asia/Bangkok", "Asia/Yangon", "Asia/Dhaka", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Tashkent",
    "Asia/Kabul", "Asia/Dubai", "Asia/Tehran", "Europe/Moscow", "Africa/Cairo", "Europe/Berlin", "Europe/London",
    "Africa/Casablanca", "Atlantic/Azores", "America/Nuuk", "America/Sao_Paulo", "America/St_Johns", "America/Santiago",
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Pacific/Honolulu", "Etc/GMT+12",
)  # fmt: skip
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PARTITION = Partition("events", UUID(int=7), 0)


class Killed(Exception):
    """The worker is gone before it commits."""


class Mortal(DigestCloser):
    """Dies now and then, between its last statement and the commit."""

    dice = random.Random(5)

    async def _close(self, *arguments: object) -> tuple[int, int]:
        done = await super()._close(*arguments)  # type: ignore[arg-type]
        if done[0] and self.dice.random() < 0.1:
            raise Killed
        return done


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database(f"digests_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        yield database
        await (await database.pool()).close()


def nine_after(moment: datetime, zone: zoneinfo.ZoneInfo) -> tuple[date, datetime]:
    """The first nine o'clock after *moment*, counted out plainly."""
    day = moment.astimezone(zone).date()
    while True:
        nine = datetime.combine(day, time(9), zone).astimezone(UTC)
        if nine > moment:
            return day, nine
        day += timedelta(days=1)


async def test_each_owner_hears_once_a_day_at_nine(database: Database) -> None:
    assert len(set(ZONES)) == 38
    dice = random.Random(1)
    pool = await database.pool()
    owners = {uuid4(): ZONES[n % 38] for n in range(OWNERS)}
    await pool.execute(
        """INSERT INTO users (id, public_id, display_name, time_zone)
           SELECT id, id::text, 'Owner', zone FROM unnest($1::uuid[], $2::text[]) AS of(id, zone)""",
        list(owners),
        list(owners.values()),
    )
    views: list[tuple[datetime, ShareEvent]] = []
    for owner in owners:
        for n in range(VIEWS_EACH):
            at = BEGIN + timedelta(seconds=dice.randrange(364 * 86_400))
            one = event(
                EventType.VIEWED, user_id=owner, timestamp=at, visitor_hash=f"v{n}", country="DE",
                event_id=uuid7_at(int(at.timestamp() * 1000), f"{owner}{n}".encode()),
            )  # fmt: skip
            views.append((at, one))
    views.sort(key=lambda pair: pair[0])

    now = BEGIN
    sink = DigestCounts(database, "digest-year")
    closers = [Mortal(database, DigestSettings(), lambda: now) for _ in range(2)]
    await sink.positions({PARTITION: 0})
    applied = deaths = 0
    while True:
        due = await pool.fetchval("SELECT min(due_at) FROM digest_owners WHERE is_pending")
        upcoming = views[applied][0] if applied < len(views) else None
        moments = [moment for moment in (due, upcoming) if moment is not None]
        if not moments:
            break
        now = max(now, min(moments)) + timedelta(seconds=dice.uniform(0, 20))
        ready = [one for _, one in views[applied : applied + 500] if one.timestamp <= now]
        if ready:
            await sink.apply(Batch((Move(PARTITION, applied, applied + len(ready)),), ready))
            applied += len(ready)
        while True:
            rounds = await asyncio.gather(*(closer.round() for closer in closers), return_exceptions=True)
            deaths += sum(isinstance(one, Killed) for one in rounds)
            assert all(isinstance(one, Closed | Killed) for one in rounds), rounds
            if not any(isinstance(one, Killed) or one.days or one.planned for one in rounds):
                break

    expected: Counter[tuple[UUID, date]] = Counter()
    nine: dict[tuple[UUID, date], datetime] = {}
    for at, one in views:
        day, moment = nine_after(at, zoneinfo.ZoneInfo(owners[one.user_id]))
        expected[one.user_id, day] += 1
        nine[one.user_id, day] = moment
    rows = await pool.fetch("SELECT owner_id, local_date, content, due_at FROM digests")
    found = {(row["owner_id"], row["local_date"]): orjson.loads(row["content"])["totals"]["views"] for row in rows}
    assert len(found) == len(rows)
    assert found == dict(expected)
    late = [row["due_at"] - nine[row["owner_id"], row["local_date"]] for row in rows]
    assert timedelta(0) <= min(late) and max(late) <= timedelta(minutes=1), max(late)
    assert deaths > 0
    print(f"{len(rows)} digests of {OWNERS} owners, {len(views)} views, {deaths} deaths, latest {max(late)}")
