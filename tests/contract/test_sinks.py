"""What holds for every sink: each batch once, fenced writers write nothing, unknown topics stop the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from clients import webhooks
from clients.bigquery import Warehouse
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings, WarehouseSettings
from ops import warehouse as preparation
from ops.seed import key_of
from schemas.codec import Origin
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import new_share_token, share_id_for, uuid7
from schemas.segment import SegmentMessage
from sinks.archive import EventArchive
from sinks.bigquery import ShareEventTable
from sinks.contract import Batch, DeadLetter, Fenced, GroupStopped, Move, Partition, PlacedEvent, Sink
from sinks.dead_letters import DeadLetterStore
from sinks.digest import DigestCounts
from sinks.lanes import lane_of
from sinks.previews import PreviewQueue
from sinks.push import PushQueue
from sinks.segment import SegmentTable
from sinks.share_store import ShareStore
from sinks.webhook import WebhookQueue
from tests.lab import open_database
from tests.memory_sink import MemorySink
from tests.warehouse import rows_of

TOPIC_ID = UUID(int=7)
DATASET = f"contract_{uuid4().hex[:12]}"
ARCHIVE = f"archive-{DATASET}/"
FACTORIES: dict[str, Callable[[Database, str], Sink]] = {
    "share_store": ShareStore,
    "previews": PreviewQueue,
    "dead_letters": DeadLetterStore,
    "digest": DigestCounts,
    "push": PushQueue,
    "webhook": WebhookQueue,
    "bigquery": lambda database, group: ShareEventTable(database, group, Warehouse(WarehouseSettings(dataset=DATASET))),
    "segment": lambda database, group: SegmentTable(database, group, Warehouse(WarehouseSettings(dataset=DATASET))),
    "archive": lambda database, group: EventArchive(database, group, ObjectStore(ObjectStoreSettings()), ARCHIVE),
    "memory": lambda _, group: MemorySink(group),  # what the engine's own tests use
}
OF_SHARE_EVENTS = sorted(FACTORIES.keys() - {"dead_letters", "memory"})
# Most have a use for a share that is made.
_USED: dict[type, EventType] = {DigestCounts: EventType.VIEWED, PushQueue: EventType.ITEM_ADDED}
TABLES = (
    "watermarks", "ledger", "wishlist_shares", "share_item_visibility", "share_visitors",
    "wishlist_items", "wishlists", "previews", "dead_letters", "warehouse_appends", "digest_owners", "digest_counts",
    "digest_visitors", "pushes", "webhooks", "webhook_deliveries", "archive_files", "archive_spans", "removed_users",
)  # fmt: skip


def event(kind: EventType = EventType.CREATED, **changes: Any) -> ShareEvent:
    token = changes.pop("share_token", None) or new_share_token()
    values: dict[str, Any] = {
        "event_type": kind,
        "wishlist_id": key_of("wl_8a2b3c4d5e6f"),
        "user_id": key_of("user_maya"),
        "share_token": token,
        "share_channel": Channel.EMAIL,
        "item_count": 9,
        "timestamp": datetime.now(UTC),
        "event_id": uuid7(),
        "share_id": share_id_for(token),
    }
    return ShareEvent(**{**values, **changes})


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database(f"contract_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        await (await database.pool()).execute(webhooks.SET, key_of("user_maya"), "https://hooks.example", "", False)
        yield database
        await (await database.pool()).close()


@pytest.fixture(scope="module", autouse=True)
def warehouse() -> Iterator[Warehouse]:
    warehouse = Warehouse(WarehouseSettings(dataset=DATASET))
    list(preparation.prepare(warehouse))
    yield warehouse
    warehouse.rest.delete_dataset(warehouse.dataset, delete_contents=True)
    asyncio.run(forget_files())


async def forget_files() -> None:
    store = ObjectStore(ObjectStoreSettings())
    async for found in store.listing(ARCHIVE):
        await store.delete(found.key)


@pytest.fixture(params=sorted(FACTORIES))
def sink(request: pytest.FixtureRequest, database: Database) -> Sink:
    return FACTORIES[request.param](database, f"test-{uuid4()}")


@pytest.fixture
def partition() -> Partition:
    return Partition(f"topic-{uuid4()}", TOPIC_ID, 3)


def batch(partition: Partition, start: int, end: int, events: list[ShareEvent]) -> Batch:
    letters = [
        DeadLetter(int(uuid4()) % 2**30, start + n, b"k", b"v", {"group": "g", "attempts": "1"})
        for n in range(len(events))
    ]
    messages = [
        SegmentMessage(
            message_id=str(one.event_id), type="track", event="share_initiated", user_id="user_maya",
            timestamp=one.timestamp, received_at=one.timestamp,
        )
        for one in events
    ]  # fmt: skip
    placed = [
        PlacedEvent(one, Origin(partition.topic, partition.number, start + n, 1_790_000_000_000), b"k")
        for n, one in enumerate(events)
    ]
    return Batch((Move(partition, start, end),), events, letters, messages, placed)


async def contents(database: Database, table: str) -> list[str]:
    rows = await (await database.pool()).fetch(f"SELECT t::text AS row FROM {table} t ORDER BY 1")
    return [row["row"] for row in rows]


async def in_warehouse(table: str) -> list[str]:
    rows = await rows_of(Warehouse(WarehouseSettings(dataset=DATASET)), table=table)
    return [str(row) for row in rows]


async def everything(database: Database) -> dict[str, list[str]]:
    tables = {table: await contents(database, table) for table in TABLES}
    return {**tables, **{table: await in_warehouse(table) for table in ("share_events", "segment_messages")}}


async def test_a_new_partition_begins_where_the_log_does(sink: Sink, partition: Partition) -> None:
    assert await sink.positions({partition: 40}) == {partition: 40}
    assert await sink.positions({partition: 99}) == {partition: 40}


async def test_applying_moves_the_watermark(sink: Sink, partition: Partition) -> None:
    await sink.positions({partition: 0})
    done = await sink.apply(batch(partition, 0, 5, [event(_USED.get(type(sink), EventType.CREATED))]))
    assert done.applied == 1
    assert await sink.positions({partition: 0}) == {partition: 5}


async def test_a_writer_that_lost_its_partition_writes_nothing(
    sink: Sink, partition: Partition, database: Database
) -> None:
    await sink.positions({partition: 0})
    await sink.apply(batch(partition, 0, 5, [event()]))
    before = await everything(database)
    with pytest.raises(Fenced) as fenced:
        await sink.apply(batch(partition, 0, 7, [event()]))
    assert fenced.value.partitions == {partition}
    assert await everything(database) == before


async def test_one_lost_partition_of_two_is_named_and_nothing_is_written(
    sink: Sink, partition: Partition, database: Database
) -> None:
    other = Partition(partition.topic, TOPIC_ID, 4)
    await sink.positions({partition: 0, other: 0})
    await sink.apply(batch(other, 0, 5, [event()]))
    before = await everything(database)
    with pytest.raises(Fenced) as fenced:
        await sink.apply(Batch((Move(partition, 0, 9), Move(other, 0, 9)), [event()]))
    assert fenced.value.partitions == {other}
    assert await everything(database) == before


async def test_a_topic_made_anew_stops_the_group(sink: Sink, partition: Partition) -> None:
    await sink.positions({partition: 0})
    with pytest.raises(GroupStopped, match="made anew"):
        await sink.positions({Partition(partition.topic, UUID(int=8), partition.number): 0})


async def test_events_read_again_change_nothing(database: Database, partition: Partition) -> None:
    for name in OF_SHARE_EVENTS:
        sink = FACTORIES[name](database, f"test-{uuid4()}")
        token = new_share_token()
        events = [
            event(share_token=token, hidden_item_ids=(key_of("item_abc123"),)),
            event(EventType.VIEWED, share_token=token, page_view_id=uuid7(), visitor_hash="a"),
            event(EventType.VIEWED, share_token=token, is_bot=True),
            event(
                EventType.ITEM_ADDED, share_token=token, product_id="prod_1a2b3c", wishlist_item_id=uuid4(),
                recipient_wishlist_id=key_of("wl_recipient_001"), recipient_user_id=key_of("user_recipient"),
            ),
            event(EventType.REVOKED, share_token=token),
        ]  # fmt: skip
        await sink.positions({partition: 0})
        await sink.apply(batch(partition, 0, 5, events))
        before = await everything(database)
        done = await sink.apply(batch(partition, 5, 10, events + events))
        assert done.applied == 0
        after = await everything(database)
        for moving in ("watermarks", "archive_spans"):
            assert (after.pop(moving) != before.pop(moving)) is (moving == "watermarks" or name == "archive")
        assert after == before


@pytest.mark.parametrize("name", OF_SHARE_EVENTS)
async def test_what_comes_by_two_lanes_is_applied_once(database: Database, partition: Partition, name: str) -> None:
    group = f"test-{uuid4()}"
    live, replayed = FACTORIES[name](database, group), FACTORIES[name](database, lane_of(group, "again"))
    events = [event(kind) for kind in (EventType.CREATED, EventType.VIEWED, EventType.ITEM_ADDED)]
    whole = batch(partition, 0, 3, events)
    for sink in (live, replayed):
        await sink.positions({partition: 0})
    done = [await sink.apply(whole) for sink in (live, replayed)]
    assert done[0].applied > 0
    assert done[1].applied == 0
    assert await live.positions({partition: 0}) == await replayed.positions({partition: 0}) == {partition: 3}


@pytest.mark.parametrize("name", sorted(FACTORIES.keys() - {"memory"}))
async def test_what_is_of_a_removed_user_is_passed_by(name: str, database: Database, partition: Partition) -> None:
    sink = FACTORIES[name](database, f"test-{uuid4()}")
    kind = _USED.get(type(sink), EventType.CREATED)
    await sink.positions({partition: 0})
    assert (await sink.apply(batch(partition, 0, 1, [event(kind)]))).applied == 1
    await (await database.pool()).execute("SELECT remove_user($1, 'test')", key_of("user_maya"))
    before = await everything(database)
    theirs = batch(partition, 1, 4, [event(kind), event(kind)])
    letters = [replace(one, value=str(key_of("user_maya")).encode()) for one in theirs.dead_letters]
    done = await sink.apply(replace(theirs, dead_letters=letters))
    assert done.applied == 0
    after = await everything(database)
    for moving in ("watermarks", "archive_spans"):
        after.pop(moving), before.pop(moving)
    assert after == before
    assert await sink.positions({partition: 0}) == {partition: 4}


async def test_the_order_of_a_shares_events_does_not_matter(database: Database, partition: Partition) -> None:
    def story(token: str) -> list[ShareEvent]:
        item = key_of("item_abc123")
        at = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(6)]
        made = event(share_token=token, timestamp=at[0], hidden_item_ids=(item,), message="hello")
        return [
            made,
            event(EventType.VIEWED, share_token=token, timestamp=at[1], visitor_hash="a"),
            event(EventType.SETTINGS_CHANGED, share_token=token, timestamp=at[2], wishlist_item_id=item,
                  item_visible=True, event_id=uuid7()),
            event(EventType.SETTINGS_CHANGED, share_token=token, timestamp=at[3], expires_at=at[5]),
            event(EventType.VIEWED, share_token=token, timestamp=at[4], visitor_hash="a"),
            event(EventType.REVOKED, share_token=token, timestamp=at[4]),
        ]  # fmt: skip

    results = []
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 5, 0, 4, 3, 1]):
        sink = ShareStore(database, f"test-{uuid4()}")
        token = new_share_token()
        events = story(token)
        own = Partition(f"topic-{uuid4()}", TOPIC_ID, 0)
        await sink.positions({own: 0})
        for offset, index in enumerate(order):
            await sink.apply(batch(own, offset, offset + 1, [events[index]]))
        row = await (await database.pool()).fetchrow(
            """SELECT view_count, raw_view_count, unique_viewers, items_added, is_revoked, message, created_at,
                      expires_at, updated_at, revoked_at, last_viewed_at,
                      (SELECT visible FROM share_item_visibility v WHERE v.share_id = s.id) AS visible
               FROM wishlist_shares s WHERE share_token = $1""",
            token,
        )
        results.append(dict(row or {}))
    assert results[0] == results[1] == results[2]
    assert results[0]["view_count"] == 2
    assert results[0]["unique_viewers"] == 1
    assert results[0]["visible"] is True
    assert results[0]["is_revoked"] is True


async def test_events_of_a_list_that_is_gone_are_passed_by(database: Database, partition: Partition) -> None:
    sink = ShareStore(database, f"test-{uuid4()}")
    await sink.positions({partition: 0})
    gone = event(wishlist_id=uuid4())
    await sink.apply(batch(partition, 0, 2, [gone, event(EventType.VIEWED, share_token=gone.share_token)]))
    found = await (await database.pool()).fetchval(
        "SELECT count(*) FROM wishlist_shares WHERE share_token = $1", gone.share_token
    )
    assert found == 0


async def test_a_view_of_a_day_old_picture_asks_for_a_new_one(database: Database, partition: Partition) -> None:
    sink = PreviewQueue(database, f"test-{uuid4()}")
    await sink.positions({partition: 0})
    made = event()
    await sink.apply(batch(partition, 0, 1, [made]))
    pool = await database.pool()
    rendered = datetime(2026, 1, 1, tzinfo=UTC)
    await pool.execute(
        "UPDATE previews SET state = 'done', rendered_at = $2 WHERE share_id = $1", made.share_id, rendered
    )
    states = []
    for offset, age in enumerate((timedelta(hours=23), timedelta(hours=25)), start=1):
        view = event(EventType.VIEWED, share_token=made.share_token, timestamp=rendered + age)
        await sink.apply(batch(partition, offset, offset + 1, [view]))
        states.append(await pool.fetchval("SELECT state FROM previews WHERE share_id = $1", made.share_id))
    assert states == ["done", "due"]


async def test_a_revoked_share_gets_no_picture_whatever_comes_after(database: Database, partition: Partition) -> None:
    sink = PreviewQueue(database, f"test-{uuid4()}")
    await sink.positions({partition: 0})
    made = event()
    for offset, kind in enumerate((EventType.REVOKED, EventType.CREATED, EventType.SETTINGS_CHANGED)):
        await sink.apply(batch(partition, offset, offset + 1, [event(kind, share_token=made.share_token)]))
    state = await (await database.pool()).fetchval("SELECT state FROM previews WHERE share_id = $1", made.share_id)
    assert state == "withdrawn"


async def test_the_newest_word_decides_expiry_and_snapshot(database: Database) -> None:
    at = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(4)]
    items = (key_of("item_abc123"), key_of("item_removed"))
    results = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        sink, own = ShareStore(database, f"test-{uuid4()}"), Partition(f"topic-{uuid4()}", TOPIC_ID, 0)
        token = new_share_token()
        story = [
            event(share_token=token, timestamp=at[0], expires_at=at[3]),
            event(EventType.SETTINGS_CHANGED, share_token=token, timestamp=at[1], snapshot_item_ids=items[:1]),
            event(EventType.SETTINGS_CHANGED, share_token=token, timestamp=at[2], snapshot_item_ids=items,
                  expires_at=at[2]),
        ]  # fmt: skip
        await sink.positions({own: 0})
        for offset, index in enumerate(order):
            await sink.apply(batch(own, offset, offset + 1, [story[index]]))
        row = await (await database.pool()).fetchrow(
            "SELECT expires_at, snapshot_items FROM wishlist_shares WHERE share_token = $1", token
        )
        results.append(tuple(row or ()))
    assert results == [(at[2], list(items))] * 3


async def test_an_empty_snapshot_is_not_no_snapshot(database: Database, partition: Partition) -> None:
    sink = ShareStore(database, f"test-{uuid4()}")
    await sink.positions({partition: 0})
    frozen, thawed = event(), event()
    words = [
        event(EventType.SETTINGS_CHANGED, share_token=frozen.share_token, snapshot_item_ids=()),
        event(EventType.SETTINGS_CHANGED, share_token=thawed.share_token, snapshot_item_ids=None),
    ]
    await sink.apply(batch(partition, 0, 4, [frozen, thawed, *words]))
    rows = await (await database.pool()).fetch("SELECT share_token, snapshot_items FROM wishlist_shares")
    held = {row["share_token"]: row["snapshot_items"] for row in rows}
    assert held == {frozen.share_token: [], thawed.share_token: None}
