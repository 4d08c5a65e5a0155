"""Files of the archive: Avro object files that any Avro library reads, their schema inside.

A record is one share event in the newest schema, with all that Kafka knew of it, so that a replay needs nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import fastavro

from schemas.codec import WRITER_ID, MalformedEvent, Origin, from_record, load_schemas, to_record
from schemas.event import ShareEvent

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Says which share event's schema a file was written with: resolving a schema with itself costs as much as reading.
_VERSION = "share_event.schema_id"


def _schema() -> Any:
    event = load_schemas()[WRITER_ID]
    fields: list[dict[str, Any]] = [
        {"name": "topic", "type": "string", "doc": "The topic's name."},
        {"name": "topic_id", "type": {"type": "string", "logicalType": "uuid"}, "doc": "Kafka's own id of the topic."},
        {"name": "partition", "type": "int", "doc": "The record's partition…"},
        {"name": "offset", "type": "long", "doc": "…and its place in there."},
        {
            "name": "timestamp",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
            "doc": "Kafka's time of it.",
        },
        {"name": "key", "type": ["null", "bytes"], "doc": "The record's key: the share's token."},
        {"name": "event", "type": event, "doc": "What the record holds."},
    ]
    return fastavro.parse_schema(
        {"type": "record", "name": "ArchivedEvent", "namespace": event["namespace"], "fields": fields}
    )


SCHEMA = _schema()


class DamagedFile(ValueError):
    """These bytes are not the file that they should be."""


@dataclass(frozen=True, slots=True)
class ArchivedEvent:
    """One record of the archive: *event*, and where it stood in the topic with the id *topic_id*."""

    event: ShareEvent
    origin: Origin
    topic_id: UUID
    key: bytes | None

    @property
    def at(self) -> datetime:
        """Kafka's time of the record."""
        return _EPOCH + self.origin.timestamp_ms * _MILLISECOND


def write(events: Sequence[ArchivedEvent]) -> bytes:
    """The file of *events*, in their order; the same bytes for the same events."""
    places = ",".join(f"{one.origin.partition}:{one.origin.offset}" for one in events)
    body = io.BytesIO()
    fastavro.writer(
        body,
        SCHEMA,
        (_to_record(one) for one in events),
        codec="deflate",
        metadata={_VERSION: str(WRITER_ID)},
        sync_marker=sha256(places.encode()).digest()[:16],
    )
    return body.getvalue()


def read(body: bytes) -> Iterator[ArchivedEvent]:
    """The events of a file, also of one written in an older schema; raises :class:`DamagedFile`."""
    try:
        file = fastavro.reader(io.BytesIO(body))
        if file.metadata.get(_VERSION) != str(WRITER_ID):
            file = fastavro.reader(io.BytesIO(body), SCHEMA)
        for record in file:
            yield _from_record(record)
    except MalformedEvent as error:
        raise DamagedFile(f"an event in the file cannot be read: {error}") from error
    except (ValueError, EOFError, KeyError, TypeError) as error:
        raise DamagedFile(f"not a file of the archive: {type(error).__name__}: {error}") from error


def mentions(body: bytes, words: Iterable[bytes]) -> bool:
    """Whether any of *words* stands anywhere in the file, looked for without reading its records."""
    wanted = list(words)
    for block in fastavro.block_reader(io.BytesIO(body)):
        content = block.bytes_.getvalue()  # type: ignore[attr-defined]  # an attribute that the stub lacks
        if any(word in content for word in wanted):
            return True
    return False


def _to_record(one: ArchivedEvent) -> dict[str, Any]:
    return {
        "topic": one.origin.topic,
        "topic_id": str(one.topic_id),
        "partition": one.origin.partition,
        "offset": one.origin.offset,
        "timestamp": one.origin.timestamp_ms,
        "key": one.key,
        "event": to_record(one.event),
    }


def _from_record(record: Any) -> ArchivedEvent:
    timestamp_ms = (record["timestamp"] - _EPOCH) // _MILLISECOND
    origin = Origin(record["topic"], record["partition"], record["offset"], timestamp_ms)
    return ArchivedEvent(from_record(record["event"], origin), origin, record["topic_id"], record["key"])
