"""From a Kafka record to what a sink takes."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka.structs import ConsumerRecord

from schemas.codec import Codec, Origin, SchemaUnavailable
from schemas.event import ShareEvent
from sinks.contract import DeadLetter, Retry

# A redriven record names the one group that it is meant for.
ONLY_GROUP = "only_group"


def share_events(codec: Codec, group: str) -> Callable[[ConsumerRecord], ShareEvent | None]:
    """Decodes events for *group*; None for a record that was redriven for another group.

    Raises :class:`schemas.codec.MalformedEvent`, or :class:`Retry` where the registry cannot be asked.
    """
    name = group.encode()

    def decode(record: ConsumerRecord) -> ShareEvent | None:
        for key, value in record.headers or ():
            if key == ONLY_GROUP and value != name:
                return None
        try:
            return codec.decode(record.value, Origin(record.topic, record.partition, record.offset, record.timestamp))
        except SchemaUnavailable as error:
            raise Retry(str(error)) from error

    return decode


def dead_letter(record: ConsumerRecord) -> DeadLetter:
    """A record of the DLQ topic, whatever its bytes are."""
    headers = {key: value.decode("utf-8", "replace") for key, value in record.headers or () if value is not None}
    return DeadLetter(record.partition, record.offset, record.key, record.value, headers)
