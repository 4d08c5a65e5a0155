"""Share events in BigQuery, a row each, written exactly once (docs/architecture.md, "The warehouse").

BigQuery and the watermarks cannot change in one transaction. So an append is first written down in PostgreSQL: its
stream, its place in it, and what it moves. Whoever finds such a note later closes the stream, asks how many rows it
took, and then knows whether the append took place. A closed stream takes no more rows: what did not happen cannot
happen afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from google.cloud import bigquery

from clients.bigquery import RowsRefused, Warehouse, WarehouseError, WriteStream
from clients.bigquery_rows import RowFormat
from clients.logs import get_logger
from clients.postgres import Database
from schemas.event import ShareEvent
from sinks import postgres
from sinks.contract import Applied, Batch, Fenced, Move, Partition, Reject, Retry

GROUP = "analytics-pipeline-wishlist-social"
TABLE = "share_events"


class ShareEventTable:
    """The sink of the warehouse agent."""

    def __init__(self, database: Database, group: str, warehouse: Warehouse) -> None:
        self.group = group
        self._database = database
        self._warehouse = warehouse
        self._format = RowFormat(warehouse.schema(TABLE))
        self._owner = uuid4()
        self._stream: WriteStream | None = None
        # Whether an append of ours may have been written down whose outcome nobody has recorded.
        self._unsettled = False

    async def positions(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """See :meth:`sinks.contract.Sink.positions`. From here on no other worker appends these partitions' events."""
        await postgres.read_positions(self._database, self.group, starts)
        async with postgres.transaction(self._database) as connection:
            await connection.execute(
                """INSERT INTO warehouse_owners (consumer_group, topic, partition, owner)
                   SELECT $1, t, p, $4 FROM unnest($2::text[], $3::int[]) AS of(t, p) ORDER BY 2, 3
                   ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET owner = EXCLUDED.owner""",
                self.group,
                [partition.topic for partition in starts],
                [partition.number for partition in starts],
                self._owner,
            )
        await self._settle_open_appends(starts)
        return await postgres.read_positions(self._database, self.group, starts)

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        if self._unsettled:
            await self._settle_open_appends([move.partition for move in batch.moves])
            self._unsettled = False
        if self._stream is None:
            self._stream = await self._ask(self._warehouse.open_stream, TABLE)
        stream, note = self._stream, uuid4()
        self._unsettled = True
        fresh = await self._write_down(note, stream, batch)
        skipped = len(batch.events) - len(fresh)
        if fresh:
            rows = [self._format.encode(row_of(event)) for event in fresh]
            try:
                await self._ask(self._warehouse.append, stream, rows, self._format)
            except Reject:
                await self._forget(note)
                self._unsettled = False
                raise
            async with postgres.transaction(self._database) as connection:
                await self._record(connection, note, batch.moves, [event.event_id for event in fresh])
        self._unsettled = False
        return Applied(len(fresh), skipped)

    async def _ask(self, call: Any, *arguments: Any) -> Any:
        """Call BigQuery in a thread; its errors named for what to do."""
        try:
            return await asyncio.to_thread(call, *arguments)
        except RowsRefused as error:
            raise Reject(str(error)) from error
        except WarehouseError as error:
            raise Retry(f"BigQuery: {error}") from error

    async def _write_down(self, note: UUID, stream: WriteStream, batch: Batch) -> list[ShareEvent]:
        """Note what is about to be appended, and return it; where that is nothing, only the watermarks move."""
        async with postgres.transaction(self._database) as connection:
            await self._check_ours(connection, batch.moves)
            fresh = await self._unseen(connection, batch.events)
            if not fresh:
                await postgres.move_watermarks(connection, self.group, batch.moves)
                return []
            await connection.execute(
                """INSERT INTO warehouse_appends (id, consumer_group, stream, row_offset, event_ids, topics, topic_ids,
                                                  partitions, expected, next)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
                note,
                self.group,
                stream.name,
                stream.next_offset,
                [event.event_id for event in fresh],
                [move.partition.topic for move in batch.moves],
                [move.partition.topic_id for move in batch.moves],
                [move.partition.number for move in batch.moves],
                [move.expected for move in batch.moves],
                [move.next for move in batch.moves],
            )
            return fresh

    async def _check_ours(self, connection: PoolConnectionProxy, moves: Sequence[Move]) -> None:
        """Raise :class:`Fenced` unless we own each partition and stand where its watermark does.

        The owner's row stays locked until the note is written, so that a new owner finds the note.
        """
        rows = await connection.fetch(
            """SELECT o.topic, o.partition, o.owner = $4 AND w.next_offset = m.expected AS ours
               FROM unnest($2::text[], $3::int[], $5::uuid[], $6::bigint[]) AS m(topic, partition, topic_id, expected)
               JOIN warehouse_owners o ON (o.consumer_group, o.topic, o.partition) = ($1, m.topic, m.partition)
               JOIN watermarks w ON (w.consumer_group, w.topic, w.partition) = ($1, m.topic, m.partition)
                                AND w.topic_id = m.topic_id
               FOR SHARE OF o""",
            self.group,
            [move.partition.topic for move in moves],
            [move.partition.number for move in moves],
            self._owner,
            [move.partition.topic_id for move in moves],
            [move.expected for move in moves],
        )
        ours = {(row["topic"], row["partition"]) for row in rows if row["ours"]}
        lost = [move.partition for move in moves if (move.partition.topic, move.partition.number) not in ours]
        if lost:
            raise Fenced(lost)

    async def _unseen(self, connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> list[ShareEvent]:
        """The events that are not in the ledger, each once, in order."""
        first = {event.event_id: event for event in reversed(events)}
        known = await connection.fetch(
            "SELECT event_id FROM ledger WHERE consumer_group = $1 AND event_id = ANY($2::uuid[])",
            self.group,
            list(first),
        )
        for row in known:
            del first[row["event_id"]]
        return list(reversed(first.values()))

    async def _record(
        self, connection: PoolConnectionProxy, note: UUID, moves: Sequence[Move], event_ids: Sequence[UUID]
    ) -> None:
        """The append took place: move the watermarks, remember the events, drop the note."""
        await postgres.move_watermarks(connection, self.group, moves)
        await connection.execute(
            """INSERT INTO ledger (event_id, consumer_group) SELECT id, $1 FROM unnest($2::uuid[]) AS id
               ON CONFLICT DO NOTHING""",
            self.group,
            list(event_ids),
        )
        await connection.execute("DELETE FROM warehouse_appends WHERE id = $1", note)

    async def _forget(self, note: UUID) -> None:
        async with postgres.transaction(self._database) as connection:
            await connection.execute("DELETE FROM warehouse_appends WHERE id = $1", note)

    # --- appends whose outcome is open ------------------------------------------------------------------------

    async def _settle_open_appends(self, partitions: Mapping[Partition, int] | Sequence[Partition]) -> None:
        """Find out what became of appends that move any of *partitions*, and record it."""
        async with postgres.transaction(self._database) as connection:
            notes = await connection.fetch(
                """SELECT * FROM warehouse_appends a WHERE consumer_group = $1 AND EXISTS (
                       SELECT 1 FROM unnest(a.topics, a.partitions) AS m(topic, partition)
                       JOIN unnest($2::text[], $3::int[]) AS ours(topic, partition) USING (topic, partition))
                   ORDER BY written_at""",
                self.group,
                [partition.topic for partition in partitions],
                [partition.number for partition in partitions],
            )
        for note in notes:
            if self._stream is not None and self._stream.name == note["stream"]:
                self._stream = None
            happened = await self._took_place(note)
            get_logger().info("open append settled", group=self.group, took_place=happened, rows=len(note["event_ids"]))
            async with postgres.transaction(self._database) as connection:
                # Another new owner of one of its partitions may have settled it first.
                if await connection.fetchval("SELECT 1 FROM warehouse_appends WHERE id = $1 FOR UPDATE", note["id"]):
                    if happened:
                        await self._record(connection, note["id"], _moves(note), note["event_ids"])
                    else:
                        await connection.execute("DELETE FROM warehouse_appends WHERE id = $1", note["id"])

    async def _took_place(self, note: asyncpg.Record) -> bool:
        count = await self._ask(self._warehouse.finish, note["stream"])
        if count is not None:
            return bool(count >= note["row_offset"] + len(note["event_ids"]))
        # BigQuery has forgotten the stream, as it does after some days. An append is there whole or not at all.
        found = await self._ask(
            self._warehouse.query,
            f"""SELECT count(*) AS n FROM `{self._warehouse.dataset}.{TABLE}`
                WHERE event_id IN UNNEST(@ids) AND event_date > DATE '1970-01-01'""",
            [bigquery.ArrayQueryParameter("ids", "STRING", [str(event_id) for event_id in note["event_ids"]])],
        )
        return bool(found[0]["n"])


def row_of(event: ShareEvent) -> dict[str, Any]:
    """The event's row in ``share_events``; what must not leave PostgreSQL (token, message, addresses) is not in it."""
    return {
        "event_id": str(event.event_id),
        "event_date": event.timestamp.date(),
        "occurred_at": event.timestamp,
        "event_type": str(event.event_type),
        "share_id": str(event.share_id),
        "wishlist_id": str(event.wishlist_id),
        "user_id": str(event.user_id),
        "recipient_user_id": _text(event.recipient_user_id),
        "share_channel": str(event.share_channel),
        "platform": event.platform,
        "variant": event.variant,
        "country": event.country,
        "referrer_host": _host(event.referrer),
        "is_bot": event.is_bot,
        "visitor_hash": event.visitor_hash,
        "page_view_id": _text(event.page_view_id),
        "item_count": event.item_count,
        "product_ids": list(event.product_ids),
        "product_id": event.product_id,
        "wishlist_item_id": _text(event.wishlist_item_id),
        "recipient_wishlist_id": _text(event.recipient_wishlist_id),
        "created_wishlist": event.created_wishlist,
        "item_visible": event.item_visible,
        "expires_at": event.expires_at,
    }


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _moves(note: asyncpg.Record) -> list[Move]:
    columns = (note["topics"], note["topic_ids"], note["partitions"], note["expected"], note["next"])
    return [
        Move(Partition(topic, topic_id, number), a, b) for topic, topic_id, number, a, b in zip(*columns, strict=True)
    ]
