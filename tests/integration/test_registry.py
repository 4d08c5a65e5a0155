"""Schema ids from a real registry on the running Kafka. Skipped where ``TEST_SCHEMA_REGISTRY_URL`` names none.

Any Confluent-compatible one will do; with Docker it is ``docker compose up registry``.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from clients.registry import SchemaRefused, SchemaRegistry, open_codec
from config.settings import KafkaSettings
from schemas.codec import FOLDER, MalformedEvent, Origin
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import share_id_for, uuid7
from tests.lab import event, open_lab

URL = os.environ.get("TEST_SCHEMA_REGISTRY_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="TEST_SCHEMA_REGISTRY_URL names no registry")
ORIGIN = Origin("wishlist.social.events", 0, 0, 0)


def settings() -> KafkaSettings:
    return KafkaSettings(events_topic=f"registry-{uuid4().hex[:12]}", schema_registry_url=URL)


def viewed() -> ShareEvent:
    token = "7fB9xK2mN4pQ8rT1vW3y"
    return ShareEvent(
        event_type=EventType.VIEWED, wishlist_id=uuid7(), user_id=uuid7(), share_token=token,
        share_channel=Channel.EMAIL, item_count=3, timestamp=datetime(2025, 9, 16, tzinfo=UTC), event_id=uuid7(),
        share_id=share_id_for(token),
    )  # fmt: skip


def test_two_processes_share_the_registrys_ids() -> None:
    kafka = settings()
    first, second = open_codec(kafka), open_codec(kafka)
    one = viewed()
    value = first.encode(one)
    assert second.decode(value, ORIGIN) == one
    assert second.encode(one) == value
    subject = f"{kafka.events_topic}-value"
    latest = httpx.get(f"{URL}/subjects/{subject}/versions/latest").json()
    assert latest["version"] == 2
    assert latest["id"] == int.from_bytes(value[1:5], "big")


def test_all_versions_are_compatible_by_the_registrys_own_rule() -> None:
    kafka = settings()
    subject = f"{kafka.events_topic}-value"
    httpx.put(f"{URL}/config/{subject}", json={"compatibility": "FULL_TRANSITIVE"}).raise_for_status()
    open_codec(kafka)
    assert httpx.get(f"{URL}/subjects/{subject}/versions").json() == [1, 2, 3]


def test_a_schema_that_breaks_readers_is_refused() -> None:
    kafka = settings()
    open_codec(kafka)
    subject = f"{kafka.events_topic}-value"
    httpx.put(f"{URL}/config/{subject}", json={"compatibility": "FULL"}).raise_for_status()
    broken = json.loads((FOLDER / "share_event.v3.avsc").read_text())
    broken["fields"].append({"name": "campaign", "type": "string"})
    with pytest.raises(SchemaRefused, match="409"):
        SchemaRegistry(URL).id_of(subject, broken)


def test_what_somebody_registered_later_is_read_as_todays() -> None:
    kafka = settings()
    codec = open_codec(kafka)
    newer = json.loads((FOLDER / "share_event.v3.avsc").read_text())
    newer["fields"].append({"name": "campaign", "type": ["null", "string"], "default": None})
    schema_id = SchemaRegistry(URL).id_of(f"{kafka.events_topic}-value", newer)
    one = viewed()
    # The new field is the last one, and its null is one zero byte.
    value = b"\0" + schema_id.to_bytes(4, "big") + codec.encode(one)[5:] + b"\0"
    assert codec.decode(value, ORIGIN) == one
    with pytest.raises(MalformedEvent, match="unknown"):
        codec.decode(b"\0" + (2_000_000_000).to_bytes(4, "big") + value[5:], ORIGIN)


async def test_the_persist_agent_asks_the_registry_for_a_schema_that_it_does_not_know(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        kafka = lab.kafka.model_copy(update={"schema_registry_url": URL})
        codec = open_codec(kafka)
        newer = json.loads((FOLDER / "share_event.v3.avsc").read_text())
        newer["fields"].append({"name": f"field_{uuid4().hex}", "type": ["null", "string"], "default": None})
        header = b"\0" + SchemaRegistry(URL).id_of(f"{kafka.events_topic}-value", newer).to_bytes(4, "big")
        shares = [event() for _ in range(20)]
        values = [(share.share_token, header + codec.encode(share)[5:] + b"\0") for share in shares]
        lab.produce([*values[:10], ("poison", b"\0\x77\x77\x77\x77 not known"), *values[10:]])
        lab.start("persist", KAFKA_SCHEMA_REGISTRY_URL=URL)
        await lab.applied(f"share-store-wishlist-social{lab.env['STREAM_GROUP_SUFFIX']}")
        assert (await lab.totals())["shares"] == 20
        [(headers, _)] = lab.dead_letters(1)
        assert headers["error_class"] == "MalformedEvent"
        assert "schema id 2004318071 is unknown" in headers["error_message"]
