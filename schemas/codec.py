"""Share events as bytes: Confluent wire format (magic byte 0, 4-byte schema id, Avro).

Ids come from ``schemas/avro/ids.json``, which also pins each schema's SHA-256 fingerprint; a folder that does not
match it refuses to load. ``clients/registry.py`` takes ids from a registry instead. Records of any known version are
read as the newest one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import fastavro.schema
import msgspec

from schemas.event import EventType, ShareEvent
from schemas.ids import share_id_for, uuid7_at

FOLDER = Path(__file__).parent / "avro"
WRITER_ID = 3
DEFAULT_EXPIRY = timedelta(days=30)
_MAGIC = b"\0"
_HEADER_BYTES = 5


class MalformedEvent(ValueError):
    """These bytes can never become an event; the message says which part is wrong."""


class SchemaMismatch(RuntimeError):
    """A schema is not the one its id stands for."""


# The schema of an id that this process has not met, or None where there is none; raises Unavailable.
FindSchema = Callable[[int], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stands in Kafka; ``timestamp_ms`` is the record's own time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def seed(self) -> bytes:
        """What tells this record from every other."""
        return f"{self.topic}:{self.partition}:{self.offset}".encode()


def fingerprint(schema: dict[str, Any]) -> str:
    """SHA-256 of the schema's Parsing Canonical Form (Avro specification)."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return str(fastavro.schema.fingerprint(canonical, "SHA-256"))


def load_schemas(folder: Path = FOLDER) -> dict[int, dict[str, Any]]:
    """Every schema by id, each checked against its pinned fingerprint; raises :class:`SchemaMismatch`."""
    schemas: dict[int, dict[str, Any]] = {}
    for schema_id, entry in json.loads((folder / "ids.json").read_text()).items():
        schema = json.loads((folder / entry["file"]).read_text())
        if fingerprint(schema) != entry["sha256"]:
            raise SchemaMismatch(
                f"{entry['file']} is not the schema that id {schema_id} was given to; "
                "add a new file with a new id instead of changing a published one"
            )
        schemas[int(schema_id)] = schema
    return schemas


class Codec:
    """Encodes with the newest schema and decodes every schema it knows, or can find."""

    def __init__(
        self, schemas: dict[int, dict[str, Any]], writer_id: int = WRITER_ID, find: FindSchema | None = None
    ) -> None:
        self._parsed = {key: fastavro.parse_schema(schema) for key, schema in schemas.items()}
        self._find = find
        self._writer_id = writer_id
        self._reader: Any = self._parsed[writer_id]

    def encode(self, event: ShareEvent) -> bytes:
        """The event's wire format, in the newest schema."""
        buffer = io.BytesIO()
        buffer.write(_MAGIC + self._writer_id.to_bytes(4, "big"))
        fastavro.schemaless_writer(buffer, self._reader, to_record(event))
        return buffer.getvalue()

    def decode(self, value: bytes | None, origin: Origin) -> ShareEvent:
        """The event that *value* holds; raises :class:`MalformedEvent` naming what is wrong.

        Raises :class:`clients.faults.Unavailable` where nobody can say now what the value's schema id stands for.
        """
        if value is None:
            raise MalformedEvent("the record has no value")
        if len(value) < _HEADER_BYTES or value[:1] != _MAGIC:
            raise MalformedEvent("the value does not begin with the Confluent magic byte and a schema id")
        schema_id = int.from_bytes(value[1:_HEADER_BYTES], "big")
        writer = self._parsed.get(schema_id)
        if writer is None:
            writer = self._learn(schema_id)
        buffer = io.BytesIO(value)
        buffer.seek(_HEADER_BYTES)
        try:
            # Resolving a schema with itself would cost as much again as reading.
            reader = None if schema_id == self._writer_id else self._reader
            record: Any = fastavro.schemaless_reader(buffer, writer, reader)
        except Exception as error:  # fastavro raises whatever the broken bytes lead to, EOFError to MemoryError
            raise MalformedEvent(f"not Avro of schema {schema_id}: {type(error).__name__}: {error}") from error
        if buffer.tell() != len(value):
            raise MalformedEvent(f"{len(value) - buffer.tell()} bytes follow the record")
        return from_record(record, origin)

    def _learn(self, schema_id: int) -> Any:
        schema = self._find(schema_id) if self._find else None
        if schema is None:
            raise MalformedEvent(f"schema id {schema_id} is unknown; known are {sorted(self._parsed)}")
        try:
            parsed: Any = fastavro.parse_schema(schema)
        except Exception as error:  # whatever a schema that is none leads to
            raise MalformedEvent(f"schema id {schema_id} is no Avro schema: {error}") from error
        if parsed.get("name") != self._reader["name"]:
            raise MalformedEvent(f"schema id {schema_id} is of {parsed.get('name')}, not of share events")
        self._parsed[schema_id] = parsed
        return parsed


