"""Dead letters in PostgreSQL, kept on when the DLQ topic has forgotten them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from sinks import postgres
from sinks.contract import Applied, Batch, DeadLetter

GROUP = "dead-letter-store-wishlist-social"
_EPOCH = datetime.fromtimestamp(0, UTC)


class DeadLetterStore(postgres.PostgresSink):
    """The sink of the group that reads the DLQ. It never rejects: what a header lacks is stored as unknown."""

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        rows = [_row(letter) for letter in batch.dead_letters]
        await connection.executemany(
            """INSERT INTO dead_letters (
                   dlq_partition, dlq_offset, consumer_group, event_id, original_topic, original_partition,
                   original_offset, original_timestamp, key, value, error_class, error_message, traceback,
                   attempts, first_failure, last_failure, redrive_count)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
               ON CONFLICT DO NOTHING""",
            rows,
        )
        return Applied(len(rows), 0)


def _row(letter: DeadLetter) -> tuple[object, ...]:
    headers = letter.headers

    def text(name: str) -> str:
        return headers.get(name, "unknown").replace("\0", "")

    def number(name: str, default: int) -> int:
        try:
            return int(headers[name])
        except (KeyError, ValueError):
            return default

    def time(name: str) -> datetime:
        try:
            return datetime.fromisoformat(headers[name])
        except (KeyError, ValueError):
            return _EPOCH

    def event_id() -> UUID | None:
        try:
            return UUID(headers["event_id"])
        except (KeyError, ValueError):
            return None

    return (
        letter.partition,
        letter.offset,
        text("group"),
        event_id(),
        text("original_topic"),
        number("original_partition", -1),
        number("original_offset", -1),
        datetime.fromtimestamp(number("original_timestamp", 0) / 1000, UTC),
        letter.key,
        letter.value,
        text("error_class"),
        text("error_message"),
        text("traceback"),
        number("attempts", 0),
        time("first_failure"),
        time("last_failure"),
        number("redrive_count", 0),
    )
