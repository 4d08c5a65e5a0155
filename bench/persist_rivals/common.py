"""What the rivals share: the same decoding and the same SQL as the persist agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from schemas.codec import Codec, Origin, load_schemas
from schemas.event import ShareEvent
from sinks import postgres, share_store

CODEC = Codec(load_schemas())
GROUP = "rival"


def decode(topic: str, partition: int, offset: int, timestamp: int, value: bytes) -> ShareEvent:
    """One record's event."""
    return CODEC.decode(value, Origin(topic, partition, offset, timestamp))


async def write(pool: asyncpg.Pool, events: Sequence[ShareEvent]) -> None:
    """The persist agent's statements, its watermark apart, in one transaction."""
    connection: Any
    async with pool.acquire() as connection, connection.transaction():
        await share_store.write(connection, await postgres.unseen(connection, GROUP, events))
