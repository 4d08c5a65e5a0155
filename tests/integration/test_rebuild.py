"""Stores that are built anew while their agent works: BigQuery's tables, and what holds for every rebuild."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from clients.bigquery import Warehouse
from clients.postgres import Database
from config.settings import PostgresSettings
from ops.replay.rebuild_table import TableShadow
from ops.replay.targets import targets
from ops.seed import key_of
from schemas.segment import SegmentMessage, encode
from sinks import bigquery, segment, share_store
from sinks.bigquery import ShareEventTable
from sinks.contract import Batch, Fenced, Move, Partition, Retry
from tests.lab import Lab, event, eventually, expected_totals, story
from tests.warehouse import rows_of

EVENTS = 2_000
ALL_DAYS = "event_date > '1970-01-01'"
NO_REBUILD = {name for name, target in targets().items() if target.shadow is None}


def group(lab: Lab, sink: str = bigquery.GROUP) -> str:
    return sink + lab.env["STREAM_GROUP_SUFFIX"]


async def filled(lab: Lab, events: Sequence[Any]) -> None:
    """Let the live agent, which stays at work, bring *events* into BigQuery."""
    lab.produce_events(events)
    lab.start("warehouse")
    await lab.applied(group(lab))


async def change(warehouse: Warehouse, sql: str, table: str = "share_events") -> None:
    await asyncio.to_thread(warehouse.query, sql.format(table=f"{warehouse.dataset}.{table}"))


async def left_over(lab: Lab, warehouse: Warehouse) -> list[str]:
    """What rebuilds have left in either database."""
    listed = await asyncio.to_thread(lambda: list(warehouse.rest.list_tables(warehouse.dataset)))
    tables = [table.table_id for table in listed if "_20" in table.table_id]
    rows = await lab.pool.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rebuild%'")
    return tables + [row["nspname"] for row in rows]


def counted(said: str, table: str) -> list[str]:
    """What the command says of *table*: rows missing, changed, too many."""
    [row] = [line.split("│")[1:-1] for line in said.splitlines() if f" {table} " in line and "│" in line]
    return [cell.strip() for cell in row][1:]


async def test_a_table_built_anew_says_what_the_events_say_while_its_agent_works(
    lab: Lab, warehouse: Warehouse
) -> None:
    events = story(2 * EVENTS)
    await filled(lab, events[:EVENTS])
    before = await rows_of(warehouse)
    gone, changed, twice = (str(event.event_id) for event in events[:3])
    await change(warehouse, f"DELETE FROM `{{table}}` WHERE {ALL_DAYS} AND event_id = '{gone}'")
    await change(warehouse, f"UPDATE `{{table}}` SET country = 'XX' WHERE {ALL_DAYS} AND event_id = '{changed}'")
    same = f"SELECT * FROM `{{table}}` WHERE {ALL_DAYS} AND event_id"
    await change(warehouse, f"INSERT INTO `{{table}}` {same} = '{twice}'")
    await change(
        warehouse,
        f"INSERT INTO `{{table}}` SELECT * REPLACE ('{uuid4()}' AS event_id) FROM ({same} = '{twice}' LIMIT 1)",
    )
    rebuild = lab.begin_wishlist("replay", "warehouse", "--rebuild", "--yes", "--rate", "500", "--workers", "2")
    for begin in range(EVENTS, 2 * EVENTS, 200):
        lab.produce_events(events[begin : begin + 200])
        await asyncio.sleep(0.3)
    said, _ = await asyncio.to_thread(rebuild.communicate, timeout=180)
    assert rebuild.returncode == 0, said
    assert counted(said, "share_events") == ["1", "1", "2"]
    await lab.applied(group(lab))
    after = await rows_of(warehouse)
    assert [row["event_id"] for row in after] == sorted(str(event.event_id) for event in events)
    known = {row["event_id"] for row in before}
    assert [row for row in after if row["event_id"] in known] == before
    assert await left_over(lab, warehouse) == []
    said = await lab.wishlist("replay", "warehouse", "--rebuild", "--yes")
    assert counted(said, "share_events") == ["0", "0", "0"]


async def test_segment_messages_are_built_anew_from_both_topics(lab: Lab, warehouse: Warehouse) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    said = [
        SegmentMessage(
            message_id=f"m{n}", type="track", event="share_button_viewed", user_id="user_maya", timestamp=now,
            received_at=now,
        )
        for n in range(200)
    ]  # fmt: skip
    lab.produce_events(story(EVENTS))
    lab.produce([("user_maya", encode(message)) for message in said], lab.kafka.segment_topic)
    lab.start("segment")
    await lab.applied(group(lab, segment.GROUP))

    async def told() -> bool:
        marks = await lab.watermarks(group(lab, segment.GROUP), lab.kafka.segment_topic)
        return sum(marks.values()) == len(said)

    await eventually(told, 60, "the messages are there")
    before = await rows_of(warehouse, table="segment_messages")
    assert len(before) > len(said)
    lost = "id IN ('m2', 'm3') OR event = 'share_completed'"
    await change(warehouse, f"DELETE FROM `{{table}}` WHERE {ALL_DAYS} AND ({lost})", "segment_messages")
    await change(
        warehouse, f"UPDATE `{{table}}` SET user_id = 'nobody' WHERE {ALL_DAYS} AND id = 'm1'", "segment_messages"
    )
    await lab.wishlist("replay", "segment", "--rebuild", "--yes")
    assert await rows_of(warehouse, table="segment_messages") == before

    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap_servers})
    ends = lab.end_offsets(lab.kafka.segment_topic).items()
    forgotten = [TopicPartition(lab.kafka.segment_topic, number, end) for number, end in ends if end]
    for answer in admin.delete_records(forgotten).values():
        answer.result(30)
    refused = await lab.wishlist("replay", "segment", "--rebuild", "--yes", code=2)
    assert "has forgotten its beginning" in " ".join(refused.split())
    assert await rows_of(warehouse, table="segment_messages") == before


@pytest.mark.parametrize("words", [["--resume"], ["--rebuild"]])
async def test_one_that_was_killed_has_changed_nothing_and_can_be_begun_again(
    lab: Lab, warehouse: Warehouse, words: list[str]
) -> None:
    events = story(EVENTS)
    await filled(lab, events)
    right = await rows_of(warehouse)
    await change(warehouse, f"DELETE FROM `{{table}}` WHERE {ALL_DAYS} AND event_id = '{events[0].event_id}'")
    damaged = await rows_of(warehouse)
    killed = lab.begin_wishlist("replay", "warehouse", "--rebuild", "--yes", "--rate", "300")

    async def under_way() -> bool:
        schemas = await lab.pool.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rebuild%'")
        return bool(schemas) and await lab.pool.fetchval(
            f'SELECT coalesce(sum(next_offset), 0) FROM "{schemas[0]["nspname"]}".watermarks'
        )

    await eventually(under_way, 60, "the rebuild is under way")
    refused = await lab.wishlist("replay", "warehouse", "--yes", code=2)
    assert "is being built anew" in refused
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert await rows_of(warehouse) == damaged
    assert await left_over(lab, warehouse)
    said = await lab.wishlist("replay", "warehouse", *words, "--yes")
    assert counted(said, "share_events") == ["1", "0", "0"]
    assert await rows_of(warehouse) == right
    assert await left_over(lab, warehouse) == []


PARTITION = Partition("events", uuid4(), 3)


class StopsAfterAppending(ShareEventTable):
    """Loses its connection to PostgreSQL between an append and the record of it."""

    async def _record(self, *_: object) -> None:
        raise Retry("the connection is lost")


async def test_who_holds_the_agent_knows_what_it_has_appended_and_lets_it_append_no_more(
    lab: Lab, warehouse: Warehouse
) -> None:
    database = Database(PostgresSettings(dsn=lab.dsn))
    quick = Database(PostgresSettings(dsn=lab.dsn, command_timeout_seconds=1))
    agent = StopsAfterAppending(quick, "live", warehouse)
    await agent.positions({PARTITION: 0})
    with pytest.raises(Retry):
        await agent.apply(Batch((Move(PARTITION, 0, 1),), [event()]))
    shadow = TableShadow(warehouse, "share_events", ShareEventTable, "warehouse-1")
    connection = await asyncpg.connect(lab.dsn)
    async with connection.transaction():
        await shadow.hold(connection, database, "live")
        mark = "SELECT next_offset FROM watermarks WHERE consumer_group = 'live'"
        assert await lab.pool.fetchval(mark) == 1, "what it has appended is known"
        other = ShareEventTable(quick, "live", warehouse)
        with pytest.raises(Retry):
            await other.positions({PARTITION: 0})
        with pytest.raises((Retry, Fenced)):
            await agent.apply(Batch((Move(PARTITION, 1, 2),), [event()]))
        assert len(await rows_of(warehouse)) == 1
    heir = ShareEventTable(quick, "live", warehouse)
    assert await heir.positions({PARTITION: 0}) == {PARTITION: 1}
    await heir.apply(Batch((Move(PARTITION, 1, 2),), [event()]))
    assert len(await rows_of(warehouse)) == 2
    await connection.close()
    for one in (database, quick):
        await (await one.pool()).close()


async def test_what_a_rebuild_brings_back_a_replay_does_not_count_again(lab: Lab) -> None:
    events = story(EVENTS)
    lab.produce_events(events)
    lab.start("persist")
    await lab.applied(group(lab, share_store.GROUP))
    for table in ("wishlist_shares", "share_visitors", "ledger"):
        await lab.pool.execute(f"DELETE FROM {table}")
    await lab.wishlist("replay", "persist", "--rebuild", "--yes")
    assert await lab.totals() == expected_totals(events)
    await lab.wishlist("replay", "persist", "--yes")
    assert await lab.totals() == expected_totals(events)


async def test_who_is_removed_meanwhile_does_not_come_back(lab: Lab, warehouse: Warehouse) -> None:
    await filled(lab, story(EVENTS))
    before = await rows_of(warehouse)
    rebuild = lab.begin_wishlist("replay", "warehouse", "--rebuild", "--yes", "--rate", "500")
    await asyncio.sleep(4)
    await lab.pool.execute("SELECT remove_user($1, 'test')", key_of("user_recipient"))
    said, _ = await asyncio.to_thread(rebuild.communicate, timeout=120)
    assert rebuild.returncode == 2, said
    assert "removed meanwhile" in said
    assert await rows_of(warehouse) == before
    assert await left_over(lab, warehouse) == []
    await lab.pool.execute("UPDATE removed_users SET removed_at = $1", datetime.now(UTC) - timedelta(hours=1))
    await lab.wishlist("replay", "warehouse", "--rebuild", "--yes")


@pytest.mark.parametrize("sink", sorted(NO_REBUILD))
async def test_what_has_no_store_to_build_says_so_and_what_to_do(lab: Lab, sink: str) -> None:
    said = " ".join((await lab.wishlist("replay", sink, "--rebuild", "--yes", code=2)).split())
    assert f"--rebuild: {sink} is not built anew" in said
    assert ("wishlist archive verify" if sink == "archive" else f"wishlist replay {sink} --again") in said
