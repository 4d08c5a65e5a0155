"""The producer of share events, with the spec's settings."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
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

# While something is under way librdkafka is asked for acknowledgements this often, and else now and then, for its log.
_POLL_SECONDS = 0.001
_IDLE_POLL_SECONDS = 1.0
_LOOK_FOR_LATE_SECONDS = 0.05
_CLOSE_SECONDS = 5.0


class BrokerUnavailable(ConnectionError):
    """Kafka did not acknowledge in time. The record may still arrive: send the same event again elsewhere."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A record under way: until when it is waited for (loop time), and who hears what became of it."""

    event_type: str
    until: float
    settled: Callable[[str | None], None]


class EventProducer:
    """Sends share events from one event loop.

    The loop itself asks librdkafka for acknowledgements. A thread that does would take turns with the loop for the
    interpreter, twice for each record.
    """

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._kafka = kafka
        self._codec = codec
        self._producer: Producer | None = None
        self._numbers = itertools.count()
        self._sent: dict[int, _Sent] = {}
        self._next_poll: asyncio.TimerHandle | None = None
        self._look_at = 0.0

    async def start(self) -> None:
        """Make the client; it connects in the background, so a broker that is away is no error here."""
        settings = {"bootstrap.servers": self._kafka.bootstrap_servers, **SPEC_SETTINGS}
        self._producer = Producer(settings, logger=logs.librdkafka)
        self._poll_in(_IDLE_POLL_SECONDS)

    async def send(self, event: ShareEvent) -> None:
        """Send and wait for the broker's acknowledgement; raises :class:`BrokerUnavailable` after the time-out."""
        await self.send_bytes(event.share_token, self._codec.encode(event), str(event.event_type))

    async def send_bytes(self, key: str, value: bytes, event_type: str, within: float | None = None) -> None:
        """As :meth:`send`, for an event that is encoded already; *within* is in seconds."""
        await self._send(self._kafka.events_topic, key, value, event_type, within)

    async def send_message(self, key: str, value: bytes) -> None:
        """As :meth:`send`, for a message of the Segment interface."""
        await self._send(self._kafka.segment_topic, key, value, "segment", None)

    def send_later(self, event: ShareEvent, settled: Callable[[str | None], None] = lambda _: None) -> None:
        """Send without making anyone wait. *settled* hears None once the broker has it, or why it is not known to.

        Raises :class:`BrokerUnavailable` where it cannot even be tried.
        """
        topic, value = self._kafka.events_topic, self._codec.encode(event)
        self._hand_over(topic, event.share_token, value, str(event.event_type), None, settled)

    async def close(self) -> None:
        """Send what waits, for 5 s at most, and stop."""
        if self._producer is None:
            return
        give_up = asyncio.get_running_loop().time() + _CLOSE_SECONDS
        while len(self._producer) and asyncio.get_running_loop().time() < give_up:
            self._producer.poll(0)
            await asyncio.sleep(_LOOK_FOR_LATE_SECONDS)
        for number in list(self._sent):
            self._settle(number, "the producer was closed", "timeout")
        if self._next_poll is not None:
            self._next_poll.cancel()
        self._producer = None

    async def _send(self, topic: str, key: str, value: bytes, event_type: str, within: float | None) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(failure: str | None) -> None:
            if done.done():  # Its caller has left.
                return
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(BrokerUnavailable(failure))

        self._hand_over(topic, key, value, event_type, within, settled)
        await done

    def _hand_over(
        self,
        topic: str,
        key: str,
        value: bytes,
        event_type: str,
        within: float | None,
        settled: Callable[[str | None], None],
    ) -> None:
        if self._producer is None:
            raise BrokerUnavailable("the producer is not started")
        number = next(self._numbers)

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._settle(number, error.str() if error else None, "error" if error else "acknowledged")

        try:
            self._producer.produce(topic, value, key.encode(), on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            metrics.EVENTS_SENT.labels(event_type, "error").inc()
            raise BrokerUnavailable(str(error)) from error
        until = asyncio.get_running_loop().time() + (within or self._kafka.send_timeout_seconds)
        if not self._sent:
            self._poll_in(_POLL_SECONDS)
        self._sent[number] = _Sent(event_type, until, settled)

    def _settle(self, number: int, failure: str | None, outcome: str) -> None:
        sent = self._sent.pop(number, None)
        if sent is not None:  # An acknowledgement that comes too late finds nobody who waits.
            metrics.EVENTS_SENT.labels(sent.event_type, outcome).inc()
            sent.settled(failure)

    def _poll_in(self, seconds: float) -> None:
        if self._next_poll is not None:
            self._next_poll.cancel()
        self._next_poll = asyncio.get_running_loop().call_later(seconds, self._poll)

    def _poll(self) -> None:
        assert self._producer is not None
        try:
            self._producer.poll(0)
            now = asyncio.get_running_loop().time()
            if now >= self._look_at:
                self._look_at = now + _LOOK_FOR_LATE_SECONDS
                for number in [number for number, sent in self._sent.items() if sent.until <= now]:
                    self._settle(number, "no acknowledgement in time", "timeout")
        finally:
            self._poll_in(_POLL_SECONDS if self._sent else _IDLE_POLL_SECONDS)
