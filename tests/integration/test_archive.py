"""Files of the archive: what is in them, who else can read them, and what is done about those that nobody listed."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import fastavro
import pytest

from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ArchiveSettings, ObjectStoreSettings, PostgresSettings
from ops.archive import faults_of
from schemas.archive import DamagedFile
from schemas.codec import Origin
from schemas.event import EventType, ShareEvent
from sinks.archive import EventArchive
from sinks.archive_files import ArchiveReader
from sinks.contract import Applied, Batch, Fenced, Move, Partition, PlacedEvent, Retry
from streams.archiving.sweep import ArchiveSweep
from tests.lab import event, open_database
from tests.service_proxy import open_proxy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOPIC_ID = UUID(int=7)
PREFIX = "archive/"


@dataclass
class World:
    """A database and a bucket of a test's own."""

    database: Database
    pool: asyncpg.Pool
    bucket: ObjectStore
    sink: EventArchive
    reader: ArchiveReader

    async def archive(self, start: int, *placed: PlacedEvent, partition: int = 0, end: int | None = None) -> Applied:
        of = Partition("events", TOPIC_ID, partition)
        await self.sink.positions({of: start})
        return await self.sink.apply(
            Batch((Move(of, start, end or start + len(placed)),), [one.event for one in placed], placed=placed)
        )

    async def keys(self) -> list[str]:
        return [found.key async for found in self.bucket.listing("")]

    async def faults(self) -> list[str]:
        return [fault async for fault in faults_of(self.database, self.bucket, self.sink.group)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    name = f"archive-{uuid4().hex[:12]}"
    bucket = ObjectStore(ObjectStoreSettings(bucket=name))
    await bucket.ensure_bucket()
    async with open_database(name) as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        pool = await database.pool()
        sink = EventArchive(database, "archive", bucket, PREFIX)
        yield World(database, pool, bucket, sink, ArchiveReader(database, bucket, "archive"))
        await pool.close()
    async for found in bucket.listing(""):
        await bucket.delete(found.key)


def placed(offset: int, at: datetime = NOON, partition: int = 0, of: ShareEvent | None = None) -> PlacedEvent:
    one = of or event(timestamp=at - timedelta(seconds=1), message="gAAAAA-sealed")
    return PlacedEvent(one, Origin("events", partition, offset, int(at.timestamp() * 1000)), one.share_token.encode())


async def test_a_batch_is_a_file_a_day_and_comes_back_as_it_was(world: World) -> None:
    batch = [placed(10), placed(11, NOON + timedelta(days=1)), placed(12, NOON + timedelta(milliseconds=7))]
    assert await world.archive(10, *batch) == Applied(3, 0)
    first, second = await world.keys()
    assert first.startswith("archive/events/2026/03/01/000-000000000010.000-000000000012.")
    assert second.startswith("archive/events/2026/03/02/")
    found = [one async for one in world.reader.events()]
    assert [(one.event, one.origin, one.key, one.topic_id) for one in found] == [
        (one.event, one.origin, one.key, TOPIC_ID) for one in (batch[0], batch[2], batch[1])
    ]
    assert await world.faults() == []


async def test_any_avro_library_reads_it(world: World) -> None:
    one = placed(3)
    await world.archive(3, one)
    [key] = await world.keys()
    [read] = fastavro.reader(io.BytesIO(await world.bucket.get(key) or b""))
    record = cast(dict[str, Any], read)
    assert (record["topic"], record["partition"], record["offset"], record["timestamp"]) == ("events", 0, 3, NOON)
    assert record["event"]["event_id"] == str(one.event.event_id)
    assert record["event"]["message"] == "gAAAAA-sealed", "as it lies in the topic"


async def test_a_time_is_read_without_the_rest(world: World) -> None:
    await world.archive(0, *(placed(n, NOON + timedelta(hours=n)) for n in range(4)))
    await world.archive(4, *(placed(n, NOON + timedelta(hours=n)) for n in range(4, 8)))
    since, until = NOON + timedelta(hours=2), NOON + timedelta(hours=5)
    assert [one.origin.offset async for one in world.reader.events(since, until)] == [2, 3, 4]
    assert [one.origin.offset async for one in world.reader.events(until=NOON)] == []


async def test_what_is_sent_twice_is_in_one_file_once(world: World) -> None:
    again = event()
    assert await world.archive(0, placed(0, of=again), placed(1, of=again)) == Applied(1, 1)
    assert await world.archive(2, placed(2, of=again)) == Applied(0, 1)
    assert len(await world.keys()) == 1
    assert [one.origin.offset async for one in world.reader.events()] == [0]
    assert await world.faults() == []


async def test_a_lost_partition_puts_nothing(world: World) -> None:
    await world.archive(0, placed(0))
    with pytest.raises(Fenced):
        await world.archive(0, placed(0))
    assert len(await world.keys()) == 1


async def test_a_bucket_that_fails_is_asked_again_and_what_is_left_behind_is_swept(world: World) -> None:
    settings = ObjectStoreSettings(bucket=world.bucket.bucket)
    async with open_proxy(settings.endpoint_url or "") as proxy:
        store = ObjectStore(settings.model_copy(update={"endpoint_url": proxy.url}))
        world.sink = EventArchive(world.database, "archive", store, PREFIX)
        proxy.down = True
        with pytest.raises(Retry):
            await world.archive(0, placed(0))
        proxy.down = False
        await world.pool.execute("ALTER TABLE archive_spans RENAME TO away")
        with pytest.raises(asyncpg.UndefinedTableError):
            await world.archive(0, placed(0))
        await world.pool.execute("ALTER TABLE away RENAME TO archive_spans")
        await world.archive(0, placed(0))
    listed = await world.pool.fetchval("SELECT key FROM archive_files")
    left = set(await world.keys()) - {listed}
    assert len(left) == 1
    sweep = ArchiveSweep(world.database, world.bucket, ArchiveSettings())
    assert await sweep.sweep() == 0, "a writer may be about to list it"
    assert await sweep.sweep(older_than=timedelta(0)) == 1
    assert await world.keys() == [listed]
    assert await world.faults() == []


async def test_files_that_were_put_too_long_ago_are_not_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.archive.LONGEST_UNLISTED", timedelta(0))
    with pytest.raises(Retry, match="too long ago"):
        await world.archive(0, placed(0))
    assert await world.pool.fetchval("SELECT count(*) FROM archive_files") == 0
    assert await world.pool.fetchval("SELECT next_offset FROM watermarks") == 0


async def test_whatever_is_not_whole_is_found(world: World) -> None:
    await world.archive(0, placed(0), placed(1))
    await world.archive(2, placed(2))
    await world.archive(3, placed(3, partition=1), partition=1)
    await world.archive(3, end=9)
    keys = await world.keys()
    body = await world.bucket.get(keys[0]) or b""
    await world.bucket.put(keys[0], body[:-1] + b"x", "application/avro")
    with pytest.raises(DamagedFile, match="other bytes"):
        [one async for one in world.reader.events()]
    await world.bucket.delete(keys[1])
    await world.pool.execute("DELETE FROM archive_spans WHERE partition = 0 AND first_offset = 2")
    faults = await world.faults()
    assert [fault for fault in faults if "other bytes" in fault and keys[0] in fault]
    assert [fault for fault in faults if "is not in the bucket" in fault and keys[1] in fault]
    assert [fault for fault in faults if "offsets from 2 to 2" in fault]
    assert [fault for fault in faults if "events were archived" in fault]
    assert len(faults) == 4


async def test_a_file_in_the_older_schema_is_read_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    view = event(EventType.VIEWED, visitor_hash="a")
    monkeypatch.setattr("schemas.archive._VERSION", "another name")
    await world.archive(0, placed(0, of=view))
    monkeypatch.undo()
    assert [one.event async for one in world.reader.events()] == [view]


async def test_reading_again_in_other_batches_leaves_it_whole(world: World) -> None:
    events = [placed(n) for n in range(30)]
    for start in (0, 10, 20):
        await world.archive(start, *events[start : start + 10])
    await world.pool.execute("DELETE FROM ledger WHERE event_id = $1", events[5].event.event_id)
    await world.pool.execute("DELETE FROM watermarks")
    assert await world.archive(0, *events[:15]) == Applied(1, 14)
    assert await world.archive(15, *events[15:], placed(30)) == Applied(1, 15)
    spans = await world.pool.fetch("SELECT first_offset, next_offset, events FROM archive_spans ORDER BY first_offset")
    assert [tuple(span) for span in spans] == [(0, 10, 11), (10, 20, 10), (20, 30, 10), (30, 31, 1)]
    assert await world.faults() == []
