"""The events topic in the bucket, each event in one file, once.

Bucket and watermarks cannot change in one transaction. So a batch's files are put first, and then listed in the
transaction that moves the watermarks. A file that is not listed was never written: a kill or a lost partition left it
behind, nobody reads it, and the sweep removes it (:mod:`streams.archive_sweep`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.faults import Unavailable
from clients.objects import ObjectStore
from clients.postgres import Database
from schemas import archive
from schemas.archive import ArchivedEvent
from sinks import postgres
from sinks.archive_files import CONTENT_TYPE, Described, describe
from sinks.contract import Applied, Batch, Partition, PlacedEvent, Retry
from sinks.lanes import group_of
from sinks.removed import RemovedUsers

GROUP = "event-archive-wishlist-social"

# A file that is older than this when its listing begins is put anew: the sweep takes what is twice as old and not
# listed, and must never take what is about to be.
LONGEST_UNLISTED = timedelta(minutes=30)

_SEEN = "SELECT event_id FROM ledger WHERE consumer_group = $1 AND event_id = ANY($2::uuid[])"
_LIST = """
    INSERT INTO archive_files (consumer_group, key, sha256, bytes, events, topic, topic_id, day, partitions,
                               first_offsets, last_offsets, first_at, last_at, first_event_at, last_event_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"""
# What is read again, by a replay's lane or after watermarks were set back, is within spans that are noted already.
_SPANS = """
    WITH batch AS (
        SELECT of.*, coalesce((SELECT max(next_offset) FROM archive_spans s
                               WHERE (s.consumer_group, s.topic_id, s.partition) = ($1, of.topic_id, of.partition)),
                              of.first) AS reach
        FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[], $7::int[])
             AS of(topic, topic_id, partition, first, next, events)),
    noted AS (
        INSERT INTO archive_spans (consumer_group, topic, topic_id, partition, first_offset, next_offset, events)
        SELECT $1, topic, topic_id, partition, greatest(first, reach), next, events FROM batch WHERE next > reach)
    UPDATE archive_spans s SET events = s.events + of.events FROM batch of
    WHERE of.next <= of.reach AND of.events > 0
      AND (s.consumer_group, s.topic_id, s.partition) = ($1, of.topic_id, of.partition)
      AND s.first_offset = (SELECT max(first_offset) FROM archive_spans t
                            WHERE (t.consumer_group, t.topic_id, t.partition) = ($1, of.topic_id, of.partition)
                              AND t.first_offset <= of.first)"""


@dataclass(frozen=True, slots=True)
class _File:
    """One file of a batch, before it is listed."""

    described: Described
    body: bytes


class EventArchive:
    """The sink of the archive agent."""

    def __init__(self, database: Database, group: str, store: ObjectStore, prefix: str) -> None:
        self.group = group
        self._database = database
        self._store = store
        self._prefix = prefix
        self._removed = RemovedUsers()

    async def positions(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """See :meth:`sinks.contract.Sink.positions`."""
        return await postgres.read_positions(self._database, self.group, starts)

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        async with postgres.transaction(self._database) as connection:
            await postgres.check_watermarks(connection, self.group, batch.moves)
            fresh = await self._unseen(connection, batch)
            began: datetime = await connection.fetchval("SELECT clock_timestamp()")
        files = await asyncio.to_thread(self._files, batch, fresh)
        for file in files:
            try:
                await self._store.put(file.described.key, file.body, CONTENT_TYPE)
            except Unavailable as error:
                raise Retry(f"the archive: {error}") from error
        async with postgres.transaction(self._database) as connection:
            await postgres.move_watermarks(connection, self.group, batch.moves)
            # Who was removed, or what another partition brought, since the files were made.
            now = await self._unseen(connection, batch)
            events = await postgres.unseen(connection, self.group, [placed.event for placed in now])
            if len(now) != len(fresh) or len(events) != len(fresh):
                raise Retry("what the batch holds has changed while its files were put")
            if await connection.fetchval("SELECT clock_timestamp()") - began > LONGEST_UNLISTED:
                raise Retry("the files were put too long ago to be listed")
            await self._list(connection, files)
            await self._note_spans(connection, batch, fresh)
        for file in files:
            metrics.ARCHIVE_FILES.inc()
            metrics.ARCHIVE_BYTES.inc(file.described.bytes)
        return Applied(len(fresh), len(batch.placed) - len(fresh))

    async def _unseen(self, connection: PoolConnectionProxy, batch: Batch) -> list[PlacedEvent]:
        """What of *batch* is to be archived: each event once, none that the ledger knows or of a removed user."""
        kept, _ = await self._removed.pass_by(connection, batch)
        ids = [placed.event.event_id for placed in kept.placed]
        seen: set[UUID] = {row["event_id"] for row in await connection.fetch(_SEEN, group_of(self.group), ids)}
        first = {placed.event.event_id: placed for placed in reversed(kept.placed)}
        return [first[id_] for id_ in dict.fromkeys(ids) if id_ not in seen]

    def _files(self, batch: Batch, placed: Sequence[PlacedEvent]) -> list[_File]:
        """One file for each UTC day of Kafka's time, its events by partition and offset."""
        topic_ids = {(move.partition.topic, move.partition.number): move.partition.topic_id for move in batch.moves}
        by_day: dict[tuple[str, date], list[ArchivedEvent]] = defaultdict(list)
        for one in placed:
            origin = one.origin
            event = ArchivedEvent(one.event, origin, topic_ids[origin.topic, origin.partition], one.key)
            by_day[origin.topic, event.at.astimezone(UTC).date()].append(event)
        files = []
        for _, events in sorted(by_day.items()):
            events.sort(key=lambda event: (event.origin.partition, event.origin.offset))
            body = archive.write(events)
            files.append(_File(describe(events, body, self._prefix), body))
        return files

    async def _list(self, connection: PoolConnectionProxy, files: Sequence[_File]) -> None:
        rows = [file.described for file in files]
        await connection.executemany(
            _LIST,
            [
                (group_of(self.group), row.key, row.sha256, row.bytes, row.events, row.topic, row.topic_id, row.day,
                 row.partitions, row.first_offsets, row.last_offsets, row.first_at, row.last_at, row.first_event_at,
                 row.last_event_at)
                for row in rows
            ],
        )  # fmt: skip

    async def _note_spans(self, connection: PoolConnectionProxy, batch: Batch, archived: Sequence[PlacedEvent]) -> None:
        counts = Counter((placed.origin.topic, placed.origin.partition) for placed in archived)
        moves = [move for move in batch.moves if move.next > move.expected]
        await connection.execute(
            _SPANS,
            group_of(self.group),
            [move.partition.topic for move in moves],
            [move.partition.topic_id for move in moves],
            [move.partition.number for move in moves],
            [move.expected for move in moves],
            [move.next for move in moves],
            [counts[move.partition.topic, move.partition.number] for move in moves],
        )
