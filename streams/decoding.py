"""From a Kafka record to what a sink takes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiokafka.structs import ConsumerRecord

from clients.faults import Unavailable
from schemas import segment
from schemas.codec import Codec, MalformedEvent, Origin
from schemas.event import ShareEvent
from schemas.segment import SegmentMessage
from sinks.contract import DeadLetter, PlacedEvent, Retry
from streams.redriven import is_for_another, origin_of


def share_events(codec: Codec, group: str) -> Callable[[ConsumerRecord], ShareEvent | None]:
    """Decodes events for *group*; None for a record that was redriven for another group.

    Raises :class:`schemas.codec.MalformedEvent`, or :class:`Retry` where the registry cannot be asked.
    """
    name = group.encode()

    def decode(record: ConsumerRecord) -> ShareEvent | None:
        if is_for_another(record, name):
            return None
        try:
            return codec.decode(record.value, origin_of(record))
        except Unavailable as error:
            raise Retry(str(error)) from error

    return decode


def placed_events(codec: Codec, group: str) -> Callable[[ConsumerRecord], PlacedEvent | None]:
    """As :func:`share_events`, with where each record stands."""
    event_of = share_events(codec, group)

    def decode(record: ConsumerRecord) -> PlacedEvent | None:
        event = event_of(record)
        if event is None:
            return None
        return PlacedEvent(event, Origin(record.topic, record.partition, record.offset, record.timestamp), record.key)

    return decode


def segment_messages(codec: Codec, group: str, events_topic: str) -> Callable[[ConsumerRecord], SegmentMessage | None]:
    """Decodes messages for *group*, and share events as what the system says of them.

    Raises as :func:`share_events` does.
    """
    name, event_of = group.encode(), share_events(codec, group)

    def decode(record: ConsumerRecord) -> SegmentMessage | None:
        if record.topic == events_topic:
            event = event_of(record)
            return None if event is None else segment.said_by(event)
        if is_for_another(record, name):
            return None
        try:
            return segment.decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedEvent(f"not a Segment message: {error}") from error

    return decode


def dead_letter(record: ConsumerRecord) -> DeadLetter:
    """A record of the DLQ topic, whatever its bytes are."""
    headers = {key: value.decode("utf-8", "replace") for key, value in record.headers or () if value is not None}
    return DeadLetter(record.partition, record.offset, record.key, record.value, headers)
