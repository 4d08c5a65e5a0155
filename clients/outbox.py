"""Events that Kafka did not take in time, and expiries: kept in PostgreSQL, sent in order by one relay."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.faults import Unavailable
from clients.outbox_rows import Failed, FailedRow, OutboxTable, note_failed, pause_seconds
from clients.periodic import is_passing
from clients.producer import EventProducer
from schemas.codec import Codec
from schemas.event import ShareEvent

EVENTS = OutboxTable(
    name="events",
    table="event_outbox",
    key_type="bigint",
    pending="parked_at IS NULL",
    park="",
    revive="due_at = now()",
    discard=None,
)
# How often the outbox is looked at.
EVERY_SECONDS = 0.5

# The key of the advisory lock that makes one relay of many; any fixed number would do.
RELAY_LOCK = 890_250_912
_BATCH = 500
_LONGEST_PAUSE_SECONDS = 60.0
# Events whose turn it is: those of a share whose first event pauses wait behind it, those behind a parked one do not.
_WAITING = """
    SELECT o.id, o.share_token, o.event_type, o.value, o.failures FROM event_outbox o
    WHERE o.parked_at IS NULL AND o.due_at <= now()
      AND NOT EXISTS (SELECT FROM event_outbox e
                      WHERE e.share_token = o.share_token AND e.id < o.id AND e.parked_at IS NULL AND e.due_at > now())
    ORDER BY o.id LIMIT $1"""

_HAS_UNSENT = "SELECT EXISTS (SELECT FROM event_outbox WHERE share_token = $1 AND parked_at IS NULL)"


async def append(
    connection: asyncpg.Pool | asyncpg.Connection | PoolConnectionProxy, codec: Codec, *events: ShareEvent
) -> None:
    """Keep *events* until the relay has sent them. The same event twice is one row."""
    await connection.execute(
        """INSERT INTO event_outbox (event_id, share_token, event_type, value)
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[])
           ON CONFLICT (event_id) DO NOTHING""",
        [event.event_id for event in events],
        [event.share_token for event in events],
        [str(event.event_type) for event in events],
        [codec.encode(event) for event in events],
    )
    metrics.OUTBOX_APPENDED.inc(len(events))


async def has_unsent(pool: asyncpg.Pool, share_token: str) -> bool:
    """Whether events of this share wait: later ones must queue behind them."""
    return bool(await pool.fetchval(_HAS_UNSENT, share_token))


class OutboxRelay:
    """Sends the outbox to Kafka, oldest first, while it holds the advisory lock."""

    def __init__(self, pool: asyncpg.Pool, producer: EventProducer) -> None:
        self._pool = pool
        self._producer = producer

    async def round(self) -> None:
        """Send all that waits, where no other relay is at it."""
        async with self._pool.acquire() as connection:
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", RELAY_LOCK):
                try:
                    while await self._relay_some(connection):
                        pass
                    await connection.execute("SELECT pg_advisory_unlock($1)", RELAY_LOCK)
                except BaseException:
                    connection.terminate()  # and the lock goes with it
                    raise

    async def _relay_some(self, connection: PoolConnectionProxy) -> bool:
        """Send a batch; whether there may be more. Raises :class:`clients.faults.Unavailable`."""
        rows = await connection.fetch(_WAITING, _BATCH)
        left = list(rows)
        while left:
            # One event of each share at a time: so many go together, and none overtakes another of its share,
            # whatever fails.
            first = {row["share_token"]: row for row in reversed(left)}
            failed = await self._send(connection, list(first.values()))
            left = [row for row in left if row is not first[row["share_token"]] and row["share_token"] not in failed]
        return len(rows) == _BATCH

    async def _send(self, connection: PoolConnectionProxy, rows: Sequence[asyncpg.Record]) -> set[str]:
        """Send *rows*; the shares whose event failed by itself."""
        # A row is removed only once the broker has it: a crash between the two sends the same event_id twice.
        sends = (
            self._producer.send_bytes(row["share_token"], row["value"], row["event_type"], within=30) for row in rows
        )
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        sent = [row["id"] for row, failure in zip(rows, outcomes, strict=True) if failure is None]
        await connection.execute("DELETE FROM event_outbox WHERE id = ANY($1::bigint[])", sent)
        metrics.OUTBOX_RELAYED.inc(len(sent))
        outages, failed = [], []
        for row, failure in zip(rows, outcomes, strict=True):
            if isinstance(failure, Exception) and is_passing(failure):
                outages.append(failure)
            elif isinstance(failure, Exception):
                pause = pause_seconds(row["failures"] + 1, _LONGEST_PAUSE_SECONDS)
                failed.append(FailedRow(row["id"], row["failures"], Failed.by(failure), pause))
            elif failure is not None:
                raise failure
        if failed:
            await note_failed(connection, EVENTS, failed, owner=None)
        if outages:
            raise Unavailable("Kafka", str(outages[0])) from outages[0]
        ids = {row.id for row in failed}
        return {row["share_token"] for row in rows if row["id"] in ids}
