"""Schema versions read each other's real bytes, in both directions."""

from __future__ import annotations

import io
import itertools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import fastavro
import fastavro.schema
import pytest

from schemas.codec import FOLDER, WRITER_ID, Codec, Origin, load_schemas
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import share_id_for, uuid7_at

SCHEMAS = load_schemas()
V1, V2, NEWEST = (fastavro.parse_schema(SCHEMAS[version]) for version in (1, 2, WRITER_ID))
ORIGIN = Origin("wishlist.social.events", 0, 0, 1_757_000_000_000)
LIST, OWNER, READER = (UUID(int=n) for n in (1, 2, 3))
TOKEN = "7fB9xK2mN4pQ8rT1vW3y"
WHEN = datetime(2025, 9, 16, 10, 22, 14, tzinfo=UTC)


def v1_record(**changes: Any) -> dict[str, Any]:
    return {
        "event_type": "share_item_added",
        "wishlist_id": str(LIST),
        "user_id": str(OWNER),
        "share_token": TOKEN,
        "share_channel": "whatsapp",
        "item_count": 8,
        "recipient_user_id": str(READER),
        "timestamp": "2025-09-16T10:22:14Z",
        "metadata": {"user_agent": "WhatsApp/2.23.20", "referrer": "https://wa.me", "country": "US"},
        **changes,
    }


def newest_event(**changes: Any) -> ShareEvent:
    values: dict[str, Any] = {
        "event_type": EventType.ITEM_ADDED,
        "wishlist_id": LIST,
        "user_id": OWNER,
        "share_token": TOKEN,
        "share_channel": Channel.WHATSAPP,
        "item_count": 8,
        "timestamp": WHEN,
        "event_id": uuid7_at(1_757_000_000_000, b"event"),
        "share_id": share_id_for(TOKEN),
        "recipient_user_id": READER,
        "user_agent": "WhatsApp/2.23.20",
        "referrer": "https://wa.me",
        "country": "US",
        "expires_at": WHEN,
        "hidden_item_ids": (UUID(int=4), UUID(int=5)),
        "message": "für dich",
        "product_ids": ("prod_1a2b3c",),
        "product_id": "prod_1a2b3c",
        "wishlist_item_id": UUID(int=6),
        "recipient_wishlist_id": UUID(int=7),
        "created_wishlist": True,
        "item_visible": False,
        "page_view_id": UUID(int=8),
        "platform": "mobile",
        "variant": "variant-b",
        "is_bot": True,
        "visitor_hash": "0123456789abcdef",
        "is_authenticated": True,
    }
    return ShareEvent(**{**values, **changes})


def written(schema: Any, record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()


def read(value: bytes, writer: Any, reader: Any) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(value), writer, reader)


def test_a_new_reader_reads_the_old_writer() -> None:
    record = v1_record()
    new = read(written(V1, record), V1, NEWEST)
    assert {name: new[name] for name in record} == record
    defaults = {
        field["name"]: field["default"] for field in SCHEMAS[WRITER_ID]["fields"] if field["name"] not in record
    }
    assert {name: new[name] for name in defaults} == defaults
    event = Codec(SCHEMAS).decode(b"\0\0\0\0\1" + written(V1, record), ORIGIN)
    assert (event.event_type, event.recipient_user_id, event.country) == (EventType.ITEM_ADDED, READER, "US")


def test_an_old_reader_reads_the_new_writer() -> None:
    value = Codec(SCHEMAS).encode(newest_event())
    assert read(value[5:], NEWEST, V1) == v1_record()
    assert "is_authenticated" not in read(value[5:], NEWEST, V2)
    assert Codec(SCHEMAS, writer_id=2).decode(value, ORIGIN) == newest_event(is_authenticated=None)


@pytest.mark.parametrize("kind", SCHEMAS[1]["fields"][0]["type"]["symbols"])
@pytest.mark.parametrize("channel", SCHEMAS[1]["fields"][4]["type"]["symbols"])
def test_every_symbol_of_version_1_means_the_same_in_the_newest(kind: str, channel: str) -> None:
    # Avro writes an enum as its place in the writer's list: places differ between the versions, words must not.
    record = v1_record(event_type=kind, share_channel=channel)
    new = read(written(V1, record), V1, NEWEST)
    assert (new["event_type"], new["share_channel"]) == (kind, channel)
    back = read(written(NEWEST, new), NEWEST, V1)
    assert back == record


def test_an_old_reader_meets_a_type_that_came_later() -> None:
    value = Codec(SCHEMAS).encode(newest_event(event_type=EventType.SETTINGS_CHANGED))
    old = read(value[5:], NEWEST, V1)
    assert old["event_type"] == "unknown"
    assert old["share_token"] == TOKEN, "what follows the enum is read right"


def test_todays_reader_meets_a_type_channel_and_field_of_tomorrow() -> None:
    tomorrow = json.loads((FOLDER / "share_event.v3.avsc").read_text())
    tomorrow["fields"][0]["type"]["symbols"].insert(2, "share_forwarded")
    tomorrow["fields"][4]["type"]["symbols"].insert(0, "signal")
    tomorrow["fields"].append({"name": "campaign", "type": ["null", "string"], "default": None})
    codec = Codec({**SCHEMAS, 4: tomorrow}, writer_id=WRITER_ID)
    record = read(Codec(SCHEMAS).encode(newest_event())[5:], NEWEST, fastavro.parse_schema(tomorrow))
    record |= {"event_type": "share_forwarded", "share_channel": "signal", "campaign": "holiday"}
    value = b"\0\0\0\0\4" + written(fastavro.parse_schema(tomorrow), record)
    event = codec.decode(value, ORIGIN)
    assert event == newest_event(event_type=EventType.UNKNOWN, share_channel=Channel.UNKNOWN)


def test_the_code_knows_exactly_the_symbols_of_the_newest_schema() -> None:
    newest = {field["name"]: field["type"] for field in SCHEMAS[WRITER_ID]["fields"]}
    assert set(newest["event_type"]["symbols"]) == {str(kind) for kind in EventType}
    assert set(newest["share_channel"]["symbols"]) == {str(channel) for channel in Channel}
    for name in ("event_type", "share_channel"):
        assert newest[name]["default"] == "unknown"


@pytest.mark.parametrize(("older", "newer"), list(itertools.pairwise(sorted(SCHEMAS))))
def test_a_newer_version_only_adds_fields_with_defaults_and_symbols(older: int, newer: int) -> None:
    """What lets any two versions read each other: guards the next version as well."""
    before = {field["name"]: field for field in SCHEMAS[older]["fields"]}
    after = {field["name"]: field for field in SCHEMAS[newer]["fields"]}
    assert before.keys() <= after.keys(), "a field is never taken away"
    for name in after.keys() - before.keys():
        assert "default" in after[name], f"{name} needs a default"
    for name in before:
        old, new = before[name]["type"], after[name]["type"]
        if isinstance(old, dict) and old["type"] == "enum":
            assert set(old["symbols"]) <= set(new["symbols"]), f"{name} loses a symbol"
            assert old["default"] == new["default"] == "unknown"
        else:
            assert old == new, f"{name} changes its type"
