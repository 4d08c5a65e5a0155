"""Puts records that can never be applied into the dead-letter topic."""

from __future__ import annotations

import asyncio
import traceback as traceback_module
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clients import logs, metrics
from clients.producer import SPEC_SETTINGS
from config.settings import KafkaSettings
from schemas.codec import MalformedEvent, Origin
from sinks.contract import Retry
from streams.redriven import REDRIVE_COUNT, REDRIVE_OF, origin_headers, origin_of

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

_TRACEBACK_BYTES = 16_384
_MESSAGE_BYTES = 2_048
_KEPT_BYTES = 1_048_576
_ACK_SECONDS = 30.0
# librdkafka's limit is on the uncompressed size, the broker's on the compressed one.
LARGEST_DEAD_LETTER = 100_000_000


def headers_for(
    record: ConsumerRecord, group: str, error: BaseException, attempts: int, first_failure: datetime
) -> dict[str, str]:
    """What the DLQ record's headers say (DESIGN 3): where it was, who failed, why, and when.

    Of a record that was redriven before they name its first place, and the letter that it was sent back from.
    """
    trace = "".join(traceback_module.format_exception(error))[-_TRACEBACK_BYTES:]
    said = {key: (value or b"").decode("ascii", "replace") for key, value in record.headers or ()}
    redriven = {REDRIVE_COUNT: said.get(REDRIVE_COUNT, "0")}
    if REDRIVE_OF in said:
        redriven[REDRIVE_OF] = said[REDRIVE_OF]
    try:
        origin = origin_of(record)
    except MalformedEvent:
        origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
    return {
        **origin_headers(origin),
        **redriven,
        "group": group,
        "error_class": type(error).__name__,
        "error_message": str(error)[:_MESSAGE_BYTES],
        "traceback": trace,
        "attempts": str(attempts),
        "first_failure": first_failure.isoformat(),
        "last_failure": datetime.now(UTC).isoformat(),
    }


class DeadLetterWriter:
    """Writes to the DLQ topic and waits for the broker's word."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topic = kafka.dlq_topic
        # librdkafka holds the uncompressed size against its limit, the broker the compressed one: only the
        # broker's matters, since what it once took as an event it must take as a dead letter.
        self._settings = {
            **SPEC_SETTINGS,
            "bootstrap.servers": kafka.bootstrap_servers,
            "message.max.bytes": LARGEST_DEAD_LETTER,
        }
        self._producer: Producer | None = None

    async def write(self, key: bytes | None, value: bytes | None, headers: Mapping[str, str]) -> None:
        """Append one record; raises :class:`sinks.contract.Retry` until the broker has acknowledged it."""
        try:
            await asyncio.to_thread(self._write, key, value, headers)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE or value is None:
                raise Retry(f"the DLQ cannot be written: {error}") from error
            cut = {**headers, "value_bytes": str(len(value))}
            await self.write(key, value[: _KEPT_BYTES // 2], cut)
            return
        metrics.EVENTS_REJECTED.labels(headers["group"], headers["error_class"]).inc()

    def _write(self, key: bytes | None, value: bytes | None, headers: Mapping[str, str]) -> None:
        if self._producer is None:
            self._producer = Producer(self._settings, logger=logs.librdkafka)
        outcome: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            outcome.append(error)

        self._producer.produce(
            self._topic, value, key, headers=[(k, v.encode()) for k, v in headers.items()], on_delivery=delivered
        )
        self._producer.flush(_ACK_SECONDS)
        if not outcome:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no acknowledgement in time"))
        if outcome[0] is not None:
            raise KafkaException(outcome[0])
