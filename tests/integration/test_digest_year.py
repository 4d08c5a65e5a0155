"""Digests by a driven clock: every owner, every zone, two workers that are killed at random.

A year is looked at in the outbox, the weeks around each change of clocks at the far end of the queue.
``DIGEST_OWNERS=20000 DIGEST_OWNERS_BY_WIRE=1000`` is the long form.
"""

from __future__ import annotations

import asyncio
import os
import random
import zoneinfo
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from asyncpg.pool import PoolConnectionProxy

from clients.faults import Unavailable
from clients.postgres import Database
from clients.queue import Message, NotificationQueue, Sent
from clients.unsubscribe import UnsubscribeLinks
from config.settings import DigestSettings, PostgresSettings, QueueSettings, UnsubscribeSettings
from schemas.event import EventType, ShareEvent
from schemas.ids import uuid7_at
from sinks.contract import Batch, Move, Partition
from sinks.digest import DigestCounts
from streams.digests.closing import ClosingOutbox
from streams.digests.sending import DigestOutbox
from streams.outbox.worker import OutboxWorker
from tests.lab import event, open_database
from tests.notification_hub import take_all

OWNERS = int(os.environ.get("DIGEST_OWNERS", "76"))
OWNERS_BY_WIRE = int(os.environ.get("DIGEST_OWNERS_BY_WIRE", "38"))
AT_ONCE = 200
VIEWS_OF_A_YEAR, VIEWS_OF_SOME_WEEKS = 25, 8
ZONES = (
    "Pacific/Kiritimati", "Pacific/Apia", "Pacific/Chatham", "Pacific/Auckland", "Pacific/Fiji", "Australia/Lord_Howe",
    "Australia/Sydney", "Australia/Brisbane", "Australia/Adelaide", "Australia/Darwin", "Asia/Tokyo", "Australia/Eucla",
    "Asia/Shanghai", "Asia/Bangkok", "Asia/Yangon", "Asia/Dhaka", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Tashkent",
    "Asia/Kabul", "Asia/Dubai", "Asia/Tehran", "Europe/Moscow", "Africa/Cairo", "Europe/Berlin", "Europe/London",
    "Africa/Casablanca", "Atlantic/Azores", "America/Nuuk", "America/Sao_Paulo", "America/St_Johns", "America/Santiago",
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Pacific/Honolulu", "Etc/GMT+12",
)  # fmt: skip
YEAR = (datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=364))
# Northern zones put their clocks forward on 8 and 29 March, southern ones back on 5 April; then the other way round.
WEEKS = (
    (datetime(2026, 3, 5, tzinfo=UTC), timedelta(days=35)),
    (datetime(2026, 9, 24, tzinfo=UTC), timedelta(days=42)),
)
_SOME_DUE = """
    UPDATE digests SET due_at = now()
    WHERE id IN (SELECT id FROM digests WHERE state = 'due' AND due_at = 'infinity' ORDER BY id LIMIT $1)"""
PARTITION = Partition("events", UUID(int=7), 0)


class Killed(BaseException):
    """The worker is gone before it commits."""


class Mortal(ClosingOutbox):
    """Dies now and then, between its last statement and the commit."""

    dice = random.Random(5)

    async def _close(self, connection: PoolConnectionProxy, owners: Sequence[asyncpg.Record], now: datetime) -> None:
        await super()._close(connection, owners, now)
        if owners and self.dice.random() < 0.1:
            raise Killed


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


@dataclass
class Played:
    """What has happened: whose zone is which, whose view was applied when, and how often a worker died."""

    owners: dict[UUID, str]
    applied: list[tuple[datetime, UUID]] = field(default_factory=list)
    deaths: int = 0

    def expected(self) -> dict[tuple[UUID, date], tuple[int, datetime]]:
        """Views of each owner's local days, and the moment at which each day closes."""
        days: dict[tuple[UUID, date], tuple[int, datetime]] = {}
        for at, owner in self.applied:
            day, nine = nine_after(at, zoneinfo.ZoneInfo(self.owners[owner]))
            count, _ = days.get((owner, day), (0, nine))
            days[owner, day] = count + 1, nine
        return days


