"""The producer of share events, with the spec's settings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clients import logs, metrics
from clients.faults import Unavailable
from config.settings import KafkaSettings
from schemas.codec import Codec
from schemas.event import ShareEvent

# Spec, "Producer configuration", and lz4 from "Detailed Kafka Topic Configuration".
SPEC_SETTINGS: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "retries": 3,
    "delivery.timeout.ms": 30_000,
    "max.in.flight.requests.per.connection": 1,
    "compression.type": "lz4",
    "message.max.bytes": 1_048_576,
    "linger.ms": 2,
}
_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 5.0


Settled = Callable[[Exception | None], None]


class EventRefused(ValueError):
    """The broker will never take this record: its content is the reason."""


# What brokers say of a record, and librdkafka before it sends one (Apache Kafka, "Error Codes").
_ABOUT_THE_RECORD = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_MSG_SIZE,
    }
)


class EventProducer:
    """Sends share events; callbacks of librdkafka's polling thread become results in the event loop."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._kafka = kafka
        self._codec = codec
        self._running = False
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the polling thread; connects in the background, so a broker that is away is no error here."""
        settings = {"bootstrap.servers": self._kafka.bootstrap_servers, **SPEC_SETTINGS}
        self._producer = Producer(settings, logger=logs.librdkafka)
        self._running = True
        self._thread = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._thread.start()

    async def send(self, event: ShareEvent) -> None:
        """Send and wait for the broker's acknowledgement; raises ``Unavailable`` after the time-out."""
        await self.send_bytes(event.share_token, self._codec.encode(event), str(event.event_type))

    async def send_bytes(self, key: str, value: bytes, event_type: str, within: float | None = None) -> None:
        """As :meth:`send`, for an event that is encoded already; *within* is in seconds."""
        await self._send(self._kafka.events_topic, key, value, event_type, within)

    async def send_message(self, key: str, value: bytes) -> None:
        """As :meth:`send`, for a message of the Segment interface."""
        await self._send(self._kafka.segment_topic, key, value, "segment", None)

    def send_later(self, event: ShareEvent, settled: Settled = lambda _: None) -> None:
        """Send without making anyone wait. *settled* hears None once the broker has it, or why it is not known to.

        Raises :class:`clients.faults.Unavailable` where it cannot even be tried.
        """
        topic, value = self._kafka.events_topic, self._codec.encode(event)
        self._hand_over(topic, event.share_token, value, str(event.event_type), None, settled)

    async def close(self) -> None:
        """Send what waits, for 5 s at most, and stop."""
        if self._producer is not None:
            await asyncio.to_thread(self._producer.flush, _CLOSE_SECONDS)
        self._running = False
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def _send(self, topic: str, key: str, value: bytes, event_type: str, within: float | None) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(failure: Exception | None) -> None:
            if done.done():  # Its caller has left.
                return
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)

        self._hand_over(topic, key, value, event_type, within, settled)
        await done

    def _hand_over(
        self,
        topic: str,
        key: str,
        value: bytes,
        event_type: str,
        within: float | None,
        settled: Settled,
    ) -> None:
        if self._producer is None:
            raise Unavailable("Kafka", "the producer is not started")
        key_bytes = key.encode()
        loop = asyncio.get_running_loop()
        is_settled = False

        def settle(failure: Exception | None, outcome: str) -> None:
            nonlocal is_settled
            if not is_settled:  # An acknowledgement that comes too late finds nobody who waits.
                is_settled = True
                late.cancel()
                metrics.EVENTS_SENT.labels(event_type, outcome).inc()
                settled(failure)

        def delivered(error: KafkaError | None, _: Message) -> None:
            loop.call_soon_threadsafe(settle, _failure(error) if error else None, "error" if error else "acknowledged")

        late = loop.call_later(
            within or self._kafka.send_timeout_seconds,
            settle,
            Unavailable("Kafka", "no acknowledgement in time"),
            "timeout",
        )
        try:
            self._producer.produce(topic, value, key_bytes, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            late.cancel()
            metrics.EVENTS_SENT.labels(event_type, "error").inc()
            said = error.args[0] if isinstance(error, KafkaException) and error.args else None
            raise (_failure(said) if isinstance(said, KafkaError) else Unavailable("Kafka", str(error))) from error

    def _poll(self) -> None:
        assert self._producer is not None
        while self._running:
            self._producer.poll(_POLL_SECONDS)


def _failure(error: KafkaError) -> Unavailable | EventRefused:
    return EventRefused(error.str()) if error.code() in _ABOUT_THE_RECORD else Unavailable("Kafka", error.str())
