"""Reads what the topic has forgotten out of the archive.

Files take the place of offsets: a file is a stretch of 2^20 of them, so that a replay that was ended early goes on with
the file that it stood in. Each record says in its headers where it once lay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from uuid import UUID

import asyncpg
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from clients.faults import Unavailable
from ops.replay.lane import ReplayStopped
from ops.replay.plan import Stretch
from schemas.archive import ArchivedEvent, DamagedFile
from schemas.codec import Codec
from sinks.archive_files import ArchiveReader
from streams.redriven import ONLY_GROUP, origin_headers
from streams.transport import Fetched

# No topic has it: Kafka's ids are random.
ARCHIVE_ID = UUID(int=0xA)
_BITS = 20
_MOST_AT_ONCE = 2_000


async def stretch_of(
    connection: asyncpg.Connection,
    group: str,
    topic: str,
    since: datetime | None,
    forgotten: Mapping[int, int],
    topic_id: UUID,
) -> Stretch | None:
    """The files that hold events of *topic* which the broker has no more; None where there are none.

    *forgotten*: where each partition begins in the topic with the id *topic_id*.
    """
    row = await connection.fetchrow(
        """SELECT min(id) AS first, max(id) AS last, sum(events)::bigint AS events FROM archive_files f
           WHERE consumer_group = $1 AND topic = $2 AND ($3::timestamptz IS NULL OR last_at >= $3)
             AND (topic_id <> $4 OR EXISTS (
                 SELECT FROM unnest(f.partitions, f.first_offsets) AS of(partition, first_offset)
                 JOIN unnest($5::int[], $6::bigint[]) AS log(partition, begins) USING (partition)
                 WHERE of.first_offset < log.begins))""",
        group, topic, since, topic_id, list(forgotten), list(forgotten.values()),
    )  # fmt: skip
    if row is None or row["events"] is None:
        return None
    return Stretch(topic, ARCHIVE_ID, 0, row["first"] << _BITS, (row["last"] + 1) << _BITS, row["events"])


async def oldest_of(connection: asyncpg.Connection, group: str, topic: str) -> datetime:
    """Kafka's time of the oldest record of *topic* that is archived."""
    oldest: datetime = await connection.fetchval(
        "SELECT min(first_at) FROM archive_files WHERE consumer_group = $1 AND topic = $2", group, topic
    )
    return oldest


async def is_whole(
    connection: asyncpg.Connection, group: str, topic: str, forgotten: Mapping[int, int], topic_id: UUID
) -> bool:
    """Whether what the topic has forgotten is in the archive from the first offset on, without a gap.

    So must be what topics of the same name held that are no more.
    """
    rows = await connection.fetch(
        """SELECT topic_id, partition, max(next_offset) AS next,
                  min(first_offset) = 0 AND sum(next_offset - first_offset) = max(next_offset) AS is_whole
           FROM archive_spans WHERE consumer_group = $1 AND topic = $2 GROUP BY topic_id, partition""",
        group,
        topic,
    )
    reach = {row["partition"]: row["next"] for row in rows if row["is_whole"] and row["topic_id"] == topic_id}
    return all(row["is_whole"] for row in rows if row["topic_id"] != topic_id) and all(
        reach.get(partition, 0) >= begins for partition, begins in forgotten.items()
    )


class ArchiveSource:
    """See :class:`ops.replay.lane.Source`."""

    def __init__(
        self,
        *,
        reader: ArchiveReader,
        codec: Codec,
        group: str,
        stretch: Stretch,
        since: datetime | None,
        forgotten: Mapping[int, int],
        topic_id: UUID,
    ) -> None:
        self._reader = reader
        self._codec = codec
        self._group = group.encode()
        self._tp = TP(stretch.topic, stretch.partition)
        self.stretches = {self._tp: stretch}
        self._since = since
        self._forgotten = forgotten
        self._topic_id = topic_id
        # Where files end, and how many events there are up to there.
        self._ends: list[int] = []
        self._totals: list[int] = [0]

    def done(self, marks: Mapping[TP, int]) -> int:
        """How many events lie before the mark."""
        return self._totals[bisect_right(self._ends, marks.get(self._tp, 0))]

    async def read(self, positions: Mapping[TP, int]) -> AsyncIterator[Fetched | None]:
        """See :meth:`ops.replay.lane.Source.read`."""
        stretch, at = self.stretches[self._tp], positions[self._tp]
        try:
            async for file in self._reader.files(self._since):
                end = (file.id + 1) << _BITS
                if file.topic != stretch.topic or end > stretch.end:
                    continue
                if end > at:
                    records = [
                        self._record(event, (file.id << _BITS) + place)
                        for place, event in enumerate(await self._reader.events_of(file))
                        if self._is_wanted(event)
                    ]
                    records = [record for record in records if record.offset >= at]
                    for start in range(0, len(records), _MOST_AT_ONCE):
                        some = records[start : start + _MOST_AT_ONCE]
                        yield Fetched(self._tp, at, some[-1].offset + 1, some)
                        at = some[-1].offset + 1
                    self._totals.append(self._totals[-1] + file.events)
                    self._ends.append(at)
                yield None
        except (Unavailable, DamagedFile) as error:
            raise ReplayStopped(f"the archive: {error}") from error
        if at < stretch.end:
            yield Fetched(self._tp, at, stretch.end, [])

    def _is_wanted(self, event: ArchivedEvent) -> bool:
        if self._since is not None and event.at < self._since:
            return False
        # What the topic still has is read there.
        return event.topic_id != self._topic_id or event.origin.offset < self._forgotten.get(event.origin.partition, 0)

    def _record(self, event: ArchivedEvent, offset: int) -> ConsumerRecord:
        origin = {ONLY_GROUP: self._group.decode(), **origin_headers(event.origin)}
        return ConsumerRecord(
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=offset,
            timestamp=event.origin.timestamp_ms,
            timestamp_type=0,
            key=event.key,
            value=self._codec.encode(event.event),
            checksum=None,
            serialized_key_size=-1,
            serialized_value_size=-1,
            headers=tuple((name, value.encode()) for name, value in origin.items()),
        )
