"""The share-event table: what a row says, and appends whose outcome somebody else must find out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

import clients.bigquery
from clients.bigquery import Warehouse
from clients.bigquery_rows import RowFormat
from clients.faults import Unavailable
from clients.postgres import Database
from config.settings import PostgresSettings, WarehouseSettings
from ops import warehouse as preparation
from ops.seed import key_of
from ops.warehouse import views
from schemas.event import Channel, EventType
from schemas.ids import uuid7
from sinks.bigquery import ShareEventTable, row_of
from sinks.contract import Batch, Fenced, Move, Partition, Reject, Retry
from tests.engine_bench import Bench, Log
from tests.lab import CODEC, event, open_database
from tests.warehouse import open_warehouse, rows_of

GROUP = "warehouse-test"


@pytest.fixture
async def warehouse() -> AsyncIterator[Warehouse]:
    async with open_warehouse(f"warehouse_{uuid4().hex[:12]}") as warehouse:
        yield warehouse


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database(f"warehouse_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        yield database
        await (await database.pool()).close()


PARTITION = Partition("events", UUID(int=7), 3)


def batch(start: int, *events: object) -> Batch:
    return Batch((Move(PARTITION, start, start + len(events)),), events)  # type: ignore[arg-type]


class StopsAfterAppending(ShareEventTable):
    """Loses its connection to PostgreSQL between an append and the record of it."""

    async def _record(self, *_: object) -> None:
        raise Retry("the connection is lost")


class StopsBeforeAppending(ShareEventTable):
    """Loses BigQuery between the note and the append."""

    async def _ask(self, call: object, *arguments: object) -> object:
        if call == self._warehouse.append:
            raise Retry("no answer")
        return await super()._ask(call, *arguments)


async def test_a_row_says_what_the_event_says_and_nothing_secret(warehouse: Warehouse, database: Database) -> None:
    full = event(
        EventType.ITEM_ADDED,
        timestamp=datetime(2026, 3, 29, 23, 59, 59, 123456, UTC),
        share_channel=Channel.WHATSAPP,
        recipient_user_id=key_of("user_recipient"),
        referrer="https://chat.example/room/1?who=maya",
        user_agent="Mozilla/5.0",
        message="only for you",
        country="DE",
        platform="mobile",
        variant="B",
        product_ids=("prod_1", "prod_2"),
        product_id="prod_1",
        wishlist_item_id=uuid7(),
        recipient_wishlist_id=key_of("wl_recipient_001"),
        created_wishlist=True,
        page_view_id=uuid7(),
        visitor_hash="ab" * 16,
        expires_at=datetime(2026, 4, 1, tzinfo=UTC),
    )
    plain = event(timestamp=datetime(2026, 1, 1, tzinfo=UTC))
    sink = ShareEventTable(database, GROUP, warehouse)
    await sink.positions({PARTITION: 0})
    assert (await sink.apply(batch(0, full, plain))).applied == 2
    rows = {row["event_id"]: row for row in await rows_of(warehouse)}
    assert rows[str(full.event_id)] == {
        "event_id": str(full.event_id),
        "event_date": date(2026, 3, 29),
        "occurred_at": full.timestamp,
        "event_type": "share_item_added",
        "share_id": str(full.share_id),
        "wishlist_id": str(full.wishlist_id),
        "user_id": str(full.user_id),
        "recipient_user_id": str(full.recipient_user_id),
        "share_channel": "whatsapp",
        "platform": "mobile",
        "variant": "B",
        "country": "DE",
        "referrer_host": "chat.example",
        "is_bot": False,
        "visitor_hash": "ab" * 16,
        "page_view_id": str(full.page_view_id),
        "item_count": 9,
        "product_ids": ["prod_1", "prod_2"],
        "product_id": "prod_1",
        "wishlist_item_id": str(full.wishlist_item_id),
        "recipient_wishlist_id": str(full.recipient_wishlist_id),
        "created_wishlist": True,
        "item_visible": None,
        "expires_at": full.expires_at,
    }
    empty = rows[str(plain.event_id)]
    assert [name for name, value in empty.items() if value is None] == [
        "recipient_user_id", "variant", "visitor_hash", "page_view_id", "product_id", "wishlist_item_id",
        "recipient_wishlist_id", "item_visible", "expires_at",
    ]  # fmt: skip
    assert set(row_of(full)) == set(empty), "every column is written"


async def test_an_append_that_took_place_is_found_and_not_repeated(warehouse: Warehouse, database: Database) -> None:
    lost = StopsAfterAppending(database, GROUP, warehouse)
    await lost.positions({PARTITION: 0})
    events = [event(), event()]
    with pytest.raises(Retry):
        await lost.apply(batch(0, *events))
    heir = ShareEventTable(database, GROUP, warehouse)
    assert await heir.positions({PARTITION: 0}) == {PARTITION: 2}
    assert (await heir.apply(batch(2, *events, event()))).applied == 1
    ids = [row["event_id"] for row in await rows_of(warehouse)]
    assert len(ids) == len(set(ids)) == 3


async def test_an_append_that_did_not_is_done_by_the_next_owner_and_never_twice(
    warehouse: Warehouse, database: Database
) -> None:
    lost = StopsBeforeAppending(database, GROUP, warehouse)
    await lost.positions({PARTITION: 0})
    with pytest.raises(Retry):
        await lost.apply(batch(0, event()))
    stream = lost._stream
    assert stream is not None
    heir = ShareEventTable(database, GROUP, warehouse)
    assert await heir.positions({PARTITION: 0}) == {PARTITION: 0}
    own = event()
    assert (await heir.apply(batch(0, own))).applied == 1

    # The append comes late after all: its stream takes nothing more. And the worker that sent it owns nothing.
    late = RowFormat(warehouse.schema("share_events"))
    with pytest.raises(Unavailable):
        await asyncio.to_thread(warehouse.append, stream, [late.encode(row_of(event()))], late)
    with pytest.raises(Fenced):
        await lost.apply(batch(0, event()))
    assert [row["event_id"] for row in await rows_of(warehouse)] == [str(own.event_id)]
    assert await (await database.pool()).fetchval("SELECT count(*) FROM warehouse_appends") == 0


async def test_the_worker_that_met_the_fault_goes_on_by_itself(warehouse: Warehouse, database: Database) -> None:
    sink = ShareEventTable(database, GROUP, warehouse)
    await sink.positions({PARTITION: 0})
    first = event()
    await sink.apply(batch(0, first))
    assert sink._stream is not None
    await asyncio.to_thread(warehouse.finish, sink._stream.name)
    second = event()
    with pytest.raises(Retry, match="FINALIZED"):
        await sink.apply(batch(1, second))
    assert (await sink.apply(batch(1, second))).applied == 1
    assert len(await rows_of(warehouse)) == 2


async def test_a_batch_above_bigquerys_limit_is_halved_and_a_row_above_it_put_aside(
    warehouse: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients.bigquery, "LARGEST_APPEND_BYTES", 20_000)
    log = Log()
    events = [event(EventType.CREATED, product_ids=tuple(f"prod_{n}" for n in range(100))) for _ in range(40)]
    giant = event(EventType.CREATED, product_ids=tuple(f"prod_{n}" for n in range(4_000)))
    for one in (*events[:20], giant, *events[20:]):
        log.append(0, CODEC.encode(one))
    bench = Bench(ShareEventTable(database, GROUP, warehouse), log=log)
    await bench.run(10, within=60)
    [letter] = bench.dlq.letters
    assert "an append takes 20,000" in str(letter)
    held = {row["event_id"] for row in await rows_of(warehouse)}
    assert held == {str(one.event_id) for one in events}


@pytest.mark.parametrize("how", ["raised", "answered"])
async def test_what_bigquery_calls_an_invalid_argument_is_no_outage(
    warehouse: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sink = ShareEventTable(database, GROUP, warehouse)
    await sink.positions({PARTITION: 0})

    def refuse(*_: object, **__: object) -> object:
        if how == "raised":
            raise InvalidArgument("row too large")
        return [types.AppendRowsResponse(error=Status(code=code_pb2.INVALID_ARGUMENT, message="row too large"))]

    with monkeypatch.context() as patch:
        patch.setattr(type(warehouse._writer), "append_rows", refuse)
        with pytest.raises(Reject, match="row too large"):
            await sink.apply(batch(0, event()))
    assert (await sink.apply(batch(0, event()))).applied == 1


@pytest.mark.parametrize("took_place", [True, False])
async def test_a_stream_that_bigquery_has_forgotten_is_told_by_its_rows(
    warehouse: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch, took_place: bool
) -> None:
    kind = StopsAfterAppending if took_place else StopsBeforeAppending
    lost = kind(database, GROUP, warehouse)
    await lost.positions({PARTITION: 0})
    with pytest.raises(Retry):
        await lost.apply(batch(0, event()))
    monkeypatch.setattr(warehouse, "finish", lambda stream: None)
    heir = ShareEventTable(database, GROUP, warehouse)
    assert await heir.positions({PARTITION: 0}) == {PARTITION: 1 if took_place else 0}


async def test_migrating_adds_columns_and_does_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(WarehouseSettings(dataset=f"warehouse_{uuid4().hex[:12]}"))
    schema, columns = warehouse.schema, warehouse.schema("share_events")
    monkeypatch.setattr(warehouse, "schema", lambda table: schema(table)[: -1 if table == "share_events" else None])
    made = list(preparation.prepare(warehouse))
    assert made[:2] == [f"made dataset {warehouse.dataset}", "made table share_events"]
    monkeypatch.setattr(warehouse, "schema", schema)
    assert list(preparation.prepare(warehouse)) == [f"added {columns[-1].name} to share_events"]
    assert list(preparation.prepare(warehouse)) == []
    monkeypatch.setattr(preparation, "views", lambda: [replace(view, source=f"{view.source}\n") for view in views()])
    assert list(preparation.prepare(warehouse)) == [f"renewed view {view.name}" for view in views()]
    table = warehouse.rest.get_table(f"{warehouse.dataset}.share_events")
    assert [column.name for column in table.schema] == [column.name for column in columns]
    assert isinstance(table.time_partitioning, bigquery.TimePartitioning)
    assert table.time_partitioning.field == "event_date"
    assert table.clustering_fields == ["event_type", "share_id"]
    assert all(column.description for column in table.schema)
    warehouse.rest.delete_dataset(warehouse.dataset, delete_contents=True)
