"""Events that Kafka did not take in time, and expiries: kept in PostgreSQL, sent in order by one relay."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.logs import get_logger
from clients.postgres import FAULTS
from clients.producer import BrokerUnavailable, EventProducer
from schemas.codec import Codec
from schemas.event import ShareEvent

# The key of the advisory lock that makes one relay of many; any fixed number would do.
RELAY_LOCK = 890_250_912
_BATCH = 500
_PAUSE_SECONDS = 0.5


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
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM event_outbox WHERE share_token = $1)", share_token))


class OutboxRelay:
    """Sends the outbox to Kafka, oldest first, while it holds the advisory lock."""

    def __init__(self, pool: asyncpg.Pool, producer: EventProducer) -> None:
        self._pool = pool
        self._producer = producer

    async def run(self) -> None:
        """Relay until cancelled; faults of either side are waited out."""
        while True:
            try:
                await self.round()
            except (*FAULTS, BrokerUnavailable) as error:
                get_logger().info("outbox relay waits", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_PAUSE_SECONDS)

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
        rows = await connection.fetch(
            "SELECT id, share_token, event_type, value FROM event_outbox ORDER BY id LIMIT $1", _BATCH
        )
        left = list(rows)
        while left:
            # One event of each share at a time: so many go together, and none overtakes another of its share,
            # whatever fails.
            first = {row["share_token"]: row for row in reversed(left)}
            await self._send(connection, list(first.values()))
            left = [row for row in left if row is not first[row["share_token"]]]
        return len(rows) == _BATCH

    async def _send(self, connection: PoolConnectionProxy, rows: Sequence[asyncpg.Record]) -> None:
        # A row is removed only once the broker has it: a crash between the two sends the same event_id twice.
        sends = (
            self._producer.send_bytes(row["share_token"], row["value"], row["event_type"], within=30) for row in rows
        )
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        sent = [row["id"] for row, failure in zip(rows, outcomes, strict=True) if failure is None]
        await connection.execute("DELETE FROM event_outbox WHERE id = ANY($1::bigint[])", sent)
        metrics.OUTBOX_RELAYED.inc(len(sent))
        for failure in outcomes:
            if failure is not None:
                raise failure
