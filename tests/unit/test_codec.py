"""The wire format: what goes in comes out, and what cannot be an event says why."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import FOLDER, Codec, MalformedEvent, Origin, SchemaMismatch, load_schemas
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import item_id_for, new_share_token, share_id_for, uuid7, uuid7_at

SCHEMAS = load_schemas()
CODEC = Codec(SCHEMAS)
ORIGIN = Origin("wishlist.social.events", 3, 17, 1_757_000_000_000)
WHEN = datetime(2025, 9, 16, 10, 22, 14, 551000, UTC)


def event(**changes: Any) -> ShareEvent:
    token = new_share_token()
    values: dict[str, Any] = {
        "event_type": EventType.CREATED,
        "wishlist_id": uuid7(),
        "user_id": uuid7(),
        "share_token": token,
        "share_channel": Channel.COPY_LINK,
        "item_count": 9,
        "timestamp": WHEN,
        "event_id": uuid7(),
        "share_id": share_id_for(token),
    }
    return ShareEvent(**{**values, **changes})


def first_version(**changes: Any) -> bytes:
    record = {
        "event_type": "share_created",
        "wishlist_id": str(uuid7()),
        "user_id": str(uuid7()),
        "share_token": "7fB9xK2mN4pQ8rT1vW3y",
        "share_channel": "link",
        "item_count": 8,
        "recipient_user_id": None,
        "timestamp": "2025-09-16T10:22:15Z",
        "metadata": {"user_agent": "", "referrer": "", "country": "US"},
        **changes,
    }
    buffer = io.BytesIO(b"\0\0\0\0\1")
    buffer.seek(5)
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(SCHEMAS[1]), record)
    return buffer.getvalue()


@given(
    st.sampled_from(list(EventType)),
    st.sampled_from(list(Channel)),
    st.text(max_size=50),
    st.booleans(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_an_event_survives_its_bytes(
    kind: EventType, channel: Channel, agent: str, bot: bool, expires: datetime | None
) -> None:
    before = event(
        event_type=kind, share_channel=channel, user_agent=agent, is_bot=bot, expires_at=expires,
        hidden_item_ids=(uuid7(), uuid7()), product_ids=("prod_1a2b3c",), message="für dich",
    )  # fmt: skip
    assert CODEC.decode(CODEC.encode(before), ORIGIN) == before


def test_a_version_1_record_gets_the_same_identity_each_time_it_is_read() -> None:
    value = first_version()
    first, again = CODEC.decode(value, ORIGIN), CODEC.decode(value, ORIGIN)
    assert first == again
    assert first.event_id.version == 7
    assert first.event_id.int >> 80 == ORIGIN.timestamp_ms
    assert first.share_id == share_id_for("7fB9xK2mN4pQ8rT1vW3y")
    assert first.expires_at == datetime(2025, 10, 16, 10, 22, 15, tzinfo=UTC)
    elsewhere = CODEC.decode(value, Origin("wishlist.social.events", 3, 18, ORIGIN.timestamp_ms))
    assert elsewhere.event_id != first.event_id


def test_an_old_reader_passes_a_new_event_type_by() -> None:
    value = CODEC.encode(event(event_type=EventType.SETTINGS_CHANGED))
    buffer = io.BytesIO(value[5:])
    read: Any = fastavro.schemaless_reader(buffer, fastavro.parse_schema(SCHEMAS[2]), fastavro.parse_schema(SCHEMAS[1]))
    assert read["event_type"] == "unknown"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "no value"),
        (b"", "magic byte"),
        (b"\1\0\0\0\2abc", "magic byte"),
        (b"\0\0\0\0\x63abc", "schema id 99 is unknown"),
        (b"\0\0\0\0\2abc", "not Avro of schema 2"),
        (CODEC.encode(event())[:-3], "not Avro of schema 3"),
        (CODEC.encode(event()) + b"more", "4 bytes follow"),
        (first_version(wishlist_id="wl_1"), "wishlist_id: 'wl_1': Invalid UUID"),
        (first_version(timestamp="yesterday"), "timestamp: 'yesterday' is not an ISO 8601 time"),
        (first_version(share_token="x" * 23), "share_token: 23 characters"),
        (first_version(share_token="a\0b"), "share_token"),
    ],
    ids=lambda part: part if isinstance(part, str) else "value",
)
def test_bytes_that_are_no_event_say_what_is_wrong(value: bytes | None, words: str) -> None:
    with pytest.raises(MalformedEvent, match=words):
        CODEC.decode(value, ORIGIN)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_malformed(garbage: bytes) -> None:
    with contextlib.suppress(MalformedEvent):
        CODEC.decode(b"\0\0\0\0\2" + garbage, ORIGIN)


def test_a_changed_schema_is_refused_at_start(tmp_path: Any) -> None:
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    schema = json.loads((tmp_path / "share_event.v1.avsc").read_text())
    schema["fields"].pop()
    (tmp_path / "share_event.v1.avsc").write_text(json.dumps(schema))
    with pytest.raises(SchemaMismatch, match="id 1"):
        load_schemas(tmp_path)


def test_identifiers() -> None:
    tokens = {new_share_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 22 and token.isalnum() and token.isascii() for token in tokens)
    list_id, share_id = uuid7(), uuid7()
    assert item_id_for(list_id, "p", share_id) == item_id_for(list_id, "p", share_id)
    assert uuid7_at(5, b"a") < uuid7_at(6, b"a")
