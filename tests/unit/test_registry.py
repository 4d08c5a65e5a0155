"""Schema ids from a registry: what its answers lead to. ``tests/integration/test_registry.py`` asks a real one."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import fastavro
import httpx
import pytest

from clients import registry
from clients.faults import Unavailable
from clients.registry import SchemaRefused, SchemaRegistry, open_codec
from config.settings import KafkaSettings
from schemas.codec import FOLDER, WRITER_ID, MalformedEvent, Origin, SchemaMismatch, load_schemas
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import share_id_for, uuid7
from tests.schema_registry import FakeRegistry

URL = "http://registry.test"
KAFKA = KafkaSettings(schema_registry_url=URL)
SUBJECT = "wishlist.social.events-value"
SCHEMAS = load_schemas()
ORIGIN = Origin("wishlist.social.events", 0, 0, 0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    fake = FakeRegistry()
    monkeypatch.setattr(
        registry, "SchemaRegistry", lambda url: SchemaRegistry(url, transport=httpx.MockTransport(fake))
    )
    return fake


def event() -> ShareEvent:
    token = "7fB9xK2mN4pQ8rT1vW3y"
    return ShareEvent(
        event_type=EventType.VIEWED, wishlist_id=uuid7(), user_id=uuid7(), share_token=token,
        share_channel=Channel.EMAIL, item_count=3, timestamp=datetime(2025, 9, 16, tzinfo=UTC), event_id=uuid7(),
        share_id=share_id_for(token),
    )  # fmt: skip


def tomorrow(text: str = (FOLDER / "share_event.v3.avsc").read_text()) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(text)
    schema["fields"].append({"name": "campaign", "type": ["null", "string"], "default": None})
    return schema


def written_tomorrow(schema_id: int, one: ShareEvent) -> bytes:
    newer = fastavro.parse_schema(tomorrow())
    value = open_codec(KafkaSettings(schema_registry_url=None)).encode(one)
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(SCHEMAS[WRITER_ID]), newer)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, newer, record)
    return b"\0" + schema_id.to_bytes(4, "big") + buffer.getvalue()


def test_without_a_url_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SchemaRegistry", None)
    assert open_codec(KafkaSettings(schema_registry_url=None)).encode(event())[:5] == b"\0" + WRITER_ID.to_bytes(
        4, "big"
    )


def test_the_registrys_ids_are_written_and_read(fake: FakeRegistry) -> None:
    codec = open_codec(KAFKA)
    one = event()
    value = codec.encode(one)
    assert value[:5] == b"\0" + (103).to_bytes(4, "big")
    assert codec.decode(value, ORIGIN) == one
    assert fake.subjects == {SUBJECT: [101, 102, 103]}, "version 1 first: the newest one is what the subject shows"


def test_a_second_process_gets_the_same_ids_and_registers_nothing(fake: FakeRegistry) -> None:
    open_codec(KAFKA)
    fake.calls.clear()
    assert open_codec(KAFKA).encode(event())[:5] == b"\0" + (103).to_bytes(4, "big")
    assert not [call for call in fake.calls if call.endswith("/versions")]


def test_another_schema_under_our_id_keeps_us_from_starting(fake: FakeRegistry) -> None:
    open_codec(KAFKA)
    fake.answer = lambda request: (
        httpx.Response(200, json={"schema": json.dumps(tomorrow())}) if "/ids/101" in request.url.path else None
    )
    with pytest.raises(SchemaMismatch, match="id 101"):
        open_codec(KAFKA)


def test_an_incompatible_schema_keeps_us_from_starting(fake: FakeRegistry) -> None:
    fake.answer = lambda request: (
        httpx.Response(409, json={"error_code": 409, "message": "incompatible"})
        if request.url.path.endswith("/versions")
        else None
    )
    with pytest.raises(SchemaRefused, match=r"409.*incompatible"):
        open_codec(KAFKA)


def test_a_registry_that_comes_late_is_waited_for(fake: FakeRegistry) -> None:
    pauses: list[float] = []
    fake.answer = lambda _: httpx.Response(503) if len(pauses) < 3 else None
    open_codec(KAFKA, sleep=pauses.append)
    assert len(pauses) == 3


def test_a_registry_that_does_not_come_keeps_us_from_starting(fake: FakeRegistry) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    fake.answer = refuse
    with pytest.raises(Unavailable, match="refused"):
        open_codec(KAFKA, wait_seconds=0)


def test_a_schema_of_tomorrow_is_fetched_once_and_read_as_todays(fake: FakeRegistry) -> None:
    codec = open_codec(KAFKA)
    schema_id = fake.add(json.dumps(tomorrow()), SUBJECT)
    fake.calls.clear()
    one = event()
    for _ in range(3):
        assert codec.decode(written_tomorrow(schema_id, one), ORIGIN) == one
    assert fake.calls == [f"GET /schemas/ids/{schema_id}"]


def test_an_id_that_a_reachable_registry_does_not_know_is_malformed(fake: FakeRegistry) -> None:
    codec = open_codec(KAFKA)
    fake.calls.clear()
    for _ in range(3):
        with pytest.raises(MalformedEvent, match="schema id 9999 is unknown"):
            codec.decode(written_tomorrow(9_999, event()), ORIGIN)
    assert len(fake.calls) == 1, "a flood of such records is no flood of calls"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="oops"),
        httpx.Response(429),
        httpx.Response(401),
        httpx.Response(200, text="<html>a proxy's page</html>"),
        httpx.Response(200, json={"schema": "{"}),
        httpx.Response(200, json=[]),
    ],
)
def test_an_unknown_id_while_the_registry_is_ill_is_tried_again(fake: FakeRegistry, answer: httpx.Response) -> None:
    codec = open_codec(KAFKA)
    schema_id = fake.add(json.dumps(tomorrow()), SUBJECT)
    fake.answer = lambda _: answer
    one = event()
    with pytest.raises(Unavailable):
        codec.decode(written_tomorrow(schema_id, one), ORIGIN)
    assert codec.decode(codec.encode(one), ORIGIN) == one, "what is known is read without it"
    fake.answer = lambda _: None
    assert codec.decode(written_tomorrow(schema_id, one), ORIGIN) == one


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "Order", "namespace": "com.vantage", "fields": []},
        {"type": "record", "name": "Order"},
        "string",
    ],
)
def test_ids_of_other_things_are_malformed(fake: FakeRegistry, schema: Any) -> None:
    codec = open_codec(KAFKA)
    schema_id = fake.add(json.dumps(schema), "orders-value")
    with pytest.raises(MalformedEvent, match=f"schema id {schema_id}"):
        codec.decode(written_tomorrow(schema_id, event()), ORIGIN)
