"""A record that was redriven: it lies anew in its topic, for one group, and its headers say what it was before.

A version 1 event's id follows from where the event lay (:class:`schemas.codec.Origin`), so that the first place
travels along: read again, it is the same event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.codec import MalformedEvent, Origin

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

ONLY_GROUP = "only_group"
REDRIVE_COUNT = "redrive_count"
# The dead letter that was sent back, by its id: partition and offset in the DLQ.
REDRIVE_OF = "redrive_of"


def headers_for(group: str, letter_id: str, count: int, origin: Origin) -> dict[str, str]:
    """The headers of the record that goes back to *group*, for the *count*-th time."""
    return {ONLY_GROUP: group, REDRIVE_OF: letter_id, REDRIVE_COUNT: str(count), **origin_headers(origin)}


def origin_headers(origin: Origin) -> dict[str, str]:
    """Where a record first lay, as redriven records and dead letters say it."""
    return {
        "original_topic": origin.topic,
        "original_partition": str(origin.partition),
        "original_offset": str(origin.offset),
        "original_timestamp": str(origin.timestamp_ms),
    }


def is_for_another(record: ConsumerRecord, group: bytes) -> bool:
    """Whether the record was redriven for a group that is not *group*."""
    return any(key == ONLY_GROUP and value != group for key, value in record.headers or ())


def origin_of(record: ConsumerRecord) -> Origin:
    """Where the record first lay; raises :class:`schemas.codec.MalformedEvent` where its headers do not say it."""
    here = Origin(record.topic, record.partition, record.offset, record.timestamp)
    if not record.headers:
        return here
    said = dict(record.headers)
    if ONLY_GROUP not in said or "original_offset" not in said:
        return here
    try:
        return Origin(
            said["original_topic"].decode(),
            int(said["original_partition"]),
            int(said["original_offset"]),
            int(said["original_timestamp"]),
        )
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise MalformedEvent(f"the headers do not say where the redriven record first lay: {error!r}") from None