async def play(database: Database, owners: int, views: int, begin: datetime, length: timedelta) -> Played:
    """Let *owners* be looked at from *begin* on, and two closers that die now and then close their days.

    What was seen in an hour is applied at its 17th minute, when it is nine nowhere.
    """
    dice = random.Random(1)
    pool = await database.pool()
    played = Played({uuid4(): ZONES[n % len(ZONES)] for n in range(owners)})
    await pool.execute(
        """INSERT INTO users (id, public_id, display_name, time_zone)
           SELECT id, id::text, 'Owner', zone FROM unnest($1::uuid[], $2::text[]) AS of(id, zone)""",
        list(played.owners),
        list(played.owners.values()),
    )
    hours: dict[datetime, list[UUID]] = defaultdict(list)
    for owner in played.owners:
        for _ in range(views):
            hours[begin + timedelta(hours=dice.randrange(length // timedelta(hours=1)), minutes=17)].append(owner)
    waiting = deque(sorted(hours.items()))

    now = begin
    sink = DigestCounts(database, f"digest-{begin:%j}")
    outbox = Mortal(database, DigestSettings(), lambda: now)
    await sink.positions({PARTITION: 0})
    while True:
        due = await pool.fetchval("SELECT min(due_at) FROM digest_owners WHERE is_pending")
        if due is None and not waiting:
            return played
        if waiting and (due is None or waiting[0][0] < due):
            now, seen = waiting.popleft()
            events = [view(now, owner, len(played.applied) + n) for n, owner in enumerate(seen)]
            await sink.apply(Batch((Move(PARTITION, len(played.applied), len(played.applied) + len(events)),), events))
            played.applied += [(now, owner) for owner in seen]
        else:
            now = max(now, due) + timedelta(seconds=dice.uniform(0, 20))
        while True:
            closers = [OutboxWorker(outbox, database) for _ in range(2)]
            rounds = await asyncio.gather(*(closer.round() for closer in closers), return_exceptions=True)
            deaths = sum(isinstance(one, Killed) for one in rounds)
            assert all(isinstance(one, int | Killed) for one in rounds), rounds
            if deaths:
                played.deaths += deaths
                # Nobody waits for the leases of the dead.
                await pool.execute("UPDATE digest_owners SET lease_until = NULL WHERE lease_until IS NOT NULL")
            if not any(rounds):
                break


def view(at: datetime, owner: UUID, number: int) -> ShareEvent:
    """The *number*-th view, of a share of *owner*."""
    return event(
        EventType.VIEWED, user_id=owner, timestamp=at, visitor_hash=f"v{number}", country="DE",
        event_id=uuid7_at(int(at.timestamp() * 1000), f"{owner}{number}".encode()),
    )  # fmt: skip


async def test_each_owner_hears_once_a_day_at_nine(database: Database) -> None:
    assert len(set(ZONES)) == 38
    played = await play(database, OWNERS, VIEWS_OF_A_YEAR, *YEAR)
    rows = await (await database.pool()).fetch("SELECT owner_id, local_date, content, due_at FROM digests")
    expected = played.expected()
    found = {(row["owner_id"], row["local_date"]): orjson.loads(row["content"])["totals"]["views"] for row in rows}
    assert len(found) == len(rows)
    assert found == {day: count for day, (count, _) in expected.items()}
    late = [row["due_at"] - expected[row["owner_id"], row["local_date"]][1] for row in rows]
    assert timedelta(0) <= min(late) and max(late) <= timedelta(minutes=1), max(late)
    assert played.deaths > 0
    print(f"{len(rows)} digests of {OWNERS} owners, {len(played.applied)} views, {played.deaths} deaths, "
          f"latest {max(late)}")  # fmt: skip


class Forgetful(NotificationQueue):
    """Takes what it is sent, and now and then its answer is lost."""

    dice = random.Random(6)
    lost = 0

    async def send(self, messages: Sequence[Message]) -> Sent:
        taken = await super().send(messages)
        if self.dice.random() < 0.1:
            self.lost += len(messages)
            raise Unavailable("the queue", "the answer is lost")
        return taken


@pytest.mark.parametrize("weeks", WEEKS, ids=["spring", "autumn"])
async def test_around_a_change_of_clocks_each_digest_arrives_once(
    database: Database, weeks: tuple[datetime, timedelta]
) -> None:
    played = await play(database, OWNERS_BY_WIRE, VIEWS_OF_SOME_WEEKS, *weeks)
    queue = Forgetful(QueueSettings(queue=f"digests-{uuid4().hex[:12]}.fifo"))
    await queue.ensure()
    links = UnsubscribeLinks(UnsubscribeSettings(), "https://vantage.com")
    outbox = DigestOutbox(DigestSettings(), queue, links, "https://vantage.com")
    relays = [OutboxWorker(outbox, database) for _ in range(2)]
    pool = await database.pool()
    await pool.execute("UPDATE digests SET due_at = 'infinity' WHERE state = 'due'")
    received: list[dict[str, Any]] = []
    while await pool.execute(_SOME_DUE, AT_ONCE) != "UPDATE 0":
        while (
            await pool.execute("UPDATE digests SET due_at = now() WHERE state = 'due' AND due_at < 'infinity'")
            != "UPDATE 0"
        ):
            while any(await asyncio.gather(*(relay.round() for relay in relays))):
                pass
        # Not before all of them are sent: the emulator forgets the ids of what is taken out, which SQS keeps for five
        # minutes. Nor long after: it looks at all that it holds whenever something is sent.
        received += await asyncio.to_thread(take_all, queue.settings)

    names = {str(owner): owner for owner in played.owners}
    found = Counter(
        (names[one["user_id"]], date.fromisoformat(one["digest"]["date"]), one["digest"]["totals"]["views"])
        for one in received
    )
    assert found == Counter((owner, day, count) for (owner, day), (count, _) in played.expected().items())
    assert len({one["notification_id"] for one in received}) == len(received)
    assert queue.lost > 0 and played.deaths > 0
    print(f"{len(received)} digests of {OWNERS_BY_WIRE} owners, {played.deaths} deaths, {queue.lost} sent twice")
