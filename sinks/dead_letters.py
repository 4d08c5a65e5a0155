"""Dead letters in PostgreSQL, kept on when the DLQ topic has forgotten them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from sinks import postgres
from sinks.contract import Applied, Batch, DeadLetter

GROUP = "dead-letter-store-wishlist-social"
_EPOCH = datetime.fromtimestamp(0, UTC)
_INT, _BIGINT = 2**31 - 1, 2**63 - 1


class StoredLetter(NamedTuple):
    """A dead letter as a row; what its headers lack is unknown, -1, 0 or 1970.

    ``value_bytes`` is the size of the whole value where only its beginning could be kept. ``redrive_of`` is the id of
    the letter that was sent back and came back as this one.
    """

    dlq_partition: int
    dlq_offset: int
    consumer_group: str
    event_id: UUID | None
    original_topic: str
    original_partition: int
    original_offset: int
    original_timestamp: datetime
    key: bytes | None
    value: bytes | None
    error_class: str
    error_message: str
    traceback: str
    attempts: int
    first_failure: datetime
    last_failure: datetime
    redrive_count: int
    redrive_of: str | None
    value_bytes: int | None


_INSERT = f"""
    INSERT INTO dead_letters ({", ".join(StoredLetter._fields)})
    VALUES ({", ".join(f"${n}" for n in range(1, len(StoredLetter._fields) + 1))}) ON CONFLICT DO NOTHING"""


class DeadLetterStore(postgres.PostgresSink):
    """The sink of the group that reads the DLQ. It never rejects: what a header lacks is stored as unknown."""

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        await keep(connection, [stored(letter) for letter in batch.dead_letters])
        return Applied(len(batch.dead_letters), 0)


async def keep(connection: asyncpg.Connection | PoolConnectionProxy, letters: Iterable[StoredLetter]) -> None:
    """Write the rows that are not there yet."""
    await connection.executemany(_INSERT, letters)


def stored(letter: DeadLetter) -> StoredLetter:
    """The row of *letter*."""
    headers = letter.headers

    def text(name: str) -> str:
        return headers.get(name, "unknown").replace("\0", "")

    def number(name: str, default: int, most: int = _INT) -> int:
        try:
            found = int(headers[name])
        except (KeyError, ValueError):
            return default
        return found if 0 <= found <= most else default

    def time(name: str) -> datetime:
        try:
            found = datetime.fromisoformat(headers[name])
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            return _EPOCH

    def moment(name: str) -> datetime:
        try:
            return _EPOCH + timedelta(milliseconds=number(name, 0, _BIGINT))
        except OverflowError:
            return _EPOCH

    def event_id() -> UUID | None:
        try:
            return UUID(headers["event_id"])
        except (KeyError, ValueError):
            return None

    return StoredLetter(
        dlq_partition=letter.partition,
        dlq_offset=letter.offset,
        consumer_group=text("group"),
        event_id=event_id(),
        original_topic=text("original_topic"),
        original_partition=number("original_partition", -1),
        original_offset=number("original_offset", -1, _BIGINT),
        original_timestamp=moment("original_timestamp"),
        key=letter.key,
        value=letter.value,
        error_class=text("error_class"),
        error_message=text("error_message"),
        traceback=text("traceback"),
        attempts=number("attempts", 0),
        first_failure=time("first_failure"),
        last_failure=time("last_failure"),
        redrive_count=number("redrive_count", 0),
        redrive_of=text("redrive_of") if "redrive_of" in headers else None,
        value_bytes=number("value_bytes", 0, _BIGINT) or None,
    )
