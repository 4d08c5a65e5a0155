"""The ledger's partitions: made ahead, taking over what came before them, dropped when they are old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from config.settings import PostgresSettings
from ops import ledger, migrations
from schemas.ids import uuid7_at

NOW = datetime(2031, 3, 12, 15, 30, tzinfo=UTC)


@pytest.fixture
async def dsn() -> AsyncIterator[str]:
    base = PostgresSettings().dsn
    name = f"ledger_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(base)
    await admin.execute(f'CREATE DATABASE "{name}"')
    address = urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
    connection = await asyncpg.connect(address)
    await migrations.migrate(connection)
    await connection.close()
    try:
        yield address
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def id_at(when: datetime, seed: str = "") -> UUID:
    return uuid7_at(int(when.timestamp() * 1_000), f"{when}{seed}".encode())


async def insert(connection: asyncpg.Connection, ids: list[UUID]) -> int:
    rows = await connection.fetch(
        "INSERT INTO ledger (event_id, consumer_group) SELECT id, 'g' FROM unnest($1::uuid[]) AS id "
        "ON CONFLICT DO NOTHING RETURNING event_id",
        ids,
    )
    return len(rows)


async def home(connection: asyncpg.Connection, event_id: UUID) -> str | None:
    name: str | None = await connection.fetchval(
        "SELECT tableoid::regclass::text FROM ledger WHERE event_id = $1", event_id
    )
    return name


async def test_migrate_makes_this_weeks_partition(database: asyncpg.Connection) -> None:
    now = datetime.now(UTC)
    event_id = id_at(now)
    await insert(database, [event_id])
    assert await home(database, event_id) == f"ledger_{ledger.week_of(now):%Y%m%d}"


async def test_weeks_from_the_oldest_kept_to_four_weeks_ahead(database: asyncpg.Connection) -> None:
    done = await ledger.maintain(database, NOW)
    assert done.made[0] == "ledger_20301202"  # 100 days before NOW is Monday the 2nd
    assert done.made[-1] == "ledger_20310407"
    assert len(done.made) == 19
    again = await ledger.maintain(database, NOW)
    assert (again.made, again.dropped, again.moved, again.removed) == ((), (), 0, 0)


async def test_ids_at_a_partitions_edges_lie_in_it(database: asyncpg.Connection) -> None:
    await ledger.maintain(database, NOW)
    monday = ledger.week_of(NOW)
    edges = {
        id_at(monday - timedelta(milliseconds=1)): "ledger_20310303",
        id_at(monday): "ledger_20310310",
        id_at(monday + ledger.WEEK - timedelta(milliseconds=1)): "ledger_20310310",
        id_at(monday + ledger.WEEK): "ledger_20310317",
    }
    await insert(database, list(edges))
    assert {event_id: await home(database, event_id) for event_id in edges} == edges


async def test_rows_that_came_before_their_partition_move_into_it(database: asyncpg.Connection) -> None:
    early = [id_at(NOW + timedelta(hours=n), str(n)) for n in range(500)]
    strange = uuid4()
    assert await insert(database, [*early, strange]) == 501
    assert await home(database, early[0]) == "ledger_default"
    done = await ledger.maintain(database, NOW)
    assert done.moved == 500
    assert await home(database, early[0]) == "ledger_20310310"
    assert await home(database, strange) == "ledger_default"
    assert await insert(database, [*early, strange]) == 0, "every one of them is still known"


async def test_what_is_older_than_a_hundred_days_goes(database: asyncpg.Connection) -> None:
    await ledger.maintain(database, NOW)
    first = id_at(NOW - timedelta(days=99))
    await insert(database, [first])
    nothing = await ledger.maintain(database, NOW + timedelta(days=1))
    assert nothing.dropped == ()
    assert await insert(database, [first]) == 0

    later = NOW + timedelta(days=15)
    stray = id_at(NOW - timedelta(days=1_000))
    # As a version 4 UUID it tells no time, however low it is.
    strange = UUID("00000000-0000-4000-8000-000000000001")
    await insert(database, [stray, strange])
    done = await ledger.maintain(database, later)
    assert done.dropped[-1] == "ledger_20301209"
    assert done.removed == 1
    assert await home(database, first) is None
    assert await home(database, stray) is None
    assert await home(database, strange) == "ledger_default"


async def test_workers_go_on_while_partitions_come(dsn: str, database: asyncpg.Connection) -> None:
    ids = [id_at(NOW + timedelta(minutes=n), str(n)) for n in range(20_000)]

    async def work(part: list[UUID]) -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return sum([await insert(connection, part[n : n + 100]) for n in range(0, len(part), 100)])
        finally:
            await connection.close()

    workers = [asyncio.create_task(work(ids[n::2])) for n in range(2)]
    await asyncio.sleep(0.05)
    await ledger.maintain(database, NOW)
    assert sum(await asyncio.gather(*workers)) == len(ids)
    assert await database.fetchval("SELECT count(*) FROM ledger") == len(ids)
    assert await insert(database, ids) == 0


async def test_a_busy_table_is_left_for_the_next_time(
    dsn: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_LOCK_TIMEOUT", "200ms")
    other = await asyncpg.connect(dsn)
    transaction = other.transaction()
    await transaction.start()
    await insert(other, [uuid4()])
    with pytest.raises(asyncpg.LockNotAvailableError):
        await ledger.maintain(database, NOW)
    await transaction.rollback()
    await other.close()
    assert (await ledger.maintain(database, NOW)).made
