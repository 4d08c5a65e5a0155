"""What the rivals share: the same decoding, and the same SQL or the same appends to BigQuery as ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg

from config.settings import StreamSettings
from schemas.codec import Codec, Origin, load_schemas
from schemas.event import ShareEvent
from sinks import postgres, share_store

CODEC = Codec(load_schemas())
GROUP = "rival"


def decode(topic: str, partition: int, offset: int, timestamp: int, value: bytes) -> ShareEvent:
    """One record's event."""
    return CODEC.decode(value, Origin(topic, partition, offset, timestamp))


class Destination(Protocol):
    """Where a rival writes; *batch* is what ours writes there at once."""

    batch: int

    async def write(self, events: Sequence[ShareEvent]) -> None:
        """Write *events*."""
        ...


class ShareStore:
    """The persist agent's statements, its watermark apart, in one transaction."""

    batch = StreamSettings().max_batch_events

    def __init__(self) -> None:
        self._pool: asyncpg.Pool | None = None

    async def write(self, events: Sequence[ShareEvent]) -> None:
        """See :class:`Destination`."""
        if self._pool is None:
            self._pool = await asyncpg.create_pool(os.environ["POSTGRES_DSN"], min_size=1, max_size=2)
        connection: Any
        async with self._pool.acquire() as connection, connection.transaction():
            await share_store.write(connection, await postgres.unseen(connection, GROUP, events))


def destination() -> Destination:
    """What ``BENCH_INTO`` names: postgres unless it says bigquery."""
    if os.environ.get("BENCH_INTO") != "bigquery":
        return ShareStore()
    # Google's libraries are large, and the garbage collector would look through them in all ways.
    from bench.persist_rivals.appends import ShareEvents

    return ShareEvents()
