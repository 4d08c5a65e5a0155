"""The producer of share events, with the spec's settings."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clients import logs, metrics
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


class BrokerUnavailable(ConnectionError):
    """Kafka did not acknowledge in time. The record may still arrive: send the same event again elsewhere."""


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
        """Send and wait for the broker's acknowledgement; raises :class:`BrokerUnavailable` after the time-out."""
        await self.send_bytes(event.share_token, self._codec.encode(event), str(event.event_type))

    async def send_bytes(self, key: str, value: bytes, event_type: str, within: float | None = None) -> None:
        """As :meth:`send`, for an event that is encoded already; *within* is in seconds."""
        await self._send(self._kafka.events_topic, key, value, event_type, within)

    async def send_message(self, key: str, value: bytes) -> None:
        """As :meth:`send`, for a message of the Segment interface."""
        await self._send(self._kafka.segment_topic, key, value, "segment", None)

    async def _send(self, topic: str, key: str, value: bytes, event_type: str, within: float | None) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(BrokerUnavailable(error.str()))

        def delivered(error: KafkaError | None, _: Message) -> None:
            loop.call_soon_threadsafe(settle, error)

        self._produce(topic, key, value, delivered)
        try:
            await asyncio.wait_for(done, within or self._kafka.send_timeout_seconds)
        except TimeoutError:
            metrics.EVENTS_SENT.labels(event_type, "timeout").inc()
            raise BrokerUnavailable("no acknowledgement in time") from None
        except BrokerUnavailable:
            metrics.EVENTS_SENT.labels(event_type, "error").inc()
            raise
        metrics.EVENTS_SENT.labels(event_type, "acknowledged").inc()

    def send_later(self, event: ShareEvent) -> None:
        """Send without making anyone wait. What is unsent when the process is killed is lost: view events only."""

        def delivered(error: KafkaError | None, _: Message) -> None:
            outcome = "acknowledged" if error is None else "lost"
            metrics.EVENTS_SENT.labels(str(event.event_type), outcome).inc()

        try:
            self._produce(self._kafka.events_topic, event.share_token, self._codec.encode(event), delivered)
        except BrokerUnavailable:
            metrics.EVENTS_SENT.labels(str(event.event_type), "lost").inc()

    async def close(self) -> None:
        """Send what waits, for 5 s at most, and stop."""
        if self._producer is not None:
            await asyncio.to_thread(self._producer.flush, 5)
        self._running = False
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _produce(self, topic: str, key: str, value: bytes, delivered: Any) -> None:
        if self._producer is None:
            raise BrokerUnavailable("the producer is not started")
        try:
            self._producer.produce(topic, value, key.encode(), on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            raise BrokerUnavailable(str(error)) from error

    def _poll(self) -> None:
        assert self._producer is not None
        while self._running:
            self._producer.poll(0.1)
