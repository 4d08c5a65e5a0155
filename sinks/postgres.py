"""What all sinks in PostgreSQL share: watermarks, ledger, and drivers' errors named for what to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from clients.postgres import DRIVER_ERRORS, Database, Fault, fault_of
from schemas.event import ShareEvent
from sinks.contract import Applied, Batch, Fenced, GroupStopped, Move, Partition, Reject, Retry
from sinks.lanes import group_of
from sinks.removed import RemovedUsers


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[PoolConnectionProxy]:
    """One transaction; the driver's errors leave it as :class:`Retry` or :class:`Reject`, bugs as they are."""
    try:
        async with _connection(database) as connection, connection.transaction():
            yield connection
    except DRIVER_ERRORS as error:
        said = f"{type(error).__name__}: {error}"
        match fault_of(error):
            case Fault.PASSING:
                raise Retry(said) from error
            case Fault.DATA:
                raise Reject(said) from error
            case Fault.BUG:
                raise


@asynccontextmanager
async def _connection(database: Database) -> AsyncIterator[PoolConnectionProxy]:
    """A connection. A reason not to get one (a password, a server's state) says nothing of the events."""
    pool = await database.pool()
    try:
        connection = await pool.acquire(timeout=10)
    except DRIVER_ERRORS as error:
        raise Retry(f"{type(error).__name__}: {error}") from error
    try:
        yield connection
    finally:
        await pool.release(connection)


async def read_positions(database: Database, group: str, starts: Mapping[Partition, int]) -> dict[Partition, int]:
    """Each partition's watermark, begun at its start where there is none yet (see :class:`sinks.contract.Sink`)."""
    partitions = list(starts)
    async with transaction(database) as connection:
        await connection.execute(
            """INSERT INTO watermarks (consumer_group, topic, topic_id, partition, next_offset)
               SELECT $1, * FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[])
               ON CONFLICT DO NOTHING""",
            group,
            [p.topic for p in partitions],
            [p.topic_id for p in partitions],
            [p.number for p in partitions],
            [starts[p] for p in partitions],
        )
        rows = await connection.fetch(
            "SELECT topic, topic_id, partition, next_offset FROM watermarks WHERE consumer_group = $1", group
        )
    by_name = {(row["topic"], row["partition"]): row for row in rows}
    positions = {}
    for partition in partitions:
        row = by_name[partition.topic, partition.number]
        if row["topic_id"] != partition.topic_id:
            raise GroupStopped(
                f"topic {partition.topic} was made anew: {group} stands in {row['topic_id']}, the broker has "
                f"{partition.topic_id}; remove the group's watermarks to read the new topic from its start"
            )
        positions[partition] = row["next_offset"]
    return positions


async def move_watermarks(connection: PoolConnectionProxy, group: str, moves: Sequence[Move]) -> None:
    """Move each watermark by compare-and-set; raises :class:`Fenced` with those that stand elsewhere."""
    rows = await connection.fetch(
        """UPDATE watermarks w SET next_offset = m.next, updated_at = now()
           FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[])
                AS m(topic, topic_id, partition, expected, next)
           WHERE w.consumer_group = $1 AND w.topic = m.topic AND w.partition = m.partition
             AND w.topic_id = m.topic_id AND w.next_offset = m.expected
           RETURNING w.topic, w.partition""",
        group,
        [m.partition.topic for m in moves],
        [m.partition.topic_id for m in moves],
        [m.partition.number for m in moves],
        [m.expected for m in moves],
        [m.next for m in moves],
    )
    if len(rows) != len(moves):
        moved = {(row["topic"], row["partition"]) for row in rows}
        raise Fenced([m.partition for m in moves if (m.partition.topic, m.partition.number) not in moved])


async def check_watermarks(connection: PoolConnectionProxy, group: str, moves: Sequence[Move]) -> None:
    """Raise :class:`Fenced` as :func:`move_watermarks` would now, for who has much to do before that."""
    rows = await connection.fetch(
        """SELECT w.topic, w.partition FROM watermarks w
           JOIN unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[]) AS m(topic, topic_id, partition, expected)
             ON (w.topic, w.topic_id, w.partition, w.next_offset) = (m.topic, m.topic_id, m.partition, m.expected)
           WHERE w.consumer_group = $1""",
        group,
        [m.partition.topic for m in moves],
        [m.partition.topic_id for m in moves],
        [m.partition.number for m in moves],
        [m.expected for m in moves],
    )
    ours = {(row["topic"], row["partition"]) for row in rows}
    if lost := [m.partition for m in moves if (m.partition.topic, m.partition.number) not in ours]:
        raise Fenced(lost)


async def unseen(connection: PoolConnectionProxy, group: str, events: Sequence[ShareEvent]) -> list[ShareEvent]:
    """The events that *group* has not applied before, by whichever lane, in order; from now on it has."""
    if not events:
        return []
    # Nearly always all of them are fresh, and nothing need be sent back.
    fresh: list[UUID] | None = await connection.fetchval(
        """WITH fresh AS (
               INSERT INTO ledger (event_id, consumer_group) SELECT id, $1 FROM unnest($2::uuid[]) AS id
               ON CONFLICT DO NOTHING RETURNING event_id)
           SELECT coalesce(array_agg(event_id), '{}') FROM fresh HAVING count(*) < cardinality($2)""",
        group_of(group),
        [event.event_id for event in events],
    )
    if fresh is None:
        return list(events)
    kept = set(fresh)
    first_of_each = {event.event_id: event for event in reversed(events) if event.event_id in kept}
    return list(reversed(first_of_each.values()))


async def of_lists_there(connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> list[ShareEvent]:
    """The events whose wishlist has not been deleted."""
    if not events:
        return []
    lists = list({event.wishlist_id for event in events})
    rows = await connection.fetch("SELECT id FROM wishlists WHERE id = ANY($1::uuid[])", lists)
    there = {row["id"] for row in rows}
    return [event for event in events if event.wishlist_id in there]


class PostgresSink(ABC):
    """A sink whose effects and watermarks are one transaction in PostgreSQL; each destination says its effects."""

    def __init__(self, database: Database, group: str) -> None:
        self.group = group
        self._database = database
        self._removed = RemovedUsers()

    async def positions(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """See :meth:`sinks.contract.Sink.positions`."""
        return await read_positions(self._database, self.group, starts)

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        async with transaction(self._database) as connection:
            await move_watermarks(connection, self.group, batch.moves)
            kept, removed = await self._removed.pass_by(connection, batch)
            done = await self._write(connection, kept)
        return Applied(done.applied, done.skipped + removed)

    @abstractmethod
    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        """Write what *batch* brings, in the transaction that moves its watermarks."""
