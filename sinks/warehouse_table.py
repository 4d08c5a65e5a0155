"""Rows in BigQuery, written exactly once (docs/architecture.md, "The warehouse").

BigQuery and the watermarks cannot change in one transaction. So an append is first written down in PostgreSQL: its
stream, its place in it, and what it moves. Whoever finds such a note later closes the stream, asks how many rows it
took, and then knows whether the append took place. A closed stream takes no more rows: what did not happen cannot
happen afterwards.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from google.cloud import bigquery

from clients.bigquery import RowsRefused, Warehouse, WriteStream
from clients.bigquery_rows import RowFormat
from clients.faults import Unavailable
from clients.logs import get_logger
from clients.postgres import Database
from sinks import postgres
from sinks.contract import Applied, Batch, Fenced, Move, Partition, Reject, Retry
from sinks.lanes import group_of
from sinks.removed import RemovedUsers

E = TypeVar("E")


class WarehouseTable(ABC, Generic[E]):
    """A sink that appends a row to one table for each entry of a batch.

    The table's column ``event_id`` holds the first of the entry's ledger ids. *into*: a table of the same columns that
    takes the rows instead.
    """

    table: str

    def __init__(self, database: Database, group: str, warehouse: Warehouse, into: str | None = None) -> None:
        self.group = group
        self._into = into or self.table
        self._database = database
        self._warehouse = warehouse
        self._format = RowFormat(warehouse.schema(self.table))
        self._owner = uuid4()
        self._removed = RemovedUsers()
        self._stream: WriteStream | None = None
        # Whether an append of ours may have been written down whose outcome nobody has recorded.
        self._unsettled = False

    @abstractmethod
    def entries(self, batch: Batch) -> Sequence[E]:
        """What of *batch* becomes rows."""

    @abstractmethod
    def ledger_ids(self, entry: E) -> tuple[UUID, ...]:
        """The ids by which the ledger knows *entry*, the one that it is written under first."""

    @abstractmethod
    async def rows(self, entries: Sequence[E]) -> list[Mapping[str, Any]]:
        """The rows of *entries*, in order. Raises :class:`sinks.contract.Retry`."""

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
        await self.settle_open_appends(starts)
        return await postgres.read_positions(self._database, self.group, starts)

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        if self._unsettled:
            await self.settle_open_appends([move.partition for move in batch.moves])
            self._unsettled = False
        if self._stream is None:
            self._stream = await self._ask(self._warehouse.open_stream, self._into)
        stream, note = self._stream, uuid4()
        self._unsettled = True
        fresh = await self._write_down(note, stream, batch)
        skipped = len(self.entries(batch)) - len(fresh)
        if fresh:
            rows = [self._format.encode(row) for row in await self.rows(fresh)]
            try:
                await self._ask(self._warehouse.append, stream, rows, self._format)
            except Reject:
                await self._forget(note)
                self._unsettled = False
                raise
            async with postgres.transaction(self._database) as connection:
                await self._record(connection, note, batch.moves, [self.ledger_ids(entry)[0] for entry in fresh])
        self._unsettled = False
        return Applied(len(fresh), skipped)

    async def _ask(self, call: Any, *arguments: Any) -> Any:
        """Call BigQuery in a thread; its errors named for what to do."""
        try:
            return await asyncio.to_thread(call, *arguments)
        except RowsRefused as error:
            raise Reject(str(error)) from error
        except Unavailable as error:
            raise Retry(f"BigQuery: {error}") from error

    async def _write_down(self, note: UUID, stream: WriteStream, batch: Batch) -> list[E]:
        """Note what is about to be appended, and return it; where that is nothing, only the watermarks move."""
        async with postgres.transaction(self._database) as connection:
            await self._check_ours(connection, batch.moves)
            kept, _ = await self._removed.pass_by(connection, batch)
            fresh = await self._unseen(connection, self.entries(kept))
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
                [self.ledger_ids(entry)[0] for entry in fresh],
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

    async def _unseen(self, connection: PoolConnectionProxy, entries: Sequence[E]) -> list[E]:
        """The entries that are not in the ledger, each once, in order."""
        ids = [self.ledger_ids(entry) for entry in entries]
        known = await connection.fetch(
            "SELECT event_id FROM ledger WHERE consumer_group = $1 AND event_id = ANY($2::uuid[])",
            group_of(self.group),
            list({one for of_entry in ids for one in of_entry}),
        )
        seen = {row["event_id"] for row in known}
        fresh = []
        for entry, own in zip(entries, ids, strict=True):
            if seen.isdisjoint(own):
                seen.add(own[0])
                fresh.append(entry)
        return fresh

    async def _record(
        self, connection: PoolConnectionProxy, note: UUID, moves: Sequence[Move], event_ids: Sequence[UUID]
    ) -> None:
        """The append took place: move the watermarks, remember the events, drop the note."""
        await postgres.move_watermarks(connection, self.group, moves)
        await connection.execute(
            """INSERT INTO ledger (event_id, consumer_group) SELECT id, $1 FROM unnest($2::uuid[]) AS id
               ON CONFLICT DO NOTHING""",
            group_of(self.group),
            list(event_ids),
        )
        await connection.execute("DELETE FROM warehouse_appends WHERE id = $1", note)

    async def _forget(self, note: UUID) -> None:
        async with postgres.transaction(self._database) as connection:
            await connection.execute("DELETE FROM warehouse_appends WHERE id = $1", note)

    # --- appends whose outcome is open ------------------------------------------------------------------------

    async def settle_open_appends(self, partitions: Mapping[Partition, int] | Sequence[Partition]) -> None:
        """Find out what became of appends that move any of *partitions*, and record it.

        Raises :class:`sinks.contract.Retry`.
        """
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
            f"""SELECT count(*) AS n FROM `{self._warehouse.dataset}.{self._into}`
                WHERE event_id IN UNNEST(@ids) AND event_date > DATE '1970-01-01'""",
            [bigquery.ArrayQueryParameter("ids", "STRING", [str(event_id) for event_id in note["event_ids"]])],
        )
        return bool(found[0]["n"])


def _moves(note: asyncpg.Record) -> list[Move]:
    columns = (note["topics"], note["topic_ids"], note["partitions"], note["expected"], note["next"])
    return [
        Move(Partition(topic, topic_id, number), a, b) for topic, topic_id, number, a, b in zip(*columns, strict=True)
    ]