def to_record(event: ShareEvent) -> dict[str, Any]:
    """What Avro writes of *event*, in the newest schema."""

    def text(value: UUID | datetime | None) -> str | None:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return None if value is None else str(value)

    return {
        "event_type": str(event.event_type),
        "wishlist_id": str(event.wishlist_id),
        "user_id": str(event.user_id),
        "share_token": event.share_token,
        "share_channel": str(event.share_channel),
        "item_count": event.item_count,
        "recipient_user_id": text(event.recipient_user_id),
        "timestamp": text(event.timestamp),
        "metadata": {"user_agent": event.user_agent, "referrer": event.referrer, "country": event.country},
        "event_id": str(event.event_id),
        "share_id": str(event.share_id),
        "expires_at": text(event.expires_at),
        "hidden_item_ids": [str(item) for item in event.hidden_item_ids],
        "snapshot_item_ids": (
            None if event.snapshot_item_ids is None else [str(item) for item in event.snapshot_item_ids]
        ),
        "message": event.message,
        "product_ids": list(event.product_ids),
        "product_id": event.product_id,
        "wishlist_item_id": text(event.wishlist_item_id),
        "recipient_wishlist_id": text(event.recipient_wishlist_id),
        "created_wishlist": event.created_wishlist,
        "item_visible": event.item_visible,
        "page_view_id": text(event.page_view_id),
        "platform": event.platform,
        "variant": event.variant,
        "is_bot": event.is_bot,
        "visitor_hash": event.visitor_hash,
        "is_authenticated": event.is_authenticated,
    }


def _time(name: str, text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedEvent(f"{name}: {text[:64]!r} is not an ISO 8601 time") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def from_record(record: dict[str, Any], origin: Origin) -> ShareEvent:
    """The event in *record*, as read by the newest schema, which is used up; raises :class:`MalformedEvent`."""
    token = record["share_token"]
    if not 0 < len(token) <= 22 or not token.isascii() or not token.isalnum():
        raise MalformedEvent(f"share_token: {len(token)} characters; expected 1 to 22 of base62")
    record.update(record.pop("metadata"))
    record["timestamp"] = _time("timestamp", record["timestamp"])
    if record["expires_at"] is not None:
        record["expires_at"] = _time("expires_at", record["expires_at"])
    # A version 1 record carries none of these: they follow from where and when it was written.
    if not record["share_id"]:
        record["share_id"] = share_id_for(token)
    if not record["event_id"]:
        record["event_id"] = uuid7_at(origin.timestamp_ms, origin.seed)
        if record["event_type"] == EventType.CREATED:
            record["expires_at"] = record["timestamp"] + DEFAULT_EXPIRY
    try:
        return msgspec.convert(record, ShareEvent)
    except msgspec.ValidationError as error:
        raise MalformedEvent(_fault(record, str(error))) from None


def _fault(record: dict[str, Any], words: str) -> str:
    """msgspec's *words* ("Invalid UUID - at `$.user_id`"), with the value."""
    what, _, path = words.partition(" - at `$.")
    name = path.rstrip("`").partition("[")[0]
    return f"{path.rstrip('`')}: {str(record.get(name))[:64]!r}: {what}" if name else words
